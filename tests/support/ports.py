"""Free ports of this machine, and waiting for somebody to listen there."""

from __future__ import annotations

import socket
import time


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def wait_for_port(address: str, port: int, deadline_s: float = 20.0) -> None:
    """Returns when a connection is accepted. Raises TimeoutError."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            socket.create_connection((address, port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise TimeoutError(f"nobody listens on {address}:{port}") from None
            pause()


def pause(seconds: float = 0.02) -> None:
    """Give a foreign process a moment before it is asked again."""
    time.sleep(seconds)
