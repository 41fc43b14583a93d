"""What the documents name is there: files that moved take their readers with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ROOT / "src" / "postroad"
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NAMED = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|md|sql|toml))`")


def named_files(document: Path) -> list[str]:
    return NAMED.findall(document.read_text("utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    places = (ROOMS, ROOT / "tests", ROOT / "docs", ROOT, document.parent)
    missing = [name for name in named_files(document) if not any((place / name).exists() for place in places)]
    assert missing == []


def test_the_documents_do_name_files() -> None:
    assert sum(len(named_files(document)) for document in DOCUMENTS) > 50
