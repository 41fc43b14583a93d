"""Mail for the addresses of mailing lists: to the members, or for the list itself.

A group is all that one message has for one address of one list. What comes of it (messages to members, answers) is
written in the transaction that settles the group, so that it is there once, or not at all and done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postroad.contracts.mailing_lists import ListAddress, ListDuty
from postroad.services.lanes import Errors
from postroad.services.list_bounces import Bounces
from postroad.services.list_distribution import Distribution
from postroad.services.list_letters import ListLetters
from postroad.services.list_parts import ListParts, Served
from postroad.services.list_requests import Requests
from postroad.services.parcel import Parcel
from postroad.services.store_lane import StoreLane
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import Recipient
from postroad.vocabulary.limits import LIST_EXPANSIONS_AT_ONCE
from postroad.vocabulary.outcome import Fate, Outcome

_CHANGED = EnhancedStatus(4, 2, 4)
"""RFC 3463 section 3.3: mailing list expansion problem."""


class ListLane(StoreLane):
    """The lane of all destinations of the kind `list`."""

    def __init__(
        self,
        parts: ListParts,
        *,
        tasks: asyncio.TaskGroup,
        concluded: Callable[[Parcel], None],
        gone: Callable[[Parcel], None],
        errors: Errors,
    ) -> None:
        super().__init__(
            place="mailing list",
            queue=parts.queue,
            tasks=tasks,
            concluded=concluded,
            gone=gone,
            errors=errors,
            at_once=LIST_EXPANSIONS_AT_ONCE,
        )
        self._parts = parts
        letters = ListLetters(parts)
        self._distribution = Distribution(parts)
        self._bounces = Bounces(parts, letters)
        self._requests = Requests(parts, letters)

    def deliver(self, parcel: Parcel) -> None:
        self._tasks.create_task(self._handle(parcel), name="mail for a list")

    async def _handle(self, parcel: Parcel) -> None:
        recipients, parcel.unsent = parcel.unsent, ()
        try:
            outcomes = await self._outcomes(parcel, recipients)
        except Exception as error:
            parcel.children, parcel.facts = (), ()
            outcomes = [self.trouble(recipient, error) for recipient in recipients]
        for outcome in outcomes:
            self.note(parcel, outcome)
        self.advance()

    async def _outcomes(self, parcel: Parcel, recipients: tuple[Recipient, ...]) -> list[Outcome]:
        """Raises StoreUnavailable."""
        found = self._parts.directory.recipient(recipients[0].forward_path)
        if not isinstance(found, ListAddress) or found.address.key() != parcel.work.destination.name:
            text = "The mailing list has just been changed."
            return [Outcome(recipient, Fate.DEFERRED, _CHANGED, text) for recipient in recipients]
        if found.duty is ListDuty.POST:
            # Whoever was written to with a tag and without is written to once.
            served = [await self._distribution.distribute(parcel, found.list_)] * len(recipients)
            parcel.children, parcel.facts = served[0].children, served[0].facts
        else:
            served = []
            for recipient in recipients:
                served.append(await self._serve(parcel, found, recipient))
                parcel.children += served[-1].children
                parcel.facts += served[-1].facts
        return [
            Outcome(recipient, each.fate, each.status, each.text)
            for recipient, each in zip(recipients, served, strict=True)
        ]

    async def _serve(self, parcel: Parcel, found: ListAddress, recipient: Recipient) -> Served:
        if found.duty is ListDuty.BOUNCES:
            return await self._bounces.take(parcel, found.list_, recipient.forward_path)
        return await self._requests.take(parcel, found.list_, found.duty, recipient.forward_path)
