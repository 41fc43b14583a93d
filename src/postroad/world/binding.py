"""Sockets to listen on, bound before privileges are dropped, with errors that say what to do.

bind_listener("[::]:25")          both families; IPv4 alone on a machine without IPv6
bind_listener("127.0.0.1:2525")
bind_local("/run/postroad/submit.sock", mode=0o666)
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from ipaddress import IPv4Address, IPv6Address, ip_address

from postroad.vocabulary.limits import LISTEN_BACKLOG, UNIX_PATH_BYTES


class CannotListen(Exception):
    """The address cannot be listened on; the text names it, the reason and the cure."""


def bind_listener(where: str, *, reuse_port: bool = False) -> list[socket.socket]:
    """Listening, non-blocking sockets for "address:port"; the kernel queues connections from now on.

    `reuse_port` lets several processes bind the same port (SO_REUSEPORT). Raises CannotListen.
    """
    address, port = parse_listen(where)
    if isinstance(address, IPv6Address) and address.is_unspecified:
        return [_bind_any(port, where, reuse_port)]
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    return [_bind(family, str(address), port, where, reuse_port=reuse_port)]


def parse_listen(where: str) -> tuple[IPv4Address | IPv6Address, int]:
    """ "[::]:25" or "127.0.0.1:2525". Raises CannotListen."""
    text, colon, port = where.rpartition(":")
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        address = ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        address = None
    if not colon or address is None or (address.version == 6) != bracketed or not port.isdecimal():
        raise CannotListen(f'"{where}": write an address and a port, like "[::]:25" or "127.0.0.1:2525"')
    if int(port) > 65_535:
        raise CannotListen(f'"{where}": a port is at most 65535')
    return address, int(port)


def bind_local(path: str, *, mode: int = 0o600) -> socket.socket:
    """A listening Unix socket with these permissions. A socket file left over by a process that is gone is
    replaced; one that somebody listens on is not. Raises CannotListen."""
    if len(os.fsencode(path)) > UNIX_PATH_BYTES:
        raise CannotListen(
            f"{path}: the path of a Unix socket has at most {UNIX_PATH_BYTES} octets; choose a shorter folder"
        )
    _clear_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)  # so that it is never open wider, not even for a moment
    try:
        sock.bind(path)
        os.chmod(path, mode)
        sock.listen(LISTEN_BACKLOG)
    except OSError as error:
        sock.close()
        raise CannotListen(_local_trouble(path, error))
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock


def _bind_any(port: int, where: str, reuse_port: bool) -> socket.socket:
    if socket.has_ipv6:
        try:
            return _bind(socket.AF_INET6, "::", port, where, dual=True, reuse_port=reuse_port)
        except _NoSuchFamily:
            pass  # a kernel without IPv6, which is no reason not to receive mail
    return _bind(socket.AF_INET, "0.0.0.0", port, where, reuse_port=reuse_port)


class _NoSuchFamily(CannotListen):
    """The machine has no IPv6."""


def _bind(
    family: socket.AddressFamily, address: str, port: int, where: str, *, dual: bool = False, reuse_port: bool = False
) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _NoSuchFamily(_trouble(where, port, error))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind((address, port))
        sock.listen(LISTEN_BACKLOG)
    except OSError as error:
        sock.close()
        # IPv6 switched off by sysctl leaves the family and takes the address away.
        kind = _NoSuchFamily if dual and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) else CannotListen
        raise kind(_trouble(where, port, error))
    sock.setblocking(False)
    return sock


def _trouble(where: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            cure = (
                f"another program listens there. `ss -ltnp sport = :{port}` shows which; stop it or choose another port"
            )
        case errno.EACCES:
            cure = (
                f"ports below 1024 need a privilege. Start it as root (it gives the right up), by systemd with "
                f"AmbientCapabilities=CAP_NET_BIND_SERVICE, or choose another port than {port}"
            )
        case errno.EADDRNOTAVAIL:
            cure = "this machine has no such address. `ip address` lists those it has"
        case errno.EAFNOSUPPORT:
            cure = "this machine has no IPv6. Give an IPv4 address"
        case _:
            cure = f"{error.strerror or error}"
    return f"cannot listen on {where}: {cure}"


def _local_trouble(path: str, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            cure = f"the folder {os.path.dirname(path)} is not there; make it"
        case errno.EACCES | errno.EROFS:
            cure = f"this user may not write in {os.path.dirname(path)}"
        case errno.EADDRINUSE:
            cure = "another program listens there, or it is a file that is no socket"
        case _:
            cure = f"{error.strerror or error}"
    return f"cannot listen on {path}: {cure}"


def _clear_stale(path: str) -> None:
    """Remove a socket file that nobody listens on. Anything else stays."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass  # in use, or not ours to judge; bind() will say
