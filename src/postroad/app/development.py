"""`postroad serve --development DIR`: a server to try things with, made at first use.

It listens on unprivileged ports of 127.0.0.1, believes every client (no DNS is asked), serves the domain
example.test with the accounts alice and bob, and prints three commands that show a message on its way.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from postroad.app.configuration import Configuration, load
from postroad.app.console import perform_here
from postroad.app.initialise import FILE, make_data, write_configuration
from postroad.app.passwords import readable_password
from postroad.services.operations.performer import OperationFailed

DOMAIN = "example.test"
PEOPLE = ("alice", "bob")
ACCOUNTS = "accounts.txt"

_CONFIGURATION = """\
# A development server: it listens on this machine alone and asks no DNS about its clients. Change what you like;
# `postroad config show --defaults` lists all there is. Without this file a new one is made.
hostname = "mx.example.test"
data = "data"
{user}
[listen]
smtp = ["127.0.0.1:2525"]
submission = ["127.0.0.1:2587"]
submissions = ["127.0.0.1:2465"]
pop3 = ["127.0.0.1:2110"]
pop3s = ["127.0.0.1:2995"]

[limits]
exempt = ["127.0.0.0/8", "::1/128"]
sessions = 1000

[policy]
reverse_dns = "off"
helo = "off"
sender_domain = "off"
own_sender = "off"
"""
_AS_ROOT = """
# Made by root. A server that strangers can reach must not serve as root.
[processes]
user = "root"
"""


def make_development(folder: Path) -> tuple[Path, dict[str, str]]:
    """The configuration in the folder and the passwords by address, made where they are missing.

    Raises OperationFailed, ConfigurationError for a file that somebody has spoiled."""
    folder = folder.absolute()
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_configuration(path, _CONFIGURATION.format(user=_AS_ROOT if os.geteuid() == 0 else ""))
        configuration = load(path)
        make_data(configuration)
        accounts = folder / ACCOUNTS
        passwords = _read(accounts)
        if not passwords:
            passwords = _make_accounts(configuration)
            _write(accounts, passwords)
    except OSError as error:
        raise OperationFailed(f"{error.filename or folder}: {error.strerror}", 73) from None
    return path, passwords


def _make_accounts(configuration: Configuration) -> dict[str, str]:
    """alice and bob. Where they are there from before, but their passwords are lost, they get new ones."""
    passwords = {f"{name}@{DOMAIN}": readable_password() for name in PEOPLE}
    domains, accounts = perform_here(configuration, ("domain.list", {}), ("account.list", {}))
    requests = [] if any(DOMAIN in row.values() for row in domains) else [("domain.add", {"domain": DOMAIN})]
    there = {value for row in accounts for value in row.values() if isinstance(value, str)}
    for address, password in passwords.items():
        verb = "account.passwd" if address in there else "account.add"
        requests.append((verb, {"address": address, "password": password}))
    perform_here(configuration, *requests)
    return passwords


def _read(accounts: Path) -> dict[str, str]:
    if not accounts.exists():
        return {}
    pairs = (line.split() for line in accounts.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _write(accounts: Path, passwords: dict[str, str]) -> None:
    handle = os.open(accounts, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write("# The accounts of the development server, with their passwords.\n")
        stream.writelines(f"{address} {password}\n" for address, password in passwords.items())


def welcome(path: Path, passwords: dict[str, str]) -> list[str]:
    """What is printed when the server listens: who is here, and three lines to try."""
    configuration = load(path)
    lines = ["", f"Accounts of {DOMAIN} (kept in {path.parent / ACCOUNTS}):"]
    lines += [f"  {address}   {password}" for address, password in passwords.items()]
    listen = configuration.listen
    sender, recipient = (f"{name}@{DOMAIN}" for name in PEOPLE)
    if not (listen.submissions and listen.pop3s and sender in passwords and recipient in passwords):
        return lines
    authority = f"--cacert {shlex.quote(_near(configuration.certificate_file))}"
    letter = f"From: {sender}\\r\\nTo: {recipient}\\r\\nSubject: Hello\\r\\n\\r\\nHow are you?\\r\\n"
    program = _near(Path(sys.argv[0])) if Path(sys.argv[0]).is_file() else "postroad"
    return [
        *lines,
        "",
        "Three lines to try: send a message, fetch it, follow its story.",
        f"  printf '{letter}' | curl -sS {authority} --user {sender}:{passwords[sender]} --mail-from {sender} "
        f"--mail-rcpt {recipient} --upload-file - smtps://{listen.submissions[0]}",
        f"  curl -sS {authority} --user {recipient}:{passwords[recipient]} pop3s://{listen.pop3s[0]}/1",
        f"  {shlex.quote(program)} --config {shlex.quote(_near(path))} trace {recipient}",
        "",
        "Ctrl-C stops the server.",
    ]


def _near(path: Path) -> str:
    """As seen from here, where that is shorter."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
