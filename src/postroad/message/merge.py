"""A letter with gaps that a line of a table fills, for `postroad send --merge`: one letter for each line.

`{name}` in the subject, the text, the HTML and the To field stands for the column of that name; `{name|friend}` is
"friend" where the column is empty; `{{name}}` is `{name}` itself. Braces around anything that could be no name of a
column, such as the rules of a style sheet, stay as they are.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from postroad.message.compose import Attachment, Composed, Draft, compose

_GAP = re.compile(r"\{\{([^{}\r\n]*)\}\}|\{([^{}:;\r\n|]{1,64})(?:\|([^{}\r\n]*))?\}")
_NAMED = re.compile(r"\s*(?P<name>[^<>]*?)\s*<(?P<address>[^<>]*)>\s*", re.DOTALL)


class Gap(msgspec.Struct, frozen=True):
    """`otherwise` is said where the column is empty; None where it must not be."""

    column: str
    otherwise: str | None = None


class Template(msgspec.Struct, frozen=True):
    pieces: tuple[str | Gap, ...]

    def fill(self, values: Mapping[str, str], written: Callable[[str], str] = str) -> str:
        """`values` by `column_key`; `written` says how a value is written in this kind of text. Raises ValueError for
        an empty one that has no word instead."""
        return "".join(piece if isinstance(piece, str) else written(_value(piece, values)) for piece in self.pieces)


class Wording(msgspec.Struct, frozen=True, kw_only=True):
    """The letter as it is written for everybody. `to` says how a recipient is addressed, "{name} <{email}>"."""

    from_: str
    to: str
    subject: str = ""
    text: str = ""
    html: str = ""
    attachments: tuple[Attachment, ...] = ()
    list_unsubscribe: str = ""


class MergeLetter:
    """A wording that is ready to be filled. Raises ValueError for a gap that no column has the name of."""

    def __init__(self, wording: Wording, columns: Sequence[str]) -> None:
        self.wording = wording
        named = _NAMED.fullmatch(wording.to)
        self._name = parse(named["name"] if named else "", columns, "To")
        self._address = parse(named["address"] if named else wording.to, columns, "To")
        self._subject = parse(wording.subject, columns, "the subject")
        self._text = parse(wording.text, columns, "the text")
        self._html = parse(wording.html, columns, "the HTML")

    def address(self, values: Mapping[str, str]) -> str:
        """The bare address as the line gives it. Raises ValueError where it is empty."""
        address = self._address.fill(values).strip()
        if not address:
            raise ValueError("there is no address")
        return address

    def write(self, values: Mapping[str, str], message_id: str = "", *, with_attachments: bool = True) -> Composed:
        """The letter for one line. Raises ValueError with what is wrong with it."""
        name = self._name.fill(values).strip().strip('"')
        address = self.address(values)
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        wording = self.wording
        return compose(
            Draft(
                from_=wording.from_,
                to=(f'"{quoted}" <{address}>' if name else address,),
                subject=self._subject.fill(values),
                text=self._text.fill(values),
                html=self._html.fill(values, html.escape),
                attachments=wording.attachments if with_attachments else (),
                message_id=message_id,
                list_unsubscribe=wording.list_unsubscribe,
            )
        )


def column_key(name: str) -> str:
    """How a column is found: without regard to case and to spaces around it."""
    return name.strip().casefold()


def parse(text: str, columns: Sequence[str], where: str) -> Template:
    """Raises ValueError, with the columns there are, for a gap that none has the name of."""
    keys = {column_key(column) for column in columns}
    pieces = tuple(_pieces(text))
    for piece in pieces:
        if isinstance(piece, Gap) and column_key(piece.column) not in keys:
            raise ValueError(
                f"{where} has {{{piece.column}}}, which is no column; there are {', '.join(columns)}. "
                f"To say it as it stands, write {{{{{piece.column}}}}}"
            )
    return Template(pieces)


def _pieces(text: str) -> Iterator[str | Gap]:
    at = 0
    for match in _GAP.finditer(text):
        if at < match.start():
            yield text[at : match.start()]
        at = match.end()
        yield f"{{{match[1]}}}" if match[1] is not None else Gap(match[2].strip(), match[3])
    if at < len(text):
        yield text[at:]


def _value(gap: Gap, values: Mapping[str, str]) -> str:
    value = values.get(column_key(gap.column), "")
    if value.strip():
        return value
    if gap.otherwise is None:
        raise ValueError(f"{gap.column} is empty; fill it in, or give another word: {{{gap.column}|friend}}")
    return gap.otherwise
