"""SMTP replies as values (RFC 5321 section 4.2), with their enhanced status (RFC 2034)."""

from __future__ import annotations

from dataclasses import dataclass, field

from postroad.vocabulary.enhanced_status import EnhancedStatus


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply, whole, on either side of the wire.

    `code` is 200..559; `lines` has at least one member, each of printable
    US-ASCII or HT, without CR or LF; `status`, when given, agrees with the
    first digit of `code` (RFC 2034 section 4).

    Raises ValueError when any of that does not hold, so that a Reply that
    exists can always be sent. Text from a peer goes through `printable` first.
    """

    code: int
    lines: tuple[str, ...]
    status: EnhancedStatus | None = None
    wire: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (2 <= self.code // 100 <= 5 and self.code // 10 % 10 <= 5):
            raise ValueError(f"reply code {self.code} is outside RFC 5321 section 4.2")
        if not self.lines:
            raise ValueError("a reply has at least one line")
        for line in self.lines:
            if not (line.isascii() and (line.isprintable() or line.replace("\t", " ").isprintable())):
                raise ValueError("a reply line is printable US-ASCII")
        if self.status is not None and self.status.class_ != self.code // 100:
            raise ValueError(f"status {self.status} contradicts code {self.code}")
        prefix = f"{self.status} " if self.status else ""
        octets = f"{self.code} {prefix}{self.lines[-1]}\r\n"
        if len(self.lines) > 1:
            octets = "".join([f"{self.code}-{prefix}{line}\r\n" for line in self.lines[:-1]]) + octets
        object.__setattr__(self, "wire", octets.encode("ascii"))

    @property
    def is_positive(self) -> bool:
        return self.code < 400

    def __str__(self) -> str:
        """One line for people: `550 5.1.1 No such user here`."""
        status = f"{self.status} " if self.status else ""
        return f"{self.code} {status}{' '.join(self.lines)}"


def reply(code: int, text: str, *more: str, status: str | None = None) -> Reply:
    """A Reply from its plain parts: `reply(550, "No such user here", status="5.1.1")`."""
    return Reply(code, (text, *more), EnhancedStatus.parse(status) if status else None)


def printable(text: str, most: int = 400) -> str:
    """`text` made fit for a reply, a report or a terminal: what is not printable US-ASCII becomes `?`,
    and what is longer than `most` characters is cut."""
    if len(text) > most:
        text = text[:most]
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" or c == "\t" else "?" for c in text)
