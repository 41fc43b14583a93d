"""A loop that runs late takes on no more work: the listeners pause until it has caught up.

What waits in the kernel's backlog meanwhile is served late, which mail does not mind; a server that
answers everybody too late is useless to all.
"""

from __future__ import annotations

from postroad.contracts.network import ListenerHandle
from postroad.vocabulary.limits import LOOP_LAG_PAUSE_S, LOOP_LAG_RESUME_S


class Overload:
    """Knows the listeners of one loop and pauses them while it lags. `measured` is called by the sweep."""

    def __init__(self) -> None:
        self._listeners: list[ListenerHandle] = []
        self.lag_s = 0.0
        self.paused = False
        self.times_paused = 0

    def watch(self, listener: ListenerHandle) -> None:
        """Pause this listener too when the loop lags."""
        self._listeners.append(listener)
        if self.paused:
            listener.pause()

    def forget(self, listener: ListenerHandle) -> None:
        """The listener is closed. Harmless when it is not known."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def measured(self, lag_s: float) -> None:
        """The loop woke the sweep `lag_s` seconds after the time it was asked for."""
        self.lag_s = lag_s
        if not self.paused and lag_s > LOOP_LAG_PAUSE_S:
            self.paused = True
            self.times_paused += 1
            for listener in self._listeners:
                listener.pause()
        elif self.paused and lag_s <= LOOP_LAG_RESUME_S:
            self.paused = False
            for listener in self._listeners:
                listener.resume()
