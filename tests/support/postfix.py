"""A private Postfix: its own configuration, queue and log in a folder, on an address of the loopback network."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import pause, wait_for_port

_MASTER = """\
{listen} inet n - n - {processes} smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       {processes}       smtp
relay     unix  -       -       n       -       {processes}       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""


class Postfix:
    """One instance. `mailboxes` under `folder` receive mail for `domains` (virtual delivery, Maildir form)."""

    def __init__(
        self,
        folder: Path,
        *,
        address: str,
        port: int,
        hostname: str,
        domains: tuple[str, ...] = (),
        users: tuple[str, ...] = (),
        settings: dict[str, str] | None = None,
        processes: int = 100,
        nameserver: str = "",
    ) -> None:
        """`nameserver` is an address whose port 53 it asks instead of the machine's servers; that needs root."""
        self.folder = folder
        self._resolv_conf: Path | None = None
        self.address = address
        self.port = port
        self._config = folder / "etc"
        self._config.mkdir(parents=True)
        if nameserver:
            self._resolv_conf = self._config / "resolv.conf"
            self._resolv_conf.write_text(f"nameserver {nameserver}\n")
        spool, state = folder / "spool", folder / "state"
        for made in (spool, state, folder / "mail"):
            made.mkdir()
        shutil.chown(state, "postfix")
        shutil.chown(folder / "mail", 65534, 65534)
        domain = domains[0] if domains else ""
        mailboxes = folder / "etc" / "mailboxes"
        mailboxes.write_text("".join(f"{user}@{domain} {user}/\n" for user in users))
        main = {
            "compatibility_level": "3.6",
            "queue_directory": str(spool),
            "data_directory": str(state),
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "meta_directory": "/etc/postfix",
            "shlib_directory": "/usr/lib/postfix",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "default_database_type": "texthash",
            "alias_maps": "",
            "alias_database": "",
            # Only addresses of an interface may stand here; master.cf names the one it listens on.
            "inet_interfaces": "127.0.0.1",
            "smtp_bind_address": address,
            "inet_protocols": "ipv4",
            "myhostname": hostname,
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "virtual_mailbox_domains": ", ".join(domains),
            "virtual_mailbox_maps": f"texthash:{mailboxes}",
            "virtual_mailbox_base": str(folder / "mail"),
            "virtual_uid_maps": "static:65534",
            "virtual_gid_maps": "static:65534",
            "virtual_mailbox_limit": "0",
            "mailbox_size_limit": "0",
            "message_size_limit": "52428800",
            "maillog_file": str(folder / "log"),
            "maillog_file_prefixes": f"{folder.parts[0]}{folder.parts[1]}",
            "smtpd_peername_lookup": "no",
            "smtputf8_enable": "yes",
            "append_dot_mydomain": "no",
            "smtpd_client_connection_count_limit": "0",
            "in_flow_delay": "0",
            **(settings or {}),
        }
        (self._config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in main.items()))
        (self._config / "master.cf").write_text(_MASTER.format(listen=f"{address}:{port}", processes=processes))

    def start(self) -> None:
        self._run("start")
        wait_for_port(self.address, self.port)

    def stop(self) -> None:
        """End it and whatever it started."""
        self._run("abort", check=False)

    def flush(self) -> None:
        subprocess.run(["postqueue", "-c", str(self._config), "-f"], check=True, env=_environment())

    def queued(self) -> int:
        """Messages in all its queues. It moves them in this order, under the same name: one that moves while we look
        is met twice and counted once."""
        queues = ("maildrop", "incoming", "active", "deferred", "hold")
        names: set[str] = set()
        for queue in queues:
            for _, _, files in os.walk(self.folder / "spool" / queue):
                names.update(files)
        return len(names)

    def messages(self, user: str) -> list[bytes]:
        """What its local user has, with CR LF line ends again."""
        new = self.folder / "mail" / user / "new"
        if not new.is_dir():
            return []
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(new.iterdir())]

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def master_pid(self) -> int:
        return int((self.folder / "spool" / "pid" / "master.pid").read_text())

    def _run(self, order: str, *, check: bool = True) -> None:
        command = ["postfix", "-c", str(self._config), order]
        if self._resolv_conf is not None:
            # The resolver library reads one fixed file; in a mount namespace of its own it reads ours.
            mount = f"mount --bind {self._resolv_conf} /etc/resolv.conf"
            command = ["unshare", "--mount", "sh", "-c", f"{mount} && exec {shlex.join(command)}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
        if check and done.returncode:
            raise RuntimeError(f"postfix {order}: {done.stdout}{done.stderr}{self.log()}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}


@contextlib.contextmanager
def running_postfix(**how: object) -> Iterator[Postfix]:
    """A Postfix that serves within the block; arguments as for Postfix without the folder. Its folder may be
    read by its own users, which a test's folder may not."""
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))
    folder.chmod(0o755)
    server = Postfix(folder / "instance", **how)  # type: ignore[arg-type]
    try:
        server.start()
        yield server
    finally:
        server.stop()
        while _alive(server):
            pause()
        shutil.rmtree(folder, ignore_errors=True)


def _alive(server: Postfix) -> bool:
    try:
        os.kill(server.master_pid(), 0)
    except (OSError, ValueError):
        return False
    return True
