"""Trace fields say who gave us a message, and nothing a peer says can become a field of its own."""

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.header import fields
from postroad.message.trace import date_text, message_id_text, protocol_name, received_field, return_path_field
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import Endpoint, PeerFacts, TlsFacts

AT = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
BOB = Mailbox("bob", "a.example")


def peer(
    helo: str = "mx.b.example",
    *,
    address: str = "192.0.2.1",
    esmtp: bool = True,
    tls: TlsFacts | None = None,
    account: str = "",
    host: str = "",
    uid: int | None = None,
) -> PeerFacts:
    here = Endpoint("127.0.0.1", 25)
    there = Endpoint(address, 4711)
    return PeerFacts(remote=there, local=here, helo=helo, esmtp=esmtp, tls=tls, account=account, host=host, uid=uid)


def received(facts: PeerFacts, recipient: Mailbox | None = None, *, smtputf8: bool = False) -> str:
    octets = received_field(
        facts, hostname="mx.a.example", queue_id="0123456789AB", at=AT, recipient=recipient, smtputf8=smtputf8
    )
    return octets.decode()


def test_the_received_field_of_a_usual_client() -> None:
    assert received(peer(tls=TLS, host="out.b.example"), BOB) == (
        "Received: from mx.b.example (out.b.example [192.0.2.1])\r\n"
        "\tby mx.a.example with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
        "\tid 0123456789AB\r\n"
        "\tfor <bob@a.example>;\r\n"
        "\tThu, 01 Jan 2026 12:00:00 +0000\r\n"
    )


def test_several_recipients_are_not_told_of_each_other() -> None:
    assert "for" not in received(peer())


@pytest.mark.parametrize(
    ("facts", "smtputf8", "name"),
    [
        (peer(esmtp=False), False, "SMTP"),
        (peer(), False, "ESMTP"),
        (peer(tls=TLS), False, "ESMTPS"),
        (peer(account="ann@a.example"), False, "ESMTPA"),
        (peer(tls=TLS, account="ann@a.example"), False, "ESMTPSA"),
        (peer(), True, "UTF8SMTP"),
        (peer(tls=TLS), True, "UTF8SMTPS"),
        (peer(account="ann@a.example"), True, "UTF8SMTPA"),
        (peer(tls=TLS, account="ann@a.example"), True, "UTF8SMTPSA"),
    ],
)
def test_the_protocol_has_its_registered_name(facts: PeerFacts, smtputf8: bool, name: str) -> None:
    assert protocol_name(facts, smtputf8) == name


@pytest.mark.parametrize(
    ("facts", "start"),
    [
        (peer("mx.b.example", address="2001:db8::1"), "from mx.b.example ([IPv6:2001:db8::1])\r\n"),
        (peer("[192.0.2.9]"), "from [192.0.2.9] ([192.0.2.1])\r\n"),
        (peer("[IPv6:2001:db8::2]"), "from [IPv6:2001:db8::2] ([192.0.2.1])\r\n"),
        (peer(""), "from [192.0.2.1] ([192.0.2.1])\r\n"),
        (peer("a b"), "from [192.0.2.1] ([192.0.2.1])\r\n\t(HELO a b)\r\n"),
        (peer("x)\r\nBcc: y(\\"), "from [192.0.2.1] ([192.0.2.1])\r\n\t(HELO x???Bcc: y??)\r\n"),
        (peer("bücher.example"), "from [192.0.2.1] ([192.0.2.1])\r\n\t(HELO b?cher.example)\r\n"),
        (peer("-dash.example"), "from [192.0.2.1] ([192.0.2.1])\r\n\t(HELO -dash.example)\r\n"),
        (peer("laptop", address="unix", uid=1000), "from laptop (uid 1000)\r\n"),
        (peer("", address="unix"), "from localhost (local)\r\n"),
        (peer("mx.b.example", host="evil) (x"), "from mx.b.example ([192.0.2.1])\r\n"),
    ],
)
def test_who_the_client_was(facts: PeerFacts, start: str) -> None:
    assert received(facts).startswith(f"Received: {start}\tby ")


@given(st.text(max_size=400), st.text(max_size=80), st.text(max_size=80), st.text(max_size=80), st.booleans())
def test_no_peer_can_write_a_field_of_its_own(helo: str, host: str, cipher: str, local: str, smtputf8: bool) -> None:
    facts = peer(helo, host=host, tls=TlsFacts("TLSv1.2", cipher))
    octets = received_field(
        facts, hostname="mx.a.example", queue_id="0", at=AT, recipient=Mailbox(local, "a.example"), smtputf8=smtputf8
    )
    assert [(field.name, field.start, field.end) for field in fields(octets)] == [(b"received", 0, len(octets))]
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert octets.count(b"(") == octets.count(b")") or b"for <" in octets
    assert smtputf8 or octets.isascii()


def test_a_unicode_recipient_is_named_only_where_the_header_may_hold_it() -> None:
    jorg = Mailbox("jörg", "a.example")
    assert "\r\n\tfor <jörg@a.example>;" in received(peer(), jorg, smtputf8=True)
    assert "for" not in received(peer(), jorg)


@given(st.integers(0, 2**33).map(lambda second: datetime.fromtimestamp(second, UTC)))
def test_dates_are_read_back_as_they_were(at: datetime) -> None:
    assert parsedate_to_datetime(date_text(at)) == at.replace(microsecond=0)


def test_a_date_is_written_in_utc_and_the_next_second_is_another() -> None:
    berlin = datetime(2026, 1, 1, 13, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert date_text(berlin) == "Thu, 01 Jan 2026 12:00:00 +0000"
    assert date_text(berlin + timedelta(microseconds=1)) == "Thu, 01 Jan 2026 12:00:01 +0000"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", date_text(berlin))


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError):
        date_text(datetime(2026, 1, 1))  # noqa: DTZ001


def test_return_path() -> None:
    assert return_path_field(Mailbox("ann", "a.example")) == b"Return-Path: <ann@a.example>\r\n"
    assert return_path_field(None) == b"Return-Path: <>\r\n"
    assert return_path_field(Mailbox("a b", "a.example")) == b'Return-Path: <"a b"@a.example>\r\n'


@given(st.text(max_size=100), st.text(max_size=100))
def test_a_reverse_path_stays_on_its_line(local: str, domain: str) -> None:
    octets = return_path_field(Mailbox(local, domain))
    assert octets.count(b"\n") == octets.count(b"\r") == 1
    assert octets.endswith(b"\r\n")


def test_a_message_id_is_one() -> None:
    message = email.message_from_string(
        f"Message-ID: {message_id_text('0123456789AB', 'mx.a.example')}\r\n\r\n", policy=email.policy.SMTP
    )
    assert message["message-id"] == "<0123456789AB@mx.a.example>"
    assert not message["message-id"].defects
