"""Writing a mailbox, or one of its folders, into files. That an administrator did so is in the ledger before anything
is written, as for every other look into a mailbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Account
from postroad.contracts.ledger import Ledger
from postroad.contracts.mailbox_store import MailboxStore, StoredMessage
from postroad.contracts.queue_store import StoredContent
from postroad.services.operations.performer import OperationFailed
from postroad.vocabulary.limits import AUDIT_REASON_CHARACTERS
from postroad.vocabulary.story import Entry, ReadByAdministrator


class Files(Protocol):
    """Where the messages go."""

    async def put(self, message: StoredMessage, content: StoredContent) -> None:
        """Raises StoreUnavailable, OSError."""
        ...


class Exporting:
    def __init__(self, *, mailboxes: MailboxStore, ledger: Ledger, clock: Clock, account: Account) -> None:
        self._mailboxes = mailboxes
        self._ledger = ledger
        self._clock = clock
        self._account = account

    async def only_folder(self, form: str) -> str:
        """The one folder that there is, for forms that hold one. Raises OperationFailed where there are several."""
        folders = {message.folder async for message in self._messages("")}
        if len(folders) > 1:
            raise OperationFailed(
                f"the mailbox has the folders {', '.join(sorted(folders))}, and {form} holds one: choose it with "
                "--folder, or take --format maildir for all of them",
                2,
            )
        return ""

    async def note(self, by: str, reason: str) -> None:
        """Durable when it returns. Raises StoreUnavailable."""
        why = f"export: {reason}" if reason else "export"
        fact = ReadByAdministrator(
            at=self._clock.now(),
            account=str(self._account.address),
            uid=0,
            by=by,
            reason=why[:AUDIT_REASON_CHARACTERS],
        )
        self._ledger.record(Entry("", (self._account.address.key(),), (fact,)))
        await self._ledger.flush()

    async def run(self, files: Files, folder: str, progress: Callable[[int, int], None]) -> tuple[int, int]:
        """How many messages of the folder, "" for all, and how many octets. What comes meanwhile may be among
        them; what its owner removes just now is not. Raises StoreUnavailable, OSError."""
        total = (await self._mailboxes.status(self._account.id)).messages
        messages = size_bytes = 0
        async for message in self._messages(folder):
            try:
                content = await self._mailboxes.content(self._account.id, message.uid)
            except KeyError:
                continue
            await files.put(message, content)
            messages += 1
            size_bytes += message.size_bytes
            progress(messages, max(total, messages))
        return messages, size_bytes

    async def _messages(self, folder: str) -> AsyncIterator[StoredMessage]:
        after = 0
        while page := await self._mailboxes.list_all(self._account.id, after):
            for message in page:
                if not folder or message.folder == folder:
                    yield message
            after = page[-1].uid
