"""Enhanced mail system status codes (RFC 3463)."""

from __future__ import annotations

import re

import msgspec

_FORM = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")


class EnhancedStatus(msgspec.Struct, frozen=True, array_like=True):
    """class.subject.detail (RFC 3463 section 2)."""

    class_: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.class_}.{self.subject}.{self.detail}"

    @classmethod
    def parse(cls, text: str) -> EnhancedStatus | None:
        """The status that `text` begins with, or None. Never raises."""
        match = _FORM.match(text)
        if match is None or (match.end() < len(text) and text[match.end()] not in " \t"):
            return None
        return cls(int(match[1]), int(match[2]), int(match[3]))

    def with_class(self, class_: int) -> EnhancedStatus:
        """The same subject and detail in another class (4 becomes 5 when we give up)."""
        return EnhancedStatus(class_, self.subject, self.detail)
