"""How many may be in at once, and how often they may come: in all, of one client, and of the network around it."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from postroad.contracts.directory import Account
from postroad.rules.acceptance import judge_connection, judge_rate
from postroad.rules.account_limits import judge_sessions_of_account
from postroad.rules.networks import NetworkSet, client_of, network_of
from postroad.rules.ruling import Ruling
from postroad.services.door_portions import DoorPortions
from postroad.services.portions import Limit, Portions
from postroad.vocabulary.limits import CONNECTION_RATE_CLIENTS, CONNECTION_RATE_S, SUBMISSION_SHARE

K = TypeVar("K")


class Doorkeeper:
    """Counts sessions. A client is an IPv4 address or the /64 of an IPv6 address; networks in `exempt`, and
    local sockets, are counted in the total alone. `per_minute` is of connections, 0 for no limit. With `portions`
    there are other processes that count with us, against the same limits."""

    def __init__(
        self,
        *,
        sessions_max: int,
        of_client_max: int,
        exempt: NetworkSet,
        per_minute: int = 0,
        portions: DoorPortions | None = None,
    ) -> None:
        self._sessions_max = sessions_max
        self._of_client_max = of_client_max
        self._exempt = exempt
        self._of_client: dict[str, int] = {}
        self._of_network: dict[str, int] = {}
        self._lately = Lately(per_minute)
        self._portions = portions
        self.sessions = 0

    def wanting(self, address: str, now: float) -> asyncio.Future[None] | None:
        """What to wait for before `admit`, and then to ask again; None when `admit` gives the answer."""
        if self._portions is None or address == "unix":
            return None
        return self._portions.wanting(address, now, exempt=address in self._exempt)

    def admit(self, address: str, now: float, *, ours: bool = True) -> Ruling | None:
        """None: come in, and `leave` later. Otherwise why not; nothing was counted but that somebody came.

        Without `ours` the last part of all sessions stays free for those who come with it: users of ours can
        still hand mail in when port 25 is flooded."""
        client, network = client_of(address), network_of(address)
        exempt = address == "unix" or address in self._exempt
        kept = 0 if ours else self._sessions_max // SUBMISSION_SHARE
        too_often = None if exempt else self._lately.judge(client, network, now)
        of_client = self._of_client.get(client, 0)
        of_network = self._of_network.get(network, 0)
        too_many = judge_connection(
            sessions=self.sessions,
            sessions_max=self._sessions_max - kept,
            of_client=of_client,
            of_client_max=self._of_client_max,
            exempt=exempt,
            of_network=of_network,
        )
        ruling = too_many or too_often
        if ruling is None and self._portions is not None:
            ruling = self._portions.admit(address, now, exempt=exempt, ours=ours)
        if ruling is None:
            self.sessions += 1
            self._of_client[client] = of_client + 1
            self._of_network[network] = of_network + 1
        return ruling

    def vouched(self, address: str) -> None:
        """Somebody who was admitted has logged in, and is no longer one of a network's strangers: an office
        behind one network has more users than a network has mail servers."""
        _one_less(self._of_network, network_of(address))
        if self._portions is not None:
            self._portions.vouched(address, exempt=address in self._exempt)

    def leave(self, address: str, *, vouched: bool = False) -> None:
        """Once for each `admit` that gave None; `vouched` where `vouched` was called for it."""
        self.sessions -= 1
        _one_less(self._of_client, client_of(address))
        if not vouched:
            _one_less(self._of_network, network_of(address))
        if self._portions is not None:
            self._portions.leave(address, exempt=address == "unix" or address in self._exempt, vouched=vouched)


def _one_less(counts: dict[K, int], who: K) -> None:
    left = counts[who] - 1
    if left:
        counts[who] = left
    else:
        del counts[who]


class Lately:
    """Connections of the present minute, those that were refused too; all are forgotten when it is over."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._began_at = 0.0
        self._counts: dict[str, int] = {}

    def judge(self, client: str, network: str, now: float) -> Ruling | None:
        """One of the client has come; None when it is not one too many."""
        if not self._most:
            return None
        if not 0 <= now - self._began_at < CONNECTION_RATE_S:
            self._began_at = now
            self._counts.clear()
        of_client = self._one_more(client)
        of_network = of_client if network == client else self._one_more(network)
        return judge_rate(of_client=of_client, of_network=of_network, most=self._most)

    def _one_more(self, who: str) -> int:
        before = self._counts.get(who, 0)
        if before or len(self._counts) < CONNECTION_RATE_CLIENTS:
            self._counts[who] = before + 1
        return before


class AccountSessions:
    """Sessions that have logged in, by account; `most` for accounts without a limit of their own, 0 for none. With
    `portions` other processes count with us."""

    def __init__(self, most: int, portions: Portions | None = None) -> None:
        self._most = most
        self._portions = portions
        self._of_account: dict[int, int] = {}
        self._lent: dict[int, list[Limit]] = {}
        """What each session holds of a portion: the limit may be changed while it lasts."""

    def wanting(self, account: Account) -> asyncio.Future[None] | None:
        """What to wait for before `enter`, and then to ask again; None when `enter` gives the answer."""
        limit = self._limit(account)
        return None if self._portions is None or limit is None else self._portions.wanting(limit)

    def enter(self, account: Account) -> Ruling | None:
        """None: it is counted, and `leave` follows. Otherwise why there can be no more."""
        most = self._most if account.connections is None else account.connections
        there = self._of_account.get(account.id, 0)
        ruling = judge_sessions_of_account(there, most)
        limit = self._limit(account)
        if ruling is None and self._portions is not None and limit is not None:
            if self._portions.take(limit):
                self._lent.setdefault(account.id, []).append(limit)
            else:
                ruling = judge_sessions_of_account(most, most)
        if ruling is None:
            self._of_account[account.id] = there + 1
        return ruling

    def leave(self, account_id: int) -> None:
        """Once for each `enter` that gave None."""
        _one_less(self._of_account, account_id)
        held = self._lent.get(account_id)
        if held and self._portions is not None:
            self._portions.give(held.pop())
            if not held:
                del self._lent[account_id]

    def _limit(self, account: Account) -> Limit | None:
        most = self._most if account.connections is None else account.connections
        return Limit(f"account {account.id}", most) if most else None
