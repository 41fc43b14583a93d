"""A reply in the words of people: which codes stand in it, what each means, what to do.

Pure: from text such as "550 5.1.1 <bob@b.example> no such user" to explanations. What is in no table is explained
by its class and subject (RFC 5321 section 4.2.1, RFC 3463 section 2).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from postroad.vocabulary.reply_codes import CLASSES, CODE_SUBJECTS, CODES, DETAILS, SUBJECTS, Explanation

_FOUND = re.compile(r"(?<![\d.])(?:(?P<status>[245]\.\d{1,3}\.\d{1,3})|(?P<code>[2-5][0-9]{2}))(?![\d]|\.\d)", re.ASCII)
_EXPLAINED_AT_ONCE = 10


class Explained(NamedTuple):
    """`code` as it was written; `lasts` tells whether it is a lasting failure, None for neither trouble nor failure."""

    code: str
    meaning: str
    advice: str
    lasts: bool | None


def explain(text: str) -> tuple[Explained, ...]:
    """What stands in the text, in its order and each once; empty when there is no code in it."""
    found: dict[str, Explained] = {}
    for match in _FOUND.finditer(text):
        code = match[0]
        if code not in found and len(found) < _EXPLAINED_AT_ONCE:
            found[code] = _status(code) if match["status"] else _code(code)
    return tuple(found.values())


def _code(text: str) -> Explained:
    known = CODES.get(int(text))
    if known is None:
        subject = CODE_SUBJECTS.get(int(text[1]))
        known = _of_class(int(text[0]), f"The second digit says: {subject}." if subject else "")
    return _explained(text, known)


def _status(text: str) -> Explained:
    first, subject, detail = map(int, text.split("."))
    known = DETAILS.get((subject, detail))
    if known is None or first == 2:
        told = SUBJECTS.get(subject)
        more = f"It is {told}." if told and subject else ""
        known = _of_class(first, known.meaning if known is not None else more)
        return _explained(text, known)
    return _explained(text, Explanation(known.meaning, known.advice or CLASSES[first].advice))


def _of_class(first: int, more: str) -> Explanation:
    known = CLASSES[first]
    return Explanation(f"{known.meaning} {more}".strip(), known.advice)


def _explained(text: str, explanation: Explanation) -> Explained:
    first = int(text[0])
    lasts = {4: False, 5: True}.get(first)
    return Explained(text, explanation.meaning, explanation.advice or (CLASSES[first].advice), lasts)
