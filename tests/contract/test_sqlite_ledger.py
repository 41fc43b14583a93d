"""The ledger in SQLite keeps the contract, with its threads and without."""

from datetime import datetime
from pathlib import Path

from postroad.contracts.ledger import Ledger
from postroad.storage.sqlite.ledger_store import SqliteLedger
from tests.contract.ledger_contract import T0, LedgerContract


class SetClock:
    """A clock that says what it was told."""

    def __init__(self) -> None:
        self.time = T0

    def now(self) -> datetime:
        return self.time


class TestSqliteLedger(LedgerContract):
    direct = False

    def setup_method(self) -> None:
        self.clock = SetClock()

    def open_ledger(self, data: Path, process: str) -> Ledger:
        return SqliteLedger(data / "ledger", process, self.clock, direct=self.direct)

    def set_time(self, now: datetime) -> None:
        self.clock.time = now


class TestSqliteLedgerWithoutThreads(TestSqliteLedger):
    direct = True
