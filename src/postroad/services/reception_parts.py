"""What reception is given, in four handfuls, and what its connections make of them together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Directory
from postroad.contracts.entropy import Entropy
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.ledger import Ledger
from postroad.contracts.network import Network
from postroad.contracts.passwords import Passwords
from postroad.contracts.queue_store import NewMessage, QueueStore
from postroad.contracts.resolver import Resolver
from postroad.rules.networks import NameSet, NetworkSet, split_clients
from postroad.services.account_usage import AccountUsage
from postroad.services.authentication import Authentication
from postroad.services.client_lookups import ClientLookups
from postroad.services.client_screen import ScreenPlan
from postroad.services.doorkeeper import AccountSessions
from postroad.services.errands import Errands
from postroad.services.holds import Holds
from postroad.services.leads import leads_in
from postroad.services.quotas import Quotas
from postroad.services.shared_limits import Guess, SharedLimits
from postroad.services.terminals import Terminals
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.settings import LimitSettings, PolicySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionSettings:
    """`tls_available`: there is a certificate, so STARTTLS may be announced. `own_uid`: the server's user, who
    like root may use any local address on the local socket."""

    hostname: str
    limits: LimitSettings
    policy: PolicySettings
    tls_available: bool
    hold_domains: frozenset[str] = frozenset()
    """Mail for these is taken; where there are any, AUTH is offered to servers too, for TURN."""
    queue_runs: bool = False
    """ETRN is offered: there are holds or routes."""
    terminals: bool = False
    """SEND, SOML and SAML are offered to those whom the policy names."""
    sessions_of_all: int = 0
    """Over all workers, where there are several; `limits.sessions` is what fits into this one."""
    own_uid: int = field(default_factory=os.geteuid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    queue: QueueStore
    directory: Directory
    passwords: Passwords
    ledger: Ledger
    quotas: Quotas | None = None
    """Without them nobody is refused because his mailbox is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`free_bytes` is the room left on the queue's disk; it is asked for every MAIL. `user_name` is the name of a
    Unix user, or None where the uid has none."""

    clock: Clock
    network: Network
    resolver: Resolver
    free_bytes: Callable[[], int]
    user_name: Callable[[int], str | None]
    entropy: Entropy | None = None
    """Without it no mechanism is offered that needs a nonce."""
    channel_binding: Callable[[], bytes] = bytes
    """tls-server-end-point of the certificate now in use (RFC 5929 section 4); empty where there is none."""
    shared: SharedLimits = field(default_factory=SharedLimits)
    """What holds over all processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """Where mail goes from here: `routing` groups its recipients; `accepted` is handed each message once it is
    durable, with small content still in memory. Neither waits, neither raises."""

    routing: Callable[[tuple[Recipient, ...]], tuple[Group, ...]]
    accepted: Callable[[NewMessage], None]
    holds: Holds | None = None
    """Without them nobody can set waiting mail going: no ETRN, no ATRN, no TURN."""
    terminals: Terminals | None = None
    """Without them there is no SEND, SOML or SAML."""


class Desk:
    """What every connection of one reception uses. Made in the running loop."""

    def __init__(
        self, settings: ReceptionSettings, stores: Stores, around: Surroundings, onward: Onward, errands: Errands
    ) -> None:
        self.settings = settings
        self.hostname = settings.hostname
        self.limits = settings.limits
        self.queue = stores.queue
        self.directory = stores.directory
        self.quotas = stores.quotas
        self.lead_of = leads_in(stores.directory)
        self.ledger = stores.ledger
        self.clock = around.clock
        self.network = around.network
        self.free_bytes = around.free_bytes
        self.user_name = around.user_name
        self.onward = onward
        self.errands = errands
        self.messages = 0
        """Accepted since the start."""
        policy = settings.policy
        self.trusted = NetworkSet(policy.trusted_networks)
        self.blocked_networks, blocked_names = split_clients(policy.block_clients)
        self.blocked_addresses = frozenset(each.lower() for each in policy.block_senders if "@" in each)
        self.blocked_domains = NameSet(tuple(each for each in policy.block_senders if "@" not in each))
        self.blocks_senders = bool(policy.block_senders)
        self.screen_plan = ScreenPlan.of(policy, blocked_names)
        self.lookups = ClientLookups(resolver=around.resolver, hostname=settings.hostname, errands=errands)
        exempt = NetworkSet(settings.limits.exempt)
        shared = around.shared
        self.authentication = Authentication(
            directory=stores.directory,
            passwords=stores.passwords,
            guesses=shared.guesses(Guess.PASSWORD, exempt),
        )
        self.recipient_guesses = shared.guesses(Guess.RECIPIENT, exempt)
        self.queue_runs = shared.guesses(Guess.QUEUE_RUN, exempt)
        self.account_sessions = AccountSessions(settings.limits.account.connections, shared.portions)
        self.usage = AccountUsage(
            directory=stores.directory,
            clock=around.clock,
            defaults=settings.limits.account,
            troubled=_say_counters_wait,
            portions=shared.portions,
        )
        self.random_octets = None if around.entropy is None else around.entropy.token


def _say_counters_wait(failure: StoreUnavailable) -> None:
    asyncio.get_running_loop().call_exception_handler(
        {"message": "what accounts have sent cannot be written down now", "exception": failure}
    )
