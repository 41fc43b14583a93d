"""How far a long command is, as a bar on a terminal: on standard error, and only where somebody looks."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import click

_WIDTH = 30
_DRAWN_EVERY_S = 0.1


class Bar:
    """Within the block `show` draws it, at most ten times a second; at the end the line is empty again."""

    def __init__(self, *, quiet: bool) -> None:
        self._on = not quiet and sys.stderr.isatty()
        self._drawn_at = 0.0

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on and self._drawn_at:
            click.echo("\r\x1b[K", nl=False, err=True)

    def show(self, done: int, total: int, words: str) -> None:
        now = time.monotonic()
        if not self._on or now - self._drawn_at < _DRAWN_EVERY_S:
            return
        self._drawn_at = now
        share = min(1.0, done / total) if total else 1.0
        filled = int(share * _WIDTH)
        bar = "#" * filled + "-" * (_WIDTH - filled)
        click.echo(f"\r\x1b[K[{bar}] {share:4.0%} {words}", nl=False, err=True)
