"""The directory in SQLite keeps the contract, with its thread and without."""

from pathlib import Path

from postroad.contracts.directory import Directory
from postroad.storage.sqlite.directory_store import SqliteDirectory
from tests.contract.directory_aliases_contract import DirectoryAliasesContract
from tests.contract.directory_lists_contract import DirectoryListsContract


class TestSqliteDirectory(DirectoryAliasesContract, DirectoryListsContract):
    now_s = 0.0
    direct = False

    def open_directory(self, data: Path) -> Directory:
        return SqliteDirectory(data / "directory.db", direct=self.direct, monotonic=lambda: self.now_s)

    def let_time_pass(self) -> None:
        self.now_s += 1.0


class TestSqliteDirectoryWithoutThread(TestSqliteDirectory):
    direct = True
