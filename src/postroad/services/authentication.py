"""A name and a password, or a proof that it is known: whose are they? For SMTP AUTH (RFC 4954) and POP3 alike.

An unknown name, a disabled account and a wrong password take the same time and get the same answer. A client that
has been wrong too often is turned away before anything is looked up, hashed or compared.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac

from postroad.contracts.directory import Account, Directory
from postroad.contracts.passwords import Passwords
from postroad.services.answers import SecretFound
from postroad.services.guesses import Guesses
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.credentials import CramSecret, StoredSecret
from postroad.vocabulary.limits import (
    AUTH_DELAY_MAX_S,
    AUTH_DELAY_S,
    PASSWORD_BYTES,
    PATH_BYTES,
)

SUBMISSION_MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN")
"""For everybody, the strongest first."""

ODMR_MECHANISMS = (*SUBMISSION_MECHANISMS, "CRAM-MD5")
"""With what clients of RFC 2645 have had since 1999 (section 5.1.2), for the accounts that chose to keep its secret."""

_SALT_BYTES = 16


class TooManyGuesses(Exception):
    """This client has been wrong too often lately; nothing was checked."""


class Authentication:
    """`guesses` counts wrong passwords, over all services that log in."""

    def __init__(self, *, directory: Directory, passwords: Passwords, guesses: Guesses) -> None:
        self._directory = directory
        self._passwords = passwords
        self._guesses = guesses

    async def log_in(self, client: str, name: str, password: str, authorization_id: str = "") -> Account | None:
        """`check` for somebody at the address `client`. Raises TooManyGuesses beside what `check` raises."""
        self._admit(client)
        account = await self.check(name, password, authorization_id)
        return self._counted(client, account)

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
        return self._acting(account, authorization_id) if right else None

    def secret(self, client: str, mechanism: str, name: str) -> SecretFound:
        """What the exchange of a client at this address goes on with. A name that is unknown, disabled or without
        such a secret has none, and a salt that is its own for ever. Raises TooManyGuesses, StoreUnavailable."""
        self._admit(client)
        account = self._find(name)
        found: StoredSecret | None = None
        if account is not None and not account.disabled:
            if mechanism == "CRAM-MD5":
                found = CramSecret(account.cram_secret) if account.cram_secret else None
            else:
                found = account.scram
        # Made also where it is not needed: the time it takes tells nothing.
        salt = hmac.digest(self._directory.fake_salt_key(), name.strip().lower().encode(), hashlib.sha256)
        return SecretFound(found, salt[:_SALT_BYTES])

    def proven(self, client: str, name: str, right: bool, authorization_id: str = "") -> Account | None:
        """The end of an exchange that began with `secret`: the account that logs in, or None when the proof is not
        `right`, or the account has gone or been disabled meanwhile. Raises TooManyGuesses, StoreUnavailable."""
        self._admit(client)
        account = self._find(name)
        if account is not None and account.disabled:
            account = None
        return self._counted(client, self._acting(account, authorization_id) if right else None)

    def delay_s(self, client: str, failures: int) -> float:
        """How long the answer to a wrong password waits: the longer, the more there were lately of this client, or
        on its present connection (`failures`)."""
        lately = self._guesses.count(client, asyncio.get_running_loop().time())
        return min(AUTH_DELAY_S * 2.0 ** (max(failures, lately, 1) - 1), AUTH_DELAY_MAX_S)

    def _admit(self, client: str) -> None:
        if self._guesses.too_many(client, asyncio.get_running_loop().time()):
            raise TooManyGuesses

    def _counted(self, client: str, account: Account | None) -> Account | None:
        if account is None:
            self._guesses.wrong(client, asyncio.get_running_loop().time())
        return account

    def _acting(self, account: Account | None, authorization_id: str) -> Account | None:
        if account is None or (authorization_id and self._find(authorization_id) != account):
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
