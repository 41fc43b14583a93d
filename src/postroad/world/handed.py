"""Sockets that systemd listens on and hands over (sd_listen_fds(3)): socket activation.

LISTEN_PID says whom they are for, LISTEN_FDS how many there are from descriptor 3 on, LISTEN_FDNAMES their names
(FileDescriptorName= of the socket unit, or the unit's own name).
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from postroad.vocabulary.limits import HANDED_SOCKETS

FIRST_DESCRIPTOR = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass
class Handed:
    """A listening socket of systemd's, and its name."""

    name: str
    sock: socket.socket = field(repr=False)

    @property
    def where(self) -> str:
        """For people."""
        if self.sock.family == socket.AF_UNIX:
            return os.fsdecode(self.sock.getsockname())
        host, port = self.sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def is_at(self, address: str, port: int) -> bool:
        """Whether it listens at this internet address; "::" is both families, as it is where we bind."""
        if self.sock.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        host, its_port = self.sock.getsockname()[:2]
        return bool(its_port == port and ip_address(host.partition("%")[0]) == ip_address(address))

    def is_path(self, path: str) -> bool:
        return self.sock.family == socket.AF_UNIX and os.fsdecode(self.sock.getsockname()) == path


def take_handed(environment: MutableMapping[str, str] | None = None, *, first: int = FIRST_DESCRIPTOR) -> list[Handed]:
    """The sockets that are for this process, in their order; none when it was started otherwise. They are ours from
    now on, and no process that we start learns of them. Whatever is no listening stream socket is left out."""
    environment = os.environ if environment is None else environment
    pid, count, names = (environment.pop(variable, "") for variable in _VARIABLES)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    named = names.split(":")
    handed = []
    for number in range(min(int(count), HANDED_SOCKETS)):
        os.set_inheritable(first + number, False)
        sock = socket.socket(fileno=first + number)
        if sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.setblocking(False)
            handed.append(Handed(named[number] if number < len(named) else "", sock))
        else:
            sock.close()
    return handed
