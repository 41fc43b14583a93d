"""The servers that ours is measured beside, each with the same duty: take mail for anybody from loopback, keep it
durably, and either hold it or hand it to one next hop."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.chasquid import names, running_chasquid
from bench.contestants import Contestant, postroad, sink
from tests.support.exim import Exim
from tests.support.opensmtpd import OpenSmtpd
from tests.support.ports import free_port, wait_for_port
from tests.support.postfix import running_postfix

_ROOT = Path(__file__).resolve().parents[1]
_NOBODY_LISTENS = 9
_PLACES = os.pathsep.join(
    [
        os.environ.get("PATH", ""),
        "/usr/local/sbin:/usr/sbin:/sbin",
        str(_ROOT / ".peers/exim4/usr/sbin"),
        str(_ROOT / ".peers/opensmtpd/usr/sbin"),
        str(_ROOT / ".peers/chasquid/usr/bin"),
    ]
)


@dataclass(frozen=True)
class Duty:
    """`next_hop` is a port; with None what is accepted stays. As many clients come at once as there are `sessions`."""

    next_hop: int | None
    sessions: int


@dataclass
class _Peer:
    pid: int
    port: int
    queued: Callable[[], int]


def _program(name: str) -> Path | None:
    found = shutil.which(name, path=_PLACES)
    return Path(found) if found else None


def _files(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern))


# ---- postfix ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _postfix(duty: Duty, keeping: dict[str, str]) -> Iterator[Contestant]:
    """Debian's Postfix with its own defaults for everything that costs durability; `keeping` is how it keeps
    mail that has no next hop."""
    processes = duty.sessions + 80
    handing_on = {"relayhost": f"[127.0.0.1]:{duty.next_hop}", "smtp_destination_concurrency_limit": "20"}
    settings = {"smtp_tls_security_level": "none", "smtp_bind_address": "", "default_process_limit": str(processes)}
    settings |= handing_on if duty.next_hop else keeping
    with running_postfix(
        address="127.0.0.1", port=free_port(), hostname="bench.example", settings=settings, processes=processes
    ) as server:
        yield _Peer(server.master_pid(), server.port, server.queued)


def postfix(duty: Duty) -> AbstractContextManager[Contestant]:
    """As it runs in life: its queue manager takes what was accepted, and defers it where there is no next hop."""
    return _postfix(duty, {"defer_transports": "smtp"})


def postfix_held(duty: Duty) -> AbstractContextManager[Contestant]:
    """All goes into its hold queue, which spares it the queue manager's work: the least that it can do."""
    restrictions = "check_client_access static:HOLD, permit_mynetworks, reject"
    return _postfix(duty, {"smtpd_recipient_restrictions": restrictions})


def _no_postfix() -> str:
    if _program("postfix") is None:
        return "postfix is not installed"
    return "" if os.geteuid() == 0 else "postfix needs root to start"


# ---- exim ------------------------------------------------------------------------------------------


class _Exim(Exim):
    """Without limits on clients, and with no runs through the queue where mail stays."""

    def starting(self, duty: Duty) -> None:
        text = self._configuration.read_text()
        more = "smtp_accept_max = 0\nsmtp_accept_queue_per_connection = 0\nsmtp_connect_backlog = 1000"
        self._configuration.write_text(text.replace("smtp_accept_max = 50", more))
        how = ["-odb", "-q1s"] if duty.next_hop else ["-odq"]
        with (self.folder / "output").open("wb") as output:
            self._daemon = subprocess.Popen([*self._command, "-bdf", *how], stdout=output, stderr=output)
        wait_for_port(self.address, self.port)

    @property
    def pid(self) -> int:
        assert self._daemon is not None
        return self._daemon.pid


@contextlib.contextmanager
def exim(duty: Duty) -> Iterator[Contestant]:
    program = _program("exim4")
    assert program is not None
    with _folder("exim-") as folder:
        next_hop = ("127.0.0.1", duty.next_hop or _NOBODY_LISTENS)
        server = _Exim(
            folder, program, address="127.0.0.1", port=free_port(), hostname="bench.example", next_hop=next_hop
        )
        try:
            server.starting(duty)
            yield _Peer(server.pid, server.port, lambda: _files(folder / "spool" / "input", "*-H"))
        finally:
            server.stop()


def _no_exim() -> str:
    if _program("exim4") is None:
        return "exim4 is not installed"
    return "" if os.geteuid() == 0 else "exim needs root to start"


# ---- OpenSMTPD -------------------------------------------------------------------------------------


@contextlib.contextmanager
def opensmtpd(duty: Duty) -> Iterator[Contestant]:
    program = _program("smtpd")
    assert program is not None
    with _folder("opensmtpd-") as folder:
        shim = folder / "durable.so"
        source = _ROOT / "bench" / "durable.c"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
        server = OpenSmtpd(
            folder / "instance",
            program,
            address="127.0.0.1",
            port=free_port(),
            hostname="bench.example",
            next_hop=("127.0.0.1", duty.next_hop or _NOBODY_LISTENS),
            domain="here.example",
            users=("nobody",),
        )
        configuration = server.folder / "smtpd.conf"
        configuration.write_text(f"smtp limit max-mails 100000\n{configuration.read_text()}")
        try:
            with _environment("LD_PRELOAD", str(shim)):
                server.start()
            assert server._daemon is not None
            spool = server.folder / "spool" / "smtpd" / "queue"
            yield _Peer(server._daemon.pid, server.port, lambda: _files(spool, "*/*/message"))
        finally:
            server.stop()


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def _no_opensmtpd() -> str:
    if _program("smtpd") is None:
        return "opensmtpd is not installed"
    if shutil.which("cc") is None:
        return "opensmtpd syncs nothing by itself, and there is no C compiler to build what makes it"
    return "" if os.geteuid() == 0 else "opensmtpd needs root to start"


# ---- chasquid --------------------------------------------------------------------------------------


def chasquid(duty: Duty) -> AbstractContextManager[Contestant]:
    program = _program("chasquid")
    assert program is not None
    assert duty.next_hop is not None
    return running_chasquid(program, duty.next_hop)


def _no_chasquid() -> str:
    if _program("chasquid") is None:
        return "chasquid is not installed"
    if _program("nsd") is None:
        return "chasquid needs a name server, and nsd is not installed"
    return "" if os.geteuid() == 0 else "chasquid needs root, to be told of a name server at port 53"


# ---- aiosmtpd, smtp-sink ---------------------------------------------------------------------------


@contextlib.contextmanager
def aiosmtpd(duty: Duty) -> Iterator[Contestant]:
    port = free_port()
    with _folder("aiosmtpd-") as folder:
        command = [sys.executable, "-m", "bench.aiosmtpd_server", str(port), str(folder), str(duty.next_hop or 0)]
        with subprocess.Popen(command, cwd=_ROOT) as process:
            try:
                wait_for_port("127.0.0.1", port)
                yield _Peer(process.pid, port, lambda: _files(folder, "[0-9]*"))
            finally:
                process.terminate()


@contextlib.contextmanager
def smtp_sink(duty: Duty) -> Iterator[Contestant]:
    assert duty.next_hop is None
    with sink() as server:
        yield _Peer(server.process.pid, server.port, server.count)


@contextlib.contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    """One that users of servers may read, removed with all that is still being written in it."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


# ---- who takes part --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    start: Callable[[Duty], AbstractContextManager[Contestant]]
    configuration: str
    relays: bool = True
    holds: bool = True
    """It can be told to keep what it accepts; else it hands on at once, and what it hands on is counted."""
    beside: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext
    """What it needs and is no part of it."""
    missing: Callable[[], str] = str
    """Why it cannot take part here; empty if it can."""


ENTRIES = {
    "postroad": Entry(
        lambda duty: postroad(duty.next_hop),
        "ledger on, full sync (SQLite's, WAL), one worker, rules about clients off; accept: `offline = true`; relay: "
        "smart host, 20 connections",
    ),
    "postfix": Entry(
        postfix,
        "Debian's defaults, fsync; smtpd_peername_lookup=no, in_flow_delay=0, as many smtpd as sessions and 80 more; "
        "accept: defer_transports=smtp; relay: relayhost, 20 connections",
        missing=_no_postfix,
    ),
    "postfix-held": Entry(
        postfix_held, "the same, but all of it goes into the hold queue", relays=False, missing=_no_postfix
    ),
    "exim": Entry(
        exim,
        "Debian's exim4-daemon-light, fsync; host_lookup empty, no ident, no limits on clients; accept: -odq; relay: "
        "manualroute, -odb -q1s; after QUIT it holds its 221 back for 0.2 s, unless the client hangs up: smtp-source "
        "waits for it",
        missing=_no_exim,
    ),
    "opensmtpd": Entry(
        opensmtpd,
        "Debian's, with an fsync of each file it writes put in by bench/durable.c (by itself it has none); max-mails "
        "100000; accept: its next hop does not listen; relay: by host; it asks a name server about each "
        "client, and cannot be told not to",
        missing=_no_opensmtpd,
    ),
    "chasquid": Entry(
        chasquid,
        "Debian's, no fsync, and none can be put in (it calls the kernel itself); an alias sends all on, by MX, names "
        "from NSD; accept: the same, as it holds 200 messages at most; each message is asked SPF for, and has a "
        "connection of its own out",
        holds=False,
        beside=names,
        missing=_no_chasquid,
    ),
    "aiosmtpd": Entry(
        aiosmtpd,
        "uvloop, one process; a file a message, fsync in a thread; relay: 20 threads with smtplib, connections kept",
        missing=lambda: "" if importlib.util.find_spec("aiosmtpd") else "aiosmtpd is not installed",
    ),
    "smtp-sink": Entry(
        smtp_sink,
        "Debian's, throws mail away: the machine's limit",
        relays=False,
        missing=lambda: "" if _program("smtp-sink") else "smtp-sink is not installed",
    ),
}
"""By name; ours first, as the ratios are ours to theirs."""
