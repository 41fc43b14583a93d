"""The fault lab in short: each kind of fault a few times. `make faults` plays them all."""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from faults.__main__ import BEGIN, END, markdown, run, write
from faults.clocks import jumps
from faults.count import Book, Row
from faults.moments import moments
from faults.names import LIES, lies
from faults.peer import Trick
from faults.shim import Call, Kind, build
from faults.torn import tear, unsynced, unsynced_names
from faults.tricks import CUTS, ENDLESS, HANGS, OUT_OF_STEP, REFUSALS, tricks
from faults.walks import FAILURES, WALKS, Failure, failures, kills, torn

pytestmark = pytest.mark.peer("cc")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("shim"))


def is_good(row: Row) -> bool:
    """Nothing is lost or doubled; and something happened, to letters that were promised."""
    print(f"\n{markdown([row])}")
    assert row.times
    assert row.promised
    assert row.lost == ()
    assert row.doubled == ()
    return row.queued == 0


# ---- running servers -------------------------------------------------------------------------------


def test_a_server_killed_at_a_call_of_the_system_loses_nothing(tmp_path: Path, library: Path) -> None:
    assert is_good(kills(tmp_path / "lab", library, WALKS[3], every=30)[0])


def test_a_power_cut_that_takes_what_was_not_synced_loses_nothing(tmp_path: Path, library: Path) -> None:
    assert is_good(torn(tmp_path / "lab", library, WALKS[1], every=30)[0])


def test_kills_at_any_moment_lose_nothing(tmp_path: Path, library: Path) -> None:
    assert is_good(moments(tmp_path / "lab", library, rounds=1)[0])


@pytest.mark.parametrize("failure", [FAILURES[2], FAILURES[4]], ids=lambda failure: failure.name)
def test_a_disk_that_fails_at_a_call_loses_nothing(tmp_path: Path, library: Path, failure: Failure) -> None:
    assert is_good(failures(tmp_path / "lab", library, failure, [WALKS[1], WALKS[2]], every=11)[0])


def test_a_clock_that_is_set_loses_nothing(tmp_path: Path, library: Path) -> None:
    assert is_good(jumps(tmp_path / "lab", library, (-86_400.0,))[0])


def test_names_that_fail_and_lie_lose_nothing(tmp_path: Path, library: Path) -> None:
    quick = [lie for lie in LIES if lie.times != 4]  # the others wait for time-outs
    assert is_good(lies(tmp_path / "lab", library, quick)[0])


@pytest.mark.parametrize(
    "group",
    [CUTS + OUT_OF_STEP, ENDLESS + REFUSALS, HANGS[-3:]],
    ids=["cuts and answers out of step", "endless replies and refusals", "hangs"],
)
def test_servers_that_misbehave_get_no_letter_lost(tmp_path: Path, library: Path, group: Sequence[Trick]) -> None:
    assert is_good(tricks(tmp_path / "lab", library, "tricks", group, times=1)[0])


def test_the_lab_sees_a_loss(tmp_path: Path, library: Path) -> None:
    """A server that says 250 and throws the message away."""
    liar = Trick("says 250, keeps nothing", "dot", words=b"250 2.0.0 taken\r\n")
    row, _ = tricks(tmp_path / "lab", library, "a liar", [liar], times=2)
    assert row.lost == ("t00001", "t00002")


# ---- the lab itself --------------------------------------------------------------------------------


def test_a_promised_letter_that_is_nowhere_is_lost() -> None:
    book = Book({"a": 250, "b": 250, "c": 250, "d": 250, "e": 451, "f": None})
    row = book.row("fault", {"a": 1}, {"b": 1}, frozenset({"c"}))
    assert (row.lost, row.doubled, row.promised, row.tried) == (("d",), (), 4, 6)
    assert not row.is_good


def test_a_second_copy_is_allowed_only_where_it_is_excused() -> None:
    book = Book({"a": 250, "b": 250, "c": None, "d": 451})
    book.excuse("a")
    row = book.row("fault", {"a": 2, "b": 2, "c": 1, "d": 1}, {}, frozenset())
    assert row.doubled == ("b", "d")
    assert row.unavoidable == 1
    assert book.row("fault", {"a": 3, "b": 1}, {}, frozenset()).doubled == ("a",)


def test_a_letter_that_was_returned_twice_is_doubled() -> None:
    assert Book({"a": 250}).row("fault", {}, {"a": 2}, frozenset()).doubled == ("a (returned)",)


def call(kind: Kind, path: str, other: str = "", *, offset: int = 0, length: int = 0, failed: int = 0) -> Call:
    return Call(kind, path, other, offset, length, 0.0, True, failed)


def test_what_was_written_after_the_last_sync_is_not_durable() -> None:
    calls = [
        call(Kind.WRITE, "/q/a.part", length=10),
        call(Kind.SYNC, "/q/a.part"),
        call(Kind.WRITE, "/q/a.part", offset=10, length=5),
        call(Kind.RENAME, "/q/a.part", "/q/a"),
        call(Kind.SYNC, "/q/a", failed=errno.EIO),
        call(Kind.WRITE, "/q/b", length=7),
        call(Kind.SYNC, "/q/b"),
    ]
    assert unsynced(calls) == {Path("/q/a"): [(10, 5)]}
    assert unsynced_names(calls) == [calls[3]]
    assert unsynced_names([*calls, call(Kind.SYNC, "/q")]) == []


def test_a_power_cut_harms_only_what_was_not_synced(tmp_path: Path) -> None:
    harmed = set()
    for seed in range(30):
        file = tmp_path / "log"
        file.write_bytes(b"synced.." + b"unsynced" * 100)
        tear([call(Kind.WRITE, str(file), offset=8, length=800)], tmp_path, random.Random(seed))
        octets = file.read_bytes()
        assert octets.startswith(b"synced..")
        harmed.add(octets)
    assert len(harmed) > 5
    assert b"synced.." + b"unsynced" * 100 not in harmed


def test_the_table_is_put_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        write("| new |\n", page)
    assert page.read_text() == f"before\n\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"


def test_a_fault_that_cannot_be_played_is_told_and_does_not_hide_the_others(tmp_path: Path) -> None:
    good = Row("good", 1, 1, (), (), 0)

    def broken(folder: Path, library: Path, every: int) -> tuple[Row, str]:
        raise RuntimeError("the server does not start")

    rows, failed = run([broken, lambda folder, library, every: (good, "")], tmp_path, tmp_path, 1)
    assert rows == [good]
    assert failed == ["RuntimeError: the server does not start"]
