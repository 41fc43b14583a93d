"""`postroad send --merge` from outside: letters to many domains, each with a fate of its own, found by a name server.

A hundred domains; POSTROAD_MERGE_DOMAINS says how many else.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.reply import reply
from postroad.vocabulary.zone import a, mx
from postroad.world.dns_server import DnsServer
from tests.live.test_five_hundred_domains import _enough_files, _free_port, _greylist, address
from tests.support.peer import Peer
from tests.support.server import Server

DOMAINS = int(os.environ.get("POSTROAD_MERGE_DOMAINS", "100"))
PATIENCE_S = 120.0
DELIVERED, GREYLISTED, UNKNOWN, DEAD, FULL = range(5)
"""What the server of domain n does: n % 5."""
IN_WORDS = {UNKNOWN: "There is no such mailbox at this domain.", FULL: "The mailbox is full."}

pytestmark = pytest.mark.xdist_group("merge")


def unknown(_: Mailbox) -> Any:
    return reply(550, "No such user", status="5.1.1")


def full(_: Mailbox) -> Any:
    return reply(452, "Full", status="4.2.2")


def rows(octets: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in octets.splitlines()]


class Internet:
    """The servers and the names, in this process."""

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.port = _free_port()
        self.peers: dict[int, Peer] = {}
        for number in range(DOMAINS):
            if number % 5 == DEAD:
                continue
            peer = self.peers[number] = Peer(f"mx.d{number}.example")
            answers = {GREYLISTED: _greylist(), UNKNOWN: unknown, FULL: full}
            peer.on_recipient = answers.get(number % 5, peer.on_recipient)
        self.listening = [
            await loop.create_server(peer.connection, address(number), self.port) for number, peer in self.peers.items()
        ]
        names = {
            f"d{number}.example": [
                mx(f"d{number}.example", 10, f"mx.d{number}.example"),
                a(f"mx.d{number}.example", address(number)),
            ]
            for number in range(DOMAINS)
        }
        self.dns = DnsServer(names)
        self.name_server = await self.dns.start()

    async def stop(self) -> None:
        for each in self.listening:
            each.close()
        await self.dns.stop()


def test_the_table_tells_the_truth_about_every_letter(tmp_path: Path) -> None:
    async def scene() -> None:
        internet = Internet()
        await internet.start()
        server = Server(
            tmp_path,
            sections=f'[dns]\nservers = ["{internet.name_server}"]\n'
            f'[delivery]\nport = {internet.port}\nprivate_destinations = "allow"\nconnection_idle_s = 1\n'
            '[queue]\nretry = ["2s", "3s"]\n',
        )
        table = tmp_path / "people.csv"
        lines = "".join(f"bob@d{number}.example,Bob {number}\n" for number in range(DOMAINS))
        table.write_text(f"email,name\n{lines}")
        command = ("send", "--merge", str(table), "--from", "ann@here.example", "--to", "{name} <{email}>",
                   "--subject", "For {name}", "--body", "Dear {name}\n", "--json")  # fmt: skip
        await asyncio.to_thread(server.start)
        try:
            async with asyncio.timeout(PATIENCE_S):
                first = rows((await asyncio.to_thread(server.run, *command)).stdout)
                await check(internet, server, table, first)
                again = rows((await asyncio.to_thread(server.run, *command)).stdout)
            assert len(again) == DOMAINS
            for number, peer in internet.peers.items():
                assert peer.recipients == ([f"bob@d{number}.example"] if number % 5 in (DELIVERED, GREYLISTED) else [])
        finally:
            await asyncio.to_thread(server.stop)
            await internet.stop()
        letter = internet.peers[0].mail[0].content
        assert b"\r\nTo: Bob 0 <bob@d0.example>\r\nSubject: For Bob 0\r\n" in letter
        assert "unexpected" not in server.log()

    with _enough_files():
        asyncio.run(scene())


async def check(internet: Internet, server: Server, table: Path, found: list[dict[str, Any]]) -> None:
    """The table now, and when the greylisted have theirs."""
    end = monotonic() + PATIENCE_S
    while True:
        assert [row["line"] for row in found] == list(range(2, DOMAINS + 2))
        for number, row in enumerate(found):
            assert row["address"] == f"bob@d{number}.example"
            kind = number % 5
            if kind == DELIVERED:
                assert (row["state"], row["reason"]) == ("delivered", ""), row
            elif kind == UNKNOWN:
                assert (row["state"], row["status"], row["reason"]) == ("refused", "5.1.1", IN_WORDS[kind]), row
            elif kind == FULL:
                assert (row["state"], row["status"], row["reason"]) == ("deferred", "4.2.2", IN_WORDS[kind]), row
            elif kind == DEAD:
                assert row["state"] == "deferred", row
                assert "refused" in row["reason"], row
            else:
                assert row["state"] in ("deferred", "delivered"), row
        states = Counter(row["state"] for row in found if (row["line"] - 2) % 5 == GREYLISTED)
        if set(states) == {"delivered"}:
            break
        assert monotonic() < end, states
        found = rows((await asyncio.to_thread(server.run, "send", "--results", str(table), "--json")).stdout)
    suppressed = await asyncio.to_thread(server.ask, "suppression", "list")
    assert {one["address"] for one in suppressed} == {f"bob@d{n}.example" for n in range(UNKNOWN, DOMAINS, 5)}
