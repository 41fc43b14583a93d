"""Walks over everything an SMTP session can be in.

First the graph: all states, by all commands, good and bad, breadth first, until no new one comes. Then the words: every
order of eight commands up to six of them, against a model that a page of code can hold.
"""

from __future__ import annotations

from collections import deque
from itertools import product
from typing import NamedTuple

import msgspec
import pytest

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.reply import Reply, reply
from postroad.wire.sasl import to_base64
from postroad.wire.session import Wait
from postroad.wire.smtp.events import ContentEnded, CredentialsGiven
from postroad.wire.smtp.server import ServerSession
from postroad.wire.smtp.server_profile import ServerProfile
from postroad.wire.smtp.server_state import State
from postroad.wire.smtp.transitions import Phase
from tests.wire.smtp.conversation import FULL, LMTP, MX, ODMR, QUEUED, SUBMISSION, TLS, Conversation
from tests.wire.smtp.forking import forked
from tests.wire.smtp.secrets import cram_answer, scram

TRANSACTION = {Phase.SENDER, Phase.RECIPIENTS, Phase.CONTENT, Phase.CHUNK, Phase.CHUNKS}
DISK_FULL = reply(452, "No space", status="4.3.1")
FILTER_FAILED = reply(451, "Try again later", status="4.3.0")
FILTERED = reply(554, "No", status="5.7.1")


# ---- the graph -----------------------------------------------------------------------------------


def _scram_lines() -> list[bytes]:
    """All that ann's client says in a SCRAM exchange with the world of conversation.py, which never varies."""
    conversation = Conversation(FULL, tls=TLS)
    conversation.lines("EHLO x")
    exchange = scram("ann", "secret")
    lines = [exchange.initial(1000) or b""]
    answer = conversation.lines(f"AUTH SCRAM-SHA-256 {lines[0].decode()}")
    lines.append(exchange.respond(answer[4:].strip().encode()))
    return lines


SCRAM_FIRST, SCRAM_FINAL = _scram_lines()
CRAM_LINE = cram_answer("334 " + to_base64(b"<" + b"37" * 18 + b"@mx.example.org>").decode(), "ann", "secret").encode()
COMMANDS = [
    *(b"EHLO x", b"HELO x", b"LHLO x", b"EHLO", b"BOO", b"NOOP", b"NOOP\n", b"VRFY a", b"VRFY", b"EXPN staff", b"EXPN"),
    *(b"HELP", b"HELP BOO", b"RSET", b"RSET x", b"QUIT", b"QUIT x", b"STARTTLS", b"STARTTLS x"),
    *(b"MAIL FROM:<a@b>", b"MAIL FROM:<a@b> BODY=BINARYMIME", b"MAIL FROM:<refused@b>", b"MAIL FROM:<a@@b>"),
    *(b"SEND FROM:<a@b>", b"SOML FROM:<later@b>", b"SAML", b"MAIL FROM:<a@b> REQUIRETLS=1"),
    *(b"RCPT TO:<b@b>", b"RCPT TO:<nobody@b>", b"RCPT TO:<later@b>", b"RCPT TO:<>", b"DATA", b"DATA x"),
    *(b"BDAT 2", b"BDAT 2 LAST", b"BDAT 0", b"BDAT 0 LAST", b"BDAT 2000", b"BDAT x"),
    *(b"ETRN a.example", b"ETRN", b"ATRN a.example", b"ATRN b.example", b"ATRN ..", b"TURN", b"TURN x"),
    *(b"XCLIENT ADDR=192.0.2.1", b"XCLIENT ADDR=192.0.2.66", b"XCLIENT LOGIN=ann@example.org", b"XCLIENT"),
    *(b"AUTH PLAIN AGFubgBzZWNyZXQ=", b"AUTH PLAIN AGFubgBmYWxzZQ==", b"AUTH LOGIN", b"AUTH SCRAM-SHA-256"),
    *(b"AUTH CRAM-MD5", b"AUTH"),
]
RESPONSES = [b"YW5u", b"c2VjcmV0", b"*", b"!", b"", SCRAM_FIRST, SCRAM_FINAL, CRAM_LINE, b"MAIL FROM:<a@b>"]
CONTENTS = [b"x\r\n.\r\n", b".\r\n", b"x" * 1200 + b"\r\n.\r\n", b"x\n.\r\n.\r\n", b"y" * 2000 + b"\r\n.\r\n", b""]
HANDSHAKE = b"(handshake)"
WAYS = 5
"""To one state that are gone; on the later ones every action is compared with the first."""


def actions(state: State) -> list[bytes]:
    """Nothing of an action is left over in the session: a state is all there is to it."""
    if state.phase is Phase.CONTENT:
        return CONTENTS
    if state.phase is Phase.CHUNK:
        assert state.chunk is not None
        left = state.chunk.left
        halves = [b"x" * (left // 2)] if 1 < left == state.chunk.size else []
        return [*halves, b"x" * left, b"\n" * left, b"x" * left + b"NOOP\r\n", b""]
    if state.phase is Phase.STARTING_TLS:
        return [HANDSHAKE, b"EHLO x\r\n", b""]
    return [line + b"\r\n" for line in (RESPONSES if state.phase is Phase.AUTHENTICATING else COMMANDS)] + [b""]


def twin_of(conversation: Conversation) -> Conversation:
    twin = Conversation.__new__(Conversation)
    twin.__dict__.update(conversation.__dict__)
    twin.session = forked(conversation.session)
    twin.events, twin.messages = [], []
    return twin


def act(conversation: Conversation, action: bytes) -> bytes:
    conversation.events.clear()
    if action == HANDSHAKE:
        conversation.start_tls()
        return b""
    return conversation.say(action)


def check(before: State, action: bytes, said: bytes, after: State, conversation: Conversation) -> None:
    """What must be so of every single step."""
    assert (after.transaction is not None) == (
        after.phase in TRANSACTION and (after.chunk is None or after.chunk.refusal is None)
    )
    if before.phase is Phase.CONTENT:
        assert after.phase in (Phase.READY, Phase.CLOSED)
    if before.transaction is None and after.transaction is not None:
        assert before.phase is Phase.READY
        assert said.startswith(b"250")
    if after.identity != before.identity:
        assert said.startswith((b"235", b"220")) or action == HANDSHAKE
    if said[:1] in (b"4", b"5") and before.phase not in (Phase.CONTENT, Phase.CHUNK) and after.transaction is not None:
        assert after.transaction == before.transaction
    if action == HANDSHAKE or (action.startswith(b"XCLIENT") and said.startswith(b"220")):
        assert (after.greeted, after.transaction, after.exchange) == (None, None, None)
    if after.phase is Phase.TURNED:
        assert before.identity
        assert conversation.wait is Wait.TURNED
    for question in conversation.asked(ContentEnded):
        assert isinstance(question, ContentEnded)
        assert before.transaction is not None
        assert before.transaction.recipients
    assert conversation.session.buffered_bytes == 0


def walk(profile: ServerProfile, at_end: Reply, tls: TlsFacts | None = None) -> tuple[dict[State, int], int]:
    """All states with the number of ways that lead there, and the number of steps. A state that is reached again by
    another way must answer every action as it did on the first way: nothing is carried over."""
    start = Conversation(profile, at_end=at_end, tls=tls)
    answers: dict[State, list[tuple[bytes, State]]] = {}
    ways: dict[State, int] = {}
    edges = 0
    todo = deque([start])
    while todo:
        conversation = todo.popleft()
        state = conversation.session.state
        ways[state] = ways.get(state, 0) + 1
        if state.phase in (Phase.CLOSED, Phase.TURNED) or ways[state] > WAYS:
            continue
        outcome, twins = [], []
        for action in actions(state):
            twin = twin_of(conversation)
            said = act(twin, action)
            after = twin.session.state
            check(state, action, said, after, twin)
            outcome.append((said, after))
            twins.append(twin)
        if ways[state] == 1:
            answers[state] = outcome
            edges += len(outcome)
            todo.extend(twins)
        else:
            assert outcome == answers[state], state
    return ways, edges


@pytest.mark.parametrize("at_end", [QUEUED, DISK_FULL, FILTER_FAILED, FILTERED], ids=lambda each: str(each.code))
@pytest.mark.parametrize("name", ["mx", "submission", "odmr", "lmtp", "full"])
def test_whatever_happened_equal_states_answer_alike(name: str, at_end: Reply) -> None:
    profiles = {"mx": MX, "submission": SUBMISSION, "odmr": ODMR, "lmtp": LMTP, "full": FULL}
    profile = msgspec.structs.replace(
        profiles[name], bad_commands=10**9, messages_per_session=10**9, recipients_max=1, message_bytes=1500
    )
    ways, edges = walk(profile, at_end)
    phases = {state.phase for state in ways}
    print(f"{name}, the end of data answered {at_end.code}: {len(ways)} states, {edges} edges")
    expected = {Phase.CONNECTED, Phase.READY, Phase.STARTING_TLS, Phase.CLOSED}
    if name != "odmr":
        expected |= {Phase.SENDER, Phase.RECIPIENTS, Phase.CONTENT, Phase.OUT_OF_STEP}
    if name in ("lmtp", "full"):
        expected |= {Phase.CHUNK, Phase.CHUNKS}
    if name in ("submission", "odmr", "full"):
        expected |= {Phase.AUTHENTICATING}
    if name in ("odmr", "full"):
        expected |= {Phase.TURNED}
    assert expected <= phases


# ---- the words -----------------------------------------------------------------------------------


class Model(NamedTuple):
    """What decides the next answer, as a reader of RFC 5321 would say it; independent of the session's own table."""

    greeted: bool = True
    tls: bool = False
    known: bool = False
    sender: str = ""
    recipients: int = 0

    def over(self) -> Model:
        return self._replace(sender="", recipients=0)


WORDS = ("MAIL", "RCPT", "DATA", "BDAT", "RSET", "EHLO", "STARTTLS", "AUTH")


def expect(model: Model, word: str, sender: str, at_end: str) -> tuple[str, Model]:  # noqa: PLR0911
    """The code of the answer, and what is so after it. The end of the data is in DATA and BDAT."""
    inside = bool(model.sender)
    match word:
        case "EHLO":
            return "250", model._replace(greeted=True).over()
        case "RSET":
            return "250", model.over()
        case "STARTTLS":
            if not model.greeted or model.tls:
                return "503", model
            return "220", Model(greeted=False, tls=True)
        case "AUTH":
            if not model.greeted or inside or model.known:
                return "503", model
            return ("235", model._replace(known=True)) if model.tls else ("504", model)
        case "MAIL":
            return ("250", model._replace(sender=sender)) if model.greeted and not inside else ("503", model)
        case "RCPT":
            return ("250", model._replace(recipients=model.recipients + 1)) if inside else ("503", model)
        case "BDAT":
            code = at_end if model.recipients else "554" if inside else "503"
            return code, model.over()
        case _:
            if not inside:
                return "503", model
            return (at_end, model.over()) if model.recipients else ("554", model)


class Walker:
    """Says words to a session whose world accepts all, but for the ends of data."""

    def __init__(self, at_end: Reply) -> None:
        self.at_end = at_end
        self.taken: list[tuple[str, int]] = []

    def say(self, session: ServerSession, octets: bytes) -> bytes:
        session.receive_data(octets)
        return self.settle(session)

    def settle(self, session: ServerSession) -> bytes:
        while True:
            event = session.next_event()
            if isinstance(event, Wait):
                return session.data_to_send()
            kind = type(event)
            if kind is ContentEnded:
                transaction = session.transaction
                assert transaction is not None
                path = transaction.sender.reverse_path
                assert path is not None
                self.taken.append((path.local_part, transaction.recipients))
                session.answer(self.at_end)
            elif kind is CredentialsGiven:
                session.authenticated("ann@example.org")
            elif session._question is event:
                session.answer(None)

    def do(self, session: ServerSession, word: str, sender: str) -> str:
        """The code of the last answer."""
        if word == "MAIL":
            said = self.say(session, b"MAIL FROM:<%b@a.example>\r\n" % sender.encode())
        elif word == "DATA":
            said = self.say(session, b"DATA\r\n")
            if said.startswith(b"354"):
                said = self.say(session, b"x\r\n.\r\n")
        elif word == "STARTTLS":
            said = self.say(session, b"STARTTLS\r\n")
            if said.startswith(b"220"):
                session.tls_started(TLS)
                self.settle(session)
        else:
            said = self.say(session, _LINES[word])
        return said[:3].decode()


_LINES = {
    "RCPT": b"RCPT TO:<b@b.example>\r\n",
    "BDAT": b"BDAT 3 LAST\r\nx\r\n",
    "RSET": b"RSET\r\n",
    "EHLO": b"EHLO x\r\n",
    "AUTH": b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n",
}
PROFILE = msgspec.structs.replace(
    MX, chunking=True, binarymime=True, auth_offered=("PLAIN",), bad_commands=10**9, messages_per_session=10**9
)
# How it was before the first word: nothing, or an end of data that was refused in one way or another.
FAILED = ("MAIL", "RCPT", "RCPT", "DATA")
FAILED_BY_CHUNKS = ("MAIL", "RCPT", "RCPT", "BDAT")


def say_all(depth: int, at_end: Reply, before: tuple[str, ...]) -> int:
    """All words of up to `depth` commands after `before`; how many."""
    walker = Walker(at_end)
    start = ServerSession(PROFILE)
    walker.say(start, b"EHLO x\r\n")
    model = Model()
    for word in before:
        code, model = expect(model, word, "before", str(at_end.code))
        assert walker.do(start, word, "before") == code
    todo = [(start, model, 0)]
    count = 0
    while todo:
        session, model, said = todo.pop()
        for word in WORDS:
            twin = forked(session) if word != WORDS[-1] else session
            walker.taken.clear()
            code, after = expect(model, word, f"s{said}", str(at_end.code))
            assert walker.do(twin, word, f"s{said}") == code, (model, word)
            if walker.taken:
                assert walker.taken == [(model.sender, model.recipients)]
            transaction = twin.transaction
            assert (transaction is not None) == bool(after.sender)
            if transaction is not None:
                assert transaction.sender.reverse_path is not None
                assert transaction.sender.reverse_path.local_part == after.sender
                assert transaction.recipients == after.recipients
            count += 1
            if said + 1 < depth:
                todo.append((twin, after, said + 1))
    return count


@pytest.mark.parametrize(
    ("depth", "at_end", "before"),
    [
        (6, QUEUED, ()),
        *(
            (4, each, before)
            for each, before in product((DISK_FULL, FILTER_FAILED, FILTERED), (FAILED, FAILED_BY_CHUNKS))
        ),
        (5, DISK_FULL, ()),
    ],
)
def test_no_sender_recipient_or_verdict_carries_over(depth: int, at_end: Reply, before: tuple[str, ...]) -> None:
    assert say_all(depth, at_end, before) == sum(len(WORDS) ** n for n in range(1, depth + 1))


def test_the_model_finds_what_is_carried_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that keeps its recipients at RSET is found."""
    whole = ServerSession._drop

    def forgetful(self: ServerSession, reason: str) -> None:
        if reason != "RSET":
            whole(self, reason)

    monkeypatch.setattr(ServerSession, "_drop", forgetful)
    with pytest.raises(AssertionError):
        say_all(3, QUEUED, ())
