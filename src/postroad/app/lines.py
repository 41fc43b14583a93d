"""On which line of a TOML file each key stands; `tomllib` forgets it, and an error without a line is half an error.

The scan is only made over text that `tomllib` has read without complaint, so it need not judge: it follows
headers, keys, strings and brackets, and gives every key path its line, items of arrays included.
"""

from __future__ import annotations

import re
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]

_KEY_PART = re.compile(r"""\s*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)\s*(\.?)""")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'", re.DOTALL)
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)")


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """The line of the key, or of the nearest thing around it that has one; 1 when nothing has."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def syntax_error(text: str, message: str) -> tuple[int, str]:
    """The line and the words of what `tomllib` complained about."""
    match = _AT_LINE.search(message)
    if match:
        return int(match[1]), message.replace(match[0], "")
    return text.count("\n") + (not text.endswith("\n")), message.replace(
        " (at end of document)", " at the end of the file"
    )


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of every key of a well-formed TOML text."""
    return _Scan(text.replace("\r\n", "\n")).run()


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._table: KeyPath = ()
        self._counts: dict[KeyPath, int] = {}
        self._lines: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, int]:
        text = self._text
        while self._at < len(text):
            c = text[self._at]
            if c == "#":
                self._skip_comment()
            elif c.isspace():
                self._step(1)
            elif c == "[":
                self._header()
            else:
                path = self._table + self._key()
                self._note(path)
                self._at = text.index("=", self._at) + 1
                self._value(path)
        return self._lines

    def _header(self) -> None:
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        parts = self._key()
        path: KeyPath = ()
        for part in parts[:-1]:
            path = self._latest((*path, part))
        path = (*path, parts[-1])
        self._lines.setdefault(path, self._line)
        if array:
            self._counts[path] = self._counts.get(path, -1) + 1
        self._table = self._latest(path)
        self._note(self._table)
        self._at = self._text.index("]", self._at) + (2 if array else 1)

    def _latest(self, path: KeyPath) -> KeyPath:
        """A path through an array of tables means its last element."""
        return (*path, self._counts[path]) if path in self._counts else path

    def _key(self) -> tuple[str, ...]:
        parts = []
        while match := _KEY_PART.match(self._text, self._at):
            parts.append(match[1].strip("\"'"))
            self._at = match.end(2)
            if not match[2]:
                break
        return tuple(parts)

    def _note(self, path: KeyPath) -> None:
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], self._line)

    def _value(self, path: KeyPath) -> None:
        """Over the value, to the end of its line; items of an outermost array get their lines on the way."""
        depth = item = 0
        fresh = False
        while self._at < len(self._text):
            c = self._text[self._at]
            if c == "#":
                self._skip_comment()
                continue
            if c == "\n" and depth == 0:
                return
            if fresh and not c.isspace() and c != "]":
                self._lines[(*path, item)] = self._line
                fresh = False
            string = _STRING.match(self._text, self._at) if c in "\"'" else None
            if string:
                self._step(len(string[0]))
                continue
            if c in "[{":
                depth += 1
                fresh = c == "[" and depth == 1
            elif c in "]}":
                depth -= 1
            elif c == "," and depth == 1:
                item += 1
                fresh = True
            self._step(1)

    def _skip_comment(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _step(self, length: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + length)
        self._at += length
