"""Opening databases: modes, kinds, migrations, and refusals in words for people."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path

import apsw
import pytest

from postroad.contracts.errors import StoreDamaged, StoreFull, StoreUnavailable
from postroad.storage.sqlite.database import (
    SQLITE_OLDEST,
    DatabaseKind,
    integrity_complaints,
    open_database,
    sqlite_version,
    translated,
)
from postroad.storage.sqlite.upgrade import COPIES
from postroad.vocabulary.limits import UPGRADE_COPIES
from tests.storage.another_process import another_process, lines_of
from tests.storage.failing_disk import failing_disk


def a_kind(folder: Path, *migrations: str, name: str = "toy", application_id: int = 0x50527478) -> DatabaseKind:
    folder.mkdir(exist_ok=True)
    for number, sql in enumerate(migrations, 1):
        (folder / f"{number:04d}_step.sql").write_text(sql)
    (folder / "notes.txt").write_text("not a migration")
    return DatabaseKind(name, application_id, folder)


FIRST = "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO thing VALUES (1, 'one');"
SECOND = "ALTER TABLE thing ADD COLUMN colour TEXT; UPDATE thing SET colour = 'red';"
BROKEN = "UPDATE thing SET name = 'changed'; CREATE TABLE thing (id INTEGER);"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_library_is_new_enough_for_two_connections() -> None:
    assert sqlite_version() >= SQLITE_OLDEST


def test_files_and_folders_are_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "queue" / "0.db"
    before = os.umask(0)
    try:
        connection = open_database(path, a_kind(tmp_path / "sql", FIRST))
        connection.execute("INSERT INTO thing VALUES (2, 'two')")
        assert {file.name: mode(file) for file in path.parent.iterdir()} == {
            "0.db": 0o600,
            "0.db-wal": 0o600,
            "0.db-shm": 0o600,
        }
        assert (mode(path.parent), mode(path.parent.parent)) == (0o700, 0o700)
        connection.close()
    finally:
        os.umask(before)


def test_a_commit_is_synced_and_no_checkpoint_hides_in_it(tmp_path: Path) -> None:
    with failing_disk("counting") as disk:
        connection = open_database(tmp_path / "a.db", a_kind(tmp_path / "sql", FIRST), vfs=disk.name)
        for n in range(1000, 3000):
            before = disk.syncs
            connection.execute("INSERT INTO thing VALUES (?, ?)", (n, "x" * 3000))
            assert disk.syncs == before + 1
        assert connection.pragma("synchronous") == 2
        connection.close()


def test_migrations_bring_an_old_file_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(path, a_kind(tmp_path / "one", FIRST)).close()
    connection = open_database(path, a_kind(tmp_path / "two", FIRST, SECOND))
    assert connection.execute("SELECT * FROM thing").fetchall() == [(1, "one", "red")]
    assert connection.pragma("user_version") == 2
    new = open_database(tmp_path / "b.db", a_kind(tmp_path / "two"))
    shape = "SELECT sql FROM sqlite_schema ORDER BY name"
    assert new.execute(shape).fetchall() == connection.execute(shape).fetchall()
    new.close()
    connection.close()


def test_what_was_there_before_an_upgrade_is_kept_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    old = a_kind(tmp_path / "one", FIRST)
    connection = open_database(path, old)
    connection.execute("INSERT INTO thing VALUES (2, 'only in the log so far')")
    open_database(path, a_kind(tmp_path / "two", FIRST, SECOND)).close()
    connection.close()
    copy = tmp_path / COPIES / "a.db.format-1"
    assert (mode(copy), mode(copy.parent)) == (0o600, 0o700)
    connection = open_database(copy, old)
    assert connection.execute("SELECT * FROM thing").fetchall() == [(1, "one"), (2, "only in the log so far")]
    connection.close()
    assert not (tmp_path / COPIES / COPIES).exists()


def test_a_new_file_and_one_that_is_up_to_date_are_not_copied(tmp_path: Path) -> None:
    for _ in range(2):
        open_database(tmp_path / "a.db", a_kind(tmp_path / "two", FIRST, SECOND)).close()
    assert not (tmp_path / COPIES).exists()


def test_copies_of_the_last_upgrades_only_are_kept(tmp_path: Path) -> None:
    steps = [FIRST] + [f"ALTER TABLE thing ADD COLUMN c{number}" for number in range(10)]
    for number in range(1, len(steps) + 1):
        open_database(tmp_path / "a.db", a_kind(tmp_path / f"sql{number}", *steps[:number])).close()
    kept = {f"a.db.format-{number}" for number in range(len(steps) - UPGRADE_COPIES, len(steps))}
    assert {path.name for path in (tmp_path / COPIES).iterdir()} == kept


def test_where_no_copy_can_be_made_nothing_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    old = a_kind(tmp_path / "one", FIRST)
    open_database(path, old).close()
    (tmp_path / COPIES).write_text("in the way")
    with pytest.raises(StoreFull, match=r"no copy of it could be made before the upgrade.*Nothing was changed"):
        open_database(path, a_kind(tmp_path / "two", FIRST, SECOND))
    connection = open_database(path, old)
    assert connection.pragma("user_version") == 1
    connection.close()


def test_a_file_that_is_damaged_is_not_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    old = a_kind(tmp_path / "one", FIRST + "CREATE INDEX by_name ON thing (name);")
    connection = open_database(path, old)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = 'CREATE INDEX by_name ON thing (id)' WHERE name = 'by_name'")
    connection.close()
    with pytest.raises(StoreUnavailable, match=r"upgrade from format 1 to 2 was taken back.*damaged"):
        open_database(path, a_kind(tmp_path / "two", FIRST, SECOND))
    connection = open_database(path, old)
    assert connection.pragma("user_version") == 1
    assert len(connection.execute("SELECT * FROM thing").fetchall()[0]) == 2
    connection.close()


def test_a_migration_that_fails_leaves_the_old_version_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    old = a_kind(tmp_path / "one", FIRST)
    open_database(path, old).close()
    with pytest.raises(StoreUnavailable):
        open_database(path, a_kind(tmp_path / "two", FIRST, BROKEN))
    connection = open_database(path, old)
    assert connection.execute("SELECT name FROM thing").get == "one"
    connection.close()


OPEN_TOGETHER = """
import sys
from pathlib import Path
from postroad.storage.sqlite.database import open_database
from tests.storage.test_database import a_kind
kind = a_kind(Path(sys.argv[1]) / "sql")
for n in range(30):
    print("ready", flush=True)
    sys.stdin.readline()
    connection = open_database(Path(sys.argv[1]) / f"{n}.db", kind)
    connection.execute("BEGIN IMMEDIATE; UPDATE thing SET name = name || '+'; COMMIT")
    connection.close()
print("done", flush=True)
"""


def test_several_processes_make_a_new_file_together(tmp_path: Path) -> None:
    a_kind(tmp_path / "sql", FIRST)
    with ExitStack() as stack:
        processes = [stack.enter_context(another_process(OPEN_TOGETHER, tmp_path)) for _ in range(4)]
        answers = [lines_of(process) for process in processes]
        for _ in range(30):
            assert [next(lines) for lines in answers] == ["ready"] * 4
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
        assert [next(lines) for lines in answers] == ["done"] * 4
    for n in range(30):
        connection = open_database(tmp_path / f"{n}.db", a_kind(tmp_path / "sql"))
        assert connection.execute("SELECT name FROM thing").get == "one++++"
        connection.close()


def test_data_of_a_newer_postroad_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(path, a_kind(tmp_path / "two", FIRST, SECOND)).close()
    with pytest.raises(StoreUnavailable, match=r"newer Postroad \(format 2, this one knows up to 1\)"):
        open_database(path, a_kind(tmp_path / "one", FIRST))


def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(path, a_kind(tmp_path / "one", FIRST)).close()
    with pytest.raises(StoreUnavailable, match="no Postroad parcel"):
        open_database(path, a_kind(tmp_path / "one", name="parcel", application_id=7))
    stranger = apsw.Connection(str(tmp_path / "b.db"))
    stranger.execute("CREATE TABLE photo (id)")
    stranger.close()
    with pytest.raises(StoreUnavailable, match="no Postroad toy"):
        open_database(tmp_path / "b.db", a_kind(tmp_path / "one"))


def test_damage_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"This is not a database, it is a letter to my aunt." * 100)
    with pytest.raises(StoreUnavailable, match=r"damaged.*Restore it from a backup"):
        open_database(path, a_kind(tmp_path / "one", FIRST))


def test_integrity_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    kind = a_kind(tmp_path / "one", FIRST + "CREATE INDEX thing_name ON thing (name);")
    connection = open_database(path, kind)
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i+1 FROM n WHERE i < 2000)"
        " INSERT INTO thing SELECT i, 'name ' || i FROM n"
    )
    assert integrity_complaints(connection) == ()
    connection.close()
    octets = path.read_bytes()
    path.write_bytes(octets.replace(b"name 1500", b"name 1511"))
    connection = open_database(path, kind)
    assert integrity_complaints(connection) != ()
    connection.close()


@pytest.mark.parametrize(
    ("error", "errno", "expected"),
    [
        (apsw.FullError(), 0, StoreFull),
        (apsw.IOError(), 28, StoreFull),
        (OSError(28, "No space left on device"), 0, StoreFull),
        (OSError(5, "Input/output error"), 0, StoreUnavailable),
        (apsw.IOError(), 5, StoreUnavailable),
        (apsw.CorruptError(), 0, StoreDamaged),
        (apsw.BusyError(), 0, StoreUnavailable),
        (apsw.ConstraintError(), 28, StoreUnavailable),
    ],
)
def test_the_drivers_errors_become_the_contracts(
    error: apsw.Error | OSError, errno: int, expected: type[StoreUnavailable]
) -> None:
    assert type(translated(error, "queue/0.db", errno)) is expected
    assert str(translated(error, "queue/0.db", errno)).startswith("queue/0.db: ")
