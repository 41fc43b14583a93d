"""The servers that `postroad bench` measures: one of ours and, where it is installed, a Postfix, each in processes
and a folder of its own, on a free port of 127.0.0.1. Nothing of an installed server is touched."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from postroad.app.certificate import ensure_certificate
from postroad.app.configuration import parse
from postroad.app.control import ControlClient, connect_or_none
from postroad.app.folder import prepare
from postroad.app.stores import open_operator
from postroad.services.operations.performer import OperationFailed

_START_S = 30.0
_STOP_S = 20.0
_LOOK_S = 0.05
_PROCESSES = 100

DOMAIN = "bench.example"
PASSWORD = "rain on the road"

_CONFIGURATION = """\
hostname = "bench.example"
data = "{folder}/data"
{processes}
[listen]
smtp = ["127.0.0.1:{smtp}"]
submission = []
submissions = []
pop3 = ["127.0.0.1:{pop3}"]
pop3s = []
[delivery]
{delivery}
[limits]
exempt = ["127.0.0.0/8"]
[policy]
reverse_dns = "off"
helo = "off"
sender_domain = "off"
own_sender = "off"
trusted_networks = ["127.0.0.0/8"]
"""

# What Debian's master.cf has of it, with more receivers than its hundred.
_MASTER = """\
127.0.0.1:{port} inet n - n - {processes} smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - {processes} smtp
relay unix - - n - {processes} smtp
retry unix - - n - - error
error unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""


class Server(Protocol):
    pid: int
    port: int

    async def queued(self) -> int:
        """Messages in its queue."""
        ...


@dataclass
class Ours:
    pid: int
    port: int
    pop3_port: int
    client: ControlClient

    async def queued(self) -> int:
        reports = await self.client.perform("status", {})
        counts = [report.get("queue_messages", 0) for report in reports]
        return sum(count for count in counts if isinstance(count, int))


@asynccontextmanager
async def ours(folder: Path, delivery: str, people: tuple[str, ...] = ()) -> AsyncIterator[Ours]:
    """Serving within the block. `delivery` are keys of that section. Raises OperationFailed."""
    ports = {"smtp": free_port(), "pop3": free_port()}
    path = folder / "postroad.toml"
    # The key means nothing to users who are not root; root serves only where it is named.
    processes = '[processes]\nuser = "root"' if os.geteuid() == 0 else ""
    path.write_text(_CONFIGURATION.format(folder=folder, delivery=delivery, processes=processes, **ports))
    configuration = parse(path.read_text(), path)
    prepare(configuration.data_folder)
    ensure_certificate(configuration)
    async with open_operator(configuration) as operator:
        await operator.perform("domain.add", {"domain": DOMAIN})
        for name in people:
            await operator.perform("account.add", {"address": f"{name}@{DOMAIN}", "password": PASSWORD})
    command = [sys.executable, "-m", "postroad.cli", "--config", str(path), "serve"]
    log = folder / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    try:
        client = await _answering(configuration.control_socket, process, log)
        try:
            yield Ours(process.pid, ports["smtp"], ports["pop3"], client)
        finally:
            await client.close()
    finally:
        await _ended(process)


async def _answering(control: Path, process: asyncio.subprocess.Process, log: Path) -> ControlClient:
    """When the control socket answers, every worker is ready. Raises OperationFailed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_START_S):
            while process.returncode is None:
                client = await connect_or_none(control)
                if client is not None:
                    return client
                await asyncio.sleep(_LOOK_S)
    said = await asyncio.to_thread(log.read_text)
    raise OperationFailed(f"the server that was to be measured does not start: {said.strip()}")


async def _ended(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


# ---- postfix ---------------------------------------------------------------------------------------


@dataclass
class Postfix:
    pid: int
    port: int
    spool: Path

    async def queued(self) -> int:
        """It moves a file from queue to queue, in this order, under the same name: one that moves while we look is met
        twice and counted once."""
        names: set[str] = set()
        for queue in ("incoming", "active", "deferred"):
            for _, _, files in os.walk(self.spool / queue):
                names.update(files)
        return len(names)


def no_postfix() -> str:
    """Why it cannot be measured; empty if it can."""
    if _postfix_program() is None:
        return "postfix is not installed; on Debian: apt-get install postfix"
    return "" if os.geteuid() == 0 else "postfix starts for root alone"


def _postfix_program() -> str | None:
    return shutil.which("postfix", path=_search_path())


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@asynccontextmanager
async def postfix(folder: Path, next_hop: int | None) -> AsyncIterator[Postfix]:
    """With its own defaults for all that makes mail durable. Raises OperationFailed."""
    port, spool, settings = free_port(), folder / "spool", folder / "etc"
    _furnish(folder, port, next_hop)
    await _order(settings, "start")
    pid = _master(spool)
    try:
        yield Postfix(pid, port, spool)
    finally:
        await _order(settings, "abort")
        await _until(lambda: not _alive(pid))


def _furnish(folder: Path, port: int, next_hop: int | None) -> None:
    folder.chmod(0o755)  # its own users pass through
    for name in ("spool", "state", "etc"):
        (folder / name).mkdir()
    shutil.chown(folder / "state", "postfix")
    (folder / "etc" / "main.cf").write_text(_main_cf(folder, next_hop))
    (folder / "etc" / "master.cf").write_text(_MASTER.format(port=port, processes=_PROCESSES))


def _master(spool: Path) -> int:
    """The process that all others of it descend from."""
    return int((spool / "pid" / "master.pid").read_text())


def _main_cf(folder: Path, next_hop: int | None) -> str:
    delivery = {"relayhost": f"[127.0.0.1]:{next_hop}"} if next_hop else {"defer_transports": "smtp"}
    keys = {
        "compatibility_level": "3.6",
        "queue_directory": str(folder / "spool"),
        "data_directory": str(folder / "state"),
        "maillog_file": str(folder / "log"),
        "maillog_file_prefixes": f"{folder.parts[0]}{folder.parts[1]}",
        "myhostname": DOMAIN,
        "mydestination": "",
        "mynetworks": "127.0.0.0/8",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "alias_maps": "",
        "alias_database": "",
        "smtpd_peername_lookup": "no",
        "smtpd_client_connection_count_limit": "0",
        "smtp_tls_security_level": "none",
        "in_flow_delay": "0",
        "default_process_limit": str(_PROCESSES),
        **delivery,
    }
    return "".join(f"{key} = {value}\n" for key, value in keys.items())


async def _order(settings: Path, order: str) -> None:
    program = _postfix_program()
    assert program is not None
    process = await asyncio.create_subprocess_exec(
        program,
        "-c",
        str(settings),
        order,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PATH": _search_path()},
    )
    said, _ = await process.communicate()
    if process.returncode and order == "start":
        raise OperationFailed(f"postfix does not start: {said.decode(errors='replace').strip()}")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def _until(true: Callable[[], bool]) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(_STOP_S):
        while not true():  # noqa: ASYNC110  nobody tells us when another program's process has gone
            await asyncio.sleep(_LOOK_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
