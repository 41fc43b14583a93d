"""Real mail clients log in over real TLS, each by every mechanism it has."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import smtplib
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiosmtplib
import pytest

from tests.support.scram import ScramClient, in_base64
from tests.support.server import PASSWORD, Server, running_server
from tests.support.submitters import unverified

ANN, BOB = "ann@here.example", "bob@here.example"
LETTER = f"From: {ANN}\r\nTo: {BOB}\r\nSubject: hello\r\n\r\nHello\r\n".encode()

pytestmark = [pytest.mark.peer("swaks", "msmtp"), pytest.mark.xdist_group("mechanisms")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("mechanisms")) as running:
        yield running


@pytest.fixture(scope="module")
def no_scram(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """ann keeps nothing but the hash."""
    with running_server(tmp_path_factory.mktemp("no-scram")) as running:
        command = ("account", "passwd", ANN, "--no-scram", "--password-stdin")
        running.run(*command, given=f"{PASSWORD}\n".encode())
        yield running


def run(command: list[str], given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)


def letters(server: Server) -> int:
    """In bob's mailbox."""
    return len(server.ask("read", BOB, "--list"))


# ---- programs ----------------------------------------------------------------------------------------


def by_msmtp(server: Server, mechanism: str, password: str, *, starttls: bool) -> int:
    """GNU SASL's idea of the mechanisms."""
    port = server.ports["submission" if starttls else "submissions"]
    where = ["--file=/dev/null", "--host=127.0.0.1", f"--port={port}", "--domain=client.example"]
    tls = ["--tls=on", f"--tls-starttls={'on' if starttls else 'off'}", "--tls-certcheck=off"]
    who = [f"--auth={mechanism}", f"--user={ANN}", f"--from={ANN}", f"--passwordeval=echo '{password}'"]
    return run(["msmtp", *where, *tls, *who, BOB], LETTER).returncode


def by_swaks(server: Server, mechanism: str, password: str, *, starttls: bool) -> int:
    port = server.ports["submission" if starttls else "submissions"]
    where = ["--server", "127.0.0.1", "--port", str(port), "--tls" if starttls else "--tls-on-connect"]
    who = ["--auth", mechanism, "--auth-user", ANN, "--auth-password", password, "--from", ANN, "--to", BOB]
    return run(["swaks", "--silent", "3", "--helo", "client.example", *where, *who]).returncode


def by_smtplib(server: Server, mechanism: str, password: str, *, starttls: bool) -> int:
    if starttls:
        client = smtplib.SMTP("127.0.0.1", server.ports["submission"], local_hostname="client.example")
        client.starttls(context=unverified())
    else:
        port = server.ports["submissions"]
        client = smtplib.SMTP_SSL("127.0.0.1", port, context=unverified(), local_hostname="client.example")
    with client:
        client.ehlo()
        client.user, client.password = ANN, password
        try:
            client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
        except smtplib.SMTPAuthenticationError:
            return 1
        client.sendmail(ANN, [BOB], LETTER)
    return 0


@contextlib.asynccontextmanager
async def closed(client: aiosmtplib.SMTP) -> AsyncIterator[None]:
    """aiosmtplib leaves its transport to the loop, which is over before it is closed."""
    assert client.transport is not None
    transport = client.transport
    try:
        yield
    finally:
        transport.close()
        if isinstance(transport, asyncio.Transport):
            transport.abort()
        await asyncio.sleep(0)


def by_aiosmtplib(server: Server, mechanism: str, password: str, *, starttls: bool) -> int:
    async def talk() -> int:
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=server.ports["submission" if starttls else "submissions"],
            use_tls=not starttls,
            start_tls=starttls,
            tls_context=unverified(),
            local_hostname="client.example",
        )
        async with client, closed(client):
            await client.ehlo()
            login = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}[mechanism]
            try:
                await login(ANN, password)
            except aiosmtplib.SMTPAuthenticationError:
                return 1
            await client.sendmail(ANN, [BOB], LETTER)
        return 0

    return asyncio.run(talk())


LogIn = Callable[..., int]
WAYS: list[tuple[LogIn, str]] = [
    (by_msmtp, "plain"),
    (by_msmtp, "login"),
    (by_msmtp, "scram-sha-256"),
    (by_swaks, "PLAIN"),
    (by_swaks, "LOGIN"),
    (by_smtplib, "PLAIN"),
    (by_smtplib, "LOGIN"),
    (by_aiosmtplib, "PLAIN"),
    (by_aiosmtplib, "LOGIN"),
]
NAMES = [f"{way.__name__}-{mechanism}" for way, mechanism in WAYS]


@pytest.mark.parametrize("starttls", [False, True], ids=["tls", "starttls"])
@pytest.mark.parametrize(("way", "mechanism"), WAYS, ids=NAMES)
def test_a_program_logs_in_and_hands_a_letter_in(server: Server, way: LogIn, mechanism: str, starttls: bool) -> None:
    before = letters(server)
    assert way(server, mechanism, PASSWORD, starttls=starttls) == 0
    server.wait_until_delivered()
    assert letters(server) == before + 1


@pytest.mark.parametrize(("way", "mechanism"), WAYS, ids=NAMES)
def test_a_program_with_a_wrong_password_does_not(server: Server, way: LogIn, mechanism: str) -> None:
    before = letters(server)
    assert way(server, mechanism, "wrong horse", starttls=False) != 0
    assert letters(server) == before


def test_without_scram_keys_scram_fails_and_the_password_itself_does_not(no_scram: Server) -> None:
    assert by_msmtp(no_scram, "scram-sha-256", PASSWORD, starttls=False) != 0
    assert by_msmtp(no_scram, "plain", PASSWORD, starttls=False) == 0


# ---- channel binding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("starttls", [False, True], ids=["tls", "starttls"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("honest", [True, False])
def test_scram_plus_binds_to_the_certificate_that_the_client_sees(
    server: Server, starttls: bool, version: ssl.TLSVersion, honest: bool
) -> None:
    context = unverified()
    context.minimum_version = context.maximum_version = version
    if starttls:
        client = smtplib.SMTP("127.0.0.1", server.ports["submission"], local_hostname="client.example")
        client.starttls(context=context)
    else:
        port = server.ports["submissions"]
        client = smtplib.SMTP_SSL("127.0.0.1", port, context=context, local_hostname="client.example")
    with client:
        client.ehlo()
        assert client.esmtp_features["auth"].split()[:2] == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
        assert isinstance(client.sock, ssl.SSLSocket)
        certificate = client.sock.getpeercert(binary_form=True)
        assert certificate is not None
        seen = hashlib.sha256(certificate).digest() if honest else b"of somebody between us".ljust(32)
        scram = ScramClient(ANN, PASSWORD, binding=seen)
        code, challenge = client.docmd("AUTH", f"SCRAM-SHA-256-PLUS {in_base64(scram.first())}")
        assert code == 334
        code, last = client.docmd(in_base64(scram.final(base64.b64decode(challenge))))
        if not honest:
            assert (code, last[:5]) == (535, b"5.7.8")
            return
        assert code == 334
        assert scram.believes(base64.b64decode(last))
        assert client.docmd("")[0] == 235
        assert client.mail(ANN)[0] == 250


# ---- limits of an account ----------------------------------------------------------------------------


def test_a_limit_that_is_set_while_the_server_runs_holds_at_once_and_survives_a_restart(tmp_path: Path) -> None:
    def refusal(server: Server) -> bytes:
        with smtplib.SMTP_SSL("127.0.0.1", server.ports["submissions"], context=unverified()) as client:
            client.login(ANN, PASSWORD)
            code, words = client.mail(ANN)
            return words if code == 450 else b""

    with running_server(tmp_path) as server:
        assert by_smtplib(server, "PLAIN", PASSWORD, starttls=False) == 0
        assert refusal(server) == b""
        (limits,) = server.ask("account", "limit", ANN, "--messages-per-hour", "1")
        assert limits["messages_per_hour"] == 1
        assert b"4.7.1 Your account may send 1 messages an hour; the next after " in refusal(server)
        server.stop()
        server.start()
        assert b"may send 1 messages an hour" in refusal(server)
        server.run("account", "limit", ANN, "--messages-per-hour", "default")
        assert refusal(server) == b""
