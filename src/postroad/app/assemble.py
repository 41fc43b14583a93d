"""Assembly: from a configuration to services that run, the same for workers, a single process, the demo and tests.

    async with open_transport(configuration, name="t0", shards=(0,), doors=doors, speaker=speaker) as node:
        await node.performer.perform("status", {})

Leaving the block closes the doors, lets conversations and attempts come to their end within STOP_GRACE_S,
brings the stories into the ledger, and closes the stores. A background task that fails ends the block.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import msgspec

from postroad.app.addresses import own_endpoints
from postroad.app.archive_access import open_archive
from postroad.app.certificate import open_identity
from postroad.app.configuration import Configuration
from postroad.app.descriptors import sessions_that_fit
from postroad.app.queue_administration import administration_of
from postroad.app.shard_service import Outgoing, ShardService
from postroad.app.speaking import Speaker
from postroad.app.stores import Shared, drain_of, open_holds, open_queue, open_shared, operator_of
from postroad.app.waiting_mail import WaitingMail
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import NewMessage
from postroad.contracts.resolver import Resolver
from postroad.services.archive_keeping import ArchiveKeeping
from postroad.services.conversations import Conversations
from postroad.services.host_connections import HostConnections
from postroad.services.operations.performer import Performer, PlainObject
from postroad.services.paces import Paces
from postroad.services.pop3_service import Pop3Service, Pop3Settings, Pop3Stores
from postroad.services.quotas import Quotas
from postroad.services.reception import Onward, Reception, ReceptionSettings, Stores, Surroundings
from postroad.services.relay_parts import Listener
from postroad.services.shared_limits import SharedLimits
from postroad.storage.sqlite.archive_chain import SqliteArchiveChain
from postroad.storage.sqlite.database import make_folder, translating
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.limits import SHARD_WAIT_S, STOP_GRACE_S
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import LimitSettings
from postroad.world.disk import Disk
from postroad.world.dns import DnsResolver
from postroad.world.entropy import SystemEntropy
from postroad.world.listening import RealListener
from postroad.world.tcp import RealNetwork
from postroad.world.tls import TlsClient

Doors = tuple[tuple[ListenerRole, socket.socket], ...]
_SHARD_LOOK_S = 0.2


@dataclass(frozen=True)
class Node:
    """Services that run. `performer` answers administrators for them; `let_go` has it answer at once who asked to be
    told when something happens."""

    performer: Performer
    let_go: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class StandIns:
    """For the configured name servers, and for the system's authorities."""

    resolver: Resolver | None = None
    tls_client: TlsClient | None = None


NO_STAND_INS = StandIns()


@asynccontextmanager
async def open_transport(
    configuration: Configuration,
    *,
    name: str,
    shards: tuple[int, ...],
    doors: Doors,
    speaker: Speaker,
    stand_ins: StandIns = NO_STAND_INS,
    listener: Listener | None = None,
    shared_limits: SharedLimits | None = None,
) -> AsyncIterator[Node]:
    """SMTP in and out on these shards; new mail goes into the first. The doors' sockets are closed with the node.

    `listener` hears the conversations with other servers; `shared_limits` holds over several processes. Raises
    CannotServe, StoreUnavailable."""
    identity = open_identity(configuration, speaker.say)
    async with AsyncExitStack() as opened:
        shared = await opened.enter_async_context(open_shared(configuration, name))
        queues = [await _take_shard(opened, configuration, shard, shared) for shard in shards]
        holds = await opened.enter_async_context(open_holds(configuration))
        resolver = stand_ins.resolver
        if resolver is None:
            resolver = DnsResolver(tuple(str(server) for server in configuration.dns.servers))
        network = await opened.enter_async_context(RealNetwork(identity, stand_ins.tls_client))
        quotas = Quotas(shared.mailboxes, configuration.limit_settings().account)
        shared_limits = shared_limits or SharedLimits()
        sending = configuration.delivery_settings()
        outgoing = Outgoing(
            settings=sending,
            retry=configuration.retry_settings(),
            own_endpoints=own_endpoints(one for _, one in doors),
            network=network,
            resolver=resolver,
            entropy=SystemEntropy(),
            holds=holds,
            ledger_keep=configuration.ledger.keep,
            archived=frozenset(configuration.archive.domains),
            quotas=quotas,
            listener=listener,
            connections=HostConnections(sending.destination_connections, shared_limits.portions),
            paces=Paces(sending, shared_limits.workers),
        )
        chains = [_open_chain(opened, configuration, queue.shard) for queue in queues]
        tasks = await opened.enter_async_context(asyncio.TaskGroup())
        services = [
            ShardService(queue, shared, outgoing, speaker.trouble, chain)
            for queue, chain in zip(queues, chains, strict=True)
        ]
        schedulers = [service.delivery for service in services]
        administration = administration_of(configuration, shared, tuple(queues), schedulers)
        administration.obey()
        for service in services:
            opened.push_async_callback(service.stop)
            service.start(tasks)
        if 0 in shards and (configuration.data_folder / "archive").is_dir():
            await _keep_the_archive(opened, configuration, shared, speaker, tasks)
        accepted = _accepted_by(services[0])
        waiting = WaitingMail(
            configuration,
            shared,
            outgoing,
            tuple(queues),
            tuple(services),
            accepted=accepted,
            errors=speaker.trouble,
        )
        opened.push_async_callback(waiting.stop)
        waiting.start(tasks)
        disk = Disk(configuration.data_folder)
        around = Surroundings(
            clock=shared.clock,
            network=network,
            resolver=resolver,
            free_bytes=disk.room_bytes,
            user_name=_user_name,
            entropy=SystemEntropy(),
            channel_binding=identity.end_point,
            shared=shared_limits,
        )
        limits = configuration.limit_settings()
        of_all = limits.sessions
        limits = msgspec.structs.replace(limits, sessions=sessions_that_fit(limits.sessions, speaker.say))
        onward = Onward(
            routing=services[0].delivery.routing, accepted=accepted, holds=waiting.holds, terminals=waiting.terminals
        )
        stores = Stores(
            queue=queues[0],
            directory=shared.directory,
            passwords=shared.passwords,
            ledger=shared.ledger,
            quotas=quotas,
        )
        settings = _reception_settings(configuration, limits, of_all, queue_runs=waiting.queue_runs)
        reception = Reception(settings=settings, stores=stores, around=around, onward=onward)
        await opened.enter_async_context(reception)
        opened.push_async_callback(reception.stop, STOP_GRACE_S)
        waiting.collect_with(reception, limits, tasks)
        opened.push_async_callback(waiting.stop_background)
        for service in services:
            opened.callback(service.begin_stop)
        await _open_doors(opened, network, reception, doors)
        yield Node(
            operator_of(
                shared,
                name,
                tuple(queues),
                (*(drain_of(service.mover) for service in services), waiting.drain),
                facts=(
                    lambda: _facts_of(reception),
                    lambda: {"messages_accepted": reception.messages, "disk_free_bytes": disk.free_bytes()},
                    lambda: {"destinations": [line for service in services for line in service.delivery.snapshot()]},
                    lambda: _off_line(services),
                ),
                slower_facts=(waiting.facts,),
                administration=administration,
                waiting=waiting.operations(),
            ),
            let_go=waiting.let_go,
        )


@asynccontextmanager
async def open_access(
    configuration: Configuration,
    *,
    name: str,
    doors: Doors,
    speaker: Speaker,
    shared_limits: SharedLimits | None = None,
) -> AsyncIterator[Node]:
    """POP3. Raises CannotServe, StoreUnavailable."""
    identity = open_identity(configuration, speaker.say)
    async with AsyncExitStack() as opened:
        shared = await opened.enter_async_context(open_shared(configuration, name))
        network = await opened.enter_async_context(RealNetwork(identity))
        limits = configuration.limit_settings()
        pop3 = Pop3Service(
            settings=Pop3Settings(
                hostname=configuration.hostname,
                plaintext_login=configuration.plaintext_login(),
                apop=configuration.pop3.apop,
                tls_available=True,
                sessions_per_client=limits.sessions_per_client,
                exempt=limits.exempt,
            ),
            stores=Pop3Stores(
                mailboxes=shared.mailboxes,
                directory=shared.directory,
                passwords=shared.passwords,
                ledger=shared.ledger,
            ),
            clock=shared.clock,
            network=network,
            shared=shared_limits,
            entropy=SystemEntropy(),
            channel_binding=identity.end_point if configuration.pop3.scram_plus else bytes,
        )
        await opened.enter_async_context(pop3)
        opened.push_async_callback(pop3.stop, STOP_GRACE_S)
        await _open_doors(opened, network, pop3, doors)
        yield Node(operator_of(shared, name, None, facts=(lambda: _facts_of(pop3),)))


def _off_line(services: Sequence[ShardService]) -> PlainObject:
    """Why nothing is sent out, where nothing is."""
    words = next((service.delivery.offline.words for service in services if service.delivery.offline.words), "")
    return {"offline": words} if words else {}


def _accepted_by(service: ShardService) -> Callable[[NewMessage], None]:
    """What takes up a message that the queue of this service has taken."""

    def accepted(message: NewMessage) -> None:
        service.delivery.hand_over(message)
        service.mover.touch()

    return accepted


def _reception_settings(
    configuration: Configuration, limits: LimitSettings, of_all: int, *, queue_runs: bool
) -> ReceptionSettings:
    return ReceptionSettings(
        hostname=configuration.hostname,
        limits=limits,
        policy=configuration.policy_settings(),
        tls_available=True,
        hold_domains=frozenset(hold.domain for hold in configuration.hold),
        queue_runs=queue_runs,
        terminals=True,
        sessions_of_all=of_all,
    )


async def _take_shard(
    opened: AsyncExitStack, configuration: Configuration, shard: int, shared: Shared
) -> SqliteQueueStore:
    """Open a shard; a command may have it for an instant. Raises StoreUnavailable."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SHARD_WAIT_S
    while True:
        try:
            return await opened.enter_async_context(open_queue(configuration, shard, shared.clock))
        except StoreUnavailable:
            if loop.time() > until:
                raise
            await asyncio.sleep(_SHARD_LOOK_S)


async def _keep_the_archive(
    opened: AsyncExitStack, configuration: Configuration, shared: Shared, speaker: Speaker, tasks: asyncio.TaskGroup
) -> None:
    """By the first worker, also when no domain is archived any more: what is there grows old all the same."""
    archive = await opened.enter_async_context(open_archive(configuration))
    keeping = ArchiveKeeping(archive, shared.clock, configuration.archive.keep, speaker.trouble)
    opened.callback(tasks.create_task(keeping.run(), name="keeping the archive").cancel)


def _open_chain(opened: AsyncExitStack, configuration: Configuration, shard: int) -> SqliteArchiveChain | None:
    """Where the mail of a shard that is ours is archived. Closed after the shard's work has come to rest."""
    if not configuration.archive.domains:
        return None
    folder = configuration.data_folder / "archive"
    with translating(str(folder)):
        make_folder(folder)
    chain = SqliteArchiveChain(folder, shard)
    opened.push_async_callback(chain.close)
    return chain


async def _open_doors(
    opened: AsyncExitStack, network: RealNetwork, conversations: Reception | Pop3Service, doors: Doors
) -> None:
    """Accept at every door. The listeners close first when the node ends."""
    for role, one in doors:
        handle: RealListener = await network.listen(one, conversations.connection(role), tls=role.implicit_tls)
        opened.push_async_callback(handle.close)
        conversations.overload.watch(handle)


def _facts_of(conversations: Conversations) -> PlainObject:
    return {
        "pid": os.getpid(),
        "sessions": conversations.sessions,
        "loop_lag_ms": round(conversations.overload.lag_s * 1000, 1),
        "paused_for_lag": conversations.overload.times_paused,
    }


def _user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
