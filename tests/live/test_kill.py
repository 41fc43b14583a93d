"""kill -9 in the middle of everything: what was acknowledged is in the mailbox exactly once.

The table in docs/reliability.md is what these tests print:

    .venv/bin/python -m pytest -s tests/live/test_kill.py
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from postroad.storage.sqlite.ledger_store import SqliteLedger
from postroad.vocabulary.story import Received
from postroad.world.clock import SystemClock
from tests.support.ports import pause
from tests.support.server import Server, running_server
from tests.support.submitters import Submitters, Told, as_a_server, as_a_user, fetched_ids, letter_for

LETTERS = 2000
KILLS = 20
RELAYED = 1000
RELAY_KILLS = 8
SENT_BEFORE = {"receiver": timedelta(0), "sender": timedelta(seconds=2)}
"""How long before a server took a message in the one that was killed may have sent it: what a dead sender has
left in the socket is still accepted."""
USERS = ("ann", "bob", "cat", "dan")

pytestmark = pytest.mark.xdist_group("kill")


def moments(total: int, kills: int, chance: random.Random) -> list[int]:
    """After how many attempts to kill: once in each of as many equal stretches."""
    stretch = total / kills
    return [int((number + chance.uniform(0.1, 0.9)) * stretch) for number in range(kills)]


Moment = tuple[datetime, datetime]
"""Something happened after the one and before the other."""


def kill_worker(server: Server) -> Moment:
    """Kill the process that holds the queue; returns when the supervisor has put another in its place."""
    killed, _ = server.worker()
    before = datetime.now(UTC)
    os.kill(killed, signal.SIGKILL)
    after = datetime.now(UTC)
    end = time.monotonic() + 30
    while True:
        pid, ready = server.worker()
        if ready and pid != killed:
            break
        assert time.monotonic() < end, f"nobody replaces the worker: {server.log()}"
        pause()
    assert server.reports()[0]["pid"] == server.pid
    return before, after


def kill_all(server: Server) -> Moment:
    """Kill every process at once, and start the server again as an administrator would."""
    before = datetime.now(UTC)
    server.kill()
    after = datetime.now(UTC)
    server.start()
    return before, after


def spooled(server: Server) -> list[Path]:
    """Files of content that the queue still has."""
    return [path for path in (server.folder / "data" / "queue").glob("*/*") if path.is_file()]


def copies(server: Server, users: tuple[str, ...]) -> Counter[tuple[str, str]]:
    """How many copies of (attempt, recipient) there are."""
    found: Counter[tuple[str, str]] = Counter()
    for user in users:
        for name, count in fetched_ids(server, user).items():
            found[name, f"{user}@{server.domain}"] = count
    return found


class Count:
    """What the clients were told, beside what is in the mailboxes; the numbers are copies."""

    def __init__(self, told: Told, found: Counter[tuple[str, str]]) -> None:
        self.told = told
        promised = [(name, recipient) for name, recipients in told.acknowledged.items() for recipient in recipients]
        refused = [(name, recipient) for name, (_, recipients) in told.refused.items() for recipient in recipients]
        unsure = [(name, recipient) for name, recipients in told.unanswered.items() for recipient in recipients]
        self.promised = len(promised)
        self.lost = [copy for copy in promised if not found[copy]]
        self.refused_and_there = [copy for copy in refused if found[copy]]
        self.unanswered = len(unsure)
        self.unanswered_arrived = [copy for copy in unsure if found[copy]]
        self.repeated = {copy: count for copy, count in found.items() if count > 1}
        self.refusals = Counter(code for code, _ in told.refused.values())
        self.strange = set(found) - {*promised, *refused, *unsure}

    def __str__(self) -> str:
        told = self.told
        return (
            f"attempts {told.attempts}, acknowledged {len(told.acknowledged)}, refused {dict(self.refusals)}, "
            f"without a reply {len(told.unanswered)} ({len(self.unanswered_arrived)} of {self.unanswered} copies "
            f"arrived); copies promised {self.promised}, lost {len(self.lost)}, more than once {len(self.repeated)}"
        )


# ---- into mailboxes --------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "here", users=USERS) as running:
        yield running


@pytest.mark.timeout(180)
def test_what_was_acknowledged_is_in_the_mailbox_once_however_often_the_server_is_killed(server: Server) -> None:
    chance = random.Random(1821)
    doors = [as_a_server(server.address, server.ports["smtp"])] * 6
    doors += [as_a_user(server.address, server.ports["submissions"], "ann@here.example")] * 2
    submitters = Submitters(doors, letter_for([f"{user}@here.example" for user in USERS]), LETTERS)
    began = time.monotonic()
    with submitters.at_work():
        for number, moment in enumerate(moments(LETTERS, KILLS, chance)):
            submitters.wait_until_begun(moment)
            pause(chance.uniform(0, 0.004))
            (kill_all if number % 2 else kill_worker)(server)
    server.wait_until_delivered(60)
    count = Count(submitters.told, copies(server, USERS))
    print(
        f"\n{KILLS} times kill -9 ({KILLS // 2} of the worker, {KILLS // 2} of all processes) in "
        f"{time.monotonic() - began:.0f} s: {count}"
    )
    assert submitters.told.attempts == LETTERS
    assert count.lost == []
    assert count.repeated == {}
    assert count.refused_and_there == []
    assert count.strange == set()
    assert spooled(server) == []
    assert "unexpected" not in server.log()
    # The kills came while clients were at work, and not in their pauses.
    assert submitters.told.unanswered
    assert len(submitters.told.acknowledged) > LETTERS * 0.8


# ---- from server to server -------------------------------------------------------------------------


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Server]:
    with running_server(
        tmp_path / "there", hostname="mx.there.example", domain="there.example", users=("bob",), address="127.0.0.2"
    ) as running:
        yield running


@pytest.fixture
def sender(tmp_path: Path, receiver: Server) -> Iterator[Server]:
    sections = (
        'trusted_networks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\n'
        f'[[route]]\ndomain = "there.example"\nto = "{receiver.address}:{receiver.ports["smtp"]}"\n'
    )
    with running_server(tmp_path / "here", users=(), sections=sections) as running:
        yield running


@pytest.mark.timeout(180)
def test_relayed_mail_is_repeated_only_where_the_receivers_250_was_lost(sender: Server, receiver: Server) -> None:
    chance = random.Random(1982)
    doors = [as_a_server(sender.address, sender.ports["smtp"])] * 6
    submitters = Submitters(doors, letter_for(["bob@there.example"]), RELAYED)
    kills: list[tuple[str, Moment]] = []
    began = time.monotonic()
    with submitters.at_work():
        for number, moment in enumerate(moments(RELAYED, RELAY_KILLS, chance)):
            submitters.wait_until_begun(moment)
            pause(chance.uniform(0, 0.02))
            kill = kill_all if number // 2 % 2 else kill_worker
            name, server = ("receiver", receiver) if number % 2 else ("sender", sender)
            kills.append((name, kill(server)))
    sender.wait_until_delivered(60)
    receiver.wait_until_delivered(60)
    count = Count(submitters.told, copies(receiver, ("bob",)))
    print(
        f"\n{RELAY_KILLS} times kill -9 (of a worker and of all, of the sender and of the receiver, in turn) in "
        f"{time.monotonic() - began:.0f} s: {count}"
    )
    assert submitters.told.attempts == RELAYED
    assert count.lost == []
    assert count.refused_and_there == []
    assert count.strange == set()
    assert spooled(sender) == spooled(receiver) == []
    sender.stop()
    receiver.stop()
    causes: Counter[str] = Counter()
    for (name, _), accepted_at in zip(count.repeated, acceptances(receiver, count.repeated), strict=True):
        assert len(accepted_at) == count.repeated[name, "bob@there.example"]
        for one, next_one in pairwise(accepted_at):
            to_blame = [who for who, (before, after) in kills if one - SENT_BEFORE[who] < after and before < next_one]
            assert to_blame, f"{name} came twice, and nobody was killed between: {one}, {next_one}, {kills}"
            causes[to_blame[0]] += 1
    print(f"repeated because one was killed between the commit of the receiver and that of the sender: {dict(causes)}")
    assert "unexpected" not in sender.log() + receiver.log()


def acceptances(server: Server, repeated: Iterable[tuple[str, str]]) -> list[list[datetime]]:
    """When a stopped server took each of these letters in, by their stories."""

    async def look() -> list[list[datetime]]:
        ledger = SqliteLedger(server.folder / "data" / "ledger", "c0", SystemClock())
        try:
            return [
                sorted(
                    fact.at
                    for entry in await ledger.find(f"<{name}@client.example>", 100)
                    for fact in entry.facts
                    if isinstance(fact, Received)
                )
                for name, _ in repeated
            ]
        finally:
            await ledger.close()

    return asyncio.run(look())
