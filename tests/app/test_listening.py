"""Sockets that systemd has made and hands over, and those that we make."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from postroad.app.errors import CannotServe
from postroad.app.listening import bind_doors
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.listener import ListenerRole
from postroad.world.handed import Handed, take_handed


def listening(family: socket.AddressFamily = socket.AF_INET, where: object = ("127.0.0.1", 0)) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(where)  # type: ignore[arg-type]
    sock.listen()
    return sock


def at(sock: socket.socket) -> Endpoint:
    host, port = sock.getsockname()[:2]
    return Endpoint(host, port)


def test_what_systemd_hands_over_is_taken_once_and_told_to_nobody() -> None:
    ours, no_listener = listening(), socket.socket()
    first = max(os.dup(0), ours.fileno(), no_listener.fileno()) + 10
    os.dup2(ours.fileno(), first)
    os.dup2(no_listener.fileno(), first + 1)
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "smtp:what", "HOME": "/"}
    (handed,) = take_handed(environment, first=first)
    with ours, no_listener, handed.sock:
        assert handed.name == "smtp"
        assert handed.sock.getsockname() == ours.getsockname()
        assert not os.get_inheritable(handed.sock.fileno())
        assert environment == {"HOME": "/"}
        assert take_handed(environment, first=first) == []


@pytest.mark.parametrize("variables", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}])
def test_what_is_for_another_process_is_left_alone(variables: dict[str, str]) -> None:
    assert take_handed(dict(variables)) == []


def test_a_listener_takes_the_socket_at_its_address_whatever_its_name_is() -> None:
    with listening() as sock:
        (door,) = bind_doors(((ListenerRole.SMTP, at(sock)),), 2, handed=[Handed("postroad.socket", sock)])
        assert door.sockets == (sock,), "one for all workers"
        assert door.address == str(at(sock))


def test_a_listener_takes_the_socket_with_its_name_wherever_it_is() -> None:
    listeners = ((ListenerRole.SMTP, Endpoint("::", 25)), (ListenerRole.SUBMISSION, Endpoint("::", 587)))
    with listening() as one, listening() as other:
        smtp, submission = bind_doors(listeners, 1, handed=[Handed("submission", other), Handed("smtp", one)])
        assert smtp.sockets == (one,)
        assert submission.sockets == (other,)


def test_a_unix_socket_is_taken_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "lmtp.sock"
    with listening(socket.AF_UNIX, str(path)) as sock:
        (door,) = bind_doors((), 1, ((ListenerRole.LMTP, path),), handed=[Handed("x", sock)])
        assert door.sockets == (sock,)


def test_a_socket_that_nothing_is_configured_for_is_named_and_none_is_left_open() -> None:
    sock, other = listening(), listening()
    listeners = ((ListenerRole.SMTP, at(sock)),)
    with pytest.raises(CannotServe, match=f"{at(other)}.*FileDescriptorName") as failed:
        bind_doors(listeners, 1, handed=[Handed("smtp", sock), Handed("imap", other)])
    assert failed.value.exit_status == 69
    assert sock.fileno() == other.fileno() == -1


def test_without_systemd_we_listen_ourselves() -> None:
    (door,) = bind_doors(((ListenerRole.POP3, Endpoint("127.0.0.1", 0)),), 2, handed=[])
    try:
        assert len(door.sockets) == 1
    finally:
        door.close()
