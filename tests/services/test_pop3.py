"""Users fetch their mail by POP3 (RFC 1939)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.mailbox_store import Delivery
from postroad.simulation.weather import Weather
from postroad.storage.sqlite.mailbox_store import SqliteMaildrop
from postroad.vocabulary.limits import AUTH_FAILURES, AUTH_FAILURES_OF_CLIENT, POP3_IDLE_S
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.settings import PlaintextLogin
from postroad.vocabulary.story import Fetched
from tests.services.houses import HERE, PASSWORD, Client, House, pass_time, play

LETTERS = [
    b"Subject: one\r\n\r\nHello\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n",
    b"Subject: many lines\r\n\r\n" + b"".join(b"line %d\r\n" % n for n in range(100)),
]


@asynccontextmanager
async def _office(folder: Path, letters: list[bytes] = LETTERS, **options: object) -> AsyncIterator[House]:
    """A house with POP3 and some letters for ann."""
    async with House.open(folder) as house, house.pop3(**options):  # type: ignore[arg-type]
        for n, letter in enumerate(letters):
            await _deliver(house, letter, n)
        yield house


async def _deliver(house: House, letter: bytes, n: int) -> None:
    queue_id = QueueId(f"{n:012}")
    await house.mailboxes.deliver(
        Delivery(
            account_id=house.ann.id,
            key=f"{queue_id}/ann@{HERE}",
            queue_id=queue_id,
            head=b"Return-Path: <>\r\n",
            content=letter,
            received_at=house.clock.now(),
        )
    )


async def _log_in(house: House, role: ListenerRole = ListenerRole.POP3) -> Client:
    client = await house.connect(role)
    await _ok(client)
    await _do(client, f"USER ann@{HERE}")
    await _do(client, f"PASS {PASSWORD}")
    return client


async def _ok(client: Client) -> str:
    line = (await client.line()).decode()
    assert line.startswith("+OK"), line
    return line


async def _do(client: Client, command: str) -> str:
    client.send(command)
    return await _ok(client)


async def _refused(client: Client, command: str) -> str:
    client.send(command)
    line = (await client.line()).decode()
    assert line.startswith("-ERR"), line
    return line


async def _lines(client: Client) -> list[bytes]:
    """A multi-line reply without its end."""
    lines: list[bytes] = []
    while (line := await client.line()) != b".":
        lines.append(line.removeprefix(b"."))
    return lines


async def _fetch(client: Client, command: str) -> bytes:
    await _do(client, command)
    return b"".join(line + b"\r\n" for line in await _lines(client))


def test_a_user_lists_and_fetches_letters_octet_for_octet(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client = await _log_in(house)
            whole = [b"Return-Path: <>\r\n" + letter for letter in LETTERS]
            assert (await _do(client, "STAT")).startswith(f"+OK 3 {sum(map(len, whole))}")
            for n, letter in enumerate(whole, start=1):
                assert await _fetch(client, f"RETR {n}") == letter
            assert (
                await _fetch(client, "TOP 3 2") == b"Return-Path: <>\r\nSubject: many lines\r\n\r\nline 0\r\nline 1\r\n"
            )
            await _do(client, "QUIT")
            await client.until_closed()
            fetched = [fact for fact in house.ledger.facts() if isinstance(fact, Fetched)]
            assert [(each.uid, each.removed) for each in fetched] == [(1, False), (2, False), (3, False)]
            assert house.ledger.entries[0].keys == (QueueId("0" * 12), f"ann@{HERE}")

    play(scene)


def test_what_is_marked_is_removed_by_quit_and_the_next_session_can_begin_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client = await _log_in(house)
            await _do(client, "UIDL")
            uidls = await _lines(client)
            await _do(client, "DELE 2")
            await _do(client, "QUIT")
            again = await _log_in(house)
            await _do(again, "UIDL")
            assert [line.split()[1] for line in await _lines(again)] == [uidls[0].split()[1], uidls[2].split()[1]]
            removed = [fact.uid for fact in house.ledger.facts() if isinstance(fact, Fetched) and fact.removed]
            assert removed == [2]

    play(scene)


@pytest.mark.parametrize("abruptly", [True, False])
def test_a_cut_before_quit_removes_nothing_and_frees_the_maildrop(tmp_path: Path, abruptly: bool) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client = await _log_in(house)
            for n in (1, 2, 3):
                await _do(client, f"DELE {n}")
            if abruptly:
                client.transport.abort()
            else:
                client.transport.close()
            await pass_time(1)
            again = await _log_in(house)
            assert (await _do(again, "STAT")).startswith("+OK 3 ")

    play(scene)


def test_a_second_session_is_told_that_the_maildrop_is_in_use(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            first = await _log_in(house)
            second = await house.connect(ListenerRole.POP3)
            await _ok(second)
            await _do(second, f"USER ann@{HERE}")
            assert (await _refused(second, f"PASS {PASSWORD}")).startswith("-ERR [IN-USE]")
            await _do(first, "QUIT")
            await _do(second, f"USER ann@{HERE}")
            await _do(second, f"PASS {PASSWORD}")

    play(scene)


def test_mail_that_comes_during_a_session_waits_for_the_next(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client = await _log_in(house)
            await _deliver(house, LETTERS[0], 77)
            assert (await _do(client, "STAT")).startswith("+OK 3 ")
            await _refused(client, "RETR 4")
            await _do(client, "QUIT")
            assert (await _do(await _log_in(house), "STAT")).startswith("+OK 4 ")

    play(scene)


def test_an_update_that_fails_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: SqliteMaildrop, uids: tuple[int, ...]) -> None:
        raise StoreUnavailable("no room")

    async def scene() -> None:
        async with _office(tmp_path) as house:
            client = await _log_in(house)
            await _do(client, "DELE 1")
            with monkeypatch.context() as patched:
                patched.setattr(SqliteMaildrop, "remove", fail)
                assert "SYS/TEMP" in await _refused(client, "QUIT")
                await client.until_closed()
            assert (await _do(await _log_in(house), "STAT")).startswith("+OK 3 ")

    play(scene)


def test_wrong_passwords_wait_and_then_end_the_session(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client = await house.connect(ListenerRole.POP3)
            await _ok(client)
            began = house.clock.now()
            for _ in range(AUTH_FAILURES):
                await _do(client, f"USER ann@{HERE}")
                assert (await _refused(client, "PASS wrong")).startswith("-ERR [AUTH]")
            await client.until_closed()
            assert (house.clock.now() - began).total_seconds() > 10
            assert len(house.ledger.refusals()) == AUTH_FAILURES

    play(scene)


def test_a_guesser_who_comes_back_again_and_again_is_turned_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            for n in range(AUTH_FAILURES_OF_CLIENT + 1):
                client = await house.connect(ListenerRole.POP3)
                await _ok(client)
                await _do(client, f"USER ann@{HERE}")
                password = "wrong" if n < AUTH_FAILURES_OF_CLIENT else PASSWORD
                assert (await _refused(client, f"PASS {password}")).startswith("-ERR [AUTH]")
                client.transport.close()
            assert house.passwords.checks == AUTH_FAILURES_OF_CLIENT

    play(scene)


def test_passwords_that_cannot_be_checked_now_are_a_temporary_fault(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client = await house.connect(ListenerRole.POP3)
            await _ok(client)
            house.passwords.busy = True
            await _do(client, f"USER ann@{HERE}")
            assert (await _refused(client, f"PASS {PASSWORD}")).startswith("-ERR [SYS/TEMP]")

    play(scene)


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [(PlaintextLogin.NEVER, False), (PlaintextLogin.LOOPBACK, False), (PlaintextLogin.ALWAYS, True)],
)
def test_a_password_in_clear_is_taken_where_the_settings_say_so(
    tmp_path: Path, setting: PlaintextLogin, allowed: bool
) -> None:
    async def scene() -> None:
        async with _office(tmp_path, plaintext_login=setting) as house:
            client = await house.connect(ListenerRole.POP3)
            await _ok(client)
            if allowed:
                await _do(client, f"USER ann@{HERE}")
            else:
                await _refused(client, f"USER ann@{HERE}")
                await _do(client, "STLS")
                await client.start_tls()
                await _do(client, f"USER ann@{HERE}")
            await _do(client, f"PASS {PASSWORD}")

    play(scene)


def test_a_login_behind_stls_in_the_same_segment_is_never_obeyed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client = await house.connect(ListenerRole.POP3)
            await _ok(client)
            client.send("STLS", f"USER ann@{HERE}", f"PASS {PASSWORD}")
            await _ok(client)
            await pass_time(2)
            assert house.passwords.checks == 0

    play(scene)


def test_pop3_over_tls_from_the_first_octet(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path, plaintext_login=PlaintextLogin.NEVER) as house:
            client = await _log_in(house, ListenerRole.POP3S)
            assert (await _fetch(client, "RETR 1")).endswith(LETTERS[0])

    play(scene)


def test_a_silent_session_ends_without_update(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client = await _log_in(house)
            await _do(client, "DELE 1")
            began = house.clock.now()
            await client.until_closed()
            assert POP3_IDLE_S <= (house.clock.now() - began).total_seconds() <= POP3_IDLE_S + 3
            assert (await _do(await _log_in(house), "STAT")).startswith("+OK 3 ")

    play(scene)


LARGE = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 40_000


def test_a_client_that_reads_slowly_gets_it_all(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path, [LARGE]) as house:
            client = await _log_in(house)
            client.send("RETR 1")
            for _ in range(100):
                client.transport.pause_reading()
                await pass_time(5)
                client.transport.resume_reading()
                await pass_time(0.01)
            await _ok(client)
            assert b"".join(line + b"\r\n" for line in await _lines(client)).endswith(LARGE)

    play(scene)


def test_a_client_that_reads_nothing_is_cut_and_the_maildrop_is_free(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path, [LARGE]) as house:
            client = await _log_in(house)
            client.transport.pause_reading()
            client.send("RETR 1")
            await pass_time(120)
            again = await _log_in(house)
            assert (await _fetch(again, "RETR 1")).endswith(LARGE)

    play(scene)


def test_top_of_a_large_letter_reads_only_its_top(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path, [LARGE]) as house:
            client = await _log_in(house)
            top = await _fetch(client, "TOP 1 1")
            assert top == b"Return-Path: <>\r\nSubject: large\r\n\r\n" + b"x" * 76 + b"\r\n"
            assert [fact for fact in house.ledger.facts() if isinstance(fact, Fetched)] == []

    play(scene)


def test_the_server_stops_without_an_update(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path, Weather()) as house:
            async with house.pop3() as pop3:
                await _deliver(house, LETTERS[0], 1)
                client = await _log_in(house)
                await _do(client, "DELE 1")
                await pop3.stop(grace_s=5)
                assert (await client.until_closed()).startswith(b"-ERR [SYS/TEMP]")
                assert pop3.sessions == 0
                (await house.connect(ListenerRole.POP3)).send("")
            async with house.pop3():
                assert (await _do(await _log_in(house), "STAT")).startswith("+OK 1 ")

    play(scene)


def test_a_login_under_way_when_the_client_vanishes_leaves_no_lock(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client = await house.connect(ListenerRole.POP3)
            await _ok(client)
            client.send(f"USER ann@{HERE}", f"PASS {PASSWORD}")
            client.transport.abort()
            await pass_time(1)
            await _log_in(house)

    play(scene)
