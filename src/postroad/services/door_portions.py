"""The limits on connections where several workers count against them: in portions (services/portions.py).

A session holds one of all sessions (of those that strangers may have, or of those that are kept for our users), one
of its client and, until it has logged in, one of its network. Connections of a minute are counted in minutes of
the machine's clock, the same for all workers.
"""

from __future__ import annotations

import asyncio

from postroad.rules.acceptance import judge_connection, judge_rate
from postroad.rules.networks import client_of, network_of
from postroad.rules.ruling import Ruling
from postroad.services.portions import Limit, Portions
from postroad.vocabulary.limits import CONNECTION_RATE_CLIENTS, CONNECTION_RATE_S, NETWORK_SHARE, SUBMISSION_SHARE


class DoorPortions:
    """`admit` and `leave` in pairs, as those of the doorkeeper, who counts for this worker alone."""

    def __init__(self, portions: Portions, *, sessions_max: int, of_client_max: int, per_minute: int = 0) -> None:
        kept = sessions_max // SUBMISSION_SHARE
        self._portions = portions
        self._open = Limit("sessions", sessions_max - kept)
        self._kept = Limit("sessions kept", kept)
        self._of_kept = 0
        self._sessions_max = sessions_max
        self._of_client_max = of_client_max
        self._per_minute = per_minute
        self._minute = 0
        self._in_minute: dict[Limit, int] = {}

    def wanting(self, address: str, now: float, *, exempt: bool) -> asyncio.Future[None] | None:
        """What to wait for before `admit`."""
        limits = [self._open] if exempt else [self._open, *self._of_address(address), *self._rates(address, now)]
        for limit in limits:
            waiting = self._portions.wanting(limit)
            if waiting is not None:
                return waiting
        return None

    def admit(self, address: str, now: float, *, exempt: bool, ours: bool) -> Ruling | None:
        """None: what it needs is taken. Otherwise which limit is reached over all workers."""
        too_often = None if exempt else self._too_often(address, now)
        if too_often is not None:
            return too_often
        taken: list[Limit] = []
        for limit in () if exempt else self._of_address(address):
            if not self._portions.take(limit):
                return self._refuse(taken, of_network=bool(taken))
            taken.append(limit)
        if self._portions.take(self._open):
            return None
        if ours and self._portions.take(self._kept):
            self._of_kept += 1
            return None
        for limit in taken:
            self._portions.give(limit)
        most = self._sessions_max
        return judge_connection(
            sessions=most, sessions_max=most, of_client=0, of_client_max=self._of_client_max, exempt=exempt
        )

    def vouched(self, address: str, *, exempt: bool) -> None:
        if not exempt and address != "unix":
            self._portions.give(self._of_address(address)[1])

    def leave(self, address: str, *, exempt: bool, vouched: bool) -> None:
        if self._of_kept:
            self._of_kept -= 1
            self._portions.give(self._kept)
        else:
            self._portions.give(self._open)
        if not exempt:
            client, network = self._of_address(address)
            self._portions.give(client)
            if not vouched:
                self._portions.give(network)

    def _refuse(self, taken: list[Limit], *, of_network: bool) -> Ruling | None:
        for limit in taken:
            self._portions.give(limit)
        most = self._of_client_max
        return judge_connection(
            sessions=0,
            sessions_max=self._sessions_max,
            of_client=0 if of_network else most,
            of_client_max=most,
            exempt=False,
            of_network=most * NETWORK_SHARE,
        )

    def _of_address(self, address: str) -> tuple[Limit, Limit]:
        most = self._of_client_max
        client, network = client_of(address), network_of(address)
        return Limit(f"client {client}", most), Limit(f"network {network}", most * NETWORK_SHARE)

    # ---- of a minute -----------------------------------------------------------------------------

    def _rates(self, address: str, now: float) -> tuple[Limit, ...]:
        if not self._per_minute:
            return ()
        minute = int(now // CONNECTION_RATE_S)
        if minute != self._minute:
            self._forget()
            self._minute = minute
        most, client, network = self._per_minute, client_of(address), network_of(address)
        of_client = Limit(f"rate {minute} {client}", most)
        if network == client:
            return (of_client,)
        return of_client, Limit(f"rate {minute} {network}", most * NETWORK_SHARE)

    def _too_often(self, address: str, now: float) -> Ruling | None:
        """One more has come; the ruling when it is one too many."""
        most = self._per_minute
        for number, limit in enumerate(self._rates(address, now)):
            count = self._in_minute.get(limit, 0)
            if not count and len(self._in_minute) >= CONNECTION_RATE_CLIENTS:
                continue
            if not self._portions.take(limit):
                of_client = 0 if number else most
                return judge_rate(of_client=of_client, of_network=most * NETWORK_SHARE, most=most)
            self._in_minute[limit] = count + 1
        return None

    def _forget(self) -> None:
        """The minute is over."""
        for limit, count in self._in_minute.items():
            self._portions.give(limit, count)
        self._in_minute.clear()
