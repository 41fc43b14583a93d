"""Reading what processes cost, and waiting for what they do."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

from postroad.app.bench_machine import tree


def pss_kib(root: int) -> int:
    """Proportional set size of the tree: memory that processes share counts once for all of them together."""
    return pss_kib_of(tree(root))


def pss_kib_of(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(rollup.partition("\nPss:")[2].split(None, 1)[0])
    return total


class Watch:
    """Looks at the memory of a tree while the block runs: `first`, `most` and, after it, `last`, in KiB of PSS."""

    def __init__(self, root: int, every_s: float = 0.2) -> None:
        self._root = root
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.first = self.most = self.last = 0

    def __enter__(self) -> Watch:
        self.first = self.most = pss_kib(self._root)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.last = pss_kib(self._root)
        self.most = max(self.most, self.last)

    def _look(self) -> None:
        while not self._over.wait(self._every_s):
            self.most = max(self.most, pss_kib(self._root))


def raise_descriptors() -> int:
    """Let this process, and those it starts, have as many file descriptors as the machine permits; how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def wait_until(true: Callable[[], bool], what: str, deadline_s: float = 120.0) -> None:
    """Raises TimeoutError naming what did not come true."""
    end = time.monotonic() + deadline_s
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)
