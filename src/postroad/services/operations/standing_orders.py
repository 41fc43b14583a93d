"""Orders that stand until they are taken back, over every restart: to be offline, to leave a destination alone.

They are kept in the directory, where every process finds them when it starts; those that run are told by the verb.
No mail is changed by them: it waits, and no attempt is spent.
"""

from __future__ import annotations

from postroad.contracts.queue_store import QueueFilter
from postroad.services.operations.arguments import argument, domain_name
from postroad.services.operations.charge import Charge
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.services.operations.selection import moment_text
from postroad.vocabulary.destination import HERE, Destination, DestinationKind
from postroad.vocabulary.limits import PAUSED_DESTINATIONS
from postroad.vocabulary.standing_order import OrderKind, StandingOrder


class StandingOrderOperations:
    def __init__(self, charge: Charge) -> None:
        self._charge = charge

    def verbs(self) -> Verbs:
        return {
            "queue.offline": self._offline,
            "queue.pause": self._pause,
            "queue.resume": self._resume,
        }

    async def _offline(self, arguments: PlainObject) -> list[PlainObject]:
        """With neither "on" nor "off" it only tells."""
        wanted = argument(arguments, "state", "")
        if wanted == "on":
            await self._give(OrderKind.OFFLINE, "", arguments)
        elif wanted == "off":
            if self._charge.configured_offline:
                raise OperationFailed(
                    'The configuration says "offline = true" under [delivery]; change it there and reload the server.'
                )
            was = await self._charge.directory.take_back_order(OrderKind.OFFLINE)
            self._charge.obey()
            if was:
                await self._make_all_due()
        elif wanted:
            raise OperationFailed(f'{wanted!r}: expected "on" or "off"', 2)
        order = next(iter(self._charge.orders(OrderKind.OFFLINE)), None)
        return [{"offline": self._charge.configured_offline or order is not None, **_given(order)}]

    async def _pause(self, arguments: PlainObject) -> list[PlainObject]:
        """Without a destination it tells which are paused."""
        if argument(arguments, "destination", ""):
            subject = _subject(arguments)
            if len(self._charge.orders(OrderKind.PAUSE)) >= PAUSED_DESTINATIONS:
                raise OperationFailed(f"{PAUSED_DESTINATIONS} destinations are paused already; resume some first")
            await self._give(OrderKind.PAUSE, subject, arguments)
        return [{"destination": order.subject, **_given(order)} for order in self._charge.orders(OrderKind.PAUSE)]

    async def _resume(self, arguments: PlainObject) -> list[PlainObject]:
        """The destinations that were paused and are no more."""
        if argument(arguments, "all", False):
            subjects = [order.subject for order in self._charge.orders(OrderKind.PAUSE)]
        else:
            subjects = [_subject(arguments)]
        resumed = [s for s in subjects if await self._charge.directory.take_back_order(OrderKind.PAUSE, s)]
        self._charge.obey()
        self._charge.schedulers.wake()
        return [{"destination": subject} for subject in resumed]

    async def _give(self, kind: OrderKind, subject: str, arguments: PlainObject) -> None:
        by = argument(arguments, "by", "")
        order = StandingOrder(kind=kind, subject=subject, given_at=self._charge.clock.now(), by=by)
        await self._charge.directory.give_order(order)
        self._charge.obey()

    async def _make_all_due(self) -> None:
        now = self._charge.clock.now()
        for queue in self._charge.queues:
            await queue.make_due(QueueFilter(), now)
        self._charge.schedulers.wake()


def _subject(arguments: PlainObject) -> str:
    """A destination as the queue writes it; a bare domain is the destination of its mail by MX."""
    text = argument(arguments, "destination", "").strip()
    if not text:
        raise OperationFailed("which destination? give a domain, or a destination as `queue summary` shows it", 2)
    try:
        destination = Destination.parse(text)
    except ValueError:
        destination = Destination(DestinationKind.DOMAIN, domain_name(text))
    if destination.kind in HERE:
        raise OperationFailed(
            f"{text} is here on this server and cannot be paused; to keep mail back: postroad queue hold", 2
        )
    if destination.kind is not DestinationKind.SMARTHOST and not destination.name:
        raise OperationFailed(f"{text!r} names no destination", 2)
    return str(Destination(destination.kind, destination.name.lower()))


def _given(order: StandingOrder | None) -> PlainObject:
    return {} if order is None else {"since": moment_text(order.given_at), "by": order.by}
