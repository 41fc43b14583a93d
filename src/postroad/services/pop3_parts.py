"""What the POP3 service is given, and what its connections make of it together."""

from __future__ import annotations

from dataclasses import dataclass

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Directory
from postroad.contracts.ledger import Ledger
from postroad.contracts.mailbox_store import MailboxStore
from postroad.contracts.network import Network
from postroad.contracts.passwords import Passwords
from postroad.rules.networks import NetworkSet
from postroad.services.authentication import Authentication
from postroad.services.shared_limits import Guess, SharedLimits
from postroad.vocabulary.endpoint import PeerFacts
from postroad.vocabulary.limits import POP3_SESSIONS
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import PlaintextLogin
from postroad.vocabulary.story import Entry, Refused, Verdict

_LOOPBACK = NetworkSet(("127.0.0.0/8", "::1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop3Settings:
    """`sessions_per_client` and `exempt` are those of `[limits]`."""

    hostname: str
    plaintext_login: PlaintextLogin = PlaintextLogin.LOOPBACK
    tls_available: bool = False
    sessions: int = POP3_SESSIONS
    sessions_per_client: int = 50
    exempt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop3Stores:
    mailboxes: MailboxStore
    directory: Directory
    passwords: Passwords
    ledger: Ledger


class Pop3Desk:
    """What every connection uses."""

    def __init__(
        self, settings: Pop3Settings, stores: Pop3Stores, clock: Clock, network: Network, shared: SharedLimits
    ) -> None:
        self.settings = settings
        self.mailboxes = stores.mailboxes
        self.ledger = stores.ledger
        self.clock = clock
        self.network = network
        self.authentication = Authentication(
            directory=stores.directory,
            passwords=stores.passwords,
            guesses=shared.guesses(Guess.PASSWORD, NetworkSet(settings.exempt)),
        )

    def may_log_in_plain(self, address: str) -> bool:
        """Whether a password may come in clear from there (RFC 8314 section 4.1 would have it never)."""
        how = self.settings.plaintext_login
        return how is PlaintextLogin.ALWAYS or (how is PlaintextLogin.LOOPBACK and address in _LOOPBACK)

    def note_refusal(
        self, role: ListenerRole, peer: PeerFacts, stage: str, subject: str, answer: str, verdict: Verdict
    ) -> None:
        refused = Refused(
            at=self.clock.now(),
            listener=role.value,
            peer=peer,
            stage=stage,
            subject=subject,
            reply=answer,
            verdicts=(verdict,),
        )
        self.ledger.record(Entry("", (), (refused,)))
