"""What a validation found, in the words of the file: "file:line: key: what is wrong; what is expected"."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from postroad.app.lines import KeyPath, line_of
from postroad.app.values import shown

PROBLEMS = 100
"""Complaints of one file that are shown."""

_KINDS = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": 'a list, such as ["a", "b"]',
    "model_type": "a table of keys",
    "model_attributes_type": "a table of keys",
}
_TYPES = {
    str: "text",
    bool: "a truth value",
    int: "a whole number",
    float: "a fraction",
    list: "a list",
    dict: "a table",
}
_BOUNDS = {
    "greater_than_equal": ("is too small", "at least", "ge"),
    "less_than_equal": ("is too large", "at most", "le"),
}


def complaints(model: type[BaseModel], error: ValidationError, path: Path, lines: dict[KeyPath, int]) -> list[str]:
    """One line each, by the order of the file."""
    found = []
    problems = error.errors(include_url=False)
    inner = {tuple(problem["loc"])[:-1] for problem in problems}
    for problem in problems:
        where: KeyPath = tuple(problem["loc"])
        if where and where in inner and problem["type"] == "too_short":
            continue  # only because the wrong items were not counted
        words = _words(model, where, dict(problem))
        if not where and problem["type"] == "value_error":  # of the whole: its text names the key itself
            key, _, words = words.partition(": ")
            where = tuple(int(part) if part.isdigit() else part for part in key.split("."))
        found.append((line_of(lines, where), f"{_key(where)}: {words}"))
    found.sort(key=lambda item: item[0])
    return [f"{path}:{line}: {text}" for line, text in found[:PROBLEMS]]


def _words(model: type[BaseModel], where: KeyPath, problem: dict[str, Any]) -> str:
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return "is missing; expected " + _about(model, where)
    if kind == "extra_forbidden":
        return _unknown(model, where)
    if kind in _BOUNDS:
        what, expected, bound = _BOUNDS[kind]
        return f"{shown(value)} {what}; expected {expected} {shown(context[bound])}"
    if kind in ("enum", "literal_error"):
        return f"{shown(value)} is not possible; expected {context['expected'].replace(chr(39), chr(34))}"
    if kind == "string_pattern_mismatch":
        choices = context["pattern"].strip("^$()").split("|")
        return f"{shown(value)} is not possible; expected " + " or ".join(f'"{choice}"' for choice in choices)
    if kind == "too_short":
        return f"is empty; expected at least {context['min_length']}"
    if kind in ("too_long", "string_too_long"):
        return f"is too long; expected at most {context['max_length']}"
    wanted = _KINDS.get(kind)
    return f"{shown(value)} is {_type(value)}; expected {wanted}" if wanted else str(problem["msg"])


def _unknown(model: type[BaseModel], where: KeyPath) -> str:
    """The nearest known key: of the same section, or of the same name in another."""
    section, name = model_at(model, where[:-1]), str(where[-1])
    known = list(section.model_fields) if section else []
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    if near:
        return f"unknown key; did you mean {near[0]}?"
    elsewhere = [key for key in all_keys(model) if key[-1] == name]
    if elsewhere:
        place = ".".join(elsewhere[0][:-1])
        return "unknown key; it belongs " + (f"under [{place}]" if place else "above the first [section]")
    everywhere = {key[-1]: key for key in all_keys(model)}
    near = difflib.get_close_matches(name.lower(), list(everywhere), n=1, cutoff=0.8)
    if near:
        return f"unknown key; did you mean {'.'.join(everywhere[near[0]])}?"
    return f"unknown key; expected one of {', '.join(known)}"


def _about(model: type[BaseModel], where: KeyPath) -> str:
    section = model_at(model, where[:-1])
    field = section.model_fields.get(str(where[-1])) if section else None
    return (field.description if field else None) or "a value"


def model_at(model: type[BaseModel], where: KeyPath) -> type[BaseModel] | None:
    """The section a path leads to; an index leads to the elements of a list."""
    here: type[BaseModel] | None = model
    for part in where:
        if isinstance(part, int) or here is None:
            continue
        field = here.model_fields.get(part)
        here = _section_of(field.annotation) if field else None
    return here


def _section_of(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def all_keys(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """The path of every key, sections after plain keys as they stand in a file."""
    for name, field in model.model_fields.items():
        section = _section_of(field.annotation)
        if section is None:
            yield (name,)
    for name, field in model.model_fields.items():
        section = _section_of(field.annotation)
        if section is not None:
            yield from ((name, *rest) for rest in all_keys(section))


def _key(where: KeyPath) -> str:
    """`limits.account.quota_bytes`, `route[0].to` counted from 1 as people do."""
    text = ""
    for part in where:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def _type(value: object) -> str:
    names = {
        str: "text",
        bool: "a truth value",
        int: "a whole number",
        float: "a fraction",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), "something else")
