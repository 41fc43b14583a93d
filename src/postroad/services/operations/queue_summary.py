"""`queue summary`: what waits for each destination, what is under way to it, and what holds it back.

Each process answers for its shards, from the store and from its schedulers' memory; `merged` adds the answers up.
"""

from __future__ import annotations

from postroad.contracts.queue_store import DestinationSummary
from postroad.services.operations.arguments import argument
from postroad.services.operations.charge import Charge
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import PlainObject
from postroad.services.operations.selection import moment_text
from postroad.services.operations.summary_lines import COUNTED, TOTALS, merged
from postroad.vocabulary.destination import HERE, Destination
from postroad.vocabulary.limits import SUMMARY_DESTINATIONS
from postroad.vocabulary.standing_order import OrderKind


class QueueSummaryOperations:
    def __init__(self, charge: Charge) -> None:
        self._charge = charge

    def verbs(self) -> Verbs:
        return {"queue.summary": self._summary}

    async def _summary(self, arguments: PlainObject) -> list[PlainObject]:
        """The destinations with most waiting, and a line of totals."""
        limit = max(1, min(argument(arguments, "limit", SUMMARY_DESTINATIONS), SUMMARY_DESTINATIONS))
        one = argument(arguments, "destination", "")
        destination = one if not one or _is_destination(one) else f"domain:{one.lower()}"
        now = self._charge.clock.now()
        lines: list[PlainObject] = []
        totals: PlainObject = {TOTALS: True, "destinations": 0, "groups": 0, "held": 0, "due": 0}
        for queue in self._charge.queues:
            summary = await queue.summary(now, limit, destination)
            lines += [_line(each) for each in summary.destinations]
            totals["destinations"] += summary.destinations_in_all
            totals["groups"] += summary.groups
            totals["held"] += summary.held
            totals["due"] += summary.due
        in_memory = self._in_memory({line["destination"] for line in lines}, destination, limit)
        _not_before(lines, in_memory)
        lines += in_memory
        return [*merged([lines], limit), totals]

    def _in_memory(self, stored: set[str], destination: str, limit: int) -> list[PlainObject]:
        """What the schedulers know of those destinations, and those that are paused though nothing waits."""
        paused = {order.subject: order.by for order in self._charge.orders(OrderKind.PAUSE)}
        lines: list[PlainObject] = []
        for name in list(paused)[:limit]:
            if destination in ("", name):
                by = f" by {paused[name]}" if paused[name] else ""
                lines.append({**_empty(name), "held_back_by": f"paused{by}"})
        if self._charge.is_offline():
            away = (name for name in stored if Destination.parse(name).kind not in HERE)
            lines[:0] = [{**_empty(name), "held_back_by": "offline"} for name in away]
        known = self._charge.schedulers.snapshot(map(Destination.parse, stored))
        return lines + [_figures(line) for line in known if line["destination"] in stored]


def _not_before(lines: list[PlainObject], in_memory: list[PlainObject]) -> None:
    """Whoever is left alone until then is not connected to when the next of its mail is due before."""
    until = {line["destination"]: line["next_attempt"] for line in in_memory if line["next_attempt"]}
    for line in lines:
        if line["next_attempt"]:
            line["next_attempt"] = max(line["next_attempt"], until.get(line["destination"], ""))
    for line in in_memory:
        line["next_attempt"] = ""


def _empty(destination: str) -> PlainObject:
    return {
        "destination": destination,
        **dict.fromkeys(COUNTED, 0),
        "limit": 0,
        "oldest": "",
        "next_attempt": "",
        "last": "",
        "held_back_by": "",
    }


def _line(summary: DestinationSummary) -> PlainObject:
    next_at = summary.next_attempt_at
    return {
        **_empty(summary.destination),
        "groups": summary.groups,
        "held": summary.held,
        "due": summary.due,
        "oldest": moment_text(summary.oldest_at),
        "next_attempt": "" if next_at is None else moment_text(next_at),
        "last": summary.last,
    }


def _figures(line: PlainObject) -> PlainObject:
    """What `DestinationFigures` tells, in our words."""
    return {
        **_empty(line["destination"]),
        "in_flight": line["in_flight"],
        "connections": line["connections"],
        "limit": line.get("limit", 0),
        "next_attempt": line.get("next_attempt_at", ""),
        "last": line.get("last_reply", ""),
        "held_back_by": line.get("held_back_by", ""),
    }


def _is_destination(text: str) -> bool:
    try:
        Destination.parse(text)
    except ValueError:
        return False
    return True
