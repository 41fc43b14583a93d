"""A database whose large content lies in files beside it: what a shard of the mailboxes and a hold have in common.

Its verbs take `(shard, argument)`, so that one writer serves many. They may run twice for one item (`commit.py`):
a file that was given its name by a run that was rolled back is noticed after the commit and removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import apsw
import msgspec

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import StoredContent
from postroad.storage.sqlite.commit import CommitEngine, Done, Item, Result
from postroad.storage.sqlite.content_files import ContentFiles
from postroad.storage.sqlite.database import DatabaseKind, open_database, translating
from postroad.vocabulary.limits import CONTENT_IN_ROW_BYTES, ORPHANS_PER_ROUND

_FILE_KNOWN = "SELECT 1 FROM content WHERE file = ?"


class Removed(msgspec.Struct, frozen=True):
    """How many messages went, and the files that go with them after the commit."""

    messages: int = 0
    files: tuple[str, ...] = ()


class Kept(NamedTuple):
    """Where content is now: in the octets for its row, or in a file of the shard."""

    size_bytes: int
    octets: bytes | None
    file: str | None


class ContentShard:
    """`engine` is opened by the first batch. For the writer's thread, but for `connect`, `path` and `files.names`."""

    def __init__(self, path: Path, content: Path, kind: DatabaseKind, vfs: str | None) -> None:
        self.path = path
        self.files = ContentFiles(content)
        self._kind = kind
        self._vfs = vfs
        self._named: list[str] = []
        self.engine = CommitEngine(self.connect, self._sync_names, self._remove_files)
        self.file_failures = 0
        """Files that could not be removed when they should have been; the sweep tries again."""

    def connect(self) -> apsw.Connection:
        """Open the database; made when it is missing. Raises StoreFull, StoreUnavailable."""
        return open_database(self.path, self._kind, vfs=self._vfs)

    def commit(self, batch: Sequence[Item]) -> list[Result]:
        """One transaction for the batch, as CommitEngine.commit."""
        if not self.engine.is_open:
            try:
                self.engine.open()
            except StoreUnavailable as error:
                return [type(error)(*error.args) for _ in batch]
        return self.engine.commit(batch)

    def keep(self, content: bytes | StoredContent) -> Kept:
        """Take content in: large content gets a file of its own. Raises StoreFull, StoreUnavailable."""
        octets = content if isinstance(content, bytes) else content.in_memory()
        if octets is not None and len(octets) <= CONTENT_IN_ROW_BYTES:
            return Kept(len(octets), octets, None)
        with translating(self.files.path("")):
            if octets is not None:
                size_bytes, name = len(octets), self.files.write(octets)
            else:
                assert not isinstance(content, bytes)
                source = content.file_path()
                assert source is not None, "content is in memory or in a file"
                size_bytes, name = content.size_bytes, self.files.link(source)
        self._named.append(name)
        return Kept(size_bytes, None, name)

    def _sync_names(self, connection: apsw.Connection, done: Sequence[Done]) -> None:
        """Before the commit: the rows must not be durable before the names they speak of."""
        if self._named:
            with translating(self.files.path("")):
                self.files.sync()

    def _remove_files(self, done: Sequence[Done]) -> None:
        """After the commit: files of removed messages, and those that a rolled-back run left."""
        names = [name for _, _, result in done if isinstance(result, Removed) for name in result.files]
        named, self._named = self._named, []
        try:
            names += [name for name in named if not _is_known(self.engine.connection, name)]
        except apsw.Error:
            self.file_failures += 1
        for name in names:
            try:
                self.files.remove(name)
            except OSError:
                self.file_failures += 1


S = TypeVar("S", bound=ContentShard)


def unknown_files(connection: apsw.Connection, shard: ContentShard) -> tuple[str, ...]:
    """Names in the shard's folder that no row knows at this moment: orphans, or on their way to a row. At most
    ORPHANS_PER_ROUND. A query for a reader."""
    unknown: list[str] = []
    with translating(shard.files.path("")):
        for name in shard.files.names():
            if not _is_known(connection, name):
                unknown.append(name)
                if len(unknown) == ORPHANS_PER_ROUND:
                    break
    return tuple(unknown)


def sweep(connection: apsw.Connection, item: tuple[S, tuple[str, ...]]) -> Removed:
    """Those of the names that, seen from inside a write transaction, are in no row: orphans. A verb's `one`."""
    return Removed(files=tuple(name for name in item[1] if not _is_known(connection, name)))


def _is_known(connection: apsw.Connection, name: str) -> bool:
    return connection.execute(_FILE_KNOWN, (name,)).get is not None
