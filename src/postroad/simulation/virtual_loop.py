"""An event loop with time of its own: five days of retries pass in milliseconds.

Nothing waits. When every task waits for a timer, time jumps to the nearest one; when all wait and there is
no timer, nobody could ever wake them: `Deadlock`, instead of a test that hangs. Threads are not used under
it (`run_in_executor` runs the function on the spot); a real thread that must take part, such as a store's
writer, is made known with `watch_thread`, so that time stands still while it works.

With a seed the order of ready callbacks is shuffled, another for each seed and always the same for one. That
touches private names of asyncio and gives up the first-in-first-out promise of `call_soon`; so it lives in
this file alone, and the virtual connections do not lean on that promise.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_Context = dict[str, Any]

THREAD_S = 30.0
"""Real seconds that a watched thread may work on one thing; longer is a hang."""


class Deadlock(Exception):
    """All tasks wait, and nothing is left that could wake one of them."""


class _JumpingSelector(selectors.DefaultSelector):
    """Looks at the files once, and moves virtual time instead of waiting."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return []  # callbacks are ready; the self-pipe has its turn when none is
        events = super().select(0)
        if not events and self.loop.threads_at_work():
            events = super().select(THREAD_S)
            if not events:
                raise Deadlock(f"a thread has worked for {THREAD_S:g} real seconds without a word")
        if events:
            return events
        if timeout is None:
            raise Deadlock(f"nothing can happen any more; waiting: {self.loop.waiting()}")
        self.loop.elapsed_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` starts at 0 and moves only when nothing else is left to do.

    `seed` shuffles the order of ready callbacks; None keeps asyncio's order. What asyncio would only log
    (an exception in a callback, in a task that nobody awaited) is kept in `complaints`; `run` raises it.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.elapsed_s = 0.0
        self.complaints: list[BaseException] = []
        self._chance = None if seed is None else random.Random(seed)
        self._threads: list[Callable[[], bool]] = []
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)
        self.set_exception_handler(_note)

    def time(self) -> float:
        return self.elapsed_s

    def watch_thread(self, at_work: Callable[[], bool]) -> None:
        """While `at_work()` is true the loop waits in real time for the thread's `call_soon_threadsafe`."""
        self._threads.append(at_work)

    def threads_at_work(self) -> bool:
        return any(at_work() for at_work in self._threads)

    def waiting(self) -> str:
        """The tasks that wait, for the text of a Deadlock."""
        return "; ".join(sorted(map(_where, asyncio.all_tasks(self)))) or "no task"

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Runs `func` at once, on the loop's own thread, whatever the executor."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _run_once(self) -> None:
        if self._chance is not None:
            ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
            if len(ready) > 1:
                shuffled = list(ready)
                self._chance.shuffle(shuffled)
                ready.clear()
                ready.extend(shuffled)
        super()._run_once()  # type: ignore[misc]


def _note(loop: asyncio.AbstractEventLoop, context: _Context) -> None:
    assert isinstance(loop, VirtualLoop)
    error = context.get("exception")
    if not isinstance(error, BaseException):
        error = RuntimeError(str(context.get("message", context)))
    loop.complaints.append(error)


def _where(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    at = f" at {frames[0].f_code.co_name}, line {frames[0].f_lineno}" if frames else ""
    return f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', '?')}{at})"


def run(main: Coroutine[Any, Any, T], *, seed: int | None = None) -> T:
    """Run `main` in virtual time, like asyncio.run, and return what it returns.

    Raises what it raises; Deadlock; and an ExceptionGroup of everything that asyncio would only have logged.
    """
    loops: list[VirtualLoop] = []

    def new_loop() -> VirtualLoop:
        loops.append(VirtualLoop(seed))
        return loops[0]

    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            result = runner.run(main)
    except BaseException as error:
        for complaint in loops[0].complaints if loops else ():
            error.add_note(f"before that, in a callback or a task: {complaint!r}")
        raise
    if loops[0].complaints:
        raise BaseExceptionGroup("callbacks or tasks failed and nobody was told", loops[0].complaints)
    return result
