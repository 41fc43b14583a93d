"""A transport worker put together: SMTP in and out on the shards that are its own, with all that runs beside it.

What is opened first is closed last: stores, then delivery, then reception, then the doors.
"""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import msgspec

from postroad.app.addresses import own_endpoints
from postroad.app.archive_access import open_archive
from postroad.app.assemble import NO_STAND_INS, Doors, Node, StandIns, facts_of, open_doors
from postroad.app.certificate import open_identity
from postroad.app.configuration import Configuration
from postroad.app.descriptors import sessions_that_fit
from postroad.app.queue_administration import QueueAdministration, administration_of
from postroad.app.shard_service import Outgoing, ShardService
from postroad.app.speaking import Speaker
from postroad.app.stores import Shared, drain_of, open_holds, open_queue, open_shared, operator_of
from postroad.app.waiting_mail import WaitingMail
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import NewMessage
from postroad.services.archive_keeping import ArchiveKeeping
from postroad.services.host_connections import HostConnections
from postroad.services.operations.performer import PlainObject
from postroad.services.paces import Paces
from postroad.services.quotas import Quotas
from postroad.services.reception import Onward, Reception, ReceptionSettings, Stores, Surroundings
from postroad.services.relay_parts import Listener
from postroad.services.shared_limits import SharedLimits
from postroad.storage.sqlite.archive_chain import SqliteArchiveChain
from postroad.storage.sqlite.database import make_folder, translating
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.storage.sqlite.suppression_store import SqliteSuppressions
from postroad.vocabulary.limits import SHARD_WAIT_S, STOP_GRACE_S
from postroad.vocabulary.settings import LimitSettings
from postroad.world.disk import Disk
from postroad.world.dns import DnsResolver
from postroad.world.entropy import SystemEntropy
from postroad.world.tcp import RealNetwork

_SHARD_LOOK_S = 0.2


@dataclass(frozen=True, kw_only=True)
class _House:
    """What a worker is made of, and the stack that takes it down again. `queues` are its shards."""

    opened: AsyncExitStack
    name: str
    configuration: Configuration
    speaker: Speaker
    shared: Shared
    queues: tuple[SqliteQueueStore, ...]
    network: RealNetwork
    limits: SharedLimits
    channel_binding: Callable[[], bytes]


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
        shared.mailboxes.when_set_aside(speaker.trouble)
        queues = [await _take_shard(opened, configuration, shard, shared) for shard in shards]
        holds = await opened.enter_async_context(open_holds(configuration))
        network = await opened.enter_async_context(RealNetwork(identity, stand_ins.tls_client))
        house = _House(
            opened=opened,
            name=name,
            configuration=configuration,
            speaker=speaker,
            shared=shared,
            queues=tuple(queues),
            network=network,
            limits=shared_limits or SharedLimits(),
            channel_binding=identity.end_point,
        )
        sending = configuration.delivery_settings()
        outgoing = Outgoing(
            settings=sending,
            retry=configuration.retry_settings(),
            own_endpoints=own_endpoints(one for _, one in doors),
            network=network,
            resolver=stand_ins.resolver or DnsResolver(tuple(str(server) for server in configuration.dns.servers)),
            entropy=SystemEntropy(),
            holds=holds,
            ledger_keep=configuration.ledger.keep,
            archived=frozenset(configuration.archive.domains),
            suppressions=_open_suppressions(house) if 0 in shards else None,
            quotas=Quotas(shared.mailboxes, configuration.limit_settings().account),
            listener=listener,
            connections=HostConnections(sending.destination_connections, house.limits.portions),
            paces=Paces(sending, house.limits.workers),
        )
        chains = [_open_chain(house, shard) for shard in shards]
        tasks = await opened.enter_async_context(asyncio.TaskGroup())
        services, administration = _start_shards(house, outgoing, chains, tasks)
        if 0 in shards and (configuration.data_folder / "archive").is_dir():
            await _keep_the_archive(house, tasks)
        waiting = _start_waiting_mail(house, outgoing, services, tasks)
        disk = Disk(configuration.data_folder)
        reception = await _open_reception(house, outgoing, services, waiting, disk, tasks)
        for service in services:
            opened.callback(service.begin_stop)
        await open_doors(opened, network, reception, doors)
        yield _node(house, services, administration, waiting, reception, disk)


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


# ---- out -------------------------------------------------------------------------------------------


def _open_suppressions(house: _House) -> SqliteSuppressions:
    """For the housekeeping of the first shard."""
    suppressions = SqliteSuppressions(house.configuration.data_folder / "suppressions.db")
    house.opened.push_async_callback(suppressions.close)
    return suppressions


def _open_chain(house: _House, shard: int) -> SqliteArchiveChain | None:
    """Where the mail of a shard that is ours is archived. Closed after the shard's work has come to rest."""
    if not house.configuration.archive.domains:
        return None
    folder = house.configuration.data_folder / "archive"
    with translating(str(folder)):
        make_folder(folder)
    chain = SqliteArchiveChain(folder, shard)
    house.opened.push_async_callback(chain.close)
    return chain


def _start_shards(
    house: _House, outgoing: Outgoing, chains: Sequence[SqliteArchiveChain | None], tasks: asyncio.TaskGroup
) -> tuple[tuple[ShardService, ...], QueueAdministration]:
    """Each shard's delivery and what goes with it, which follows the orders that stand from the beginning."""
    services = tuple(
        ShardService(queue, house.shared, outgoing, house.speaker.trouble, chain)
        for queue, chain in zip(house.queues, chains, strict=True)
    )
    schedulers = [service.delivery for service in services]
    administration = administration_of(house.configuration, house.shared, house.queues, schedulers)
    administration.obey()
    for service in services:
        house.opened.push_async_callback(service.stop)
        service.start(tasks)
    return services, administration


async def _keep_the_archive(house: _House, tasks: asyncio.TaskGroup) -> None:
    """By the first worker, also when no domain is archived any more: what is there grows old all the same."""
    archive = await house.opened.enter_async_context(open_archive(house.configuration))
    keep = house.configuration.archive.keep
    keeping = ArchiveKeeping(archive, house.shared.clock, keep, house.speaker.trouble)
    house.opened.callback(tasks.create_task(keeping.run(), name="keeping the archive").cancel)


def _start_waiting_mail(
    house: _House, outgoing: Outgoing, services: tuple[ShardService, ...], tasks: asyncio.TaskGroup
) -> WaitingMail:
    waiting = WaitingMail(
        house.configuration,
        house.shared,
        outgoing,
        house.queues,
        services,
        accepted=_accepted_by(services[0]),
        errors=house.speaker.trouble,
    )
    house.opened.push_async_callback(waiting.stop)
    waiting.start(tasks)
    return waiting


def _accepted_by(service: ShardService) -> Callable[[NewMessage], None]:
    """What takes up a message that the queue of this service has taken."""

    def accepted(message: NewMessage) -> None:
        service.delivery.hand_over(message)
        service.mover.touch()

    return accepted


# ---- in --------------------------------------------------------------------------------------------


async def _open_reception(
    house: _House,
    outgoing: Outgoing,
    services: tuple[ShardService, ...],
    waiting: WaitingMail,
    disk: Disk,
    tasks: asyncio.TaskGroup,
) -> Reception:
    """New mail goes into the first shard."""
    shared, first = house.shared, services[0]
    limits = house.configuration.limit_settings()
    of_all = limits.sessions
    limits = msgspec.structs.replace(limits, sessions=sessions_that_fit(limits.sessions, house.speaker.say))
    reception = Reception(
        settings=_reception_settings(house.configuration, limits, of_all, queue_runs=waiting.queue_runs),
        stores=Stores(
            queue=house.queues[0],
            directory=shared.directory,
            passwords=shared.passwords,
            ledger=shared.ledger,
            quotas=outgoing.quotas,
        ),
        around=Surroundings(
            clock=shared.clock,
            network=house.network,
            resolver=outgoing.resolver,
            free_bytes=disk.room_bytes,
            user_name=_user_name,
            entropy=outgoing.entropy,
            channel_binding=house.channel_binding,
            shared=house.limits,
        ),
        onward=Onward(
            routing=first.delivery.routing,
            accepted=_accepted_by(first),
            holds=waiting.holds,
            terminals=waiting.terminals,
        ),
    )
    await house.opened.enter_async_context(reception)
    house.opened.push_async_callback(reception.stop, STOP_GRACE_S)
    waiting.collect_with(reception, limits, tasks)
    house.opened.push_async_callback(waiting.stop_background)
    return reception


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


def _user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


# ---- for administrators ----------------------------------------------------------------------------


def _node(
    house: _House,
    services: tuple[ShardService, ...],
    administration: QueueAdministration,
    waiting: WaitingMail,
    reception: Reception,
    disk: Disk,
) -> Node:
    operator = operator_of(
        house.shared,
        house.name,
        house.queues,
        (*(drain_of(service.mover) for service in services), waiting.drain),
        facts=(
            lambda: facts_of(reception),
            lambda: {"messages_accepted": reception.messages, "disk_free_bytes": disk.free_bytes()},
            lambda: {"destinations": [line for service in services for line in service.delivery.snapshot()]},
            lambda: _off_line(services),
        ),
        slower_facts=(waiting.facts,),
        administration=administration,
        waiting=waiting.operations(),
    )
    return Node(operator, let_go=waiting.let_go)


def _off_line(services: Sequence[ShardService]) -> PlainObject:
    """Why nothing is sent out, where nothing is."""
    words = next((service.delivery.offline.words for service in services if service.delivery.offline.words), "")
    return {"offline": words} if words else {}
