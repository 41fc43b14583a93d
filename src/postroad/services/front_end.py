"""XCLIENT: a front end, listed in `policy.xclient`, tells whose connection it passes on.

From then on every rule and every limit goes by what it told: the address, the name, the HELO, the login. What it
did not tell stays as it was, but for the login: a new client has none until it is told.
"""

from __future__ import annotations

from collections.abc import Callable

from postroad.contracts.directory import Account
from postroad.rules import client_policy
from postroad.rules.ruling import refused
from postroad.services.answers import Answer, Plain
from postroad.services.reception_parts import Desk
from postroad.services.refusals import Refusals
from postroad.services.smtp_client import SmtpClient
from postroad.services.smtp_content import SmtpContent
from postroad.services.smtp_login import SmtpLogin
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.reply import Reply, printable
from postroad.wire.smtp.events import ClientReplaced

Readmit = Callable[[], Reply | None]
"""Counts the connection as its client's from now on; a Reply is what that client would have been greeted with."""


_UNKNOWN_LOGIN = refused("xclient", "the login is no account here", 501, "5.5.4", "LOGIN is no account here")


class FrontEnd:
    def __init__(
        self,
        desk: Desk,
        client: SmtpClient,
        *,
        content: SmtpContent,
        login: SmtpLogin,
        refusals: Refusals,
        readmit: Readmit,
    ) -> None:
        self._desk = desk
        self._client = client
        self._content = content
        self._login = login
        self._refusals = refusals
        self._readmit = readmit

    def replaced(self, event: ClientReplaced) -> Answer:
        """Raises StoreUnavailable."""
        client = self._client
        account = self._account(event.login) if event.login else None
        ruling = _UNKNOWN_LOGIN if event.login and account is None else None
        if account is not None:
            ruling = self._login.enter(account)
        else:
            self._login.leave()
        if ruling is not None:
            return self._refusals.refuse("XCLIENT", printable(event.login or ""), ruling, None)
        self._content.drop()
        client.replaced(
            remote=_endpoint(client.remote, event.address, event.port),
            local=_endpoint(client.local, event.destination_address, event.destination_port),
            helo=event.helo,
            esmtp=None if event.protocol is None else event.protocol == "ESMTP",
            account="" if account is None else str(account.address),
        )
        self._refusals.forget()
        refusal = self._readmit()
        if refusal is not None:
            return refusal
        screen = self._content.screen = client.screen(self._known_name(event))
        if screen is not None and client.helo:
            screen.greeted(client.helo)
        if event.name:
            client.confirmed(event.name)
        return Plain.ACCEPT

    def _account(self, login: str) -> Account | None:
        """Whose login it is: one that we do not know would have none of an account's limits."""
        local_part, at, domain = login.rpartition("@")
        account = self._desk.directory.account(Mailbox(local_part, domain.lower())) if at and local_part else None
        if account is None or account.disabled or account.address.local_part.lower() != local_part.lower():
            return None
        return account

    def _known_name(self, event: ClientReplaced) -> client_policy.Finding | None:
        """What the front end says of the reverse DNS; None where it says nothing and we look ourselves."""
        address = self._client.remote.address
        if event.name:
            return client_policy.find_reverse_dns(address, (event.name,), event.name)
        if event.name_later:
            return client_policy.not_known_now(client_policy.Rule.REVERSE_DNS, address)
        return None if event.name is None else client_policy.find_reverse_dns(address, (), "")


def _endpoint(known: Endpoint, address: str | None, port: int | None) -> Endpoint:
    return Endpoint(known.address if address is None else address, known.port if port is None else port)
