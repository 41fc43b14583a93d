"""A second session exactly like the first: so that walks over all sessions need not begin again each time."""

from __future__ import annotations

from collections import deque
from copy import copy

from postroad.wire.line_buffer import LineBuffer
from postroad.wire.smtp.chunk_reader import ChunkReader
from postroad.wire.smtp.content_reader import ContentReader
from postroad.wire.smtp.server import ServerSession

_MUTABLE = (LineBuffer, ContentReader, ChunkReader, deque, list)
_FIELDS = [field for each in ServerSession.__mro__ for field in getattr(each, "__slots__", ())]


def forked(session: ServerSession) -> ServerSession:
    """Whatever is done to one is not done to the other. All else that a session holds cannot change."""
    twin = ServerSession.__new__(ServerSession)
    for field in _FIELDS:
        value = getattr(session, field)
        setattr(twin, field, copy(value) if isinstance(value, _MUTABLE) else value)
    return twin
