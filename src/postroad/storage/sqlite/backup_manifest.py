"""The manifest of a backup: what is in it, each file with its size and its SHA-256.

A text file of JSON lines: a heading, a line for each file, and a last one with the SHA-256 of all before it, so that
a manifest that was cut off or changed is known for it. It gets its name when everything else is durable: a backup
without it was interrupted, and is none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import msgspec

from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.copying import sync_folder
from postroad.vocabulary.limits import BACKUP_READ_BYTES

MANIFEST = "MANIFEST"
FORMAT = 1

DATABASE, CONTENT, OTHER, CONFIGURATION, KEY = "database", "content", "other", "configuration", "key"


class BackupDamaged(StoreUnavailable):
    """The backup is not what its manifest says, or has none. The text names the file and says what is wrong."""


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """`missing` are stores that could not be read when the backup was made; `since` is the former backup's id."""

    format: int = FORMAT
    id: str
    made_at: str
    hostname: str
    since: str = ""
    missing: tuple[str, ...] = ()


class BackupFile(msgspec.Struct, frozen=True):
    """`path` is below the backup's folder, and where the file stood below the data folder."""

    path: str
    kind: str
    size_bytes: int
    sha256: str


class _End(msgspec.Struct, frozen=True):
    end: str


class Manifest(msgspec.Struct, frozen=True):
    heading: Heading
    files: dict[str, BackupFile]


def write_manifest(folder: Path, heading: Heading, files: Iterable[BackupFile]) -> None:
    """Durable when it returns. Raises OSError."""
    digest = hashlib.sha256()
    partial = folder / f"{MANIFEST}.partial"
    with open(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        for one in (heading, *files):
            line = msgspec.json.encode(one) + b"\n"
            digest.update(line)
            file.write(line)
        file.write(msgspec.json.encode(_End(digest.hexdigest())) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(folder / MANIFEST)
    sync_folder(folder)


def read_manifest(folder: Path) -> Manifest:
    """Raises BackupDamaged."""
    path = folder / MANIFEST
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        raise BackupDamaged(f"{path} is not there: this is no backup, or one that was interrupted.") from None
    except OSError as error:
        raise BackupDamaged(f"{path}: {error.strerror}") from error
    try:
        end = msgspec.json.decode(lines[-1], type=_End).end
        if hashlib.sha256(b"".join(lines[:-1])).hexdigest() != end:
            raise ValueError("its own sum is wrong")
        heading = msgspec.json.decode(lines[0], type=Heading)
        files = [msgspec.json.decode(line, type=BackupFile) for line in lines[1:-1]]
    except (msgspec.MsgspecError, ValueError, IndexError) as error:
        raise BackupDamaged(f"{path} is damaged ({error}): nothing of this backup can be trusted.") from error
    if heading.format > FORMAT:
        raise BackupDamaged(f"{path}: written by a newer Postroad (format {heading.format}). Restore it with that one.")
    for file in files:
        pure = PurePosixPath(file.path)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise BackupDamaged(f"{path} names {file.path!r}, which is outside of a backup.")
    return Manifest(heading, {file.path: file for file in files})


def sha256_of(path: Path) -> tuple[str, int]:
    """The sum of a file that nobody writes, and its size. Raises OSError."""
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while octets := file.read(BACKUP_READ_BYTES):
            digest.update(octets)
            size_bytes += len(octets)
    return digest.hexdigest(), size_bytes


def verify(folder: Path, file: BackupFile) -> Path:
    """Where the file is, which is what the manifest says of it. Raises BackupDamaged."""
    path = folder / file.path
    try:
        digest, size_bytes = sha256_of(path)
    except OSError as error:
        raise BackupDamaged(f"{path}: {error.strerror}: the backup is damaged, and was left alone.") from error
    if (digest, size_bytes) != (file.sha256, file.size_bytes):
        raise BackupDamaged(f"{path} is not what it was when the backup was made: the backup is damaged.")
    return path
