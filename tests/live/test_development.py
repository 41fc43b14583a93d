"""What `make run` promises: a server, two accounts, and three lines that work when they are pasted into a shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from postroad.app.development import make_development
from tests.support.ports import free_port, pause

FIXED_PORTS = (2525, 2587, 2465, 2110, 2995)
TRIES = 200


def shell(line: str, folder: Path) -> str:
    done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S602
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


@pytest.mark.peer("curl")
def test_the_three_lines_that_it_prints_can_be_pasted(tmp_path: Path) -> None:
    path, passwords = make_development(tmp_path / "var")
    text = path.read_text()
    for port in FIXED_PORTS:  # the test must not meet another server of this machine
        text = text.replace(f":{port}", f":{free_port()}")
    path.write_text(text)
    program = Path(sys.executable).with_name("postroad")
    said = tmp_path / "said"
    with said.open("wb") as stream:
        server = subprocess.Popen(
            [program, "serve", "--development", "var"], cwd=tmp_path, stdout=stream, stderr=stream, process_group=0
        )
    try:
        for _ in range(TRIES):
            if "Ctrl-C stops the server." in said.read_text() or server.poll() is not None:
                break
            pause(0.1)
        lines = [line.strip() for line in said.read_text().splitlines()]
        assert all(f"{address}   {password}" in lines for address, password in passwords.items())
        begin = lines.index("Three lines to try: send a message, fetch it, follow its story.") + 1
        send, fetch, trace = lines[begin : begin + 3]
        shell(send, tmp_path)
        for _ in range(TRIES):
            if "DELIVERED" in shell(trace, tmp_path):
                break
            pause(0.1)
        assert "How are you?" in shell(fetch, tmp_path)
        assert "fetched by bob@example.test" in shell(trace, tmp_path)
    finally:
        os.kill(server.pid, signal.SIGINT)
        assert server.wait(30) == 0
