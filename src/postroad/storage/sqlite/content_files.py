"""The files of large content of the mailboxes of one shard: mail/content/<nn>/.

A file gets its name here only while the shard's write transaction is open, which BEGIN IMMEDIATE gives to one
process at a time, and no name is ever given twice. Therefore a file that another write transaction finds in the
folder and in no row belongs to nobody, and never will: a delivery was rolled back, or a crash came between a
removal's commit and the removal of the file.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from postroad.storage.sqlite.copying import sync_folder
from postroad.storage.sqlite.database import make_folder
from postroad.vocabulary.limits import READ_BYTES

_NAME_OCTETS = 16
_CANNOT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})
"""Another file system, one without links, or too many links of this file: then a copy is made."""


class ContentFiles:
    """All methods block and raise OSError; they are called where the shard's transactions run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_made = False

    def path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def link(self, source: str) -> str:
        """Give `source`, which is complete and synced, a name here. The name is durable after `sync`."""
        name = self._new_name()
        try:
            os.link(source, self.path(name))
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            self._copy(source, name)
        return name

    def write(self, octets: bytes) -> str:
        """Put large content here that comes as octets. The name is durable after `sync`."""
        name = self._new_name()
        with open(self.path(name), "xb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        return name

    def sync(self) -> None:
        """Make durable the names that were given so far."""
        sync_folder(self._folder)

    def remove(self, name: str) -> None:
        """Take the name away; that it is gone already is no error."""
        try:
            os.unlink(self.path(name))
        except FileNotFoundError:
            pass

    def names(self) -> Iterator[str]:
        """Every name in the folder, in no order, read as it is asked for."""
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    yield entry.name
        except FileNotFoundError:
            return

    def _copy(self, source: str, name: str) -> None:
        with open(source, "rb") as octets, open(self.path(name), "xb") as copy:
            shutil.copyfileobj(octets, copy, READ_BYTES)
            copy.flush()
            os.fsync(copy.fileno())

    def _new_name(self) -> str:
        if not self._is_made:
            make_folder(self._folder)
            self._is_made = True
        return secrets.token_hex(_NAME_OCTETS)


def last_octets(path: str, count: int) -> bytes:
    """The last `count` octets of a file, or all of it when it is shorter. Raises OSError."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - count))
        return file.read(count)
