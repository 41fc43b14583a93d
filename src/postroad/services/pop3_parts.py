"""What the POP3 service is given, and what its connections make of it together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Directory
from postroad.contracts.entropy import Entropy
from postroad.contracts.ledger import Ledger
from postroad.contracts.mailbox_store import MailboxStore
from postroad.contracts.network import Network
from postroad.contracts.passwords import Passwords
from postroad.rules.networks import NetworkSet
from postroad.services.authentication import SUBMISSION_MECHANISMS, Authentication
from postroad.services.shared_limits import Guess, SharedLimits
from postroad.vocabulary.endpoint import PeerFacts
from postroad.vocabulary.limits import POP3_SESSIONS
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import PlaintextLogin
from postroad.vocabulary.story import Entry, Refused, Verdict
from postroad.wire.pop3.server import Pop3Profile, Pop3Session
from postroad.wire.sasl import MECHANISMS

_LOOPBACK = NetworkSet(("127.0.0.0/8", "::1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop3Settings:
    """`sessions_per_client` and `exempt` are those of `[limits]`. With `apop` the greeting has a timestamp, and
    accounts that keep a secret which can be read may log in by it."""

    hostname: str
    plaintext_login: PlaintextLogin = PlaintextLogin.LOOPBACK
    apop: bool = False
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop3Surroundings:
    """Without `entropy` there is neither APOP nor SCRAM. `channel_binding` is that of the certificate now in use."""

    clock: Clock
    network: Network
    shared: SharedLimits
    entropy: Entropy | None = None
    channel_binding: Callable[[], bytes] = bytes


class Pop3Desk:
    """What every connection uses."""

    def __init__(self, settings: Pop3Settings, stores: Pop3Stores, around: Pop3Surroundings) -> None:
        self.settings = settings
        self._around = around
        self.mailboxes = stores.mailboxes
        self.ledger = stores.ledger
        self.clock = around.clock
        self.network = around.network
        self.authentication = Authentication(
            directory=stores.directory,
            passwords=stores.passwords,
            guesses=around.shared.guesses(Guess.PASSWORD, NetworkSet(settings.exempt)),
        )

    def session(self, address: str, *, in_tls: bool) -> Pop3Session:
        """A new conversation with somebody at this address."""
        settings, entropy = self.settings, self._around.entropy
        profile = Pop3Profile(
            hostname=settings.hostname,
            tls_available=settings.tls_available,
            tls_active=in_tls,
            plaintext_login_allowed=self.may_log_in_plain(address),
            mechanisms=MECHANISMS if entropy is None else SUBMISSION_MECHANISMS,
            channel_binding=self._around.channel_binding(),
            apop=settings.apop and entropy is not None,
        )
        return Pop3Session(profile) if entropy is None else Pop3Session(profile, entropy.token)

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
