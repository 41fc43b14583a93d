"""The measurements count right: every message that they time is where it should be. Rates are the machine's affair."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.measure import WAYS, Measurement
from bench.peers import ENTRIES
from bench.tables import Row, markdown, row, text, verdict
from postroad.app.bench_servers import no_postfix
from postroad.app.bench_talk import NextHop, Refused, hand_in

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("bench")


def ran(folder: Path, *arguments: str) -> str:
    """What a program of ours prints; it must end well, and leave nothing in the folder of temporary files."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(folder.iterdir()) == []
    return done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short path, as Unix sockets need, that other users may pass through, as a Postfix of theirs must."""
    with tempfile.TemporaryDirectory(prefix="b-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("what", "counted"),
    [
        ("accept", {"accept, a connection each": 40, "accept, connections kept": 40}),
        ("relay", {"relay, a connection each": 40}),
        ("mailbox", {"accept and deliver": 40, "fetch by POP3": 48}),
    ],
)
def test_postroad_bench_counts_every_message_it_has_timed(folder: Path, what: str, counted: dict[str, int]) -> None:
    said = ran(folder, "postroad.cli", "bench", what, "--messages", "40", "--sessions", "4", "--json")
    rows = [json.loads(line) for line in said.splitlines()]
    assert {one["what"]: one["counted"] for one in rows if one["server"] == "postroad"} == counted
    assert all(one["per_second"] > 0 for one in rows)
    assert rows[0]["server"] == "the disk"


@pytest.mark.peer("postfix")
@pytest.mark.skipif(os.geteuid() != 0, reason="postfix starts for root alone")
@pytest.mark.parametrize("what", ["accept", "relay"])
def test_a_postfix_is_measured_beside_it_when_asked_for(folder: Path, what: str) -> None:
    said = ran(folder, "postroad.cli", "bench", what, "--messages", "40", "--against", "postfix", "--json")
    theirs = [one for one in map(json.loads, said.splitlines()) if one["server"] == "postfix"]
    assert theirs
    assert all(one["counted"] == 40 and one["cpu_ms"] > 0 for one in theirs), theirs


def test_a_postfix_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert "postfix is not installed" in no_postfix()


def test_a_client_that_is_refused_says_why_instead_of_waiting() -> None:
    async def played() -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 busy.example\r\n")
            await reader.readline()
            writer.write(b"421 4.3.2 too busy\r\n")
            writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with server:
            with pytest.raises(Refused, match=r"421 4\.3\.2 too busy"):
                await hand_in(server.sockets[0].getsockname()[1], ["bob@b.example"], reuse=False)

    asyncio.run(played())


def test_the_next_hop_counts_messages_however_their_octets_are_cut() -> None:
    letter = b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nSubject: x\r\n\r\n..\r\nDATA\r\n.\r\n"

    async def counted(step: int) -> int:
        next_hop = NextHop()
        await next_hop.start()
        octets = b"EHLO c.example\r\n" + letter * 3 + b"QUIT\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", next_hop.port)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(octets), step):
            writer.write(octets[at : at + step])
            await writer.drain()
        answers = await reader.read()
        writer.close()
        next_hop.stop()
        assert answers.count(b"thrown away\r\n") == 3
        assert answers.endswith(b"221 2.0.0 bye\r\n")
        return next_hop.count

    assert [asyncio.run(counted(step)) for step in (1, 2, 5, 1000)] == [3, 3, 3, 3]


@pytest.mark.peer("smtp-source", "smtp-sink")
def test_the_bench_prints_a_table_for_the_page(folder: Path) -> None:
    said = ran(
        folder,
        "bench",
        "accept",
        "relay-reused",
        "--against=smtp-sink,aiosmtpd",
        *("--messages=40", "--rounds=1", "--sessions=4", "--markdown"),
    )
    lines = said.splitlines()
    assert "| | postroad | aiosmtpd | smtp-sink | to aiosmtpd | to smtp-sink |" in lines
    (relayed,) = (line for line in lines if line.startswith("| relay-reused, 4 sessions | ") and "/s" in line)
    cells = [cell.strip() for cell in relayed.strip("|").split("|")]
    assert [bool(cell) for cell in cells] == [True, True, True, False, True, False]  # a sink relays nothing


@pytest.mark.peer("postfix", "smtp-source")
@pytest.mark.skipif(os.geteuid() != 0, reason="postfix starts for root alone")
def test_a_postfix_that_moves_its_files_is_counted_right(folder: Path) -> None:
    options = ("--messages=60", "--rounds=2", "--sessions=4")
    said = ran(folder, "bench", "accept", "relay", "--against=postfix,postfix-held", *options)
    assert "left out" not in said
    assert said.count("postroad / postfix:") == 2
    assert said.count("postroad / postfix-held:") == 1


def rates(*found: float) -> list[Measurement]:
    return [Measurement(rate, 0.3, 0.1, 100.0, 4000) for rate in found]


def test_a_ratio_whose_rounds_are_on_both_sides_of_one_is_undecided() -> None:
    shown = Row("accept", "/s", {"postroad": rates(100, 100, 300), "exim": rates(50, 110, 100), "sink": rates(1, 2, 3)})
    assert verdict(shown, "exim") == "undecided (0.9-3.0)"
    assert verdict(shown, "sink") == "100.0x (50.0-100.0)"


def test_one_that_fell_out_has_an_empty_cell_and_no_ratio() -> None:
    shown = [
        row(WAYS["accept"], 20, {"postroad": rates(10, 30, 20), "exim": rates(1, 1, 1)}),
        row(WAYS["accept-1mib"], 20, {"postroad": rates(100, 100, 100)}),
    ]
    table = markdown(shown).splitlines()
    assert table[2] == "| accept, 20 sessions | 20/s (10-30) | 1/s (1-1) | 20.0x (10.0-30.0) |"
    assert table[3] == "| accept-1mib, 20 sessions | 100 MB/s (100-100) | | |"
    assert "postroad / exim: 20.0x" in text(shown[0])


def test_every_contestant_says_how_it_was_configured() -> None:
    assert next(iter(ENTRIES)) == "postroad"
    assert all(entry.configuration for entry in ENTRIES.values())
