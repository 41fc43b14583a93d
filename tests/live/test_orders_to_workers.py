"""An administrator's order reaches the shards of all workers, whichever of them the mail is in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.test_several_workers import with_workers
from tests.live.test_shared_connections import submit, until, waiting
from tests.support.ports import free_port
from tests.support.server import Server
from tests.support.slow_sink import slow_sink

EVE = "eve@away.example"

pytestmark = [pytest.mark.xdist_group("kill"), pytest.mark.timeout(150)]


class Town:
    """A server of two workers, with letters from ann to eve, whose server is away, in the shard of each."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        route = f'[[route]]\ndomain = "away.example"\nto = "127.0.0.1:{self.port}"\n'
        self.server = Server(folder, users=("ann",), sections=route)
        with_workers(self.server, 2)
        self.server.start()
        self.sent = 0

    def fill(self) -> None:
        self.sent = 0
        while not all(waiting(self.server)):
            submit(self.server, 1)
            self.sent += 1
        until(lambda: all(each["attempts"] for each in self.list()), "all were tried", self.server)

    def list(self, *options: str) -> list[dict[str, Any]]:
        return [each for each in self.server.ask("queue", "list", *options) if each["sender"]]

    def attempts(self) -> dict[str, int]:
        return {each["queue_id"]: each["attempts"] for each in self.list()}

    def order(self, *words: str) -> dict[str, Any]:
        (answer,) = self.server.ask("queue", *words)
        return answer


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    made.fill()
    yield made
    try:
        assert "unexpected" not in made.server.log()
        assert made.server.stop() == 0
    finally:
        made.server.kill()


def test_what_is_held_in_every_shard_is_not_tried_until_it_is_released(town: Town) -> None:
    assert town.order("hold", "--all")["groups"] == town.sent
    assert len(town.list("--held")) == town.sent
    assert all(waiting(town.server))
    assert town.order("retry", "--all")["groups"] == 0
    assert town.order("release", "--domain", "away.example")["groups"] == town.sent
    assert town.list("--held") == []
    with slow_sink(0.0, town.port) as sink:
        assert town.order("flush", "--all")["groups"] == town.sent  # also the host that was found dead
        town.server.wait_until_delivered()
        assert len(sink.arrived_s) == town.sent


def test_one_letter_is_found_in_whichever_shard_it_is(town: Town) -> None:
    ids = sorted(town.attempts())
    for queue_id in ids:
        assert town.order("hold", queue_id) == {"groups": 1, "in_hand": 0}
    for queue_id in ids:
        assert town.order("release", queue_id) == {"groups": 1, "in_hand": 0}
        assert town.order("delete", queue_id) == {"groups": 1, "in_hand": 0}
    assert town.list() == []
    assert waiting(town.server) == [0, 0]


def test_all_is_deleted_and_all_is_returned(town: Town) -> None:
    assert town.order("delete", "--from", "ann@here.example")["groups"] == town.sent
    assert waiting(town.server) == [0, 0]
    town.fill()
    assert town.order("bounce", "--domain", "away.example", "--reason", "Eve has moved.")["groups"] == town.sent
    town.server.wait_until_delivered()
    told = town.server.mailbox("ann")
    assert len(told) == town.sent
    assert all(b"Eve has moved." in each for each in told)


def test_a_destination_is_paused_and_resumed_for_all_workers_and_a_retry_tries_all(town: Town) -> None:
    before = town.attempts()
    town.server.run("queue", "retry", "--all")
    until(lambda: all(town.attempts()[each] > count for each, count in before.items()), "a retry", town.server)
    destination = town.list()[0]["destination"]
    town.server.run("queue", "pause", destination)
    before = town.attempts()
    town.server.run("queue", "retry", "--all")
    with slow_sink(0.0, town.port) as sink:
        (line, *_) = town.server.ask("queue", "summary", destination)
        assert line["groups"] == town.sent
        assert str(line["held_back_by"]).startswith("paused")
        submit(town.server, 1)  # one that has just come in is not tried either
        assert {each: town.attempts()[each] for each in before} == before
        assert sink.arrived_s == []
        town.server.run("queue", "resume", destination)
        town.server.wait_until_delivered()
        assert len(sink.arrived_s) == town.sent + 1
