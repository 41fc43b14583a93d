"""python -m bench.fetcher fetch PORT SESSIONS SHARE: each session has a user of its own, whose messages it fetches:
SHARE times it connects, logs in, RETR 1, DELE 1, QUIT. Prints how many seconds it took.

python -m bench.fetcher crowd PORT COUNT: so many users are logged in at the same time, each having fetched a message.
Prints how many seconds that took; at the end of its standard input each says NOOP and QUIT, and it ends well if all
were answered.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

from bench.keepers import DOMAIN, user
from bench.processes import raise_descriptors
from postroad.app.bench_talk import Talk
from tests.support.server import PASSWORD

_AT_ONCE = 20
"""Logins of a crowd that are under way at the same time."""


async def logged_in(port: int, number: int) -> Talk:
    """Raises bench_talk.Refused, OSError."""
    _, talk = await asyncio.get_running_loop().create_connection(Talk, "127.0.0.1", port)
    await talk.say(b"", b"+OK")
    await talk.say(b"USER %b@%b\r\n" % (user(number).encode(), DOMAIN.encode()), b"+OK")
    await talk.say(b"PASS %b\r\n" % PASSWORD.encode(), b"+OK")
    return talk


async def quit_well(talk: Talk) -> None:
    await talk.say(b"QUIT\r\n", b"+OK")
    talk.transport.close()


async def fetch(port: int, sessions: int, share: int) -> None:
    async def of_one(number: int) -> None:
        for _ in range(share):
            talk = await logged_in(port, number)
            await talk.say(b"RETR 1\r\n", b".\r\n")
            await talk.say(b"DELE 1\r\n", b"+OK")
            await quit_well(talk)

    begin = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(sessions):
            group.create_task(of_one(number))
    print(time.monotonic() - begin)


async def crowd(port: int, count: int) -> None:
    here: list[Talk] = []
    numbers = iter(range(count))

    async def gather() -> None:
        for number in numbers:
            talk = await logged_in(port, number)
            await talk.say(b"RETR 1\r\n", b".\r\n")
            here.append(talk)

    begin = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(gather())
    print(time.monotonic() - begin, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for talk in here:
        await talk.say(b"NOOP\r\n", b"+OK")
    for talk in here:
        await quit_well(talk)


if __name__ == "__main__":
    raise_descriptors()
    what, port, *numbers = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if what == "fetch":
            runner.run(fetch(int(port), int(numbers[0]), int(numbers[1])))
        else:
            runner.run(crowd(int(port), int(numbers[0])))
