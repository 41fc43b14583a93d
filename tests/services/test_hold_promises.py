"""What a sender was promised is kept for mail that waits: its octets, its time, its being there after a crash."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.hold_store import HoldLocked, HoldSettlement
from postroad.storage.sqlite.hold_shard import hold_name
from postroad.storage.sqlite.hold_store import SqliteHoldStore
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES
from postroad.wire.smtp.server_profile import ServerProfile
from tests.message.mime import decoded, head, multipart
from tests.services.depots import Depot, calling
from tests.services.houses import pass_time, play
from tests.services.test_holds import Taker, at_home, dialled, is_sent, log_in, provider, send

MIME = (b"From: ann@a.example", b"Subject: x", b"MIME-Version: 1.0")
TEXT = head(b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: 8bit") + b"caf\xc3\xa9"
LARGE = multipart(b"b", TEXT + b"\r\nna\xc3\xafve" * CONTENT_IN_ROW_BYTES, first=MIME)
SIGNED = multipart(
    b"s",
    head(b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: 8bit")
    + b"na\xc3\xafve\r\n" * CONTENT_IN_ROW_BYTES,
    head(b"Content-Type: application/pgp-signature") + b"=abcd",
    subtype=b"signed",
    first=MIME,
)
_DATABASE = (".db", ".db-wal", ".db-shm", ".lock")


def files_of(folder: Path) -> list[str]:
    """What is left of large content."""
    return [path.name for path in folder.rglob("*") if path.is_file() and path.suffix not in _DATABASE]


async def send_eight_bit(depot: Depot, content: bytes, parameters: str = "") -> None:
    """A letter from eve, over port 25."""
    async with calling(depot) as client:
        await client.say(f"MAIL FROM:<eve@p.example> BODY=8BITMIME{parameters}", 250)
        await client.say("RCPT TO:<bob@d.example>", 250)
        await client.say("DATA", 354)
        client.transport.write(content + b".\r\n")
        await client.expect(250)
    await depot.is_quiet()


async def told(depot: Depot) -> bytes:
    """The one notification that eve has, or will have."""

    async def there() -> bool:
        return bool(await depot.letters_of("eve"))

    await depot.until(there)
    (notification,) = await depot.letters_of("eve")
    return notification


# ---- the form of the content ---------------------------------------------------------------------


def test_large_content_is_made_7_bit_for_an_owner_whose_host_takes_nothing_else(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send_eight_bit(depot, LARGE)
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                ((_, _, content),) = await Taker(client).serve()
            assert content.isascii()
            assert decoded(content) == decoded(LARGE)
            await pass_time(1)
            assert await depot.held("d.example") == 0
            assert files_of(tmp_path / "queue") == files_of(tmp_path / "hold") == []

    play(scene)


def test_large_content_is_made_7_bit_on_its_way_by_etrn_too(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            home = at_home(depot)
            home.profile = ServerProfile(hostname=home.hostname, eight_bit_mime=False)
            await send_eight_bit(depot, LARGE)
            async with calling(depot) as client:
                await client.say("ETRN d.example", 253)
            await is_sent(depot, "d.example")
            (taken,) = home.mail
            assert taken.content.isascii()
            assert decoded(taken.content) == decoded(LARGE)
            assert files_of(tmp_path / "queue") == []

    play(scene)


def test_an_owner_who_vanishes_while_content_is_made_7_bit_leaves_no_file_behind(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send_eight_bit(depot, LARGE)
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                client.send("220 home", "250 home")
                await client.line()  # EHLO
                await client.line()  # MAIL
                client.transport.abort()
            await pass_time(60)
            assert await depot.held("d.example") == 1
            assert files_of(tmp_path / "queue") == []
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                assert len(await Taker(client).serve()) == 1

    play(scene)


def test_what_cannot_be_made_7_bit_goes_back_to_its_sender_with_the_reason(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send_eight_bit(depot, SIGNED)
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                assert await Taker(client).serve() == []
            assert b"Status: 5.6.3" in await told(depot)
            assert await depot.held("d.example") == 0

    play(scene)


# ---- the time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["N", "NT"])
def test_the_sender_hears_when_mail_with_a_time_goes_where_nobody_keeps_it(tmp_path: Path, mode: str) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send_eight_bit(depot, b"Subject: x\r\n", f" BY=7200;{mode}")
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                assert len(await Taker(client).serve()) == 1
            assert b"Action: relayed" in await told(depot)

    play(scene)


def test_a_host_that_keeps_the_time_is_told_what_is_left_of_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send_eight_bit(depot, b"Subject: x\r\n", " BY=7200;R")
            await pass_time(200)
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                ((sender, _, _),) = await Taker(client).serve("250 DELIVERBY")
            (by,) = [word for word in sender.split() if word.startswith("BY=")]
            assert 6900 <= int(by[3:].partition(";")[0]) <= 7000
            await pass_time(300)
            assert await depot.letters_of("eve") == []

    play(scene)


# ---- one at a time -------------------------------------------------------------------------------


def test_young_mail_is_looked_through_without_locking_its_owner_out(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")
            await pass_time(600)
            assert not (tmp_path / "hold" / f"{hold_name('d.example')}.lock").exists()

    play(scene)


def test_a_hold_that_is_locked_for_a_moment_is_sent_when_it_is_free(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            home = at_home(depot)
            await send(depot, "bob@d.example")
            async with calling(depot) as client:
                async with depot.store.open_hold("d.example"):
                    await client.say("ETRN d.example", 253)
                    await pass_time(0.5)
                await is_sent(depot, "d.example")
            assert len(home.mail) == 1

    play(scene)


def test_a_hold_that_another_worker_sends_out_is_left_to_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            home = at_home(depot)
            await send(depot, "bob@d.example")
            other = SqliteHoldStore(tmp_path / "hold", direct=True)
            async with other.open_hold("d.example") as hold:
                (message,) = await hold.messages(0, 10)
                async with calling(depot) as client:
                    await client.say("ETRN d.example", 253)
                async with dialled(depot) as client:
                    await client.say("ATRN d.example", 451)
                await pass_time(3600)
                assert home.mail == []
                await hold.settle(HoldSettlement(number=message.number))
            await other.close()
            async with calling(depot) as client:
                await client.say("ETRN d.example", 251)
            assert home.mail == []

    play(scene)


def test_etrn_while_the_owner_fetches_sends_nothing_twice(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            home = at_home(depot)
            for _ in range(3):
                await send(depot, "bob@d.example")
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                async with calling(depot) as another:
                    await another.say("ETRN d.example", 253)
                    await another.say("NOOP", 250)
                await pass_time(120)
                assert len(await Taker(client).serve()) == 3
            await pass_time(60)
            assert home.mail == []
            assert await depot.held("d.example") == 0

    play(scene)


def test_an_owner_who_says_nothing_for_ever_does_not_keep_the_hold_locked(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")
            async with dialled(depot) as silent:
                await silent.say("ATRN", 250)
                with pytest.raises(HoldLocked):
                    async with depot.store.open_hold("d.example"):
                        pass
                await pass_time(3600)
                async with dialled(depot) as client:
                    await client.say("ATRN", 250)
                    assert len(await Taker(client).serve()) == 1

    play(scene)


# ---- crashes -------------------------------------------------------------------------------------


def test_a_server_that_ends_before_it_could_write_down_what_was_fetched_sends_it_again_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(store: SqliteHoldStore, domain: str, settlement: HoldSettlement) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(StoreUnavailable("the disk is broken"))
        return future

    async def before() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", "bea@d.example")
            async with calling(depot, secure=True) as client:
                await log_in(client)
                await client.say("TURN", 250)
                assert len(await Taker(client).serve()) == 1
            depot.errors.clear()

    async def after() -> None:
        async with provider(tmp_path) as depot:
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                ((_, recipients, _),) = await Taker(client).serve()
            assert len(recipients) == 2

    with monkeypatch.context() as spoiled:
        spoiled.setattr(SqliteHoldStore, "settle", never)
        play(before)
    play(after)
