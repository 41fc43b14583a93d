"""Postfix, Exim and OpenSMTPD as next hops, each with TLS and without, with all they know and with hardly anything.

What an author wrote arrives octet for octet, addresses beyond US-ASCII arrive where they can, and what the sender asks
to be told he is told: by them where they know DSN, and by us where they do not.
"""

from __future__ import annotations

import os
import re
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import trustme

from tests.conftest import find_peer
from tests.support.doors import fetched
from tests.support.exim import running_exim
from tests.support.letters import letters
from tests.support.opensmtpd import running_opensmtpd
from tests.support.ports import free_port, pause
from tests.support.postfix import running_postfix
from tests.support.server import PASSWORD, Server, running_server
from tests.support.submitters import unverified

ANN = "ann@here.example"
CARRIED = ["text", "html", "8bit", "long", "dots", "folded"]
"""Of these "long" is large enough to be streamed from a file."""
GREEN = "gr\u00fcn"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="they change users"),
    pytest.mark.xdist_group("next hops"),
]


class Peer(Protocol):
    def messages(self, user: str) -> list[bytes]: ...

    def log(self) -> str: ...


@dataclass(frozen=True)
class Kind:
    """`offers`: all that it knows, of PIPELINING, CHUNKING, SMTPUTF8 and DSN; otherwise none of them."""

    program: str
    tls: bool
    offers: bool

    @property
    def name(self) -> str:
        return f"{self.program}-{'tls' if self.tls else 'clear'}-{'all' if self.offers else 'bare'}"

    @property
    def domain(self) -> str:
        return f"{self.name}.example"

    @property
    def can_encrypt(self) -> bool:
        """OpenSMTPD 6.8 as Debian 12 builds it keeps its keys in a process of its own in a way that OpenSSL 3 no longer
        knows: it offers STARTTLS, and every handshake breaks. It has its mail in clear."""
        return self.tls and self.program != "opensmtpd"

    @property
    def knows_utf8(self) -> bool:
        return self.offers and self.program != "opensmtpd"


NEEDED = {"postfix": ("postfix",), "exim": ("exim4",), "opensmtpd": ("smtpd", "unshare")}
KINDS = [Kind(program, tls, offers) for program in NEEDED for tls in (True, False) for offers in (True, False)]
EACH = [pytest.param(kind, id=kind.name, marks=pytest.mark.peer(*NEEDED[kind.program])) for kind in KINDS]


@dataclass(frozen=True)
class Hops:
    ours: Server
    peers: dict[Kind, Peer]


@pytest.fixture(scope="module")
def hops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hops]:
    kinds = [kind for kind in KINDS if all(map(find_peer, NEEDED[kind.program]))]
    ports = {kind: free_port() for kind in kinds}
    routes = "".join(f'[[route]]\ndomain = "{kind.domain}"\nto = "127.0.0.1:{ports[kind]}"\n' for kind in kinds)
    queue = '[queue]\nretry = ["1s", "2s"]\n'
    with (
        running_server(tmp_path_factory.mktemp("ours"), sections=queue + routes) as ours,
        ExitStack() as running,
    ):
        pair = certificate_of(tmp_path_factory.mktemp("keys"))
        yield Hops(ours, {kind: started(running, kind, ports[kind], ours, pair) for kind in kinds})


def certificate_of(folder: Path) -> tuple[Path, Path]:
    """A certificate and its key that all of them can load."""
    issued = trustme.CA().issue_cert("localhost", key_type=trustme.KeyType.RSA)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def started(running: ExitStack, kind: Kind, port: int, ours: Server, pair: tuple[Path, Path]) -> Peer:
    certificate = pair if kind.tls else None
    common: dict[str, Any] = {"address": "127.0.0.1", "port": port, "hostname": f"mx.{kind.domain}"}
    back = ("127.0.0.1", ours.ports["smtp"])
    if kind.program == "postfix":
        settings = {"relayhost": f"[{back[0]}]:{back[1]}"}
        if certificate is not None:
            paths = {"smtpd_tls_cert_file": str(certificate[0]), "smtpd_tls_key_file": str(certificate[1])}
            settings |= {"smtpd_tls_security_level": "may", **paths}
        if not kind.offers:
            hidden = "pipelining, chunking, smtputf8, dsn, silent-discard"
            settings["smtpd_discard_ehlo_keywords"] = hidden
        users = ("cat", GREEN)
        how: dict[str, Any] = {"domains": (kind.domain,), "users": users, "settings": settings, "processes": 10}
        return running.enter_context(running_postfix(**common, **how))
    program = find_peer(NEEDED[kind.program][0])
    assert program is not None
    more: dict[str, Any] = {"next_hop": back, "certificate": certificate}
    if kind.program == "exim":
        users = ("cat", GREEN)
        how = {"domains": (kind.domain,), "users": users, "offers": kind.offers}
        return running.enter_context(running_exim(program, **common, **more, **how))
    how = {"domain": kind.domain, "users": ("cat",), "dsn": kind.offers}
    return running.enter_context(running_opensmtpd(program, **common, **more, **how))


def submit(hops: Hops, recipient: str, content: bytes, mail: tuple[str, ...] = (), rcpt: tuple[str, ...] = ()) -> None:
    with smtplib.SMTP_SSL("127.0.0.1", hops.ours.ports["submissions"], context=unverified()) as client:
        client.login(ANN, PASSWORD)
        client.sendmail(ANN, [recipient], content, mail_options=mail, rcpt_options=rcpt)


def arrived(hops: Hops, kind: Kind, user: str, count: int, about: bytes = b"From: Ann") -> list[bytes]:
    """The messages of a user there that say so, when there are so many."""
    found: list[bytes] = []
    for _ in range(300):
        found = [each for each in hops.peers[kind].messages(user) if about in each]
        if len(found) >= count:
            return found
        pause(0.1)
    raise AssertionError(f"{len(found)} of {count}: {hops.peers[kind].log()[-4000:]}")


def report(hops: Hops, message_id: str) -> bytes:
    """What Ann is told about a message, by whom ever."""
    for _ in range(150):
        for each in fetched(hops.ours, "ann"):
            if message_id.encode() in each and b"Return-Path: <>" in each:
                return each
        pause(0.1)
    raise AssertionError(hops.ours.log()[-4000:])


def body(content: bytes) -> bytes:
    return content.partition(b"\r\n\r\n")[2]


def own_fields(content: bytes) -> bytes:
    """The header from the From field on: what the author wrote, below what servers put before it."""
    return content[content.index(b"From: Ann") :].partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("kind", EACH)
def test_what_an_author_wrote_arrives_octet_for_octet(hops: Hops, kind: Kind) -> None:
    for name in CARRIED:
        content = letters()[name]
        submit(hops, f"cat@{kind.domain}", content, () if content.isascii() else ("BODY=8BITMIME",))
    found = arrived(hops, kind, "cat", len(CARRIED), b"From: Ann <ann@here.example>\r\nTo: bob@here.example")
    assert sorted(map(body, found)) == sorted(body(letters()[name]) for name in CARRIED)
    assert {own_fields(each) for each in found} == {own_fields(letters()[name]) for name in CARRIED}
    received = [re.findall(rb"^Received:.*?(?=^\S)", each, re.M | re.S)[0] for each in found]
    assert [re.search(rb"with e?smtps", each, re.I) is not None for each in received] == [kind.can_encrypt] * len(
        CARRIED
    )


@pytest.mark.parametrize("kind", EACH)
def test_what_the_sender_asks_to_be_told_he_is_told(hops: Hops, kind: Kind) -> None:
    message_id = f"<told-{kind.name}@here.example>"
    content = f"From: Ann <{ANN}>\r\nSubject: tell me\r\nMessage-ID: {message_id}\r\n\r\nhello\r\n".encode()
    asked = ("RET=HDRS", f"ENVID=by+2B{kind.name}")
    submit(hops, f"cat@{kind.domain}", content, asked, ("NOTIFY=SUCCESS", f"ORCPT=rfc822;tom+2Bx@{kind.domain}"))
    told = report(hops, message_id)
    by = f"mx.{kind.domain}" if kind.offers else hops.ours.hostname
    assert re.search(rf"^Reporting-MTA: dns; ?{re.escape(by)}\r$".encode(), told, re.M), told
    assert (b"Action: relayed\r\n" in told) == (not kind.offers)
    if by.startswith("mx.opensmtpd"):
        return  # it tells neither of them
    # Exim leaves both in xtext.
    assert re.search(rb"^Original-Recipient: rfc822; ?tom\+(2B)?x@", told, re.M), told
    assert re.search(rf"^Original-Envelope-I[dD]: by\+(2B)?{kind.name}\r$".encode(), told, re.M), told


@pytest.mark.parametrize("kind", EACH)
def test_an_address_beyond_ascii_arrives_or_comes_back(hops: Hops, kind: Kind) -> None:
    message_id = f"<green-{kind.name}@here.example>"
    head = f"From: Ann <{ANN}>\r\nTo: {GREEN}@{kind.domain}\r\nSubject: Gr\u00fc\u00dfe\r\nMessage-ID: {message_id}\r\n"
    content = f"{head}\r\nGr\u00fc\u00dfe\r\n".encode()
    submit(hops, f"{GREEN}@{kind.domain}", content, ("SMTPUTF8", "BODY=8BITMIME"))
    if kind.knows_utf8:
        (found,) = arrived(hops, kind, GREEN, 1, message_id.encode())
        assert body(found) == body(content)
        assert own_fields(found).startswith(own_fields(content))
    else:
        told = report(hops, message_id)
        assert b"Status: 5.6.7\r\n" in told
        assert f"Final-Recipient: utf-8; {GREEN}@{kind.domain}\r\n".encode() in told


@pytest.mark.parametrize("kind", EACH)
def test_who_says_smtputf8_and_needs_it_not_reaches_everybody(hops: Hops, kind: Kind) -> None:
    message_id = f"<plain-{kind.name}@here.example>"
    content = f"From: Ann <{ANN}>\r\nMessage-ID: {message_id}\r\n\r\nGr\u00fc\u00dfe\r\n".encode()
    submit(hops, f"cat@{kind.domain}", content, ("SMTPUTF8", "BODY=8BITMIME"))
    (found,) = arrived(hops, kind, "cat", 1, message_id.encode())
    assert body(found) == body(content)


@pytest.mark.parametrize("kind", EACH)
def test_who_is_not_there_comes_back_with_their_words(hops: Hops, kind: Kind) -> None:
    message_id = f"<nobody-{kind.name}@here.example>"
    submit(hops, f"nobody@{kind.domain}", f"From: Ann <{ANN}>\r\nMessage-ID: {message_id}\r\n\r\nhello\r\n".encode())
    told = report(hops, message_id)
    assert f"Final-Recipient: rfc822; nobody@{kind.domain}\r\n".encode() in told
    assert re.search(rb"^Diagnostic-Code: smtp; 5\d\d ", told, re.M)
    assert b"Remote-MTA: dns; 127.0.0.1\r\n" in told
