"""Time that nobody waits for, deadlocks that are told, and runs that can be repeated by their seed."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from postroad.simulation.virtual_clock import START, VirtualClock
from postroad.simulation.virtual_entropy import VirtualEntropy
from postroad.simulation.virtual_loop import Deadlock, VirtualLoop, run

DAY_S = 86_400.0


def test_five_days_pass_in_milliseconds() -> None:
    async def retries() -> float:
        for _ in range(20):
            async with asyncio.timeout(6 * DAY_S):
                await asyncio.sleep(5 * DAY_S)
        return asyncio.get_running_loop().time()

    begun = time.perf_counter()
    assert run(retries()) == pytest.approx(100 * DAY_S)
    assert time.perf_counter() - begun < 1.0


def test_timers_fire_in_order_and_at_their_time() -> None:
    async def play() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        fired: list[tuple[str, float]] = []
        loop.call_later(300, lambda: fired.append(("later", loop.time())))
        loop.call_later(5, lambda: fired.append(("sooner", loop.time())))
        await asyncio.sleep(1000)
        return fired

    assert run(play()) == [("sooner", 5.0), ("later", 300.0)]


def test_a_task_that_nobody_can_wake_is_a_deadlock_with_its_name() -> None:
    async def wait_for_nothing() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="wait_for_nothing"):
        run(wait_for_nothing())


def test_a_call_from_elsewhere_wakes_the_loop() -> None:
    async def play() -> bool:
        called = asyncio.Event()
        asyncio.get_running_loop().call_soon_threadsafe(called.set)
        await called.wait()
        return True

    assert run(play())


def test_work_for_a_thread_is_done_on_the_spot() -> None:
    async def play() -> tuple[bool, float]:
        here = threading.get_ident()
        there = await asyncio.to_thread(threading.get_ident)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return here == there, asyncio.get_running_loop().time()

    assert run(play()) == (True, 0.0)


def test_time_stands_still_while_a_watched_thread_works() -> None:
    async def play() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        done = loop.create_future()
        go = threading.Event()
        working = True
        loop.watch_thread(lambda: working)

        def commit() -> None:
            nonlocal working
            go.wait(10)
            working = False
            loop.call_soon_threadsafe(done.set_result, loop.time())

        thread = threading.Thread(target=commit)
        thread.start()
        loop.call_later(60, lambda: None)  # a timer that time would jump to
        loop.call_soon(loop.call_soon, go.set)
        finished_at: float = await done
        thread.join()
        return finished_at

    assert run(play()) == 0.0


def order(seed: int | None) -> list[int]:
    async def play() -> list[int]:
        seen: list[int] = []

        async def step(number: int) -> None:
            for _ in range(3):
                seen.append(number)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(step(number))
        return seen

    return run(play(), seed=seed)


def test_one_seed_gives_one_order_and_others_give_others() -> None:
    assert order(None) == [0, 1, 2, 3, 4, 5] * 3
    orders = [order(seed) for seed in range(10)]
    assert orders == [order(seed) for seed in range(10)]
    assert len({tuple(seen) for seen in orders}) > 5


def test_what_fails_in_a_callback_is_not_swallowed() -> None:
    async def play() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(ExceptionGroup) as failure:
        run(play())
    assert isinstance(failure.value.exceptions[0], ZeroDivisionError)


def test_a_failure_tells_what_had_gone_wrong_before() -> None:
    async def play() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock) as failure:
        run(play())
    assert "ZeroDivisionError" in failure.value.__notes__[0]


def test_the_clock_follows_the_loop() -> None:
    async def play() -> tuple[datetime, datetime]:
        clock = VirtualClock()
        before = clock.now()
        await asyncio.sleep(5 * DAY_S)
        return before, clock.now()

    assert run(play()) == (START, START + timedelta(days=5))
    with pytest.raises(ValueError, match="naive"):
        VirtualClock(datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None))


def test_chance_repeats_itself_by_seed() -> None:
    def drawn(seed: int) -> tuple[float, list[int], bytes]:
        entropy = VirtualEntropy(seed)
        return entropy.fraction(), entropy.shuffled(list(range(20))), entropy.token(8)

    assert drawn(1) == drawn(1) != drawn(2)
    assert 0.0 <= drawn(1)[0] < 1.0
    assert sorted(drawn(1)[1]) == list(range(20))
    assert len(drawn(1)[2]) == 8
