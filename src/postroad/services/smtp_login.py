"""AUTH on one SMTP connection (RFC 4954): the half of the decisions that is about who the client is."""

from __future__ import annotations

import asyncio

from postroad.contracts.directory import Account
from postroad.contracts.errors import Busy, StoreUnavailable
from postroad.rules.ruling import Ruling
from postroad.services.answers import Answer, Identified, Pending
from postroad.services.authentication import TooManyGuesses
from postroad.services.reception_parts import Desk
from postroad.services.refusals import Refusals
from postroad.services.smtp_client import SmtpClient
from postroad.vocabulary.limits import AUTH_FAILURES
from postroad.vocabulary.reply import Reply, reply
from postroad.vocabulary.story import Verdict
from postroad.wire.smtp.events import CredentialsGiven, ProofGiven, SecretAsked

# RFC 4954 section 6.
_UNAVAILABLE = reply(454, "Temporary authentication failure", status="4.7.0")
_FAILED = reply(535, "Authentication credentials invalid", status="5.7.8")
_TOO_OFTEN = reply(421, "Too many failed logins, closing", status="4.7.0")


class SmtpLogin:
    """Holds the account's session that a login took, until `leave`."""

    __slots__ = ("_client", "_desk", "_entered", "_failures", "_refusals")

    def __init__(self, desk: Desk, client: SmtpClient, refusals: Refusals) -> None:
        self._desk = desk
        self._client = client
        self._refusals = refusals
        self._failures = 0
        self._entered: int | None = None
        """The id of the account."""

    def credentials(self, event: CredentialsGiven) -> Answer:
        check = self._desk.authentication.log_in(
            self._client.remote.address, event.name, event.password, event.authorization_id
        )
        return Pending(self._desk.errands.start(check), lambda done: self._checked(event.name, done))

    def _checked(self, name: str, done: asyncio.Future[Account | None]) -> Answer:
        try:
            return self._judged(name, done.result())
        except (Busy, StoreUnavailable):
            return _UNAVAILABLE
        except TooManyGuesses:
            return self._end(name)

    def secret(self, event: SecretAsked) -> Answer:
        try:
            return self._desk.authentication.secret(self._client.remote.address, event.mechanism, event.name)
        except StoreUnavailable:
            return _UNAVAILABLE
        except TooManyGuesses:
            return self._end(event.name)

    def proof(self, event: ProofGiven) -> Answer:
        try:
            account = self._desk.authentication.proven(
                self._client.remote.address, event.name, event.right, event.authorization_id
            )
        except StoreUnavailable:
            return _UNAVAILABLE
        except TooManyGuesses:
            return self._end(event.name)
        return self._judged(event.name, account)

    def enter(self, account: Account) -> Ruling | None:
        """The client is a session of this account from now on; or why it may not be."""
        self.leave()
        ruling = self._desk.account_sessions.enter(account)
        if ruling is None:
            self._entered = account.id
        return ruling

    def leave(self) -> None:
        """The connection is gone, or who the client is was forgotten. Harmless when repeated."""
        if self._entered is not None:
            self._desk.account_sessions.leave(self._entered)
            self._entered = None

    def _judged(self, name: str, account: Account | None) -> Answer:
        if account is not None:
            return self._welcome(account)
        self._failures += 1
        if self._failures >= AUTH_FAILURES:
            return self._end(name)
        self._refusals.note("AUTH", name, _FAILED, Verdict("password", "reject", "wrong name or password"))
        delay_s = self._desk.authentication.delay_s(self._client.remote.address, self._failures)
        return self._refusals.later(delay_s, _FAILED)

    def _welcome(self, account: Account) -> Answer:
        waiting = self._desk.account_sessions.wanting(account)
        if waiting is not None:
            return Pending(waiting, lambda _: self._welcome(account))
        ruling = self.enter(account)
        if ruling is not None:
            return self._refusals.refuse("AUTH", str(account.address), ruling, account.address)
        self._client.authenticated(str(account.address))
        return Identified(str(account.address))

    def _end(self, name: str) -> Reply:
        self._refusals.note("AUTH", name, _TOO_OFTEN, Verdict("password", "reject", "too many failed logins"))
        return _TOO_OFTEN
