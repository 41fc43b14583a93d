"""Asking name servers: UDP first, TCP for what does not fit, another server when one fails.

Every query has a socket of its own, connected to the server, so that the kernel draws a new source port and
drops what others send; with the random id that is what a forger has to guess (RFC 5452 section 9). A server on
loopback is asked whether DNSSEC proves its answer; on a way that leaves the machine nobody's word for that counts.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from ipaddress import ip_address
from pathlib import Path

from postroad.contracts.errors import DnsTemporary
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import (
    DNS_FORGERIES,
    DNS_QUERIES_AT_ONCE,
    DNS_QUERY_S,
    DNS_REPLY_BYTES,
    DNS_ROUNDS,
    DNS_SERVERS,
)
from postroad.vocabulary.zone import RecordType
from postroad.world.dns_wire import BadReply, Found, NoEdns, Query

_PORT = 53
_MESSAGE_BYTES = 65_535


class DnsExchange:
    """Asks `servers` in turn, beginning with the one that answered last."""

    def __init__(self, servers: tuple[Endpoint, ...], query_s: float = DNS_QUERY_S) -> None:
        self._servers = servers
        self._query_s = query_s
        self._best = 0
        self._places = asyncio.Semaphore(DNS_QUERIES_AT_ONCE)

    async def ask(self, name: str, kind: RecordType) -> Found:
        """Raises DnsTemporary when none of them answers; ValueError for what cannot be a name."""
        trouble = "there is no name server"
        for _ in range(DNS_ROUNDS):
            for step in range(len(self._servers)):
                number = (self._best + step) % len(self._servers)
                server = self._servers[number]
                try:
                    async with self._places:
                        found = await self._ask_server(server, name, kind)
                except BadReply as error:
                    trouble = f"{server}: {error}"
                except TimeoutError:
                    trouble = f"{server}: no answer within {self._query_s:g} s"
                except OSError as error:
                    trouble = f"{server}: {error.strerror or error}"
                else:
                    self._best = number
                    return found
        raise DnsTemporary(f"{name}: {trouble}")

    async def _ask_server(self, server: Endpoint, name: str, kind: RecordType) -> Found:
        proof = ip_address(server.address.partition("%")[0]).is_loopback
        try:
            return await self._converse(server, Query(name, kind, secrets.randbelow(65_536), proof=proof))
        except NoEdns:
            query = Query(name, kind, secrets.randbelow(65_536), edns=False, proof=proof)
            return await self._converse(server, query)

    async def _converse(self, server: Endpoint, query: Query) -> Found:
        async with asyncio.timeout(self._query_s):
            reply = await _over_udp(server, query)
        if query.is_truncated(reply):
            async with asyncio.timeout(self._query_s):
                reply = await _over_tcp(server, query)
        return query.read(reply)


def _family(server: Endpoint) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server.address else socket.AF_INET


async def _over_udp(server: Endpoint, query: Query) -> bytes:
    loop = asyncio.get_running_loop()
    reply: asyncio.Future[bytes] = loop.create_future()
    forgeries = 0

    def readable() -> None:
        nonlocal forgeries
        if reply.done():
            return
        try:
            data = sock.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:  # the host says that nobody listens there
            reply.set_exception(error)
            return
        if query.is_answered_by(data):
            reply.set_result(data)
            return
        forgeries += 1
        if forgeries >= DNS_FORGERIES:
            reply.set_exception(BadReply("many replies that do not fit the question: somebody is guessing"))

    with socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((server.address, server.port))
        sock.send(query.wire)
        loop.add_reader(sock.fileno(), readable)
        try:
            return await reply
        finally:
            loop.remove_reader(sock.fileno())


async def _over_tcp(server: Endpoint, query: Query) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(_family(server), socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (server.address, server.port))
        await loop.sock_sendall(sock, len(query.wire).to_bytes(2) + query.wire)
        length = int.from_bytes(await _exactly(sock, 2))
        if length > DNS_REPLY_BYTES:
            raise BadReply(f"a reply of {length} octets, more than the {DNS_REPLY_BYTES} we read")
        reply = await _exactly(sock, length)
    if not query.is_answered_by(reply):
        raise BadReply("a reply over TCP that does not fit the question")
    return reply


async def _exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    octets = bytearray()
    while len(octets) < size:
        more = await loop.sock_recv(sock, size - len(octets))
        if not more:
            raise BadReply("the server closed the connection before the end of its reply")
        octets += more
    return bytes(octets)


def parse_server(text: str) -> Endpoint:
    """ "127.0.0.1:5353", "[::1]:5353", or an address alone for port 53. Raises ValueError."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, ""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address.partition("%")[0])
        number = int(port) if port else _PORT
        if not 0 < number < 65_536:
            raise ValueError
    except (OSError, ValueError):
        raise ValueError(f'"{text}": write a name server as "127.0.0.1", "127.0.0.1:5353" or "[::1]:5353"')
    return Endpoint(address, number)


def system_servers(path: Path = Path("/etc/resolv.conf")) -> tuple[Endpoint, ...]:
    """The name servers of resolv.conf(5); the machine itself where there are none."""
    servers = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                servers.append(parse_server(words[1] if ":" not in words[1] else f"[{words[1]}]"))
            except ValueError:
                continue  # as the C library does: a line it does not understand is no line
    return tuple(servers[:DNS_SERVERS]) or (Endpoint("127.0.0.1", _PORT),)
