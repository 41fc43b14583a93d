"""Every command in every state, with the exact code of its answer (RFC 5321 sections 4.1.4 and 4.3.2)."""

from __future__ import annotations

import pytest

from postroad.wire.smtp.server_profile import ServerProfile
from postroad.wire.smtp.transitions import NOT_COMMANDS, Phase, Verb
from tests.wire.smtp.conversation import FULL, LMTP, MX, ODMR, TLS, Conversation

LINES: dict[Verb, str] = {
    Verb.HELO: "HELO client.example",
    Verb.EHLO: "EHLO client.example",
    Verb.LHLO: "LHLO client.example",
    Verb.MAIL: "MAIL FROM:<a@a.example>",
    Verb.SEND: "SEND FROM:<a@a.example>",
    Verb.SOML: "SOML FROM:<a@a.example>",
    Verb.SAML: "SAML FROM:<a@a.example>",
    Verb.RCPT: "RCPT TO:<b@b.example>",
    Verb.DATA: "DATA",
    Verb.BDAT: "BDAT 0",
    Verb.RSET: "RSET",
    Verb.NOOP: "NOOP",
    Verb.VRFY: "VRFY ann",
    Verb.EXPN: "EXPN staff",
    Verb.HELP: "HELP",
    Verb.QUIT: "QUIT",
    Verb.STARTTLS: "STARTTLS",
    Verb.AUTH: "AUTH PLAIN AGFubgBzZWNyZXQ=",
    Verb.ETRN: "ETRN a.example",
    Verb.ATRN: "ATRN a.example",
    Verb.TURN: "TURN",
    Verb.XCLIENT: "XCLIENT ADDR=192.0.2.1",
}
TRANSACTION = [LINES[Verb.EHLO], LINES[Verb.MAIL]]
LEAD: dict[Phase, list[str]] = {
    Phase.CONNECTED: [],
    Phase.READY: [LINES[Verb.EHLO]],
    Phase.SENDER: TRANSACTION,
    Phase.RECIPIENTS: [*TRANSACTION, LINES[Verb.RCPT]],
    Phase.CHUNKS: [*TRANSACTION, LINES[Verb.RCPT], LINES[Verb.BDAT]],
    Phase.OUT_OF_STEP: [*TRANSACTION, "DATA", "Subject: x"],
}
STATES = list(LEAD)

# Over TLS, on a profile with everything. One row per verb, one column per state, in the order of LEAD.
EVERYWHERE: dict[Verb, str] = {
    Verb.HELO: "250 250 250 250 250 503",
    Verb.EHLO: "250 250 250 250 250 503",
    Verb.LHLO: "500 500 500 500 500 500",
    Verb.MAIL: "503 250 503 503 503 503",
    Verb.SEND: "503 250 503 503 503 503",
    Verb.SOML: "503 250 503 503 503 503",
    Verb.SAML: "503 250 503 503 503 503",
    Verb.RCPT: "503 503 250 250 503 503",
    Verb.DATA: "503 503 554 354 503 503",
    Verb.BDAT: "503 503 554 250 250 503",
    Verb.RSET: "250 250 250 250 250 250",
    Verb.NOOP: "250 250 250 250 250 250",
    Verb.VRFY: "252 252 252 252 252 252",
    Verb.EXPN: "250 250 250 250 250 250",
    Verb.HELP: "214 214 214 214 214 214",
    Verb.QUIT: "221 221 221 221 221 221",
    Verb.STARTTLS: "503 503 503 503 503 503",
    Verb.AUTH: "503 235 503 503 503 503",
    Verb.ETRN: "503 250 503 503 503 503",
    Verb.ATRN: "502 502 502 502 502 502",
    Verb.TURN: "503 530 503 503 503 503",
    Verb.XCLIENT: "220 220 503 503 503 503",
}
# On the plainest port 25, in clear; only what differs.
PLAIN_PORT = EVERYWHERE | {
    Verb.SEND: "502 502 502 502 - 502",
    Verb.SOML: "502 502 502 502 - 502",
    Verb.SAML: "502 502 502 502 - 502",
    Verb.BDAT: "502 502 502 502 - 502",
    Verb.EXPN: "502 502 502 502 - 502",
    Verb.STARTTLS: "503 220 220 220 - 503",
    Verb.AUTH: "502 502 502 502 - 502",
    Verb.ETRN: "502 502 502 502 - 502",
    Verb.TURN: "502 502 502 502 - 502",
    Verb.XCLIENT: "502 502 502 502 - 502",
}


def test_the_tables_are_whole() -> None:
    verbs = set(Verb) - NOT_COMMANDS
    assert set(LINES) == set(EVERYWHERE) == set(PLAIN_PORT) == verbs
    assert all(len(row.split()) == len(STATES) for row in (*EVERYWHERE.values(), *PLAIN_PORT.values()))


def in_state(profile: ServerProfile, state: Phase) -> Conversation:
    conversation = Conversation(profile, tls=TLS if profile is FULL else None)
    conversation.lines(*LEAD[state])
    assert conversation.session.state.phase is state
    return conversation


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", LINES)
def test_an_answer_in_a_state(verb: Verb, state: Phase) -> None:
    conversation = in_state(FULL, state)
    assert conversation.lines(LINES[verb])[:3] == EVERYWHERE[verb].split()[STATES.index(state)]


@pytest.mark.parametrize("state", [state for state in STATES if state is not Phase.CHUNKS])
@pytest.mark.parametrize("verb", LINES)
def test_an_answer_on_a_port_with_little(verb: Verb, state: Phase) -> None:
    conversation = in_state(MX, state)
    assert conversation.lines(LINES[verb])[:3] == PLAIN_PORT[verb].split()[STATES.index(state)]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", LINES)
def test_a_refused_command_changes_nothing(verb: Verb, state: Phase) -> None:
    """But for BDAT, whose refusal ends its transaction."""
    conversation = in_state(FULL, state)
    before = conversation.session.state
    code = int(conversation.lines(LINES[verb])[:3])
    after = conversation.session.state
    if code < 400 or (verb is Verb.BDAT and state is Phase.SENDER):
        return
    assert (after.phase, after.greeted, after.identity) == (before.phase, before.greeted, before.identity)
    assert after.transaction == before.transaction


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("HELO", "501"),
        ("EHLO a b", "501"),
        ("RSET now", "501"),
        ("QUIT now", "501"),
        ("VRFY", "501"),
        ("EXPN", "501"),
        ("EXPN \x01", "501"),
        ("HELP NOSUCH", "504"),
        ("XYZZY", "500"),
        ("MAILFROM:<a@b>", "500"),
    ],
)
def test_a_bad_argument_in_any_state(line: str, code: str, state: Phase) -> None:
    if state is Phase.OUT_OF_STEP and line.split(maxsplit=1)[0] in ("HELO", "EHLO"):
        code = "503"
    assert in_state(FULL, state).lines(line)[:3] == code


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("MAIL", "501"),
        ("MAIL FROM:<a@@b>", "501"),
        ("MAIL FROM:<a@b> XYZ=1", "555"),
        ("SEND FROM <a@b>", "501"),
        ("SOML TO:<a@b>", "501"),
        ("SAML FROM:<a@b", "501"),
        ("STARTTLS now", "501"),
        ("AUTH", "501"),
        ("AUTH NOSUCH", "504"),
        ("ETRN", "501"),
        ("ETRN a..b", "501"),
        ("ETRN #", "501"),
        ("ETRN #a b", "501"),
        ("ETRN [192.0.2.1]", "501"),
        ("ETRN @", "501"),
        ("TURN now", "530"),
        ("XCLIENT", "501"),
        ("XCLIENT FOO=1", "501"),
    ],
)
def test_a_bad_argument_where_the_command_is_in_order(line: str, code: str) -> None:
    conversation = in_state(FULL, Phase.READY)
    assert conversation.lines(line)[:3] == code
    assert conversation.session.state.phase is Phase.READY


@pytest.mark.parametrize("verb", [verb for verb in LINES if verb not in (Verb.ATRN, Verb.LHLO)])
def test_help_explains_each_command_that_is_offered(verb: Verb) -> None:
    conversation = in_state(FULL, Phase.READY)
    listed = conversation.lines("HELP").split()
    assert verb.value in listed
    answer = conversation.lines(f"help {verb.lower()}")
    assert answer.startswith(f"214-2.0.0 {verb}")
    assert answer.splitlines()[-1].startswith("214 2.0.0 ")


def test_help_is_silent_about_what_is_not_offered() -> None:
    conversation = Conversation(MX)
    assert not set(conversation.lines("HELP").split()) & {
        "BDAT",
        "SEND",
        "SOML",
        "SAML",
        "EXPN",
        "ETRN",
        "TURN",
        "AUTH",
    }
    for topic in ("BDAT", "SEND", "LHLO", "XCLIENT", "NOSUCH", "MAIL FROM"):
        assert conversation.lines(f"HELP {topic}").startswith("504 5.5.4")


def test_where_mail_is_fetched_none_is_taken() -> None:
    """RFC 2645 section 5.4"""
    conversation = Conversation(ODMR)
    conversation.lines("EHLO x")
    for line in ("MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "BDAT 1", "SEND FROM:<a@b>", "ETRN a.example", "TURN"):
        assert conversation.lines(line).startswith("502 5.5.1")
    assert "ATRN" in conversation.lines("HELP").split()


def test_over_lmtp_one_says_lhlo() -> None:
    """RFC 2033 section 4.1"""
    conversation = Conversation(LMTP)
    assert conversation.lines("HELO x").startswith("500 5.5.1")
    assert conversation.lines("EHLO x").startswith("500 5.5.1")
    assert conversation.lines("MAIL FROM:<a@b>").startswith("503 5.5.1")
    assert conversation.lines("LHLO x").startswith("250-mx.example.org")
    assert conversation.lines("EHLO x").startswith("500 5.5.1")
    assert conversation.lines("MAIL FROM:<a@b>").startswith("250")
