"""`postroad pickup`: fetch now what waits for us elsewhere."""

from __future__ import annotations

import msgspec

from postroad.services.operations.arguments import argument
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.pickup import NoSuchPickup, Pickups
from postroad.vocabulary.limits import PICKUP_ANSWER_S


class PickupOperations:
    """`pickups` is None where the configuration has none."""

    def __init__(self, pickups: Pickups | None) -> None:
        self._pickups = pickups

    def verbs(self) -> Verbs:
        return {"transport.pickup": self._fetch}

    async def _fetch(self, arguments: PlainObject) -> list[PlainObject]:
        """One object for each pick-up; `under_way` for one that is not over yet: ask again without `start`."""
        name = argument(arguments, "name", "")
        if self._pickups is None:
            raise OperationFailed("there is no [[pickup]] in the configuration of the running server")
        try:
            names = self._pickups.names(name)
        except NoSuchPickup:
            raise OperationFailed(f"there is no [[pickup]] of the name {name}") from None
        if argument(arguments, "start", True):
            self._pickups.begin(names)
        results = await self._pickups.results(names, PICKUP_ANSWER_S)
        return [
            {"name": each, "under_way": True} if result is None else {**msgspec.to_builtins(result), "under_way": False}
            for each, result in results.items()
        ]
