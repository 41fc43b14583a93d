"""Names that fail and lie, and what becomes of the mail for them.

Each lie has a domain of its own, l0.example, l1.example ..., whose MX is mx.<domain>, whose server is a peer that
behaves. The liar says the truth about everything that it has no orders for.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from faults.count import Book, Row
from faults.house import LARGE, SMALL, House, Stuck
from faults.peer import Peer, serving
from faults.shim import Action
from postroad.vocabulary.limits import OFFLINE_PROBE_S
from tests.support.ports import free_port

_PATIENCE_S = 10.0
"""Longer than a look-up in vain."""
Packet = bytes
Message = dns.message.Message


@dataclass(frozen=True)
class Lie:
    """`answer` makes packets of a true answer to the n-th question (from 0) about the domain; `elsewhere`: they come
    from another port. For `times` questions; afterwards the truth is said."""

    name: str
    answer: Callable[[Message, int], list[Packet]]
    times: int = 6
    elsewhere: bool = False


def _code(code: dns.rcode.Rcode) -> Callable[[Message, int], list[Packet]]:
    def answer(truth: Message, _: int) -> list[Packet]:
        truth.answer.clear()
        truth.set_rcode(code)
        return [truth.to_wire()]

    return answer


def _in_turn(truth: Message, number: int) -> list[Packet]:
    return _code(dns.rcode.NXDOMAIN)(truth, number) if number % 2 == 0 else [truth.to_wire()]


def _other_id(truth: Message, _: int) -> list[Packet]:
    truth.id ^= 0x5A5A
    return [truth.to_wire()]


def _other_question(truth: Message, _: int) -> list[Packet]:
    other = dns.message.make_response(dns.message.make_query("elsewhere.example", truth.question[0].rdtype))
    other.id = truth.id
    other.answer.append(dns.rrset.from_text("elsewhere.example.", 60, "IN", "A", "127.9.9.9"))
    return [other.to_wire()]


def _forged(truth: Message, number: int) -> list[Packet]:
    """Wrong ids before the right answer: somebody guesses."""
    forgeries = []
    for guess in range(8):
        forged = dns.message.from_wire(truth.to_wire())
        forged.id = (truth.id + guess + 1) & 0xFFFF
        forged.answer.clear()
        forged.set_rcode(dns.rcode.NXDOMAIN)
        forgeries.append(forged.to_wire())
    return [*forgeries, truth.to_wire()]


def _instead(kind: str, text: str) -> Callable[[Message, int], list[Packet]]:
    """Where a record of this type is asked for, this one; for others the truth."""

    def answer(truth: Message, _: int) -> list[Packet]:
        question = truth.question[0]
        if dns.rdatatype.to_text(question.rdtype) == kind:
            truth.answer[:] = [dns.rrset.from_text(question.name, 1, "IN", kind, text)]
        return [truth.to_wire()]

    return answer


def _circle(truth: Message, _: int) -> list[Packet]:
    truth.answer[:] = [dns.rrset.from_text(truth.question[0].name, 1, "IN", "CNAME", str(truth.question[0].name))]
    return [truth.to_wire()]


def _cut_short(truth: Message, _: int) -> list[Packet]:
    """And no answer over TCP."""
    truth.answer.clear()
    truth.flags |= dns.flags.TC
    return [truth.to_wire()]


LIES = (
    Lie("SERVFAIL", _code(dns.rcode.SERVFAIL)),
    Lie("REFUSED", _code(dns.rcode.REFUSED)),
    Lie("no answer", lambda truth, number: [], times=4),
    Lie("NXDOMAIN and the truth in turn", _in_turn),
    Lie("NXDOMAIN", _code(dns.rcode.NXDOMAIN), times=1000),
    Lie("an answer with another id", _other_id, times=4),
    Lie("an answer from another port", lambda truth, number: [truth.to_wire()], times=4, elsewhere=True),
    Lie("an answer to another question", _other_question, times=4),
    Lie("guesses at the id, then the truth", _forged, times=1000),
    Lie("half an answer", lambda truth, number: [truth.to_wire()[:-7]], times=4),
    Lie("noise", lambda truth, number: [b"\xff" * 40], times=4),
    Lie("truncated, and no TCP", _cut_short, times=4),
    Lie("a CNAME to itself", _circle, times=4),
    Lie("MX to nowhere", _instead("MX", "0 ."), times=1000),
    Lie("MX to a name that is none", _instead("MX", "10 nobody.invalid."), times=2),
    Lie("an address where nobody listens", _instead("A", "127.9.9.9"), times=2),
    Lie("an address of ours", _instead("A", "127.0.0.1"), times=2),
    Lie("the address 0.0.0.0", _instead("A", "0.0.0.0"), times=2),
    Lie("a multicast address", _instead("A", "224.0.0.1"), times=2),
)


class Liar:
    """A name server on UDP for these lies; `addresses` are those of the peers."""

    def __init__(self, lies: Sequence[Lie], addresses: Sequence[str]) -> None:
        self._lies = lies
        self._addresses = addresses
        self._asked = [0] * len(lies)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._other.bind(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port = int(self._socket.getsockname()[1])

    @property
    def told(self) -> int:
        return sum(min(asked, lie.times) for asked, lie in zip(self._asked, self._lies, strict=True))

    def __enter__(self) -> Liar:
        self._socket.settimeout(0.2)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()
        self._other.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError, dns.exception.DNSException):
                packet, who = self._socket.recvfrom(4096)
                self._answer(dns.message.from_wire(packet), who)

    def _answer(self, query: Message, who: tuple[str, int]) -> None:
        labels = query.question[0].name.to_text().rstrip(".").split(".")
        truth = dns.message.make_response(query)
        number = _number(labels)
        if number is None or number >= len(self._lies):
            truth.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(truth.to_wire(), who)
            return
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        domain = f"l{number}.example."
        if kind == "MX" and len(labels) == 2:
            truth.answer.append(dns.rrset.from_text(domain, 1, "IN", "MX", f"10 mx.{domain}"))
        elif kind == "A" and len(labels) == 3:
            truth.answer.append(dns.rrset.from_text(f"mx.{domain}", 1, "IN", "A", self._addresses[number]))
        lie = self._lies[number]
        asked = self._asked[number]
        self._asked[number] += 1
        if asked >= lie.times:
            self._socket.sendto(truth.to_wire(), who)
            return
        for packet in lie.answer(truth, asked):
            (self._other if lie.elsewhere else self._socket).sendto(packet, who)


def _number(labels: Sequence[str]) -> int | None:
    if len(labels) < 2 or labels[-1] != "example" or not labels[-2][1:].isdigit():
        return None
    return int(labels[-2][1:])


@contextlib.contextmanager
def _town(folder: Path, library: Path, lies: Sequence[Lie]) -> Iterator[tuple[House, Liar]]:
    addresses = [f"127.4.0.{number + 1}" for number in range(len(lies))]
    port = free_port()
    peers = {f"l{number}.example": Peer() for number in range(len(lies))}
    with contextlib.ExitStack() as leaving:
        liar = leaving.enter_context(Liar(lies, addresses))
        for address, peer in zip(addresses, peers.values(), strict=True):
            leaving.enter_context(serving(peer, address, port))
        sections = (
            f'trusted_networks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\n[dns]\nservers = ["127.0.0.1:{liar.port}"]\n'
            f'[delivery]\nport = {port}\nprivate_destinations = "allow"\n'
        )
        house = House(folder, library, sections, peers)
        yield leaving.enter_context(house.serving()), liar


def lies(folder: Path, library: Path, group: Sequence[Lie] = LIES) -> tuple[Row, str]:
    """A small and a large letter for each domain; what cannot be delivered is returned. Where so many names fail in a
    row, the server takes itself for cut off, and tries one letter after the other, each half minute: that time is let
    pass at once."""
    book = Book()
    with _town(folder, library, group) as (house, liar):
        house.shim.arm(house.worker, Action.COUNT)
        for number in range(len(group)):
            for octets in (SMALL, LARGE):
                house.hand_in(book, f"bob@l{number}.example", octets)
        probes = _let_it_happen(house, 2 * len(group))
        book.times = liar.told
        return house.row("names that fail and lie", book), f"{len(group)} lies; cut off {probes} times"


def _let_it_happen(house: House, probes_max: int) -> int:
    """Returns when the queue is empty, how often time had to pass for that. Raises Stuck."""
    for probes in range(probes_max):
        try:
            house.wait_until_idle(_PATIENCE_S)
        except Stuck:
            house.shim.let_time_pass(OFFLINE_PROBE_S)
        else:
            return probes
    house.wait_until_idle(_PATIENCE_S)
    return probes_max
