"""The mail programs of other people hand mail in: by TLS and every mechanism that they have, with addresses beyond
US-ASCII and with what they ask to be told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import smtplib
import subprocess
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from tests.conftest import PEER_PACKAGES, ROOT
from tests.support.doors import fetched
from tests.support.server import PASSWORD, Server, running_server
from tests.support.submitters import unverified

ANN, BOB, GRUEN = "ann@here.example", "bob@here.example", "gr\u00fcn@here.example"

pytestmark = [
    pytest.mark.peer("swaks", "openssl", "curl", "nmap", "msmtp", "mutt", "node", "nodemailer"),
    pytest.mark.xdist_group("clients"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("clients"), users=("ann", "bob", "gr\u00fcn")) as running:
        yield running


def run(*command: str, given: bytes = b"", environment: dict[str, str] | None = None) -> str:
    """What it printed. Raises AssertionError with all it said when it failed."""
    done = subprocess.run(
        command, input=given, capture_output=True, check=False, timeout=60, env={**os.environ, **(environment or {})}
    )
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{command[0]}: exit {done.returncode}: {said}"
    return said


# ---- the clients: each hands one letter in, with this subject ---------------------------------------

Send = Callable[[Server, Path, str, str], None]
"""The server, a folder of one's own, the subject, and the recipient."""


def content_of(subject: str, recipient: str) -> bytes:
    return f"From: {ANN}\r\nTo: {recipient}\r\nSubject: {subject}\r\n\r\nHello,\r\n.\r\nAnn\r\n".encode()


def by_swaks(mechanism: str, *, tls: str) -> Send:
    def send(server: Server, folder: Path, subject: str, recipient: str) -> None:
        path = folder / "letter"
        path.write_bytes(content_of(subject, recipient).removesuffix(b"\r\n"))  # it ends the last line itself
        port = server.ports["submissions" if tls == "--tls-on-connect" else "submission"]
        who = ["--auth", mechanism, "--auth-user", ANN, "--auth-password", PASSWORD, "--from", ANN, "--to", recipient]
        run("swaks", "--server", f"127.0.0.1:{port}", tls, "--helo", "client.example", *who, "--data", f"@{path}")

    return send


def by_curl(mechanism: str, *, scheme: str) -> Send:
    def send(server: Server, folder: Path, subject: str, recipient: str) -> None:
        path = folder / "letter"
        path.write_bytes(content_of(subject, recipient))
        url = (
            f"{scheme}://127.0.0.1:{server.ports['submissions' if scheme == 'smtps' else 'submission']}/client.example"
        )
        who = ["--user", f"{ANN}:{PASSWORD}", "--login-options", f"AUTH={mechanism}"]
        path_of = ["--mail-from", ANN, "--mail-rcpt", recipient, "--upload-file", str(path)]
        # It takes a name for internationalised only where its locale is.
        run("curl", "-sS", "-k", "--ssl-reqd", url, *who, *path_of, environment={"LC_ALL": "C.UTF-8"})

    return send


def by_msmtp(mechanism: str, *, starttls: str) -> Send:
    def send(server: Server, folder: Path, subject: str, recipient: str) -> None:
        port = server.ports["submission" if starttls == "on" else "submissions"]
        options = [
            "--host=127.0.0.1",
            f"--port={port}",
            "--tls=on",
            f"--tls-starttls={starttls}",
            "--tls-certcheck=off",
        ]
        options += [f"--auth={mechanism}", f"--user={ANN}", f"--passwordeval=echo {PASSWORD}", f"--from={ANN}"]
        options += ["--dsn-notify=success", "--dsn-return=hdrs"]
        content = content_of(subject, recipient).replace(b"\r\n", b"\n")
        run("msmtp", "--file=/dev/null", *options, "--", recipient, given=content)

    return send


def by_mutt(mechanism: str) -> Send:
    def send(server: Server, folder: Path, subject: str, recipient: str) -> None:
        rc = folder / "muttrc"
        rc.write_text(
            f'set smtp_url="smtps://{ANN.replace("@", "%40")}@127.0.0.1:{server.ports["submissions"]}/"\n'
            f'set smtp_pass="{PASSWORD}"\nset smtp_authenticators="{mechanism}"\nset from="{ANN}"\nset copy=no\n'
            'set realname="Ann"\nset ssl_verify_host=no\nset ssl_verify_dates=no\nset ssl_ca_certificates_file=""\n'
            f'set certificate_file="{folder}/certificates"\nset envelope_from=yes\nset use_from=yes\n'
            'set dsn_notify="success"\nset dsn_return="hdrs"\n'
        )
        certificate = sorted((server.folder / "data" / "keys").glob("*cert*"))[0]
        (folder / "certificates").write_bytes(certificate.read_bytes())
        home = {"HOME": str(folder), "LC_ALL": "C.UTF-8"}
        run("mutt", "-n", "-F", str(rc), "-s", subject, "--", recipient, given=b"Hello,\n.\nAnn\n", environment=home)

    return send


def by_smtplib(mechanism: str, *, starttls: bool) -> Send:
    def send(server: Server, folder: Path, subject: str, recipient: str) -> None:
        client: smtplib.SMTP
        if starttls:
            client = smtplib.SMTP("127.0.0.1", server.ports["submission"], local_hostname="client.example")
            client.starttls(context=unverified())
            client.ehlo()
        else:
            client = smtplib.SMTP_SSL(
                "127.0.0.1", server.ports["submissions"], local_hostname="client.example", context=unverified()
            )
            client.ehlo()
        with client:
            client.user, client.password = ANN, PASSWORD
            client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
            options = ["SMTPUTF8", "BODY=8BITMIME"] if not recipient.isascii() else []
            asked = [*options, "RET=HDRS", "ENVID=by+2Bsmtplib"]
            told = ["NOTIFY=SUCCESS"]
            client.sendmail(ANN, [recipient], content_of(subject, recipient), mail_options=asked, rcpt_options=told)

    return send


def by_aiosmtplib(mechanism: str, *, starttls: bool) -> Send:
    async def hand_in(server: Server, subject: str, recipient: str) -> None:
        port = server.ports["submission" if starttls else "submissions"]
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=port,
            use_tls=not starttls,
            start_tls=starttls,
            tls_context=unverified(),
            local_hostname="client.example",
        )
        async with client:
            await client.ehlo()
            log_in = client.auth_plain if mechanism == "PLAIN" else client.auth_login
            await log_in(ANN, PASSWORD)
            options = ["SMTPUTF8", "BODY=8BITMIME"] if not recipient.isascii() else []
            await client.sendmail(ANN, [recipient], content_of(subject, recipient), mail_options=options)
            assert client.transport is not None
            socket = client.transport.get_extra_info("socket")
        async with asyncio.timeout(10):  # it does not wait itself until its connection is closed
            while socket.fileno() != -1:
                await asyncio.sleep(0)

    def send(server: Server, folder: Path, subject: str, recipient: str) -> None:
        asyncio.run(hand_in(server, subject, recipient))

    return send


def by_nodemailer(mechanism: str, *, secure: bool) -> Send:
    def send(server: Server, folder: Path, subject: str, recipient: str) -> None:
        transport = {
            "host": "127.0.0.1",
            "port": server.ports["submissions" if secure else "submission"],
            "secure": secure,
            "requireTLS": True,
            "name": "client.example",
            "authMethod": mechanism,
            "auth": {"user": ANN, "pass": PASSWORD},
            "tls": {"rejectUnauthorized": False},
        }
        asked = {"id": "by-nodemailer", "return": "headers", "notify": ["success"], "recipient": ANN}
        letter = {"from": ANN, "to": recipient, "subject": subject, "text": "Hello,\n.\nAnn\n", "dsn": asked}
        modules = {"NODE_PATH": str(PEER_PACKAGES["nodemailer"].parent)}
        script = str(ROOT / "tests" / "peers" / "node" / "send.js")
        run("node", script, given=json.dumps({"transport": transport, "letter": letter}).encode(), environment=modules)

    return send


SENDERS: dict[str, Send] = {
    "swaks PLAIN": by_swaks("PLAIN", tls="--tls"),
    "swaks LOGIN": by_swaks("LOGIN", tls="--tls-on-connect"),
    "curl PLAIN": by_curl("PLAIN", scheme="smtp"),
    "curl LOGIN": by_curl("LOGIN", scheme="smtps"),
    "msmtp plain": by_msmtp("plain", starttls="on"),
    "msmtp login": by_msmtp("login", starttls="off"),
    "msmtp scram-sha-256": by_msmtp("scram-sha-256", starttls="off"),
    "mutt plain": by_mutt("plain"),
    "mutt scram-sha-256": by_mutt("scram-sha-256"),
    "smtplib PLAIN": by_smtplib("PLAIN", starttls=True),
    "smtplib LOGIN": by_smtplib("LOGIN", starttls=False),
    "aiosmtplib PLAIN": by_aiosmtplib("PLAIN", starttls=True),
    "aiosmtplib LOGIN": by_aiosmtplib("LOGIN", starttls=False),
    "nodemailer PLAIN": by_nodemailer("PLAIN", secure=True),
    "nodemailer LOGIN": by_nodemailer("LOGIN", secure=False),
}
INTERNATIONAL = ["curl PLAIN", "smtplib PLAIN", "aiosmtplib PLAIN", "nodemailer PLAIN", "mutt plain"]
"""Those that know SMTPUTF8."""

ASKING = ["msmtp plain", "mutt plain", "smtplib PLAIN", "nodemailer PLAIN"]
"""Those that ask for a notification of success."""


def letter_with(server: Server, user: str, subject: str) -> bytes:
    server.wait_until_delivered()
    [found] = [message for message in fetched(server, user) if b"Subject: %b\r\n" % subject.encode() in message]
    return found


@pytest.mark.parametrize("name", SENDERS)
def test_a_client_logs_in_inside_tls_and_hands_a_letter_in(server: Server, tmp_path: Path, name: str) -> None:
    subject = f"from {name}"
    SENDERS[name](server, tmp_path, subject, BOB)
    letter = letter_with(server, "bob", subject)
    assert letter.startswith(f"Return-Path: <{ANN}>\r\nReceived: ".encode())
    assert b" with ESMTPSA (TLSv1." in letter
    assert letter.partition(b"\r\n\r\n")[2] == b"Hello,\r\n.\r\nAnn\r\n"


@pytest.mark.parametrize("name", INTERNATIONAL)
def test_a_client_writes_to_an_address_beyond_ascii(server: Server, tmp_path: Path, name: str) -> None:
    subject = f"umlauts from {name}"
    SENDERS[name](server, tmp_path, subject, GRUEN)
    letter = letter_with(server, "gr\u00fcn", subject)
    assert b" with UTF8SMTPSA (TLSv1." in letter
    assert letter.partition(b"\r\n\r\n")[2] == b"Hello,\r\n.\r\nAnn\r\n"


@pytest.mark.parametrize("name", ASKING)
def test_a_client_is_told_of_the_success_it_asked_about(server: Server, tmp_path: Path, name: str) -> None:
    before = len(fetched(server, "ann"))
    SENDERS[name](server, tmp_path, f"please tell {name}", BOB)
    server.wait_until_delivered()
    reports = fetched(server, "ann")[before:]
    assert len(reports) == 1, reports
    assert b"Action: delivered\r\n" in reports[0]
    assert f"please tell {name}".encode() in reports[0], "not the header of the letter"
    if name.startswith(("smtplib", "nodemailer")):
        assert b"Original-Envelope-Id: by" in reports[0]


def test_smtplib_sends_a_message_with_an_international_header(server: Server) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = ANN, GRUEN, "Gr\u00fc\u00dfe"
    message.set_content("Hallo\n")
    with smtplib.SMTP("127.0.0.1", server.ports["submission"]) as client:
        client.starttls(context=unverified())
        client.login(ANN, PASSWORD)
        client.send_message(message)
    letter_with(server, "gr\u00fcn", "Gr\u00fc\u00dfe")


def test_a_wrong_password_is_refused_to_msmtp(server: Server, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="535"):
        run(
            *("msmtp", "--file=/dev/null", "--host=127.0.0.1", f"--port={server.ports['submissions']}", "--tls=on"),
            *("--tls-starttls=off", "--tls-certcheck=off", "--auth=scram-sha-256", f"--user={ANN}"),
            *("--passwordeval=echo wrong", f"--from={ANN}", "--", BOB),
            given=b"Subject: no\n\nno\n",
        )


# ---- what looks at us ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("role", ["smtp", "submission", "submissions"])
def test_openssl_speaks_tls_at_every_door(server: Server, role: str, version: str) -> None:
    starttls = [] if role == "submissions" else ["-starttls", "smtp"]
    where = ["-connect", f"127.0.0.1:{server.ports[role]}", "-servername", "mx.here.example"]
    done = subprocess.run(
        ["openssl", "s_client", "-brief", "-ign_eof", "-crlf", version, *starttls, *where],
        input=b"EHLO client.example\nQUIT\n",
        capture_output=True,
        check=False,
        timeout=30,
    )
    said, facts = done.stdout.decode(), done.stderr.decode()
    assert f"Protocol version: TLSv1.{version[-1]}" in facts, facts
    assert "CONNECTION ESTABLISHED" in facts
    assert "221 2.0.0 Bye" in said
    assert "250-STARTTLS" not in said
    offered = re.search(r"250[ -]AUTH (.*)", said)
    assert role == "smtp" or (offered is not None and {"PLAIN", "LOGIN", "SCRAM-SHA-256"} <= set(offered[1].split()))


def test_openssl_cannot_speak_an_old_tls(server: Server) -> None:
    where = ["-connect", f"127.0.0.1:{server.ports['submissions']}", "-cipher", "ALL:@SECLEVEL=0"]
    done = subprocess.run(
        ["openssl", "s_client", "-tls1_1", *where],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode != 0
    assert b"Cipher is (NONE)" in done.stdout


def nmap(server: Server, role: str, *scripts: str) -> str:
    """A script is told to run though the port is none that it knows."""
    chosen = ",".join(f"+{script}" for script in scripts)
    arguments = "smtp.domain=client.example,smtp-enum-users.methods={VRFY,EXPN,RCPT}"
    target = ["-p", str(server.ports[role]), "127.0.0.1"]
    said = run("nmap", "-Pn", "-n", "-sT", "--script", chosen, "--script-args", arguments, *target)
    assert "ERROR" not in said, said
    return said


def test_nmap_sees_our_commands_and_no_open_relay(server: Server) -> None:
    said = nmap(server, "smtp", "smtp-commands", "smtp-open-relay", "smtp-strangeport")
    commands = re.search(r"smtp-commands: (.*)", said)
    assert commands is not None, said
    assert {"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "STARTTLS"} <= set(commands[1].split(", "))
    assert "Server doesn't seem to be an open relay, all tests failed" in said


def test_nmap_finds_no_users_by_vrfy_and_none_that_are_not_there(server: Server) -> None:
    said = nmap(server, "smtp", "smtp-enum-users")
    assert "smtp-enum-users" in said
    assert not re.search(r"\|_? +(root|admin|guest|test|user)\b", said), said


def test_nmap_finds_no_known_fault(server: Server) -> None:
    said = nmap(server, "smtp", "smtp-vuln-cve2010-4344", "smtp-vuln-cve2011-1720", "smtp-vuln-cve2011-1764")
    assert "State: VULNERABLE" not in said


def test_nmap_sees_only_strong_ciphers(server: Server) -> None:
    said = nmap(server, "submissions", "ssl-enum-ciphers")
    assert re.search(r"least strength: A\b", said), said
    assert "TLSv1.1" not in said
