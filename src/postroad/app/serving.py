"""`postroad serve`: from a configuration to a running server, and back to the command line with an exit status."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from postroad.app.certificate import ensure_certificate
from postroad.app.configuration import Configuration, load
from postroad.app.descriptors import raise_limit
from postroad.app.errors import CannotServe, ConfigurationError
from postroad.app.folder import FolderLock, prepare, refuse_if_served
from postroad.app.identity import ROOT, become_owner_of, drop_to, forbid_new_privileges, serving_user
from postroad.app.listening import Door, bind_doors, bind_unix, local_door
from postroad.app.loop import run_in_loop
from postroad.app.shards import workers
from postroad.app.speaking import Speaker
from postroad.app.supervisor import Supervisor
from postroad.vocabulary.limits import POP3_SESSIONS
from postroad.world.handed import take_handed

PROGRAM = "postroad"
SOFTWARE_ERROR = 70


def serve(
    path: Path, *, single_process: bool = False, debug: bool = False, started: Callable[[], None] | None = None
) -> int:
    """Serve until SIGTERM or SIGINT. `started` is called once when every door is open.

    The exit status: 0 stopped as asked, 2 the configuration, 69, 70 and 75 as in sysexits.h; what is wrong has
    been said on standard error."""
    speaker = Speaker(PROGRAM, debug=debug)
    try:
        configuration = load(path)
        with _taken(configuration, 1 if single_process else workers(configuration)) as (doors, control):
            speaker = Speaker(PROGRAM, configuration.run_folder / "errors.log", debug=debug)
            speaker.hear_logging()
            _run(configuration, doors, control, speaker, started or _nothing, single_process=single_process)
    except (ConfigurationError, CannotServe) as error:
        for problem in str(error).splitlines():
            print(f"{PROGRAM}: {problem}", file=sys.stderr)
        return error.exit_status
    except Exception as error:
        speaker.unexpected("the server ends", error)
        return SOFTWARE_ERROR
    return 0


def _nothing() -> None:
    pass


def _run(
    configuration: Configuration,
    doors: tuple[Door, ...],
    control: socket.socket,
    speaker: Speaker,
    started: Callable[[], None],
    *,
    single_process: bool,
) -> None:
    if single_process:
        from postroad.app.single import SingleProcess

        run_in_loop(SingleProcess(configuration, doors, control, speaker, started).run())
        return

    async def supervise() -> None:
        asyncio.get_running_loop().set_exception_handler(speaker.loop_handler())
        await Supervisor(configuration, doors, control, speaker, started).run()

    asyncio.run(supervise())


@contextmanager
def _taken(configuration: Configuration, count: int) -> Iterator[tuple[tuple[Door, ...], socket.socket]]:
    """The data folder and all sockets, and nobody's rights but those of who serves. Raises CannotServe."""
    os.umask(0o077)
    data = configuration.data_folder
    user = _user(configuration)
    prepare(data, user)
    refuse_if_served(data)
    with ExitStack() as held:
        # Ports below 1024 are bound with the rights we came with; everything after it is done without them.
        handed = take_handed()
        systemds = {one.where for one in handed}
        doors = bind_doors(configuration.listeners(), count, configuration.local_listeners(), handed)
        for door in doors:
            held.callback(door.close)
        for _, path in configuration.local_listeners():
            if str(path) not in systemds:
                held.callback(_remove, path)
        raise_limit(configuration.limits.sessions + POP3_SESSIONS)
        if user:
            drop_to(user)
        else:
            become_owner_of(data)
        forbid_new_privileges()
        lock = FolderLock(data)
        held.callback(lock.release)
        ensure_certificate(configuration)
        control = bind_unix(configuration.control_socket, 0o600)
        held.callback(_leave, control, configuration.control_socket)
        local = local_door(configuration.submit_socket)
        held.callback(_leave, local.sockets[0], configuration.submit_socket)
        pid = configuration.run_folder / "postroad.pid"
        pid.write_text(f"{os.getpid()}\n")
        held.callback(pid.unlink, missing_ok=True)
        yield (*doors, local), control


def _remove(path: Path) -> None:
    """A socket in a folder that our user may not write to stays; the next start replaces it."""
    with suppress(OSError):
        path.unlink()


def _leave(one: socket.socket, path: Path) -> None:
    one.close()
    path.unlink(missing_ok=True)


def _user(configuration: Configuration) -> str:
    """The user to become; "" for whoever we are, or as root for the owner of the data."""
    if os.geteuid() != 0:
        return ""
    data = configuration.data_folder
    if not configuration.processes.user and data.exists() and data.stat().st_uid:
        return ""
    user = serving_user(configuration.processes.user)
    return "" if user == ROOT else user
