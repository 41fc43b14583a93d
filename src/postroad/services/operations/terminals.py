"""`postroad watch`, and the other workers' questions to the one that keeps the watchers."""

from __future__ import annotations

import msgspec

from postroad.contracts.directory import Directory
from postroad.services.operations.arguments import address, argument
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.terminals import TerminalMessage, Watchers
from postroad.vocabulary.limits import TERMINAL_LINES, WATCH_POLL_S

_NAME_CHARACTERS = 64


class TerminalOperations:
    def __init__(self, *, watchers: Watchers, directory: Directory) -> None:
        self._watchers = watchers
        self._directory = directory

    def verbs(self) -> Verbs:
        return {
            "watch.poll": self._poll,
            "watch.close": self._close,
            "watch.active": self._active,
            "watch.show": self._show,
        }

    async def _poll(self, arguments: PlainObject) -> list[PlainObject]:
        """What has come for `address` since number `shown`; waits for it. `watcher` is a name that the terminal has
        made up for itself. Each poll says what came of the one before."""
        name = self._name(arguments)
        mailbox = address(argument(arguments, "address", ""))
        account = self._directory.account(mailbox)
        if account is None:
            raise OperationFailed(f"there is no account {mailbox}")
        shown = argument(arguments, "shown", 0)
        wait_s = argument(arguments, "wait_s", int(WATCH_POLL_S))
        messages = await self._watchers.poll(name, account.address.key(), shown, wait_s)
        return [{"number": number, **msgspec.to_builtins(message)} for number, message in messages]

    async def _close(self, arguments: PlainObject) -> list[PlainObject]:
        self._watchers.close(self._name(arguments), argument(arguments, "shown", 0))
        return []

    async def _active(self, arguments: PlainObject) -> list[PlainObject]:
        return [{"active": await self._watchers.is_active(argument(arguments, "account", ""))}]

    async def _show(self, arguments: PlainObject) -> list[PlainObject]:
        try:
            message = msgspec.convert(arguments.get("message"), TerminalMessage)
            accounts = msgspec.convert(arguments.get("accounts"), tuple[str, ...])
        except msgspec.ValidationError as error:
            raise OperationFailed(f"no message to show: {error}", 2) from None
        if len(message.lines) > TERMINAL_LINES + 1:
            raise OperationFailed("this is too much for a terminal", 2)
        return [{"shown": sorted(await self._watchers.show(message, accounts))}]

    @staticmethod
    def _name(arguments: PlainObject) -> str:
        name = argument(arguments, "watcher", "")
        if not 0 < len(name) <= _NAME_CHARACTERS:
            raise OperationFailed("which terminal? give it a name", 2)
        return name
