"""What the server says on standard error: one line an event, for people.

The stories of messages are in the ledger and not here. An unexpected error is one line with a reference;
its traceback goes to run/errors.log, which is bounded, or with --debug to standard error as well.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from postroad.contracts.errors import StoreUnavailable
from postroad.vocabulary.limits import ERRORS_LOG_BYTES


class Speaker:
    """The voice of one process. `name` is the process: "postroad", "t0", "a0"."""

    def __init__(self, name: str, errors_log: Path | None = None, *, debug: bool = False) -> None:
        self.name = name
        self.debug = debug
        self._errors_log = errors_log

    def say(self, text: str) -> None:
        """One line. Written whole, so that the lines of several processes do not mix."""
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = " ".join(text.splitlines())
        try:
            os.write(sys.stderr.fileno(), f"{at} {self.name}: {line}\n".encode(errors="replace"))
        except (OSError, ValueError, AttributeError):
            pass  # nobody listens any more; the mail goes on

    def unexpected(self, what: str, error: BaseException | None) -> None:
        """An error that nobody foresaw: one line here, the traceback in the log."""
        summary = f"{type(error).__name__}: {error}" if error is not None else "no exception given"
        details = "".join(traceback.format_exception(error)) if error is not None else ""
        reference = self._keep(f"{what}\n{details}") if details else ""
        self.say(f"unexpected: {what}: {summary}{reference}")
        if self.debug and details:
            sys.stderr.write(details)
            sys.stderr.flush()

    def trouble(self, what: str, error: BaseException) -> None:
        """For the services: a store that cannot just now is news, anything else is a defect."""
        if isinstance(error, StoreUnavailable):
            self.say(f"{what}: {error}")
        else:
            self.unexpected(what, error)

    def _keep(self, text: str) -> str:
        """Append to the log; where it is, for the line, or why it is not."""
        path = self._errors_log
        if path is None:
            return ""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            if path.exists() and path.stat().st_size > ERRORS_LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
            with path.open("a", encoding="utf-8", errors="replace") as log:
                log.write(f"---- {at} {self.name}\n{text}\n")
        except OSError as error:
            return f" (and {path} cannot be written: {error.strerror})"
        return f" (details in {path})"

    def hear_logging(self) -> None:
        """What the rooms that know no speaker tell the "postroad" logger is said here."""
        logger = logging.getLogger("postroad")
        logger.handlers = [_Said(self)]
        logger.propagate = False

    def loop_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
        """For `loop.set_exception_handler`: what a callback or a forgotten future raised."""

        def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            self.unexpected(str(context.get("message", "in the event loop")), context.get("exception"))

        return handle


class _Said(logging.Handler):
    """Brings a log record to the speaker."""

    def __init__(self, speaker: Speaker) -> None:
        super().__init__(logging.INFO)
        self._speaker = speaker

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self._speaker.unexpected(record.getMessage(), error)
        else:
            self._speaker.say(record.getMessage())
