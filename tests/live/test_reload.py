"""A reload in the middle of everything: the workers are replaced, and no letter is lost, doubled or left unanswered."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.ports import pause
from tests.support.server import Server, running_server
from tests.support.submitters import Submitters, as_a_server, fetched_ids, letter_for

LETTERS = 900
MOMENTS = (150, 400, 650)
RELOADED = "postroad: reloaded"

pytestmark = pytest.mark.xdist_group("kill")


def reload(server: Server, times_before: int) -> None:
    """Ask for it and wait until it is done."""
    os.kill(server.pid, signal.SIGHUP)
    end = time.monotonic() + 30
    while server.log().count(RELOADED) == times_before:
        assert time.monotonic() < end, f"not reloaded: {server.log()}"
        pause()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("options", [(), ("--single-process",)], ids=["workers", "one process"])
def test_a_server_that_is_reloaded_at_work_answers_for_every_letter(tmp_path: Path, options: tuple[str, ...]) -> None:
    with running_server(tmp_path, users=("bob",), options=options) as server:
        doors = [as_a_server(server.address, server.ports["smtp"])] * 6
        submitters = Submitters(doors, letter_for(["bob@here.example"]), LETTERS, sender="cat@client.example")
        with submitters.at_work():
            for times_before, moment in enumerate(MOMENTS):
                submitters.wait_until_begun(moment)
                reload(server, times_before)
        server.wait_until_delivered(60)
        told = submitters.told
        assert fetched_ids(server, "bob") == Counter(dict.fromkeys(told.acknowledged, 1))
        assert told.unanswered == {}
        assert {code for code, _ in told.refused.values()} <= {421}
        assert "unexpected" not in server.log()
