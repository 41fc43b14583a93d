"""Assembly: from a configuration to services that run, the same for workers, a single process, the demo and tests.

    async with open_access(configuration, name="a0", doors=doors, speaker=speaker) as node:
        await node.performer.perform("status", {})

`transport.py` opens a transport worker in the same way.

Leaving the block closes the doors, lets conversations and attempts come to their end within STOP_GRACE_S,
brings the stories into the ledger, and closes the stores. A background task that fails ends the block.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from postroad.app.certificate import open_identity
from postroad.app.configuration import Configuration
from postroad.app.speaking import Speaker
from postroad.app.stores import open_shared, operator_of
from postroad.contracts.resolver import Resolver
from postroad.services.conversations import Conversations
from postroad.services.operations.performer import Performer, PlainObject
from postroad.services.pop3_service import Pop3Service, Pop3Settings, Pop3Stores
from postroad.services.reception import Reception
from postroad.services.shared_limits import SharedLimits
from postroad.vocabulary.limits import STOP_GRACE_S
from postroad.vocabulary.listener import ListenerRole
from postroad.world.entropy import SystemEntropy
from postroad.world.listening import RealListener
from postroad.world.tcp import RealNetwork
from postroad.world.tls import TlsClient

Doors = tuple[tuple[ListenerRole, socket.socket], ...]


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
        shared.mailboxes.when_set_aside(speaker.trouble)
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
        await open_doors(opened, network, pop3, doors)
        yield Node(operator_of(shared, name, None, facts=(lambda: facts_of(pop3),)))


async def open_doors(
    opened: AsyncExitStack, network: RealNetwork, conversations: Reception | Pop3Service, doors: Doors
) -> None:
    """Accept at every door. The listeners close first when the node ends."""
    for role, one in doors:
        handle: RealListener = await network.listen(one, conversations.connection(role), tls=role.implicit_tls)
        opened.push_async_callback(handle.close)
        conversations.overload.watch(handle)


def facts_of(conversations: Conversations) -> PlainObject:
    return {
        "pid": os.getpid(),
        "sessions": conversations.sessions,
        "loop_lag_ms": round(conversations.overload.lag_s * 1000, 1),
        "paused_for_lag": conversations.overload.times_paused,
    }
