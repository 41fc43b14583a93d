"""Clock, chance and disk of the machine."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from postroad.vocabulary.limits import DISK_LOOK_S, DISK_RESERVE_FILES
from postroad.world.clock import SystemClock
from postroad.world.disk import Disk
from postroad.world.entropy import SystemEntropy


def test_the_time_is_aware_and_in_utc() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


def test_chance_is_within_its_bounds_and_loses_nothing() -> None:
    entropy = SystemEntropy()
    assert all(0.0 <= entropy.fraction() < 1.0 for _ in range(100))
    items = list(range(100))
    shuffled = entropy.shuffled(items)
    assert sorted(shuffled) == items == list(range(100))
    assert shuffled != items
    assert len(entropy.token(16)) == 16
    assert entropy.token(16) != entropy.token(16)


def test_free_space_is_asked_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = os.statvfs

    def statvfs(path: Path) -> os.statvfs_result:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    now = 0.0
    disk = Disk(tmp_path, lambda: now)
    assert disk.free_bytes() > 0
    disk.free_bytes()
    assert len(asked) == 1
    now = DISK_LOOK_S
    disk.free_bytes()
    assert len(asked) == 2
    with pytest.raises(OSError):
        Disk(tmp_path / "none").free_bytes()


def test_there_is_no_room_where_no_file_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def statvfs_with(files: int, left: int) -> None:
        facts = (4096, 4096, 10**9, 10**9, 10**9, files, left, left, 0, 255)
        monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(facts))

    statvfs_with(10**6, DISK_RESERVE_FILES - 1)
    full = Disk(tmp_path)
    assert full.room_bytes() == 0
    assert full.free_bytes() == 4096 * 10**9
    statvfs_with(10**6, DISK_RESERVE_FILES)
    assert Disk(tmp_path).room_bytes() > 0
    statvfs_with(0, 0)
    assert Disk(tmp_path).room_bytes() > 0
