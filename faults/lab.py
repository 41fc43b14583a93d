"""All the faults by name, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from faults.clocks import jumps
from faults.count import Row
from faults.moments import moments
from faults.names import lies
from faults.peer import Trick
from faults.tricks import GROUPS, tricks
from faults.walks import FAILURES, WALKS, Failure, Walk, failures, kills, torn

Fault = Callable[[Path, Path, int], tuple[Row, str]]
"""Takes a folder that is not there yet, the shim, and every how many-th call is to be broken."""


def _kills(walk: Walk, folder: Path, library: Path, every: int) -> tuple[Row, str]:
    return kills(folder, library, walk, every=every)


def _torn(walk: Walk, folder: Path, library: Path, every: int) -> tuple[Row, str]:
    return torn(folder, library, walk, every=every)


def _failures(failure: Failure, folder: Path, library: Path, every: int) -> tuple[Row, str]:
    return failures(folder, library, failure, WALKS, every=every)


def _tricks(fault: str, group: tuple[Trick, ...], folder: Path, library: Path, every: int) -> tuple[Row, str]:
    return tricks(folder, library, fault, group)


def _moments(folder: Path, library: Path, every: int) -> tuple[Row, str]:
    return moments(folder, library, rounds=max(1, 20 // every))


def _jumps(folder: Path, library: Path, every: int) -> tuple[Row, str]:
    return jumps(folder, library)


def _lies(folder: Path, library: Path, every: int) -> tuple[Row, str]:
    return lies(folder, library)


FAULTS: dict[str, Fault] = {
    "moments": _moments,
    **{f"kill-{number}": partial(_kills, walk) for number, walk in enumerate(WALKS, 1)},
    **{f"torn-{number}": partial(_torn, walk) for number, walk in enumerate(WALKS, 1)},
    **{f"disk-{number}": partial(_failures, failure) for number, failure in enumerate(FAILURES, 1)},
    "clock": _jumps,
    "dns": _lies,
    **{f"peer-{number}": partial(_tricks, fault, group) for number, (fault, group) in enumerate(GROUPS, 1)},
}
