"""Notifications are understood by people, by Python's own parser and by the grammar of RFC 3464."""

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.notification import Action, NotificationRequest, compose, envelope_for
from postroad.message.plain_words import explain
from postroad.message.report_fields import clean, field, from_xtext, original_recipient, to_utf8_xtext
from postroad.message.trace import date_text
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import BodyType, DeliverBy, Envelope, Notify, Recipient
from postroad.vocabulary.limits import NOTIFICATION_CONTENT_BYTES, NOTIFICATION_HEADER_BYTES
from postroad.vocabulary.outcome import Fate, Outcome

AT = datetime(2026, 1, 6, 12, 0, 0, tzinfo=UTC)
ARRIVED = AT - timedelta(days=5)
ANN = Mailbox("ann", "a.example")
BOB = Recipient(Mailbox("bob", "b.example"))
NO_SUCH_USER = EnhancedStatus(5, 1, 1)
ORIGINAL = b"From: ann@a.example\r\nSubject: Hello\r\nMessage-ID: <1@a.example>\r\n\r\nHi Bob\r\n"


def failed(recipient: Recipient = BOB, reply: str = "550 5.1.1 no such user", text: str = "") -> Outcome:
    return Outcome(
        recipient, Fate.FAILED, NO_SUCH_USER, text=text, reply=reply, remote_mta="mx1.b.example",
        remote_address="192.0.2.1",
    )  # fmt: skip


def request(
    *outcomes: Outcome,
    envelope: Envelope | None = None,
    content: bytes = ORIGINAL,
    content_is_whole: bool = True,
    will_retry_until: datetime | None = None,
    received_from: str = "",
) -> NotificationRequest:
    return NotificationRequest(
        hostname="mx.a.example",
        notification_id="0000000000NB",
        at=AT,
        queue_id="0000000000NA",
        envelope=envelope or Envelope(ANN, (BOB,)),
        outcomes=outcomes or (failed(),),
        arrived_at=ARRIVED,
        content=content,
        content_is_whole=content_is_whole,
        will_retry_until=will_retry_until,
        received_from=received_from,
    )


def parsed(octets: bytes) -> EmailMessage:
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def parts_of(octets: bytes) -> list[EmailMessage]:
    found = [part for part in parsed(octets).iter_parts() if isinstance(part, EmailMessage)]
    assert len(found) == 3
    return found


def raw_parts(octets: bytes) -> list[tuple[bytes, bytes]]:
    """(header, content) of each part, cut at the boundary as RFC 2046 section 5.1.1 says."""
    boundary = re.search(rb'boundary="([^"]+)"', octets)
    assert boundary is not None
    pieces = (b"\r\n" + octets).split(b"\r\n--" + boundary[1])
    assert pieces[-1] == b"--\r\n"
    cut = [piece.removeprefix(b"\r\n").partition(b"\r\n\r\n") for piece in pieces[1:-1]]
    return [(head, content) for head, _, content in cut]


def groups(octets: bytes) -> list[dict[str, str]]:
    """The fields of message/delivery-status by this checker's own reading of RFC 3464 section 2.1."""
    status = raw_parts(octets)[1][1].decode()
    assert "\r" not in status.replace("\r\n", "")
    assert "\n" not in status.replace("\r\n", "")
    found = []
    for block in status.removesuffix("\r\n").split("\r\n\r\n"):
        named: dict[str, str] = {}
        for line in re.sub(r"\r\n(?=[ \t])", "", block).strip("\r\n").split("\r\n"):
            name, colon, value = line.partition(":")
            assert colon
            assert re.fullmatch(r"[A-Za-z\-]+", name)
            assert name not in named
            named[name] = value.strip()
        found.append(named)
    return found


def check_grammar(octets: bytes) -> None:
    """RFC 3464 sections 2.2 and 2.3: which fields must be there, once, and what their values look like."""
    message, *recipients = groups(octets)
    typed = re.compile(r"[A-Za-z0-9\-]+; ?\S.*")
    assert message.keys() <= {"Original-Envelope-Id", "Reporting-MTA", "Received-From-MTA", "Arrival-Date"}
    assert typed.fullmatch(message["Reporting-MTA"])
    parsedate_to_datetime(message["Arrival-Date"])
    assert recipients
    for one in recipients:
        assert typed.fullmatch(one["Final-Recipient"])
        assert one["Action"] in {"failed", "delayed", "delivered", "relayed", "expanded"}
        assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", one["Status"])
        parsedate_to_datetime(one["Last-Attempt-Date"])
        for name in ("Original-Recipient", "Remote-MTA", "Diagnostic-Code"):
            assert typed.fullmatch(one.get(name, "x; y"))
        assert ("Will-Retry-Until" in one) <= (one["Action"] == "delayed")
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    assert b"\0" not in octets


def test_a_failure_is_reported_to_people_and_machines() -> None:
    octets = compose(request(received_from="client.a.example"))
    check_grammar(octets)
    message = parsed(octets)
    assert message["to"] == "ann@a.example"
    assert "MAILER-DAEMON@mx.a.example" in message["from"]
    assert message["subject"] == "Your mail was not delivered: bob@b.example"
    assert message["auto-submitted"] == "auto-replied"
    assert message["in-reply-to"] == message["references"] == "<1@a.example>"
    assert message["message-id"] == "<0000000000NB@mx.a.example>"
    assert message["mime-version"] == "1.0"
    assert message["date"].datetime == AT
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    words, status, original = parts_of(octets)
    assert [part.get_content_type() for part in (words, status, original)] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    said = " ".join(words.get_content().split())
    assert "bob@b.example" in said
    assert "There is no mailbox with that name" in said
    assert 'mx1.b.example [192.0.2.1] said: "550 5.1.1 no such user"' in said
    assert "0000000000NA" in said
    assert groups(octets) == [
        {
            "Reporting-MTA": "dns; mx.a.example",
            "Received-From-MTA": "dns; client.a.example",
            "Arrival-Date": "Thu, 01 Jan 2026 12:00:00 +0000",
        },
        {
            "Final-Recipient": "rfc822; bob@b.example",
            "Action": "failed",
            "Status": "5.1.1",
            "Remote-MTA": "dns; mx1.b.example",
            "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
            "Last-Attempt-Date": "Tue, 06 Jan 2026 12:00:00 +0000",
            "Final-Log-ID": "0000000000NA",
        },
    ]
    assert raw_parts(octets)[2][1] == b"From: ann@a.example\r\nSubject: Hello\r\nMessage-ID: <1@a.example>\r\n"


def test_the_sender_s_own_names_come_back() -> None:
    recipient = Recipient(BOB.forward_path, original="rfc822;bob+2Bold@b.example")
    envelope = Envelope(ANN, (recipient,), envid="order+2B42")
    octets = compose(request(failed(recipient), envelope=envelope))
    check_grammar(octets)
    message, one = groups(octets)
    assert message["Original-Envelope-Id"] == "order+42"
    assert one["Original-Recipient"] == "rfc822; bob+old@b.example"


def test_a_delay_says_until_when_and_asks_for_nothing() -> None:
    until = ARRIVED + timedelta(days=5)
    outcome = Outcome(BOB, Fate.DEFERRED, EnhancedStatus(4, 4, 1), text="connection timed out")
    octets = compose(request(outcome, will_retry_until=until))
    check_grammar(octets)
    one = groups(octets)[1]
    assert one["Action"] == "delayed"
    assert parsedate_to_datetime(one["Will-Retry-Until"]) == until
    assert one["Diagnostic-Code"] == "x-postroad; connection timed out"
    assert "Remote-MTA" not in one
    said = " ".join(parts_of(octets)[0].get_content().split())
    assert "You need do nothing" in said
    assert "What to do" not in said


@pytest.mark.parametrize(
    ("fate", "action"),
    [(Fate.DELIVERED, Action.DELIVERED), (Fate.RELAYED, Action.RELAYED), (Fate.EXPANDED, Action.EXPANDED)],
)
def test_success_is_reported_without_reasons(fate: Fate, action: Action) -> None:
    octets = compose(request(Outcome(BOB, fate, EnhancedStatus(2, 1, 5))))
    check_grammar(octets)
    assert groups(octets)[1]["Action"] == action
    assert "What happened" not in parts_of(octets)[0].get_content()


def test_several_recipients_have_a_group_each() -> None:
    cat = Recipient(Mailbox("cat", "c.example"))
    octets = compose(request(failed(), Outcome(cat, Fate.DELIVERED, EnhancedStatus(2, 0, 0)), failed(cat)))
    check_grammar(octets)
    assert [one["Action"] for one in groups(octets)[1:]] == ["failed", "delivered", "failed"]
    assert parsed(octets)["subject"] == "Your mail was not delivered (3 recipients)"


def test_the_whole_original_comes_back_when_asked_for() -> None:
    octets = compose(request(envelope=Envelope(ANN, (BOB,), ret="FULL")))
    check_grammar(octets)
    head, content = raw_parts(octets)[2]
    assert b"Content-Type: message/rfc822" in head
    assert content == ORIGINAL


@pytest.mark.parametrize(
    ("content", "whole", "fate"),
    [
        (ORIGINAL, False, Fate.FAILED),
        (ORIGINAL + b"x" * 900 + b"\r\n" + b"y\r\n" * NOTIFICATION_CONTENT_BYTES, True, Fate.FAILED),
        (ORIGINAL + b"bare\nnewline\r\n", True, Fate.FAILED),
        (ORIGINAL + b"x" * 999 + b"\r\n", True, Fate.FAILED),
        (ORIGINAL + b"\0\r\n", True, Fate.FAILED),
        (ORIGINAL, True, Fate.DEFERRED),
    ],
    ids=["not whole", "too large", "bare newline", "long line", "NUL", "only delayed"],
)
def test_else_its_header_comes_back(content: bytes, whole: bool, fate: Fate) -> None:
    outcome = Outcome(BOB, fate, NO_SUCH_USER)
    envelope = Envelope(ANN, (BOB,), ret="FULL")
    octets = compose(request(outcome, envelope=envelope, content=content, content_is_whole=whole))
    check_grammar(octets)
    head, returned = raw_parts(octets)[2]
    assert b"Content-Type: text/rfc822-headers" in head
    assert returned == ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_eight_bit_content_is_called_that() -> None:
    content = ORIGINAL + "grüß\r\n".encode()
    asked = request(envelope=Envelope(ANN, (BOB,), ret="FULL"), content=content)
    octets = compose(asked)
    assert b"Content-Transfer-Encoding: 8bit" in raw_parts(octets)[2][0]
    assert parsed(octets)["content-transfer-encoding"] == "8bit"
    assert envelope_for(asked, octets).body is BodyType.EIGHT_BIT_MIME


@pytest.mark.parametrize(
    "header",
    [b"Subject: gr\xfc\xdf\r\n", b"Subject: a\rb\nc: d\r\n", b"X: " + b"y" * 5000 + b"\r\n", b"X: \0 \r\n.\r\n"],
)
def test_a_broken_header_comes_back_unharmed_and_harmless(header: bytes) -> None:
    octets = compose(request(content=header + b"\r\nbody"))
    check_grammar(octets)
    assert octets.isascii()
    part = parts_of(octets)[2]
    returned = part.get_payload(decode=True)
    assert returned == header


def test_a_large_header_is_cut_between_fields() -> None:
    header = b"A: first\r\n" + b"X: value\r\n folded\r\n" * 10_000
    returned = raw_parts(compose(request(content=header)))[2][1]
    assert NOTIFICATION_HEADER_BYTES - 40 < len(returned) <= NOTIFICATION_HEADER_BYTES
    assert returned.endswith(b"X: value\r\n folded\r\n")
    assert header.startswith(returned)


def test_a_message_without_header_comes_back_without() -> None:
    octets = compose(request(content=b"just text\r\n\r\nmore"))
    check_grammar(octets)
    assert raw_parts(octets)[2][1] == b""
    assert parsed(octets)["in-reply-to"] is None


def test_international_mail_is_reported_in_its_own_letters() -> None:
    jorg = Recipient(Mailbox("jörg", "b.example"), original="utf-8;j\\x{F6}rg@b.example")
    envelope = Envelope(Mailbox("änn", "a.example"), (jorg,), smtputf8=True)
    asked = request(failed(jorg), envelope=envelope, content="Subject: grüß\r\n\r\n".encode())
    octets = compose(asked)
    check_grammar(octets)
    heads = [head for head, _ in raw_parts(octets)]
    assert b"message/global-delivery-status" in heads[1]
    assert b"message/global-headers" in heads[2]
    assert all(b"8bit" in head for head in heads)
    assert groups(octets)[1]["Final-Recipient"] == "utf-8; jörg@b.example"
    assert "To: <änn@a.example>".encode() in octets
    assert parsed(octets)["subject"] == "Your mail was not delivered"
    assert envelope_for(asked, octets) == Envelope(
        None,
        (Recipient(Mailbox("änn", "a.example"), notify=(Notify.NEVER,)),),
        body=BodyType.EIGHT_BIT_MIME,
        smtputf8=True,
    )


def test_an_international_address_in_a_plain_report_is_escaped() -> None:
    jorg = Recipient(Mailbox("jörg", "b.example"))
    octets = compose(request(failed(jorg)))
    check_grammar(octets)
    assert groups(octets)[1]["Final-Recipient"] == "utf-8; j\\x{F6}rg@b.example"
    assert raw_parts(octets)[1][1].isascii()


def test_a_notification_goes_out_from_the_null_reverse_path() -> None:
    asked = request()
    envelope = envelope_for(asked, compose(asked))
    assert envelope == Envelope(None, (Recipient(ANN, notify=(Notify.NEVER,)),))


def test_nobody_is_told_about_a_notification() -> None:
    with pytest.raises(ValueError):
        compose(request(envelope=Envelope(None, (BOB,))))


def test_an_original_that_knows_the_boundary_does_not_end_the_part() -> None:
    content = ORIGINAL + b"--=_0000000000NB_0\r\n--=_0000000000NB_0--\r\n"
    octets = compose(request(envelope=Envelope(ANN, (BOB,), ret="FULL"), content=content))
    assert raw_parts(octets)[2][1] == content


TEXT = st.text(max_size=60) | st.sampled_from(
    ["x\r\nBcc: y", "\r\n\r\n", "a" * 3000, "\x1b[31m", "ü" * 500, " ", ";", "+0D+0A"]
)


@given(TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, st.booleans(), st.binary(max_size=100))
def test_nothing_a_peer_says_breaks_the_report(
    reply: str, text: str, mta: str, original: str, envid: str, helo: str, smtputf8: bool, header: bytes
) -> None:
    recipient = Recipient(BOB.forward_path, original="rfc822;" + original)
    outcome = Outcome(recipient, Fate.FAILED, NO_SUCH_USER, text=text, reply=reply, remote_mta=mta)
    envelope = Envelope(ANN, (recipient,), smtputf8=smtputf8, envid=envid, ret="FULL")
    octets = compose(request(outcome, envelope=envelope, content=b"Subject: x" + header, received_from=helo))
    message, one = groups(octets)
    assert message.keys() <= {"Original-Envelope-Id", "Reporting-MTA", "Received-From-MTA", "Arrival-Date"}
    assert one["Action"] == "failed"
    assert one["Final-Recipient"] == "rfc822; bob@b.example"
    assert [name for name, _ in parsed(octets).items()][:5] == ["From", "To", "Subject", "Date", "Message-ID"]
    assert parsed(octets)["bcc"] is None
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))


def test_xtext_is_read_as_its_octets() -> None:
    assert from_xtext("a+2Bb+3D") == "a+b="
    assert from_xtext("+C3+BC") == "ü"
    assert from_xtext("+zz+2") == "+zz+2"
    assert original_recipient("rfc822", utf8=False) == ""
    assert original_recipient("a b;c", utf8=False) == ""
    assert to_utf8_xtext("ü+=\\@x") == "\\x{FC}\\x{2B}\\x{3D}\\x{5C}@x"


def test_text_is_made_harmless() -> None:
    assert clean("a\tb\r\nc", utf8=True) == "a b??c"
    assert clean("grüß", utf8=False) == "gr??"
    assert clean("a\u202eb", utf8=True) == "a?b"
    assert len(clean("x" * 1000, utf8=False)) == 400


def test_a_long_field_is_folded_at_its_spaces() -> None:
    folded = field("Diagnostic-Code", "smtp; " + "word " * 40)
    assert all(len(line) <= 77 for line in folded.split("\r\n"))
    assert folded.replace("\r\n ", " ").startswith("Diagnostic-Code: smtp; word word")


def test_every_status_has_plain_words() -> None:
    assert explain(EnhancedStatus(5, 1, 1)) == explain(EnhancedStatus(4, 1, 1))
    for subject in range(12):
        for detail in (0, 1, 7, 99, 999):
            what, advice = explain(EnhancedStatus(5, subject, detail))
            assert what.endswith(".")
            assert advice.endswith(".")


def test_the_time_it_was_to_be_there_by_stands_in_the_report() -> None:
    asked = request(envelope=Envelope(ANN, (BOB,), deliver_by=DeliverBy(3600, "R")))
    octets = compose(asked)
    deadline = date_text(asked.arrived_at + timedelta(hours=1))
    assert f"Deliver-By-Date: {deadline}\r\n".encode() in octets


def test_what_required_tls_is_reported_on_under_tls_and_without_its_body() -> None:
    content = b"Subject: secret\r\n\r\nthe body\r\n"
    asked = request(
        envelope=Envelope(ANN, (BOB,), ret="FULL", require_tls=True), content=content, content_is_whole=True
    )
    octets = compose(asked)
    assert b"Subject: secret" in octets
    assert b"the body" not in octets
    envelope = envelope_for(asked, octets)
    assert (envelope.require_tls, envelope.ret) == (True, "")
