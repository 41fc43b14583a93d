"""How each destination stands, for `status` and `queue summary`: what is in memory, and what holds it back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from postroad.contracts.clock import Clock
from postroad.services.delivery_parts import DestinationFigures
from postroad.services.in_hand import InHand
from postroad.services.offline import Offline
from postroad.services.outlets import Outlets
from postroad.vocabulary.destination import HERE, Destination, DestinationKind


class Standing:
    """As of now. `outlets` is None while delivery does not run."""

    def __init__(self, clock: Clock, offline: Offline, paused: frozenset[Destination], outlets: Outlets | None) -> None:
        self._clock = clock
        self._offline = offline
        self._paused = paused
        self._outlets = outlets

    def held_back(self, destination: Destination) -> str:
        """Why nothing is sent there now, in words; empty where nothing is known to hinder it."""
        if destination in self._paused:
            return "paused by an administrator"
        if destination.kind in HERE or self._outlets is None:
            return ""
        if self._offline.words:
            return f"this server is off line: {self._offline.words}"
        death = self._outlets.lanes.death((destination, False))
        if death is None:
            return ""
        return f"left alone until {self._moment(death.until_s):%H:%M:%S} UTC: {death.verdict.text}"

    def lines(self, in_hand: InHand, also: Iterable[Destination]) -> list[dict[str, str | int]]:
        """A line for each destination that has something in hand, a connection, or is paused, and for those that are
        asked about."""
        figures = self._figures(in_hand)
        for destination in (*self._paused, *also):
            figures.setdefault(destination, DestinationFigures(destination=str(destination)))
        for destination, those in figures.items():
            those.held_back_by = self.held_back(destination) or those.held_back_by
            death = None if self._outlets is None else self._outlets.lanes.death((destination, False))
            if death is not None:
                those.next_attempt_at = _text(self._moment(death.until_s))
        return [each.line() for each in figures.values()]

    def _figures(self, in_hand: InHand) -> dict[Destination, DestinationFigures]:
        """For each destination that has something in hand, or a connection."""
        figures: dict[Destination, DestinationFigures] = {}
        outlets = self._outlets
        if outlets is None:
            return figures

        def of(destination: Destination) -> DestinationFigures:
            return figures.setdefault(destination, DestinationFigures(destination=str(destination)))

        for parcel in in_hand:
            of(parcel.work.destination).in_flight += 1
        for lane in outlets.lanes:
            why = outlets.lanes.why_it_waits(lane)
            until_s = outlets.lanes.pacing.until_s(lane) if lane.waiting else None
            if until_s is not None:
                why = f"{why}; the next goes at {self._moment(until_s):%H:%M:%S} UTC"
            for name in lane.names:
                those = of(name[0])
                those.connections += lane.slots
                those.limit += lane.limit
                those.last_reply = those.last_reply or ("" if lane.last_reply is None else str(lane.last_reply))
                those.held_back_by = those.held_back_by or why
                if until_s is not None:
                    those.next_attempt_at = _text(self._moment(until_s))
            for parcel in lane.waiting:
                _note_waiting(of(parcel.work.destination))
        for name, parcels in outlets.lanes.unresolved.items():
            those = of(name[0])
            those.held_back_by = "its hosts are being looked up in DNS"
            for _ in parcels:
                _note_waiting(those)
        for destination, those in figures.items():
            if destination.kind is DestinationKind.MAILBOX:
                those.waiting = outlets.local.waiting
                those.in_flight -= those.waiting
        return figures

    def _moment(self, at_s: float) -> datetime:
        """The clock's time for one of the loop."""
        assert self._outlets is not None, "only delivery that runs knows of any"
        return self._clock.now() + timedelta(seconds=at_s - self._outlets.lanes.now_s())


def _note_waiting(figures: DestinationFigures) -> None:
    figures.waiting += 1
    figures.in_flight -= 1


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
