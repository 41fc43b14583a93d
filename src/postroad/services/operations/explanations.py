"""`postroad explain`: replies in plain words. It needs no store and no server."""

from __future__ import annotations

from postroad.rules.explaining import explain
from postroad.services.operations.performer import OperationFailed, PlainObject


def explained(text: str) -> list[PlainObject]:
    """One object for each code in the text. Raises OperationFailed when there is none."""
    found = explain(text)
    if not found:
        raise OperationFailed(
            f"there is neither a reply code (such as 550) nor an enhanced status (such as 5.1.1) in {text!r}", 2
        )
    return [{"code": one.code, "meaning": one.meaning, "advice": one.advice, "lasts": one.lasts} for one in found]
