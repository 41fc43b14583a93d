"""The table of what may come when, its drawing, and a walk over everything the session can be in."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import msgspec
import pytest

from postroad.vocabulary.reply import Reply, reply
from postroad.wire.session import Wait
from postroad.wire.smtp.server_profile import ServerProfile
from postroad.wire.smtp.server_state import State
from postroad.wire.smtp.transitions import TRANSITIONS, Phase, Verb, in_order, mermaid, next_phase
from tests.wire.smtp.conversation import MX, QUEUED, SUBMISSION, Conversation

DIAGRAM = Path(__file__).resolve().parents[3] / "docs" / "smtp-states.md"
TRANSACTION = {Phase.SENDER, Phase.RECIPIENTS, Phase.CONTENT, Phase.CHUNK, Phase.CHUNKS}


def test_the_drawing_in_the_docs_is_the_table() -> None:
    text = DIAGRAM.read_text(encoding="utf-8")
    drawn = text.partition("```mermaid\n")[2].partition("```")[0]
    assert drawn == mermaid(), "put the output of postroad.wire.smtp.transitions.mermaid() into docs/smtp-states.md"


def test_no_command_leads_out_of_closed() -> None:
    assert not any(phase is Phase.CLOSED for phase, _ in TRANSITIONS)


def test_a_refusal_begins_nothing() -> None:
    for (phase, verb), moves in TRANSITIONS.items():
        for digit, to in moves.items():
            if digit in (4, 5):
                assert to is Phase.READY, (phase, verb)


def test_only_mail_begins_a_transaction() -> None:
    begins = {
        verb
        for (phase, verb), moves in TRANSITIONS.items()
        if phase not in TRANSACTION and TRANSACTION & set(moves.values())
    }
    assert begins == {Verb.MAIL, Verb.SEND, Verb.SOML, Verb.SAML}
    assert not in_order(Phase.READY, Verb.RCPT)
    assert next_phase(Phase.RECIPIENTS, Verb.DATA, 451) is Phase.RECIPIENTS


# ---- the walk ------------------------------------------------------------------------------------

COMMANDS = [
    b"EHLO x\r\n",
    b"HELO x\r\n",
    b"EHLO\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"MAIL FROM:<refused@b>\r\n",
    b"MAIL FROM:<a@@b>\r\n",
    b"RCPT TO:<b@b>\r\n",
    b"RCPT TO:<nobody@b>\r\n",
    b"RCPT TO:<later@b>\r\n",
    b"DATA\r\n",
    b"DATA x\r\n",
    b"BDAT 3 LAST\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY a\r\n",
    b"BOO\r\n",
    b"NOOP\n\r\n",
    b"QUIT\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n",
    b"AUTH PLAIN AGFubgBmYWxzZQ==\r\n",
    b"AUTH LOGIN\r\n",
    b"YW5u\r\n",
    b"c2VjcmV0\r\n",
    b"*\r\n",
]
CONTENTS = [b"x\r\n.\r\n", b".\r\n", b"x" * 1200 + b"\r\n.\r\n", b"x\n.\r\n.\r\n", b"y" * 2000 + b"\r\n.\r\n", b""]
HANDSHAKE = b"(handshake)"


def actions(state: State) -> list[bytes]:
    if state.phase is Phase.CONTENT:
        return CONTENTS
    return [HANDSHAKE, b"EHLO x\r\n", b""] if state.phase is Phase.STARTING_TLS else COMMANDS


def act(conversation: Conversation, action: bytes) -> bytes:
    if action == HANDSHAKE:
        conversation.start_tls()
        return b""
    return conversation.say(action)


def replay(profile: ServerProfile, at_end: Reply, path: tuple[bytes, ...]) -> Conversation:
    conversation = Conversation(profile, at_end=at_end)
    for action in path:
        act(conversation, action)
    return conversation


def check(before: State, action: bytes, said: bytes, after: State) -> None:
    """What must be so of every single step."""
    assert (after.transaction is not None) == (after.phase in TRANSACTION)
    if before.phase is Phase.CONTENT:
        assert after.phase in (Phase.READY, Phase.CLOSED)
    if before.transaction is None and after.transaction is not None:
        assert before.phase is Phase.READY
        assert said.startswith(b"250")
    if after.identity != before.identity:
        assert said.startswith(b"235") or action == HANDSHAKE
    if said[:1] in (b"4", b"5") and before.phase is not Phase.CONTENT and after.transaction is not None:
        assert after.transaction == before.transaction
    if action == HANDSHAKE:
        assert (after.greeted, after.identity, after.transaction) == (None, "", None)


@pytest.mark.parametrize("at_end", [QUEUED, reply(452, "No space", status="4.3.1"), reply(554, "No", status="5.7.1")])
@pytest.mark.parametrize("profile", [MX, SUBMISSION])
def test_whatever_happened_equal_states_answer_alike(profile: ServerProfile, at_end: Reply) -> None:
    """All states, by all commands, good and bad, breadth first. When another way leads to a state that is known
    already, every command must there be answered as it was on the first way: nothing is carried over."""
    profile = msgspec.structs.replace(profile, bad_commands=10_000, recipients_max=1, message_bytes=1500)
    start = replay(profile, at_end, ()).session.state
    answers: dict[State, list[tuple[bytes, State]]] = {}
    seen_edges = 0
    todo: deque[tuple[bytes, ...]] = deque([()])
    while todo:
        path = todo.popleft()
        state = replay(profile, at_end, path).session.state
        if state.phase is Phase.CLOSED:
            continue
        outcome = []
        for action in actions(state):
            conversation = replay(profile, at_end, path)
            said = act(conversation, action)
            after = conversation.session.state
            check(state, action, said, after)
            outcome.append((said, after))
        seen_edges += len(outcome)
        if state in answers:
            assert outcome == answers[state], path
            continue
        answers[state] = outcome
        todo.extend((*path, action) for action in actions(state))
    assert start in answers
    expected = {Phase.CONNECTED, Phase.READY, Phase.STARTING_TLS, Phase.SENDER, Phase.RECIPIENTS, Phase.CONTENT}
    assert expected <= {state.phase for state in answers}
    assert seen_edges > 300


def test_the_walk_can_fail() -> None:
    """A closed session says no more, so a state that differs is told apart."""
    open_, closed = replay(MX, QUEUED, ()), replay(MX, QUEUED, (b"QUIT\r\n",))
    assert open_.session.state != closed.session.state
    assert closed.say(b"NOOP\r\n") == b""
    assert closed.wait is Wait.CLOSED
