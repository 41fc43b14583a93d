"""The dial-up customer: a Postroad collects from a Postroad, by each way there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.contracts.resolver import MxRecord
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.settings import HoldDomain, LimitSettings, Pickup, PickupMethod, SmarthostTls
from postroad.vocabulary.story import Received
from postroad.wire.pop3.client import Pop3ClientSession
from tests.services.depots import PASSWORD, Depot, Internet, hold, pickup
from tests.services.houses import pass_time, play
from tests.services.test_holds import LARGE, LETTER, send

HOLDS = (hold("d.example", "dave@p.example"), hold("e.example", "dave@p.example"))
PROVIDER = "mx.p.example"
BOB = Mailbox("bob", "d.example")
LOGIN = {"user": "dave@p.example", "password": PASSWORD}


@asynccontextmanager
async def pair(
    folder: Path, *pickups: Pickup, holds: tuple[HoldDomain, ...] = HOLDS, limits: LimitSettings | None = None
) -> AsyncIterator[tuple[Depot, Depot]]:
    """A provider, and a customer with the domain d.example whose MX is the provider's."""
    internet = Internet()
    async with (
        Depot.open(internet, folder / "p", "p.example", "192.0.2.1", users=("dave", "eve"), holds=holds) as provider,
        Depot.open(
            internet, folder / "d", "d.example", "203.0.113.9", users=("bob", "bea"), pickups=pickups, limits=limits
        ) as customer,
    ):
        internet.mx["d.example"] = (MxRecord(10, PROVIDER),)
        yield provider, customer


@pytest.mark.parametrize(
    ("method", "more"),
    [
        (PickupMethod.ATRN, {}),
        (PickupMethod.ATRN, {"domains": ("d.example",)}),
        (PickupMethod.TURN, {}),
        (PickupMethod.ATRN, {"tls": SmarthostTls.OPPORTUNISTIC}),
    ],
)
@pytest.mark.parametrize("content", [LETTER, LARGE], ids=["small", "large"])
def test_mail_is_collected_over_the_connection_that_asked_for_it(
    tmp_path: Path, method: PickupMethod, more: dict[str, object], content: bytes
) -> None:
    async def scene() -> None:
        async with pair(tmp_path, pickup(method, PROVIDER, **LOGIN, **more)) as (provider, customer):
            await send(provider, "bob@d.example", "bea@d.example", content=content)
            await send(provider, "bob@d.example")
            (result,) = await customer.picked_up()
            assert (result.ok, result.messages) == (True, 2)
            await customer.is_quiet()
            first, second = await customer.letters_of("bob")
            assert first.startswith(b"Return-Path: <ann@a.example>\r\n")
            assert first.endswith(content)
            assert second.endswith(LETTER)
            assert len(await customer.letters_of("bea")) == 1
            await pass_time(1)
            assert await provider.held("d.example") == 0

    play(scene)


def test_what_was_collected_says_so_in_its_story_and_in_its_trace(tmp_path: Path) -> None:
    async def scene() -> None:
        async with pair(tmp_path, pickup(PickupMethod.ATRN, PROVIDER, **LOGIN)) as (provider, customer):
            await send(provider, "bob@d.example")
            await customer.picked_up()
            await customer.is_quiet()
            (fact,) = (each for each in customer.accepted[0].story.facts if isinstance(each, Received))
            assert fact.listener == "pickup"
            assert fact.peer.tls is not None
            (letter,) = await customer.letters_of("bob")
            assert letter.count(b"Received: from") == 2
            assert b"by mx.d.example with ESMTPS" in letter

    play(scene)


def test_nothing_that_is_collected_goes_on_to_elsewhere(tmp_path: Path) -> None:
    async def scene() -> None:
        # e.example is held for the same owner, and is no domain of the customer's.
        async with pair(tmp_path, pickup(PickupMethod.ATRN, PROVIDER, **LOGIN)) as (provider, customer):
            await send(provider, "eva@e.example", sender="eve@p.example")
            await send(provider, "nobody@d.example", sender="eve@p.example")
            (result,) = await customer.picked_up()
            assert result.messages == 0

            async def told() -> bool:
                return len(await provider.letters_of("eve")) == 2

            await provider.until(told)
            assert (await customer.queue.counts(customer.internet.clock.now()))["messages"] == 0

    play(scene)


def test_etrn_has_it_sent_to_us(tmp_path: Path) -> None:
    async def scene() -> None:
        asked = pickup(PickupMethod.ETRN, PROVIDER, domains=("d.example",))
        async with pair(tmp_path, asked) as (provider, customer):
            await send(provider, "bob@d.example")
            provider.internet.mx["d.example"] = (MxRecord(10, customer.hostname), MxRecord(20, PROVIDER))
            (result,) = await customer.picked_up()
            assert result.ok
            assert "1 pending messages" in result.said

            async def come() -> bool:
                return len(await customer.letters_of("bob")) == 1

            await customer.until(come)

    play(scene)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, "535"),
        ({"host": "nowhere.example"}, "no address"),
        ({"port": 99}, "no connection"),
        ({"domains": ("p.example",)}, "450"),
        ({"user": "", "password": ""}, "530"),
    ],
)
def test_what_goes_wrong_is_told_in_words(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    async def scene() -> None:
        wrong = pickup(PickupMethod.ATRN, **{"host": PROVIDER, **LOGIN, **changes})  # type: ignore[arg-type]
        async with pair(tmp_path, wrong) as (provider, customer):
            await send(provider, "bob@d.example")
            (result,) = await customer.picked_up()
            assert not result.ok
            assert words in result.said
            assert await provider.held("d.example") == 1

    play(scene)


def test_no_mail_is_no_failure(tmp_path: Path) -> None:
    async def scene() -> None:
        async with pair(tmp_path, pickup(PickupMethod.ATRN, PROVIDER, **LOGIN)) as (_, customer):
            (result,) = await customer.picked_up()
            assert result.ok
            assert "453" in result.said

    play(scene)


def test_it_is_done_again_and_again_by_itself(tmp_path: Path) -> None:
    async def scene() -> None:
        often = pickup(PickupMethod.ATRN, PROVIDER, **LOGIN, every=timedelta(minutes=10))
        async with pair(tmp_path, often) as (provider, customer):
            for count in range(1, 4):
                await send(provider, "bob@d.example")
                await pass_time(700)
                assert len(await customer.letters_of("bob")) == count

    play(scene)


# ---- POP3 ----------------------------------------------------------------------------------------

POP3 = pickup(PickupMethod.POP3, PROVIDER, **LOGIN, deliver_to=BOB)


@pytest.mark.parametrize("content", [LETTER, LARGE], ids=["small", "large"])
def test_a_maildrop_elsewhere_is_fetched_into_a_mailbox_here(tmp_path: Path, content: bytes) -> None:
    async def scene() -> None:
        async with pair(tmp_path, POP3) as (provider, customer):
            await send(provider, "dave@p.example", content=content)
            await send(provider, "dave@p.example")
            (result,) = await customer.picked_up()
            assert (result.ok, result.messages) == (True, 2)
            await customer.is_quiet()
            first, second = await customer.letters_of("bob")
            assert first.endswith(content)
            assert second.endswith(LETTER)
            assert first.startswith(b"Return-Path: <ann@a.example>\r\nReceived: from mx.p.example")
            assert first.count(b"Return-Path") == 1
            assert await provider.letters_of("dave") == []
            (again,) = await customer.picked_up()
            assert again.messages == 0

    play(scene)


def test_a_connection_that_ends_before_the_goodbye_fetches_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with pair(tmp_path, POP3) as (provider, customer):
            for _ in range(3):
                await send(provider, "dave@p.example")
            with monkeypatch.context() as spoiled:
                # The third deletion is never answered: the session ends, and with it every mark.
                deletions = []
                delete = Pop3ClientSession.delete

                def dead_at_the_third(session: Pop3ClientSession, number: int) -> None:
                    deletions.append(number)
                    if len(deletions) == 3:
                        session.receive_data(b"")
                    delete(session, number)

                spoiled.setattr(Pop3ClientSession, "delete", dead_at_the_third)
                (result,) = await customer.picked_up()
                assert not result.ok
            await customer.is_quiet()
            assert len(await customer.letters_of("bob")) == 3
            await pass_time(5)
            assert len(await provider.letters_of("dave")) == 3
            (result,) = await customer.picked_up()
            assert (result.ok, result.messages) == (True, 0)
            await customer.is_quiet()
            assert len(await customer.letters_of("bob")) == 3
            assert await provider.letters_of("dave") == []

    play(scene)


def test_the_unique_ids_are_remembered_as_long_as_they_can_come_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with pair(tmp_path, POP3) as (provider, customer):
            await send(provider, "dave@p.example")
            await customer.picked_up()
            assert len(await customer.queue.keys("pop3/", "", 10)) == 1
            await customer.picked_up()
            assert await customer.queue.keys("pop3/", "", 10) == ()

    play(scene)


def test_a_message_that_is_too_large_stays_where_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        async with pair(tmp_path, POP3, limits=LimitSettings(message_bytes=65_536)) as (provider, customer):
            await send(provider, "dave@p.example", content=LARGE)
            await send(provider, "dave@p.example")
            (result,) = await customer.picked_up()
            assert result.messages == 1
            assert "1 stay there" in result.said
            assert len(await provider.letters_of("dave")) == 1

    play(scene)


def test_the_password_is_not_said_without_tls_unless_the_administrator_wants_none(tmp_path: Path) -> None:
    async def scene() -> None:
        clear = pickup(PickupMethod.POP3, PROVIDER, **LOGIN, deliver_to=BOB, tls=SmarthostTls.NONE, name="clear")
        perhaps = pickup(
            PickupMethod.POP3, "203.0.113.50", **LOGIN, deliver_to=BOB, tls=SmarthostTls.OPPORTUNISTIC, name="perhaps"
        )
        async with pair(tmp_path, clear, perhaps) as (provider, customer):
            await send(provider, "dave@p.example")
            said: list[bytes] = []
            listener = provider.internet.network.host("203.0.113.50").listen(110, lambda: Scripted(said))
            (result,) = await customer.picked_up("perhaps")
            assert not result.ok
            assert not any(b"PASS" in line for line in said)
            listener.stop()
            (result,) = await customer.picked_up("clear")
            assert (result.ok, result.messages) == (True, 1)

    play(scene)


class Scripted(asyncio.Protocol):
    """A POP3 server without TLS, which notes what it is told."""

    def __init__(self, said: list[bytes]) -> None:
        self._said = said

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"+OK ready\r\n")

    def data_received(self, data: bytes) -> None:
        self._said.append(data)
        self._transport.write(b"-ERR what?\r\n")


def test_a_server_that_offers_no_turn_is_left_with_a_word(tmp_path: Path) -> None:
    async def scene() -> None:
        async with pair(tmp_path, pickup(PickupMethod.TURN, PROVIDER, **LOGIN), holds=()) as (_, customer):
            (result,) = await customer.picked_up()
            assert not result.ok

    play(scene)
