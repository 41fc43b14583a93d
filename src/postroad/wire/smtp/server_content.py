"""The content of a message on the server's side: DATA and BDAT, from the question to the end of the transaction.

RFC 5321 section 4.1.1.4, RFC 3030, RFC 2033 section 4.2. Choices of ours: a refused BDAT ends its transaction, and its
octets are swallowed whatever the reason, up to a bound, so that they are never commands; what cannot be counted
ends the connection.
"""

from __future__ import annotations

from postroad.vocabulary.envelope import BodyType
from postroad.vocabulary.limits import CHUNKS_OF_MESSAGE, CONTENT_OVERRUN_BYTES
from postroad.vocabulary.reply import Reply
from postroad.wire.smtp import replies
from postroad.wire.smtp.chunk_reader import ChunkReader
from postroad.wire.smtp.commands import refuse_argument
from postroad.wire.smtp.content_reader import ContentReader
from postroad.wire.smtp.events import ContentAsked, ContentEnded, ContentReceived
from postroad.wire.smtp.rarer_commands import ChunkAsked, parse_bdat
from postroad.wire.smtp.server_rarer import ServerRarer
from postroad.wire.smtp.server_state import Chunk
from postroad.wire.smtp.transitions import Phase, Verb, next_phase

_CONTENT_ASKED = ContentAsked()
_CHUNKS_ASKED = ContentAsked(by_chunks=True)
_SENDER, _CLOSED = Phase.SENDER, Phase.CLOSED
_DATA, _END_OF_DATA = Verb.DATA, Verb.END_OF_DATA
_BINARY_MIME = BodyType.BINARY_MIME
_INSIDE = (Phase.SENDER, Phase.RECIPIENTS, Phase.CHUNKS)


class ServerContent(ServerRarer):
    """What comes after RCPT."""

    __slots__ = ()

    # ---- DATA ------------------------------------------------------------------------------------

    def _take_data(self, argument: bytes) -> None:
        refuse_argument(argument)
        transaction = self._transaction
        assert transaction is not None
        if self._phase is _SENDER:
            self._data_refused = True
            # RFC 2033 section 4.2 wants a 503 here.
            self._refuse("DATA", replies.RCPT_FIRST if self._profile.lmtp else replies.NO_VALID_RECIPIENTS)
        elif transaction.sender.body is _BINARY_MIME:
            # RFC 3030 section 3
            self._data_refused = True
            self._refuse("DATA", replies.BINARY_BY_CHUNKS)
        else:
            self._ask(_CONTENT_ASKED)

    def _answer_content(self, question: ContentAsked, given: Reply | None) -> None:
        if given is None:
            given = replies.GO_AHEAD
        if question.by_chunks:
            self._answer_chunks(given)
            return
        assert given.code >= 300, "DATA is answered 354, or refused"
        self._data_refused = given.code >= 400
        self._move(_DATA, given)
        if given.code < 400:
            self._content = ContentReader(self._profile)

    def _take_content(self) -> None:
        content = self._content
        assert content is not None
        data = content.feed(self._lines.take_all())
        if data:
            self._events.append(ContentReceived(data))
        if content.overrun:
            self._refuse("content", replies.TOO_LARGE, close=True)
        elif content.ended:
            self._lines.append(content.rest)
            self._content = None
            fault = content.fault
            if fault is None:
                self._ask(ContentEnded(content.size_bytes))
                return
            self._fail(fault)
            if fault in (replies.BARE_NEWLINE_IN_CONTENT, replies.NUL_IN_CONTENT):
                self._close("the content had a false line end or a NUL")

    # ---- BDAT ------------------------------------------------------------------------------------

    def _take_bdat(self, argument: bytes) -> None:
        asked = self._chunk_asked(argument)
        if asked is None:
            return
        sender = self._transaction.sender if self._transaction is not None else None
        reader = self._chunks
        if reader is None:
            assert sender is not None
            reader = ChunkReader(self._profile, is_binary=sender.body is _BINARY_MIME)
        reader.chunks += 1
        reader.announced_bytes += asked.size_bytes
        if reader.announced_bytes > self._profile.message_bytes:
            self._swallow(asked, replies.TOO_LARGE)
        elif reader.chunks > CHUNKS_OF_MESSAGE:
            self._refuse("BDAT", replies.TOO_MANY_CHUNKS, close=True)
        else:
            self._chunk = Chunk(asked.size_bytes, asked.size_bytes, asked.is_last)
            if self._chunks is None:
                self._chunks = reader
                self._ask(_CHUNKS_ASKED)
            else:
                self._receive_chunk()

    def _take_misplaced_bdat(self, argument: bytes, why: Reply) -> None:
        asked = self._chunk_asked(argument)
        if asked is not None:
            self._swallow(asked, replies.NO_VALID_RECIPIENTS if self._phase is _SENDER else why)

    def _chunk_asked(self, argument: bytes) -> ChunkAsked | None:
        """None when it was refused on the spot."""
        if not self._is_offered(Verb.BDAT):
            # Whoever says it unasked may send octets behind it.
            self._data_refused = True
            self._refuse("BDAT", replies.NOT_IMPLEMENTED)
            return None
        asked = parse_bdat(argument)
        if asked is None:
            self._refuse("BDAT", replies.BDAT_SYNTAX, close=True)
        return asked

    def _answer_chunks(self, given: Reply) -> None:
        chunk = self._chunk
        assert chunk is not None
        if given.code < 400:
            self._receive_chunk()
        elif given.code == 421:
            self._out.append(given.wire)
        else:
            self._swallow(ChunkAsked(chunk.size, chunk.is_last), given, is_ours=False)

    def _swallow(self, asked: ChunkAsked, refusal: Reply, *, is_ours: bool = True) -> None:
        """Read the octets of a chunk to throw them away; the refusal is said at their end (RFC 3030 section 2)."""
        after = Phase.READY if self._phase in _INSIDE else self._phase
        if self._transaction is not None:
            self._chunks_refused = 1
        self._drop(f"BDAT was refused: {refusal}")
        if asked.size_bytes > self._profile.message_bytes + CONTENT_OVERRUN_BYTES:
            self._refuse("BDAT", refusal, close=True)
            return
        self._chunk = Chunk(asked.size_bytes, asked.size_bytes, asked.is_last, refusal, after, is_ours)
        self._receive_chunk()

    def _receive_chunk(self) -> None:
        self._phase = Phase.CHUNK
        assert self._chunk is not None
        if not self._chunk.left:
            self._end_chunk()

    def _take_chunk(self) -> None:
        chunk = self._chunk
        assert chunk is not None
        data = self._lines.take(chunk.left)
        if chunk.refusal is None:
            assert self._chunks is not None
            block = self._chunks.feed(data)
            if block:
                self._events.append(ContentReceived(block))
        left = chunk.left - len(data)
        self._chunk = Chunk(left, chunk.size, chunk.is_last, chunk.refusal, chunk.after, chunk.is_ours)
        if not left:
            self._end_chunk()

    def _end_chunk(self) -> None:
        chunk, self._chunk = self._chunk, None
        assert chunk is not None
        if chunk.refusal is not None:
            self._phase = chunk.after
            self._refuse_chunk(chunk.refusal, is_last=chunk.is_last, is_ours=chunk.is_ours)
            return
        reader = self._chunks
        assert reader is not None
        block = reader.end() if chunk.is_last else b""
        if block:
            self._events.append(ContentReceived(block))
        fault = reader.fault
        if fault is not None:
            self._fail(fault, is_last=chunk.is_last)
        elif chunk.is_last:
            self._chunks = None
            self._ask(ContentEnded(reader.size_bytes))
        else:
            self._out.append(b"250 2.0.0 %d octets received\r\n" % chunk.size)
            self._phase = next_phase(Phase.CHUNK, Verb.END_OF_CHUNK, 250)

    def _refuse_chunk(self, refusal: Reply, *, is_last: bool, is_ours: bool) -> None:
        """Chunks behind the one that ended a transaction were on their way before its refusal was: one offence is all
        that they are."""
        is_behind = self._chunks_refused > 1
        if self._chunks_refused:
            self._chunks_refused = 0 if is_last else self._chunks_refused + 1
        if self._chunks_refused > CHUNKS_OF_MESSAGE:
            self._refuse("BDAT", replies.TOO_MANY_CHUNKS, close=True)
        elif is_ours:
            self._refuse("BDAT", refusal, offence=not is_behind)
        else:
            self._out.append(refusal.wire)

    # ---- the end ---------------------------------------------------------------------------------

    def _fail(self, fault: Reply, *, is_last: bool = True) -> None:
        """The content cannot be taken; said once, or over LMTP once for each recipient."""
        transaction = self._transaction
        assert transaction is not None
        self._chunks_refused = 0 if is_last else 2
        self._refuse("content", fault, offence=False)
        if self._phase is _CLOSED:
            return
        if self._profile.lmtp and is_last:
            self._out += [fault.wire] * (transaction.recipients - 1)
        self._drop(str(fault))
        self._phase = next_phase(self._phase, _END_OF_DATA, fault.code)
        self._messages += 1

    def _end_transaction(self, given: Reply, *more: Reply) -> None:
        """`given` answers the end of the content; with `more`, over LMTP, that of the first recipient."""
        self._messages += 1
        if given.code < 300:
            self._offences = self._idle_commands = 0
        transaction, self._transaction = self._transaction, None
        self._move(_END_OF_DATA, given)
        if self._profile.lmtp:
            assert transaction is not None
            more = more or (given,) * (transaction.recipients - 1)
            self._out += [each.wire for each in more]

    def answer_each(self, given: tuple[Reply, ...]) -> None:
        """(LMTP) Answer ContentEnded, for each accepted recipient in their order (RFC 2033 section 4.2)."""
        assert isinstance(self._question, ContentEnded), "no end of content is in question"
        assert self._profile.lmtp, "SMTP has one reply for all"
        assert self._transaction is not None
        assert len(given) == self._transaction.recipients, "a reply for each accepted recipient"
        assert all(200 <= each.code < 300 or each.code >= 400 for each in given), "3yz ends nothing"
        self._question = None
        self._end_transaction(*given)
        if any(each.code == 421 for each in given):
            self._close("closed by a 421")
        self._obey_closing()
