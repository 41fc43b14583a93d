"""Who takes himself for cut off by mistake, because so many others are dead, soon sees that he is not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from postroad.services.offline import OfflineReason
from postroad.simulation.weather import Weather
from postroad.vocabulary.limits import OFFLINE_PROBE_S
from postroad.vocabulary.reply import reply
from postroad.vocabulary.settings import RetrySettings
from tests.services.houses import pass_time
from tests.services.towns import ANN, Town, play

DEAD = 60


def test_a_letter_among_many_for_dead_domains_waits_for_a_few_probes_and_not_for_one_to_each(tmp_path: Path) -> None:
    async def scene() -> None:
        retry = RetrySettings(waits=(timedelta(minutes=30),))
        async with Town.open(tmp_path, retry=retry) as town:
            for number in range(DEAD):
                town.peer(f"mx.d{number}.example", f"203.0.113.{number + 1}", domain=f"d{number}.example")
                town.network.set_weather(f"203.0.113.{number + 1}", Weather(black_hole=True))
            b = town.peer("mx.b.example", "203.0.113.100", domain="b.example")
            b.on_recipient = lambda mailbox: reply(450, "Come back later", status="4.7.1")
            await town.send(ANN, "bob@b.example")
            await town.settled(1)
            b.on_recipient = lambda mailbox: None
            await pass_time(600)  # the connection is closed by now
            await town.send(ANN, *(f"bob@d{number}.example" for number in range(DEAD)))
            # All of those are due when this letter is; it is tried in its turn.
            await pass_time(20 * 60)
            assert town.delivery.offline.reason is OfflineReason.DETECTED
            began_s = asyncio.get_running_loop().time()
            await b.arrived.wait()
            assert asyncio.get_running_loop().time() - began_s < 8 * OFFLINE_PROBE_S
            assert len([each for each in await town.attempts() if each.destination != "domain:b.example"]) <= DEAD

    play(scene)
