"""The data folder and the doors: made right, locked once, and refused in words."""

import json
import os
import pwd
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from postroad.app.configuration import load, parse
from postroad.app.errors import CannotServe
from postroad.app.folder import FolderLock, prepare, refuse_if_served, server_pid
from postroad.app.identity import become_owner_of, drop_to, forbid_new_privileges
from postroad.app.listening import bind_doors, local_door
from postroad.app.shards import all_shards, share_out
from postroad.app.speaking import Speaker
from postroad.app.template import commented
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.listener import ListenerRole
from tests.support.ports import free_port


def test_the_folder_can_be_passed_through_and_nothing_in_it_seen(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    prepare(data)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (data, *data.iterdir())}
    assert modes == {"data": 0o711, "run": 0o711, "keys": 0o700, "queue": 0o700, "mail": 0o700, "ledger": 0o700}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotServe, match="file"):
        prepare(tmp_path / "file" / "data")


def test_one_server_serves_a_folder(tmp_path: Path) -> None:
    prepare(tmp_path)
    assert server_pid(tmp_path) is None
    first = FolderLock(tmp_path)
    assert server_pid(tmp_path) == os.getpid()
    for second in (FolderLock, refuse_if_served):
        with pytest.raises(CannotServe, match=f"another server \\(process {os.getpid()}\\) serves") as refused:
            second(tmp_path)
        assert refused.value.exit_status == 75
    first.release()
    assert server_pid(tmp_path) is None
    FolderLock(tmp_path).release()


def test_a_port_in_use_is_named_with_its_key_and_nothing_stays_open() -> None:
    free = free_port("127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        listeners = (
            (ListenerRole.SMTP, Endpoint("127.0.0.1", free)),
            (ListenerRole.POP3, Endpoint("127.0.0.1", taken)),
        )
        with pytest.raises(CannotServe, match=f"listen.pop3: .*127.0.0.1:{taken}") as refused:
            bind_doors(listeners, 1)
        assert refused.value.exit_status == 69
    socket.create_server(("127.0.0.1", free)).close()


def test_several_workers_have_a_socket_each_for_one_port() -> None:
    (smtp, pop3) = bind_doors(
        ((ListenerRole.SMTP, Endpoint("127.0.0.1", 0)), (ListenerRole.POP3, Endpoint("127.0.0.1", 0))), 3
    )
    assert len({one.getsockname() for one in smtp.sockets}) == 1
    assert len(smtp.sockets) == 3
    assert len(pop3.sockets) == 1
    with pytest.raises(CannotServe, match=r"listen\.smtp"):
        bind_doors(((ListenerRole.SMTP, Endpoint("127.0.0.1", smtp.sockets[0].getsockname()[1])),), 3)
    smtp.close()
    pop3.close()


def test_every_user_of_the_machine_may_knock_at_the_local_door(tmp_path: Path) -> None:
    door = local_door(tmp_path / "submit.sock")
    assert (tmp_path / "submit.sock").stat().st_mode & 0o777 == 0o666
    door.close()


def test_shards_of_former_workers_are_the_first_ones(tmp_path: Path) -> None:
    (tmp_path / "data" / "queue").mkdir(parents=True)
    for name in ("0.db", "1.db", "3.db", "12.db", "x.db", "3.lock", "0.db-wal"):
        (tmp_path / "data" / "queue" / name).touch()
    two = parse('hostname = "a.example"\ndata = "data"\nprocesses.workers = 2\n', tmp_path / "postroad.toml")
    assert share_out(two) == [(0, 3, 12), (1,)]
    assert all_shards(two) == (0, 1, 3, 12)


def test_the_commented_configuration_is_the_defaults(tmp_path: Path) -> None:
    text = commented("mx.a.example", "data")
    path = tmp_path / "postroad.toml"
    path.write_text(text)
    plain = load(path)
    assert plain.hostname == "mx.a.example"
    assert plain.data_folder == tmp_path / "data"
    # With every comment sign before a key taken away it says the same: no example is wrong.
    uncommented = re.sub(r"^#(?=[a-z_]+ = )", "", text, flags=re.MULTILINE)
    # (Not so the tables that may come many times: they are examples, not defaults.)
    uncommented = re.sub(r"^#\[\[.*?\n(?=\n|\Z)", "", uncommented, flags=re.MULTILINE | re.DOTALL)
    assert len(uncommented.splitlines()) > 100
    assert parse(uncommented, path).model_dump() == plain.model_dump()


def test_an_unexpected_error_is_one_line_and_its_traceback_is_kept_within_bounds(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "errors.log"
    speaker = Speaker("t0", log)

    def fail() -> None:
        try:
            raise ZeroDivisionError("two\nlines")
        except ZeroDivisionError as error:
            speaker.unexpected("while counting", error)

    fail()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(f"t0: unexpected: while counting: ZeroDivisionError: two lines (details in {log})")
    assert "Traceback" in log.read_text()
    monkeypatch.setattr("postroad.app.speaking.ERRORS_LOG_BYTES", 100)
    for _ in range(3):
        fail()
    assert {path.name for path in tmp_path.iterdir()} == {"errors.log", "errors.log.1"}
    assert log.read_text().count("Traceback") == 1


# ---- rights ------------------------------------------------------------------------------------------

STRANGER = "nobody"


def in_a_child(work: Callable[[], dict[str, object]]) -> dict[str, object]:
    """What `work` found in a process of its own, which it may change for good."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        words = said.read()
    os.waitpid(child, 0)
    return dict(json.loads(words))


def facts() -> dict[str, object]:
    try:
        os.setuid(0)
        came_back = True
    except PermissionError:
        came_back = False
    return {"uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(), "came_back": came_back}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_serving_user_for_good() -> None:
    entry = pwd.getpwnam(STRANGER)

    def work() -> dict[str, object]:
        drop_to(STRANGER)
        forbid_new_privileges()
        status = Path("/proc/self/status").read_text()
        return {**facts(), "no_new_privs": "NoNewPrivs:\t1" in status}

    assert in_a_child(work) == {
        "uids": [entry.pw_uid] * 3,
        "gids": [entry.pw_gid] * 3,
        "groups": os.getgrouplist(STRANGER, entry.pw_gid),
        "came_back": False,
        "no_new_privs": True,
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_command_of_root_acts_as_the_owner_of_the_data(tmp_path: Path) -> None:
    entry = pwd.getpwnam(STRANGER)
    data = tmp_path / "data"
    prepare(data)
    (data / "mail" / "locks").mkdir()
    prepare(data, STRANGER)
    assert {path.stat().st_uid for path in (data, *data.rglob("*"))} == {entry.pw_uid}

    def work() -> dict[str, object]:
        become_owner_of(data)
        return facts()

    assert in_a_child(work)["uids"] == [entry.pw_uid] * 3


def test_a_user_who_is_not_there_is_named() -> None:
    with pytest.raises(CannotServe, match="nobody-has-this-name"):
        drop_to("nobody-has-this-name")
