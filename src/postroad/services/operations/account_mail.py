"""What becomes of an account's mail: forwarding, the notice of absence, the name it bears."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from postroad.contracts.directory import Account, Vacation
from postroad.services.operations.arguments import addresses, argument, moment
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.limits import VACATION_DAYS_MAX, VACATION_SUBJECT_CHARACTERS, VACATION_TEXT_BYTES

Change = Callable[..., Awaitable[list[PlainObject]]]


class AccountMailOperations:
    """`existing` finds the account or raises OperationFailed; `change` writes it with these fields."""

    def __init__(self, *, existing: Callable[[str], Account], change: Change) -> None:
        self._existing = existing
        self._change = change

    def verbs(self) -> Verbs:
        return {
            "account.name": self._name,
            "account.forward": self._forward,
            "account.vacation": self._vacation,
        }

    async def _name(self, arguments: PlainObject) -> list[PlainObject]:
        name = argument(arguments, "display_name", "")
        if not name.isprintable():
            raise OperationFailed("a name is one line of text", 2)
        return await self._change(self._existing(argument(arguments, "address", "")), display_name=name)

    async def _forward(self, arguments: PlainObject) -> list[PlainObject]:
        """No targets end it."""
        account = self._existing(argument(arguments, "address", ""))
        targets = addresses(arguments, "targets")
        return await self._change(account, forward_to=targets, keeps_copy=argument(arguments, "keep_copy", True))

    async def _vacation(self, arguments: PlainObject) -> list[PlainObject]:
        """An empty text ends it."""
        account = self._existing(argument(arguments, "address", ""))
        return await self._change(account, vacation=_vacation_of(arguments))


def _vacation_of(arguments: PlainObject) -> Vacation | None:
    text = argument(arguments, "text", "").strip()
    if not text:
        return None
    subject, days = argument(arguments, "subject", "").strip(), argument(arguments, "days", 7)
    if len(text.encode()) > VACATION_TEXT_BYTES:
        raise OperationFailed(f"the text of a notice has at most {VACATION_TEXT_BYTES} octets", 2)
    if not all(character.isprintable() or character in "\n\t" for character in text.replace("\r\n", "\n")):
        raise OperationFailed("the text of a notice is text: it has control characters", 2)
    if not subject.isprintable() or len(subject) > VACATION_SUBJECT_CHARACTERS:
        raise OperationFailed(f"the subject is one line of at most {VACATION_SUBJECT_CHARACTERS} characters", 2)
    if not 1 <= days <= VACATION_DAYS_MAX:
        raise OperationFailed(f"days: expected 1 to {VACATION_DAYS_MAX}, got {days}", 2)
    return Vacation(text=text, subject=subject, days=days, until=moment(arguments, "until"))
