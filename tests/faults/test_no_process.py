"""A machine that can start no process for a while, just when a worker has died."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import postroad
from tests.support.ports import pause
from tests.support.server import Server
from tests.support.submitters import as_a_server, fetched_ids

pytestmark = pytest.mark.xdist_group("disk")


def eventually(holds: Callable[[], bool], server: Server) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, server.log()
        pause()


def test_a_worker_that_cannot_be_started_is_tried_again_while_the_others_serve(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    folders = [Path(postroad.__file__).parent.parent, sysconfig.get_path("purelib")]
    environment = {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    server = Server(tmp_path / "here", users=("bob",), python=str(python), environment=environment)
    server.start()
    try:
        before, _ = server.worker()
        python.rename(tmp_path / "away")
        os.kill(before, signal.SIGKILL)
        eventually(lambda: server.log().count("worker t0 cannot start: ") >= 2, server)
        assert server.worker() == (0, False)
        assert server.worker("a0")[1]
        assert not fetched_ids(server, "bob")
        (tmp_path / "away").rename(python)
        eventually(lambda: server.worker()[1], server)
        with as_a_server(server.address, server.ports["smtp"])() as client:
            client.sendmail("cat@client.example", ["bob@here.example"], b"X-Attempt: one\r\n\r\nHello\r\n")
        server.wait_until_delivered()
        assert fetched_ids(server, "bob") == {"one": 1}
        assert "unexpected" not in server.log()
    finally:
        assert server.stop() == 0
