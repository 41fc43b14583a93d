"""Bringing mail of one mailbox back out of a backup: what is missing is added, and nothing that is there is changed.

A message comes back under a UID of its own, for UIDs never return (RFC 9051 section 2.3.1.1), with the octets and the
time that it had, in its folder and with its flags. Whoever fetches by POP3 sees it as new.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable

import msgspec

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Account, AlreadyThere, Directory, LeadsNowhere, NotThere
from postroad.contracts.mailbox_store import Delivery, MailboxStore, StoredMessage
from postroad.services.operations.performer import OperationFailed
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import RESTORED_AGAIN


class Restored(msgspec.Struct, frozen=True):
    """Of one mailbox: messages that came back, and those that were there."""

    address: str
    restored: int
    present: int
    made_account: bool = False


Progress = Callable[[int, int], None]
"""Is told how many of how many messages were looked at."""


_Likeness = tuple[str, str, int]
_Present = dict[_Likeness, set[int]]
"""The UIDs of what is in a mailbox."""


class Restoring:
    """From the stores of a backup, opened in a folder of their own, into those that mail is delivered into."""

    def __init__(
        self,
        *,
        backup_id: str,
        old_directory: Directory,
        old_mailboxes: MailboxStore,
        directory: Directory,
        mailboxes: MailboxStore,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self._backup_id = backup_id
        self._old_directory = old_directory
        self._old_mailboxes = old_mailboxes
        self._directory = directory
        self._mailboxes = mailboxes
        self._clock = clock
        self._progress = progress

    def old_account(self, address: Mailbox) -> Account:
        """The account of exactly this address in the backup. Raises OperationFailed."""
        for account in self._old_directory.accounts(address.domain):
            if account.address.key() == address.key():
                return account
        raise OperationFailed(f"there is no account {address} in the backup")

    def old_account_of(self, account_id: int) -> Account | None:
        return next((account for account in self._old_directory.accounts() if account.id == account_id), None)

    async def restore(self, old: Account, queue_id: str = "") -> Restored:
        """Everything the mailbox had, or the one message. An account that is gone is made again as it was, with its
        password; one that is there is left as it is. Raises OperationFailed, StoreFull, StoreUnavailable; what was
        restored until then stays, and the next time goes on."""
        account, made_account = await self._account_for(old)
        wanted = [
            message
            async for message in _messages(self._old_mailboxes, old)
            if not queue_id or message.queue_id == queue_id
        ]
        present = await self._present(account)
        restored = 0
        for number, message in enumerate(wanted, 1):
            restored += await self._restore_message(old, message, account, present)
            self._progress(number, len(wanted))
        return Restored(str(account.address), restored, len(wanted) - restored, made_account)

    async def _account_for(self, old: Account) -> tuple[Account, bool]:
        for account in self._directory.accounts(old.address.domain):
            if account.address.key() == old.address.key():
                return account, False
        try:
            return await self._directory.add_account(old), True
        except NotThere:
            raise OperationFailed(
                f"{old.address.domain} is not a local domain any more; add it first: "
                f"postroad domain add {old.address.domain}"
            ) from None
        except AlreadyThere:
            raise OperationFailed(
                f"{old.address} is an alias now, or its Unix user belongs to somebody else; change that first"
            ) from None
        except LeadsNowhere:
            # Where it forwarded has changed since. Mail must not go round in a circle: it comes back without.
            return await self._directory.add_account(msgspec.structs.replace(old, forward_to=())), True

    async def _present(self, account: Account) -> _Present:
        present: _Present = {}
        async for message in _messages(self._mailboxes, account):
            present.setdefault(_likeness(message), set()).add(message.uid)
        return present

    async def _restore_message(self, old: Account, message: StoredMessage, account: Account, present: _Present) -> bool:
        """False when the mailbox has it. Each message that is there stands for one of the backup's only."""
        content = b"".join([chunk async for chunk in (await self._old_mailboxes.content(old.id, message.uid)).chunks()])
        same = present.get(_likeness(message), set())
        for uid in sorted(same):
            if await self._is(account, uid, content):
                same.discard(uid)
                return False
        surrogate = b""
        if message.surrogate_growth is not None:
            async with self._old_mailboxes.open_maildrop(old.id) as maildrop:
                surrogate = await maildrop.surrogate(message.uid)
        digest = hashlib.sha256(content).hexdigest()
        for again in range(RESTORED_AGAIN):
            before = (await self._mailboxes.status(account.id)).uid_next
            uid = await self._mailboxes.deliver(
                Delivery(
                    account_id=account.id,
                    key=f"restore/{self._backup_id}/{old.id}/{message.uid}/{digest}/{again}",
                    queue_id=message.queue_id,
                    head=b"",
                    content=content,
                    received_at=message.received_at,
                    surrogate=surrogate,
                    surrogate_growth=message.surrogate_growth or 0,
                    folder=message.folder,
                    flags=message.flags,
                    # A mailbox that is made by this begins a UIDVALIDITY of its own, for its UIDs begin again.
                    delivered_at=self._clock.now(),
                )
            )
            if uid >= before:
                return True
            # It was restored once before and removed again since: then it comes back a second time.
        raise OperationFailed(
            f"message {message.queue_id} was restored from this backup {RESTORED_AGAIN} times and removed each time"
        )

    async def _is(self, account: Account, uid: int, content: bytes) -> bool:
        try:
            stored = await self._mailboxes.content(account.id, uid)
        except KeyError:
            return False  # its owner removed it just now
        at = 0
        async for chunk in stored.chunks():
            if content[at : at + len(chunk)] != chunk:
                return False
            at += len(chunk)
        return at == len(content)


def _likeness(message: StoredMessage) -> _Likeness:
    """What can be compared without reading the message. What was moved to another folder since comes back in its old
    one as well: the two may have been two from the beginning."""
    return message.folder, message.queue_id, message.size_bytes


async def _messages(mailboxes: MailboxStore, account: Account) -> AsyncIterator[StoredMessage]:
    """Of all folders, by UID."""
    after = 0
    while page := await mailboxes.list_all(account.id, after):
        for message in page:
            yield message
        after = page[-1].uid
