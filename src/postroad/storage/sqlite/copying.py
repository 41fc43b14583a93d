"""Copying a database while others use it, through SQLite alone, and syncing the names in a folder."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw

from postroad.vocabulary.limits import BACKUP_STEP_PAGES


def copy_database(source: apsw.Connection, target: Path) -> None:
    """By SQLite's backup, from the read transaction that `source` has open or from one of its own. Synced when it
    returns. Raises apsw.Error, OSError."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(apsw.Connection(os.fspath(target))) as copy:
        copy.pragma("synchronous", "full")
        with copy.backup("main", source, "main") as pages:
            while not pages.done:
                pages.step(BACKUP_STEP_PAGES)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
