"""A rate to a destination over real sockets, and what `queue summary` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.test_several_workers import with_workers
from tests.live.test_shared_connections import submit, until, waiting
from tests.support.server import Server
from tests.support.slow_sink import slow_sink

RATE = 60
BURST = RATE // 10
LETTERS = 11

pytestmark = [pytest.mark.xdist_group("kill"), pytest.mark.timeout(150)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_route_with_a_rate_gets_one_letter_after_the_other(tmp_path: Path, workers: int) -> None:
    with slow_sink(0.0) as sink:
        route = f'[[route]]\ndomain = "away.example"\nto = "127.0.0.1:{sink.port}"\nrate = {RATE}\n'
        server = Server(tmp_path, users=("ann",), sections=route)
        with_workers(server, workers)
        server.run("offline", "on")
        server.start()
        try:
            sent = 0
            while sent < LETTERS or not all(waiting(server)):
                submit(server, LETTERS)
                sent += LETTERS
            server.run("offline", "off")
            until(lambda: len(sink.arrived_s) > BURST // workers, "the first have come", server)
            (line, *_) = server.ask("queue", "summary")
            assert str(line["held_back_by"]).startswith(f"held back by its rate, {RATE} messages a minute; the next")
            assert line["next_attempt"]
            until(lambda: len(sink.arrived_s) >= LETTERS, "they come", server)
            times = sink.arrived_s[:LETTERS]
            # Loose below, as the machine may be busy; never faster than the rate.
            assert times[-1] - times[0] > (LETTERS - BURST - 1) * 60 / RATE
            server.run("queue", "delete", "--all")
            server.wait_until_delivered()
            assert server.stop() == 0
        finally:
            server.kill()
