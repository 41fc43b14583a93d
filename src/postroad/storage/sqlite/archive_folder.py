"""Where the files of the archive are: <month>/<chain>.db, large content in <month>/content/<chain>/, register.db."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")


class ChainFile(NamedTuple):
    """One month of one chain."""

    month: str
    chain: str
    path: Path

    @property
    def content(self) -> Path:
        return self.path.parent / "content" / self.chain


def chain_file(folder: Path, month: str, chain: str) -> ChainFile:
    return ChainFile(month, chain, folder / month / f"{chain}.db")


def register_path(folder: Path) -> Path:
    return folder / "register.db"


def index_path(folder: Path) -> Path:
    return folder / "index.db"


def chain_files(folder: Path, chain: str = "") -> list[ChainFile]:
    """Those that there are, of every chain or of one; each chain's in the order of its months."""
    if not folder.is_dir():
        return []
    found = [
        ChainFile(month.name, path.stem, path)
        for month in folder.iterdir()
        if _MONTH.fullmatch(month.name)
        for path in month.glob("*.db")
        if path.stem.isascii() and path.stem.isdigit() and (not chain or path.stem == chain)
    ]
    return sorted(found, key=lambda each: (int(each.chain), each.month))
