"""`postroad import` and `postroad export`: mail of one mailbox from and into files, beside the running server or not.

Every process may open the mailboxes, so the server is not asked. What an import has under way is below run/, which no
backup takes, and goes with its end, or with the beginning of the next.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from postroad.app.configuration import Configuration
from postroad.app.console import take_the_owners_place
from postroad.app.errors import TRY_AGAIN
from postroad.app.mail_files import MailFiles, make_target
from postroad.app.mail_sources import MailSource, ProgressSoFar, open_before
from postroad.app.stores import Shared, open_for_command
from postroad.contracts.directory import Account
from postroad.contracts.errors import StoreUnavailable
from postroad.message.mail_flags import checked_folder
from postroad.services.operations.arguments import address as parse_address
from postroad.services.operations.exporting import Exporting
from postroad.services.operations.importing import Imported, Importing
from postroad.services.operations.performer import OperationFailed, PlainObject

_GOES_ON = "the same command goes on from there"


def import_mail(configuration: Configuration, given: PlainObject, progress: ProgressSoFar) -> PlainObject:
    """`given`: "address", "path", "format" ("" for what it looks like), "folder", "over_quota", "again". Raises
    OperationFailed; what is in the mailbox by then stays there."""
    path = Path(given["path"])
    file = open_before(path)
    take_the_owners_place(configuration)
    run = configuration.run_folder
    importing: Importing | None = None

    async def all_of_it(scratch: Path) -> tuple[str, Imported]:
        nonlocal importing
        async with open_for_command(configuration) as shared:
            account = _account(shared, given["address"])
            source = MailSource(path, given["format"], _folder(given["folder"]), scratch, file)
            quota_bytes = account.quota_bytes
            if quota_bytes is None:
                quota_bytes = configuration.limit_settings().account.quota_bytes
            importing = Importing(
                mailboxes=shared.mailboxes,
                clock=shared.clock,
                account=account,
                quota_bytes=0 if given["over_quota"] else quota_bytes,
                again=os.urandom(8).hex() if given["again"] else "",
                progress=lambda messages: progress(source.done_bytes, source.size_bytes, messages),
            )
            return str(account.address), await importing.run(source)

    with _scratch(run) as scratch:
        try:
            address, result = asyncio.run(all_of_it(scratch))
        except (StoreUnavailable, OSError) as error:
            words = str(error) if isinstance(error, StoreUnavailable) else f"{error.filename}: {error.strerror}"
            done = 0 if importing is None else importing.result.imported
            raise OperationFailed(f"{words} {done} messages were imported; {_GOES_ON}", TRY_AGAIN) from error
    return {
        "address": address,
        "imported": result.imported,
        "present": result.present,
        "size_bytes": result.size_bytes,
        "unreadable": result.unreadable,
        "problems": [{"where": each.where, "reason": each.reason} for each in result.problems],
        "over_quota": result.over_quota,
        "too_many": result.too_many,
    }


def export_mail(configuration: Configuration, given: PlainObject, progress: Callable[[int, int], None]) -> PlainObject:
    """`given`: "address", "path", "format", "folder", "by", "reason". Raises OperationFailed."""
    folder = _folder(given["folder"])
    path = Path(given["path"]).absolute()
    form = given["format"]
    target = make_target(path, form, configuration.data_folder)
    try:
        take_the_owners_place(configuration)

        async def all_of_it() -> PlainObject:
            async with open_for_command(configuration) as shared:
                account = _account(shared, given["address"])
                exporting = Exporting(
                    mailboxes=shared.mailboxes, ledger=shared.ledger, clock=shared.clock, account=account
                )
                only = folder or ("" if form == "maildir" else await exporting.only_folder(form))
                await exporting.note(given["by"], given["reason"])
                with MailFiles(target, path, form) as files:
                    messages, size_bytes = await exporting.run(files, only, progress)
                return {"address": str(account.address), "messages": messages, "size_bytes": size_bytes}

        done = asyncio.run(all_of_it())
    except BaseException as error:
        target.take_back()
        if isinstance(error, StoreUnavailable):
            raise OperationFailed(f"{error} Nothing was exported.", TRY_AGAIN) from error
        if isinstance(error, OSError):
            raise OperationFailed(f"{error.filename or path}: {error.strerror}. Nothing was exported.") from error
        raise
    return {**done, "path": str(path), "format": form}


def _account(shared: Shared, text: str) -> Account:
    """Of exactly this address: nothing is brought into somebody else's mailbox by way of an alias."""
    address = parse_address(text)
    account = shared.directory.account(address)
    if account is None or account.address.key() != address.key():
        raise OperationFailed(f"there is no account {text}; make it first: postroad account add {text}")
    return account


def _folder(text: str) -> str:
    """ "" stays. Raises OperationFailed."""
    try:
        return checked_folder(text) if text else ""
    except ValueError as error:
        raise OperationFailed(f"--folder: {error}", 2) from None


@contextmanager
def _scratch(run: Path) -> Iterator[Path]:
    """A folder for this import alone. Raises OperationFailed while another is at work."""
    handle = os.open(run / "import.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperationFailed("another import is at work; wait for its end", TRY_AGAIN) from None
        folder = run / "import"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        except OSError as error:
            raise OperationFailed(f"{folder}: {error.strerror}") from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
