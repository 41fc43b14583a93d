"""Large content of a message in a mailbox or a hold, as the contracts' `StoredContent`.

What was put before it at delivery (Return-Path) and the CR LF that it may have lacked at its end are kept
beside it, so that a large message can be the very file that the queue received.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import BinaryIO

from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.blocking import Calls
from postroad.storage.sqlite.database import translating
from postroad.storage.sqlite.row_content import pieces
from postroad.vocabulary.limits import MAILBOX_READ_BYTES


class ContentInFile:
    """Large content: `head`, the file, `tail`."""

    def __init__(self, head: bytes, path: str, tail: bytes, size_bytes: int, calls: Calls) -> None:
        self._head = head
        self._path = path
        self._tail = tail
        self._size_bytes = size_bytes
        self._calls = calls

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def in_memory(self) -> bytes | None:
        return None

    async def chunks(self) -> AsyncIterator[bytes]:
        missing = self._size_bytes - len(self._head) - len(self._tail)
        file = await self._calls.run(_open, self._path)
        try:
            for chunk in pieces(self._head):
                yield chunk
            while octets := await self._calls.run(_read, file):
                missing -= len(octets)
                yield octets
        finally:
            file.close()
        if missing:
            raise StoreUnavailable(f"{self._path}: the file is damaged: its size is not what it was at delivery.")
        for chunk in pieces(self._tail):
            yield chunk

    def file_path(self) -> str | None:
        """Only where the file is the whole of it."""
        return None if self._head or self._tail else self._path


def _open(path: str) -> BinaryIO:
    with translating(path):
        return open(path, "rb")


def _read(file: BinaryIO) -> bytes:
    with translating(str(file.name)):
        return file.read(MAILBOX_READ_BYTES)
