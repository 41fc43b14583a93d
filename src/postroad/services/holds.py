"""Holds from the owner's side: what ETRN, ATRN and TURN set going (RFC 1985, RFC 2645, RFC 821 section 3.8).

    ETRN    the hold is sent to the domain's host over a connection that we open, in the background
    ATRN    the hold is sent over the very connection on which the owner asked, with the roles changed
    TURN    the same, for all holds of the owner

One object serves a worker. A hold is locked while it is emptied, so it does not matter which worker is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import structs

from postroad.contracts.aside import Aside
from postroad.contracts.clock import Clock
from postroad.contracts.directory import Directory
from postroad.contracts.entropy import Entropy
from postroad.contracts.hold_store import Hold, HoldLocked, HoldStore
from postroad.contracts.network import Network
from postroad.contracts.queue_store import QueueStore
from postroad.contracts.resolver import Resolver
from postroad.rules import hold_requests
from postroad.rules.hold_requests import Pending
from postroad.rules.mx_order import Ourselves
from postroad.rules.routing import onward_destination
from postroad.services.answers import Turned
from postroad.services.conversion import Conversions, in_place
from postroad.services.hold_drain import DrainParts, HoldDrain
from postroad.services.lanes import Errors
from postroad.services.relay import Relay
from postroad.services.relay_connection import RelayConnection
from postroad.services.relay_parts import Listener, Surroundings, TlsPlan
from postroad.services.sweep_on_demand import SweepOnDemand
from postroad.vocabulary.destination import Destination, DestinationKind
from postroad.vocabulary.endpoint import PeerFacts
from postroad.vocabulary.limits import HOLD_DRAINS_AT_ONCE, HOLD_LOCK_AGAIN_S, HOLD_LOCK_TRIES, STOP_GRACE_S
from postroad.vocabulary.reply import Reply
from postroad.vocabulary.settings import DeliverySettings, HoldDomain
from postroad.wire.smtp.client import ClientProfile
from postroad.wire.smtp.client_events import TlsUse

_ANY_NUMBER = 2**31
"""A turned connection cannot be opened anew, so it carries all there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldsWorld:
    """The stores and seams that holds work with. `flush` makes due what waits for a domain in the queues of all
    workers and returns how many groups; `stirred` is told of each hold that something left. `queue` has room for
    large content in another form; `aside` is where it is made."""

    store: HoldStore
    queue: QueueStore
    directory: Directory
    clock: Clock
    network: Network
    resolver: Resolver
    entropy: Entropy
    flush: Callable[[str], Awaitable[int]]
    stirred: Callable[[str], None]
    aside: Aside = in_place


class Holds:
    """`run` owns every task. `listener` hears the conversations in which holds are emptied."""

    def __init__(
        self,
        domains: tuple[HoldDomain, ...],
        settings: DeliverySettings,
        world: HoldsWorld,
        *,
        ourselves: Ourselves,
        errors: Errors,
        listener: Listener | None = None,
    ) -> None:
        self._domains = {hold.domain: hold for hold in domains}
        self._owned: dict[str, tuple[str, ...]] = {}
        for hold in domains:
            self._owned[hold.owner] = (*self._owned.get(hold.owner, ()), hold.domain)
        self._settings = settings
        self._world = world
        self._conversions = Conversions(world.queue, world.clock, world.aside)
        self._ourselves = ourselves
        self._errors = errors
        self._listener = listener
        self._draining: dict[str, HoldDrain | None] = {}
        self._turns: set[HoldDrain] = set()
        self._turned = 0
        self._last: dict[str, str] = {}
        """What came of the last attempt to send each hold out."""
        self._parts: DrainParts
        self._sweep: SweepOnDemand
        self._stop = asyncio.Event()
        self._rest = asyncio.Event()

    def owned_by(self, account: str) -> tuple[str, ...]:
        """The domains of the holds of an account; `account` in the form of `Mailbox.key()`."""
        return self._owned.get(account, ())

    async def summaries(self) -> list[dict[str, str | int]]:
        """For `status`: a line for each hold."""
        lines: list[dict[str, str | int]] = []
        for domain, hold in self._domains.items():
            summary = await self._world.store.summary(domain)
            lines.append(
                {
                    "domain": domain,
                    "owner": hold.owner,
                    "messages": summary.messages,
                    "size_bytes": summary.size_bytes,
                    "last": self._last.get(domain, ""),
                }
            )
        return lines

    # ---- running ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop`; what is being sent comes to the end of the message it is at."""
        world = self._world
        try:
            async with asyncio.TaskGroup() as tasks:
                self._parts = DrainParts(clock=world.clock, tasks=tasks, errors=self._errors)
                self._sweep = SweepOnDemand(tasks)
                await self._stop.wait()
                await self._come_to_rest()
                raise _Over
        except* _Over:
            pass

    async def _come_to_rest(self) -> None:
        for drain in (*self._draining.values(), *self._turns):
            if drain is not None:
                drain.stop()
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                while self._draining or self._turns:
                    self._rest.clear()
                    await self._rest.wait()
        except TimeoutError:
            return  # what was not settled stays in its hold

    def stop(self) -> None:
        """Begin nothing more."""
        self._stop.set()

    # ---- ETRN ------------------------------------------------------------------------------------

    async def start(self, argument: str) -> Reply:
        """The answer to ETRN (RFC 1985 section 5.3), with what it asks for set going. Raises StoreUnavailable."""
        nodes = hold_requests.nodes_of(argument, tuple(self._domains))
        pending = [await self._start_hold(domain) for domain in nodes.holds]
        if nodes.domain and nodes.domain not in self._domains and self._is_routed(nodes.domain):
            pending.append(Pending(await self._world.flush(nodes.domain)))
        return hold_requests.answer_to_etrn(argument, pending)

    def _is_routed(self, domain: str) -> bool:
        """What we hand on to a host that is named, or as a backup MX; for all others nothing is set going."""
        known = self._world.directory.domain(domain)
        if known is not None and known.kind == "local":
            return False
        destination = onward_destination(domain, self._world.directory.domain, self._settings)
        return known is not None or destination.kind is DestinationKind.ROUTE

    async def _start_hold(self, domain: str) -> Pending:
        summary = await self._world.store.summary(domain)
        if not summary.messages:
            return Pending(0)
        if domain in self._draining:
            return Pending(summary.messages, counted=False)
        if len(self._draining) >= HOLD_DRAINS_AT_ONCE or self._stop.is_set():
            return Pending(0, refused=True)
        self._draining[domain] = None
        self._parts.tasks.create_task(self._send_out(domain), name=f"hold of {domain}")
        return Pending(summary.messages)

    async def _send_out(self, domain: str) -> None:
        """Send a hold to the domain's own host."""
        try:
            await self._send_unlocked(domain)
        except Exception as error:
            self._errors(f"hold of {domain}", error)
        finally:
            del self._draining[domain]
            self._rest.set()
            self._world.stirred(domain)

    async def _send_unlocked(self, domain: str) -> None:
        """As soon as nobody else has it. Whoever gives up or reports what is in it has it for a moment only; whoever
        has it for longer empties it, and so what was asked for happens."""
        for _ in range(HOLD_LOCK_TRIES):
            try:
                async with self._world.store.open_hold(domain) as hold:
                    self._last[domain] = await self._serve(hold)
                    return
            except HoldLocked:
                await asyncio.sleep(HOLD_LOCK_AGAIN_S)

    async def _serve(self, hold: Hold) -> str:
        """Returns what came of it, in words."""
        destination = onward_destination(hold.domain, self._world.directory.domain, self._settings)
        said = [await self._send(hold, destination, requires_tls=which) for which in (False, True)]
        return "; ".join(each for each in said if each)

    async def _send(self, hold: Hold, destination: Destination, *, requires_tls: bool) -> str:
        """Those of the messages that need TLS all the way, or the others. Empty where there are none."""
        drain = HoldDrain((hold,), destination, self._parts, requires_tls=requires_tls)
        self._draining[hold.domain] = drain
        tried = False
        relay = Relay(
            self._surroundings(drain, self._settings),
            resolver=self._world.resolver,
            entropy=self._world.entropy,
            ourselves=self._ourselves,
        )
        try:
            while not self._stop.is_set() and await drain.has_more():
                tried = True
                before = drain.settled
                failure = await relay.serve(drain)
                await drain.at_rest()
                if failure is not None:
                    return failure.verdict.text
                if drain.settled == before:
                    break
        finally:
            await drain.at_rest()
        return f"{drain.delivered} messages sent to {destination.name}" if tried else ""

    def _surroundings(self, drain: HoldDrain, settings: DeliverySettings) -> Surroundings:
        return Surroundings(
            network=self._world.network,
            clock=self._parts.clock,
            store=drain,
            sweep=self._sweep,
            tasks=self._parts.tasks,
            settings=settings,
            errors=self._errors,
            listener=self._listener,
            conversions=self._conversions,
        )

    # ---- ATRN and TURN ---------------------------------------------------------------------------

    async def open_for(self, verb: str, account: str, domains: tuple[str, ...], peer: PeerFacts) -> Turned | Reply:
        """Lock what the account may fetch and is not being fetched already; or the words in which it is refused.
        Raises StoreUnavailable."""
        owned = self.owned_by(account)
        refusal = hold_requests.refuse_turn(verb, owned, domains)
        if refusal is not None:
            return refusal
        wanted = domains or owned
        async with AsyncExitStack() as opened:
            holds: list[Hold] = []
            for domain in dict.fromkeys(wanted):
                try:
                    holds.append(await opened.enter_async_context(self._world.store.open_hold(domain)))
                except HoldLocked:
                    continue
            counts = [(await self._world.store.summary(hold.domain)).messages for hold in holds]
            answer = hold_requests.answer_to_turn(verb, locked=len(holds) < len(wanted), messages=sum(counts))
            if answer is not None:
                return answer
            drain = HoldDrain(holds, Destination(DestinationKind.HOLD, ",".join(wanted)), self._parts)
            await drain.has_more()
            locked = _Locked(drain, opened.pop_all())
            return Turned(
                lambda transport: self.serve_turned(transport, locked, tuple(wanted), peer), locked.opened.aclose
            )
        raise AssertionError("the block above returns")

    def serve_turned(
        self, transport: asyncio.Transport, locked: _Locked, domains: tuple[str, ...], peer: PeerFacts
    ) -> Coroutine[Any, Any, None]:
        """Take over a connection whose client has become the server, and give back what sends what waits over it."""
        drain = locked.drain
        self._turned += 1
        number = self._turned
        name = peer.helo or peer.remote.address
        profile = ClientProfile(
            helo_name=self._settings.hostname,
            tls=TlsUse.NEVER,  # whether there is TLS was settled before the roles changed
            tls_active=peer.tls is not None,
            record=self._listener is not None,
        )
        settings = structs.replace(self._settings, messages_per_connection=_ANY_NUMBER)
        connection = RelayConnection(
            self._surroundings(drain, settings),
            drain,
            profile,
            TlsPlan(name),
            number=number,
            host=name,
            remote=peer.remote,
            tls=peer.tls,
        )
        self._turns.add(drain)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        return self._converse(connection, locked, domains, name)

    async def _converse(
        self, connection: RelayConnection, locked: _Locked, domains: tuple[str, ...], name: str
    ) -> None:
        text = "the conversation broke off"
        try:
            text = (await connection.converse()).text
        finally:
            # Ours, and not the connection's: while a disk is full it may take long, and reception need not wait.
            task = self._write_down(locked, domains, name, text)
            self._parts.tasks.create_task(task, name=f"outcomes for {name}")

    async def _write_down(self, locked: _Locked, domains: tuple[str, ...], name: str, text: str) -> None:
        drain = locked.drain
        try:
            async with locked.opened:
                await drain.at_rest()
            for domain in domains:
                self._last[domain] = f"{drain.delivered} messages fetched by {name}: {text}"
        finally:
            self._turns.discard(drain)
            self._rest.set()
            for domain in domains:
                self._world.stirred(domain)


class _Locked(NamedTuple):
    """Holds that are locked for a connection about to change its roles; `opened` frees them."""

    drain: HoldDrain
    opened: AsyncExitStack


class _Over(Exception):
    """Ends the group of tasks: everything has been brought to rest."""
