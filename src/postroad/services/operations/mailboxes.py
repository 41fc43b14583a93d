"""`postroad read`: look into a mailbox as its administrator.

Every look, a list too, is written into the ledger before anything is shown: who, when, at what, and why.
"""

from __future__ import annotations

import base64

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Account, Directory
from postroad.contracts.ledger import Ledger
from postroad.contracts.mailbox_store import MailboxStore, StoredMessage
from postroad.services.operations.arguments import address, argument
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.limits import AUDIT_REASON_CHARACTERS
from postroad.vocabulary.story import Entry, ReadByAdministrator


class MailboxOperations:
    def __init__(self, *, directory: Directory, mailboxes: MailboxStore, ledger: Ledger, clock: Clock) -> None:
        self._directory = directory
        self._mailboxes = mailboxes
        self._ledger = ledger
        self._clock = clock

    def verbs(self) -> Verbs:
        return {"mailbox.list": self._list, "mailbox.read": self._read}

    async def _list(self, arguments: PlainObject) -> list[PlainObject]:
        account = self._account(argument(arguments, "address", ""))
        messages = await self._mailboxes.list_messages(account.id)
        await self._note(arguments, account, None)
        return [
            {
                "number": number,
                "uid": message.uid,
                "size_bytes": message.size_bytes,
                "queue_id": message.queue_id,
                "received_at": message.received_at.isoformat(timespec="seconds"),
            }
            for number, message in enumerate(messages, 1)
        ]

    async def _read(self, arguments: PlainObject) -> list[PlainObject]:
        """The message in pieces, base64 each, so that a large one does not stand in one line."""
        account = self._account(argument(arguments, "address", ""))
        number = argument(arguments, "number", 0)
        messages = await self._mailboxes.list_messages(account.id)
        if not 1 <= number <= len(messages):
            raise OperationFailed(f"{account.address} has {len(messages)} messages; there is no number {number}")
        message = messages[number - 1]
        try:
            content = await self._mailboxes.content(account.id, message.uid)
        except KeyError:
            raise OperationFailed(f"message {number} was fetched and removed just now") from None
        await self._note(arguments, account, message)
        return [{"octets": base64.b64encode(chunk).decode("ascii")} async for chunk in content.chunks()]

    async def _note(self, arguments: PlainObject, account: Account, message: StoredMessage | None) -> None:
        """Durable when it returns. Without a message it was the list."""
        fact = ReadByAdministrator(
            at=self._clock.now(),
            account=str(account.address),
            uid=0 if message is None else message.uid,
            by=argument(arguments, "by", ""),
            reason=argument(arguments, "reason", "")[:AUDIT_REASON_CHARACTERS],
        )
        queue_id = "" if message is None else message.queue_id
        keys = (account.address.key(),) if message is None else (message.queue_id, account.address.key())
        self._ledger.record(Entry(queue_id, keys, (fact,)))
        await self._ledger.flush()

    def _account(self, text: str) -> Account:
        account = self._directory.account(address(text))
        if account is None:
            raise OperationFailed(f"there is no account {text}")
        return account
