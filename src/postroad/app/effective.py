"""The configuration as it is in force: every key in the notation of the file, and where its value came from."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from pathlib import Path

from pydantic import BaseModel

from postroad.app.complaints import all_keys
from postroad.app.configuration import Configuration
from postroad.app.lines import KeyPath
from postroad.app.values import duration_text
from postroad.vocabulary.endpoint import Endpoint

DEFAULT = "default"
REPEATED = ("route", "hold", "pickup")
"""Tables that may come many times."""


def effective(configuration: Configuration) -> list[tuple[str, str, str]]:
    """(key, value as TOML, source) for every key; the source is "file:line" or "default".

    A table that may come many times has a key for each of its own, counted from 1 as `route[1].domain`."""
    rows = [
        (".".join(path), toml_value(_at(configuration, path)), _source(configuration, path))
        for path in all_keys(type(configuration))
        if path[0] not in REPEATED
    ]
    for table in REPEATED:
        for index, one in enumerate(getattr(configuration, table)):
            for name in type(one).model_fields:
                key, source = f"{table}[{index + 1}].{name}", _source(configuration, (table, index, name))
                rows.append((key, toml_value(getattr(one, name)), source))
    return rows


def _at(model: BaseModel, path: tuple[str, ...]) -> object:
    value: object = model
    for name in path:
        value = getattr(value, name)
    return value


def _source(configuration: Configuration, path: KeyPath) -> str:
    line = configuration.lines.get(path)
    return DEFAULT if line is None else f"{configuration.path}:{line}"


def toml_value(value: object) -> str:
    """A value as it is written in the file."""
    match value:
        case None:
            return '""'
        case bool():
            return "true" if value else "false"
        case timedelta():
            return f'"{duration_text(value)}"'
        case tuple():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case Enum():
            return toml_string(str(value.value))
        case Endpoint() | Path() | str():
            return toml_string(str(value))
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)


def toml_string(text: str) -> str:
    """A basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04X}" for c in escaped) + '"'
