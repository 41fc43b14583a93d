"""An account sends so many messages an hour and recipients a day, whatever it does; then it hears until when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec

from postroad.vocabulary.limits import USAGE_WRITE_S
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import AccountLimits, LimitSettings
from postroad.vocabulary.story import Received
from postroad.vocabulary.usage import HOUR, Sent
from tests.services.houses import HERE, Client, House, pass_time, play

ANN = f"ann@{HERE}"
LETTER = b"Subject: hello\r\n\r\nHello\r\n"


def limits(*, messages: int = 0, recipients: int = 0) -> LimitSettings:
    return LimitSettings(account=AccountLimits(messages_per_hour=messages, recipients_per_day=recipients))


@asynccontextmanager
async def logged_in(house: House, address: str = "198.51.100.7") -> AsyncIterator[Client]:
    async with house.client(ListenerRole.SUBMISSIONS, address) as client:
        await client.say("EHLO c.example", 250)
        assert (await client.log_in()).startswith("235")
        yield client


async def send(client: Client, *recipients: str) -> str:
    return await client.give(LETTER, *recipients, sender=ANN)


def test_the_message_after_the_last_of_the_hour_waits_for_the_next_hour(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(limits=limits(messages=3)), logged_in(house) as ann:
            began = house.clock.now()
            for _ in range(3):
                assert (await send(ann)).startswith("250")
            until = (began + HOUR + timedelta(minutes=1)).replace(second=0)
            refusal = await ann.say(f"MAIL FROM:<{ANN}>", 450, "4.7.1")
            assert refusal.endswith(f"may send 3 messages an hour; the next after {until:%Y-%m-%d %H:%M} UTC")
            assert house.ledger.refusals()[-1].verdicts[0].rule == "messages_per_hour"
            assert house.ledger.refusals()[-1].peer.account == ANN
            await pass_time((until - house.clock.now()).total_seconds())
            async with logged_in(house) as later:
                assert (await send(later)).startswith("250")

    play(scene)


def test_only_accepted_messages_count(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(limits=limits(messages=2)), logged_in(house) as ann:
            for _ in range(5):
                await ann.say(f"MAIL FROM:<{ANN}>", 250)
                await ann.say("RSET", 250)
                await ann.say(f"MAIL FROM:<{ANN}>", 250)
                await ann.say(f"RCPT TO:<nobody@{HERE}>", 550)
                await ann.say("DATA", 554)
                await ann.say("EHLO c.example", 250)
                await ann.say(f"MAIL FROM:<eve@{HERE}>", 553)
            assert (await send(ann)).startswith("250")
            assert (await send(ann)).startswith("250")
            assert (await send_begun(ann)).startswith("450")

    play(scene)


async def send_begun(client: Client) -> str:
    client.send(f"MAIL FROM:<{ANN}>")
    return await client.reply()


def test_sessions_beside_each_other_do_not_get_past_the_limit_together(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(limits=limits(messages=2)), logged_in(house) as one:
            async with logged_in(house) as two:
                await one.say(f"MAIL FROM:<{ANN}>", 250)
                await two.say(f"MAIL FROM:<{ANN}>", 250)
                async with logged_in(house) as three:
                    await three.say(f"MAIL FROM:<{ANN}>", 450, "4.7.1")
            await pass_time(1)
            async with logged_in(house) as four:
                await four.say(f"MAIL FROM:<{ANN}>", 250)

    play(scene)


def test_recipients_are_counted_over_the_day_and_each_once_in_a_message(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(limits=limits(recipients=5)):
            async with logged_in(house) as ann:
                assert (await send(ann, "a@x.example", "b@x.example", "b@x.example", ANN)).startswith("250")
                await ann.say(f"MAIL FROM:<{ANN}>", 250)
                await ann.say("RCPT TO:<a@x.example>", 250)
                await ann.say("RCPT TO:<b@x.example>", 250)
                refusal = await ann.say("RCPT TO:<c@x.example>", 450, "4.7.1")
                assert "may send 5 recipients a day; the next after " in refusal
                # Asked again it is still refused, and those that were taken get their letter.
                await ann.say("RCPT TO:<c@x.example>", 450, "4.7.1")
                await ann.say("RCPT TO:<a@x.example>", 250)
                await ann.say("DATA", 354)
                ann.transport.write(LETTER + b".\r\n")
                await ann.expect(250)
                assert [str(each.forward_path) for each in house.accepted[-1].envelope.recipients] == [
                    "a@x.example",
                    "b@x.example",
                ]
            await pass_time(HOUR.total_seconds() * 23)
            async with logged_in(house) as ann:
                await ann.say(f"MAIL FROM:<{ANN}>", 250)
                await ann.say("RCPT TO:<c@x.example>", 450, "4.7.1")
            await pass_time(HOUR.total_seconds() + 60)
            async with logged_in(house) as ann:
                assert (await send(ann, "c@x.example")).startswith("250")

    play(scene)


def test_a_restart_does_not_give_an_account_its_hour_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house:
            for sent in range(3):
                async with house.reception(limits=limits(messages=3)), logged_in(house) as ann:
                    assert (await send(ann)).startswith("250")
                assert house.directory.usage(house.ann.id).messages == sent + 1
            async with house.reception(limits=limits(messages=3)), logged_in(house) as ann:
                await ann.say(f"MAIL FROM:<{ANN}>", 450, "4.7.1")

    play(scene)


def test_counters_are_written_soon_and_together(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), logged_in(house) as ann:
            for _ in range(10):
                assert (await send(ann, ANN, "b@x.example")).startswith("250")
            assert house.directory.usage(house.ann.id).messages == 0, "no write on the way of the mail"
            await pass_time(USAGE_WRITE_S)
            usage = house.directory.usage(house.ann.id)
            assert (usage.messages, usage.recipients) == (10, 20)

    play(scene)


def test_two_workers_know_of_each_other_s_mail(tmp_path: Path) -> None:
    """The other one is played by what it writes into the directory."""

    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(limits=limits(messages=4)), logged_in(house) as ann:
            for _ in range(2):
                assert (await send(ann)).startswith("250")
            await house.directory.add_usage((Sent(house.ann.id, 2, 2, house.clock.now()),))
            await pass_time(USAGE_WRITE_S)
            await ann.say(f"MAIL FROM:<{ANN}>", 450, "4.7.1")

    play(scene)


def test_a_directory_that_takes_no_counters_holds_up_nobody_and_gets_them_later(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(limits=limits(messages=3)), logged_in(house) as ann:
            said: list[str] = []
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context["message"]))
            engine = house.directory._writer._engine  # type: ignore[attr-defined]
            engine.connection.execute(
                "CREATE TEMP TRIGGER stuck BEFORE INSERT ON main.account_usage BEGIN SELECT RAISE(ABORT, 'stuck'); END"
            )
            for _ in range(3):
                assert (await send(ann)).startswith("250")
            await pass_time(USAGE_WRITE_S)
            assert said == ["what accounts have sent cannot be written down now"]
            await ann.say(f"MAIL FROM:<{ANN}>", 450, "4.7.1")
            engine.connection.execute("DROP TRIGGER temp.stuck")
            await pass_time(USAGE_WRITE_S)
            assert house.directory.usage(house.ann.id).messages == 3

    play(scene)


def test_an_account_s_own_limits_stand_in_for_those_of_everybody_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(limits=limits(messages=1)), logged_in(house) as ann:
            assert (await send(ann)).startswith("250")
            await ann.say(f"MAIL FROM:<{ANN}>", 450)
            account = msgspec.structs.replace(house.ann, messages_per_hour=2, recipients_per_day=2)
            await house.directory.change_account(account)
            await ann.say(f"MAIL FROM:<{ANN}>", 250)
            await ann.say("RCPT TO:<a@x.example>", 250)
            await ann.say("RCPT TO:<b@x.example>", 450, "4.7.1")
            await ann.say("RSET", 250)
            await house.directory.change_account(msgspec.structs.replace(account, messages_per_hour=0))
            assert (await send(ann)).startswith("250")
            await ann.say(f"MAIL FROM:<{ANN}>", 250)

    play(scene)


def test_a_unix_user_s_account_has_the_same_limits_and_others_have_none(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(limits=limits(messages=1)):
            ann, guest = await house.connect_local(1001), await house.connect_local(1002)
            for client, sender in ((ann, ANN), (guest, f"guest@mx.{HERE}")):
                await client.expect(220)
                await client.say("EHLO localhost", 250)
                assert (await client.give(LETTER, sender=sender)).startswith("250")
            await ann.say(f"MAIL FROM:<{ANN}>", 450, "4.7.1")
            await guest.say(f"MAIL FROM:<guest@mx.{HERE}>", 250)

    play(scene)


def test_mail_from_elsewhere_has_no_account_to_be_counted_for(tmp_path: Path) -> None:
    async def scene() -> None:
        few = limits(messages=1, recipients=1)
        async with House.open(tmp_path) as house, house.reception(limits=few), house.client() as stranger:
            await stranger.say("EHLO c.example", 250)
            for _ in range(3):
                assert (await stranger.give(LETTER, ANN, "x@b.example")).startswith("250")

    play(scene)


def test_who_handed_it_in_is_noted_as_far_as_it_is_believed(tmp_path: Path) -> None:
    """RFC 4954 section 5: AUTH= on MAIL."""

    async def scene() -> None:
        async with (
            House.open(tmp_path) as house,
            house.reception(),
            house.client() as cat,
            logged_in(house) as ann,
        ):
            await cat.say("EHLO c.example", 250)
            for client, sender, reason in (
                (ann, ANN, f"submitted by sales@{HERE}"),
                (cat, "cat@c.example", f"not believed to be submitted by sales@{HERE}"),
            ):
                await client.say(f"MAIL FROM:<{sender}> AUTH=sales@{HERE}", 250)
                await client.say(f"RCPT TO:<{ANN}>", 250)
                await client.say("DATA", 354)
                client.transport.write(LETTER + b".\r\n")
                await client.expect(250)
                (received,) = house.accepted[-1].story.facts
                assert isinstance(received, Received)
                assert reason in [verdict.reason for verdict in received.verdicts]

    play(scene)
