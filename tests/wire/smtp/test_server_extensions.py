"""What EHLO announces, and the parameters that go with it: each where it is offered, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import DeliverBy, Way
from postroad.vocabulary.settings import WhoMayAsk
from postroad.wire.smtp.events import RecipientGiven, SenderGiven
from postroad.wire.smtp.server_profile import ServerProfile
from tests.wire.smtp.conversation import FULL, LMTP, MX, ODMR, TLS, Conversation

ANN = Mailbox("ann", "a.example")
COMMON = ["PIPELINING", "SIZE 10000", "ENHANCEDSTATUSCODES", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8", "DSN"]
LATER = ["DELIVERBY 60", "MT-PRIORITY", "EXPN", "ETRN", "TURN", "SEND", "SOML", "SAML"]
XCLIENT = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
LIMITS = "LIMITS MAILMAX=1000 RCPTMAX=100"
RELEASE = "FUTURERELEASE 86400 2030-02-01T12:00:00Z"
SCRAM = "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"


def announced(conversation: Conversation, verb: str = "EHLO") -> list[str]:
    return [line[4:] for line in conversation.lines(f"{verb} client.example").splitlines()[1:]]


def test_all_that_can_be_offered_in_clear_is_announced() -> None:
    assert announced(Conversation(FULL)) == [*COMMON, LIMITS, *LATER, XCLIENT, "STARTTLS", RELEASE]


def test_inside_tls_there_is_more() -> None:
    conversation = Conversation(FULL, tls=TLS)
    assert announced(conversation) == [*COMMON, LIMITS, "REQUIRETLS", *LATER, XCLIENT, SCRAM, RELEASE]
    conversation.lines("AUTH PLAIN AGFubgBzZWNyZXQ=")
    assert announced(conversation) == [*COMMON, LIMITS, "REQUIRETLS", *LATER, XCLIENT, RELEASE]


def test_what_is_off_is_not_announced() -> None:
    """Each of the flags alone takes its keyword away, and nothing else."""
    whole = set(announced(Conversation(FULL, tls=TLS)))
    off: dict[str, tuple[object, set[str]]] = {
        "chunking": (False, {"CHUNKING", "BINARYMIME"}),
        "binarymime": (False, {"BINARYMIME"}),
        "require_tls": (False, {"REQUIRETLS"}),
        "deliver_by_min_s": (None, {"DELIVERBY 60"}),
        "future_release_max_s": (None, {RELEASE}),
        "mt_priority": (False, {"MT-PRIORITY"}),
        "limits": (False, {LIMITS}),
        "expn": (False, {"EXPN"}),
        "etrn": (False, {"ETRN"}),
        "turn": (False, {"TURN"}),
        "old_ways": (WhoMayAsk.NEVER, {"SEND", "SOML", "SAML"}),
        "xclient": (False, {XCLIENT}),
        "dsn": (False, {"DSN"}),
        "smtputf8": (False, {"SMTPUTF8"}),
        "auth_offered": ((), {SCRAM}),
    }
    for name, (value, keywords) in off.items():
        profile = msgspec.structs.replace(FULL, **{name: value})
        assert whole - set(announced(Conversation(profile, tls=TLS))) == keywords, name


def test_deliverby_without_a_bound_stands_alone() -> None:
    assert "DELIVERBY" in announced(Conversation(msgspec.structs.replace(FULL, deliver_by_min_s=0)))


def test_without_a_channel_to_bind_to_there_is_no_plus() -> None:
    profile = msgspec.structs.replace(FULL, channel_binding=b"")
    conversation = Conversation(profile, tls=TLS)
    assert "AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN" in announced(conversation)
    assert conversation.lines("AUTH SCRAM-SHA-256-PLUS").startswith("504 5.5.4")


def test_the_old_ways_show_themselves_to_those_who_may_use_them() -> None:
    profile = msgspec.structs.replace(FULL, old_ways=WhoMayAsk.AUTHENTICATED)
    conversation = Conversation(profile, tls=TLS)
    assert not {"SEND", "SOML", "SAML"} & set(announced(conversation))
    assert conversation.lines("SEND FROM:<a@b>").startswith("502 5.5.1")
    assert "SEND" not in conversation.lines("HELP")
    assert conversation.lines("AUTH PLAIN AGFubgBzZWNyZXQ=").startswith("235")
    assert {"SEND", "SOML", "SAML"} <= set(announced(conversation))
    assert "SEND" in conversation.lines("HELP")
    assert conversation.lines("SEND FROM:<a@b>").startswith("250")


def test_on_demand_mail_relay_has_auth_in_clear_and_atrn() -> None:
    assert announced(Conversation(ODMR))[-3:] == ["ATRN", "STARTTLS", "AUTH CRAM-MD5"]


def test_lmtp_announces_by_lhlo() -> None:
    assert announced(Conversation(LMTP), "LHLO")[: len(COMMON)] == COMMON


@pytest.mark.parametrize(
    ("parameters", "fields"),
    [
        ("REQUIRETLS", {"require_tls": True}),
        ("BY=60;R", {"deliver_by": DeliverBy(60, "R")}),
        ("by=+120;nt", {"deliver_by": DeliverBy(120, "N", True)}),
        ("BY=-5;N", {"deliver_by": DeliverBy(-5, "N")}),
        ("BY=999999999;RT", {"deliver_by": DeliverBy(999_999_999, "R", True)}),
        ("HOLDFOR=1", {"hold_for_s": 1}),
        ("HOLDFOR=86400", {"hold_for_s": 86_400}),
        ("HOLDUNTIL=2030-02-01T12:00:00Z", {"hold_until": datetime(2030, 2, 1, 12, tzinfo=UTC)}),
        ("HOLDUNTIL=2030-01-31T15:30:00.5+02:00", {"hold_until": datetime(2030, 1, 31, 13, 30, 0, 500_000, UTC)}),
        ("HOLDUNTIL=1999-01-31t15:30:00z", {"hold_until": datetime(1999, 1, 31, 15, 30, tzinfo=UTC)}),
        ("MT-PRIORITY=-9", {"priority": -9}),
        ("MT-PRIORITY=0", {"priority": 0}),
        ("MT-PRIORITY=9 REQUIRETLS HOLDFOR=5", {"priority": 9, "require_tls": True, "hold_for_s": 5}),
    ],
)
def test_a_parameter_is_understood(parameters: str, fields: dict[str, object]) -> None:
    conversation = Conversation(FULL, tls=TLS)
    conversation.lines("EHLO x")
    assert conversation.lines(f"MAIL FROM:<ann@a.example> {parameters}").startswith("250 2.1.0")
    assert conversation.asked(SenderGiven) == [SenderGiven(ANN, **fields)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "parameters",
    [
        "REQUIRETLS=1",
        "REQUIRETLS REQUIRETLS",
        "BY",
        "BY=",
        "BY=60",
        "BY=60;X",
        "BY=60;RX",
        "BY=0;R",
        "BY=-60;R",
        "BY=1234567890;N",
        "BY=٣;N",
        "HOLDFOR",
        "HOLDFOR=0",
        "HOLDFOR=-1",
        "HOLDFOR=01",
        "HOLDFOR=86401",
        "HOLDFOR=9999999999",
        "HOLDUNTIL=tomorrow",
        "HOLDUNTIL=2030-02-01",
        "HOLDUNTIL=2030-02-30T12:00:00Z",
        "HOLDUNTIL=2030-02-01T12:00:00",
        "HOLDUNTIL=2030-02-01T12:00:01Z",
        "HOLDUNTIL=0001-01-01T00:00:00+14:00",
        "HOLDUNTIL=9999-12-31T23:59:59-14:00",
        "HOLDFOR=1 HOLDUNTIL=2030-01-31T13:00:00Z",
        "MT-PRIORITY",
        "MT-PRIORITY=10",
        "MT-PRIORITY=-0",
        "MT-PRIORITY=+1",
        "MT-PRIORITY=1.5",
    ],
)
def test_a_parameter_with_a_wrong_value_is_501(parameters: str) -> None:
    conversation = Conversation(FULL, tls=TLS)
    conversation.lines("EHLO x")
    assert conversation.lines(f"MAIL FROM:<ann@a.example> {parameters}").startswith("501 5.5.4")
    assert conversation.asked(SenderGiven) == []


def test_a_time_below_the_least_that_is_announced_is_refused_in_mode_r() -> None:
    """RFC 2852 section 4: 55z, for there is nothing wrong with what was said; mode N has no least time."""
    conversation = Conversation(FULL)
    assert "DELIVERBY 60" in announced(conversation)
    assert conversation.lines("MAIL FROM:<a@b> BY=59;R").startswith("555 5.5.4 BY with R needs at least 60 seconds")
    assert conversation.asked(SenderGiven) == []
    assert conversation.lines("MAIL FROM:<a@b> BY=59;N").startswith("250")
    assert conversation.lines("RSET", "MAIL FROM:<a@b> BY=60;R").startswith("250")


@pytest.mark.parametrize("profile", [MX, FULL])
def test_requiretls_outside_tls_is_unknown(profile: ServerProfile) -> None:
    """RFC 8689 section 2"""
    conversation = Conversation(profile)
    assert "REQUIRETLS" not in announced(conversation)
    assert conversation.lines("MAIL FROM:<a@b> REQUIRETLS").startswith("555 5.5.4")


@pytest.mark.parametrize(
    "parameter", ["REQUIRETLS", "BY=60;R", "HOLDFOR=1", "HOLDUNTIL=2030-02-01T12:00:00Z", "MT-PRIORITY=1"]
)
def test_where_it_is_not_offered_a_parameter_is_unknown(parameter: str) -> None:
    conversation = Conversation(MX, tls=TLS)
    conversation.lines("EHLO x")
    assert conversation.lines(f"MAIL FROM:<a@b> {parameter}").startswith("555 5.5.4")


@pytest.mark.parametrize("way", [Way.SEND, Way.SOML, Way.SAML])
def test_an_old_way_is_a_mail_of_another_kind(way: Way) -> None:
    """RFC 821 section 3.4"""
    conversation = Conversation(FULL)
    conversation.lines("EHLO x")
    assert conversation.lines(f"{way} FROM:<ann@a.example> SIZE=5").startswith("250 2.1.0")
    assert conversation.asked(SenderGiven) == [SenderGiven(ANN, size=5, way=way)]
    assert conversation.lines("RCPT TO:<b@b>", "DATA").startswith("354")
    assert conversation.say(b"x\r\n.\r\n").startswith(b"250")


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        (r"utf-8;\x{E9}@b", r"utf-8;\x{E9}@b"),
        ("UTF-8;é@b", r"UTF-8;\x{E9}@b"),
        ("utf-8;ann@a.example", "utf-8;ann@a.example"),
        (r"utf-8;a\x{2B}b@c", r"utf-8;a\x{2B}b@c"),
        (r"utf-8;\x{1F600}@b", r"utf-8;\x{1F600}@b"),
    ],
)
def test_an_original_recipient_in_utf8_is_kept_in_ascii(given_: str, kept: str) -> None:
    """RFC 6533 section 3"""
    conversation = Conversation(MX)
    conversation.lines("EHLO x", "MAIL FROM:<é@b> SMTPUTF8")
    assert conversation.lines(f"RCPT TO:<é@b> ORCPT={given_}").startswith("250")
    assert conversation.asked(RecipientGiven) == [RecipientGiven(Mailbox("é", "b"), (), kept)]


@pytest.mark.parametrize(
    "orcpt",
    [
        *(r"utf-8;\x{}@b", r"utf-8;\x{D800}@b", r"utf-8;\x{FFFFFF}@b", r"utf-8;\x{0D}\x{0A}x", r"utf-8;a+2Bb"),
        *(r"utf-8;a\b", "rfc822;é@b", "utf-8;", "utf-8;" + "é" * 84, "utf-8;a\u202eb"),
    ],
)
def test_an_original_recipient_that_cannot_be_is_refused(orcpt: str) -> None:
    conversation = Conversation(MX)
    conversation.lines("EHLO x", "MAIL FROM:<é@b> SMTPUTF8")
    assert conversation.lines(f"RCPT TO:<é@b> ORCPT={orcpt}").startswith("501 5.5.4")


def test_utf8_in_a_parameter_needs_smtputf8() -> None:
    conversation = Conversation(MX)
    conversation.lines("EHLO x", "MAIL FROM:<a@b>")
    assert conversation.lines("RCPT TO:<b@b> ORCPT=utf-8;é@b").startswith("501 5.5.4")
    assert conversation.lines(r"RCPT TO:<b@b> ORCPT=utf-8;\x{E9}@b").startswith("250")


@given(
    st.text(max_size=40), st.sampled_from(["BY", "HOLDFOR", "HOLDUNTIL", "MT-PRIORITY", "REQUIRETLS", "AUTH", "ENVID"])
)
def test_any_value_is_taken_or_refused(value: str, keyword: str) -> None:
    conversation = Conversation(FULL, tls=TLS)
    conversation.lines("EHLO x")
    line = f"MAIL FROM:<a@b> {keyword}={value}".replace("\r", "").replace("\n", "").encode("utf-8", "surrogatepass")
    assert conversation.say(line + b"\r\n")[:3] in (b"250", b"501", b"500", b"555")


@pytest.mark.parametrize(
    ("line", "asked"), [("VRFY é SMTPUTF8", "é"), ("VRFY SMTPUTF8", "SMTPUTF8"), ("EXPN é smtputf8", "é")]
)
def test_smtputf8_may_follow_a_name(line: str, asked: str) -> None:
    """RFC 6531 section 3.7.4.2"""
    conversation = Conversation(FULL)
    conversation.lines(line)
    assert getattr(conversation.events[0], "argument", None) == asked
