"""Suppressed addresses: add, remove, list; and which of some are among them."""

from __future__ import annotations

from postroad.contracts.clock import Clock
from postroad.contracts.suppressions import Suppression, SuppressionStore
from postroad.rules.suppression import expires_at
from postroad.services.operations.arguments import address, addresses, argument
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.limits import SUPPRESSION_DAYS, SUPPRESSION_DAYS_MAX, SUPPRESSIONS_SHOWN


class SuppressionOperations:
    def __init__(self, *, suppressions: SuppressionStore, clock: Clock) -> None:
        self._suppressions = suppressions
        self._clock = clock

    def verbs(self) -> Verbs:
        return {
            "suppression.add": self._add,
            "suppression.remove": self._remove,
            "suppression.list": self._list,
            "suppression.among": self._among,
        }

    async def _add(self, arguments: PlainObject) -> list[PlainObject]:
        """`days` 0 is for ever."""
        days = argument(arguments, "days", SUPPRESSION_DAYS)
        if not 0 <= days <= SUPPRESSION_DAYS_MAX:
            raise OperationFailed(f"days: expected a number from 0 (for ever) to {SUPPRESSION_DAYS_MAX}", 2)
        now = self._clock.now()
        suppression = Suppression(
            address=address(argument(arguments, "address", "")),
            since=now,
            expires_at=expires_at(now, days),
            reason=argument(arguments, "reason", "") or "put here by hand",
            by=argument(arguments, "by", ""),
        )
        try:
            await self._suppressions.add((suppression,))
        except ValueError as refused:
            raise OperationFailed(str(refused)) from None
        return self._objects(await self._suppressions.among((suppression.address,), now))

    async def _remove(self, arguments: PlainObject) -> list[PlainObject]:
        one = address(argument(arguments, "address", ""))
        if not await self._suppressions.remove(one):
            raise OperationFailed(f"{one} is not suppressed")
        return [{"address": str(one), "removed": True}]

    async def _list(self, arguments: PlainObject) -> list[PlainObject]:
        return self._objects(await self._suppressions.newest(self._clock.now(), SUPPRESSIONS_SHOWN))

    async def _among(self, arguments: PlainObject) -> list[PlainObject]:
        asked = addresses(arguments, "addresses")
        return self._objects(await self._suppressions.among(asked, self._clock.now()))

    def _objects(self, those: tuple[Suppression, ...]) -> list[PlainObject]:
        return [
            {
                "address": str(each.address),
                "since": each.since.isoformat(),
                "expires_at": None if each.expires_at is None else each.expires_at.isoformat(),
                "reason": each.reason,
                "by": each.by,
                "queue_id": each.bounce,
            }
            for each in those
        ]
