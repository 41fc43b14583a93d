"""Content that a next hop or a mailbox cannot have as it is: made 7-bit, or returned with words."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.message.convert import to_seven_bit
from postroad.rules.body_form import Ask
from postroad.services.conversion import Conversions, Converted
from postroad.storage.sqlite.queue_content import FileSpool
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import BodyType
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.queue_id import QueueId
from postroad.wire.pop3.content import MessageOutput
from postroad.wire.smtp.server_profile import ServerProfile
from postroad.world.aside import in_a_thread
from postroad.world.clock import SystemClock
from tests.message.mime import decoded, head, multipart
from tests.services.towns import ANN, Town, WatchedQueue, play
from tests.support.peer import Peer, Temper

A = TypeVar("A")
R = TypeVar("R")

MIME = (b"From: ann@a.example", b"Subject: x", b"MIME-Version: 1.0")
TEXT = head(b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: 8bit") + b"caf\xc3\xa9"
PICTURE = head(b"Content-Type: image/png", b"Content-Transfer-Encoding: binary") + b"\x89PNG\r\n\x1a\n\0"
LARGE_TEXT = TEXT + b"\r\nna\xc3\xafve" * CONTENT_IN_ROW_BYTES
_DATABASE = (".db", ".db-wal", ".db-shm", ".lock")
LARGE_PICTURE = PICTURE + bytes(range(256)) * 2048


def old_server(town: Town, **profile: bool) -> Peer:
    """A next hop that has never heard of 8-bit mail."""
    b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
    b.profile = ServerProfile(hostname=b.hostname, **{"eight_bit_mime": False, **profile})  # type: ignore[arg-type]
    return b


def files_of(tmp_path: Path) -> list[str]:
    """Of the queue, but its database."""
    return [path.name for path in (tmp_path / "queue").rglob("*") if path.is_file() and path.suffix not in _DATABASE]


@pytest.mark.parametrize("part", [TEXT, LARGE_TEXT], ids=["small", "large"])
def test_a_server_without_8bitmime_gets_7_bit_content(tmp_path: Path, part: bytes) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = old_server(town)
            content = multipart(b"b", part, first=MIME)
            await town.send(ANN, "bob@b.example", content=content, body=BodyType.EIGHT_BIT_MIME)
            await town.queue_is_empty()
            (taken,) = b.mail
            assert taken.content.isascii()
            assert decoded(taken.content) == decoded(content)
            assert b.senders[0].body is BodyType.SEVEN_BIT
            assert files_of(tmp_path) == []

    play(scene)


@pytest.mark.parametrize("part", [PICTURE, LARGE_PICTURE], ids=["small", "large"])
@pytest.mark.parametrize("eight_bit_mime", [False, True])
def test_binary_content_is_made_7_bit_for_a_server_that_takes_none(
    tmp_path: Path, part: bytes, eight_bit_mime: bool
) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = old_server(town, eight_bit_mime=eight_bit_mime)
            content = multipart(b"b", part, first=MIME)
            await town.send(ANN, "bob@b.example", "bill@b.example", content=content, body=BodyType.BINARY_MIME)
            await town.queue_is_empty()
            (taken,) = b.mail
            assert taken.recipients == ("bob@b.example", "bill@b.example")
            assert taken.content.isascii()
            assert decoded(taken.content) == decoded(content)

    play(scene)


@pytest.mark.parametrize("part", [PICTURE, LARGE_PICTURE], ids=["small", "large"])
def test_binary_content_goes_as_it_is_where_it_is_taken(tmp_path: Path, part: bytes) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = old_server(town, eight_bit_mime=True, chunking=True, binarymime=True)
            content = multipart(b"s", part, TEXT, subtype=b"signed", first=MIME)
            await town.send(ANN, "bob@b.example", content=content, body=BodyType.BINARY_MIME)
            await town.queue_is_empty()
            assert [taken.content for taken in b.mail] == [content]
            assert b.senders[0].body is BodyType.BINARY_MIME

    play(scene)


def test_what_declares_more_than_it_needs_goes_out_as_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = old_server(town, eight_bit_mime=True)
            content = multipart(b"b", TEXT, first=MIME)
            await town.send(ANN, "bob@b.example", content=content, body=BodyType.BINARY_MIME)
            await town.queue_is_empty()
            assert b.mail[0].content == content
            assert b.senders[0].body is BodyType.EIGHT_BIT_MIME

    play(scene)


@pytest.mark.parametrize("part", [TEXT, LARGE_TEXT], ids=["small", "large"])
def test_a_signed_part_that_would_break_is_returned(tmp_path: Path, part: bytes) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = old_server(town)
            content = multipart(b"s", part, TEXT, subtype=b"signed", first=MIME)
            await town.send(ANN, "bob@b.example", content=content, body=BodyType.EIGHT_BIT_MIME)
            await town.settled(1)
            outcome = (await town.attempts())[0].outcomes[0]
            assert (outcome.fate, str(outcome.status)) == (Fate.FAILED, "5.6.3")
            assert outcome.text == (
                "mx.b.example takes no 8-bit content (8BITMIME), and the message cannot be converted: "
                "it is signed, and a conversion would break the signature."
            )
            assert b.mail == []
            await town.queue_is_empty()
            assert len(await town.mail_of("ann")) == 1
            assert files_of(tmp_path) == []

    play(scene)


def test_a_form_that_is_too_large_for_the_server_is_returned(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            b = town.peer("mx.b.example", "203.0.113.2", domain="b.example")
            b.profile = ServerProfile(hostname=b.hostname, eight_bit_mime=False, message_bytes=5000)
            content = multipart(b"b", TEXT + b"\xc3\xa9" * 2000, first=MIME)
            await town.send(None, "bob@b.example", content=content, body=BodyType.EIGHT_BIT_MIME)
            await town.settled(1)
            outcome = (await town.attempts())[0].outcomes[0]
            assert (outcome.fate, str(outcome.status)) == (Fate.FAILED, "5.3.4")

    play(scene)


def test_a_server_that_takes_8bitmime_gets_what_another_could_not_have(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            first = old_server(town)
            second = town.peer("mx2.b.example", "203.0.113.3", domain="b.example", preference=20)
            content = multipart(b"b", LARGE_TEXT, first=MIME)
            first.on_recipient = lambda _: Temper.CUT
            await town.send(ANN, "bob@b.example", content=content, body=BodyType.EIGHT_BIT_MIME)
            await town.queue_is_empty()
            assert [taken.content for taken in second.mail] == [content]
            assert files_of(tmp_path) == []

    play(scene)


# ---- mailboxes here ------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [PICTURE, LARGE_PICTURE], ids=["small", "large"])
def test_binary_content_rests_in_a_mailbox_as_lines(tmp_path: Path, part: bytes) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            content = multipart(b"b", part, TEXT, first=MIME)
            await town.send(None, "ann@a.example", "cat@a.example", content=content, body=BodyType.BINARY_MIME)
            await town.queue_is_empty()
            for name in ("ann", "cat"):
                (kept,) = await town.mail_of(name)
                assert kept.isascii()
                assert kept.replace(b"\r\n", b"").count(b"\n") == kept.replace(b"\r\n", b"").count(b"\r") == 0
                assert decoded(kept) == decoded(content)
            assert files_of(tmp_path) == []

    play(scene)


def test_binary_content_that_is_none_is_delivered_as_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            content = multipart(b"b", TEXT, first=MIME)
            await town.send(None, "cat@a.example", content=content, body=BodyType.BINARY_MIME)
            await town.queue_is_empty()
            (kept,) = await town.mail_of("cat")
            assert kept.endswith(content)

    play(scene)


def test_binary_content_that_is_signed_is_returned_to_its_sender(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            content = multipart(b"s", PICTURE, TEXT, subtype=b"signed", first=MIME)
            await town.send(ANN, "cat@a.example", content=content, body=BodyType.BINARY_MIME)
            await town.queue_is_empty()
            outcome = (await town.attempts())[0].outcomes[0]
            assert (outcome.fate, str(outcome.status)) == (Fate.FAILED, "5.6.3")
            assert await town.mail_of("cat") == []
            (notification,) = await town.mail_of("ann")
            assert b"\r\nStatus: 5.6.3\r\n" in notification

    play(scene)


class FullQueue(WatchedQueue):
    """No room for the first spool that is not the message's own."""

    spools = 0

    def spool(self, queue_id: QueueId) -> FileSpool:
        self.spools += 1
        spool = super().spool(queue_id)
        if self.spools == 2:
            spool._error = StoreFull("No room.")
        return spool


def test_a_full_disk_defers_what_is_to_be_converted(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path, queue=FullQueue) as town:
            content = multipart(b"b", LARGE_PICTURE, first=MIME)
            await town.send(None, "cat@a.example", content=content, body=BodyType.BINARY_MIME)
            await town.settled(1)
            outcome = (await town.attempts())[0].outcomes[0]
            assert (outcome.fate, str(outcome.status)) == (Fate.DEFERRED, "4.3.1")
            await town.queue_is_empty()
            assert decoded((await town.mail_of("cat"))[0]) == decoded(content)

    play(scene)


def test_the_size_that_pop3_lists_is_that_of_what_it_sends(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            content = multipart(b"b", LARGE_PICTURE, first=MIME)
            await town.send(None, "cat@a.example", content=content, body=BodyType.BINARY_MIME)
            await town.queue_is_empty()
            (kept,) = await town.mail_of("cat")
            cat = town.directory.account(Mailbox("cat", "a.example"))
            assert cat is not None
            (listed,) = await town.mailboxes.list_messages(cat.id)
            output = MessageOutput()
            sent = output.chunk(kept) + output.end()
            # As a client reads it: line by line, up to the dot.
            lines = sent.removesuffix(b".\r\n").replace(b"\n..", b"\n.").splitlines()
            assert listed.size_bytes == sum(len(line) + 2 for line in lines)

    play(scene)


def test_large_content_is_converted_aside_from_the_loop(tmp_path: Path) -> None:
    threads: set[int] = set()

    async def noted(function: Callable[[A], R], argument: A) -> R:
        def call(given: A) -> R:
            threads.add(threading.get_ident())
            return function(given)

        return await in_a_thread(call, argument)

    async def scene() -> None:
        store = await SqliteQueueStore.open(tmp_path / "queue", 0, clock_now=SystemClock().now)
        content = multipart(b"b", LARGE_PICTURE, TEXT, first=MIME)
        spool = store.spool(store.new_id(SystemClock().now()))
        spool.write(content)
        sealed = await spool.seal()
        conversions = Conversions(store, SystemClock(), noted)
        assert (await conversions.needs(sealed)).body is BodyType.BINARY_MIME
        made = await conversions.convert(sealed, Ask(from_binary=True, eight_bit_may_stay=False))
        assert isinstance(made, Converted)
        assert not isinstance(made.content, bytes)
        octets = b"".join([chunk async for chunk in made.content.chunks()])
        assert octets == to_seven_bit(content, from_binary=True)
        assert len(octets) == made.size_bytes
        made.discard()
        spool.discard()
        await store.close()

    asyncio.run(scene())
    assert threads
    assert threading.get_ident() not in threads
    assert files_of(tmp_path) == []


def test_without_a_place_for_another_form_large_content_is_examined_and_waits(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town.open(tmp_path) as town:
            spool = town.queue.spool(town.queue.new_id(town.clock.now()))
            spool.write(multipart(b"b", LARGE_TEXT, first=MIME))
            content = await spool.seal()
            conversions = Conversions(None, town.clock)
            assert (await conversions.needs(content)).body is BodyType.EIGHT_BIT_MIME
            with pytest.raises(StoreUnavailable):
                await conversions.convert(content, Ask(from_binary=False, eight_bit_may_stay=False))
            spool.discard()

    play(scene)
