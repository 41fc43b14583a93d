"""Passwords are checked in threads, within bounds, and a success is remembered for a while."""

import asyncio
import time

import pytest

from postroad.contracts.errors import Busy
from postroad.vocabulary.credentials import scram_keys
from postroad.vocabulary.limits import PASSWORD_BYTES, PASSWORD_CACHE_S, SCRAM_ITERATIONS
from postroad.world.passwords import Argon2Passwords


class Watch:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def took(passwords: Argon2Passwords, name: str, stored: str, password: str) -> tuple[bool, float]:
    begun = time.process_time()  # of all threads, whatever else the machine does
    right = await passwords.verify(name, stored, password)
    return right, time.process_time() - begun


def test_the_right_password_is_right_and_another_is_wrong() -> None:
    passwords = Argon2Passwords()

    async def play() -> None:
        stored = await passwords.hash("correct horse")
        assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert await passwords.verify("ann", stored, "correct horse")
        assert not await passwords.verify("ann", stored, "Correct horse")
        assert not await passwords.verify("ann", "", "correct horse")
        assert not await passwords.verify("ann", "no argon2 string", "correct horse")
        await passwords.close()

    asyncio.run(play())


@pytest.mark.parametrize("password", ["", "with\0nul", "x" * (PASSWORD_BYTES + 1), "\ud800"])
def test_an_impossible_password_is_refused_and_never_right(password: str) -> None:
    passwords = Argon2Passwords()

    async def play() -> None:
        with pytest.raises(ValueError):
            await passwords.hash(password)
        assert not await passwords.verify("ann", await passwords.hash("x"), password)
        await passwords.close()

    asyncio.run(play())


def test_a_success_is_remembered_until_its_time_is_up_or_the_password_changes() -> None:
    watch = Watch()
    passwords = Argon2Passwords(watch)

    async def play() -> None:
        stored = await passwords.hash("correct horse")
        assert await passwords.verify("ann", stored, "correct horse")
        await passwords.close()  # from here on only what is remembered can be answered
        assert await passwords.verify("ann", stored, "correct horse")
        for name, kept, password in [
            ("bob", stored, "correct horse"),
            ("ann", stored + "x", "correct horse"),
            ("ann", stored, "wrong"),
        ]:
            with pytest.raises(RuntimeError):
                await passwords.verify(name, kept, password)
        watch.now += PASSWORD_CACHE_S
        with pytest.raises(RuntimeError):
            await passwords.verify("ann", stored, "correct horse")

    asyncio.run(play())


def test_too_many_waiting_are_told_to_come_back() -> None:
    passwords = Argon2Passwords(threads=1, waiting=2)

    async def play() -> None:
        stored = await passwords.hash("right")
        async with asyncio.TaskGroup() as group:
            checks = [group.create_task(passwords.verify("ann", stored, "right")) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await passwords.verify("bob", stored, "right")
        assert all(check.result() for check in checks)
        assert not await passwords.verify("bob", stored, "wrong")
        await passwords.close()

    asyncio.run(play())


def test_callers_that_go_away_leave_their_places() -> None:
    passwords = Argon2Passwords(threads=1, waiting=1)

    async def play() -> None:
        for _ in range(5):
            async with asyncio.TaskGroup() as group:
                checks = [group.create_task(passwords.verify("ann", "", "x")) for _ in range(2)]
                await asyncio.sleep(0)
                checks[1].cancel()
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(passwords.verify("ann", "", "x"))
        await passwords.close()

    asyncio.run(play())


def test_an_unknown_user_costs_as_much_as_a_wrong_password() -> None:
    passwords = Argon2Passwords()

    async def play() -> None:
        stored = await passwords.hash("right")
        wrong = min([(await took(passwords, "ann", stored, "wrong"))[1] for _ in range(5)])
        for unknown in ("", "no argon2 string"):
            nobody = min([(await took(passwords, "ann", unknown, "wrong"))[1] for _ in range(5)])
            assert wrong / 3 < nobody < wrong * 3
        await passwords.close()

    asyncio.run(play())


def test_scram_keys_are_of_the_password_with_a_salt_of_their_own() -> None:
    passwords = Argon2Passwords()

    async def play() -> None:
        first, second = await passwords.scram_keys("correct horse"), await passwords.scram_keys("correct horse")
        assert first.iterations == SCRAM_ITERATIONS >= 100_000
        assert first.salt != second.salt
        assert len(first.salt) == 16
        assert first == scram_keys("correct horse", first.salt)
        # RFC 4013: a no-break space is a space, so both spellings of a password have the same keys.
        assert scram_keys("correct\u00a0horse", first.salt) == first
        for impossible in ("", "with\0nul", "x" * (PASSWORD_BYTES + 1), "\ud800", "\u00ad"):
            with pytest.raises(ValueError):
                await passwords.scram_keys(impossible)
        await passwords.close()

    asyncio.run(play())


def test_scram_keys_wait_in_the_same_bounded_queue() -> None:
    passwords = Argon2Passwords(threads=1, waiting=1)

    async def play() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(passwords.scram_keys("right")), group.create_task(passwords.hash("right"))]
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await passwords.scram_keys("right")
        assert all(task.result() for task in tasks)
        await passwords.close()

    asyncio.run(play())
