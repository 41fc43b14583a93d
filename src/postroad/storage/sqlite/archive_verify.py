"""Looking through the whole archive for anything that is not as it was written.

Of every record its number, its hash, its place after the one before, its envelope and its content; of every chain, that
months go on where the last one ended, that the heads in the register and those kept elsewhere are still there, and
that nothing is missing but what the register says was removed. Blocks, for as long as reading it all takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import apsw
import msgspec

from postroad.contracts.archive_store import ChainHead, Verified
from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.archive_folder import ChainFile, chain_files, register_path
from postroad.storage.sqlite.archive_register import Register, rows_after
from postroad.storage.sqlite.archive_rows import (
    ARCHIVE,
    BEGINNING,
    EXPANSION,
    EXPANSION_SUFFIX,
    MESSAGE,
    REGISTER,
    Head,
    Row,
    digest,
    digest_of_file,
    head_of,
    record_hash,
)
from postroad.storage.sqlite.database import close_database, integrity_complaints, open_database, translating
from postroad.vocabulary.limits import ARCHIVE_COMPLAINTS, ARCHIVE_PAGE

_BEFORE_ALL = -(2**63)
"""Below every number, also one that was made negative."""


class Verification:
    """One look through the archive in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._register = Register(folder)
        self._complaints: list[str] = []
        self._in_all = 0
        self._records = 0
        self._removed = 0
        self._known: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        """Heads that must be there, by chain and number."""
        self._missing: list[tuple[ChainFile, int]] = []
        self._heads: list[ChainHead] = []

    def run(self, kept_elsewhere: tuple[ChainHead, ...] = ()) -> Verified:
        """Raises StoreUnavailable only where files cannot be read at all; a damaged one is a complaint."""
        self._expect(kept_elsewhere)
        if self._register.exists():
            register = ChainFile("", REGISTER, register_path(self._folder))
            sound = self._walk(register, BEGINNING)
            self._end(register, sound)
            try:
                for tie in self._register.ties():
                    self._expect(tie.heads)
            except (msgspec.MsgspecError, ValueError, StoreUnavailable):
                self._complain("register: a daily entry with the heads of the chains cannot be read")
        chains: dict[str, list[ChainFile]] = defaultdict(list)
        for file in chain_files(self._folder):
            chains[file.chain].append(file)
        for files in chains.values():
            before = BEGINNING
            for file in files:
                before = self._walk(file, before)
            self._end(files[-1], before)
        for chain in self._known:
            self._complain(f"chain {chain}: records that were there once are not there any more")
        self._look_at_what_is_missing()
        return Verified(
            records=self._records,
            removed=self._removed,
            heads=tuple(self._heads),
            complaints=tuple(self._complaints),
            complaints_in_all=self._in_all,
        )

    def _expect(self, heads: Iterable[ChainHead]) -> None:
        for head in heads:
            self._known[head.chain][head.number].add(head.hash)

    def _complain(self, text: str) -> None:
        self._in_all += 1
        if len(self._complaints) < ARCHIVE_COMPLAINTS:
            self._complaints.append(text)

    # ---- one file --------------------------------------------------------------------------------

    def _walk(self, file: ChainFile, before: Head) -> Head:
        """Look at every record of a file; `before` is the last record of the month before. The last of this one."""
        name = _name(file)
        try:
            with translating(str(file.path)):
                connection = open_database(file.path, ARCHIVE)
        except StoreUnavailable as error:
            self._complain(f"{name}: {error}")
            return before
        try:
            for line in integrity_complaints(connection):
                self._complain(f"{name}: the file is damaged: {line}")
            after = _BEFORE_ALL
            while page := rows_after(connection, after, ARCHIVE_PAGE):
                for row in page:
                    self._look_at(file, row, before)
                    before = Head(row.number, row.hash)
                after = page[-1].number
        except (apsw.Error, UnicodeDecodeError) as error:
            self._complain(f"{name}: it cannot be read to its end: {error}")
        finally:
            close_database(connection)
        return before

    def _look_at(self, file: ChainFile, row: Row, before: Head) -> None:
        name = f"{_name(file)}, record {row.number}"
        self._records += 1
        if row.number != before.number + 1:
            self._complain(f"{name}: it comes after record {before.number}; others are missing")
        if row.previous != before.hash:
            self._complain(f"{name}: the record before it is not the one that was there when it was written")
        if record_hash(file.chain, row) != row.hash:
            self._complain(f"{name}: its time, order, name, size or hashes were changed")
        for known in self._known.get(file.chain, {}).pop(row.number, ()):
            if row.hash.hex() != known:
                self._complain(f"{name}: it is not the record whose hash was written down as the head of its chain")
        if row.envelope is not None and digest(row.envelope) != row.envelope_hash:
            self._complain(f"{name}: its envelope was changed")
        self._look_at_content(file, row, before, name)

    def _look_at_content(self, file: ChainFile, row: Row, before: Head, name: str) -> None:
        if row.kind == EXPANSION:
            # It has no content: it is tied to its message, which stands before it.
            if row.content_hash != before.hash or not row.key.endswith(EXPANSION_SUFFIX):
                self._complain(f"{name}: it is not linked to the message before it")
            if row.content is not None or row.file is not None:
                self._complain(f"{name}: content was put where there was none")
            if row.envelope is None:
                self._missing.append((file, row.number))
            return
        if row.content is not None:
            found, size = digest(row.content), len(row.content)
        elif row.file is not None:
            try:
                found, size = digest_of_file(file.content / row.file)
            except (OSError, ValueError):
                self._complain(f"{name}: the file of its content is not there")
                return
        else:
            self._missing.append((file, row.number))
            return
        if (found, size) != (row.content_hash, row.size_bytes):
            self._complain(f"{name}: its content was changed")
        if row.content is not None and row.file is not None:
            self._complain(f"{name}: content was put where there was none")
        if row.envelope is None and row.kind == MESSAGE:
            self._missing.append((file, row.number))
        elif row.envelope is None:
            self._complain(f"{name}: what it says is missing")

    def _end(self, file: ChainFile, last: Head) -> None:
        later = self._known.pop(file.chain, {})
        if later:
            self._complain(f"chain {file.chain}: it ends with record {last.number}; up to {max(later)} were there once")
        if last != BEGINNING:
            self._heads.append(ChainHead(file.chain, file.month, last.number, last.hash.hex()))

    def _look_at_what_is_missing(self) -> None:
        """Read at the end, so that what retention removed meanwhile is no complaint."""
        removed: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        try:
            for removal in self._register.removals():
                removed[removal.chain, removal.month] += removal.numbers
        except (msgspec.MsgspecError, ValueError, StoreUnavailable):
            self._complain("register: what it says about removals cannot be read")
        for file, number in self._missing:
            if any(first <= number <= last for first, last in removed[file.chain, file.month]):
                self._removed += 1
            else:
                self._complain(f"{_name(file)}, record {number}: content or envelope is missing, and nobody removed it")


def _name(file: ChainFile) -> str:
    return f"{file.month}/{file.chain}" if file.month else file.chain


def heads_of(folder: Path) -> tuple[ChainHead, ...]:
    """The last record of every chain, without looking at the others. Blocks. Raises StoreUnavailable."""
    heads: dict[str, ChainHead] = {}
    register = register_path(folder)
    files = chain_files(folder)
    if register.exists():
        files.append(ChainFile("", REGISTER, register))
    for file in files:
        with translating(str(file.path)):
            connection = open_database(file.path, ARCHIVE)
            try:
                head = head_of(connection)
            finally:
                close_database(connection)
        if head is not None:
            heads[file.chain] = ChainHead(file.chain, file.month, head.number, head.hash.hex())
    return tuple(heads.values())
