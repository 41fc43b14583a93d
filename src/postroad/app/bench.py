"""`postroad bench`: how fast this machine accepts, relays, delivers and hands out mail, beside what it can do at most.

A server of ours is started on 127.0.0.1 with a folder of its own; the clients, and the next hop that throws mail away,
are in this process. At the end every message is counted.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from pathlib import Path

from postroad.app.bench_machine import cpu_s, fdatasyncs_per_second
from postroad.app.bench_servers import DOMAIN, PASSWORD, Server, no_postfix, ours, postfix
from postroad.app.bench_talk import NextHop, Refused, fetch, hand_in
from postroad.app.errors import CannotServe
from postroad.app.loop import run_in_loop
from postroad.services.operations.performer import OperationFailed, PlainObject

_WARM_UP = 50
_COUNTED_WITHIN_S = 60.0
_LOOK_S = 0.02
_PEOPLE = tuple(f"user{number}" for number in range(8))
_ELSEWHERE = "bob@b.example"
_EXPECTED = (Refused, OSError, CannotServe, TimeoutError, OperationFailed)

Found = list[PlainObject]
_Serving = AbstractAsyncContextManager[Server]


def bench(what: str, against: str, messages: int, sessions: int) -> Found:
    """{"what", "server", "per_second", "cpu_ms", "counted", "note"} each. Raises OperationFailed, when mail is missing
    too."""
    sessions = min(sessions, messages)
    try:
        return run_in_loop(_MEASURING[what](against, messages, sessions))
    except ExceptionGroup as several:
        error = _first(several)
        if not isinstance(error, _EXPECTED):
            raise
        raise OperationFailed(f"the measurement broke off: {error}") from None
    except _EXPECTED as error:
        raise OperationFailed(f"the measurement broke off: {error}") from None


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


# ---- the ways --------------------------------------------------------------------------------------


async def _accept(against: str, messages: int, sessions: int) -> Found:
    found = await _limits(messages, sessions)
    for name, serving in _servers(against, None):
        with _folder() as folder:
            async with serving(folder) as server:
                await _spread(server.port, _WARM_UP, 5)
                await _counted(server.queued, _WARM_UP)
                there = _WARM_UP
                for how, reuse in (("a connection each", False), ("connections kept", True)):
                    there += messages
                    found.append(
                        await _round(
                            f"accept, {how}",
                            name,
                            server,
                            messages,
                            partial(_spread, server.port, messages, sessions, reuse=reuse),
                            partial(_counted, server.queued, there),
                        )
                    )
    return [*found, *_absent(against)]


async def _relay(against: str, messages: int, sessions: int) -> Found:
    found = await _limits(messages, sessions)
    next_hop = NextHop()
    await next_hop.start()
    try:
        for name, serving in _servers(against, next_hop.port):
            with _folder() as folder:
                async with serving(folder) as server:
                    found.append(await _relay_round(name, server, next_hop, messages, sessions))
    finally:
        next_hop.stop()
    return [*found, *_absent(against)]


async def _relay_round(name: str, server: Server, next_hop: NextHop, messages: int, sessions: int) -> PlainObject:
    async def arrived() -> int:
        return next_hop.count

    next_hop.count = 0
    await _spread(server.port, _WARM_UP, 5)
    await _counted(arrived, _WARM_UP)
    await _counted(server.queued, 0)

    async def all_of_it() -> None:
        await _spread(server.port, messages, sessions)
        await _counted(arrived, _WARM_UP + messages)

    async def settled() -> None:
        await _counted(server.queued, 0)
        await _counted(arrived, _WARM_UP + messages)

    return await _round("relay, a connection each", name, server, messages, all_of_it, settled)


async def _mailbox(against: str, messages: int, sessions: int) -> Found:
    found = await _limits(0, sessions)
    addresses = [f"{name}@{DOMAIN}" for name in _PEOPLE]
    share = max(1, messages // len(addresses))
    with _folder() as folder:
        async with ours(folder, "", _PEOPLE) as server:
            # Each mailbox is there, and its files are open.
            await _spread(server.port, len(addresses), 1, to=addresses)
            await _counted(server.queued, 0)

            async def delivered() -> None:
                await _spread(server.port, share * len(addresses), sessions, to=addresses, reuse=True)
                await _counted(server.queued, 0)

            async def fetched() -> None:
                async with asyncio.TaskGroup() as group:
                    for address in addresses:
                        group.create_task(fetch(server.pop3_port, address, PASSWORD, share + 1))

            async def nothing_waits() -> None:
                await _counted(server.queued, 0)

            total = share * len(addresses)
            found.append(await _round("accept and deliver", "postroad", server, total, delivered, nothing_waits))
            more = total + len(addresses)
            found.append(await _round("fetch by POP3", "postroad", server, more, fetched, nothing_waits))
    if against:
        note = "left out: this Postfix would deliver, but has no POP3 to fetch by"
        found.append(_row("mailbox", against, note=note))
    return found


_MEASURING: dict[str, Callable[[str, int, int], Coroutine[None, None, Found]]] = {
    "accept": _accept,
    "relay": _relay,
    "mailbox": _mailbox,
}
WAYS = tuple(_MEASURING)


# ---- their parts -----------------------------------------------------------------------------------


async def _limits(messages: int, sessions: int) -> Found:
    """What no server on this machine can do better than: its disk, and these clients at a server that keeps nothing."""
    syncs = await asyncio.to_thread(fdatasyncs_per_second)
    found = [_row("fdatasync of 4 KiB, one after another", "the disk", per_second=syncs)]
    if messages:
        next_hop = NextHop()
        await next_hop.start()
        begin = time.monotonic()
        await _spread(next_hop.port, messages, sessions)
        took = time.monotonic() - begin
        next_hop.stop()
        note = "throws mail away, in the clients' own process"
        rate = messages / took
        found.append(_row("accept, a connection each", "the clients", rate, counted=next_hop.count, note=note))
    return found


def _servers(against: str, next_hop: int | None) -> Iterator[tuple[str, Callable[[Path], _Serving]]]:
    delivery = f'smarthost = "127.0.0.1:{next_hop}"\nsmarthost_tls = "none"' if next_hop else "offline = true"
    yield "postroad", lambda folder: ours(folder, delivery)
    if against == "postfix" and not no_postfix():
        yield "postfix", lambda folder: postfix(folder, next_hop)


def _absent(against: str) -> Found:
    return [_row("", "postfix", note=f"left out: {no_postfix()}")] if against and no_postfix() else []


async def _spread(
    port: int, messages: int, sessions: int, *, to: Sequence[str] = (_ELSEWHERE,), reuse: bool = False
) -> None:
    """So many messages, to each of `to` in turn, by so many clients at once."""
    recipients = [to[number % len(to)] for number in range(messages)]
    async with asyncio.TaskGroup() as group:
        for number in range(sessions):
            group.create_task(hand_in(port, recipients[number::sessions], reuse=reuse))


async def _counted(count: Callable[[], Awaitable[int]], wanted: int) -> None:
    """Returns when the count is what it should be. Raises OperationFailed: mail is missing, or there twice."""
    until = time.monotonic() + _COUNTED_WITHIN_S
    while (found := await count()) != wanted:
        if time.monotonic() > until:
            raise OperationFailed(f"{wanted} messages should be there, and {found} are")
        await asyncio.sleep(_LOOK_S)


async def _round(
    what: str,
    name: str,
    server: Server,
    messages: int,
    work: Callable[[], Awaitable[None]],
    count: Callable[[], Awaitable[None]],
) -> PlainObject:
    """`work` is timed; what is left to do until `count` returns costs the server processor time, too."""
    cpu, begin = cpu_s(server.pid), time.monotonic()
    await work()
    took = time.monotonic() - begin
    await count()
    spent = cpu_s(server.pid) - cpu
    return _row(what, name, messages / took, round(spent / messages * 1000, 3), messages)


def _row(
    what: str,
    server: str,
    per_second: float | None = None,
    cpu_ms: float | None = None,
    counted: int | None = None,
    note: str = "",
) -> PlainObject:
    rate = None if per_second is None else round(per_second, 1)
    return {
        "what": what,
        "server": server,
        "per_second": rate,
        "cpu_ms": cpu_ms,
        "counted": counted,
        "note": note,
    }


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="postroad-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)
