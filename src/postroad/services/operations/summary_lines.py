"""The lines of `queue summary`: what several processes answer, added up. It knows neither stores nor loops, so that
the command loads none."""

from __future__ import annotations

from collections.abc import Iterable

from postroad.services.operations.performer import PlainObject

TOTALS = "totals"
"""The key that marks the line of totals."""

COUNTED = ("groups", "held", "due", "in_flight", "connections")
"""What is added up; of the rest one stands for all."""


def merged(answers: Iterable[Iterable[PlainObject]], limit: int) -> list[PlainObject]:
    """One line for each destination out of the lines of all, those with most groups first; a line of totals, where
    there are such, at the end."""
    by_name: dict[str, PlainObject] = {}
    totals: PlainObject = {}
    for line in (line for answer in answers for line in answer):
        if TOTALS in line:
            totals = {name: totals.get(name, 0) + value if name != TOTALS else True for name, value in line.items()}
            continue
        there = by_name.get(line["destination"])
        by_name[line["destination"]] = line if there is None else _added(there, line)
    lines = sorted(by_name.values(), key=lambda line: (-line["groups"], line["destination"]))[:limit]
    for line in lines:
        if line["held"] and line["held"] == line["groups"] and not line["held_back_by"]:
            line["held_back_by"] = "all held"
    return [*lines, totals] if totals else lines


def _added(one: PlainObject, other: PlainObject) -> PlainObject:
    both: PlainObject = {name: one[name] + other[name] for name in COUNTED}
    for name in ("oldest", "next_attempt"):
        moments = [line[name] for line in (one, other) if line[name]]
        both[name] = min(moments, default="")
    # The memory of a scheduler comes after the store, and knows the newer reply.
    both["last"] = other["last"] or one["last"]
    both["held_back_by"] = one["held_back_by"] or other["held_back_by"]
    both["limit"] = max(one["limit"], other["limit"])
    return {"destination": one["destination"], **both}
