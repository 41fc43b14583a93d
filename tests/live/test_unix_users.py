"""A server that root has started serves as somebody without rights, and takes mail from every Unix user.

Root's own folders are closed to others, so the house stands in a folder that everybody may pass through, and a
Python is looked for that other users can run.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import postroad
from tests.support.server import PASSWORD, Server
from tests.support.submitters import as_a_user, fetched_ids

SERVING, STRANGER = "nobody", "www-data"

pytestmark = [
    pytest.mark.xdist_group("unix users"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others"),
]


def python_for(user: str) -> tuple[str, dict[str, str]]:
    """A Python with all that Postroad needs which this user can run, and its environment. Skips without one."""
    folders = [Path(postroad.__file__).parent.parent, sysconfig.get_path("purelib")]
    environment = {"PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONDONTWRITEBYTECODE": "1"}
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run(
                [python, "-c", "import postroad.app.worker"],
                env={**os.environ, **environment},
                cwd="/",
                user=user,
                group=pwd.getpwnam(user).pw_gid,
                extra_groups=[],
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python, environment
    pytest.skip(f"{user} can run no Python that has what Postroad needs")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    for user in (SERVING, STRANGER):
        try:
            pwd.getpwnam(user)
        except KeyError:
            pytest.skip(f"there is no user {user} on this machine")
    python, environment = python_for(SERVING)
    folder = Path(tempfile.mkdtemp(prefix="postroad-"))
    folder.chmod(0o755)
    try:
        server = Server(folder, serving_user=SERVING, python=python, environment=environment)
        server.configuration.chmod(0o644)
        server.start()
        yield server
        assert server.stop() == 0
        assert "unexpected" not in server.log()
    finally:
        shutil.rmtree(folder)


def uids(pid: int) -> set[int]:
    """Real, effective, saved and file system user of a process."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:"))
    return set(map(int, line.split()[1:]))


def owners(folder: Path) -> dict[str, str]:
    """Everything below the folder that is not the serving user's."""
    mine = pwd.getpwnam(SERVING).pw_uid
    return {
        str(path): pwd.getpwuid(path.lstat().st_uid).pw_name
        for path in (folder, *folder.rglob("*"))
        if path.lstat().st_uid != mine
    }


def letter(name: str) -> bytes:
    return f"Subject: {name}\nX-Attempt: {name}\n\nHello\n".encode()


def hand_in(server: Server, user: str, name: str, *options: str, check: bool = True) -> Any:
    return server.run("sendmail", *options, "bob@here.example", given=letter(name), unix_user=user, check=check)


def received(server: Server, subject: str) -> dict[str, Any]:
    """The first step of the story of the newest letter with this name."""
    server.wait_until_delivered()
    assert fetched_ids(server, "bob")[subject] == 1
    entry = server.ask("read", "bob@here.example", "--list")[-1]
    step = server.ask("trace", entry["queue_id"])[0]
    assert step["type"] == "received"
    return step


# ---- the server's own rights -------------------------------------------------------------------------


def test_every_process_is_the_serving_user_for_good(server: Server) -> None:
    expected = {pwd.getpwnam(SERVING).pw_uid}
    pids = server.pids()
    assert len(pids) == 3
    assert [uids(pid) for pid in pids] == [expected] * 3
    for pid in pids:
        assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in Path(f"/proc/{pid}/status").read_text()


def test_all_data_is_the_serving_users_whoever_gave_the_command(server: Server) -> None:
    """Root's commands make files, too; what is root's the server could not write."""
    server.add_account("late@here.example")
    hand_in(server, "root", "owned", "-f", "bob@here.example")
    server.wait_until_delivered()
    server.run("read", "bob@here.example", "1")
    server.run("trace", "bob@here.example")
    server.run("queue", "flush", "--all")
    server.run("status")
    data = server.folder / "data"
    assert owners(data) == {}
    others = {str(path): oct(path.stat().st_mode) for path in data.rglob("*") if path.is_file() and is_open(path)}
    assert others == {}
    as_a_user(server.address, server.ports["submissions"], "late@here.example")().close()


def is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)


def test_commands_of_root_work_the_same_while_it_is_stopped(server: Server) -> None:
    assert server.stop() == 0
    try:
        server.run("status")
        server.run("read", "bob@here.example")
        server.run("queue", "list")
        assert owners(server.folder / "data") == {}
        done = hand_in(server, STRANGER, "down", check=False)
        assert done.returncode == 75
        assert b"the server is down" in done.stderr
    finally:
        server.start()


def test_a_python_that_the_serving_user_cannot_run_is_named(server: Server, tmp_path: Path) -> None:
    """As where the environment stands in root's home; `tmp_path` is closed to others, too."""
    own, environment = python_for("root")
    python = tmp_path / "python"
    python.symlink_to(own)
    closed = Server(server.folder / "closed", serving_user=SERVING, python=str(python), environment=environment)
    done = closed.run("serve", check=False)
    assert done.returncode == 69
    assert f"{python} cannot be started: Permission denied" in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert not (closed.folder / "data" / "run" / "errors.log").exists()


# ---- mail from Unix users ----------------------------------------------------------------------------


def test_every_unix_user_sends_as_itself_and_its_uid_is_in_the_story(server: Server) -> None:
    hand_in(server, STRANGER, "mine")
    step = received(server, "mine")
    assert step["listener"] == "local"
    assert step["peer"]["uid"] == pwd.getpwnam(STRANGER).pw_uid
    assert step["reverse_path"] == f"<{STRANGER}@mx.here.example>"
    told = server.run("trace", step["recipients"][0]).stdout.decode()
    assert f"the client is Unix user {pwd.getpwnam(STRANGER).pw_uid}" in told


def test_a_unix_user_cannot_send_as_somebody_else(server: Server) -> None:
    for sender in ("ann@here.example", "root@mx.here.example", "www-data@elsewhere.example"):
        done = hand_in(server, STRANGER, "forged", "-f", sender, check=False)
        assert done.returncode == 69, done
        assert b"553 5.7.1" in done.stderr
        assert b"Traceback" not in done.stderr
    server.wait_until_delivered()
    assert not fetched_ids(server, "bob")["forged"]
    (refused, *_) = (step for step in server.ask("trace", "ann@here.example") if step["type"] == "refused")
    assert refused["peer"]["uid"] == pwd.getpwnam(STRANGER).pw_uid


def test_a_unix_user_sends_as_the_account_that_is_its_own(server: Server) -> None:
    server.run(
        *("account", "add", "web@here.example", "--unix-user", STRANGER, "--password-stdin"),
        given=f"{PASSWORD}\n".encode(),
    )
    hand_in(server, STRANGER, "granted", "-f", "web@here.example")
    assert received(server, "granted")["reverse_path"] == "<web@here.example>"
    assert hand_in(server, STRANGER, "not granted", "-f", "ann@here.example", check=False).returncode == 69
    server.run("account", "remove", "web@here.example")
    assert hand_in(server, STRANGER, "no longer", "-f", "web@here.example", check=False).returncode == 69


def test_root_sends_as_any_local_address_and_as_no_other(server: Server) -> None:
    hand_in(server, "root", "by-root", "-f", "ann@here.example")
    assert received(server, "by-root")["peer"]["uid"] == 0
    assert hand_in(server, "root", "far", "-f", "ann@elsewhere.example", check=False).returncode == 69


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("account", "list"),
        ("queue", "list"),
        ("queue", "flush", "--all"),
        ("read", "bob@here.example"),
        ("trace", "bob@here.example"),
        ("account", "remove", "bob@here.example"),
    ],
    ids=" ".join,
)
def test_a_unix_user_may_administer_nothing(server: Server, command: tuple[str, ...]) -> None:
    done = server.run(*command, unix_user=STRANGER, check=False)
    said = done.stderr.decode()
    assert done.returncode not in (0, 70), done
    assert done.stdout == b""
    assert "Traceback" not in said
    assert "root" in said, said
