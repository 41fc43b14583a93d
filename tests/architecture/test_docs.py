"""What the documents name is there: files that moved take their readers with them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ROOT / "src" / "postroad"
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NAMED = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|md|sql|toml|txt))(?:::(\w+))?`")
RFC_INDEX = ROOT / "docs" / "rfc-index.md"
SECTION_ROW = re.compile(r"^\| (?P<section>[^|]+) \| (?P<duty>[^|]+) \| (?P<status>[^|]+) \| (?P<tests>[^|]*) ?\|$")
SHOWN = {"done", "partial"}
"""Statuses that are a claim, and need a test to show it; "none" is no claim, and says why not."""


def named_files(document: Path) -> list[str]:
    return [name for name, _ in NAMED.findall(document.read_text("utf-8"))]


def named_tests(text: str) -> list[tuple[str, str]]:
    return [(name, test) for name, test in NAMED.findall(text) if test]


@cache
def names_in(file: Path) -> frozenset[str]:
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def is_shown(tests: str) -> bool:
    """By a test that is named, or by a dialog."""
    return any(test or name.endswith(".txt") for name, test in NAMED.findall(tests))


def sections_of(index: str) -> dict[str, list[re.Match[str]]]:
    """The rows of the tables section by section, for each RFC by its number."""
    found: dict[str, list[re.Match[str]]] = {}
    for part in index.split("\n### RFC ")[1:]:
        number = re.match(r"\d+", part)
        assert number is not None, part[:40]
        lines = part.partition("\n## ")[0].splitlines()[1:]
        rows = [line for line in lines if line.startswith("|") and not line.startswith(("|--", "| section "))]
        matches = [SECTION_ROW.match(line) for line in rows]
        assert None not in matches, f"RFC {number[0]}: {rows[matches.index(None)]}"
        found[number[0]] = [match for match in matches if match is not None]
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    places = (ROOMS, ROOT / "tests", ROOT / "docs", ROOT, document.parent)
    missing = [name for name in named_files(document) if not any((place / name).exists() for place in places)]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_a_document_names_is_there(document: Path) -> None:
    named = named_tests(document.read_text("utf-8"))
    missing = [f"{name}::{test}" for name, test in named if test not in names_in(ROOT / "tests" / name)]
    assert missing == []


def test_nothing_is_claimed_of_a_section_without_a_test_that_shows_it() -> None:
    sections = sections_of(RFC_INDEX.read_text("utf-8"))
    unshown = [
        f"RFC {number} section {row['section']}"
        for number, rows in sections.items()
        for row in rows
        if row["status"].split(":")[0] in SHOWN and not is_shown(row["tests"])
    ]
    assert unshown == []
    odd = {row["status"].split(":")[0] for rows in sections.values() for row in rows} - {*SHOWN, "none"}
    assert odd == set()


def test_the_documents_do_name_files() -> None:
    assert sum(len(named_files(document)) for document in DOCUMENTS) > 50


def test_the_standards_are_gone_through_section_by_section() -> None:
    index = RFC_INDEX.read_text("utf-8")
    sections = sections_of(index)
    assert all(sections.values())
    assert {"821", "1870", "1985", "2033", "2034", "2645", "2852", "2920", "3030", "3207", "3461", "3463"} <= set(
        sections
    )
    assert {"1939", "2449", "2595", "3206", "5034", "6856", "6858"} <= set(sections)
    assert len(named_tests(index)) > 100
