"""The doors: every listener's socket is made once, by the process that has the right to, and handed down.

A socket that systemd has made and handed over is taken instead, where it is at the listener's address or has its name.

The sockets stay open in the supervisor while workers come and go, so nobody is refused in between: the
kernel's backlog holds whoever connects.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from postroad.app.errors import CannotServe
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.listener import ListenerRole
from postroad.world.binding import CannotListen, bind_listener, bind_local
from postroad.world.handed import Handed

ACCESS_ROLES = (ListenerRole.POP3, ListenerRole.POP3S)


@dataclass(frozen=True)
class Door:
    """One listener. `sockets` has one for each worker that serves it; `address` is where it is bound, for people."""

    role: ListenerRole
    address: str
    sockets: tuple[socket.socket, ...] = field(repr=False)

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def bind_doors(
    listeners: tuple[tuple[ListenerRole, Endpoint], ...],
    workers: int,
    local: tuple[tuple[ListenerRole, Path], ...] = (),
    handed: list[Handed] | None = None,
) -> tuple[Door, ...]:
    """All TCP doors and the Unix sockets `local`, bound and listening; those of `handed` are taken where they fit.
    Raises CannotServe, with none left open.

    Anybody may connect to those who can reach the socket: the folder it is in says who that is."""
    doors: list[Door] = []
    left = list(handed or ())
    try:
        for role, path in local:
            found = _find(left, role, lambda one, path=path: one.is_path(str(path)))  # type: ignore[misc]
            doors.append(Door(role, str(path), (bind_unix(path, 0o666) if found is None else found.sock,)))
        for role, endpoint in listeners:
            address, port = endpoint.address, endpoint.port
            found = _find(left, role, lambda one, at=(address, port): one.is_at(*at))  # type: ignore[misc]
            if found is not None:
                doors.append(Door(role, found.where, (found.sock,)))
                continue
            copies = 1 if role in ACCESS_ROLES else workers
            try:
                doors.append(_bind(role, endpoint, copies))
            except CannotListen as error:
                raise CannotServe(f"listen.{role}: {error}") from None
        if left:
            raise CannotServe(
                f"systemd hands over {left[0].where} ({left[0].name or 'without a name'}), and no listener is there: "
                "set FileDescriptorName= of the socket unit to one of [listen], or give that address there"
            )
    except BaseException:
        for door in doors:
            door.close()
        for one in left:
            one.sock.close()
        raise
    return tuple(doors)


def _find(left: list[Handed], role: ListenerRole, is_there: Callable[[Handed], bool]) -> Handed | None:
    """The socket for this listener, which is then taken: the one at its address, else the first with its name. A name
    that is another listener's is never taken by address."""
    names = {each.value for each in ListenerRole}
    by_address = (one for one in left if is_there(one) and (one.name == role.value or one.name not in names))
    by_name = (one for one in left if one.name == role.value)
    found = next(by_address, None) or next(by_name, None)
    if found is not None:
        left.remove(found)
    return found


def _bind(role: ListenerRole, endpoint: Endpoint, copies: int) -> Door:
    (first,) = bind_listener(str(endpoint))
    if copies == 1:
        return Door(role, _name(first), (first,))
    # Sockets that share a port let in every other of the same user that shares it, too: the one that does not
    # share has told us that the port is free.
    port = first.getsockname()[1]
    first.close()
    sockets = [bind_listener(str(Endpoint(endpoint.address, port)), reuse_port=True)[0] for _ in range(copies)]
    return Door(role, _name(sockets[0]), tuple(sockets))


def local_door(path: Path) -> Door:
    """The door of this machine's users. Raises CannotServe."""
    return Door(ListenerRole.LOCAL, str(path), (bind_unix(path, 0o666),))


def bind_unix(path: Path, mode: int) -> socket.socket:
    """A listening Unix socket with this mode. Raises CannotServe."""
    try:
        return bind_local(str(path), mode=mode)
    except CannotListen as error:
        raise CannotServe(str(error)) from None


def _name(one: socket.socket) -> str:
    host, port = one.getsockname()[:2]
    return str(Endpoint(host, port))
