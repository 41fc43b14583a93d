"""python -m bench.aiosmtpd_server PORT FOLDER NEXT_HOP: what one writes with aiosmtpd in an afternoon, durably.

Each message becomes a file that is synced before the 250. With a NEXT_HOP (a port, 0 is none) threads hand the files
on by smtplib, over connections they keep, and remove them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import smtplib
import sys
import threading
from pathlib import Path

import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session

_HANDING_ON = 20
_MESSAGE_BYTES_MAX = 52_428_800


class Keeper:
    def __init__(self, folder: Path, waiting: queue.SimpleQueue[tuple[Path, Envelope]] | None) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._waiting = waiting

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # aiosmtpd's name
        path = self._folder / str(next(self._numbers))
        assert isinstance(envelope.content, bytes)
        await asyncio.to_thread(_write, path, envelope.content)
        if self._waiting is not None:
            self._waiting.put((path, envelope))
        return "250 kept"


def _write(path: Path, content: bytes) -> None:
    """In a hidden name first, so that whoever counts files counts whole ones."""
    half = path.with_name(f".{path.name}")
    with half.open("wb", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())
    half.rename(path)


def _hand_on(waiting: queue.SimpleQueue[tuple[Path, Envelope]], port: int) -> None:
    client: smtplib.SMTP | None = None
    while True:
        path, envelope = waiting.get()
        if client is None:
            client = smtplib.SMTP("127.0.0.1", port, local_hostname="bench.example")
        assert isinstance(envelope.mail_from, str)
        assert isinstance(envelope.content, bytes)
        client.sendmail(envelope.mail_from, [str(recipient) for recipient in envelope.rcpt_tos], envelope.content)
        path.unlink()


async def main(port: int, folder: Path, next_hop: int) -> None:
    waiting: queue.SimpleQueue[tuple[Path, Envelope]] | None = queue.SimpleQueue() if next_hop else None
    keeper = Keeper(folder, waiting)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(keeper, hostname="bench.example", data_size_limit=_MESSAGE_BYTES_MAX, loop=loop),
        "127.0.0.1",
        port,
        backlog=1000,
    )
    for _ in range(_HANDING_ON if waiting else 0):
        threading.Thread(target=_hand_on, args=(waiting, next_hop), daemon=True).start()
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
