"""Writing the ledger: one file a day for each process, data/ledger/<YYYY-MM-DD>/<process>.db.

A blob is kept as it came and taken apart only for its keys. A key is indexed by 64 bits of its hash: the index
stays small and in order of nothing a peer could choose, and the reader compares the key itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from hashlib import blake2b
from itertools import chain
from pathlib import Path

import apsw
import msgspec

from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.commit import CommitEngine, Item, Result, Verb
from postroad.storage.sqlite.database import DatabaseKind, open_database, sql_folder
from postroad.storage.sqlite.many_rows import ManyRows
from postroad.vocabulary.limits import LEDGER_BLOB_ENTRIES
from postroad.vocabulary.story import Entry, keys_in, to_bytes

LEDGER = DatabaseKind("ledger", application_id=0x50524C47, sql=sql_folder("ledger"))

_LAST_STORY = "SELECT coalesce(max(id), 0) FROM story"
_PUT_STORIES = ManyRows("INSERT INTO story (id, octets) VALUES ", "(?, ?)")
_PUT_MENTIONS = ManyRows("INSERT INTO mention (chapter, key_hash, story) VALUES ", "(?, ?, ?)")


CHAPTER_MENTIONS = 16_384
"""Mentions of a chapter of the index, some 60 pages; part of the format of the files."""


def key_hash(key: str) -> int:
    """The same number on every machine and for ever; SQLite's integers have a sign."""
    return int.from_bytes(blake2b(key.encode("utf-8", "replace"), digest_size=8).digest(), "big", signed=True)


class LedgerDays:
    """The file of the present day as an engine for the writer's thread. Every item's argument begins with its
    day; with the first item of a new day the file of the old one is closed."""

    def __init__(self, folder: Path, process: str, vfs: str | None = None) -> None:
        self._folder = folder
        self._process = process
        self._vfs = vfs
        self._day: date | None = None
        self._engine: CommitEngine | None = None

    @property
    def is_open(self) -> bool:
        """False only after the disk failed under an open file; a day's file is opened by its first batch."""
        return self._engine is None or self._engine.is_open

    def open(self) -> None:
        if self._engine is not None:
            self._engine.open()

    def commit(self, batch: Sequence[Item]) -> list[Result]:
        positions: dict[date, list[int]] = {}
        for position, (_, argument) in enumerate(batch):
            positions.setdefault(argument[0], []).append(position)
        results: list[Result] = [None] * len(batch)
        for day, places in positions.items():
            for place, result in zip(places, self._commit(day, [batch[place] for place in places]), strict=True):
                results[place] = result
        return results

    def checkpoint_if_due(self) -> None:
        if self._engine is not None:
            self._engine.checkpoint_if_due()

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _commit(self, day: date, batch: Sequence[Item]) -> list[Result]:
        try:
            engine = self._engine_of(day)
        except StoreUnavailable as error:
            return [type(error)(*error.args) for _ in batch]
        return engine.commit(batch)

    def _engine_of(self, day: date) -> CommitEngine:
        if self._engine is None or day != self._day:
            self.close()
            path = self._folder / day.isoformat() / f"{self._process}.db"
            engine = CommitEngine(lambda: open_database(path, LEDGER, vfs=self._vfs))
            engine.open()
            self._engine, self._day = engine, day
        return self._engine


_UNFIT = (TypeError, ValueError, msgspec.MsgspecError)
"""What encoding raises for a fact that is none, such as text with a lone surrogate in it."""

Blobs = tuple[date, tuple[bytes, ...]]
Records = tuple[date, tuple[Entry, ...]]


def _write_all(connection: apsw.Connection, items: Sequence[Blobs]) -> list[None]:
    _put(connection, ((octets, _keys_of_blob(octets)) for _, blobs in items for octets in blobs))
    return [None] * len(items)


def _keys_of_blob(octets: bytes) -> set[str]:
    """A blob that cannot be read is kept, for whoever can; it must not hold up those behind it."""
    try:
        return keys_in(octets)
    except msgspec.DecodeError:
        return set()


def _write(connection: apsw.Connection, item: Blobs) -> None:
    _write_all(connection, (item,))


def _record(connection: apsw.Connection, item: Records) -> int:
    """How many of the entries cannot be written at all; the others are."""
    _, entries = item
    blobs: list[tuple[bytes, set[str]]] = []
    unfit = 0
    for start in range(0, len(entries), LEDGER_BLOB_ENTRIES):
        some = entries[start : start + LEDGER_BLOB_ENTRIES]
        try:
            blobs.append(_encoded(some))
        except _UNFIT:
            for entry in some:
                try:
                    blobs.append(_encoded((entry,)))
                except _UNFIT:
                    unfit += 1
    _put(connection, blobs)
    return unfit


def _encoded(entries: tuple[Entry, ...]) -> tuple[bytes, set[str]]:
    return to_bytes(entries), {key for entry in entries for key in entry.keys}


def _put(connection: apsw.Connection, blobs: Iterable[tuple[bytes, set[str]]]) -> None:
    story = connection.execute(_LAST_STORY).get
    stories: list[int | bytes] = []
    mentions: list[tuple[int, int, int]] = []
    for octets, keys in blobs:
        story += len(keys) or 1
        stories += (story, octets)
        # Two keys of one blob with the same hash are one mention.
        chapter = story // CHAPTER_MENTIONS
        mentions += {(chapter, key_hash(key), story) for key in keys}
    # In the order of the index, neighbours share the way to their page.
    mentions.sort()
    _PUT_STORIES.run(connection, stories)
    _PUT_MENTIONS.run(connection, [*chain.from_iterable(mentions)])


WRITE: Verb[Blobs, None] = Verb(_write, _write_all)
RECORD: Verb[Records, int] = Verb(_record)
