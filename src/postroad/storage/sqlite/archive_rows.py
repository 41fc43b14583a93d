"""Records of the archive: their hashes, and how they are appended to a chain.

A record's hash covers everything about it and the hash of the record before, so that none can be changed, moved or
left out without all after it being wrong. Envelope and content go into it as hashes of their own: retention can then
remove both, and the chain still holds.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import apsw

from postroad.storage.sqlite.database import DatabaseKind, sql_folder
from postroad.vocabulary.limits import MAILBOX_READ_BYTES

ARCHIVE = DatabaseKind("archive file", application_id=0x50524152, sql=sql_folder("archive"), cache_kib=2048)

REGISTER = "register"
"""The chain of what was done with the archive."""

MESSAGE = "message"
EXPANSION = "expansion"
EXPANSION_SUFFIX = "/expansion"

_HASH_BYTES = 32
_FORMAT = b"postroad archive 1"
NOTHING = bytes(_HASH_BYTES)
"""Stands before the first record of a chain."""

COLUMNS = (
    "number, kind, key, recorded_at, accepted_at, size_bytes, envelope_hash, content_hash, previous, hash,"
    " envelope, file, content"
)
_PUT = f"INSERT INTO record ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
_HEAD = "SELECT number, hash FROM record ORDER BY number DESC LIMIT 1"


class Head(NamedTuple):
    """The last record of a chain so far."""

    number: int
    hash: bytes


BEGINNING = Head(0, NOTHING)


class Row(NamedTuple):
    number: int
    kind: str
    key: str
    recorded_at: int
    accepted_at: int
    size_bytes: int
    envelope_hash: bytes
    content_hash: bytes
    previous: bytes
    hash: bytes
    envelope: bytes | None
    file: str | None
    content: bytes | None


class Draft(NamedTuple):
    """A record before it has its place. `content` are the octets, or None where they are in `file`."""

    kind: str
    key: str
    recorded_at: int
    accepted_at: int
    size_bytes: int
    envelope: bytes
    content_hash: bytes
    file: str | None = None
    content: bytes | None = None


def digest(octets: bytes) -> bytes:
    return blake2b(octets, digest_size=_HASH_BYTES).digest()


def digest_of_file(path: Path | str) -> tuple[bytes, int]:
    """The hash and the size of a file, read piece by piece. Raises OSError."""
    made, size = blake2b(digest_size=_HASH_BYTES), 0
    with open(path, "rb", buffering=0) as file:
        while octets := file.read(MAILBOX_READ_BYTES):
            made.update(octets)
            size += len(octets)
    return made.digest(), size


def record_hash(chain: str, row: Row) -> bytes:
    """The hash that the record must have in this chain."""
    made = blake2b(_FORMAT, digest_size=_HASH_BYTES)
    for part in (
        chain,
        row.number,
        row.kind,
        row.key,
        row.recorded_at,
        row.accepted_at,
        row.size_bytes,
        row.envelope_hash,
        row.content_hash,
        row.previous,
    ):
        octets = part if isinstance(part, bytes) else str(part).encode()
        # With its length before it no part can be taken for the end of another.
        made.update(len(octets).to_bytes(8, "big") + octets)
    return made.digest()


def head_of(connection: apsw.Connection) -> Head | None:
    """None for a file without a record."""
    row = connection.execute(_HEAD).fetchone()
    return None if row is None else Head(*row)


def put(connection: apsw.Connection, chain: str, before: Head, draft: Draft) -> Row:
    """Append a record after `before`, inside the transaction it finds."""
    unsealed = Row(
        before.number + 1,
        draft.kind,
        draft.key,
        draft.recorded_at,
        draft.accepted_at,
        draft.size_bytes,
        digest(draft.envelope),
        draft.content_hash,
        before.hash,
        b"",
        draft.envelope,
        draft.file,
        draft.content,
    )
    row = unsealed._replace(hash=record_hash(chain, unsealed))
    connection.execute(_PUT, row)
    return row
