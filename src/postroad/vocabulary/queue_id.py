"""Queue ids: the number that the 250 carries and by which every message is found again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NewType

QueueId = NewType("QueueId", str)
"""Twelve characters of Crockford's base 32; later ids sort after earlier ones of the same shard."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
"""All pairs of characters by the ten bits that they spell."""
_DIGITS = str.maketrans(
    {chr(code): "_" for code in range(128)}
    | {c: "0123456789ABCDEFGHIJKLMNOPQRSTUV"[n] for n, c in enumerate(_ALPHABET)}
    | {c.lower(): "0123456789ABCDEFGHIJKLMNOPQRSTUV"[n] for n, c in enumerate(_ALPHABET)}
)
"""As int() spells base 32; what is no character of ours becomes one of none."""
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_SHARD_BITS = 8
_LENGTH = 12

SHARDS_MAX = 1 << _SHARD_BITS


def from_number(number: int) -> QueueId:
    """The text of a queue number of at most 60 bits. Raises ValueError outside of that."""
    if not 0 <= number < 1 << 5 * _LENGTH:
        raise ValueError(f"queue number {number}")
    pairs = _PAIRS
    return QueueId(
        f"{pairs[number >> 50]}{pairs[number >> 40 & 1023]}{pairs[number >> 30 & 1023]}"
        f"{pairs[number >> 20 & 1023]}{pairs[number >> 10 & 1023]}{pairs[number & 1023]}"
    )


def to_number(queue_id: str) -> int:
    """The number of a queue id, upper or lower case. Raises ValueError for what is not one."""
    if len(queue_id) == _LENGTH and queue_id.isascii():
        digits = queue_id.translate(_DIGITS)
        if "_" not in digits:
            return int(digits, 32)
    raise ValueError(f"{queue_id!r} is not a queue id")


def shard_of(queue_id: str) -> int:
    return to_number(queue_id) & (SHARDS_MAX - 1)


def made_at(queue_id: str) -> datetime:
    """When the id was given out; later than that where the clock had been set back. Raises ValueError."""
    return _EPOCH + timedelta(microseconds=to_number(queue_id) >> _SHARD_BITS)


def last_number_of(at: datetime) -> int:
    """The highest number of an id that was given out at this moment or before, by any shard."""
    elapsed = at - _EPOCH
    tick = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
    return (tick + 1 << _SHARD_BITS) - 1


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
