"""Slow and silent POP3 clients: what they hold of the server, and for how long (RFC 1939 section 3)."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from postroad.simulation.virtual_end import VirtualTransport
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES, MAILBOX_READ_BYTES, POP3_IDLE_S
from postroad.vocabulary.listener import ListenerRole
from tests.services.houses import HERE, PASSWORD, Client, pass_time, play
from tests.services.maildrops import LARGE, do, fetch, lines, log_in, office, ok

TEN_MINUTES_S = 600
OF_A_READER = 65_536
DOTS = b"Subject: dots\r\n\r\n" + b".\r\n" * 200_000
IN_A_ROW = b"Subject: row\r\n\r\n" + (b"x" * 76 + b"\r\n") * (CONTENT_IN_ROW_BYTES // 78 - 2)


def waiting_for(client: Client) -> int:
    """Octets that the server has written and the network has not taken."""
    assert isinstance(client.transport, VirtualTransport)
    return client.transport.end.peer.buffered


# ---- silence --------------------------------------------------------------------------------------


def test_a_silent_session_ends_without_update(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await log_in(house)
            await do(client, "DELE 1")
            began = house.clock.now()
            await client.until_closed()
            assert POP3_IDLE_S <= (house.clock.now() - began).total_seconds() <= POP3_IDLE_S + 3
            assert (await do(await log_in(house), "STAT")).startswith("+OK 3 ")

    play(scene)


def test_a_command_within_ten_minutes_keeps_the_session(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await log_in(house)
            for _ in range(3):
                await pass_time(TEN_MINUTES_S - 1)
                await do(client, "NOOP")
            await do(client, "QUIT")

    play(scene)


def test_nobody_is_silent_too_long_before_ten_minutes_in_any_state(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            greeted = await house.connect(ListenerRole.POP3)
            await ok(greeted)
            named = await house.connect(ListenerRole.POP3)
            await ok(named)
            await do(named, f"USER ann@{HERE}")
            await pass_time(TEN_MINUTES_S - 1)
            await do(greeted, "CAPA")
            await do(named, f"PASS {PASSWORD}")

    play(scene)


# ---- slow readers ---------------------------------------------------------------------------------


def test_a_client_that_reads_slowly_gets_it_all(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path, [LARGE]) as house:
            client = await log_in(house)
            client.send("RETR 1")
            for _ in range(100):
                client.transport.pause_reading()
                await pass_time(5)
                client.transport.resume_reading()
                await pass_time(0.01)
            await ok(client)
            assert b"".join(line + b"\r\n" for line in await lines(client)).endswith(LARGE)

    play(scene)


def test_a_client_that_reads_nothing_is_cut_and_the_maildrop_is_free(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path, [LARGE]) as house:
            client = await log_in(house)
            client.transport.pause_reading()
            client.send("RETR 1")
            await pass_time(120)
            again = await log_in(house)
            assert (await fetch(again, "RETR 1")).endswith(LARGE)

    play(scene)


@pytest.mark.parametrize("letter", [LARGE, DOTS, IN_A_ROW], ids=["large", "full of dots", "in a row"])
def test_a_slow_reader_holds_no_transaction_and_at_most_64_kib(tmp_path: Path, letter: bytes) -> None:
    async def scene() -> None:
        async with office(tmp_path, [letter]) as house:
            client = await log_in(house)
            client.transport.pause_reading()
            client.send("RETR 1")
            held = []
            for _ in range(20):
                await pass_time(2)
                held.append(waiting_for(client))
                assert all(nobody_reads(path) for path in sorted((tmp_path / "mail").glob("*.db")))
                client.transport.resume_reading()
                await pass_time(0.01)
                client.transport.pause_reading()
            assert max(held) + MAILBOX_READ_BYTES <= OF_A_READER, held
            client.transport.resume_reading()
            await ok(client)
            assert b"".join(line + b"\r\n" for line in await lines(client)).endswith(letter)

    play(scene)


def nobody_reads(database: Path) -> bool:
    """A checkpoint can take all of the log and begin it anew: what somebody still read would stop it."""
    connection = apsw.Connection(str(database))
    try:
        [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return not busy
    finally:
        connection.close()
