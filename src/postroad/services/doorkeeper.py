"""How many may be in at once: in all, and of one client."""

from __future__ import annotations

from postroad.rules.acceptance import judge_connection
from postroad.rules.networks import NetworkSet, client_of
from postroad.rules.ruling import Ruling


class Doorkeeper:
    """Counts sessions. A client is an IPv4 address or the /64 of an IPv6 address; networks in `exempt`, and
    local sockets, are counted in the total alone."""

    def __init__(self, *, sessions_max: int, of_client_max: int, exempt: NetworkSet) -> None:
        self._sessions_max = sessions_max
        self._of_client_max = of_client_max
        self._exempt = exempt
        self._of_client: dict[str, int] = {}
        self.sessions = 0

    def admit(self, address: str) -> Ruling | None:
        """None: come in, and `leave` later. Otherwise why not; nothing was counted."""
        client = client_of(address)
        of_client = self._of_client.get(client, 0)
        ruling = judge_connection(
            sessions=self.sessions,
            sessions_max=self._sessions_max,
            of_client=of_client,
            of_client_max=self._of_client_max,
            exempt=address == "unix" or address in self._exempt,
        )
        if ruling is None:
            self.sessions += 1
            self._of_client[client] = of_client + 1
        return ruling

    def leave(self, address: str) -> None:
        """Once for each `admit` that gave None."""
        self.sessions -= 1
        client = client_of(address)
        left = self._of_client[client] - 1
        if left:
            self._of_client[client] = left
        else:
            del self._of_client[client]
