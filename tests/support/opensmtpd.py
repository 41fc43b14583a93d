"""A private OpenSMTPD: its own configuration, spool and mailboxes in a folder, on an address of the loopback network.

Its paths are fixed when it is built, so it runs in a mount namespace of its own in which they are ours. It is the
program that `.ci/peers` unpacks. It knows neither PIPELINING nor CHUNKING nor SMTPUTF8.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import pause, wait_for_port

_OWNER = "nobody"
_CONFIGURATION = """\
{pki}
listen on {address} port {port} hostname {hostname} {offers}
action "keep" maildir "{folder}/mail/%{{rcpt.user}}" user {owner} virtual {{ {users} }}
action "onward" relay helo {hostname} src {address} host "smtp://{next_address}:{next_port}"
match from any for domain "{domain}" action "keep"
match from any for any action "onward"
"""


class OpenSmtpd:
    """One instance. Its `users` have mailboxes under `folder`; all else goes to `next_hop`."""

    def __init__(
        self,
        folder: Path,
        program: Path,
        *,
        address: str,
        port: int,
        hostname: str,
        next_hop: tuple[str, int],
        domain: str,
        users: tuple[str, ...] = (),
        certificate: tuple[Path, Path] | None = None,
        dsn: bool = True,
    ) -> None:
        """`certificate` and key are its own, to offer STARTTLS."""
        self.folder = folder
        self.address = address
        self.port = port
        self._program = program
        self._daemon: subprocess.Popen[bytes] | None = None
        for made in ("spool/smtpd", "lib/opensmtpd/empty", "run", "mail"):
            (folder / made).mkdir(parents=True)
        (folder / "spool" / "smtpd").chmod(0o711)
        shutil.chown(folder / "mail", _OWNER)
        next_address, next_port = next_hop
        (folder / "smtpd.conf").write_text(
            _CONFIGURATION.format(
                pki=self._own_certificate(certificate, hostname),
                address=address,
                port=port,
                hostname=hostname,
                offers=" ".join([f"tls pki {hostname}" if certificate else "", "" if dsn else "no-dsn"]),
                folder=folder,
                owner=_OWNER,
                users=", ".join(f'"{user}@{domain}" = {_OWNER}' for user in users),
                domain=domain,
                next_address=next_address,
                next_port=next_port,
            )
        )

    def _own_certificate(self, certificate: tuple[Path, Path] | None, hostname: str) -> str:
        """Copies that nobody else may read: of others it takes none."""
        if certificate is None:
            return ""
        copies = [self.folder / "certificate.pem", self.folder / "key.pem"]
        for source, copy in zip(certificate, copies, strict=True):
            copy.write_bytes(source.read_bytes())
            copy.chmod(0o600)
        return f'pki {hostname} cert "{copies[0]}"\npki {hostname} key "{copies[1]}"'

    def start(self) -> None:
        its_own = self._program.parent.parent / "libexec"
        places = {
            self.folder / "spool": "/var/spool",
            self.folder / "lib": "/var/lib",
            self.folder / "run": "/run",
            its_own: "/usr/libexec",
        }
        mounts = [f"mount --bind {shlex.quote(str(mine))} {place}" for mine, place in places.items()]
        serve = f"exec {shlex.quote(str(self._program))} -d -f {shlex.quote(str(self.folder / 'smtpd.conf'))}"
        with (self.folder / "log").open("wb") as log:
            self._daemon = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, serve])],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for_port(self.address, self.port)
        except TimeoutError:
            self.stop()
            raise AssertionError(self.log()) from None

    def stop(self) -> None:
        """Its parent ends the others; what is left of its own session is ended after it."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._daemon.pid, signal.SIGTERM)
            self._daemon = None

    def queued(self) -> int:
        """Messages in its queue."""
        spool = self.folder / "spool" / "smtpd"
        return sum(len(files) for queue in ("queue", "incoming") for _, _, files in os.walk(spool / queue))

    def wait_until_empty(self) -> None:
        for _ in range(300):
            if not self.queued():
                return
            pause(0.1)
        raise AssertionError(self.log()[-4000:])

    def messages(self, user: str) -> list[bytes]:
        """What its local user has, with CR LF line ends again."""
        new = self.folder / "mail" / user / "new"
        if not new.is_dir():
            return []
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(new.iterdir())]

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


@contextlib.contextmanager
def running_opensmtpd(program: Path, **how: object) -> Iterator[OpenSmtpd]:
    """An OpenSMTPD that serves within the block; arguments as for OpenSmtpd without the folder. Its folder may be
    read by its own users, which a test's folder may not."""
    folder = Path(tempfile.mkdtemp(prefix="opensmtpd-"))
    folder.chmod(0o755)
    server = OpenSmtpd(folder / "instance", program, **how)  # type: ignore[arg-type]
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
