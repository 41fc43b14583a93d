"""Mailboxes and paths as values (RFC 5321 section 4.1.2).

The grammar is read by `wire/smtp/paths.py`; here is what it yields.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec

_DOT_STRING = re.compile(r"[\w!#$%&'*+\-/=?^`{|}~]+(?:\.[\w!#$%&'*+\-/=?^`{|}~]+)*")

SUBADDRESS_SEPARATOR = "+"


class Mailbox(msgspec.Struct, frozen=True, array_like=True, order=True):
    """local-part@domain.

    `local_part` is the meaning, not the spelling: quotes and backslashes of a
    quoted-string are gone (RFC 5321 section 4.1.2: the forms are equivalent).
    `domain` is in lower case, internationalised labels as A-labels; an address
    literal keeps its brackets ("[192.0.2.1]", "[IPv6:2001:db8::1]"). It is empty
    only in `<postmaster>` without a domain (RFC 5321 section 4.5.1).
    """

    local_part: str
    domain: str

    def __str__(self) -> str:
        """The spelling for the wire: quoted only where the grammar asks for it."""
        local = self.local_part
        if not (local.isalnum() or _DOT_STRING.fullmatch(local)):
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def is_literal(self) -> bool:
        return self.domain.startswith("[")

    @property
    def is_ascii(self) -> bool:
        """Whether it can be sent to a server without SMTPUTF8 (RFC 6531 section 3.3)."""
        return self.local_part.isascii()

    def without_tag(self) -> Mailbox:
        """`user` for the sub-address `user+tag` (RFC 5233 section 3); what has none, or nothing before it, stays."""
        user, plus, _ = self.local_part.partition(SUBADDRESS_SEPARATOR)
        return Mailbox(user, self.domain) if plus and user else self

    def key(self) -> str:
        """How the address is found in our own directory: without regard to case."""
        return f"{self.local_part.lower()}@{self.domain}"


ReversePath: TypeAlias = Mailbox | None
"""None is the null reverse-path `<>` of notifications (RFC 5321 section 4.5.5)."""


def path_text(path: ReversePath) -> str:
    """`<ann@a.example>`, or `<>` for the null reverse-path."""
    return "<>" if path is None else f"<{path}>"
