"""What a rule says of one question: let through, or refused in these words, and why."""

from __future__ import annotations

import msgspec

from postroad.vocabulary.reply import Reply, reply
from postroad.vocabulary.story import Verdict


class Ruling(msgspec.Struct, frozen=True):
    """`reply` is None when the question is let through; `verdict` is what the ledger keeps of it."""

    verdict: Verdict
    reply: Reply | None = None


def let_through(rule: str, reason: str) -> Ruling:
    return Ruling(Verdict(rule, "pass", reason))


def refused(rule: str, reason: str, code: int, status: str, text: str) -> Ruling:
    """A refusal: "reject" with a 5yz code, "defer" with a 4yz code. `text` must be printable US-ASCII."""
    return Ruling(Verdict(rule, "reject" if code >= 500 else "defer", reason), reply(code, text, status=status))


def answered(rule: str, reason: str, code: int, status: str, text: str) -> Ruling:
    """A question that is answered with a 2yz reply of its own."""
    return Ruling(Verdict(rule, "pass", reason), reply(code, text, status=status))
