"""Content on its way in: small mail is kept in memory and joined once, large mail streams to the queue's spool.

Up to CONTENT_IN_ROW_BYTES the chunks wait for the end of the data. Beyond, the header is made ready as soon as
it is complete; then trace fields, header and all that follows go to the file as they come, so that a large
letter never sits in memory. Either way the header is read once, and the octets of the body not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import QueueStore, Spool, StoredContent
from postroad.message.header import begins_with_field, find_body
from postroad.message.intake import Prepared, prepare
from postroad.message.trace import date_text, message_id_text
from postroad.rules.ruling import Ruling, refused
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES, HEADER_BYTES, READ_BYTES
from postroad.vocabulary.queue_id import QueueId

TOO_MANY_HOPS = refused("hops", "too many Received fields", 554, "5.4.6", "Too many hops: this message runs in a loop")
HEADER_TOO_LARGE = refused("header", "the header is too large", 552, "5.3.4", "The header of the message is too large")


class ContentRefused(Exception):
    """The content cannot be taken; `ruling` says why, and in which words the client hears it."""

    def __init__(self, ruling: Ruling) -> None:
        super().__init__(ruling.verdict.reason)
        self.ruling = ruling


class ContentIntake:
    """The content of one mail transaction, from DATA to the moment the store has it.

    `trace` gives the trace fields that stand before the header; it is called once, when the header is complete.
    """

    __slots__ = (
        "_chunks",
        "_hops_max",
        "_hostname",
        "_is_submission",
        "_joined_bytes",
        "_queue",
        "_spool",
        "_trace",
        "at",
        "eight_bit",
        "failure",
        "message_id",
        "queue_id",
        "size_bytes",
    )

    def __init__(
        self,
        queue: QueueStore,
        queue_id: QueueId,
        *,
        hostname: str,
        hops_max: int,
        is_submission: bool,
        at: datetime,
        trace: Callable[[], bytes],
    ) -> None:
        self._queue = queue
        self._hostname = hostname
        self._hops_max = hops_max
        self._is_submission = is_submission
        self.at = at
        self._trace = trace
        self._chunks: list[bytes] = []
        self._joined_bytes = 0
        self._spool: Spool | None = None
        self.queue_id = queue_id
        self.size_bytes = 0
        """As received; `whole` and `sealed` give more, for the trace fields."""
        self.eight_bit = False
        """Whether an octet over 127 was seen (RFC 6152 section 2)."""
        self.message_id = ""
        self.failure: Exception | None = None
        """What is wrong with the content, or with its store: the rest is read and dropped."""

    @property
    def streaming(self) -> bool:
        """The octets go to the spool: `sealed` ends it, not `whole`."""
        return self._spool is not None

    def receive(self, data: bytes) -> bool:
        """Take the next octets. False when the client must not send more before `drained`."""
        self.size_bytes += len(data)
        if self.failure is not None:
            return True
        if not self.eight_bit and not data.isascii():
            self.eight_bit = True
        if self._spool is not None:
            return self._spool.write(data)
        self._chunks.append(data)
        # The header is looked for each time that READ_BYTES more have come, never at every chunk.
        if self.size_bytes <= CONTENT_IN_ROW_BYTES or self.size_bytes - self._joined_bytes < READ_BYTES:
            return True
        return self._begin_streaming()

    def _begin_streaming(self, at_end: bool = False) -> bool:
        octets = b"".join(self._chunks)
        self._chunks = [octets]
        self._joined_bytes = len(octets)
        if begins_with_field(octets):
            body = find_body(octets)
            if (body if body != -1 else len(octets)) > HEADER_BYTES:
                self.fail(ContentRefused(HEADER_TOO_LARGE))
                return True
            if body == -1 and not at_end:
                return True
        self._chunks = []
        try:
            beginning = self._made_ready(octets)
            self._spool = self._queue.spool(self.queue_id)
            return self._spool.write(beginning)
        except (ContentRefused, StoreUnavailable) as failure:
            self.fail(failure)
            return True

    def end(self) -> None:
        """That was all. What is too large for a row goes to the spool even when its header never ended."""
        if self._spool is None and self.failure is None and self.size_bytes > CONTENT_IN_ROW_BYTES:
            self._begin_streaming(at_end=True)

    def _made_ready(self, octets: bytes) -> bytes:
        """Trace fields, header and what was received after it. Raises ContentRefused."""
        prepared: Prepared = prepare(
            octets,
            own_name=self._hostname,
            is_submission=self._is_submission,
            date=lambda: date_text(self.at),
            message_id=lambda: message_id_text(self.queue_id, self._hostname),
        )
        if prepared.received_count >= self._hops_max:
            raise ContentRefused(TOO_MANY_HOPS)  # RFC 5321 section 6.3
        self.message_id = prepared.message_id
        return prepared.with_trace(self._trace())

    def fail(self, why: Exception) -> None:
        """Drop what there is and what is to come; `whole` and `sealed` will raise `why`."""
        self.discard()
        self.failure = why

    async def drained(self) -> None:
        """Returns when the spool has room again. What goes wrong there is kept in `failure`, for the end."""
        if self._spool is not None:
            try:
                await self._spool.drained()
            except Exception as failure:
                self.fail(failure)

    def whole(self) -> bytes:
        """The finished content of a message that is not streaming. Raises ContentRefused."""
        if self.failure is not None:
            raise self.failure
        chunks = self._chunks
        return self._made_ready(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    async def sealed(self) -> StoredContent:
        """The finished content of a message that is streaming: synced. Raises ContentRefused, StoreFull,
        StoreUnavailable."""
        if self.failure is not None or self._spool is None:
            raise self.failure or AssertionError("not streaming")
        return await self._spool.seal()

    def discard(self) -> None:
        """Forget the content. Harmless after it was accepted, and more than once."""
        self._chunks = []
        if self._spool is not None:
            self._spool.discard()
            self._spool = None
