"""Bringing a database file to the present format: a copy before, the migrations, a check after, all or nothing.

A file that already holds something is copied first, by SQLite's backup, to `before-upgrade/NAME.format-N` beside it.
Then all migrations that it lacks run in one transaction, with the check of the outcome inside it: what fails in it, a
power cut too, leaves the old format whole. The copy is for what a check cannot know, and for who wants to go back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import apsw

from postroad.contracts.errors import StoreFull, StoreUnavailable
from postroad.storage.sqlite.copying import copy_database, sync_folder
from postroad.vocabulary.limits import DATABASE_BUSY_S, INTEGRITY_COMPLAINTS, UPGRADE_COPIES

COPIES = "before-upgrade"
"""The folder of the copies, beside the files."""


def bring_up_to_date(
    connection: apsw.Connection, path: Path, *, name: str, application_id: int, migrations: Mapping[int, str]
) -> None:
    """Check what the file is and run the migrations that it lacks; a new file lacks all of them, and needs no copy.
    Durable when it returns. Raises StoreFull, StoreUnavailable, apsw.Error, OSError; the file is as it was then."""
    newest = max(migrations)
    if _identity(connection) == (application_id, newest):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked under the write lock: another process may be opening the same file and have been here before.
        version = _refuse_what_is_not_ours(connection, path, name, application_id, newest)
        if version < newest:
            if version:
                _keep_a_copy(path, version)
            for number in range(version + 1, newest + 1):
                connection.execute(migrations[number])
            connection.execute(f"PRAGMA application_id = {application_id}")
            connection.execute(f"PRAGMA user_version = {newest}")
            if version:
                _refuse_damage(connection, path, version, newest)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse_what_is_not_ours(
    connection: apsw.Connection, path: Path, name: str, application_id: int, newest: int
) -> int:
    """Its version."""
    identity, version = _identity(connection)
    if identity != application_id and not _is_empty(connection):
        raise StoreUnavailable(f"{path}: this file is no Postroad {name}; move it out of the way.")
    if version > newest:
        raise StoreUnavailable(
            f"{path}: written by a newer Postroad (format {version}, this one knows up to {newest}). "
            "Run that version, or restore a backup made before the upgrade."
        )
    return version


def _keep_a_copy(path: Path, version: int) -> None:
    """Of what is committed: the caller's lock keeps others from writing meanwhile."""
    folder = path.parent / COPIES
    copy = folder / f"{path.name}.format-{version}"
    partial = copy.with_name(f"{copy.name}.partial")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        partial.unlink(missing_ok=True)
        with closing(apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READWRITE)) as source:
            source.set_busy_timeout(int(DATABASE_BUSY_S * 1000))
            source.wal_autocheckpoint(0)
            copy_database(source, partial)
        os.replace(partial, copy)
        sync_folder(folder)
        sync_folder(path.parent)
    except (apsw.FullError, apsw.IOError, OSError) as error:
        with suppress(OSError):  # the reason that is told is the first one
            partial.unlink(missing_ok=True)
        raise StoreFull(
            f"{path}: no copy of it could be made before the upgrade from format {version} ({error}). Free some space "
            f"and see that {folder} can be written. Nothing was changed; an older Postroad can go on with it."
        ) from error
    _forget_old_copies(folder, path.name)


def _forget_old_copies(folder: Path, name: str) -> None:
    numbered = re.compile(re.escape(name) + r"\.format-(\d+)")
    found = sorted((int(match[1]), each) for each in folder.iterdir() if (match := numbered.fullmatch(each.name)))
    for _, copy in found[:-UPGRADE_COPIES]:
        copy.unlink()


def _refuse_damage(connection: apsw.Connection, path: Path, version: int, newest: int) -> None:
    lines = (str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({INTEGRITY_COMPLAINTS})"))
    complaints = [line for line in lines if line != "ok"]
    if complaints:
        raise StoreUnavailable(
            f"{path}: the upgrade from format {version} to {newest} was taken back, the file is as it was: it is "
            f"damaged ({complaints[0]}). Restore it from a backup. A copy of it is in {path.parent / COPIES}."
        )


def _identity(connection: apsw.Connection) -> tuple[int, int]:
    return connection.pragma("application_id"), connection.pragma("user_version")


def _is_empty(connection: apsw.Connection) -> bool:
    return bool(connection.execute("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)").get)
