"""Mail in files, as an import finds it: an mbox, a Maildir with its folders, .eml files.

Everything is read as it is asked for, each octet once, in pieces; a large message is written into a file beside the
mailboxes, so that the store can link it. Nothing is changed where the mail comes from.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sized
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeAlias

from postroad.contracts.mailbox_store import INBOX
from postroad.contracts.queue_store import StoredContent
from postroad.message.header import find_body
from postroad.message.line_ends import CrLf
from postroad.message.mail_flags import checked_folder, from_maildir_folder, from_maildir_name, take_status
from postroad.message.mbox import MboxReader, MessageBegins, MessageEnds, NoMbox, Quoting
from postroad.services.operations.importing import Unreadable
from postroad.services.operations.performer import OperationFailed
from postroad.vocabulary.limits import (
    IMPORT_MEMORY_BYTES,
    IMPORT_MESSAGE_BYTES,
    IMPORT_MESSAGES,
    IMPORT_READ_BYTES,
    READ_BYTES,
)

MAILDIR, EML, MBOX = "maildir", "eml", "mbox"
FORMATS = (MBOX, "mboxo", "mboxcl", MAILDIR, EML)
_QUOTING = {MBOX: Quoting.MBOXRD, "mboxo": Quoting.MBOXO, "mboxcl": Quoting.MBOXCL}


class FileInScratch:
    """A large message, complete and synced."""

    def __init__(self, path: str, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def in_memory(self) -> bytes | None:
        return None

    async def chunks(self) -> AsyncIterator[bytes]:
        for octets in _pieces(self._path):
            yield octets

    def file_path(self) -> str | None:
        return self._path


class Message:
    """One that was read to its end."""

    def __init__(
        self, content: bytes | StoredContent, digest: bytes, folder: str, flags: str, received_at: datetime
    ) -> None:
        self.content = content
        self.digest = digest
        self.folder = folder
        self.flags = flags
        self.received_at = received_at

    def release(self) -> None:
        if not isinstance(self.content, bytes):
            path = self.content.file_path()
            assert path is not None
            Path(path).unlink(missing_ok=True)


Found: TypeAlias = Message | Unreadable
_Listed: TypeAlias = tuple[str, int, str, str]
"""Path, size, folder and flags; without a folder the "flags" are the reason why it cannot be read."""


class _Making:
    """A message being read. `with_status`: the owner of an mbox has noted flags in its header."""

    def __init__(self, scratch: Path, folder: str, received_at: datetime, *, flags: str, with_status: bool) -> None:
        self._scratch = scratch
        self._folder = folder
        self._received_at = received_at
        self._flags = flags
        self._with_status = with_status
        self._lines = CrLf()
        self._digest = hashlib.sha256(folder.encode() + b"\0")
        self._beginning: list[bytes] = []
        self._file: BinaryIO | None = None
        self._size_bytes = 0

    def feed(self, octets: bytes) -> None:
        """Raises OSError."""
        self._put(self._lines.feed(octets))

    def end(self) -> Message | None:
        """None for one that is too large. Raises OSError."""
        self._put(self._lines.end())
        if self._file is None:
            content = self._begun()
            self._digest.update(content)
            return self._message(content)
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        if self._size_bytes > IMPORT_MESSAGE_BYTES:
            self.drop()
            return None
        return self._message(FileInScratch(file.name, self._size_bytes))

    def drop(self) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)

    def _message(self, content: bytes | StoredContent) -> Message:
        return Message(content, self._digest.digest(), self._folder, self._flags, self._received_at)

    def _put(self, octets: bytes) -> None:
        self._size_bytes += len(octets)
        if self._file is not None:
            self._write(octets)
            return
        self._beginning.append(octets)
        if self._size_bytes > IMPORT_MEMORY_BYTES:
            begun = self._begun()
            path = self._scratch / os.urandom(8).hex()
            self._file = open(path, "xb", buffering=IMPORT_READ_BYTES)  # noqa: SIM115  `end` or `drop` closes it
            self._size_bytes = len(begun)
            self._write(begun)

    def _write(self, octets: bytes) -> None:
        assert self._file is not None
        if self._size_bytes <= IMPORT_MESSAGE_BYTES:
            self._digest.update(octets)
            self._file.write(octets)

    def _begun(self) -> bytes:
        beginning = b"".join(self._beginning)
        self._beginning.clear()
        if self._with_status and (find_body(beginning) != -1 or self._size_bytes <= IMPORT_MEMORY_BYTES):
            beginning, flags = take_status(beginning)
            self._flags = " ".join(sorted({*self._flags.split(), *flags.split()}))
        return beginning


class MailSource:
    """`path` in one of FORMATS, "" for whatever it looks like. `done_bytes` of `size_bytes` are read. `file` is `path`
    where it is a file, opened by somebody who may have had more rights. Raises OperationFailed where it is no mail, or
    cannot be read."""

    def __init__(self, path: Path, form: str, folder: str, scratch: Path, file: BinaryIO | None = None) -> None:
        self._path = path
        self._scratch = scratch
        self._folder = folder or INBOX
        self._file = file
        self.done_bytes = 0
        self.size_bytes = 0
        try:
            self.form = form or self._looks_like()
            self._files: list[_Listed] = []
            if self.form in _QUOTING:
                if file is None:
                    raise OperationFailed(f"{path} is no {self.form}: {_what(path)}", 2)
                self.size_bytes = os.fstat(file.fileno()).st_size
            else:
                self._files = list(self._listed())
                self.size_bytes = sum(each[1] for each in self._files)
        except OSError as error:
            raise _cannot_read(error, path) from None

    def __iter__(self) -> Iterator[Found]:
        """Raises OperationFailed, and OSError of the scratch folder."""
        return self._in_mbox() if self.form in _QUOTING else self._in_files()

    def _looks_like(self) -> str:
        path = self._path
        if self._file is not None:
            return EML if path.suffix == ".eml" else MBOX
        if path.is_dir():
            if (path / "cur").is_dir() or (path / "new").is_dir():
                return MAILDIR
            if any(name.endswith(".eml") for name in os.listdir(path)):
                return EML
            raise OperationFailed(f"{path} is neither a Maildir (no cur/, no new/) nor has it .eml files in it", 2)
        raise OperationFailed(f"{path} is not there, or no file", 2)

    # ---- one file with all of them --------------------------------------------------------------

    def _in_mbox(self) -> Iterator[Found]:
        assert self._file is not None
        with self._file as file:
            descriptor = file.fileno()
            reader = MboxReader(_QUOTING[self.form], lambda offset, count: os.pread(descriptor, count, offset))
            making: _Making | None = None
            number = 0
            try:
                while True:
                    octets = file.read(IMPORT_READ_BYTES)
                    self.done_bytes += len(octets)
                    for event in reader.feed(octets) if octets else reader.end():
                        if isinstance(event, MessageBegins):
                            number += 1
                            making = _Making(self._scratch, self._folder, event.at, flags="", with_status=True)
                        elif isinstance(event, MessageEnds):
                            assert making is not None
                            made, making = making.end(), None
                            yield made or _too_large(f"message {number} of {self._path}")
                        else:
                            assert making is not None
                            making.feed(event)
                    if not octets:
                        return
            except NoMbox as error:
                raise OperationFailed(f"{self._path} is no mbox: {error}", 2) from None
            finally:
                if making is not None:
                    making.drop()

    # ---- a file for each ------------------------------------------------------------------------

    def _in_files(self) -> Iterator[Found]:
        for path, size_bytes, folder, flags in self._files:
            yield self._read(path, folder, flags)
            self.done_bytes += size_bytes

    def _read(self, path: str, folder: str, flags: str) -> Found:
        if not folder:
            return Unreadable(path, flags)
        try:
            # No link is followed and no pipe waited for: the folder is its owner's, who may have put anything there.
            if self._file is not None:
                descriptor = os.dup(self._file.fileno())
            else:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            facts = os.fstat(descriptor)
        except OSError as error:
            return Unreadable(path, error.strerror or "cannot be opened")
        with open(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(facts.st_mode):
                return Unreadable(path, "it is no file")
            at = datetime.fromtimestamp(facts.st_mtime, UTC)
            making = _Making(self._scratch, folder, at, flags=flags, with_status=False)
            try:
                while octets := _octets(file):
                    making.feed(octets)
                return making.end() or _too_large(path)
            except _Unread as error:
                making.drop()
                return Unreadable(path, str(error))
            except BaseException:
                making.drop()
                raise

    def _listed(self) -> Iterator[_Listed]:
        if self.form == EML:
            yield from self._listed_eml()
            return
        if not ((self._path / "cur").is_dir() or (self._path / "new").is_dir()):
            raise OperationFailed(f"{self._path} is no Maildir: it has neither cur/ nor new/", 2)
        yield from self._listed_in(self._path, self._folder)
        for name in sorted(os.listdir(self._path)):
            below = self._path / name
            if not name.startswith(".") or name in (".", "..") or not (below / "cur").is_dir() or below.is_symlink():
                continue
            try:
                folder = from_maildir_folder(name)
                yield from self._listed_in(below, folder if self._folder == INBOX else f"{self._folder}/{folder}")
            except ValueError as error:
                yield str(below), 0, "", f"the name of this folder cannot be read ({error}); import it with --folder"

    def _listed_in(self, maildir: Path, folder: str) -> Iterator[_Listed]:
        """In the order of their names, which begin with the time of delivery."""
        found = []
        for part in ("cur", "new"):
            if not (maildir / part).is_dir():
                continue
            with os.scandir(maildir / part) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        flags = from_maildir_name(entry.name) if part == "cur" else ""
                        found.append((entry.name, entry.path, entry.stat(follow_symlinks=False).st_size, flags))
                        _bounded(found, maildir)
        for _, path, size_bytes, flags in sorted(found):
            yield path, size_bytes, checked_folder(folder), flags

    def _listed_eml(self) -> Iterator[_Listed]:
        if self._file is not None:
            yield str(self._path), os.fstat(self._file.fileno()).st_size, self._folder, ""
            return
        names = sorted(name for name in os.listdir(self._path) if name.endswith(".eml"))
        _bounded(names, self._path)
        for name in names:
            path = self._path / name
            yield str(path), path.lstat().st_size, self._folder, ""


def _pieces(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while octets := file.read(READ_BYTES):
            yield octets


class _Unread(Exception):
    """The system does not read on. (What the scratch folder raises is another's trouble.)"""


def _octets(file: BinaryIO) -> bytes:
    try:
        return file.read(IMPORT_READ_BYTES)
    except OSError as error:
        raise _Unread(error.strerror or "cannot be read") from None


def _bounded(found: Sized, where: Path) -> None:
    if len(found) > IMPORT_MESSAGES:
        raise OperationFailed(f"{where} has more than {IMPORT_MESSAGES} messages; import it in parts")


def _too_large(where: str) -> Unreadable:
    return Unreadable(where, f"it is larger than {IMPORT_MESSAGE_BYTES} octets")


def _what(path: Path) -> str:
    return "it is a folder" if path.is_dir() else "it is a file" if path.exists() else "it is not there"


def _cannot_read(error: OSError, path: Path) -> OperationFailed:
    return OperationFailed(
        f"{error.filename or path}: {error.strerror}; the mail is read as the owner of the data, who must be able to", 2
    )


def open_before(path: Path) -> BinaryIO | None:
    """A single file, opened with the rights that the caller still has; None for what is no file."""
    try:
        return path.open("rb") if path.is_file() else None
    except OSError as error:
        raise OperationFailed(f"{error.filename or path}: {error.strerror}", 2) from None


ProgressSoFar: TypeAlias = Callable[[int, int, int], None]
"""Is told the octets read, those there are in all, and the messages so far."""
