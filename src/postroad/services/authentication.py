"""A name and a password: whose are they? For SMTP AUTH (RFC 4954) and POP3 alike.

An unknown name, a disabled account and a wrong password take the same time and get the same answer.
"""

from __future__ import annotations

import asyncio

from postroad.contracts.directory import Account, Directory
from postroad.contracts.passwords import Passwords
from postroad.rules.networks import NetworkSet, client_of
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import AUTH_FAILURES_OF_CLIENT, AUTH_MEMORY_S, GUESSERS, PASSWORD_BYTES, PATH_BYTES


class TooManyGuesses(Exception):
    """This client has been wrong too often lately; nothing was checked."""


class Guesses:
    """Wrong passwords by client (`client_of`), whatever the connection. Networks in `exempt` are not counted."""

    def __init__(self, exempt: NetworkSet) -> None:
        self._exempt = exempt
        self._wrong: dict[str, tuple[float, int]] = {}
        """Since when, and how many; the client that was wrong last stands last."""

    def too_many(self, address: str, now: float) -> bool:
        since, count = self._wrong.get(client_of(address), (now, 0))
        return count >= AUTH_FAILURES_OF_CLIENT and now - since < AUTH_MEMORY_S

    def wrong(self, address: str, now: float) -> None:
        if address in self._exempt:
            return
        client = client_of(address)
        since, count = self._wrong.pop(client, (now, 0))
        if now - since >= AUTH_MEMORY_S:
            since, count = now, 0
        self._wrong[client] = (since, count + 1)
        if len(self._wrong) > GUESSERS:
            del self._wrong[next(iter(self._wrong))]


class Authentication:
    """`exempt` are networks whose wrong passwords are not counted against them."""

    def __init__(self, *, directory: Directory, passwords: Passwords, exempt: NetworkSet) -> None:
        self._directory = directory
        self._passwords = passwords
        self._guesses = Guesses(exempt)

    async def log_in(self, client: str, name: str, password: str, authorization_id: str = "") -> Account | None:
        """`check` for somebody at the address `client`. Raises TooManyGuesses beside what `check` raises."""
        loop = asyncio.get_running_loop()
        if self._guesses.too_many(client, loop.time()):
            raise TooManyGuesses
        account = await self.check(name, password, authorization_id)
        if account is None:
            self._guesses.wrong(client, loop.time())
        return account

    async def check(self, name: str, password: str, authorization_id: str = "") -> Account | None:
        """The account that logs in, or None.

        `name` is the account's whole address; `authorization_id`, when given, must be the same account's
        (RFC 4616 section 2: nobody here may act for another). Raises Busy when too many checks wait,
        StoreUnavailable when the directory cannot be read: neither says anything about the password.
        """
        account = self._find(name)
        stored = account.password if account is not None and not account.disabled else ""
        # What is too long, empty, or holds NUL cannot be right; the same work is done for it on other octets.
        if not 0 < len(password.encode("utf-8", "surrogatepass")) <= PASSWORD_BYTES or "\0" in password:
            stored, password = "", "-"
        right = await self._passwords.verify(name[:PATH_BYTES], stored, password)
        if not right or account is None:
            return None
        if authorization_id and self._find(authorization_id) != account:
            return None
        return account

    def _find(self, name: str) -> Account | None:
        local_part, at, domain = name.strip().rpartition("@")
        if not at or not local_part or not domain or len(name) > PATH_BYTES:
            return None
        account = self._directory.account(Mailbox(local_part, domain.lower()))
        # `postmaster` leads to another account than its own: good for receiving mail, not for a login.
        if account is None or account.address.local_part.lower() != local_part.lower():
            return None
        return account
