"""Other servers that hang, cut, answer out of step and never end: one of each kind, all at once, and one server of ours
that has a small and a large letter for each of them. Every trick is played with the first attempts; later ones find a
server that behaves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from faults.count import Book, Row
from faults.house import LARGE, SMALL, House, Stuck
from faults.peer import Peer, Trick, serving
from faults.shim import Action
from tests.support.ports import free_port, pause

_STEP_S = 660.0
"""Longer than the longest time-out of a client (RFC 5321 section 4.5.3.2: ten minutes after the dot)."""
_STEPS_MAX = 12
_IDLE_S = 60.0
_MIB = 1_048_576
_STAGES = ("connect", "EHLO", "MAIL", "RCPT", "DATA", "content", "dot")
_REPLIES = _STAGES[:5] + _STAGES[6:]

HANGS = (
    *(Trick(f"hangs: {stage}", stage, "hang") for stage in _STAGES),
    Trick("takes the message and hangs after the dot", "dot", "hang", taken=True),
    Trick("takes it and hangs in the middle of its 250", "dot", "hang", words=b"250 2.0", taken=True),
    Trick("stops reading", "content", "hang", large=True),
)
CUTS = (
    *(Trick(f"cuts: {stage}", stage, "cut") for stage in _STAGES),
    *(Trick(f"resets: {stage}", stage, "reset") for stage in _STAGES),
    Trick("takes the message and cuts before its 250", "dot", "cut", taken=True),
    Trick("takes it and resets before its 250", "dot", "reset", taken=True),
    Trick("takes it and cuts within its 250", "dot", "cut", words=b"250-2.0.0 tak", taken=True),
    Trick("cuts after its 250", "dot", "cut", words=b"250 2.0.0 taken\r\n", taken=True, heard=True),
    Trick("resets after its 250", "dot", "reset", words=b"250 2.0.0 taken\r\n", taken=True),
)
_TWICE = b"250 2.1.0 ok\r\n250 2.1.0 ok\r\n"
OUT_OF_STEP = (
    *(Trick(f"two replies: {stage}", stage, "", words=_TWICE) for stage in ("EHLO", "MAIL", "RCPT")),
    *(
        Trick(f"two replies, and CHUNKING: {stage}", stage, "", words=_TWICE, chunking=True)
        for stage in ("EHLO", "MAIL", "RCPT")
    ),
    Trick("a second greeting", "connect", words=b"220 peer.example\r\n220 peer.example\r\n"),
    Trick("250 before the content, then cuts", "DATA", "cut", words=b"354 go on\r\n250 2.0.0 taken\r\n"),
    Trick(
        "250 before the content, takes none of it", "DATA", "hang", words=b"354 go on\r\n250 2.0.0 ok\r\n", large=True
    ),
    Trick("250 instead of 354, then cuts", "DATA", "cut", words=b"250 2.0.0 ok\r\n250 2.0.0 ok\r\n"),
    Trick("354 twice", "DATA", words=b"354 go on\r\n354 go on\r\n"),
    Trick("354 after the dot", "dot", "cut", words=b"354 go on\r\n"),
    Trick("two codes in one reply", "dot", "cut", words=b"250-2.0.0 taken\r\n450 4.0.0 not taken\r\n"),
    Trick("250 twice after the dot", "dot", words=b"250 2.0.0 taken\r\n250 2.0.0 taken\r\n", taken=True, heard=True),
    Trick(
        "250 twice after the dot, and CHUNKING",
        "dot",
        words=b"250 2.0.0 taken\r\n250 2.0.0 taken\r\n",
        taken=True,
        heard=True,
        chunking=True,
    ),
    *(
        Trick(f"no reply but noise: {stage}", stage, "cut", words=b"\x1b[2J\xff\xfe\0\r\nhello\r\n")
        for stage in _REPLIES
    ),
    *(Trick(f"a code of four digits: {stage}", stage, "cut", words=b"2500 2.0.0 ok\r\n") for stage in _REPLIES),
)
ENDLESS = (
    *(Trick(f"a reply without an end: {stage}", stage, "lines") for stage in _REPLIES),
    *(Trick(f"a line without an end: {stage}", stage, "line") for stage in _REPLIES),
    *(Trick(f"a line of 1 MB: {stage}", stage, "cut", words=b"250 " + b"x" * _MIB + b"\r\n") for stage in _REPLIES),
    Trick("takes it, and replies without an end", "dot", "lines", taken=True),
    Trick("takes it, and says a line without an end", "dot", "line", taken=True),
)
REFUSALS = (
    *(Trick(f"421: {stage}", stage, "cut", words=b"421 4.3.2 shutting down\r\n") for stage in _REPLIES),
    *(Trick(f"450: {stage}", stage, "cut", words=b"450 4.3.2 not now\r\n") for stage in _REPLIES),
    *(Trick(f"554: {stage}", stage, "cut", words=b"554 5.3.2 never\r\n") for stage in _REPLIES),
    Trick("STARTTLS that breaks", "EHLO", words=b"250-peer.example\r\n250 STARTTLS\r\n"),
)
GROUPS: tuple[tuple[str, tuple[Trick, ...]], ...] = (
    ("another server hangs, at each stage", HANGS),
    ("it cuts or resets the connection, at each stage, before and after its 250", CUTS),
    ("it answers out of step, or what is no reply", OUT_OF_STEP),
    ("its replies and lines have no end", ENDLESS),
    ("it refuses, at each stage", REFUSALS),
)


def address(number: int) -> str:
    return f"127.3.{number // 200}.{number % 200 + 1}"


@contextlib.contextmanager
def town(folder: Path, library: Path, tricks: Sequence[Trick], times: int) -> Iterator[House]:
    """A house, and a server for each trick: t0.example, t1.example ... are behind them."""
    peers = {f"t{number}.example": Peer(trick, times) for number, trick in enumerate(tricks)}
    sections = 'trusted_networks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\n'
    with contextlib.ExitStack() as leaving:
        for number, (domain, peer) in enumerate(peers.items()):
            port = free_port(address(number))
            leaving.enter_context(serving(peer, address(number), port))
            sections += f'[[route]]\ndomain = "{domain}"\nto = "{address(number)}:{port}"\n'
        house = House(folder, library, sections, peers)
        yield leaving.enter_context(house.serving())


def tricks(folder: Path, library: Path, fault: str, group: Sequence[Trick], *, times: int = 3) -> tuple[Row, str]:
    """Whatever still hangs when the others are done is waited for by letting ten minutes and more pass at once."""
    book = Book()
    with town(folder, library, group, times) as house:
        house.shim.arm(house.worker, Action.COUNT)
        for number, trick in enumerate(group):
            for octets in (4_000_000,) if trick.large else (SMALL, LARGE):
                house.hand_in(book, f"bob@t{number}.example", octets)
        _let_it_happen(house)
        book.times = sum(peer.played for peer in house.peers.values())
        never = [peer.trick.name for peer in house.peers.values() if peer.trick is not None and not peer.played]
        return house.row(fault, book), f"{len(group)} tricks" + (f"; never played: {never}" if never else "")


def _let_it_happen(house: House) -> None:
    """Returns when the queue is empty. Raises Stuck."""
    for _ in range(_STEPS_MAX):
        end = time.monotonic() + _IDLE_S
        while time.monotonic() < end:
            if house.server.queued() == 0:
                return
            if _only_hanging_are_left(house):
                break
            pause(0.05)
        house.shim.let_time_pass(_STEP_S)
        pause(2.0)  # sweeps come once in a second
    raise Stuck(f"letters stay: {house.server.run('queue', 'list').stdout.decode()}")


def _only_hanging_are_left(house: House) -> bool:
    hanging = sum(peer.hanging for peer in house.peers.values())
    return hanging > 0 and (house.server.queued() or 0) <= hanging
