"""What the extensions ask for is kept: BDAT and binary content, times, priorities, secrecy."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from postroad.vocabulary.envelope import BodyType, DeliverBy
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES, FUTURE_RELEASE_MAX_S
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import LimitSettings
from tests.services.houses import HERE, Client, House, play

LETTER = b"Subject: hi\r\n\r\nHello\r\n"
BINARY = b"Subject: bits\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(range(256)) + b"\r.\n\r\n.\r\nend"


async def chunk(client: Client, octets: bytes, *, last: bool = False) -> str:
    client.transport.write(b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets)
    return await client.reply()


async def begin(client: Client, parameters: str = "", recipient: str = f"ann@{HERE}") -> None:
    await client.say("EHLO c.example", 250)
    await client.say(f"MAIL FROM:<cat@c.example>{parameters}", 250)
    await client.say(f"RCPT TO:<{recipient}>", 250)


# ---- BDAT -----------------------------------------------------------------------------------------


def test_content_by_chunks_is_kept_as_content_by_data_is(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await begin(client)
            assert (await chunk(client, LETTER[:10])).startswith("250 ")
            reply = await chunk(client, LETTER[10:], last=True)
            assert reply == f"250 2.0.0 Ok: queued as {house.accepted[0].queue_id}"
            assert (await house.content()).endswith(b"\r\n" + LETTER)
            assert house.accepted[0].envelope.body is BodyType.SEVEN_BIT

    play(scene)


@pytest.mark.parametrize("size", [1000, 3 * CONTENT_IN_ROW_BYTES])
def test_binary_content_is_kept_octet_for_octet(tmp_path: Path, size: int) -> None:
    async def scene() -> None:
        content = BINARY * (size // len(BINARY) + 1)
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await begin(client, " BODY=BINARYMIME")
            await chunk(client, content[:777])
            assert (await chunk(client, content[777:])).startswith("250 ")
            assert (await chunk(client, b"", last=True)).startswith("250 ")
            stored = await house.content()
            assert stored.endswith(b"\r\n" + content)
            assert stored.startswith(b"Received: ")
            assert house.accepted[0].envelope.body is BodyType.BINARY_MIME
            assert bool(house.files()) == (size > CONTENT_IN_ROW_BYTES)

    play(scene)


def test_a_lone_lf_by_chunks_is_refused_unless_the_content_was_said_to_be_binary(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await begin(client)
            assert (await chunk(client, LETTER + b"a\nb\r\n", last=True)).startswith("550 5.6.0")
            assert house.accepted == []
            await client.say("NOOP", 250)

    play(scene)


def test_a_large_letter_by_chunks_that_is_given_up_leaves_no_file(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await begin(client)
            await chunk(client, b"Subject: x\r\n\r\n" + b"y\r\n" * CONTENT_IN_ROW_BYTES)
            await client.say("RSET", 250)
            await client.say("NOOP", 250)
            assert house.files() == []
            assert await house.queued() == 0

    play(scene)


def test_what_is_announced_is_what_is_obeyed(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(recipients=120, messages_per_session=7)
        async with House.open(tmp_path) as house, house.reception(limits=limits):
            async with house.client() as client:
                words = set((await client.say("EHLO c.example", 250)).replace("-", " ", 99).split("\n"))
                said = {word[4:] for word in words}
                assert {"CHUNKING", "BINARYMIME", "DELIVERBY", "LIMITS MAILMAX=7 RCPTMAX=120"} <= said
                assert not {word for word in said if word.startswith(("MT PRIORITY", "FUTURERELEASE", "REQUIRETLS"))}
            async with house.client(ListenerRole.SUBMISSIONS) as client:
                said_there = await client.say("EHLO c.example", 250)
                assert "MT-PRIORITY" in said_there
                assert f"FUTURERELEASE {FUTURE_RELEASE_MAX_S} " in said_there
                assert "REQUIRETLS" in said_there

    play(scene)


# ---- what travels with the envelope ---------------------------------------------------------------


async def submitted(client: Client, parameters: str) -> str:
    await client.say("EHLO c.example", 250)
    assert (await client.log_in()).startswith("235")
    client.send(f"MAIL FROM:<ann@{HERE}> {parameters}")
    return await client.reply()


async def finish(client: Client) -> None:
    await client.say("RCPT TO:<dan@d.example>", 250)
    await client.say("DATA", 354)
    client.transport.write(LETTER + b".\r\n")
    await client.expect(250)


def test_what_a_user_asks_for_is_in_the_envelope(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            async with house.client(ListenerRole.SUBMISSIONS) as client:
                await submitted(client, "REQUIRETLS BY=3600;RT MT-PRIORITY=4 RET=HDRS ENVID=x")
                await finish(client)
            envelope = house.accepted[0].envelope
            assert envelope.require_tls
            assert envelope.deliver_by == DeliverBy(3600, "R", True)
            assert envelope.priority == 4
            assert envelope.release_at is None
            assert house.accepted[0].due_at is None
            assert b"\r\n\tpriority 4;\r\n" in await house.content()

    play(scene)


def test_a_message_for_later_is_due_later(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            async with house.client(ListenerRole.SUBMISSIONS) as client:
                await submitted(client, "HOLDFOR=86400")
                await finish(client)
                until = house.clock.now().replace(microsecond=0) + timedelta(days=2)
                await client.say(f"MAIL FROM:<ann@{HERE}> HOLDUNTIL={until:%Y-%m-%dT%H:%M:%SZ}", 250)
                await finish(client)
                past = until - timedelta(days=9)
                await client.say(f"MAIL FROM:<ann@{HERE}> HOLDUNTIL={past:%Y-%m-%dT%H:%M:%SZ}", 250)
                await finish(client)
            first, second, third = house.accepted
            assert first.due_at == first.queued_at + timedelta(days=1)
            assert first.envelope.release_at == first.due_at
            assert second.due_at == until
            assert (third.due_at, third.envelope.release_at) == (None, None)

    play(scene)


@pytest.mark.parametrize(
    ("parameters", "answer"),
    [
        (f"HOLDFOR={FUTURE_RELEASE_MAX_S}", "250"),
        (f"HOLDFOR={FUTURE_RELEASE_MAX_S + 1}", "501 5.5.4"),
        ("HOLDFOR=3600 BY=7200;R", "250"),
        ("HOLDFOR=7200 BY=7200;R", "501 5.5.4"),
        ("HOLDFOR=7200 BY=60;N", "501 5.5.4"),
    ],
)
def test_how_long_a_message_may_be_held(tmp_path: Path, parameters: str, answer: str) -> None:
    async def scene() -> None:
        async with (
            House.open(tmp_path) as house,
            house.reception(),
            house.client(ListenerRole.SUBMISSIONS) as client,
        ):
            assert (await submitted(client, parameters)).startswith(answer)

    play(scene)


@pytest.mark.parametrize("parameter", ["REQUIRETLS", "HOLDFOR=60", "MT-PRIORITY=3"])
def test_what_is_not_offered_to_strangers_in_clear_is_refused(tmp_path: Path, parameter: str) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.say(f"MAIL FROM:<cat@c.example> {parameter}", 555, "5.5.4")

    play(scene)


def test_a_stranger_may_require_tls_inside_tls(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.say("STARTTLS", 220)
            await client.start_tls()
            await begin(client, " REQUIRETLS")
            await chunk(client, LETTER, last=True)
            assert house.accepted[0].envelope.require_tls

    play(scene)


def test_a_letter_that_requires_tls_is_not_freed_by_its_own_header(tmp_path: Path) -> None:
    """RFC 8689 section 4.1: TLS-Required beside REQUIRETLS means nothing, and is carried as it came."""

    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client(ListenerRole.SUBMISSIONS) as client:
            assert (await submitted(client, "REQUIRETLS")).startswith("250")
            await client.say("RCPT TO:<dan@d.example>", 250)
            await client.say("DATA", 354)
            client.transport.write(b"TLS-Required: No\r\n" + LETTER + b".\r\n")
            await client.expect(250)
            assert house.accepted[0].envelope.require_tls
            assert b"\r\nTLS-Required: No\r\n" in await house.content()

    play(scene)
