"""Mail into files: an mbox, a Maildir with its folders, .eml files. Nothing that is there is written over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from postroad.contracts.mailbox_store import INBOX, StoredMessage
from postroad.contracts.queue_store import StoredContent
from postroad.message.header import find_body, first_value, split_header
from postroad.message.line_ends import Lf
from postroad.message.mail_flags import put_status, to_maildir_folder, to_maildir_info
from postroad.message.mbox import MboxQuoting, from_line
from postroad.services.operations.performer import OperationFailed
from postroad.vocabulary.limits import HEADER_BYTES, IMPORT_READ_BYTES

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_PARTS = ("cur", "new", "tmp")


@dataclass
class Target:
    """What was made for an export, while we still were whoever called us. `file` is the mbox, None for a folder."""

    path: Path
    file: BinaryIO | None
    was_there: bool

    def take_back(self) -> None:
        """The export came to nothing: what it has made goes, as far as we may."""
        with suppress(OSError):
            if self.file is not None:
                self.file.close()
                self.path.unlink(missing_ok=True)
                return
            for entry in self.path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            if not self.was_there:
                self.path.rmdir()


def make_target(path: Path, form: str, data: Path) -> Target:
    """A new file, or a new or empty folder, for the owner of the data alone. Raises OperationFailed."""
    if path.is_relative_to(data.resolve()):
        raise OperationFailed(f"{path} is in the data folder itself; choose a place outside of it", 2)
    try:
        if form == "mbox":
            return Target(path, _new(path), False)
        was_there = path.exists()
        if was_there and any(path.iterdir()):
            raise OperationFailed(f"{path} is there already, and not empty; choose another place", 2)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0 and data.exists():
            facts = data.stat()
            os.chown(path, facts.st_uid, facts.st_gid)
        return Target(path, None, was_there)
    except FileExistsError:
        raise OperationFailed(f"{path} is there already; choose another place", 2) from None
    except OSError as error:
        raise OperationFailed(f"{path}: {error.strerror}", 2) from None


class MailFiles:
    """Within the block messages are put; at its end everything is on the disk. Raises OSError."""

    def __init__(self, target: Target, path: Path, form: str) -> None:
        self._file = target.file
        self._path = path
        self._form = form
        self._folders: set[str] = set()

    def __enter__(self) -> MailFiles:
        if self._form == "maildir":
            self._make_maildir(INBOX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        else:
            # One for all: an fsync of each would take longer than everything else.
            os.sync()

    async def put(self, message: StoredMessage, content: StoredContent) -> None:
        """Raises StoreUnavailable, OSError."""
        if self._file is not None:
            await self._put_in_mbox(self._file, message, content)
        elif self._form == "maildir":
            await self._put_in_maildir(message, content)
        else:
            path = self._path / f"{message.uid:08d}.eml"
            with _new(path) as file:
                async for octets in content.chunks():
                    file.write(octets)
            _date(path, message)

    async def _put_in_mbox(self, file: BinaryIO, message: StoredMessage, content: StoredContent) -> None:
        beginning = b""
        quoting: MboxQuoting | None = None
        async for octets in content.chunks():
            if quoting is None:
                beginning += octets
                if find_body(beginning) == -1 and len(beginning) < HEADER_BYTES:
                    continue
                quoting = MboxQuoting()
                file.writelines(self._begun(message, beginning, quoting))
            else:
                file.write(quoting.feed(octets))
        if quoting is None:
            quoting = MboxQuoting()
            file.writelines(self._begun(message, beginning, quoting))
        file.write(quoting.end())

    def _begun(self, message: StoredMessage, beginning: bytes, quoting: MboxQuoting) -> Iterator[bytes]:
        header, _ = split_header(beginning)
        sender = (first_value(header, b"return-path") or b"").strip(b"<>").decode("utf-8", "replace")
        yield from_line(sender, message.received_at) + b"\n"
        whole = find_body(beginning) != -1 or len(beginning) < HEADER_BYTES
        yield quoting.feed(put_status(beginning, message.flags) if whole else beginning)

    async def _put_in_maildir(self, message: StoredMessage, content: StoredContent) -> None:
        """The name tells the size, so it is given when the file is whole, as every program does it."""
        folder = self._make_maildir(message.folder)
        base = f"{int(message.received_at.timestamp())}.U{message.uid}.postroad"
        unfinished = folder / "tmp" / base
        lines = Lf()
        with _new(unfinished) as file:
            async for octets in content.chunks():
                file.write(lines.feed(octets))
            file.write(lines.end())
            size_bytes = file.tell()
        _date(unfinished, message)
        os.rename(unfinished, folder / "cur" / f"{base},S={size_bytes}{to_maildir_info(message.flags)}")

    def _make_maildir(self, folder: str) -> Path:
        path = self._path if folder == INBOX else self._path / to_maildir_folder(folder)
        if folder not in self._folders:
            for part in _PARTS:
                (path / part).mkdir(mode=0o700, parents=True)
            if folder != INBOX:
                (path / "maildirfolder").touch(mode=0o600)
            self._folders.add(folder)
        return path


def _new(path: Path) -> BinaryIO:
    """For us alone. Raises OSError."""
    return open(os.open(path, _NEW, 0o600), "wb", buffering=IMPORT_READ_BYTES)


def _date(path: Path, message: StoredMessage) -> None:
    seconds = message.received_at.timestamp()
    os.utime(path, (seconds, seconds))
