"""Too much of everything, and what is left when it is over: slots, slow chunks, full disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES, DISK_RESERVE_BYTES, SUBMISSION_SHARE
from postroad.vocabulary.settings import LimitSettings
from tests.services.houses import HERE, Client, House, pass_time, play

LETTER = b"Subject: hi\r\n\r\nHello\r\n"


async def begin(client: Client, parameters: str = "") -> None:
    await client.say("EHLO c.example", 250)
    await client.say(f"MAIL FROM:<cat@c.example>{parameters}", 250)
    await client.say(f"RCPT TO:<ann@{HERE}>", 250)


def test_a_full_house_says_why_and_lets_the_next_in_when_one_leaves(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(sessions=SUBMISSION_SHARE)
        async with House.open(tmp_path) as house, house.reception(limits=limits) as reception:
            inside = [await house.connect(address=f"203.0.{n}.1") for n in range(SUBMISSION_SHARE - 1)]
            for each in inside:
                await each.expect(220)
            late = await house.connect(address="203.0.200.1")
            assert await late.reply() == "421 4.3.2 Too many connections, try again later"
            await late.until_closed()
            (refusal,) = house.ledger.refusals()
            assert (refusal.stage, refusal.verdicts[0].rule, refusal.verdicts[0].result) == (
                "connect", "sessions", "defer"
            )  # fmt: skip
            await inside[0].say("QUIT", 221)
            await inside[0].until_closed()
            await pass_time(0.1)
            async with house.client(address="203.0.200.1") as client:
                await client.say("EHLO c.example", 250)
                await client.give(LETTER)
            assert reception.sessions <= SUBMISSION_SHARE - 1

    play(scene)


def test_a_chunk_that_trickles_in_is_cut_off(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await begin(client)
            client.send("BDAT 100000")
            began = house.clock.now()
            while not client.closed:
                client.transport.write(b"x")
                await pass_time(5)
            assert client.received.startswith(b"421 4.4.2")
            assert (house.clock.now() - began).total_seconds() < 60
            assert house.files() == []

    play(scene)


def test_a_client_that_rests_between_chunks_for_ever_loses_its_slot_and_its_content(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception() as reception, house.client() as client:
            await begin(client)
            large = b"Subject: x\r\n\r\n" + b"y\r\n" * CONTENT_IN_ROW_BYTES
            client.transport.write(b"BDAT %d\r\n" % len(large) + large)
            await client.expect(250)
            assert house.files() != []
            assert b"421 4.4.2" in await client.until_closed()
            await pass_time(1)
            assert (reception.sessions, house.files()) == (0, [])

    play(scene)


def test_chunks_that_come_steadily_are_taken_however_many(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await begin(client)
            line = b"x" * 198 + b"\r\n"
            for _ in range(300):
                client.transport.write(b"BDAT 200\r\n" + line)
                await client.expect(250)
                await pass_time(1)
            await client.say("BDAT 0 LAST", 250)
            assert (await house.content()).endswith(line * 300)

    play(scene)


@pytest.mark.parametrize("size", [100, 2 * CONTENT_IN_ROW_BYTES])
@pytest.mark.parametrize(
    ("failure", "answer"), [(StoreFull("full"), "452 4.3.1"), (StoreUnavailable("broken"), "451 4.3.0")]
)
def test_a_store_that_fails_at_the_last_chunk_is_never_answered_250(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, failure: Exception, answer: str
) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await begin(client)

            def fails(message: object) -> None:
                raise failure

            with monkeypatch.context() as patched:
                patched.setattr(house.queue, "accept", fails)
                content = LETTER + b"x\r\n" * (size // 3)
                client.transport.write(b"BDAT %d LAST\r\n" % len(content) + content)
                assert (await client.reply()).startswith(answer)
            assert house.accepted == []
            await client.say("DATA", 503)
            assert (await client.give(LETTER)).startswith("250")
            await pass_time(1)
            assert house.files() == []

    play(scene)


def test_a_disk_that_fills_up_turns_mail_away_and_mail_comes_in_again_when_there_is_room(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            house.free_bytes = DISK_RESERVE_BYTES - 1
            await client.say("MAIL FROM:<cat@c.example> SIZE=10", 452, "4.3.1")
            assert house.ledger.refusals()[-1].verdicts[0].rule == "disk"
            house.free_bytes = DISK_RESERVE_BYTES
            await client.give(LETTER)
            assert len(house.accepted) == 1

    play(scene)


def test_known_and_unknown_recipients_are_answered_in_the_same_time(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.say("MAIL FROM:<cat@c.example>", 250)
            loop_times = []
            for name, code in (("ann", 250), ("nobody", 550), ("postmaster", 250), ("bob", 550)):
                before = house.clock.now()
                await client.say(f"RCPT TO:<{name}@{HERE}>", code)
                loop_times.append(house.clock.now() - before)
            assert len(set(loop_times)) == 1

    play(scene)
