"""What a power cut does to files: nothing that was not synced can be relied on."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Sequence
from pathlib import Path

from faults.shim import Call, Kind


def tear(calls: Sequence[Call], data: Path, chance: random.Random) -> None:
    """Cut off or garble each range that was written and not synced since, and take back, by chance, each name whose
    folder was not. The index of the log in shared memory goes with the machine."""
    for path, ranges in unsynced(calls).items():
        if path.is_file() and not path.name.endswith("-shm"):
            _damage(path, ranges, chance)
    for call in reversed(unsynced_names(calls)):
        if chance.random() < 0.5:
            with contextlib.suppress(FileNotFoundError):
                if call.kind is Kind.RENAME:
                    os.rename(call.other, call.path)
                else:
                    os.unlink(call.other or call.path)
    for index in data.rglob("*-shm"):
        index.unlink()


def unsynced(calls: Sequence[Call]) -> dict[Path, list[tuple[int, int]]]:
    """Ranges (offset, length) by the file's present name."""
    open_ranges: dict[str, list[tuple[int, int]]] = {}
    for call in calls:
        if call.kind is Kind.WRITE and not call.failed:
            open_ranges.setdefault(call.path, []).append((call.offset, call.length))
        elif call.kind is Kind.SYNC and call.is_done and not call.failed:
            open_ranges.pop(call.path, None)
        elif call.kind is Kind.RENAME and call.is_done and not call.failed and call.path in open_ranges:
            open_ranges[call.other] = open_ranges.pop(call.path)
    return {Path(name): ranges for name, ranges in open_ranges.items()}


def unsynced_names(calls: Sequence[Call]) -> list[Call]:
    """Files made, linked and renamed whose folder was not synced after that."""
    waiting: list[Call] = []
    for call in calls:
        if call.kind in (Kind.OPEN, Kind.LINK, Kind.RENAME) and call.is_done and not call.failed:
            waiting.append(call)
        elif call.kind is Kind.SYNC and call.is_done and not call.failed:
            waiting = [other for other in waiting if _folder(other) != call.path]
    return waiting


def _folder(call: Call) -> str:
    return str(Path(call.other or call.path).parent)


def _damage(path: Path, ranges: Sequence[tuple[int, int]], chance: random.Random) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for offset, length in sorted(ranges, reverse=True):
            end = min(offset + length, size)
            if end <= offset:
                continue
            begin = chance.choice((offset, offset + (end - offset) // 2, offset + (end - offset) // 512 * 512 // 2))
            if end == size and chance.random() < 0.5:
                file.truncate(begin)
                size = begin
            else:
                file.seek(begin)
                file.write(chance.choice((bytes(end - begin), chance.randbytes(end - begin))))
