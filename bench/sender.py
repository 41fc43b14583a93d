"""python -m bench.sender PORT MESSAGES SESSIONS clear|tls|tls-reused: hands messages in, as smtp-source does, which
cannot speak TLS. Prints how many seconds it took.

With `tls` each message has a connection and a handshake of its own, with `tls-reused` each session has one.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time

import uvloop

from postroad.app.bench_talk import hand_in


async def main(port: int, messages: int, sessions: int, way: str) -> None:
    context = None
    if way != "clear":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    begin = time.monotonic()
    share, reuse = messages // sessions, way.endswith("reused")
    await asyncio.gather(
        *(hand_in(port, ["bob@b.example"] * share, reuse=reuse, context=context) for _ in range(sessions))
    )
    print(time.monotonic() - begin)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
