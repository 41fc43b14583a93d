"""From a destination to conversations: look for hosts, connect, talk, and go on to the next when it came to nothing.

Implements `dispatcher.Relaying`. What to try next is `rules/attempt.Walk`'s to say; here it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import cast

from msgspec import structs

from postroad.contracts.entropy import Entropy
from postroad.contracts.errors import ConnectFailed, DnsTemporary, Unreachable
from postroad.contracts.resolver import Resolver
from postroad.rules.attempt import DNS_FAILED, NO_ANSWER, REQUIRETLS_NEEDED, Connect, Lookup, Walk
from postroad.rules.dead_hosts import DeadHosts
from postroad.rules.mx_order import UNROUTABLE, Hosts, NoWay, Ourselves, hosts_of_domain, literal_address
from postroad.rules.routing import host_port, route_to
from postroad.services.lanes import Failure, Tally, WorkSource
from postroad.services.parcel import LaneKey
from postroad.services.relay_connection import RelayConnection
from postroad.services.relay_parts import End, Reach, Surroundings, TlsPlan
from postroad.services.ways import Way
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.limits import CLIENT_CONNECT_S
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.settings import DeliverySettings, SmarthostTls
from postroad.wire.smtp.client import ClientProfile
from postroad.wire.smtp.client_events import TlsUse

SUBMISSIONS_PORT = 465
"""TLS from the first octet (RFC 8314 section 3.3)."""
_UNPROVED = (
    "The message requires TLS all the way (REQUIRETLS), and no DNSSEC proves which hosts take mail for {domain}: an "
    "impostor's could be among them."
)
_UNVERIFIED = (
    "The message requires TLS all the way (REQUIRETLS), and the configured way over {host} is not one that is "
    'verified (tls = "verified").'
)


class Relay:
    """`ourselves` is how we are recognised, lest mail come back to us. `dead` remembers addresses that could not be
    reached: others are tried before them. `reach` is told what came back at all."""

    def __init__(
        self,
        around: Surroundings,
        *,
        resolver: Resolver,
        entropy: Entropy,
        ourselves: Ourselves,
        dead: DeadHosts | None = None,
        reach: Reach | None = None,
    ) -> None:
        self._around = around
        self._settings = around.settings
        self._resolver = resolver
        self._entropy = entropy
        self._ourselves = ourselves
        self._dead = DeadHosts((timedelta(0),)) if dead is None else dead
        self._reach = reach or _Nobody()
        self._connections = 0

    async def find(self, name: LaneKey) -> Way | NoWay:
        """Where the mail of a destination goes: its hosts, and the addresses of the best of them."""
        destination, requires_tls = name
        way = _Way.to(destination, self._settings)
        way.needs_proof = requires_tls
        hosts = await self._hosts(way)
        if isinstance(hosts, NoWay):
            return hosts
        addresses: dict[str, tuple[str, ...] | None] = {}
        for level in hosts:
            addresses.update(await self._addresses(level))
            if any(addresses[host] for host in level):
                break
        if way.configured:
            return Way(destination, hosts, addresses)
        implicit = hosts == ((way.name,),)
        return Way((tuple(tuple(sorted(level)) for level in hosts), implicit), hosts, addresses, implicit)

    async def serve(self, lane: WorkSource, known: Way | None = None, tally: Tally | None = None) -> Failure | None:
        """Run one connection of the lane, from the MX question, unless the way is known, to the goodbye.

        None when mail was served, or nothing waits any more; otherwise why no host took any.
        """
        way = _Way.to(lane.destination, self._settings)
        way.needs_proof = lane.requires_tls
        addresses: Mapping[str, tuple[str, ...] | None] = {}
        if known is None:
            hosts = await self._hosts(way)
            if isinstance(hosts, NoWay):
                return Failure(hosts)
            implicit = hosts == ((way.name,),)
        else:
            hosts, addresses, implicit = self._spread(known.hosts), known.addresses, known.implicit
        if lane.requires_tls:
            way.require_tls()
        walk = Walk(
            hosts,
            way.port,
            self._ourselves,
            configured=way.configured,
            private_allowed=self._settings.private_destinations_allowed,
            clear_allowed=way.profile.tls is TlsUse.IF_OFFERED,
            implicit=implicit,
            is_dead=self._is_dead,
        )
        cut = False
        unreachable: bool | None = None
        while True:
            step = walk.next_step()
            if isinstance(step, NoWay):
                if unreachable is None:  # no address could be tried
                    unreachable = step.status == DNS_FAILED and None in addresses.values()
                return Failure(step, of_the_cut=cut, unreachable=unreachable and step.fate is Fate.DEFERRED)
            if isinstance(step, Lookup):
                there = all(host in addresses for host in step.hosts)
                walk.looked_up(addresses if there else await self._addresses(step.hosts))
                continue
            end = await self._talk(lane, step, way, tally)
            unreachable = unreachable is not False and end.unreachable
            if end.served or not lane.waiting or (end.was_ready and not end.cut):
                return None
            cut = cut or end.cut
            walk.failed(end.text, reply=end.reply, tls=end.tls, insecure=end.insecure)

    async def _hosts(self, way: _Way) -> Hosts | NoWay:
        if way.needs_proof and way.configured and not way.verify:
            return NoWay(Fate.FAILED, REQUIRETLS_NEEDED, _UNVERIFIED.format(host=way.name))
        if way.configured or literal_address(way.name) is not None:
            return ((way.name,),)
        if way.name.startswith("["):
            return NoWay(Fate.FAILED, UNROUTABLE, f"{way.name} is no address that can be connected to.")
        try:
            answer = await self._resolver.mx_answer(way.name)
        except DnsTemporary as error:
            return NoWay(Fate.DEFERRED, DNS_FAILED, f"The MX of {way.name} could not be looked up just now: {error}")
        if way.needs_proof and not answer.proved:
            return NoWay(Fate.FAILED, REQUIRETLS_NEEDED, _UNPROVED.format(domain=way.name))
        return hosts_of_domain(way.name, answer.records, self._ourselves, self._entropy.shuffled)

    async def _addresses(self, hosts: tuple[str, ...]) -> dict[str, tuple[str, ...] | None]:
        """Of equal hosts all at once; at most MX_HOSTS."""
        if len(hosts) == 1:
            return {hosts[0]: await self._addresses_of(hosts[0])}
        async with asyncio.TaskGroup() as tasks:
            asked = {host: tasks.create_task(self._addresses_of(host)) for host in hosts}
        return {host: task.result() for host, task in asked.items()}

    async def _addresses_of(self, host: str) -> tuple[str, ...] | None:
        if (address := literal_address(f"[{host}]")) is not None:
            return (address,)  # some publish an address as the MX's name; it is clear what they mean
        try:
            return await self._resolver.addresses(host)
        except DnsTemporary:
            return None

    def _spread(self, hosts: Hosts) -> Hosts:
        """RFC 5321 section 5.1: among equals by chance, for each connection anew."""
        return tuple(level if len(level) == 1 else tuple(self._entropy.shuffled(list(level))) for level in hosts)

    def _is_dead(self, address: str) -> bool:
        return self._dead.death(address, asyncio.get_running_loop().time()) is not None

    async def _talk(self, lane: WorkSource, step: Connect, way: _Way, tally: Tally | None) -> End:
        self._connections += 1
        number = self._connections
        profile = way.profile if step.tls else structs.replace(way.profile, tls=TlsUse.NEVER)
        if self._around.listener is not None:
            profile = structs.replace(profile, record=True)
        plan = TlsPlan(step.host, way.verify, way.tls_at_once)

        def factory() -> asyncio.Protocol:
            connection = RelayConnection(
                self._around, lane, profile, plan, number=number, host=step.host, remote=step.remote
            )
            if tally is not None:
                connection.report_to(tally)
            return connection

        try:
            _, protocol = await self._around.network.connect(
                factory,
                step.remote,
                local_address=_bound(self._settings.bind, step.remote.address),
                timeout_s=CLIENT_CONNECT_S,
            )
        except ConnectFailed as error:
            text = f"No connection to {step.host}: {error}."
            unreachable = isinstance(error, Unreachable)
            verdict = NoWay(Fate.DEFERRED, NO_ANSWER, text, step.host, step.remote.address)
            self._dead.found_dead(step.remote.address, verdict, asyncio.get_running_loop().time())
            if not unreachable:
                self._reach.reached()
            return End(text, unreachable=unreachable)
        self._dead.is_alive(step.remote.address)
        self._reach.reached()
        return await cast(RelayConnection, protocol).converse()


class _Nobody:
    """Nobody learns from what this relay meets."""

    def reached(self) -> None:
        return


class _Way:
    """What the settings say of the way to a destination: a host or domain, a port, and how to talk there."""

    __slots__ = ("configured", "name", "needs_proof", "port", "profile", "tls_at_once", "verify")

    def __init__(self, name: str, port: int, profile: ClientProfile, configured: bool, verify: bool = False) -> None:
        self.name = name
        self.port = port
        self.profile = profile
        self.configured = configured
        self.verify = verify
        self.tls_at_once = profile.tls_active
        self.needs_proof = False
        """Whether the host must be the right one beyond doubt: DNSSEC, or the administrator, says so."""

    def require_tls(self) -> None:
        """RFC 8689 section 4.2.1: TLS with a certificate that is good for the host's name, whatever the settings say
        of other mail."""
        self.profile = structs.replace(self.profile, tls=TlsUse.REQUIRED)
        self.verify = True

    @classmethod
    def to(cls, destination: Destination, settings: DeliverySettings) -> _Way:
        plain = ClientProfile(helo_name=settings.hostname)
        if destination.kind is DestinationKind.DOMAIN:
            return cls(destination.name, settings.port, plain, configured=False)
        if destination.kind is DestinationKind.ROUTE:
            host = host_port(destination.name, settings.port)
            route = route_to(destination.name, settings)
            if route is None or route.tls is SmarthostTls.OPPORTUNISTIC:
                return cls(host.address, host.port, plain, configured=True)
            verify = route.tls is SmarthostTls.VERIFIED
            at_once = verify and host.port == SUBMISSIONS_PORT
            use = TlsUse.REQUIRED if verify else TlsUse.NEVER
            profile = structs.replace(plain, tls=use, tls_active=at_once)
            return cls(host.address, host.port, profile, configured=True, verify=verify)
        smarthost = settings.smarthost
        assert smarthost is not None, "a group for the smart host is moved when there is none any more"
        # A password goes only to who has proved to be the one it is for (interface: "verified" whenever a user is set).
        verify = bool(smarthost.user) or smarthost.tls is SmarthostTls.VERIFIED
        at_once = smarthost.port == SUBMISSIONS_PORT and (verify or smarthost.tls is not SmarthostTls.NONE)
        use = TlsUse.REQUIRED if verify or at_once else TlsUse.IF_OFFERED
        if smarthost.tls is SmarthostTls.NONE and not verify:
            use = TlsUse.NEVER
        profile = ClientProfile(
            helo_name=settings.hostname,
            tls=use,
            credentials=(smarthost.user, smarthost.password) if smarthost.user else None,
            tls_active=at_once,
        )
        return cls(smarthost.host, smarthost.port, profile, configured=True, verify=verify)


def _bound(addresses: tuple[str, ...], remote: str) -> str:
    """The configured local address of the remote's family, or "" for the system's choice."""
    return next((address for address in addresses if (":" in address) == (":" in remote)), "")
