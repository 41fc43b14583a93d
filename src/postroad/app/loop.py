"""The event loop of a process that serves: uvloop where it is installed, asyncio's own elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from postroad.vocabulary.limits import THREADS_TURN_S

T = TypeVar("T")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def run_in_loop(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on the better loop, with short turns for its threads: a writer that asks for the interpreter in
    vain is woken again and again, and a thread that computes keeps the loop waiting for a whole turn."""
    sys.setswitchinterval(THREADS_TURN_S)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)
