"""python -m bench.names: our own name server on loopback, with what the rules about the bench's clients ask for.

It prints its port and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys

from postroad.vocabulary.zone import Zones, a, mx, ptr
from postroad.world.dns_server import DnsServer

_ZONES: Zones = {
    "in-addr.arpa": (ptr("127.0.0.1", "client.a.example"),),
    "example": (mx("a.example", 10, "client.a.example"), a("client.a.example", "127.0.0.1")),
}


async def main() -> None:
    server = DnsServer(_ZONES)
    print((await server.start()).port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
