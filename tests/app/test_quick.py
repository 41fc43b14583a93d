"""The short way to the running server: what it answers, and what it leaves to the long way."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postroad.app.quick import VERBS, ask_the_server
from postroad.services.operations.operator import needs_the_server
from postroad.services.operations.performer import OperationFailed


def written(folder: Path, data: str = "data") -> Path:
    path = folder / "postroad.toml"
    path.write_text(f'hostname = "mx.here.example"\ndata = "{data}"\n')
    return path


@contextmanager
def a_server_that_says(folder: Path, *lines: bytes) -> Iterator[list[bytes]]:
    """One conversation; what it was asked."""
    asked: list[bytes] = []
    run = folder / "data" / "run"
    run.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(run / "control.sock"))
        listening.listen()

        def converse() -> None:
            one, _ = listening.accept()
            with one, one.makefile("rb") as heard:
                asked.append(heard.readline())
                one.sendall(b"".join(lines))

        thread = threading.Thread(target=converse)
        thread.start()
        yield asked
        thread.join()


def test_the_parts_of_an_answer_are_put_together(tmp_path: Path) -> None:
    with a_server_that_says(tmp_path, b'{"part":[{"a":1}]}\n', b'{"result":[{"a":2}]}\n') as asked:
        assert ask_the_server(written(tmp_path), "queue.list", {"domain": "x.example"}) == [{"a": 1}, {"a": 2}]
    assert json.loads(asked[0]) == {"verb": "queue.list", "arguments": {"domain": "x.example"}}


def test_the_servers_refusal_is_the_commands(tmp_path: Path) -> None:
    with (
        a_server_that_says(tmp_path, b'{"error":"not so","exit_status":1}\n'),
        pytest.raises(OperationFailed, match="not so") as failed,
    ):
        ask_the_server(written(tmp_path), "queue.show", {})
    assert failed.value.exit_status == 1


@pytest.mark.parametrize("said", [b"", b'{"part":[]}\n', b'{"part":[', b"no json\n"])
def test_an_answer_that_ends_early_is_to_be_asked_for_again(tmp_path: Path, said: bytes) -> None:
    with a_server_that_says(tmp_path, said), pytest.raises(OperationFailed, match="Try again") as failed:
        ask_the_server(written(tmp_path), "status", {})
    assert failed.value.exit_status == 75


def test_whatever_is_unusual_is_left_to_the_long_way(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert ask_the_server(path, "status", {}) is None, "no server"
    assert ask_the_server(path, "account.list", {}) is None, "not for the server alone"
    path.write_text("data = 5\n")
    assert ask_the_server(path, "status", {}) is None
    path.write_text("no toml")
    assert ask_the_server(path, "status", {}) is None
    assert ask_the_server(tmp_path / "nowhere.toml", "status", {}) is None


def test_it_asks_for_the_servers_verbs_only() -> None:
    assert all(needs_the_server(verb) for verb in VERBS)


def test_a_command_of_the_queue_loads_neither_the_configurations_model_nor_a_loop_or_a_store(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from postroad.cli.application import postroad, run
        from postroad.app.house import TheHouse
        status = run(postroad, TheHouse, ["--config", sys.argv[1], "queue", "list"])
        loaded = {"pydantic", "apsw", "asyncio"} & sys.modules.keys()
        sys.exit(f"loaded {loaded}" if loaded else status)
    """
    with a_server_that_says(tmp_path, b'{"result":[]}\n'):
        command = [sys.executable, "-c", code, str(written(tmp_path))]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
