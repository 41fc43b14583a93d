"""A list of users as CSV: what each line says, and in plain words what is wrong with it. And back again.

The first line names the columns, in any order; commas, semicolons or tabs stand between cells, as the first line has
them. An empty cell says nothing: what an account has stays.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Iterator

import msgspec

from postroad.services.operations.arguments import QUOTA_MAX, address
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.limits import USER_LIST_BYTES, USER_LIST_LINES

COLUMNS = ("address", "name", "password", "disabled", "quota", "forward", "keep_copy", "aliases")
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_YES, _NO = ("yes", "true", "1", "x", "on"), ("no", "false", "0", "off")
_SEPARATORS = ",;\t"
_CELL_CHARACTERS = 65_536
_MARKS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"PK\x03\x04", "a spreadsheet"))


class Line(msgspec.Struct, frozen=True):
    """One line of the list: `row` is what it asks for, or `wrong` why it cannot be read."""

    number: int
    address: str
    row: PlainObject = {}
    wrong: str = ""


def read(octets: bytes, encoding: str = "utf-8") -> list[Line]:
    """The lines of a list, in order. Raises OperationFailed for what is no list at all."""
    rows = _cells(_decoded(octets, encoding))
    try:
        _, heading = next(rows)
    except StopIteration:
        raise OperationFailed("the list is empty; its first line names the columns: address,name,password", 2) from None
    columns = _columns(heading)
    lines: list[Line] = []
    seen: dict[str, int] = {}
    for number, cells in rows:
        if len(lines) >= USER_LIST_LINES:
            raise OperationFailed(f"the list has more than {USER_LIST_LINES} lines; give it in parts", 2)
        line = _line(number, columns, cells)
        if not line.wrong:
            first = seen.setdefault(line.address.lower(), number)
            if first != number:
                line = Line(number, line.address, {}, f"the address stands in line {first} already")
        lines.append(line)
    return lines


def written(accounts: Iterable[PlainObject], aliases: Iterable[PlainObject]) -> str:
    """Accounts as a list that `read` takes, without passwords; `aliases` are those that lead to one of them alone."""
    names: dict[str, list[str]] = {}
    for alias in aliases:
        if len(alias["targets"]) == 1:
            names.setdefault(alias["targets"][0].lower(), []).append(alias["address"])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column for column in COLUMNS if column != "password"])
    for account in accounts:
        writer.writerow(
            [
                account["address"],
                account["display_name"],
                "yes" if account["disabled"] else "no",
                "default" if account["quota_bytes"] is None else account["quota_bytes"],
                " ".join(account["forward_to"]) or "-",
                "yes" if account["keeps_copy"] else "no",
                " ".join(names.get(account["address"].lower(), [])),
            ]
        )
    return out.getvalue()


def _decoded(octets: bytes, encoding: str) -> str:
    if len(octets) > USER_LIST_BYTES:
        raise OperationFailed(f"the list has more than {USER_LIST_BYTES} octets; give it in parts", 2)
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        for mark, what in _MARKS:
            if octets.startswith(mark):
                raise OperationFailed(f"this is {what} and not UTF-8; save it as CSV in UTF-8, or give --encoding", 2)
        encoding = "utf-8-sig"
    try:
        text = octets.decode(encoding)
    except LookupError:
        raise OperationFailed(f"there is no encoding {encoding!r}; expected one such as utf-8 or latin-1", 2) from None
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = octets.count(b"\n", 0, start) + 1
        seen = octets[start : start + 1].hex().upper()
        raise OperationFailed(
            f"line {line} is not {encoding.removesuffix('-sig')}: it has the octet 0x{seen}; "
            "save the list as UTF-8, or say what it is with --encoding, such as latin-1",
            2,
        ) from None
    if "\0" in text:
        raise OperationFailed("the list has NUL characters: this is no CSV, or in another encoding (--encoding)", 2)
    return text


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not empty, with their numbers."""
    heading = text.lstrip("\r\n").partition("\n")[0]
    separator = max(_SEPARATORS, key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    end = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise OperationFailed(f"line {reader.line_num}: not CSV: {error}", 2) from None
        number, end = end + 1, reader.line_num
        if any(cell.strip() for cell in cells):
            yield number, [cell.strip() for cell in cells]


def _columns(heading: list[str]) -> list[str]:
    columns = [cell.lower().replace(" ", "_") for cell in heading]
    for column in columns:
        if column not in COLUMNS:
            like = difflib.get_close_matches(column, COLUMNS, 1)
            hint = f"; did you mean {like[0]}?" if like else f"; there are {', '.join(COLUMNS)}"
            raise OperationFailed(f"the first line names the columns, and {column!r} is none{hint}", 2)
        if columns.count(column) > 1:
            raise OperationFailed(f"the column {column} stands there twice", 2)
    if "address" not in columns:
        raise OperationFailed("the first line names the columns, and there is none called address", 2)
    return columns


def _line(number: int, columns: list[str], cells: list[str]) -> Line:
    given = dict(zip(columns, cells, strict=False))
    name = given.get("address", "")
    if len(cells) != len(columns):
        return Line(number, name, {}, f"{len(columns)} cells are expected, here are {len(cells)}")
    try:
        return Line(number, str(address(name)), _row(given))
    except OperationFailed as failed:
        return Line(number, name, {}, str(failed))


def _row(given: dict[str, str]) -> PlainObject:
    """What a line asks for; an absent key leaves things as they are. Raises OperationFailed."""
    if any(len(cell) > _CELL_CHARACTERS for cell in given.values()):
        raise OperationFailed(f"a cell has more than {_CELL_CHARACTERS} characters")
    row: PlainObject = {}
    if given.get("name"):
        if not given["name"].isprintable():
            raise OperationFailed("name: a line end or another control character")
        row["display_name"] = given["name"]
    if given.get("password"):
        row["password"] = given["password"]
    for column, key in (("disabled", "disabled"), ("keep_copy", "keeps_copy")):
        if given.get(column):
            row[key] = _truth(column, given[column])
    if given.get("quota"):
        row["quota_bytes"] = _octets(given["quota"])
    if given.get("forward"):
        row["forward_to"] = [] if given["forward"] == "-" else _addresses(given["forward"])
    if given.get("aliases"):
        row["aliases"] = _addresses(given["aliases"])
    return row


def _truth(column: str, text: str) -> bool:
    if text.lower() in _YES + _NO:
        return text.lower() in _YES
    raise OperationFailed(f'{column}: {text!r} is neither "yes" nor "no"')


def _octets(text: str) -> int | None:
    if text.lower() == "default":
        return None
    unit = text[-1:].upper()
    number = text[:-1] if unit in _UNITS else text
    octets = int(number) * _UNITS.get(unit, 1) if number.isascii() and number.isdigit() and len(number) < 20 else -1
    if not 0 <= octets <= QUOTA_MAX:
        raise OperationFailed(f'quota: {text!r} is no size; expected one such as 2G or 500M, 0 for none, or "default"')
    return octets


def _addresses(text: str) -> list[str]:
    """Addresses with white space, commas or semicolons between them."""
    return [str(address(each)) for each in text.replace(",", " ").replace(";", " ").split()]
