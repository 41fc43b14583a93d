"""The end of a reception, and its overload."""

import asyncio
from pathlib import Path

from postroad.services.overload import Overload
from postroad.services.sweep import Sweep
from postroad.simulation.virtual_loop import run
from postroad.vocabulary.limits import LOOP_LAG_PAUSE_S, LOOP_LAG_RESUME_S
from tests.services.houses import HERE, House, play

LETTER = b"Subject: hi\r\n\r\nHello\r\n"


def test_a_server_that_stops_tells_those_between_transactions_and_lets_the_others_finish(tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            House.open(tmp_path) as house,
            house.reception() as reception,
            house.client() as idle,
            house.client() as busy,
        ):
            await idle.say("EHLO c.example", 250)
            await busy.say("EHLO c.example", 250)
            await busy.say("MAIL FROM:<cat@c.example>", 250)
            stopping = asyncio.create_task(reception.stop(grace_s=5))
            await idle.expect(421, "4.3.2")
            await idle.until_closed()
            await busy.say(f"RCPT TO:<ann@{HERE}>", 250)
            await busy.say("DATA", 354)
            late = await house.connect()
            await late.expect(421, "4.3.2")
            busy.transport.write(LETTER + b".\r\n")
            await busy.expect(250)
            await busy.expect(421, "4.3.2")
            began = house.clock.now()
            await stopping
            assert (house.clock.now() - began).total_seconds() < 2
            assert reception.sessions == 0
            assert len(house.accepted) == 1

    play(scene)


def test_who_does_not_finish_within_the_grace_is_cut(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception() as reception, house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.say("MAIL FROM:<cat@c.example>", 250)
            began = house.clock.now()
            await reception.stop(grace_s=5)
            assert 5 <= (house.clock.now() - began).total_seconds() < 6
            await client.until_closed()
            assert reception.sessions == 0

    play(scene)


class Door:
    def __init__(self) -> None:
        self.log = ""

    async def close(self) -> None:
        return

    def pause(self) -> None:
        self.log += "pause "

    def resume(self) -> None:
        self.log += "resume "


def test_a_loop_that_lags_accepts_nobody_until_it_has_caught_up() -> None:
    overload, door, late_door = Overload(), Door(), Door()
    overload.watch(door)
    overload.measured(LOOP_LAG_PAUSE_S)
    assert door.log == ""
    overload.measured(LOOP_LAG_PAUSE_S + 0.01)
    overload.watch(late_door)
    overload.measured(LOOP_LAG_RESUME_S + 0.01)
    assert door.log == late_door.log == "pause "
    overload.measured(LOOP_LAG_RESUME_S)
    assert door.log == late_door.log == "pause resume "
    overload.forget(door)
    overload.measured(9)
    assert (door.log, late_door.log) == ("pause resume ", "pause resume pause ")
    assert overload.times_paused == 2


class Sleeper:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.told: list[float] = []

    def overdue(self, now: float) -> None:
        self.told.append(now)
        self.deadline = float("inf")


def test_one_sweep_tells_each_connection_within_a_second_of_its_deadline() -> None:
    async def scene() -> None:
        lags: list[float] = []
        sweep = Sweep(lags.append)
        sleepers = [Sleeper(each) for each in (0.5, 7.3, 100.0, float("inf"))]
        for sleeper in sleepers:
            sweep.add(sleeper)
        task = asyncio.create_task(sweep.run())
        async with asyncio.timeout(600):
            await asyncio.wait([task], timeout=20)
        sweep.remove(sleepers[2])
        assert len(sweep) == 3
        await asyncio.wait([task], timeout=200)
        task.cancel()
        assert [len(each.told) for each in sleepers] == [1, 1, 0, 0]
        assert all(0 <= each.told[0] - due <= 1 for each, due in zip(sleepers[:2], (0.5, 7.3), strict=True))
        assert max(lags) < 0.001

    run(scene())
