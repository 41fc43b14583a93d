"""Addresses to listen on: both families from one, and errors that say what to do."""

import os
import socket
import stat
from pathlib import Path

import pytest

from postroad.world.binding import CannotListen, bind_listener, bind_local


def test_one_entry_serves_both_families() -> None:
    [sock] = bind_listener("[::]:0")
    with sock:
        assert not sock.getblocking()
        socket.create_connection(("127.0.0.1", sock.getsockname()[1])).close()


def test_a_machine_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_ipv6", False)
    [sock] = bind_listener("[::]:0")
    with sock:
        assert sock.family == socket.AF_INET


def test_a_port_in_use_is_named_with_the_cure() -> None:
    [sock] = bind_listener("127.0.0.1:0")
    with sock:
        where = f"127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(CannotListen, match=f"cannot listen on {where}: another program listens there"):
            bind_listener(where)


def test_workers_may_share_a_port() -> None:
    [first] = bind_listener("127.0.0.1:0", reuse_port=True)
    with first:
        [second] = bind_listener(f"127.0.0.1:{first.getsockname()[1]}", reuse_port=True)
        second.close()


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1:2525.*no such address"):
        bind_listener("192.0.2.1:2525")


@pytest.mark.parametrize(
    "where",
    ["", "25", ":25", "::1:25", "localhost:25", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "[127.0.0.1]:25"],
)
def test_what_is_no_address_is_told(where: str) -> None:
    with pytest.raises(CannotListen):
        bind_listener(where)


def test_a_local_socket_has_its_permissions_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "submit.sock"
    before = os.umask(0o022)
    try:
        with bind_local(str(path), mode=0o666):
            assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_a_socket_left_over_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    bind_local(path).close()
    with bind_local(path), pytest.raises(CannotListen, match="another program listens there"):
        bind_local(path)


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(CannotListen):
        bind_local(str(path))
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_or_leads_nowhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="at most 107"):
        bind_local("/" + "x" * 200)
    with pytest.raises(CannotListen, match="is not there"):
        bind_local(str(tmp_path / "none" / "x.sock"))
