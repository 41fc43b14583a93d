"""An administrator's orders on the queue, by the commands, beside the running server and while it is stopped.

In each house a letter from ann waits for eve, whose server is away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.test_commands import ANN, EVE, House, submit
from tests.support.ports import free_port, pause
from tests.support.server import Server

DEADLINE_S = 30.0


@pytest.fixture(params=["running", "stopped"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    sections = f'[[route]]\ndomain = "away.example"\nto = "127.0.0.1:{free_port()}"\n'
    server = Server(tmp_path, sections=sections)
    server.start()
    house = House(server, running=True)
    house.queue_ids["away"] = submit(server, "away", EVE)
    give_up_at = time.monotonic() + DEADLINE_S
    while not server.ask("queue", "list")[0]["attempts"]:
        assert time.monotonic() < give_up_at, "nobody tries"
        pause(0.1)
    house.queue_ids["destination"] = server.ask("queue", "list")[0]["destination"]
    if request.param == "stopped":
        assert server.stop() == 0
        house.running = False
    yield house
    if house.running:
        assert server.stop() == 0
    assert "unexpected" not in server.log()


def asked(house: House, *arguments: str) -> list[dict[str, object]]:
    return house.server.ask(*arguments)


def until_ann_is_told(house: House) -> str:
    give_up_at = time.monotonic() + DEADLINE_S
    while True:
        letters = asked(house, "read", ANN, "--list")
        if letters:
            return house.said("read", ANN, "1")
        assert time.monotonic() < give_up_at, "no notification came"
        pause(0.1)


def test_mail_is_held_released_returned_and_deleted(house: House) -> None:
    away = house.queue_ids["away"]
    for order in ("hold", "release", "bounce", "delete", "retry"):
        assert "which mail?" in house.fails(2, "queue", order)
    assert asked(house, "queue", "hold", away) == [{"groups": 1, "in_hand": 0}]
    assert asked(house, "queue", "hold", "--all") == [{"groups": 0, "in_hand": 0}]
    assert asked(house, "queue", "list", "--held")[0]["held"] is True
    assert "held until it is released" in house.said("queue", "show", away)
    assert asked(house, "queue", "flush", "--all") == [{"groups": 0}], "what is held is not tried"
    (line, totals) = asked(house, "queue", "summary")
    assert (line["destination"], line["groups"], line["held"]) == (house.queue_ids["destination"], 1, 1)
    assert line["held_back_by"] == "all held"
    assert totals == {"totals": True, "destinations": 1, "groups": 1, "held": 1, "due": 0}
    assert "1 destination is released" in house.said("queue", "release", "--domain", "away.example")
    assert asked(house, "queue", "list", "--held") == []
    told = house.said("trace", away)
    assert "hold by the administrator" in told
    assert "release by the administrator" in told
    house.said("queue", "hold", away)
    assert asked(house, "queue", "delete", "--from", ANN) == [{"groups": 1, "in_hand": 0}]
    assert asked(house, "queue", "list") == []
    assert f"delete of {EVE} by the administrator" in house.said("trace", away)
    assert "is not in the queue" in house.server.run("queue", "delete", away, check=False).stderr.decode()
    assert house.said("queue", "summary") == "Nothing waits.\n"


def test_mail_is_returned_to_its_sender_with_a_reason(house: House) -> None:
    away = house.queue_ids["away"]
    house.said("queue", "hold", away)
    done = asked(house, "queue", "bounce", away, "--reason", "Eve has moved to another town.")
    assert done == [{"groups": 1, "in_hand": 0}]
    if not house.running:
        (notification,) = asked(house, "queue", "list")
        assert (notification["sender"], notification["recipients"]) == ("", [ANN])
    else:
        letter = until_ann_is_told(house)
        assert "Eve has moved to another town." in letter.replace("\n", " ").replace("  ", " ")
        assert "5.3.0" in letter
    assert f"bounce of {EVE} by the administrator" in house.said("trace", away)


def test_a_destination_is_paused_and_the_server_taken_off_line(house: House) -> None:
    away = house.queue_ids["destination"]
    (paused,) = asked(house, "queue", "pause", away)
    assert paused["destination"] == away
    assert [each["destination"] for each in asked(house, "queue", "pause", "Other.example")] == [
        "domain:other.example",
        away,
    ]
    (line, _) = asked(house, "queue", "summary", away)
    assert str(line["held_back_by"]).startswith("paused")
    assert "cannot be paused" in house.fails(2, "queue", "pause", "mailbox")
    assert "is no domain" in house.fails(2, "queue", "pause", "a b")
    tried = asked(house, "queue", "list")[0]["attempts"]
    house.said("queue", "flush", "--all")
    assert asked(house, "queue", "list")[0]["attempts"] == tried
    assert "is attempted again" in house.said("queue", "resume", away)
    assert "was not paused" in house.fails(1, "queue", "resume", away)
    assert "other.example" in house.said("queue", "resume", "--all")
    assert house.said("queue", "pause") == "Nothing is paused.\n"
    assert house.said("offline") == "online\n"
    assert house.said("offline", "on").startswith("offline since ")
    assert json.loads(house.said("offline", "--json"))["offline"] is True
    (line, _) = asked(house, "queue", "summary")
    assert line["held_back_by"] == "offline"
    assert house.said("offline", "off") == "online\n"
    house.fails(2, "offline", "perhaps")


def test_orders_stand_over_a_restart(house: House) -> None:
    away = house.queue_ids["destination"]
    house.said("queue", "pause", away)
    house.said("offline", "on")
    if house.running:
        assert house.server.stop() == 0
    house.server.start()
    house.running = True
    tried = asked(house, "queue", "list")[0]["attempts"]
    assert house.said("offline").startswith("offline")
    assert [each["destination"] for each in asked(house, "queue", "pause")] == [away]
    house.said("queue", "flush", "--all")
    assert asked(house, "queue", "list")[0]["attempts"] == tried
    house.said("offline", "off")
    house.said("queue", "resume", away)
    give_up_at = time.monotonic() + DEADLINE_S
    while asked(house, "queue", "list")[0]["attempts"] == tried:
        assert time.monotonic() < give_up_at, "nobody tries again"
        pause(0.1)
