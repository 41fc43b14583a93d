"""The archive in SQLite keeps the contract, with its threads and without."""

from pathlib import Path

from postroad.contracts.archive_store import Archive, ArchiveChain
from postroad.storage.sqlite.archive_chain import SqliteArchiveChain
from postroad.storage.sqlite.archive_store import SqliteArchive
from tests.contract.archive_contract import ArchiveContract


class TestSqliteArchive(ArchiveContract):
    direct = False

    def open_archive(self, data: Path) -> Archive:
        return SqliteArchive(data / "archive", direct=self.direct)

    def open_chain(self, data: Path, shard: int) -> ArchiveChain:
        return SqliteArchiveChain(data / "archive", shard, direct=self.direct)


class TestSqliteArchiveWithoutThreads(TestSqliteArchive):
    direct = True
