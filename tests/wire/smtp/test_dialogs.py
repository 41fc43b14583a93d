"""The conversations of tests/dialogs/smtp/, played against a server session.

    # comment
    profile: submission         (one of PROFILES in conversation.py; mx when it is not said)
    C: what the client says; CR LF is added
    C> octets with \\r, \\n, \\0, \\xNN escapes, as they are, nothing added
    S: what the server says, to the letter; `...` at the end stands for anything
    -- TLS handshake     -- the server closes     -- the roles change     -- nothing more is said

All that the server says must be written down, in order. The small world behind it is that of conversation.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from postroad.wire.session import Wait
from tests.wire.smtp.conversation import PROFILES, Conversation

DIALOGS = sorted((Path(__file__).resolve().parents[2] / "dialogs" / "smtp").glob("*.txt"))


class Play:
    def __init__(self, profile: str) -> None:
        self.conversation = Conversation(PROFILES[profile])
        self.said = self.conversation.greeting.decode("ascii").splitlines()

    def step(self, mark: str, text: str) -> None:
        if mark == "S:":
            assert self.said, f"the server says nothing where it should say: {text}"
            said = self.said.pop(0)
            assert said.startswith(text[:-3]) if text.endswith("...") else said == text, f"{said!r} is not {text!r}"
            return
        assert not self.said, f"the server said more: {self.said}"
        if mark == "C:":
            self.hear(text.encode() + b"\r\n")
        elif mark == "C>":
            self.hear(text.encode("latin-1").decode("unicode-escape").encode("latin-1"))
        elif text == "TLS handshake":
            assert self.conversation.wait is Wait.NEED_TLS
            self.conversation.start_tls()
        elif text == "the server closes":
            assert self.conversation.closed
        elif text == "the roles change":
            assert self.conversation.wait is Wait.TURNED
        else:
            assert text == "nothing more is said", f"unknown stage direction: {text}"

    def hear(self, octets: bytes) -> None:
        self.said += self.conversation.say(octets).decode("ascii").splitlines()


def play(dialog: str) -> None:
    lines = [line for line in dialog.splitlines() if line.strip() and not line.startswith("#")]
    profile = lines.pop(0).partition(": ")[2] if lines[0].startswith("profile: ") else "mx"
    stage = Play(profile)
    for line in lines:
        stage.step(line[:2], line[3:])
    assert not stage.said, f"the server said more: {stage.said}"


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
def test_a_dialog(path: Path) -> None:
    play(path.read_text(encoding="utf-8"))


def test_there_are_dialogs() -> None:
    assert len(DIALOGS) >= 25


@pytest.mark.parametrize(
    "wrong",
    [
        "S: 220 other.example.org ...",
        "S: 220 ...\nC: NOOP",
        "S: 220 ...\nC: NOOP\nS: 250 2.0.0 OK\nS: 250 2.0.0 OK",
        "S: 220 ...\nC: NOOP\nC: NOOP",
        "S: 220 ...\n-- the server closes",
        "S: 220 ...\n-- something else",
    ],
)
def test_a_wrong_dialog_is_found(wrong: str) -> None:
    with pytest.raises(AssertionError):
        play(wrong)
