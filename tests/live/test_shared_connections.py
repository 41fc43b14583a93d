"""Connections to one destination are one limit for all workers, and whoever has the mail can use all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.test_several_workers import with_workers
from tests.support.ports import free_port, pause
from tests.support.server import Server
from tests.support.slow_sink import SlowSink, slow_sink
from tests.support.submitters import as_a_user, letter_for

LIMIT = 6
LETTERS = 150
DEADLINE_S = 60.0

pytestmark = [pytest.mark.xdist_group("kill"), pytest.mark.timeout(150)]


def until(holds: Callable[[], object], what: str, server: Server) -> None:
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, f"still not: {what}\n{server.log()}"
        pause(0.05)


def house(folder: Path, port: int) -> Server:
    sections = (
        f"[delivery]\ndestination_connections = {LIMIT}\nmessages_per_connection = 10\n"
        f'[queue]\nretry = ["1s"]\n[[route]]\ndomain = "away.example"\nto = "127.0.0.1:{port}"\n'
    )
    server = Server(folder, users=("ann",), sections=sections)
    with_workers(server, 2)
    server.start()
    return server


def submit(server: Server, count: int) -> None:
    """Over one connection: all of it into the shard of one worker."""
    client = as_a_user(server.address, server.ports["submissions"], "ann@here.example")()
    for number in range(count):
        recipients, content = letter_for(["eve@away.example"])(f"s{number:05d}", number + 1)
        client.sendmail("ann@here.example", list(recipients), content)
    client.quit()


def waiting(server: Server) -> list[int]:
    return [report["queue_messages"] for report in server.reports() if "queue_messages" in report]


def all_arrive(sink: SlowSink, count: int, server: Server) -> None:
    until(lambda: len(sink.arrived_s) >= count, f"{count} letters have arrived", server)
    server.wait_until_delivered()
    assert len(sink.arrived_s) == count


def test_with_all_mail_in_one_shard_its_worker_uses_the_whole_limit(tmp_path: Path) -> None:
    with slow_sink(0.1) as sink:
        server = house(tmp_path, sink.port)
        try:
            submit(server, LETTERS)
            all_arrive(sink, LETTERS, server)
            assert sink.open_most == LIMIT
            assert server.stop() == 0
        finally:
            server.kill()


def test_workers_that_both_have_mail_do_not_exceed_it_together(tmp_path: Path) -> None:
    with slow_sink(0.1) as sink:
        server = house(tmp_path, sink.port)
        try:
            sent = 0
            server.run("offline", "on")
            while not all(waiting(server)) or min(waiting(server)) < 30:
                submit(server, 15)
                sent += 15
            server.run("offline", "off")
            all_arrive(sink, sent, server)
            assert sink.open_most == LIMIT
            assert server.stop() == 0
        finally:
            server.kill()


def test_a_worker_that_has_adopted_a_shard_has_one_limit_for_both(tmp_path: Path) -> None:
    port = free_port()
    server = house(tmp_path, port)
    try:
        sent = 0
        while not all(waiting(server)) or min(waiting(server)) < 40:
            submit(server, 20)
            sent += 20
        assert server.stop() == 0
        with_workers(server, 1)
        with slow_sink(0.1, port) as sink:
            server.start()
            all_arrive(sink, sent, server)
            assert sink.open_most == LIMIT
            assert server.stop() == 0
    finally:
        server.kill()
