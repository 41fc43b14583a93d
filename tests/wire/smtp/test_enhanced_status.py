"""The enhanced status of every reply that has one (RFC 2034, RFC 3463)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import postroad
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.wire.smtp.server_profile import ServerProfile
from tests.wire.smtp.conversation import FULL, LMTP, MX, ODMR, SUBMISSION, TLS, Conversation

SOURCES = sorted(Path(postroad.__file__).parent.rglob("*.py"))
LINE = re.compile(r"([245])\d\d[ -](?:([245])\.(\d{1,3})\.(\d{1,3}) .*)?")

LINES = [
    "EHLO client.example",
    "HELO client.example",
    "LHLO client.example",
    "EHLO",
    "MAIL FROM:<ann@a.example>",
    "MAIL FROM:<later@a.example> SIZE=5",
    "MAIL FROM:<a@b> SIZE=999999",
    "MAIL FROM:<a@b> BY=1;R",
    "MAIL FROM:<a@b> X=1",
    "MAIL FROM:<@> BODY=x",
    "MAIL FROM:<\u00e9@b>",
    "SOML FROM:<ann@a.example>",
    "RCPT TO:<bob@b.example>",
    "RCPT TO:<nobody@b.example>",
    "RCPT TO:<later@b.example>",
    "RCPT TO:<bob@b.example> NOTIFY=NEVER,DELAY",
    "DATA",
    "Subject: x",
    ".",
    "BDAT 0",
    "BDAT 0 LAST",
    "BDAT x",
    "RSET",
    "NOOP",
    "VRFY ann",
    "VRFY",
    "EXPN staff",
    "EXPN nobody",
    "HELP",
    "HELP MAIL",
    "HELP NOSUCH",
    "STARTTLS now",
    "AUTH PLAIN AGFubgBzZWNyZXQ=",
    "AUTH PLAIN AGFubgB4",
    "AUTH PLAIN *",
    "AUTH X",
    "ETRN a.example",
    "ETRN later.example",
    "ETRN c.example",
    "ATRN b.example",
    "TURN now",
    "XCLIENT ADDR=192.0.2.1",
    "XCLIENT ADDR=192.0.2.66",
    "XYZZY",
    "QUIT",
]


def replies_in(said: str) -> Iterator[list[str]]:
    lines: list[str] = []
    for line in said.splitlines():
        lines.append(line)
        if line[3:4] != "-":
            yield lines
            lines = []
    assert lines == []


def check(reply: list[str]) -> None:
    """RFC 2034 section 4: on each line of every 2yz, 4yz and 5yz, of its own class; not in the greeting, nor in what
    answers EHLO and HELO."""
    if reply[0][0] == "3" or reply[0][4:].startswith("mx.example.org"):
        assert not any(EnhancedStatus.parse(line[4:]) for line in reply)
        return
    found = [LINE.fullmatch(line) for line in reply]
    assert all(match and match[2] == match[1] for match in found), reply


@pytest.mark.parametrize(
    "profile", [MX, FULL, SUBMISSION, ODMR, LMTP], ids=["mx", "full", "submission", "odmr", "lmtp"]
)
@pytest.mark.parametrize("in_tls", [False, True])
@given(lines=st.lists(st.sampled_from(LINES), max_size=12))
def test_every_reply_has_a_status_of_its_class(profile: ServerProfile, in_tls: bool, lines: list[str]) -> None:
    conversation = Conversation(profile, tls=TLS if in_tls else None)
    said = conversation.greeting.decode()
    for line in lines:
        said += conversation.lines(line)
    for reply in replies_in(said):
        check(reply)


def test_each_line_alone_is_answered_with_a_status_too() -> None:
    """So that none of them is left to chance."""
    for line in LINES:
        for profile in (MX, FULL):
            for reply in replies_in(Conversation(profile).lines("EHLO x", line)):
                check(reply)


def _written(tree: ast.AST) -> Iterator[tuple[int, bool]]:
    """The replies whose code is written there: `reply(code, text, status=...)` and `Reply(code, lines, status)`,
    with whether they have a status."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        kind, code = node.func.id, node.args[0]
        if kind not in ("reply", "Reply") or not (isinstance(code, ast.Constant) and isinstance(code.value, int)):
            continue
        named = any(keyword.arg == "status" for keyword in node.keywords)
        yield code.value, named or (kind == "Reply" and len(node.args) == 3)


def test_no_reply_is_written_without_a_status() -> None:
    """Wherever in the source: but for the greeting, HELO, EHLO and 3yz."""
    seen, without = 0, []
    for source in SOURCES:
        for code, has_status in _written(ast.parse(source.read_text("utf-8"))):
            seen += 1
            if not has_status and code // 100 != 3:
                without.append((source.name, code))
    assert seen > 80
    assert sorted(without) == [("server_profile.py", 220), *[("server_profile.py", 250)] * 3]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2.0.0", (2, 0, 0)),
        ("5.7.30 REQUIRETLS support required", (5, 7, 30)),
        ("4.999.999", (4, 999, 999)),
        ("5.1.1\ttext", (5, 1, 1)),
    ],
)
def test_a_status_is_a_class_a_subject_and_a_detail(text: str, parts: tuple[int, int, int]) -> None:
    """RFC 3463 section 2"""
    assert EnhancedStatus.parse(text) == EnhancedStatus(*parts)


@pytest.mark.parametrize(
    "text", ["", "2", "2.0", "3.0.0", "1.0.0", "6.1.1", "5.1000.0", "5.1.1000", "5.1.x", "5..1", "5.1.-1"]
)
def test_what_is_no_status_is_none(text: str) -> None:
    assert EnhancedStatus.parse(text) is None
