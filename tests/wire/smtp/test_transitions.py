"""The table of what may come when, and its drawing; test_walk.py goes along its arrows."""

from __future__ import annotations

from pathlib import Path

from postroad.wire.smtp.transitions import TRANSITIONS, Phase, Verb, in_order, mermaid, next_phase

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
