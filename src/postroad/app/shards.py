"""Which worker owns which shards of the queue.

Each transport worker has the shard of its number. Shards that are left on the disk from a time with more
workers belong to the first, so that their mail goes out and no command has to be given.
"""

from __future__ import annotations

import os
from pathlib import Path

from postroad.app.configuration import Configuration

CORES_PER_WORKER = 4
"""Measured: below four cores a second worker gains nothing, it only halves the batches of a commit."""

SHARDS = 1024
"""More files than that in queue/ are not ours."""


def workers(configuration: Configuration) -> int:
    """How many transport workers there are to be."""
    return configuration.processes.workers or max(1, (os.cpu_count() or 1) // CORES_PER_WORKER)


def share_out(configuration: Configuration) -> list[tuple[int, ...]]:
    """The shards of each transport worker, its own first."""
    count = workers(configuration)
    left = tuple(shard for shard in shards_on_disk(configuration.data_folder) if shard >= count)
    return [(number, *left) if number == 0 else (number,) for number in range(count)]


def all_shards(configuration: Configuration) -> tuple[int, ...]:
    """Every shard that there is or will be: for commands that act while the server is stopped."""
    return tuple(sorted(shard for shards in share_out(configuration) for shard in shards))


def shards_on_disk(data: Path) -> tuple[int, ...]:
    folder = data / "queue"
    if not folder.is_dir():
        return ()
    numbers = sorted(int(path.stem) for path in folder.glob("*.db") if path.stem.isascii() and path.stem.isdigit())
    return tuple(numbers[:SHARDS])
