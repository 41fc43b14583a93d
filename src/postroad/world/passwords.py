"""Password hashing with argon2id, and the keys of SCRAM, in threads and bounded.

The parameters are OWASP's second choice: 19 MiB, two passes, one lane. argon2 and PBKDF2 give the interpreter
lock back while they work, so a pool of one thread per core does not hold up the loop.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from postroad.contracts.errors import Busy
from postroad.vocabulary.credentials import ScramKeys, scram_keys
from postroad.vocabulary.limits import PASSWORD_BYTES, PASSWORD_CACHE_ENTRIES, PASSWORD_CACHE_S, PASSWORD_QUEUE

T = TypeVar("T")

_TIME_COST = 2
_MEMORY_KIB = 19 * 1024
_LANES = 1
_SALT_BYTES = 16


class Argon2Passwords:
    """Implements contracts/passwords.py. `close` when done.

    A success is remembered for PASSWORD_CACHE_S, keyed by an HMAC under a key that lives as long as the
    process: no password and no fast hash of one can be read from it. A changed `stored` is another key, so a
    new password takes effect at once.
    """

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, threads: int = 0, waiting: int = PASSWORD_QUEUE
    ) -> None:
        threads = threads or os.cpu_count() or 1
        self._monotonic = monotonic
        self._hasher = PasswordHasher(time_cost=_TIME_COST, memory_cost=_MEMORY_KIB, parallelism=_LANES)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._places = threading.BoundedSemaphore(threads + waiting)
        self._key = secrets.token_bytes(32)
        self._successes: OrderedDict[bytes, float] = OrderedDict()
        # What a user who is not there is checked against: nobody knows its password.
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        _must_be_possible(password)
        return await self._in_pool(lambda: self._hasher.hash(password))

    async def verify(self, name: str, stored: str, password: str) -> bool:
        if not stored or not _is_possible(password):
            await self._in_pool(lambda: self._matches(self._nobody, "nobody"))
            return False
        key = self._success_key(name, stored, password)
        if self._successes.get(key, 0.0) > self._monotonic():
            return True
        if not await self._in_pool(lambda: self._matches(stored, password)):
            return False
        self._successes[key] = self._monotonic() + PASSWORD_CACHE_S
        self._successes.move_to_end(key)
        while len(self._successes) > PASSWORD_CACHE_ENTRIES:
            self._successes.popitem(last=False)
        return True

    async def scram_keys(self, password: str) -> ScramKeys:
        _must_be_possible(password)
        salt = secrets.token_bytes(_SALT_BYTES)
        return await self._in_pool(lambda: scram_keys(password, salt))

    async def close(self) -> None:
        """Checks that have not begun are dropped; those that have are waited for."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except InvalidHashError:
            # No argon2 string: whoever asks shall not see that in the time it takes.
            self._matches(self._nobody, password)
            return False
        except VerificationError:
            return False

    def _success_key(self, name: str, stored: str, password: str) -> bytes:
        # NUL separates: `_is_possible` keeps it out of the password, and the others have no control characters.
        return hmac.digest(self._key, f"{name}\0{stored}\0{password}".encode(), "sha256")

    async def _in_pool(self, work: Callable[[], T]) -> T:
        if not self._places.acquire(blocking=False):
            raise Busy("too many passwords wait to be checked")
        place = _Place(self._places)

        def job() -> T:
            try:
                return work()
            finally:
                place.leave()

        future = asyncio.get_running_loop().run_in_executor(self._pool, job)
        # A job whose caller went away before it began never runs.
        future.add_done_callback(lambda done: place.leave() if done.cancelled() else None)
        return await future


class _Place:
    """One place among those that work or wait, left once, by whichever thread."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._left = False

    def leave(self) -> None:
        with self._lock:
            if self._left:
                return
            self._left = True
        self._places.release()


def _must_be_possible(password: str) -> None:
    if not _is_possible(password):
        raise ValueError(f"a password has 1 to {PASSWORD_BYTES} octets, and none of them is NUL")


def _is_possible(password: str) -> bool:
    try:
        octets = password.encode()
    except UnicodeEncodeError:
        return False
    return 0 < len(octets) <= PASSWORD_BYTES and b"\0" not in octets
