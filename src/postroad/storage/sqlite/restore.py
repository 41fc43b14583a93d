"""Taking a backup, or a part of it, out again: what is not what the manifest says is never given out."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw

from postroad.contracts.errors import StoreUnavailable
from postroad.storage.sqlite.backup import copy_file, open_copy
from postroad.storage.sqlite.backup_manifest import BackupDamaged, BackupFile, Manifest, verify
from postroad.storage.sqlite.copying import sync_folder
from postroad.storage.sqlite.database import make_folder, translated, translating
from postroad.vocabulary.limits import MAILBOX_SHARDS

_FILES_OF = """
    SELECT content.file FROM message JOIN content ON content.id = message.content_id
    WHERE message.account_id = ? AND content.file IS NOT NULL
"""
_ACCOUNTS_WITH = "SELECT DISTINCT account_id FROM message WHERE queue_id = ?"


def restore_all(backup: Path, manifest: Manifest, folder: Path) -> int:
    """Copy every file of the backup into `folder`, which is empty; the configuration and keys too. Returns how many.

    Everything is compared with the manifest first, and again as it was copied. Raises BackupDamaged before anything
    was written, StoreFull, StoreUnavailable. Blocks."""
    for file in manifest.files.values():
        verify(backup, file)
    for file in manifest.files.values():
        _take_out(backup, file, folder)
    with translating(str(folder)):
        for inner, _, _ in os.walk(folder):
            sync_folder(Path(inner))
    return len(manifest.files)


def take_directory_out(backup: Path, manifest: Manifest, folder: Path) -> Path:
    """The directory alone. Raises BackupDamaged, StoreFull, StoreUnavailable. Blocks."""
    return _take_out(backup, _file(manifest, "directory.db"), folder)


def take_mailbox_out(backup: Path, manifest: Manifest, account_id: int, folder: Path) -> bool:
    """The part of the mailboxes that an account's is in, and the account's content. False when nothing was ever
    delivered there. Raises BackupDamaged, StoreFull, StoreUnavailable. Blocks."""
    shard = account_id % MAILBOX_SHARDS
    relative = f"mail/{shard:02d}.db"
    if relative not in manifest.files:
        if any(missing.startswith(relative) for missing in manifest.heading.missing):
            raise BackupDamaged(f"{relative} could not be read when the backup was made: the account is not in it.")
        return False
    database = folder / relative
    if not database.exists():
        _take_out(backup, manifest.files[relative], folder)
    try:
        with closing(open_copy(database)) as connection:
            names = [name for (name,) in connection.execute(_FILES_OF, (account_id,))]
    except apsw.Error as error:
        raise BackupDamaged(f"{backup / relative}: {error}") from error
    for name in names:
        content = f"mail/content/{shard:02d}/{name}"
        if not (folder / content).exists():
            _take_out(backup, _file(manifest, content), folder)
    return True


def accounts_with(backup: Path, manifest: Manifest, queue_id: str) -> list[int]:
    """The accounts in whose mailboxes the message is. All mailbox files are looked at. Raises as the others here."""
    found: list[int] = []
    for file in manifest.files.values():
        if not (file.path.startswith("mail/") and file.path.endswith(".db")):
            continue
        path = verify(backup, file)
        try:
            with closing(open_copy(path)) as connection:
                found += [account_id for (account_id,) in connection.execute(_ACCOUNTS_WITH, (queue_id,))]
        except apsw.Error as error:
            raise BackupDamaged(f"{path}: {error}") from error
    return found


def _file(manifest: Manifest, relative: str) -> BackupFile:
    file = manifest.files.get(relative)
    if file is None:
        raise BackupDamaged(f"{relative} is not in the backup.")
    return file


def _take_out(backup: Path, file: BackupFile, folder: Path) -> Path:
    """Copy one file of a backup to where it belongs below `folder`."""
    target = folder / file.path
    if not (backup / file.path).exists():
        verify(backup, file)  # which says that it is gone
    try:
        make_folder(target.parent)
        copy_file(backup / file.path, target)
    except OSError as error:
        raise translated(error, str(target)) from error
    try:
        verify(folder, file)
    except StoreUnavailable:
        target.unlink(missing_ok=True)
        verify(backup, file)
        raise
    return target
