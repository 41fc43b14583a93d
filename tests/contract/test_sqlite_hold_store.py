"""The hold store in SQLite keeps the contract, with its threads and without."""

from pathlib import Path

from postroad.contracts.hold_store import HoldStore
from postroad.storage.sqlite.hold_store import SqliteHoldStore
from tests.contract.hold_store_contract import HoldStoreContract


class TestSqliteHoldStore(HoldStoreContract):
    def open_store(self, data: Path) -> HoldStore:
        return SqliteHoldStore(data / "hold")


class TestSqliteHoldStoreWithoutThreads(HoldStoreContract):
    def open_store(self, data: Path) -> HoldStore:
        return SqliteHoldStore(data / "hold", direct=True)
