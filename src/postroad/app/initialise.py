"""`postroad init`: everything a server needs before its first start, and nothing written over."""

from __future__ import annotations

import os
from pathlib import Path

from postroad.app.certificate import ensure_certificate
from postroad.app.configuration import Configuration, load
from postroad.app.console import perform_here
from postroad.app.errors import CannotServe
from postroad.app.folder import prepare
from postroad.app.passwords import readable_password
from postroad.app.template import commented
from postroad.app.values import parse_domain
from postroad.services.operations.performer import OperationFailed

FILE = "postroad.toml"


def initialise(folder: Path, domain: str, hostname: str = "", password: str = "") -> list[str]:
    """Make the configuration, the data folder, a certificate and the account postmaster@domain.

    Returns the lines to print. Raises OperationFailed: it is there already, a name is none, no rights."""
    try:
        domain = parse_domain(domain)
        hostname = parse_domain(hostname or f"mx.{domain}")
    except ValueError as error:
        raise OperationFailed(str(error), 2) from None
    folder = folder.absolute()
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_configuration(path, commented(hostname, "data"))
    except OSError as error:
        raise OperationFailed(f"{error.filename or folder}: {error.strerror}", 73) from None
    try:
        configuration = load(path)
        make_data(configuration)
        address = f"postmaster@{domain}"
        chosen = password or readable_password()
        perform_here(
            configuration,
            ("domain.add", {"domain": domain}),
            ("account.add", {"address": address, "password": chosen}),
        )
    except BaseException:
        path.unlink(missing_ok=True)  # the next try finds its way free
        raise
    shown = f" with the password {chosen}" if not password else ""
    return [
        f"{path}: the configuration; every key is explained there",
        f"{configuration.data_folder}: queue, mailboxes and accounts",
        f"{configuration.certificate_file}: a certificate signed by itself; name a real one under [tls]",
        f"{address}: the first account{shown}",
        *_next_steps(path, domain, hostname),
    ]


def _next_steps(path: Path, domain: str, hostname: str) -> list[str]:
    steps = []
    if os.geteuid() == 0:
        steps.append("a user to serve as (adduser --system --group postroad), named as `user` under [processes]")
    steps += [
        f"in DNS: {domain}. MX 10 {hostname}.   and an address for {hostname}.",
        f"postroad --config {path} check",
        f"postroad --config {path} serve",
    ]
    return ["", "What comes next:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1))]


def write_configuration(path: Path, text: str) -> None:
    """A new file, readable by all users of the machine: `postroad sendmail` reads it, and it holds no secret.

    Raises OperationFailed where there is one already, OSError."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise OperationFailed(
            f"{path} is there already and stays as it is; choose another folder, or move it away"
        ) from None
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), 0o644)
        stream.write(text)


def make_data(configuration: Configuration) -> None:
    """The data folder, and a certificate where none is named. Raises OperationFailed."""
    try:
        prepare(configuration.data_folder)
        ensure_certificate(configuration)
    except CannotServe as error:
        raise OperationFailed(str(error), error.exit_status) from None
