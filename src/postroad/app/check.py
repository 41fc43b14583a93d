"""`postroad check`: does what the configuration says hold on this machine? Each finding comes with its cure.

Nothing is changed, and what cannot be looked at without rights is said to be so.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from postroad.app.check_program import places, trouble_for
from postroad.app.configuration import Configuration
from postroad.app.folder import server_pid
from postroad.app.identity import ROOT
from postroad.contracts.directory import Account, DomainKind
from postroad.contracts.errors import DnsTemporary, StoreUnavailable
from postroad.services.operations.performer import PlainObject
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.mailbox_aside import REPLACE
from postroad.storage.sqlite.mailbox_shard import set_aside_in
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import ACCOUNTS_NAMED, DISK_RESERVE_BYTES, MAILBOX_SHARDS, UNIX_PATH_BYTES
from postroad.vocabulary.settings import HoldDomain
from postroad.world.binding import CannotListen, bind_listener
from postroad.world.dns import DnsResolver
from postroad.world.tls import BadCertificate, server_context

EXPIRES_SOON = timedelta(days=14)
DNS_LOOK_S = 3.0


@dataclass(frozen=True)
class Finding:
    """`what` was looked at, whether it is `ok`, what was found, and what to do where it is not."""

    what: str
    ok: bool
    finding: str
    cure: str = ""


def check(configuration: Configuration) -> list[Finding]:
    """Everything, in the order in which it should be put right."""
    return [
        Finding("configuration", True, f"{configuration.path} can be read, and every value is possible"),
        *_hostname(configuration),
        *_user(configuration),
        *_data(configuration),
        *_certificate(configuration),
        *_ports(configuration),
        *_sockets(configuration),
        *_dns(configuration),
        *_holds(configuration),
        *_mailboxes(configuration),
    ]


def plain(findings: list[Finding]) -> list[PlainObject]:
    return [{"what": each.what, "ok": each.ok, "finding": each.finding, "cure": each.cure} for each in findings]


def _hostname(configuration: Configuration) -> Iterator[Finding]:
    name = configuration.hostname
    if "." not in name or name.endswith((".localhost", ".local", ".localdomain")):
        # RFC 5321 section 2.3.5: only names that others can resolve.
        cure = 'set hostname to a name that DNS knows, such as "mx.example.org"'
        yield Finding("hostname", False, f"{name} means nothing to other servers", cure)
    else:
        yield Finding("hostname", True, name)


def _user(configuration: Configuration) -> Iterator[Finding]:
    user = configuration.processes.user
    if not user:
        return
    if user == ROOT:
        cure = "make a user without rights (adduser --system --group postroad) and name it"
        yield Finding("processes.user", False, "root serves: whoever breaks in has the whole machine", cure)
        return
    try:
        pwd.getpwnam(user)
    except KeyError:
        yield Finding("processes.user", False, f'there is no user "{user}"', f"adduser --system --group {user}")
        return
    trouble = trouble_for(user) if os.geteuid() == 0 else ""
    if trouble:
        cure = f"let {user} read {places()} and enter every folder above, or install Postroad where it can (/opt)"
        yield Finding("processes.user", False, f"{user} cannot run this program: {trouble}", cure)
    else:
        yield Finding("processes.user", True, user)


# ---- files -------------------------------------------------------------------------------------------


def _data(configuration: Configuration) -> Iterator[Finding]:
    data = configuration.data_folder
    if not data.is_dir():
        yield Finding("data", False, f"{data} is not there", "postroad init, or postroad domain add, makes it")
        return
    facts = data.stat()
    if not os.access(data, os.W_OK | os.X_OK):
        owner = _name_of(facts.st_uid)
        yield Finding("data", False, f"{data} belongs to {owner} and cannot be written by us", f"run this as {owner}")
    else:
        yield Finding("data", True, f"{data} can be written")
    if facts.st_mode & 0o066:
        cure = f"chmod 711 {data}"
        yield Finding("data modes", False, f"{data} can be read or written by others ({facts.st_mode & 0o777:o})", cure)
    open_to_others = [path for path in _private(data) if path.lstat().st_mode & 0o077]
    for path in open_to_others:
        yield Finding("data modes", False, f"{path} is open to others", f"chmod go= {path}")
    yield _disk(data)
    longest = os.fsencode(configuration.control_socket)
    if len(longest) > UNIX_PATH_BYTES:
        finding = f"{configuration.control_socket} is longer than {UNIX_PATH_BYTES} octets"
        yield Finding("sockets", False, finding, "choose a data folder with a shorter path")


def _private(data: Path) -> Iterator[Path]:
    """What nobody else may see: everything in the data folder but run/."""
    try:
        yield from (path for path in sorted(data.iterdir()) if path.name != "run" and not path.is_symlink())
    except PermissionError:
        return


def _disk(data: Path) -> Finding:
    free = shutil.disk_usage(data).free
    words = f"{free // 1_048_576} MiB free in {data}"
    if free < DISK_RESERVE_BYTES:
        return Finding(
            "disk", False, f"{words}: no mail is taken in", f"free {DISK_RESERVE_BYTES // 1_048_576} MiB or more"
        )
    return Finding("disk", True, words)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


# ---- the certificate -----------------------------------------------------------------------------------


def _certificate(configuration: Configuration) -> Iterator[Finding]:
    certificate, key = configuration.certificate_file, configuration.key_file
    cure = "name both files under [tls], or take both lines out and move keys/ away: init makes new ones"
    try:
        server_context(certificate, key)
    except BadCertificate as error:
        yield Finding("certificate", False, str(error), cure)
        return
    except (OSError, ssl.SSLError) as error:
        yield Finding("certificate", False, f"{certificate} and {key} do not fit: {error}", cure)
        return
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & 0o007:
        yield Finding("key", False, f"{key} can be read by everybody ({mode:o})", f"chmod 600 {key}")
    yield from _certificate_says(configuration, certificate.read_bytes())


def _certificate_says(configuration: Configuration, pem: bytes) -> Iterator[Finding]:
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(pem)
    now = datetime.now(UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end <= now or begin > now:
        finding = f"not valid now: it is from {begin:%Y-%m-%d} to {end:%Y-%m-%d}"
        yield Finding("certificate", False, finding, "get a new one")
    elif end - now < EXPIRES_SOON:
        cure = "renew it; the new file is used as soon as it is there"
        yield Finding("certificate", False, f"it ends on {end:%Y-%m-%d}", cure)
    else:
        yield Finding("certificate", True, f"valid until {end:%Y-%m-%d}")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns_names = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        dns_names = []
    if not any(_fits(name.lower(), configuration.hostname) for name in dns_names):
        finding = f"it is for {', '.join(dns_names) or 'no name'} and not for {configuration.hostname}"
        yield Finding("certificate name", False, finding, "get one for the hostname; mail clients refuse this one")
    if certificate.issuer == certificate.subject:
        yield Finding("certificate issuer", True, "signed by itself: other servers do not mind, mail clients will ask")


def _fits(pattern: str, hostname: str) -> bool:
    """RFC 6125 section 6.4.3: a wildcard stands for the whole first label."""
    if pattern.startswith("*."):
        return hostname.partition(".")[2] == pattern[2:]
    return pattern == hostname


# ---- the network ---------------------------------------------------------------------------------------


def _ports(configuration: Configuration) -> Iterator[Finding]:
    try:
        ours = server_pid(configuration.data_folder)
    except PermissionError:
        ours = 0
    for role, endpoint in configuration.listeners():
        what = f"listen.{role}"
        if ours is not None:
            yield Finding(what, *_answers(endpoint))
            continue
        try:
            for sock in bind_listener(str(endpoint)):
                sock.close()
        except CannotListen as error:
            yield Finding(what, False, str(error), "stop the other program, or choose another port")
        else:
            yield Finding(what, True, f"{endpoint} is free")


def _sockets(configuration: Configuration) -> Iterator[Finding]:
    for role, path in configuration.local_listeners():
        what = f"listen.{role}"
        if path.parent.is_dir():
            yield Finding(what, True, f"{path} is in a folder that is there")
        else:
            yield Finding(what, False, f"{path.parent} is not there", f"mkdir {path.parent}")


def _answers(endpoint: Endpoint) -> tuple[bool, str, str]:
    """Whether the running server has the port."""
    where = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(endpoint.address, endpoint.address)
    try:
        with socket.create_connection((where, endpoint.port), timeout=DNS_LOOK_S):
            return True, f"{endpoint} is served", ""
    except OSError as error:
        return (
            False,
            f"the server runs, and {endpoint} does not answer: {error}",
            "restart it: the listeners have changed",
        )


def _dns(configuration: Configuration) -> Iterator[Finding]:
    async def ask() -> tuple[str, ...]:
        async with asyncio.timeout(DNS_LOOK_S):
            resolver = DnsResolver(tuple(str(server) for server in configuration.dns.servers))
            return await resolver.addresses(configuration.hostname)

    try:
        addresses = asyncio.run(ask())
    except (DnsTemporary, TimeoutError) as error:
        cure = "name servers that answer under [dns] servers, or see to /etc/resolv.conf"
        words = str(error) or f"none within {DNS_LOOK_S:g} s"
        yield Finding("dns", False, f"no answer: {words}", cure)
        return
    if addresses:
        yield Finding("dns", True, f"it answers, and {configuration.hostname} has the address {addresses[0]}")
    else:
        finding = f"it answers, and knows no address of {configuration.hostname}"
        yield Finding("dns", False, finding, f"add an address for {configuration.hostname} in DNS")


# ---- mail that waits ---------------------------------------------------------------------------------


def _holds(configuration: Configuration) -> Iterator[Finding]:
    """Whether the owner of each hold is somebody, and its domain nobody else's."""
    path = configuration.data_folder / "directory.db"
    if not configuration.hold or not os.access(path, os.R_OK | os.W_OK):
        return  # without a directory there is more to be done first, and it was said above
    try:
        findings = asyncio.run(_judge_holds(configuration, path))
    except StoreUnavailable as error:
        yield Finding("hold", False, str(error), "see what is wrong with the file")
    else:
        yield from findings


async def _judge_holds(configuration: Configuration, path: Path) -> list[Finding]:
    directory = SqliteDirectory(path)
    try:
        return [_judge_hold(directory, hold) for hold in configuration.hold_settings()]
    finally:
        await directory.close()


def _judge_hold(directory: SqliteDirectory, hold: HoldDomain) -> Finding:
    what = f"hold {hold.domain}"
    known = directory.domain(hold.domain)
    if known is not None and known.kind is DomainKind.LOCAL:
        cure = f"postroad domain remove {hold.domain}, or take the [[hold]] out"
        return Finding(what, False, "is a local domain: its mail goes into mailboxes here, and nothing waits", cure)
    local_part, _, domain = hold.owner.rpartition("@")
    account = directory.account(Mailbox(local_part, domain))
    if account is None or account.address.key() != hold.owner:
        return Finding(what, False, f"there is no account {hold.owner}", f"postroad account add {hold.owner}")
    if account.disabled:
        return Finding(what, False, f"{hold.owner} is disabled", f"postroad account disable --undo {hold.owner}")
    return Finding(what, True, f"is fetched by {hold.owner}")


# ---- mailboxes ---------------------------------------------------------------------------------------


def _mailboxes(configuration: Configuration) -> Iterator[Finding]:
    """Files that are set aside, with the accounts that wait for them. Damage that nobody has met yet is found by
    `check --deep`."""
    data = configuration.data_folder
    if not os.access(data / "mail", os.R_OK | os.X_OK):
        return
    for number, reason in set_aside_in(data / "mail").items():
        yield Finding("mailboxes", False, f"{reason} {_waiting_for(data / 'directory.db', number)}", REPLACE)


def _waiting_for(path: Path, number: int) -> str:
    async def accounts() -> tuple[Account, ...]:
        directory = SqliteDirectory(path)
        try:
            return directory.accounts()
        finally:
            await directory.close()

    try:
        theirs = [str(each.address) for each in asyncio.run(accounts()) if each.id % MAILBOX_SHARDS == number]
    except StoreUnavailable as error:
        return f"Whose mail is in it cannot be told: {error}"
    more = f" and {len(theirs) - ACCOUNTS_NAMED} more" if len(theirs) > ACCOUNTS_NAMED else ""
    return f"Set aside with it: {', '.join(theirs[:ACCOUNTS_NAMED]) or 'no account'}{more}."
