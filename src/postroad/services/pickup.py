"""Our own mail that waits elsewhere: the customer's side of ETRN, ATRN, TURN and POP3 (`[[pickup]]`).

    run()                     each pick-up whenever its time has come, until cancelled
    begin(names)              now; `postroad pickup`
    results(names, wait_s)    what came of it

The first worker alone does it. Each pick-up is one session at a time; by ATRN and TURN the roles change on it, and
reception takes what comes as from any server, for mailboxes here alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from postroad.contracts.entropy import Entropy
from postroad.contracts.errors import ConnectFailed, DnsTemporary, StoreUnavailable, TlsFailed
from postroad.contracts.network import Network
from postroad.contracts.resolver import Resolver
from postroad.rules.mx_order import literal_address
from postroad.services.lanes import Errors
from postroad.services.pickup_pop3 import FetchingWorld, Pop3Fetching
from postroad.services.talk import Talk, TlsTerms
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import ADDRESSES_PER_ATTEMPT, PICKUP_S
from postroad.vocabulary.reply import Reply
from postroad.vocabulary.settings import Pickup, PickupMethod, SmarthostTls
from postroad.wire.pop3.client import Pop3ClientSession
from postroad.wire.pop3.client_events import Pop3ClientProfile
from postroad.wire.session import Wait
from postroad.wire.smtp.client import ClientProfile, ClientSession
from postroad.wire.smtp.client_events import CommandAnswered, Ended, Ready, TlsUse

TLS_PORTS = (465, 995)
"""TLS from the first octet (RFC 8314 section 3)."""

_NO_MAIL = 453
_TLS_USE = {
    SmarthostTls.NONE: TlsUse.NEVER,
    SmarthostTls.OPPORTUNISTIC: TlsUse.IF_OFFERED,
    SmarthostTls.VERIFIED: TlsUse.REQUIRED,
}


class PickedUp(msgspec.Struct, frozen=True):
    """What came of one session. `said` are the server's words or ours, for people; `ok` is false where that was not
    what we came for."""

    name: str
    method: str
    messages: int
    ok: bool
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PickupWorld:
    """`collect` receives on a connection on which the roles were changed (`Reception.collect`)."""

    network: Network
    resolver: Resolver
    entropy: Entropy
    fetching: FetchingWorld
    collect: Callable[[asyncio.Transport], asyncio.Future[int]]


class NoSuchPickup(Exception):
    """There is no pick-up of this name."""


class _Trouble(Exception):
    """Why a session came to nothing, for people."""


class Pickups:
    def __init__(self, pickups: tuple[Pickup, ...], world: PickupWorld, *, errors: Errors) -> None:
        self._pickups = {pickup.name: pickup for pickup in pickups}
        self._world = world
        self._errors = errors
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way: dict[str, asyncio.Task[PickedUp]] = {}
        self._last: dict[str, PickedUp] = {}
        self._loop = asyncio.get_running_loop()
        self._stopping: asyncio.Future[None] = self._loop.create_future()

    def let_go(self) -> None:
        """The process stops: whoever waits for results is answered now."""
        if not self._stopping.done():
            self._stopping.set_result(None)

    async def run(self) -> None:
        """Hold the sessions of every pick-up that has an interval, and those that are begun, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for pickup in self._pickups.values():
                if pickup.every is not None:
                    tasks.create_task(self._again_and_again(pickup, pickup.every), name=f"pick-up {pickup.name}")
            await asyncio.Event().wait()  # the group owns those that an administrator begins, too

    async def _again_and_again(self, pickup: Pickup, every: timedelta) -> None:
        while True:
            await asyncio.wait((self._begin(pickup),))
            await asyncio.sleep(every.total_seconds())

    def names(self, name: str = "") -> tuple[str, ...]:
        """That one, or all. Raises NoSuchPickup."""
        if name and name not in self._pickups:
            raise NoSuchPickup(name)
        return (name,) if name else tuple(self._pickups)

    def begin(self, names: tuple[str, ...]) -> None:
        """Hold a session for each, now; one that is under way is not held twice."""
        for name in names:
            self._begin(self._pickups[name])

    def _begin(self, pickup: Pickup) -> asyncio.Task[PickedUp]:
        task = self._under_way.get(pickup.name)
        if task is None:
            assert self._tasks is not None, "not running"
            task = self._under_way[pickup.name] = self._tasks.create_task(self._fetch(pickup))
            task.add_done_callback(lambda _: self._under_way.pop(pickup.name, None))
        return task

    async def results(self, names: tuple[str, ...], wait_s: float) -> dict[str, PickedUp | None]:
        """The last result of each; None for a session that is still under way after `wait_s`."""
        until_s = self._loop.time() + wait_s
        while tasks := [self._under_way[name] for name in names if name in self._under_way]:
            waited: list[asyncio.Future[Any]] = [*tasks, self._stopping]
            left_s = until_s - self._loop.time()
            if left_s <= 0 or self._stopping.done():
                break
            await asyncio.wait(waited, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        return {name: None if name in self._under_way else self._last.get(name) for name in names}

    def summaries(self) -> list[dict[str, str | int | bool]]:
        """For `status`: the last result of each."""
        return [msgspec.to_builtins(result) for result in self._last.values()]

    # ---- one session -----------------------------------------------------------------------------

    async def _fetch(self, pickup: Pickup) -> PickedUp:
        """Never raises, but for being cancelled."""
        try:
            async with asyncio.timeout(PICKUP_S):
                result = await self._hold_session(pickup)
        except (_Trouble, StoreUnavailable, TlsFailed) as trouble:
            result = self._result(pickup, 0, str(trouble), ok=False)
        except TimeoutError:
            result = self._result(pickup, 0, f"it was not over after {PICKUP_S:.0f} seconds", ok=False)
        except Exception as error:
            self._errors(f"pick-up {pickup.name}", error)
            result = self._result(pickup, 0, "an unexpected error in this server ended it", ok=False)
        self._last[pickup.name] = result
        return result

    async def _hold_session(self, pickup: Pickup) -> PickedUp:
        if pickup.method is PickupMethod.POP3:
            return await self._by_pop3(pickup)
        profile = ClientProfile(
            helo_name=self._world.fetching.hostname,
            tls=_TLS_USE[pickup.tls],
            credentials=(pickup.user, pickup.password) if pickup.user else None,
            tls_active=pickup.port in TLS_PORTS,
        )
        session = ClientSession(profile, random_octets=self._world.entropy.token)
        talk, _ = await self._connected(pickup, session)
        try:
            await _until_ready(talk)
            if pickup.method is PickupMethod.ETRN:
                return await self._by_etrn(pickup, session, talk)
            return await self._by_turning(pickup, session, talk)
        finally:
            talk.close()

    async def _connected(self, pickup: Pickup, session: ClientSession | Pop3ClientSession) -> tuple[Talk, Endpoint]:
        """To the first address that answers. Raises _Trouble, TlsFailed."""
        terms = TlsTerms(pickup.host, pickup.tls is SmarthostTls.VERIFIED, pickup.port in TLS_PORTS)
        why = f"{pickup.host} has no address in DNS"
        for address in (await self._addresses(pickup.host))[:ADDRESSES_PER_ATTEMPT]:
            remote = Endpoint(address, pickup.port)
            try:
                return await Talk.open(self._world.network, remote, session, terms), remote
            except ConnectFailed as error:
                why = f"no connection to {pickup.host}: {error}"
        raise _Trouble(why)

    async def _addresses(self, host: str) -> tuple[str, ...]:
        if (address := literal_address(f"[{host}]")) is not None:
            return (address,)
        try:
            return await self._world.resolver.addresses(host)
        except DnsTemporary as error:
            raise _Trouble(f"the addresses of {host} could not be looked up just now: {error}") from None

    # ---- the four ways ---------------------------------------------------------------------------

    async def _by_etrn(self, pickup: Pickup, session: ClientSession, talk: Talk) -> PickedUp:
        """RFC 1985: what waits comes by connections that the server opens."""
        replies: list[Reply] = []
        for domain in pickup.domains:
            session.etrn(domain)
            replies.append(await _answer(talk))
        session.quit()
        await talk.next_event()
        ok = all(reply.code < 300 for reply in replies)
        return self._result(pickup, 0, "; ".join(map(str, replies)), ok=ok)

    async def _by_turning(self, pickup: Pickup, session: ClientSession, talk: Talk) -> PickedUp:
        """RFC 2645, RFC 821 section 3.8: it comes over this very connection."""
        if pickup.method is PickupMethod.ATRN:
            session.atrn(pickup.domains)
        else:
            session.turn()
        reply = await _answer(talk)
        event = await talk.next_event()
        if event is not Wait.TURNED:
            session.quit()
            await talk.next_event()
            return self._result(pickup, 0, str(reply), ok=reply.code == _NO_MAIL)
        assert talk.transport is not None
        messages = await self._world.collect(talk.transport)
        return self._result(pickup, messages, str(reply), ok=True)

    async def _by_pop3(self, pickup: Pickup) -> PickedUp:
        profile = Pop3ClientProfile(
            user=pickup.user,
            password=pickup.password,
            tls=_TLS_USE[pickup.tls],
            tls_active=pickup.port in TLS_PORTS,
            # Only where the administrator says that there is to be no TLS: nothing else than USER and PASS is left.
            plaintext_login_allowed=pickup.tls is SmarthostTls.NONE,
        )
        session = Pop3ClientSession(profile)
        talk, remote = await self._connected(pickup, session)
        fetching = Pop3Fetching(self._world.fetching, pickup, talk, session, remote)
        try:
            trouble = await fetching.fetch()
        finally:
            talk.close()
        left = f"; {fetching.left} stay there" if fetching.left else ""
        said = trouble or f"{fetching.fetched} fetched{left}"
        return self._result(pickup, fetching.fetched, said, ok=not trouble)

    @staticmethod
    def _result(pickup: Pickup, messages: int, said: str, *, ok: bool) -> PickedUp:
        return PickedUp(pickup.name, pickup.method.value, messages, ok, said)


async def _until_ready(talk: Talk) -> None:
    """Greeting to login. Raises _Trouble."""
    while not isinstance(event := await talk.next_event(), Ready):
        _check(event)
    # The notice comes before the wait for what we shall ask.
    if await talk.next_event() is not Wait.READY:
        raise _Trouble("the session ended before anything was asked")


async def _answer(talk: Talk) -> Reply:
    """Raises _Trouble."""
    while not isinstance(event := await talk.next_event(), CommandAnswered):
        _check(event)
    return event.reply


def _check(event: object) -> None:
    if isinstance(event, Ended):
        raise _Trouble(str(event.reply) if event.reply is not None else event.reason)
    if event is Wait.CLOSED:
        raise _Trouble("the session ended without a word")
