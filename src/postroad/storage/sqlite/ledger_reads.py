"""Searching the ledger: every day, every process's file, newest first until there is enough; and dropping days.

The files belong to their writers. A search opens each for reading, asks, and closes it again; as SQLite's log
allows, no writer waits for it. It opens them for writing too, but with `query_only`, so that when the writer is
gone the last one out tidies the log up; a connection that may only read would leave it lying there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import apsw
import msgspec

from postroad.storage.sqlite.copying import sync_folder
from postroad.storage.sqlite.database import translated, translating
from postroad.storage.sqlite.ledger_writes import CHAPTER_MENTIONS, key_hash
from postroad.vocabulary.limits import DATABASE_BUSY_S
from postroad.vocabulary.story import Entry, entries_with

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MENTIONED = """
    SELECT story.octets FROM mention JOIN story ON story.id = mention.story
    WHERE mention.chapter = ? AND mention.key_hash = ? ORDER BY mention.story DESC
"""
_LAST_STORY = "SELECT max(id) FROM story"
_NEVER = datetime.min.replace(tzinfo=UTC)


def find_entries(folder: Path, key: str, limit: int) -> tuple[Entry, ...]:
    """The newest `limit` entries that carry the key, the oldest of them first, each once. Blocks.
    Raises StoreUnavailable for a file that cannot be read."""
    found: set[Entry] = set()
    with translating(str(folder)):
        for day in reversed(_days(folder)):
            for path in sorted((folder / day.isoformat()).glob("*.db")):
                _look_into(path, lambda connection: found.update(_newest(connection, key, limit)))
            if len(found) >= limit:
                break
    return tuple(sorted(found, key=_moment)[-limit:]) if limit > 0 else ()


def find_each(folder: Path, keys: Sequence[str], from_day: date, limit: int) -> dict[str, tuple[Entry, ...]]:
    """The same for each of the keys, from this day on; every file is opened once. Blocks. Raises StoreUnavailable."""
    found: dict[str, set[Entry]] = {key: set() for key in keys}

    def of_each(connection: apsw.Connection) -> None:
        for key, entries in found.items():
            entries.update(_newest(connection, key, limit))

    with translating(str(folder)):
        for day in _days(folder):
            if day >= from_day:
                for path in sorted((folder / day.isoformat()).glob("*.db")):
                    _look_into(path, of_each)
    return {key: tuple(sorted(entries, key=_moment)[-limit:]) for key, entries in found.items()}


def drop_days(folder: Path, before: date) -> int:
    """Remove the folders of all days before this one. Returns how many databases went. Blocks.
    Raises StoreUnavailable; what is not gone then goes with the next call."""
    dropped = 0
    with translating(str(folder)):
        days = [day for day in _days(folder) if day < before]
        for day in days:
            for path in sorted((folder / day.isoformat()).iterdir()):  # x.db before x.db-wal: nobody opens half a file
                dropped += path.suffix == ".db"
                path.unlink(missing_ok=True)
            (folder / day.isoformat()).rmdir()
        if days:
            sync_folder(folder)
    return dropped


def _days(folder: Path) -> list[date]:
    if not folder.is_dir():
        return []
    return sorted(date.fromisoformat(path.name) for path in folder.iterdir() if _DAY.fullmatch(path.name))


def _look_into(path: Path, look: Callable[[apsw.Connection], None]) -> None:
    """Call `look` with the open file, but not when it is gone or has no tables yet."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    except apsw.CantOpenError:
        if path.exists():
            raise
        return
    try:
        connection.set_busy_timeout(int(DATABASE_BUSY_S * 1000))
        connection.pragma("query_only", True)
        if connection.pragma("user_version") == 0:
            return
        look(connection)
    except apsw.Error as error:
        raise translated(error, str(path), connection.system_errno) from error
    finally:
        connection.close(True)


def _newest(connection: apsw.Connection, key: str, limit: int) -> set[Entry]:
    """The newest entries of one file, at most `limit` different ones."""
    number = key_hash(key)
    seen: set[Entry] = set()
    last = connection.execute(_LAST_STORY).get or 0
    for chapter in range(last // CHAPTER_MENTIONS, -1, -1):
        for (octets,) in connection.execute(_MENTIONED, (chapter, number)):
            seen.update(_readable(key, octets))
            if len(seen) >= limit:
                return seen
    return seen


def _readable(key: str, octets: bytes) -> list[Entry]:
    """Facts of a kind that this version does not know are told by the version that does."""
    try:
        return entries_with(key, octets)
    except msgspec.DecodeError:
        return []


def _moment(entry: Entry) -> tuple[datetime, str]:
    return (entry.facts[0].at if entry.facts else _NEVER, entry.queue_id)
