"""The client of one SMTP connection, as far as we know it, and what that lets it do."""

from __future__ import annotations

from postroad.contracts.directory import Account, Alias
from postroad.contracts.mailing_lists import ListAddress
from postroad.rules.client_policy import Finding
from postroad.services.client_screen import ClientScreen
from postroad.services.reception_parts import Desk
from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.endpoint import Endpoint, PeerFacts, TlsFacts
from postroad.vocabulary.listener import ListenerRole

_ROOT = 0
_LOCAL = ListenerRole.LOCAL


class SmtpClient:
    """Its address, names, TLS and identity. What STARTTLS makes void is forgotten by `tls_started`."""

    __slots__ = ("_allowed", "_allowed_of", "_desk", "_facts", "account", "esmtp", "helo", "host", "local", "remote",
                 "role", "tls", "trusted", "uid", "unix_user")  # fmt: skip

    def __init__(
        self,
        desk: Desk,
        role: ListenerRole,
        *,
        remote: Endpoint,
        local: Endpoint,
        tls: TlsFacts | None,
        uid: int | None,
    ) -> None:
        self._desk = desk
        self.role = role
        self.remote = remote
        self.local = local
        self.tls = tls
        self.uid = uid
        self.helo = ""
        self.esmtp = False
        self.host = ""
        self.account = ""
        """The address that AUTH proved, or of the account of the Unix user; empty for a stranger."""
        self.unix_user = ""
        self.trusted = False
        """May relay without an identity (`trusted_networks`); on the local socket: may use any local address."""
        self._facts: PeerFacts | None = None
        self._allowed_of: Account | None = None
        self._allowed: frozenset[str] = frozenset()
        if role is _LOCAL:
            self._know_unix_user()
        elif role.is_open_to_strangers:
            self.trusted = remote.address in desk.trusted

    def _know_unix_user(self) -> None:
        if self.uid is None:
            return
        self.unix_user = self._desk.user_name(self.uid) or str(self.uid)
        self.trusted = self.uid in (_ROOT, self._desk.settings.own_uid)
        account = self._desk.directory.account_by_unix_user(self.unix_user)
        if account is not None and not account.disabled:
            self.account = str(account.address)

    @property
    def is_stranger(self) -> bool:
        return not self.account and not self.trusted and self.role is not _LOCAL

    def screen(self, known_name: Finding | None = None) -> ClientScreen | None:
        """The `[policy]` rules for it; None where there are none, or none that apply. `known_name` is what a front
        end has found out about its name."""
        desk = self._desk
        if not self.is_stranger or not self.role.is_open_to_strangers or desk.screen_plan.is_empty:
            return None
        return ClientScreen(desk.screen_plan, desk.lookups, self.remote.address, known_name)

    def facts(self) -> PeerFacts:
        """For trace fields and the ledger; the same object until something changes."""
        if self._facts is None:
            self._facts = PeerFacts(
                remote=self.remote,
                local=self.local,
                helo=self.helo,
                esmtp=self.esmtp,
                tls=self.tls,
                account=self.account,
                uid=self.uid,
                host=self.host,
            )
        return self._facts

    def greeted(self, verb: str, name: str) -> None:
        self.helo = name
        self.esmtp = verb != "HELO"
        self._facts = None

    def authenticated(self, account: str) -> None:
        self.account = account
        self._facts = None

    def replaced(
        self, *, remote: Endpoint, local: Endpoint, helo: str | None, esmtp: bool | None, account: str
    ) -> None:
        """A front end has told who it is. The host's name is to be confirmed anew."""
        self.remote = remote
        self.local = local
        self.helo = self.helo if helo is None else helo
        self.esmtp = self.esmtp if esmtp is None else esmtp
        self.account = account
        self.host = ""
        self.trusted = self.role.is_open_to_strangers and remote.address in self._desk.trusted
        self._facts = None

    def confirmed(self, host: str) -> None:
        """The reverse DNS led back to the client."""
        if host != self.host:
            self.host = host
            self._facts = None

    def tls_started(self, tls: TlsFacts) -> None:
        """RFC 3207 section 4.2: what the client said before is forgotten."""
        self.tls = tls
        self.helo = ""
        self.esmtp = False
        if self.role is not ListenerRole.LOCAL:
            self.account = ""
        self._facts = None

    def record(self) -> Account | None:
        """The client's account as the directory has it now; None when there is none, or it is gone or disabled.
        Raises StoreUnavailable."""
        if not self.account:
            return None
        if self.role is ListenerRole.LOCAL:
            account = self._desk.directory.account_by_unix_user(self.unix_user)
        else:
            local_part, _, domain = self.account.rpartition("@")
            account = self._desk.directory.account(Mailbox(local_part.strip('"'), domain))
        return None if account is None or account.disabled else account

    def allowed_senders(self, asked: ReversePath = None) -> frozenset[str]:
        """Keys of the addresses that the client's account may use: its own and those granted to it, as the
        directory has them now; none when the account is gone or disabled. The one that is `asked` for is among them
        also where mail for it comes to the account: a sub-address, an alias that names the account, the address of a
        postmaster. Raises StoreUnavailable."""
        account = self.record()
        if account is None:
            return frozenset()
        if account is not self._allowed_of:
            self._allowed_of = account
            self._allowed = frozenset([account.address.key(), *(each.key() for each in account.grants)])
        if asked is not None and asked.key() not in self._allowed and self._comes_to(account, asked):
            return self._allowed | {asked.key()}
        return self._allowed

    def _comes_to(self, account: Account, address: Mailbox) -> bool:
        """An account that forwards its mail does not lend its name."""
        found = self._desk.directory.recipient(address)
        if isinstance(found, Alias):
            return any(target.key() == account.address.key() for target in found.targets)
        if isinstance(found, ListAddress):
            return account.address.key() in {owner.key() for owner in found.list_.owners}
        return found is not None and found.id == account.id
