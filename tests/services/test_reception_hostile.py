"""What reception does with clients that lie, stall, vanish, guess or flood."""

import asyncio
from pathlib import Path

import pytest

from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.contracts.queue_store import Spool
from postroad.vocabulary.limits import (
    AUTH_FAILURES,
    AUTH_FAILURES_OF_CLIENT,
    AUTH_MEMORY_S,
    CONTENT_IN_ROW_BYTES,
    DISK_RESERVE_BYTES,
    HEADER_BYTES,
    REFUSED_RECIPIENTS,
    REFUSED_RECIPIENTS_DELAYED,
)
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.settings import LimitSettings
from tests.services.houses import HERE, Client, House, pass_time, play

LETTER = b"Subject: hi\r\n\r\nHello\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 10_000


async def _ready_for_content(client: Client) -> None:
    await client.say("EHLO c.example", 250)
    await client.say("MAIL FROM:<cat@c.example>", 250)
    await client.say(f"RCPT TO:<ann@{HERE}>", 250)
    await client.say("DATA", 354)


# ---- cuts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [LETTER, LARGE], ids=["small", "large"])
def test_a_cut_in_mid_data_leaves_nothing(tmp_path: Path, sent: bytes) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception() as reception:
            files = house.files()
            async with house.client() as client:
                await _ready_for_content(client)
                client.transport.write(sent)
                await pass_time(1)
                if len(sent) > CONTENT_IN_ROW_BYTES:
                    assert len(house.files()) == len(files) + 1
                client.transport.abort()
                await pass_time(1)
            assert reception.sessions == 0
            assert house.files() == files
            assert await house.queued() == 0
            assert house.accepted == []

    play(scene)


def test_a_client_that_vanishes_after_the_dot_may_have_its_letter_in_the_queue(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            async with house.client() as client:
                await _ready_for_content(client)
                client.transport.write(LETTER + b".\r\n")
                client.transport.abort()
            await pass_time(1)
            # Either all or nothing; whatever the queue has, the scheduler knows of.
            assert await house.queued() == len(house.accepted)

    play(scene)


# ---- large and broken content --------------------------------------------------------------------


def test_a_large_letter_goes_through_the_spool_octet_for_octet(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            assert (await client.give(LARGE)).startswith("250 2.0.0 Ok: queued as ")
            content = await house.content()
            assert content.startswith(b"Received: ")
            assert content.endswith(LARGE)
            assert content.count(b"Received:") == 1
            assert not isinstance(house.accepted[0].content, bytes)

    play(scene)


@pytest.mark.parametrize("size", [CONTENT_IN_ROW_BYTES - 1, CONTENT_IN_ROW_BYTES, CONTENT_IN_ROW_BYTES + 1, 200_000])
def test_letters_round_the_limit_of_small_ones_arrive_whole(tmp_path: Path, size: int) -> None:
    async def scene() -> None:
        letter = b"Subject: x\r\n\r\n" + (b"y" * 98 + b"\r\n") * (size // 100 - 1)
        letter += b"z" * (size - len(letter) - 2) + b"\r\n"
        assert len(letter) == size
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.give(letter)
            assert (await house.content()).endswith(letter)

    play(scene)


@pytest.mark.parametrize("padding", [b"", b"X-Pad: x\r\n" * 10_000], ids=["small", "streaming"])
@pytest.mark.parametrize(("hops", "code"), [(99, "250"), (100, "554 5.4.6")])
def test_a_message_that_runs_in_a_loop_is_refused(tmp_path: Path, padding: bytes, hops: int, code: str) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            letter = b"Received: by x; now\r\n" * hops + padding + b"\r\nHello\r\n"
            assert (await client.give(letter)).startswith(code)
            assert (await client.give(LETTER)).startswith("250"), "the session goes on"

    play(scene)


@pytest.mark.parametrize(
    "letter",
    [
        b"X-Bomb: " + (b"x" * 900 + b"\r\n ") * (HEADER_BYTES // 800) + b"\r\n\r\nHello\r\n",
        b"X: y\r\n" * (HEADER_BYTES // 5) + b"\r\nHello\r\n",
        b"X: y\r\n" * (HEADER_BYTES // 5),
    ],
    ids=["one field", "many fields", "no end"],
)
def test_a_header_bomb_is_refused(tmp_path: Path, letter: bytes) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            reply = await client.give(letter)
            assert reply.startswith("552 5.3.4"), reply
            assert await house.queued() == 0
            assert (await client.give(LETTER)).startswith("250")

    play(scene)


@pytest.mark.parametrize(
    "letter",
    [b"", b"\r\n", b"\r\nHello\r\n", b"no header at all\r\n", b"From x\r\nSubject: y\r\n\r\nz\r\n", b" \r\n" * 50_000],
)
def test_strange_content_is_taken_as_it_is(tmp_path: Path, letter: bytes) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            assert (await client.give(letter)).startswith("250")
            assert (await house.content()).endswith(letter)

    play(scene)


def test_a_forged_verdict_in_our_name_is_taken_out_and_nothing_else(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            kept = b"Authentication-Results: other.example; spf=pass\r\n"
            forged = b"Authentication-Results: mx.here.example;\r\n dkim=pass\r\nReturn-Path: <x@y>\r\n"
            await client.give(kept + forged + LETTER)
            assert (await house.content()).endswith(b"\r\n" + kept + LETTER)
            assert b"dkim=pass" not in await house.content()

    play(scene)


# ---- sizes and disks -----------------------------------------------------------------------------


def test_a_client_that_sends_more_than_it_announced_is_refused_at_the_true_end(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(message_bytes=100_000)
        async with House.open(tmp_path) as house, house.reception(limits=limits), house.client() as client:
            files = house.files()
            await client.say("EHLO c.example", 250)
            await client.say("MAIL FROM:<a@c.example> SIZE=99999999999999999999", 552, "5.3.4")
            await client.say("MAIL FROM:<a@c.example> SIZE=-1", 501, "5.5.4")
            await client.say("MAIL FROM:<a@c.example> SIZE=1", 250)
            await client.say(f"RCPT TO:<ann@{HERE}>", 250)
            await client.say("DATA", 354)
            client.transport.write(b"Subject: x\r\n\r\n" + (b"y" * 98 + b"\r\n") * 1500 + b".\r\n")
            await client.expect(552, "5.3.4")
            assert house.files() == files
            await client.say("NOOP", 250)

    play(scene)


def test_mail_is_put_off_while_the_disk_is_nearly_full(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            house.free_bytes = DISK_RESERVE_BYTES - 1
            await client.say("MAIL FROM:<a@c.example>", 452, "4.3.1")
            house.free_bytes = DISK_RESERVE_BYTES
            await client.say("MAIL FROM:<a@c.example>", 250)

    play(scene)


def test_what_has_no_room_now_is_put_off_and_what_is_too_large_for_ever_is_refused(tmp_path: Path) -> None:
    """RFC 1870 section 6.1: 452 and 552 by the size that is announced."""

    async def scene() -> None:
        limits = LimitSettings(message_bytes=5_000_000)
        async with House.open(tmp_path) as house, house.reception(limits=limits), house.client() as client:
            await client.say("EHLO c.example", 250)
            house.free_bytes = DISK_RESERVE_BYTES + 1_000_000
            await client.say("MAIL FROM:<a@c.example> SIZE=1000001", 452, "4.3.1")
            await client.say("MAIL FROM:<a@c.example> SIZE=5000001", 552, "5.3.4")
            await client.say("MAIL FROM:<a@c.example> SIZE=1000000", 250, "2.1.0")
            await client.say("RSET", 250)
            house.free_bytes = DISK_RESERVE_BYTES + 5_000_000
            await client.say("MAIL FROM:<a@c.example> SIZE=5000000", 250, "2.1.0")

    play(scene)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(("failure", "answer"), [(StoreFull("x"), "452 4.3.1"), (StoreUnavailable("x"), "451 4.3.0")])
def test_a_store_that_fails_is_never_answered_250(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: StoreUnavailable, answer: str, at_once: bool
) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:

            def refuse(message: object) -> "asyncio.Future[None]":
                if at_once:
                    raise failure
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                future.set_exception(failure)
                return future

            monkeypatch.setattr(house.queue, "accept", refuse)
            await client.say("EHLO c.example", 250)
            for letter in (LETTER, LARGE):
                files = house.files()
                assert (await client.give(letter)).startswith(answer)
                assert house.files() == files
            assert house.accepted == []
            monkeypatch.undo()
            assert (await client.give(LETTER)).startswith("250")

    play(scene)


def test_a_spool_that_cannot_be_opened_is_answered_at_the_end_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:

            def refuse(queue_id: QueueId) -> Spool:
                raise StoreFull("no inode left")

            monkeypatch.setattr(house.queue, "spool", refuse)
            await client.say("EHLO c.example", 250)
            assert (await client.give(LARGE)).startswith("452 4.3.1")
            assert (await client.give(LETTER)).startswith("250")

    play(scene)


# ---- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("commands", [[], ["EHLO c.example"], ["EHLO c.example", "MAIL FROM:<>"]])
def test_a_silent_client_is_told_421_and_loses_its_slot(tmp_path: Path, commands: list[str]) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception() as reception, house.client() as client:
            for command in commands:
                await client.say(command, 250)
            began = house.clock.now()
            await client.expect(421, "4.4.2")
            assert 300 <= (house.clock.now() - began).total_seconds() <= 303
            await client.until_closed()
            assert reception.sessions == 0

    play(scene)


def test_a_client_that_falls_silent_while_the_disk_catches_up_is_still_timed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception() as reception, house.client() as client:
            real = house.queue.spool

            def slow_spool(queue_id: QueueId) -> Spool:
                spool = real(queue_id)
                write, drained = spool.write, spool.drained

                async def later() -> None:
                    await pass_time(50)
                    await drained()

                monkeypatch.setattr(spool, "write", lambda data: bool(write(data) and False))
                monkeypatch.setattr(spool, "drained", later)
                return spool

            monkeypatch.setattr(house.queue, "spool", slow_spool)
            await _ready_for_content(client)
            client.transport.write(LARGE)
            began = house.clock.now()
            await client.expect(421, "4.4.2")
            assert 50 < (house.clock.now() - began).total_seconds() < 600
            await client.until_closed()
            assert reception.sessions == 0

    play(scene)


def test_a_command_that_trickles_in_is_not_waited_for_longer(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            began = house.clock.now()
            for _ in range(11):
                client.transport.write(b"N")
                await pass_time(29)
            assert (await client.until_closed()).startswith(b"421 4.4.2")
            assert (house.clock.now() - began).total_seconds() < 330

    play(scene)


def test_content_that_trickles_in_is_cut_off(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await _ready_for_content(client)
            began = house.clock.now()
            while not client.closed:
                client.transport.write(b"x" * 20 + b"\r\n")
                await pass_time(10)
            assert client.received.startswith(b"421 4.4.2")
            assert (house.clock.now() - began).total_seconds() < 60
            assert await house.queued() == 0

    play(scene)


def test_content_at_the_least_speed_is_taken(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await _ready_for_content(client)
            client.transport.write(b"Subject: slow\r\n\r\n")
            for _ in range(200):
                client.transport.write(b"x" * 98 + b"\r\n")
                await pass_time(1)
            client.transport.write(b".\r\n")
            await client.expect(250)

    play(scene)


def test_a_session_that_lasts_too_long_is_ended_between_transactions(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(session_s=100)
        async with House.open(tmp_path) as house, house.reception(limits=limits), house.client() as client:
            await _ready_for_content(client)
            await pass_time(20)
            for _ in range(4):
                client.transport.write((b"x" * 900 + b"\r\n") * 4)
                await pass_time(29)
            client.transport.write(b".\r\n")
            await client.expect(250)
            await client.expect(421, "4.4.2")

    play(scene)


# ---- guessing and flooding -----------------------------------------------------------------------


def test_whoever_guesses_addresses_is_slowed_down_and_then_cut(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.say("MAIL FROM:<cat@c.example>", 250)
            began = house.clock.now()
            for n in range(REFUSED_RECIPIENTS):
                await client.say(f"RCPT TO:<guess{n}@{HERE}>", 550, "5.1.1")
            took = (house.clock.now() - began).total_seconds()
            assert took >= REFUSED_RECIPIENTS - REFUSED_RECIPIENTS_DELAYED
            await client.say(f"RCPT TO:<more@{HERE}>", 421, "4.7.0")
            await client.until_closed()

    play(scene)


def test_wrong_passwords_wait_longer_and_longer_and_then_end_the_session(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await house.connect(ListenerRole.SUBMISSIONS)
            await client.expect(220)
            await client.say("EHLO c.example", 250)
            waits = []
            for _ in range(AUTH_FAILURES - 1):
                began = house.clock.now()
                assert (await client.log_in(password="wrong")).startswith("535 5.7.8")
                waits.append((house.clock.now() - began).total_seconds())
            assert waits == sorted(waits)
            assert waits[-1] > 2 * waits[0]
            assert (await client.log_in(password="wrong")).startswith("421 4.7.0")
            await client.until_closed()
            assert [fact.stage for fact in house.ledger.refusals()] == ["AUTH"] * AUTH_FAILURES

    play(scene)


def test_a_guesser_who_comes_back_again_and_again_is_turned_away_for_a_while(tmp_path: Path) -> None:
    async def greeted(house: House, address: str) -> Client:
        client = await house.connect(ListenerRole.SUBMISSIONS, address)
        await client.expect(220)
        await client.say("EHLO c.example", 250)
        return client

    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            for _ in range(AUTH_FAILURES_OF_CLIENT):
                client = await greeted(house, "198.51.100.9")
                await client.log_in(password="wrong")
                client.transport.close()
            checks = house.passwords.checks
            assert (await (await greeted(house, "198.51.100.9")).log_in()).startswith("421 4.7.0")
            assert house.passwords.checks == checks
            assert (await (await greeted(house, "198.51.100.10")).log_in()).startswith("235")
            await pass_time(AUTH_MEMORY_S)
            assert (await (await greeted(house, "198.51.100.9")).log_in()).startswith("235")

    play(scene)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        (f"nobody@{HERE}", "correct horse"),
        (f"bob@{HERE}", "correct horse"),
        (f"postmaster@{HERE}", "correct horse"),
        ("ann", "correct horse"),
        ("*)(uid=*", "x"),
        ("' OR 1=1--", "x"),
        ("../x@" + HERE, "x"),
        ("x" * 1000 + "@" + HERE, "correct horse"),
        (f"ann@{HERE}", "x" * 1100),
        (f"ann@{HERE}", ""),
    ],
)
def test_a_login_that_cannot_be_right_gets_one_answer_and_the_same_work(
    tmp_path: Path, name: str, password: str
) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await house.connect(ListenerRole.SUBMISSIONS)
            await client.expect(220)
            await client.say("EHLO c.example", 250)
            reply = await client.log_in(name, password)
            assert reply.startswith("535 5.7.8")
            # What is too long or empty is no secret of ours: it may be refused without the work.
            assert house.passwords.checks == (0 < len(password) < 1000 and len(name) < 500)

    play(scene)


def test_passwords_that_cannot_be_checked_now_are_not_called_wrong(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await house.connect(ListenerRole.SUBMISSIONS)
            await client.expect(220)
            await client.say("EHLO c.example", 250)
            house.passwords.busy = True
            assert (await client.log_in()).startswith("454 4.7.0")
            house.passwords.busy = False
            assert (await client.log_in()).startswith("235")

    play(scene)


def test_one_client_cannot_take_all_the_slots(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(sessions=7, sessions_per_client=3, exempt=("203.0.113.0/24",))
        async with House.open(tmp_path) as house, house.reception(limits=limits) as reception:
            crowd = [await house.connect() for _ in range(4)]
            for each in crowd[:3]:
                await each.expect(220)
            await crowd[3].expect(421, "4.7.0")
            await crowd[3].until_closed()
            assert reception.sessions == 3
            exempt = [await house.connect(address="203.0.113.5") for _ in range(5)]
            for each in exempt[:4]:
                await each.expect(220)
            await exempt[4].expect(421, "4.3.2")
            crowd[0].transport.close()
            await pass_time(1)
            async with house.client():
                assert reception.sessions == 7

    play(scene)


def test_all_of_a_64_bit_prefix_is_one_client(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(sessions_per_client=2)
        async with House.open(tmp_path) as house, house.reception(limits=limits):
            for n in (1, 2):
                await (await house.connect(address=f"2001:db8:1::{n}")).expect(220)
            await (await house.connect(address="2001:db8:1::3")).expect(421, "4.7.0")
            await (await house.connect(address="2001:db8:2::1")).expect(220)

    play(scene)


def test_a_client_that_never_reads_its_replies_is_cut(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception() as reception, house.client() as client:
            client.transport.pause_reading()
            for _ in range(400):
                client.transport.write(b"NOOP\r\n" * 500)
                await asyncio.sleep(0)
            await pass_time(400)
            assert reception.sessions == 0

    play(scene)


# ---- TLS -----------------------------------------------------------------------------------------


def test_what_was_said_before_starttls_is_forgotten(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.say("MAIL FROM:<cat@c.example>", 250)
            await client.say("STARTTLS", 220)
            await client.start_tls()
            await client.say(f"RCPT TO:<ann@{HERE}>", 503, "5.5.1")
            await client.say("EHLO d.example", 250)
            await client.give(LETTER)
            content = (await house.content()).decode()
            assert content.startswith("Received: from d.example")
            assert " with ESMTPS (" in content

    play(scene)


def test_commands_behind_starttls_in_the_same_segment_are_never_obeyed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            client.send("STARTTLS", "EHLO evil.example", "MAIL FROM:<evil@evil.example>")
            await client.expect(220)
            await client.expect(554, "5.5.1")
            assert await client.until_closed() == b""

    play(scene)


def test_clear_text_instead_of_a_handshake_ends_the_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception() as reception, house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.say("STARTTLS", 220)
            client.send("EHLO c.example")
            assert b"250" not in await client.until_closed()
            await pass_time(1)
            assert reception.sessions == 0
            assert house.ledger.refusals()[-1].stage == "STARTTLS"

    play(scene)


def test_a_handshake_that_never_comes_ends_the_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception() as reception, house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.say("STARTTLS", 220)
            await pass_time(65)
            assert client.closed
            assert reception.sessions == 0

    play(scene)


# ---- content nobody asked for ---------------------------------------------------------------------


def test_a_letter_sent_though_data_was_refused_starts_no_transaction(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            client.send("MAIL FROM:<cat@c.example>", f"RCPT TO:<nobody@{HERE}>", "DATA", "Subject: x", "",
                        "MAIL FROM:<evil@evil.example>", f"RCPT TO:<ann@{HERE}>", "DATA", "evil", ".")  # fmt: skip
            await client.expect(250)
            await client.expect(550, "5.1.1")
            await client.expect(554, "5.5.1")
            while (reply := await client.reply()) and not reply.startswith("421"):
                assert reply.startswith("5")
                if len(client.received) == 0:
                    break
            await pass_time(1)
            assert house.accepted == []
            assert await house.queued() == 0

    play(scene)


def test_a_fault_of_our_own_ends_one_connection_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            monkeypatch.setattr(house.directory, "domain", lambda name: 1 / 0)
            async with house.client() as other:
                await other.say("EHLO d.example", 250)
                await other.say("MAIL FROM:<x@d.example>", 250)
                other.send(f"RCPT TO:<ann@{HERE}>")
                assert await other.until_closed() == b""
            await client.say("NOOP", 250)

    with pytest.raises(BaseExceptionGroup) as raised:
        play(scene)
    assert raised.group_contains(ZeroDivisionError)
