"""What stands where in a data folder: its databases, their content, and what is neither.

New stores are found by themselves: whatever ends in `.db` is a database, and copied as one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from postroad.vocabulary.queue_id import from_number

_NOT_OURS = frozenset({"run", "keys", "backup.staging", "restore.scratch"})
"""Sockets and locks; secrets, which are taken when it is asked for; what backup and restore have under way."""

_SIDE_FILES = ("-wal", "-shm", "-journal", ".lock")
_FILES_OF_MESSAGES = "SELECT file FROM content WHERE file IS NOT NULL"
_FILES_OF_RECORDS = "SELECT file FROM record WHERE file IS NOT NULL"
_MESSAGES_IN_FILES = "SELECT id FROM message WHERE id NOT IN (SELECT id FROM content)"


@dataclass(frozen=True)
class DatabasePlace:
    """`path` below the data folder; `store` is the folder's name, "directory" for directory.db, "" for one that is not
    known here; `content` is the folder with its large content, below the data folder, if it has any."""

    path: str
    store: str
    content: str | None

    def is_content(self, name: str) -> bool:
        """Whether the name in `content` is that of a complete file."""
        return not name.endswith(".part")


def databases(data: Path) -> list[DatabasePlace]:
    """All of them, by path. Raises OSError."""
    return sorted((_place(relative) for relative in _files(data) if _is_database(relative)), key=lambda p: p.path)


def others(data: Path) -> list[str]:
    """Files that are neither databases nor content of one, nor belong to nobody but a process, by path."""
    contents = tuple(f"{place.content}/" for place in databases(data) if place.content is not None)
    return sorted(
        relative
        for relative in _files(data)
        if not _is_database(relative)
        and not relative.endswith(_SIDE_FILES)
        and not relative.startswith((*contents, "mail/locks/", "mail/shards/"))
        and ".db.before-" not in relative
    )


def names_known(connection: apsw.Connection, place: DatabasePlace) -> list[str]:
    """The names of all content files that the database speaks of."""
    if place.content is None:
        return []
    if place.store == "queue":
        return [from_number(number) for (number,) in connection.execute(_MESSAGES_IN_FILES)]
    query = _FILES_OF_RECORDS if place.store == "archive" else _FILES_OF_MESSAGES
    return [name for (name,) in connection.execute(query)]


def _place(relative: str) -> DatabasePlace:
    folder, _, name = relative.rpartition("/")
    stem = name.removesuffix(".db")
    if relative == "directory.db":
        return DatabasePlace(relative, "directory", None)
    if folder == "queue":
        return DatabasePlace(relative, "queue", f"queue/{stem}")
    if folder in ("mail", "hold"):
        return DatabasePlace(relative, folder, f"{folder}/content/{stem}")
    if folder.startswith("archive/"):
        return DatabasePlace(relative, "archive", f"{folder}/content/{stem}")
    top = relative.partition("/")[0]
    return DatabasePlace(relative, top if top in ("archive", "ledger") else "", None)


def _is_database(relative: str) -> bool:
    return relative.endswith(".db")


def _files(data: Path) -> Iterator[str]:
    """Every regular file, as a path below the folder. What goes meanwhile is left out."""
    for folder, folders, names in os.walk(data):
        if Path(folder) == data:
            folders[:] = [name for name in folders if name not in _NOT_OURS]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(data))
