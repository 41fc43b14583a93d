"""Queue ids: the number that the 250 carries and by which every message is found again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NewType

QueueId = NewType("QueueId", str)
"""Twelve characters of Crockford's base 32; later ids sort after earlier ones of the same shard."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {c: n for n, c in enumerate(_ALPHABET)}
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_SHARD_BITS = 8
_LENGTH = 12

SHARDS_MAX = 1 << _SHARD_BITS


def from_number(number: int) -> QueueId:
    """The text of a queue number of at most 60 bits. Raises ValueError outside of that."""
    if not 0 <= number < 1 << 5 * _LENGTH:
        raise ValueError(f"queue number {number}")
    return QueueId("".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5)))


def to_number(queue_id: str) -> int:
    """The number of a queue id, upper or lower case. Raises ValueError for what is not one."""
    if len(queue_id) != _LENGTH:
        raise ValueError(f"{queue_id!r} is not a queue id")
    number = 0
    for character in queue_id.upper():
        if character not in _VALUES:
            raise ValueError(f"{queue_id!r} is not a queue id")
        number = number << 5 | _VALUES[character]
    return number


def shard_of(queue_id: str) -> int:
    return to_number(queue_id) & (SHARDS_MAX - 1)


def made_at(queue_id: str) -> datetime:
    """When the id was given out; later than that where the clock had been set back. Raises ValueError."""
    return _EPOCH + timedelta(microseconds=to_number(queue_id) >> _SHARD_BITS)


class QueueIdSource:
    """Gives out the ids of one shard, none of them twice.

    An id is the microsecond it was made in, and the shard. `last` is the highest number the shard
    ever gave out (0 if none): a clock that was set back then cannot repeat an id.
    """

    def __init__(self, shard: int, last: int = 0) -> None:
        if not 0 <= shard < SHARDS_MAX:
            raise ValueError(f"shard {shard}")
        self._shard = shard
        self._tick = last >> _SHARD_BITS

    def next(self, now: datetime) -> QueueId:
        elapsed = now - _EPOCH
        tick = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
        self._tick = max(self._tick + 1, tick)
        return from_number(self._tick << _SHARD_BITS | self._shard)
