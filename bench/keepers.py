"""Those who keep mailboxes: ours, and Debian's Dovecot, each with LMTP and POP3 on loopback and the same people."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.processes import raise_descriptors
from postroad.contracts.directory import Account
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.vocabulary.address import Mailbox
from postroad.world.passwords import Argon2Passwords
from tests.support.ports import free_port, wait_for_port
from tests.support.server import PASSWORD, Server

DOMAIN = "bench.example"
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin:/sbin"])
_SESSIONS = 2000
"""Of POP3 at once, the most that Dovecot is told to take."""


def user(number: int) -> str:
    return f"user{number}"


class Keeper(Protocol):
    pid: int
    """Of the process that all others of it descend from."""

    lmtp: int
    pop3: int
    folder: Path
    """In which all mail lies."""

    def pending(self) -> int:
        """Messages that were accepted and are in no mailbox yet."""
        ...


@dataclass
class _Keeper:
    pid: int
    lmtp: int
    pop3: int
    folder: Path
    pending: Callable[[], int]


Prepare = Callable[[Path], None]
"""Something that is done with the data folder before the server starts."""


@contextlib.contextmanager
def postroad(people: int, prepare: Prepare = lambda data: None) -> Iterator[Keeper]:
    """All as it is by default, but the rules about clients."""
    raise_descriptors()
    lmtp = free_port()
    with tempfile.TemporaryDirectory(prefix="postroad-bench-") as name:
        server = Server(Path(name), hostname=DOMAIN, domain=DOMAIN, users=())
        text = server.configuration.read_text()
        server.configuration.write_text(text.replace("[listen]\n", f'[listen]\nlmtp = ["127.0.0.1:{lmtp}"]\n'))
        data = server.folder / "data"
        asyncio.run(_settle(data, people))
        prepare(data)
        server.start()
        try:
            yield _Keeper(server.pid, lmtp, server.ports["pop3"], data, lambda: server.queued() or 0)
        finally:
            server.stop()


async def _settle(data: Path, people: int) -> None:
    """All have the same password, hashed once: a thousand hashes take a minute."""
    passwords = Argon2Passwords()
    directory = SqliteDirectory(data / "directory.db")
    try:
        hashed = await passwords.hash(PASSWORD)
        for number in range(people):
            await directory.add_account(Account(id=0, address=Mailbox(user(number), DOMAIN), password=hashed))
    finally:
        await directory.close()
        await passwords.close()


# ---- Dovecot ---------------------------------------------------------------------------------------

_CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = lmtp pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%n
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
first_valid_gid = 1
auth_cache_size = 10M
auth_username_format = %Lu
mail_max_userip_connections = {sessions}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/users
}}
userdb {{
  driver = static
  args = home={folder}/home/%n
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
  process_limit = 100
  process_min_avail = 2
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
  # what its documentation calls the high-performance mode
  service_count = 0
  process_min_avail = 2
  client_limit = {sessions}
  process_limit = 2
}}
service pop3 {{
  process_limit = {sessions}
  service_count = 1000
}}
service auth {{
  client_limit = {clients}
}}
service anvil {{
  client_limit = {clients}
}}
service stats {{
  client_limit = {clients}
}}
"""


@contextlib.contextmanager
def dovecot(people: int) -> Iterator[Keeper]:
    """Debian's, with a Maildir for each of them, whose owner is `mail`."""
    raise_descriptors()
    owner = pwd.getpwnam("mail")
    ports = {"lmtp": free_port(), "pop3": free_port()}
    with tempfile.TemporaryDirectory(prefix="dovecot-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("mail", "home"):
            (folder / part).mkdir()
            os.chown(folder / part, owner.pw_uid, owner.pw_gid)
        (folder / "users").write_text("".join(f"{user(n)}@{DOMAIN}:{{PLAIN}}{PASSWORD}\n" for n in range(people)))
        configuration = folder / "dovecot.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder, user="mail", group=owner.pw_gid, sessions=_SESSIONS, clients=4 * _SESSIONS, **ports
            )
        )
        program = shutil.which("dovecot", path=_PLACES)
        assert program is not None
        process = subprocess.Popen([program, "-F", "-c", str(configuration)])
        try:
            for port in ports.values():
                wait_for_port("127.0.0.1", port)
            # Its 250 comes when the message is in the mailbox.
            yield _Keeper(process.pid, ports["lmtp"], ports["pop3"], folder / "mail", lambda: 0)
        finally:
            process.terminate()
            process.wait(20)


def no_dovecot() -> str:
    """Why it cannot take part here; empty if it can."""
    if shutil.which("dovecot", path=_PLACES) is None:
        return "dovecot is not installed"
    missing = [name for name in ("lmtp", "pop3") if not Path("/usr/lib/dovecot", name).exists()]
    if missing:
        return f"dovecot has no {' and no '.join(missing)} here"
    return "" if os.geteuid() == 0 else "dovecot needs root to start"


# ---- who takes part --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    start: Callable[[int], AbstractContextManager[Keeper]]
    configuration: str
    missing: Callable[[], str] = str


ENTRIES = {
    "postroad": Entry(
        postroad,
        "ledger on, full sync; a message counts when it is in the mailbox and settled in the queue, which its 250 "
        "comes before; passwords argon2id, a success is remembered",
    ),
    "dovecot": Entry(
        dovecot,
        "Debian's, Maildir, mail_fsync as it is (LMTP syncs); passwords in clear, auth_cache_size=10M; pop3-login with "
        "service_count=0, pop3 processes used a thousand times; no TLS",
        no_dovecot,
    ),
}
"""By name; ours first, as the ratios are ours to theirs."""


def taking_part() -> list[str]:
    """Ours, and those that are here; of the others it is said why they are not."""
    names = list(ENTRIES)
    for name in list(names):
        if why := ENTRIES[name].missing():
            print(f"{name} is left out: {why}")
            names.remove(name)
    return names
