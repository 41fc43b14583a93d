"""`postroad backup` and `postroad restore`: beside the running server, or while it is stopped.

Every process may open the databases, so the server is not asked. What is made belongs to the owner of the data, also
where root asks for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from postroad.app.configuration import Configuration
from postroad.app.console import take_the_owners_place
from postroad.app.descriptors import raise_limit
from postroad.app.errors import TRY_AGAIN
from postroad.app.folder import prepare
from postroad.app.identity import ROOT
from postroad.app.stores import open_for_command
from postroad.contracts.errors import StoreUnavailable
from postroad.services.operations.arguments import address as parse_address
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.restoring import Restored, Restoring
from postroad.storage.sqlite.backup import Backup, BackupResult
from postroad.storage.sqlite.backup_manifest import BackupDamaged, Heading, read_manifest
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.storage.sqlite.restore import accounts_with, restore_all, take_directory_out, take_mailbox_out
from postroad.vocabulary.limits import BACKUP_DESCRIPTORS
from postroad.vocabulary.queue_id import to_number

SCRATCH = "restore.scratch"
"""Below the data folder, while mail comes out of a backup. What an interrupted command leaves goes with the next."""

Progress = Callable[[int, int], None]


def backup(
    configuration: Configuration,
    target: Path,
    *,
    since: Path | None,
    with_keys: bool,
    progress: Callable[[str], None],
) -> PlainObject:
    """Back the whole server up into `target`, a folder that is not there yet, or empty. Raises OperationFailed."""
    target = target.absolute()
    if target.is_relative_to(configuration.data_folder.resolve()):
        raise OperationFailed(f"{target} is in the data folder itself; choose a place outside of it", 2)
    _make_empty(target, configuration)
    take_the_owners_place(configuration)
    raise_limit(BACKUP_DESCRIPTORS)
    with _one_at_a_time(configuration.data_folder / "run" / "backup.lock"), _told():
        former = None if since is None else read_manifest(since)
        made = Backup(
            data=configuration.data_folder,
            target=target,
            former=former,
            former_folder=None if since is None else since.absolute(),
            progress=progress,
        ).make(
            Heading(
                id=secrets.token_hex(8),
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
                hostname=configuration.hostname,
            ),
            configuration=configuration.path,
            keys=_keys(configuration) if with_keys else (),
        )
    return _result(target, made)


def _result(target: Path, made: BackupResult) -> PlainObject:
    return {
        "backup": str(target),
        "files": made.files,
        "size_bytes": made.size_bytes,
        "new_bytes": made.new_bytes,
        "missing": list(made.missing),
    }


def _keys(configuration: Configuration) -> list[tuple[Path, str]]:
    folder = configuration.data_folder / "keys"
    found = [(path, f"keys/{path.relative_to(folder)}") for path in sorted(folder.rglob("*")) if path.is_file()]
    named = (configuration.certificate_file, configuration.key_file)
    elsewhere = [path for path in named if path.is_file() and not path.is_relative_to(folder)]
    return found + [(path, f"configuration/tls/{path.name}") for path in elsewhere]


def restore_whole(configuration: Configuration | None, source: Path, folder: Path) -> PlainObject:
    """Put the whole backup into `folder`, which is not there yet, or empty. Raises OperationFailed."""
    folder = folder.absolute()
    with _told():
        manifest = read_manifest(source)
        _make_empty(folder, configuration)
        files = restore_all(source, manifest, folder)
        if configuration is not None:
            prepare(folder, configuration.processes.user if configuration.processes.user != ROOT else "")
            _give_to_owner(folder, configuration.data_folder)
    return {
        "restored_to": str(folder),
        "files": files,
        "made_at": manifest.heading.made_at,
        "hostname": manifest.heading.hostname,
        "missing": list(manifest.heading.missing),
    }


def restore_mail(
    configuration: Configuration, source: Path, *, account: str, queue_id: str, progress: Progress
) -> list[PlainObject]:
    """Add what is missing of one mailbox, or one message wherever it was. Raises OperationFailed."""
    wanted = None if not account else parse_address(account)
    if queue_id:
        try:
            to_number(queue_id)
        except ValueError as error:
            raise OperationFailed(str(error), 2) from None
        queue_id = queue_id.upper()
    take_the_owners_place(configuration)
    scratch = configuration.data_folder / SCRATCH

    async def restored() -> list[Restored]:
        async with AsyncExitStack() as opened:
            manifest = read_manifest(source)
            take_directory_out(source, manifest, scratch)
            old_directory = SqliteDirectory(scratch / "directory.db")
            opened.push_async_callback(old_directory.close)
            old_mailboxes = SqliteMailboxStore(scratch / "mail")
            opened.push_async_callback(old_mailboxes.close)
            shared = await opened.enter_async_context(open_for_command(configuration))
            restoring = Restoring(
                backup_id=manifest.heading.id,
                old_directory=old_directory,
                old_mailboxes=old_mailboxes,
                directory=shared.directory,
                mailboxes=shared.mailboxes,
                clock=shared.clock,
                progress=progress,
            )
            if wanted is not None:
                accounts = [restoring.old_account(wanted)]
            else:
                ids = accounts_with(source, manifest, queue_id)
                accounts = [found for found in map(restoring.old_account_of, ids) if found is not None]
            results = []
            for each in accounts:
                take_mailbox_out(source, manifest, each.id, scratch)
                results.append(await restoring.restore(each, queue_id))
            return results

    with _one_at_a_time(configuration.data_folder / "run" / "restore.lock"), _told():
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            results = asyncio.run(restored())
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    if queue_id and not any(result.restored + result.present for result in results):
        whose = f"the mailbox of {account} in the backup" if account else "any mailbox of the backup"
        raise OperationFailed(f"message {queue_id} is not in {whose}")
    return [
        {
            "address": result.address,
            "restored": result.restored,
            "present": result.present,
            "made_account": result.made_account,
        }
        for result in results
    ]


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BackupDamaged as damaged:
        raise OperationFailed(str(damaged)) from damaged
    except StoreUnavailable as error:
        raise OperationFailed(str(error), TRY_AGAIN) from error


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """Raises OperationFailed when another command of the kind is at work."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperationFailed("another command is at it already; wait for its end", TRY_AGAIN) from None
        yield
    finally:
        os.close(handle)


def _make_empty(folder: Path, configuration: Configuration | None) -> None:
    """A new folder, for the owner of the data alone. As root it is given to that owner."""
    try:
        if folder.exists() and any(folder.iterdir()):
            raise OperationFailed(f"{folder} is there already, and not empty; choose another place", 2)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        if configuration is not None:
            _give_to_owner(folder, configuration.data_folder)
    except OSError as error:
        raise OperationFailed(f"{folder}: {error.strerror}") from None


def _give_to_owner(folder: Path, data: Path) -> None:
    """As root: all that is in the folder becomes that of the data's owner. Raises OSError."""
    if os.geteuid() != 0 or not data.exists():
        return
    facts = data.stat()
    for inner, _, names in os.walk(folder):
        for path in (inner, *(os.path.join(inner, name) for name in names)):
            os.chown(path, facts.st_uid, facts.st_gid, follow_symlinks=False)
