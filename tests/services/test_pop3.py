"""Users fetch their mail by POP3 (RFC 1939)."""

from pathlib import Path

import pytest

from postroad.contracts.errors import StoreUnavailable
from postroad.simulation.weather import Weather
from postroad.storage.sqlite.mailbox_store import SqliteMaildrop
from postroad.vocabulary.limits import AUTH_FAILURES, AUTH_FAILURES_OF_CLIENT
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.settings import PlaintextLogin
from postroad.vocabulary.story import Fetched
from tests.services.houses import HERE, PASSWORD, House, pass_time, play
from tests.services.maildrops import LARGE, LETTERS, deliver, do, fetch, lines, log_in, office, ok, refused


def test_a_user_lists_and_fetches_letters_octet_for_octet(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await log_in(house)
            whole = [b"Return-Path: <>\r\n" + letter for letter in LETTERS]
            assert (await do(client, "STAT")).startswith(f"+OK 3 {sum(map(len, whole))}")
            for n, letter in enumerate(whole, start=1):
                assert await fetch(client, f"RETR {n}") == letter
            assert (
                await fetch(client, "TOP 3 2") == b"Return-Path: <>\r\nSubject: many lines\r\n\r\nline 0\r\nline 1\r\n"
            )
            await do(client, "QUIT")
            await client.until_closed()
            fetched = [fact for fact in house.ledger.facts() if isinstance(fact, Fetched)]
            assert [(each.uid, each.removed) for each in fetched] == [(1, False), (2, False), (3, False)]
            assert house.ledger.entries[0].keys == (QueueId("0" * 12), f"ann@{HERE}")

    play(scene)


def test_what_is_marked_is_removed_by_quit_and_the_next_session_can_begin_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await log_in(house)
            await do(client, "UIDL")
            uidls = await lines(client)
            await do(client, "DELE 2")
            await do(client, "QUIT")
            again = await log_in(house)
            await do(again, "UIDL")
            assert [line.split()[1] for line in await lines(again)] == [uidls[0].split()[1], uidls[2].split()[1]]
            removed = [fact.uid for fact in house.ledger.facts() if isinstance(fact, Fetched) and fact.removed]
            assert removed == [2]

    play(scene)


@pytest.mark.parametrize("abruptly", [True, False])
def test_a_cut_before_quit_removes_nothing_and_frees_the_maildrop(tmp_path: Path, abruptly: bool) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await log_in(house)
            for n in (1, 2, 3):
                await do(client, f"DELE {n}")
            if abruptly:
                client.transport.abort()
            else:
                client.transport.close()
            await pass_time(1)
            again = await log_in(house)
            assert (await do(again, "STAT")).startswith("+OK 3 ")

    play(scene)


def test_a_second_session_is_told_that_the_maildrop_is_in_use(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            first = await log_in(house)
            second = await house.connect(ListenerRole.POP3)
            await ok(second)
            await do(second, f"USER ann@{HERE}")
            assert (await refused(second, f"PASS {PASSWORD}")).startswith("-ERR [IN-USE]")
            await do(first, "QUIT")
            await do(second, f"USER ann@{HERE}")
            await do(second, f"PASS {PASSWORD}")

    play(scene)


def test_mail_that_comes_during_a_session_waits_for_the_next(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await log_in(house)
            await deliver(house, LETTERS[0], 77)
            assert (await do(client, "STAT")).startswith("+OK 3 ")
            await refused(client, "RETR 4")
            await do(client, "QUIT")
            assert (await do(await log_in(house), "STAT")).startswith("+OK 4 ")

    play(scene)


def test_an_update_that_fails_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: SqliteMaildrop, uids: tuple[int, ...]) -> None:
        raise StoreUnavailable("no room")

    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await log_in(house)
            await do(client, "DELE 1")
            with monkeypatch.context() as patched:
                patched.setattr(SqliteMaildrop, "remove", fail)
                assert "SYS/TEMP" in await refused(client, "QUIT")
                await client.until_closed()
            assert (await do(await log_in(house), "STAT")).startswith("+OK 3 ")

    play(scene)


def test_wrong_passwords_wait_and_then_end_the_session(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await house.connect(ListenerRole.POP3)
            await ok(client)
            began = house.clock.now()
            for _ in range(AUTH_FAILURES):
                await do(client, f"USER ann@{HERE}")
                assert (await refused(client, "PASS wrong")).startswith("-ERR [AUTH]")
            await client.until_closed()
            assert (house.clock.now() - began).total_seconds() > 10
            assert len(house.ledger.refusals()) == AUTH_FAILURES

    play(scene)


def test_a_guesser_who_comes_back_again_and_again_is_turned_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            for n in range(AUTH_FAILURES_OF_CLIENT + 1):
                client = await house.connect(ListenerRole.POP3)
                await ok(client)
                await do(client, f"USER ann@{HERE}")
                password = "wrong" if n < AUTH_FAILURES_OF_CLIENT else PASSWORD
                assert (await refused(client, f"PASS {password}")).startswith("-ERR [AUTH]")
                client.transport.close()
            assert house.passwords.checks == AUTH_FAILURES_OF_CLIENT

    play(scene)


def test_passwords_that_cannot_be_checked_now_are_a_temporary_fault(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await house.connect(ListenerRole.POP3)
            await ok(client)
            house.passwords.busy = True
            await do(client, f"USER ann@{HERE}")
            assert (await refused(client, f"PASS {PASSWORD}")).startswith("-ERR [SYS/TEMP]")

    play(scene)


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [(PlaintextLogin.NEVER, False), (PlaintextLogin.LOOPBACK, False), (PlaintextLogin.ALWAYS, True)],
)
def test_a_password_in_clear_is_taken_where_the_settings_say_so(
    tmp_path: Path, setting: PlaintextLogin, allowed: bool
) -> None:
    async def scene() -> None:
        async with office(tmp_path, plaintext_login=setting) as house:
            client = await house.connect(ListenerRole.POP3)
            await ok(client)
            if allowed:
                await do(client, f"USER ann@{HERE}")
            else:
                await refused(client, f"USER ann@{HERE}")
                await do(client, "STLS")
                await client.start_tls()
                await do(client, f"USER ann@{HERE}")
            await do(client, f"PASS {PASSWORD}")

    play(scene)


def test_a_login_behind_stls_in_the_same_segment_is_never_obeyed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await house.connect(ListenerRole.POP3)
            await ok(client)
            client.send("STLS", f"USER ann@{HERE}", f"PASS {PASSWORD}")
            await ok(client)
            await pass_time(2)
            assert house.passwords.checks == 0

    play(scene)


def test_pop3_over_tls_from_the_first_octet(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path, plaintext_login=PlaintextLogin.NEVER) as house:
            client = await log_in(house, ListenerRole.POP3S)
            assert (await fetch(client, "RETR 1")).endswith(LETTERS[0])

    play(scene)


def test_top_of_a_large_letter_reads_only_its_top(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path, [LARGE]) as house:
            client = await log_in(house)
            top = await fetch(client, "TOP 1 1")
            assert top == b"Return-Path: <>\r\nSubject: large\r\n\r\n" + b"x" * 76 + b"\r\n"
            assert [fact for fact in house.ledger.facts() if isinstance(fact, Fetched)] == []

    play(scene)


def test_the_server_stops_without_an_update(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path, Weather()) as house:
            async with house.pop3() as pop3:
                await deliver(house, LETTERS[0], 1)
                client = await log_in(house)
                await do(client, "DELE 1")
                await pop3.stop(grace_s=5)
                assert (await client.until_closed()).startswith(b"-ERR [SYS/TEMP]")
                assert pop3.sessions == 0
                (await house.connect(ListenerRole.POP3)).send("")
            async with house.pop3():
                assert (await do(await log_in(house), "STAT")).startswith("+OK 1 ")

    play(scene)


def test_a_login_under_way_when_the_client_vanishes_leaves_no_lock(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path) as house:
            client = await house.connect(ListenerRole.POP3)
            await ok(client)
            client.send(f"USER ann@{HERE}", f"PASS {PASSWORD}")
            client.transport.abort()
            await pass_time(1)
            await log_in(house)

    play(scene)
