"""Free ports of this machine, and waiting for somebody to listen there."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 1000


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on now, and that the kernel gives to no connection before it is listened on."""
    below = int(_RANGE.read_text().split()[0])
    chance = random.SystemRandom()  # never the numbers of another process with the same seed
    for _ in range(_TRIES):
        port = chance.randrange(below // 4, below)
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port below {below}")


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
