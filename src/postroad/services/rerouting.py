"""What comes back out of the store may go another way than when it came: aliases and the configuration change.

Answers with the settlement that moves it, where nothing is to be attempted.
"""

from __future__ import annotations

from datetime import datetime

from postroad.contracts.clock import Clock
from postroad.contracts.directory import Directory
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import Settlement, Work
from postroad.rules.expansion import Expansion, expand
from postroad.rules.routing import group_recipients, split_moved
from postroad.services.lanes import Errors
from postroad.services.leads import expanded_facts, leads_in, lists_in
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.settings import DeliverySettings
from postroad.vocabulary.story import Entry, Fact, Moved


class Rerouting:
    def __init__(self, directory: Directory, settings: DeliverySettings, clock: Clock, errors: Errors) -> None:
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._errors = errors
        self._lead_of = leads_in(directory)
        self._list_of = lists_in(directory)

    def routing(self, recipients: tuple[Recipient, ...]) -> tuple[Group, ...]:
        """Those whom the recipients lead to, grouped by where they go. Raises StoreUnavailable."""
        everybody = expand(recipients, self._lead_of).recipients
        return group_recipients(everybody, self._directory.domain, self._list_of, self._settings)

    def settlement(self, work: Work) -> Settlement | None:
        """None: it is to be attempted as it is."""
        now = self._clock.now()
        try:
            # An alias that stands in a group: it was none, or not here, when the message came.
            expansion = expand(work.recipients, self._lead_of)
            staying, moved = split_moved(
                work.destination, expansion.recipients, self._directory.domain, self._list_of, self._settings
            )
        except Exception as error:
            # One message that cannot be routed anew must not stop all the others: it goes the way it was to go.
            if not isinstance(error, StoreUnavailable):
                self._errors(f"the way of {work.queue_id}", error)
            expansion, staying, moved = Expansion(work.recipients), work.recipients, ()
        release_at = work.envelope.release_at
        if release_at is not None and release_at > now:
            # RFC 4865 section 4: not before, even if an administrator has made everything due.
            return _put_off(work, release_at)
        if not moved and staying == work.recipients:
            return None
        facts: tuple[Fact, ...] = expanded_facts(expansion, now)
        if moved:
            to = tuple(str(group.destination) for group in moved)
            facts += (Moved(at=now, destination=str(work.destination), to=to),)
        return Settlement(
            queue_id=work.queue_id,
            destination=work.destination,
            lease=work.lease,
            remaining=staying,
            due_at=now if staying else None,
            attempts=work.attempts,
            warned=work.warned,
            moved=moved,
            story=Entry(work.queue_id, (work.queue_id,), facts),
        )


def _put_off(work: Work, due_at: datetime) -> Settlement:
    """Nothing was attempted and nothing changes but when it is due."""
    return Settlement(
        queue_id=work.queue_id,
        destination=work.destination,
        lease=work.lease,
        remaining=work.recipients,
        due_at=due_at,
        attempts=work.attempts,
        warned=work.warned,
    )
