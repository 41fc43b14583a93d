"""The limit on connections to the same hosts, over all lanes that lead there: of one shard, of the shards that one
worker has, and of all workers together.

Implements `dispatcher.ConnectionBudget`. Who alone has mail for a host may have the whole limit; who wants some while
others have them all is refused, and they are told to be content with their share, until nobody has been refused for
BUDGET_SHARE_S. Among workers the limit is lent in portions (services/portions.py), where the same is told by the word
that another wants what is in use here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Hashable

from postroad.services.dispatcher import Claimant
from postroad.services.portions import Limit, Portions
from postroad.vocabulary.limits import BUDGET_SHARE_S

_KEY_BYTES = 16


class _Hosts:
    """Who has how many connections to one set of hosts. `relief` is the end of a time of shares."""

    __slots__ = ("held", "in_use", "key", "limit", "relief", "sharing", "wanted_elsewhere")

    def __init__(self, key: Hashable, limit: Limit) -> None:
        self.key = key
        self.limit = limit
        self.held: dict[Claimant, int] = {}
        """With those that were refused, while shares are in force."""
        self.in_use = 0
        self.sharing: dict[Claimant, None] = {}
        self.wanted_elsewhere = False
        self.relief: asyncio.TimerHandle | None = None


class HostConnections:
    """One for all schedulers of a process. `most` is the limit; `portions` is None where this process has all of it."""

    def __init__(self, most: int, portions: Portions | None) -> None:
        self._most = most
        self._portions = portions
        self._loop = asyncio.get_running_loop()
        self._hosts: dict[Hashable, _Hosts] = {}
        self._by_name: dict[str, _Hosts] = {}
        if portions is not None:
            portions.on_wanted(self._wanted_elsewhere)

    def __len__(self) -> int:
        """Sets of hosts that anything is kept about."""
        return len(self._hosts)

    def wanting(self, key: Hashable) -> asyncio.Future[None] | None:
        """What to wait for before `take`, whose answer the supervisor has; None when `take` knows."""
        hosts = self._hosts.get(key)
        if self._portions is None or (hosts is not None and hosts.in_use >= self._most):
            return None
        return self._portions.wanting(self._limit(key) if hosts is None else hosts.limit)

    def take(self, key: Hashable, claimant: Claimant) -> bool:
        """One connection more. False: not now; others hear of it, and it is to be asked for again soon."""
        hosts = self._hosts.get(key)
        if hosts is None:
            hosts = self._hosts[key] = _Hosts(key, self._limit(key))
            self._by_name[hosts.limit.key] = hosts
        if hosts.in_use < self._most and (self._portions is None or self._portions.take(hosts.limit)):
            hosts.in_use += 1
            hosts.held[claimant] = hosts.held.get(claimant, 0) + 1
            return True
        hosts.held.setdefault(claimant, 0)
        self._divide(hosts)
        return False

    def give(self, key: Hashable, claimant: Claimant) -> None:
        """One that was taken is over."""
        hosts = self._hosts[key]
        hosts.in_use -= 1
        hosts.held[claimant] -= 1
        if self._portions is not None:
            self._portions.give(hosts.limit)
        if hosts.relief is None:
            self._tidy(hosts)

    def _limit(self, key: Hashable) -> Limit:
        """Known by the same name in every worker, and of bounded length."""
        name = hashlib.blake2b(repr(key).encode(), digest_size=_KEY_BYTES).hexdigest()
        return Limit(f"connections {name}", self._most)

    # ---- shares ------------------------------------------------------------------------------------

    def _wanted_elsewhere(self, name: str) -> None:
        """Another worker was refused, and this one has some in use."""
        hosts = self._by_name.get(name)
        if hosts is not None:
            hosts.wanted_elsewhere = True
            self._divide(hosts)

    def _divide(self, hosts: _Hosts) -> None:
        """Those who have more than their share are to have no more than that. Where there are more claimants than
        connections a share is none: who has one gives it up when it ends, and then the others have their turn."""
        most = self._most
        if hosts.wanted_elsewhere and self._portions is not None:
            most //= self._portions.workers
        share = most // len(hosts.held)
        if hosts.relief is not None:
            hosts.relief.cancel()
        hosts.relief = self._loop.call_later(BUDGET_SHARE_S, self._relieve, hosts)
        for claimant, count in list(hosts.held.items()):
            if count > share:
                hosts.sharing[claimant] = None
                claimant.share(share)

    def _relieve(self, hosts: _Hosts) -> None:
        """Nobody was refused for a while."""
        hosts.relief = None
        hosts.wanted_elsewhere = False
        sharing, hosts.sharing = hosts.sharing, {}
        self._tidy(hosts)
        for claimant in sharing:
            claimant.share(None)

    def _tidy(self, hosts: _Hosts) -> None:
        hosts.held = {claimant: count for claimant, count in hosts.held.items() if count}
        if not hosts.held:
            del self._hosts[hosts.key]
            del self._by_name[hosts.limit.key]
