"""The table of people for a merged letter: CSV (RFC 4180) as programs and spreadsheets really write it.

The first line names the columns. Fields are separated by the one of comma, semicolon and tab that the first line has
most of. What cannot be used is told by the line it begins on, all of it at once and not only the first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import msgspec

from postroad.message.merge import column_key
from postroad.vocabulary.limits import MERGE_COLUMNS, MERGE_FIELD_CHARACTERS, MERGE_LINES, MERGE_TABLE_BYTES

_BYTE_ORDER_MARK = "\ufeff"


class Row(msgspec.Struct, frozen=True):
    """`values` by `column_key` of the column."""

    line: int
    values: dict[str, str]


class Problem(msgspec.Struct, frozen=True):
    line: int
    text: str


class Table(msgspec.Struct, frozen=True):
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]


def read_table(octets: bytes, encoding: str = "utf-8") -> Table:
    """Empty lines are passed over. Raises ValueError for what makes the whole of it useless: too large, an unknown
    encoding, no first line that names columns."""
    if len(octets) > MERGE_TABLE_BYTES:
        raise ValueError(f"it is larger than {MERGE_TABLE_BYTES // 1_048_576} MiB; divide it")
    problems = list(_undecodable(octets, encoding))
    text = octets.decode(encoding, "replace").removeprefix(_BYTE_ORDER_MARK)
    first = text.partition("\n")[0]
    if problems and problems[0].line == 1:
        raise ValueError(f"line 1: {problems[0].text}")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: tuple[str, ...] = ()
    rows: list[Row] = []
    spoiled = {problem.line for problem in problems}
    line = 1
    try:
        for fields in reader:
            began, line = line, reader.line_num + 1
            if not any(field.strip() for field in fields):
                continue
            if not columns:
                columns = _columns(fields)
            elif spoiled.isdisjoint(range(began, line)):
                trouble = _trouble(fields, columns)
                if trouble:
                    problems.append(Problem(began, trouble))
                else:
                    keys = map(column_key, columns)
                    rows.append(Row(began, dict(zip(keys, (each.strip() for each in fields), strict=True))))
                if len(rows) > MERGE_LINES:
                    raise ValueError(f"it has more than {MERGE_LINES} lines; divide it")
    except csv.Error as error:
        problems.append(Problem(line, f"cannot be read from here on: {error}; are the quotes in order?"))
    if not columns:
        raise ValueError("it is empty; the first line names the columns")
    return Table(columns, tuple(rows), tuple(sorted(problems, key=lambda problem: problem.line)))


def _undecodable(octets: bytes, encoding: str) -> Iterator[Problem]:
    try:
        octets.decode(encoding)
        return
    except LookupError:
        raise ValueError(f"{encoding!r} is no encoding; try utf-8, windows-1252 or utf-16") from None
    except UnicodeDecodeError as error:
        if "utf-16" in encoding.lower() or "utf-32" in encoding.lower():
            raise ValueError(f"it is not {encoding}: {error.reason} at octet {error.start}") from None
    for number, line in enumerate(octets.split(b"\n"), 1):
        try:
            line.decode(encoding)
        except UnicodeDecodeError as error:
            seen = line[error.start]
            yield Problem(
                number,
                f"is not {encoding}: octet 0x{seen:02X} at place {error.start + 1}; save it so, or say --encoding",
            )


def _columns(fields: list[str]) -> tuple[str, ...]:
    """Raises ValueError."""
    columns = tuple(field.strip() for field in fields)
    if len(columns) > MERGE_COLUMNS:
        raise ValueError(f"it has {len(columns)} columns; at most {MERGE_COLUMNS} can be used")
    if any("@" in column for column in columns):
        raise ValueError("the first line holds an address; it must name the columns: email,name")
    keys = [column_key(column) for column in columns]
    for number, key in enumerate(keys, 1):
        if not key:
            raise ValueError(f"column {number} has no name in the first line")
        if keys.index(key) != number - 1:
            raise ValueError(f"two columns are called {columns[number - 1]}")
    return columns


def _trouble(fields: list[str], columns: tuple[str, ...]) -> str:
    """What is wrong with a line, "" for nothing."""
    if len(fields) != len(columns):
        more = "; text with a separator in it goes between quotes" if len(fields) > len(columns) else ""
        return f"has {len(fields)} fields, and there are {len(columns)} columns{more}"
    if any(len(field) > MERGE_FIELD_CHARACTERS for field in fields):
        return f"has a field of more than {MERGE_FIELD_CHARACTERS} characters"
    if any("\0" in field for field in fields):
        return "has a NUL in it; in which encoding is it written? say --encoding"
    return ""
