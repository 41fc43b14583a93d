"""What delivery is given: the stores and seams it works with, the settings, and what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from postroad.contracts.aside import Aside
from postroad.contracts.clock import Clock
from postroad.contracts.directory import Directory
from postroad.contracts.entropy import Entropy
from postroad.contracts.hold_store import HoldStore
from postroad.contracts.mailbox_store import MailboxStore
from postroad.contracts.network import Network
from postroad.contracts.queue_store import QueueStore
from postroad.contracts.resolver import Resolver
from postroad.services.archiving import Journal
from postroad.services.conversion import in_place
from postroad.services.paces import Paces
from postroad.services.quotas import Quotas
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.settings import DeliverySettings, RetrySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryWorld:
    """The stores and seams that delivery works with. Without `holds` no domain may have a hold; `quotas` may be
    shared with reception, so that each knows what the other has learned."""

    queue: QueueStore
    mailboxes: MailboxStore
    directory: Directory
    clock: Clock
    network: Network
    resolver: Resolver
    entropy: Entropy
    holds: HoldStore | None = None
    aside: Aside = in_place
    journal: Journal | None = None
    """Where some domain is archived."""
    quotas: Quotas | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPlan:
    """The settings of delivery. `own_endpoints` are all addresses and ports at which a listener of ours can be
    reached: mail is never relayed there. `paces` are shared with other schedulers of the process."""

    settings: DeliverySettings
    retry: RetrySettings
    own_endpoints: frozenset[Endpoint] = field(default_factory=frozenset)
    paces: Paces | None = None


@dataclass(slots=True, kw_only=True)
class DestinationFigures:
    """What is in memory for one destination; `waiting` and `in_flight` are groups. `connections` and `limit` are
    those of the lane, which destinations with the same hosts share. `next_attempt_at` is a time in ISO 8601 while a
    dead host is left alone; `held_back_by` says in words why nothing more happens, empty where nothing holds it."""

    destination: str
    waiting: int = 0
    in_flight: int = 0
    connections: int = 0
    limit: int = 0
    last_reply: str = ""
    next_attempt_at: str = ""
    held_back_by: str = ""

    def line(self) -> dict[str, str | int]:
        """For `status` and `queue summary`."""
        return {name: getattr(self, name) for name in self.__slots__}
