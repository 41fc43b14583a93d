"""A private exim: its own configuration, spool and log in a folder, on an address of the loopback network.

It is the exim that `.ci/peers` unpacks; so `exim_path` has to say where it is when it starts itself anew.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import pause, wait_for_port

_USER = "Debian-exim"
_CONFIGURATION = """\
exim_path = {program}
exim_user = {user}
exim_group = {user}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/pid
primary_hostname = {hostname}
keep_environment =
domainlist local_domains = {domains}
domainlist relay_domains = *
daemon_smtp_ports = {port}
local_interfaces = {address}
acl_smtp_rcpt = acl_check_rcpt
smtp_accept_max = 50
host_lookup =
rfc1413_query_timeout = 0s
pipelining_advertise_hosts = {offers}
smtputf8_advertise_hosts = {offers}
chunking_advertise_hosts = {offers}
dsn_advertise_hosts = {offers}
tls_advertise_hosts = {tls_hosts}
{tls}
never_users =
# Started anew with a configuration that is not its own, exim has no right to change users.
deliver_drop_privilege
bounce_return_size_limit = 100K
untrusted_set_sender = *
message_size_limit = 50M

begin acl
acl_check_rcpt:
  accept
    verify = recipient
  deny
    message = no such user here

begin routers
here:
  driver = accept
  domains = +local_domains
  local_parts = {users}
  transport = mailbox
nobody:
  driver = redirect
  domains = +local_domains
  allow_fail
  data = :fail: no such user here
elsewhere:
  driver = manualroute
  domains = !+local_domains
  route_list = {route}
  self = send
  transport = onward

begin transports
mailbox:
  driver = appendfile
  directory = {folder}/mail/$local_part_data
  maildir_format
  user = {user}
  group = {user}
  delivery_date_add = false
  envelope_to_add = false
  return_path_add = false
onward:
  driver = smtp
  interface = {address}
  allow_localhost
  tls_verify_certificates =
  tls_verify_hosts =
  tls_try_verify_hosts =
{transport}

begin retry
* * F,1h,1s
"""


class Exim:
    """One instance. `mailboxes` under `folder` receive mail for `domains`; all else goes to `next_hop`."""

    def __init__(
        self,
        folder: Path,
        program: Path,
        *,
        address: str,
        port: int,
        hostname: str,
        next_hop: tuple[str, int],
        domains: tuple[str, ...] = (),
        users: tuple[str, ...] = (),
        certificate: tuple[Path, Path] | None = None,
        transport: dict[str, str] | None = None,
        offers: bool = True,
    ) -> None:
        """`transport` are options of its smtp transport; `certificate` and key are its own, to offer STARTTLS;
        `offers`: whether it announces PIPELINING, CHUNKING, SMTPUTF8 and DSN."""
        self.folder = folder
        self.address = address
        self.port = port
        self._program = program
        self._daemon: subprocess.Popen[bytes] | None = None
        for made in (folder, folder / "spool", folder / "mail"):
            made.mkdir(parents=True, exist_ok=True)
        shutil.chown(folder, _USER, _USER)
        shutil.chown(folder / "spool", _USER, _USER)
        shutil.chown(folder / "mail", _USER, _USER)
        self._configuration = folder / "exim.conf"
        host, host_port = next_hop
        self._configuration.write_text(
            _CONFIGURATION.format(
                program=program,
                user=_USER,
                folder=folder,
                hostname=hostname,
                domains=" : ".join(domains),
                users=" : ".join(users),
                address=address,
                port=port,
                offers="*" if offers else "",
                tls_hosts="*" if certificate else "",
                tls=self._own_certificate(certificate),
                route=f"* {host}::{host_port} byname",
                transport="".join(f"  {key} = {value}\n" for key, value in (transport or {}).items()),
            )
        )

    def _own_certificate(self, certificate: tuple[Path, Path] | None) -> str:
        """Copies that its user can read."""
        if certificate is None:
            return ""
        copies = [self.folder / "certificate.pem", self.folder / "key.pem"]
        for source, copy in zip(certificate, copies, strict=True):
            copy.write_bytes(source.read_bytes())
            shutil.chown(copy, _USER, _USER)
            copy.chmod(0o640)
        return f"tls_certificate = {copies[0]}\ntls_privatekey = {copies[1]}"

    def start(self) -> None:
        with (self.folder / "output").open("wb") as output:
            # Its queue is looked at each second; what comes in is delivered at once.
            self._daemon = subprocess.Popen([*self._command, "-bdf", "-q1s", "-odb"], stdout=output, stderr=output)
        try:
            wait_for_port(self.address, self.port)
        except TimeoutError:
            self.stop()
            raise AssertionError(self.log()) from None

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(10)
            self._daemon = None

    @property
    def _command(self) -> list[str]:
        return [str(self._program), "-C", str(self._configuration)]

    def queued(self) -> int:
        """Messages in its queue."""
        done = subprocess.run([*self._command, "-bpc"], capture_output=True, check=True, text=True)
        return int(done.stdout)

    def wait_until_empty(self) -> None:
        for _ in range(300):
            if not self.queued():
                return
            pause(0.1)
        raise AssertionError(self.log()[-4000:])

    def handed_over_by_bdat(self) -> int:
        """Messages of which its log says so."""
        return sum(" => " in line and " K " in line for line in self.log().splitlines())

    def messages(self, user: str) -> list[bytes]:
        """What its local user has, with CR LF line ends again."""
        new = self.folder / "mail" / user / "new"
        if not new.is_dir():
            return []
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(new.iterdir())]

    def log(self) -> str:
        found = [*sorted(self.folder.glob("*log")), self.folder / "output"]
        return "".join(path.read_text(errors="replace") for path in found if path.exists())


@contextlib.contextmanager
def running_exim(program: Path, **how: object) -> Iterator[Exim]:
    """An exim that serves within the block; arguments as for Exim without the folder. Its folder may be read by its
    own users, which a test's folder may not."""
    folder = Path(tempfile.mkdtemp(prefix="exim-"))
    folder.chmod(0o755)
    server = Exim(folder / "instance", program, **how)  # type: ignore[arg-type]
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
