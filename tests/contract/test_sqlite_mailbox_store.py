"""The mailbox store in SQLite keeps the contract, with its threads and without."""

from pathlib import Path

from postroad.contracts.mailbox_store import MailboxStore
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from tests.contract.mailbox_store_contract import MailboxStoreContract


class TestSqliteMailboxStore(MailboxStoreContract):
    def open_store(self, data: Path) -> MailboxStore:
        return SqliteMailboxStore(data / "mail")


class TestSqliteMailboxStoreWithoutThreads(MailboxStoreContract):
    def open_store(self, data: Path) -> MailboxStore:
        return SqliteMailboxStore(data / "mail", direct=True)
