"""The one interface of every pure session, server or client, SMTP or POP3.

    receive_data(data)   octets came; b"" is the end of the stream
    next_event()         the next question or notice for the outside, or why there is none: a Wait
    answer(...)          (server) the outside decided; the state moves
    data_to_send()       what must now go out; it is thereby forgotten
    patience_s           how long the present state may wait for the peer: a number, not a timer
    tls_started(facts)   the handshake succeeded: buffered octets and all that was learned before are gone
    timed_out()          patience has run out: the session says its last word and ends

How a shell drives it: after every input call `next_event` until it returns a Wait, deciding each question
with `answer`; then write `data_to_send()`; then obey the Wait. While an answer is owed (NEED_ANSWER) nothing
more is parsed, so pipelining cannot race a decision; the shell stops reading when `buffered_bytes` exceeds
PIPELINE_BYTES. Bad input never raises. Misuse by our own code is an AssertionError.
"""

from __future__ import annotations

from enum import Enum


class Wait(Enum):
    NEED_DATA = "need data"
    """Nothing to do until the peer sends more."""
    NEED_ANSWER = "need answer"
    """A question is open."""
    NEED_TLS = "need TLS"
    """Send `data_to_send()`, then run the handshake, then call `tls_started`."""
    CLOSED = "closed"
    """Send `data_to_send()`, then close the connection."""
    TURNED = "turned"
    """(SMTP) Send `data_to_send()`; then the roles are changed (TURN of RFC 821, ATRN of RFC 2645): this session is
    over and the connection stays open for one of the other role. Who was the client says the 220."""
    READY = "ready"
    """(client) The session is idle: give it the next transaction, or `quit()`."""
