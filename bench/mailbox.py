"""Mailboxes beside Dovecot's: letters in by LMTP and out by POP3, and what is asked of large ones.

mailbox         deliveries a second into the mailboxes of as many users as there are sessions, 4 KiB, over kept LMTP
                connections; then fetches a second: each connects, logs in, RETR, DELE, QUIT
mailbox-many    a letter to a thousand accounts in one transaction, of 4 KiB and of 25 MB, until all have it
mailbox-crowd   a thousand POP3 sessions at once, each with a letter fetched: memory
mailbox-large   a mailbox of 100,000 messages: login, UIDL, RETR of the last (ours alone)
"""

from __future__ import annotations

import asyncio
import poplib
import re
import smtplib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from bench.group import Group, group
from bench.keepers import DOMAIN, ENTRIES, Keeper, postroad, taking_part, user
from bench.measure import Measurement
from bench.processes import pss_kib, wait_until
from bench.tables import Row
from postroad.contracts.mailbox_store import Delivery
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.queue_id import QueueId
from tests.support.server import PASSWORD

PEOPLE, LARGE_MAILBOX, LARGE_BYTES = 1000, 100_000, 25_000_000
_WARM_UP = 2
_BATCH = 1000
_LINE = b"It rains, and the post is on the road.\r\n"
_HEAD = b"From: ann@a.example\r\nSubject: measured\r\n\r\n"
_PATIENCE_S = 120.0


# ---- deliveries and fetches a second ---------------------------------------------------------------


def deliver_and_fetch(rounds: int, messages: int, sessions: int) -> list[Row]:
    """In turns. Each round starts the server anew, and counts every message: in the mailboxes, and gone from them."""
    share = max(1, messages // sessions)
    found: dict[str, list[tuple[Measurement, Measurement]]] = {name: [] for name in taking_part()}
    for _ in range(rounds):
        for name, of_it in found.items():
            of_it.append(_round(name, share, sessions))
    return [
        Row(f"{what}, {sessions} users", "/s", {name: [each[place] for each in of_it] for name, of_it in found.items()})
        for place, what in enumerate(("mailbox-deliver", "mailbox-fetch"))
    ]


def _round(name: str, share: int, sessions: int) -> tuple[Measurement, Measurement]:
    with group() as costs:
        with costs.joined():
            opened = ENTRIES[name].start(sessions)
            keeper = opened.__enter__()
        try:
            costs.watch(keeper.pid)
            _deliver(keeper, _WARM_UP, sessions)
            _fetch(keeper, _WARM_UP, sessions)
            into = _measured(costs, share * sessions, lambda: _deliver(keeper, share, sessions))
            _expect(keeper, name, share, sessions)
            out = _measured(costs, share * sessions, lambda: _fetch(keeper, share, sessions))
            _expect(keeper, name, 0, sessions)
        finally:
            opened.__exit__(None, None, None)
    return into, out


def _measured(costs: Group, messages: int, drive: Callable[[], tuple[float, float]]) -> Measurement:
    cpu = costs.cpu_s()
    took, tool_s = drive()
    spent = costs.cpu_s() - cpu
    return Measurement(messages / took, spent / messages * 1000, tool_s / messages * 1000, costs.memory_mib(), messages)


def _deliver(keeper: Keeper, share: int, sessions: int) -> tuple[float, float]:
    """A smtp-source for each user; seconds until all is in the mailboxes, and processor time of the tool."""
    begin, tool = time.monotonic(), _children_s()
    size = ["-s", "1", "-m", str(share), "-l", "4096"]
    talkers = [
        subprocess.Popen(
            ["smtp-source", "-L", "-d", *size, "-f", "ann@a.example", "-t", f"{user(n)}@{DOMAIN}", _at(keeper.lmtp)]
        )
        for n in range(sessions)
    ]
    failed = sum(bool(talker.wait(_PATIENCE_S)) for talker in talkers)
    assert not failed, f"{failed} of the clients that deliver were refused"
    wait_until(lambda: not keeper.pending(), "all messages in the mailboxes", _PATIENCE_S)
    return time.monotonic() - begin, _children_s() - tool


def _fetch(keeper: Keeper, share: int, sessions: int) -> tuple[float, float]:
    tool = _children_s()
    command = [sys.executable, "-m", "bench.fetcher", "fetch", str(keeper.pop3), str(sessions), str(share)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=10 * _PATIENCE_S)
    return float(done.stdout), _children_s() - tool


def _expect(keeper: Keeper, name: str, messages: int, sessions: int) -> None:
    found = [_count(keeper, number) for number in range(sessions)]
    assert found == [messages] * sessions, f"{name}: {messages} should be in each mailbox, and are {found}"


def _logged_in(keeper: Keeper, number: int) -> poplib.POP3:
    client = poplib.POP3("127.0.0.1", keeper.pop3, timeout=_PATIENCE_S)
    client.user(f"{user(number)}@{DOMAIN}")
    client.pass_(PASSWORD)
    return client


def _count(keeper: Keeper, number: int) -> int:
    client = _logged_in(keeper, number)
    count = client.stat()[0]
    client.quit()
    return count


def _at(port: int) -> str:
    return f"127.0.0.1:{port}"


def _children_s() -> float:
    """Processor time of our children that have ended."""
    ended = getrusage(RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


# ---- one letter to many ----------------------------------------------------------------------------


def many(people: int = PEOPLE, large_bytes: int = LARGE_BYTES) -> None:
    """From the first octet of the content until all have it; and what it takes of the disk."""
    for name in taking_part():
        with ENTRIES[name].start(people) as keeper:
            for number, octets in enumerate((4096, 4096, large_bytes), 1):  # the first letter of each makes its mailbox
                before = _disk_bytes(keeper.folder)
                took = _hand_out(keeper, people, octets)
                more = (_disk_bytes(keeper.folder) - before) / 1e6
                sizes = [_sizes(keeper, each) for each in (0, people // 2, people - 1)]
                assert all(len(each) == number and each[-1] >= octets for each in sizes), sizes
                print(
                    f"mailbox-many   {name}: {octets:,} octets to {people} accounts: all have it after {took:.2f} s"
                    f"{' (goal 1 s)' if octets == 4096 else ''}; {more:.1f} MB of disk",
                    flush=True,
                )


def _hand_out(keeper: Keeper, people: int, octets: int) -> float:
    """One transaction of LMTP; seconds from the end of the envelope until all have it."""
    content = _HEAD + _LINE * ((octets - len(_HEAD)) // len(_LINE) + 1)
    with smtplib.LMTP("127.0.0.1", keeper.lmtp, timeout=_PATIENCE_S) as client:
        client.ehlo_or_helo_if_needed()
        assert client.mail("ann@a.example")[0] == 250
        for number in range(people):
            code, words = client.rcpt(f"{user(number)}@{DOMAIN}")
            assert code == 250, words
        begin = time.monotonic()
        assert client.docmd("DATA")[0] == 354
        client.send(content + b".\r\n")
        refused = [reply for reply in (client.getreply() for _ in range(people)) if reply[0] != 250]
        assert not refused, refused[0]
        wait_until(lambda: not keeper.pending(), "the letter in all mailboxes", _PATIENCE_S)
        return time.monotonic() - begin


def _sizes(keeper: Keeper, number: int) -> list[int]:
    client = _logged_in(keeper, number)
    sizes = [int(line.split()[1]) for line in client.list()[1]]
    client.quit()
    return sizes


def _disk_bytes(folder: Path) -> int:
    """What is allocated below a folder; a file that has several names counts once."""
    files = [path.lstat() for path in folder.rglob("*") if path.is_file()]
    return sum({each.st_ino: each.st_blocks * 512 for each in files}.values())


# ---- many sessions at once -------------------------------------------------------------------------


def crowd(people: int = PEOPLE) -> None:
    for name in taking_part():
        with group() as costs:
            with costs.joined():
                opened = ENTRIES[name].start(people)
                keeper = opened.__enter__()
            try:
                costs.watch(keeper.pid)
                _hand_out(keeper, people, 4096)
                before = costs.memory_mib()
                took, during = _gather(keeper, people, costs)
            finally:
                opened.__exit__(None, None, None)
        print(
            f"mailbox-crowd  {name}: {people} POP3 sessions at once, each with a letter fetched, within {took:.1f} s; "
            f"all processes {during:.0f} MiB, {before:.0f} before (goal 300 MiB)",
            flush=True,
        )


def _gather(keeper: Keeper, people: int, costs: Group) -> tuple[float, float]:
    """Seconds until all were there, and MiB then. Each is asked again at the end; raises where one does not answer."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.fetcher", "crowd", str(keeper.pop3), str(people)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told, "not all sessions came"
        memory = costs.memory_mib()
        process.communicate(b"", timeout=_PATIENCE_S)
        assert process.returncode == 0, "not all sessions still worked"
        return float(told), memory
    finally:
        process.kill()
        process.wait()


# ---- a large mailbox -------------------------------------------------------------------------------


def large(messages: int = LARGE_MAILBOX, rounds: int = 5) -> None:
    with postroad(1, lambda data: asyncio.run(_fill(data, messages))) as keeper:
        found = [_times(keeper, messages) for _ in range(rounds)]
        memory = pss_kib(keeper.pid) / 1024
    for position, (what, goal_ms) in enumerate((("login", 1000), ("UIDL", 1000), ("RETR of the last", 20))):
        times = [1000 * each[position] for each in found]
        print(
            f"mailbox-large  {messages:,} messages: {what:16} {statistics.median(times):8.1f} ms "
            f"({min(times):.1f}-{max(times):.1f}; the first {times[0]:.1f}; goal {goal_ms})"
        )
    print(f"mailbox-large  {memory:.0f} MiB afterwards", flush=True)


def _times(keeper: Keeper, messages: int) -> tuple[float, float, float]:
    """Seconds for connecting and logging in, UIDL, and RETR of the last message."""
    begin = time.monotonic()
    client = _logged_in(keeper, 0)
    logged_in = time.monotonic()
    listed = client.uidl()[1]
    uidl = time.monotonic()
    letter = client.retr(messages)[1]
    retr = time.monotonic()
    client.quit()
    assert len(listed) == messages, len(listed)
    assert re.fullmatch(rb"Subject: %d" % (messages - 1), letter[1]), letter[:3]
    return logged_in - begin, uidl - logged_in, retr - uidl


async def _fill(data: Path, messages: int) -> None:
    """As local delivery does it, without a server in between."""
    directory = SqliteDirectory(data / "directory.db")
    account = directory.account(Mailbox(user(0), DOMAIN))
    assert account is not None
    store = SqliteMailboxStore(data / "mail")
    body = _LINE * (4096 // len(_LINE))
    now = datetime.now(UTC)
    try:
        for begin in range(0, messages, _BATCH):
            numbers = range(begin, min(messages, begin + _BATCH))
            waiting = [
                store.deliver(
                    Delivery(
                        account_id=account.id,
                        key=f"{number:012}/{user(0)}@{DOMAIN}",
                        queue_id=QueueId(f"{number:012}"),
                        head=b"Return-Path: <ann@a.example>\r\n",
                        content=b"Subject: %d\r\n\r\n%b" % (number, body),
                        received_at=now,
                    )
                )
                for number in numbers
            ]
            for each in waiting:
                await each
    finally:
        await store.close()
        await directory.close()
