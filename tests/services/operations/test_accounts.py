"""What an administrator does to accounts: what is kept of a password, and how much they may send."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from postroad.contracts.directory import Account
from postroad.services.operations.accounts import AccountOperations
from postroad.services.operations.operator import Operator
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.credentials import scram_keys
from postroad.world.clock import SystemClock
from tests.services.dns import PlainPasswords

ANN = {"address": "ann@a.example"}
PASSWORD = "correct horse"


class Office:
    def __init__(self, folder: Path) -> None:
        self.directory = SqliteDirectory(folder / "directory.db")
        self.mailboxes = SqliteMailboxStore(folder / "mail")
        self._operator = Operator(
            accounts=AccountOperations(
                directory=self.directory,
                mailboxes=self.mailboxes,
                passwords=PlainPasswords(),
                clock=SystemClock(),
            )
        )

    async def do(self, verb: str, **arguments: object) -> PlainObject:
        (result,) = await self._operator.perform(verb, {**ANN, **arguments})
        return result

    @property
    def ann(self) -> Account:
        account = self.directory.account(Mailbox("ann", "a.example"))
        assert account is not None
        return account


def play(folder: Path, scene: Callable[[Office], Coroutine[Any, Any, None]]) -> None:
    async def in_the_office() -> None:
        office = Office(folder)
        try:
            await office.do("domain.add", domain="a.example")
            await scene(office)
        finally:
            await office.mailboxes.close()
            await office.directory.close()

    asyncio.run(in_the_office())


def test_a_new_account_keeps_scram_keys_and_no_readable_password(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        said = await office.do("account.add", password=PASSWORD)
        assert (said["scram"], said["cram_md5"]) == (True, False)
        keys = office.ann.scram
        assert keys is not None
        assert keys == scram_keys(PASSWORD, keys.salt)
        assert keys.iterations >= 100_000
        assert office.ann.cram_secret == ""

    play(tmp_path, scene)


def test_each_new_password_says_anew_what_is_kept_of_it(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        await office.do("account.add", password=PASSWORD, scram=False, cram_md5=True)
        assert (office.ann.scram, office.ann.cram_secret) == (None, PASSWORD)
        said = await office.do("account.passwd", password="another horse")
        assert (said["scram"], said["cram_md5"]) == (True, False)
        keys = office.ann.scram
        assert keys is not None
        assert keys == scram_keys("another horse", keys.salt)
        assert office.ann.cram_secret == "", "the secret of the password before must not go on being one"
        await office.do("account.passwd", password="third horse", scram=False)
        assert (office.ann.scram, office.ann.cram_secret) == (None, "")
        for verb in ("account.disable", "account.limit"):
            await office.do(verb)
        assert office.ann.password == "third horse"

    play(tmp_path, scene)


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        await office.do("account.add", password=PASSWORD, cram_md5=True)
        for verb in ("account.list", "account.limit", "account.disable"):
            shown = str(await office.do(verb, domain=""))
            assert PASSWORD not in shown
            assert office.ann.password not in shown

    play(tmp_path, scene)


def test_limits_are_set_shown_and_given_back(tmp_path: Path) -> None:
    async def scene(office: Office) -> None:
        await office.do("account.add", password=PASSWORD)
        names = ("messages_per_hour", "recipients_per_day", "connections")
        said = await office.do("account.limit")
        assert [said[name] for name in names] == [None, None, None]
        said = await office.do("account.limit", messages_per_hour=7, connections=0)
        assert [said[name] for name in names] == [7, None, 0]
        assert (office.ann.messages_per_hour, office.ann.recipients_per_day, office.ann.connections) == (7, None, 0)
        said = await office.do("account.limit", messages_per_hour="default", recipients_per_day=10)
        assert [said[name] for name in names] == [None, 10, 0]
        assert [(await office.do("account.list", domain=""))[name] for name in names] == [None, 10, 0]
        await office.do("account.passwd", password="another horse")
        assert office.ann.recipients_per_day == 10

    play(tmp_path, scene)


@pytest.mark.parametrize("wrong", [-1, 10_000_001, True, "7", "none", 1.5])
def test_what_is_no_limit_is_refused_and_changes_nothing(tmp_path: Path, wrong: object) -> None:
    async def scene(office: Office) -> None:
        await office.do("account.add", password=PASSWORD)
        with pytest.raises(OperationFailed, match="messages_per_hour: expected a number") as failed:
            await office.do("account.limit", connections=3, messages_per_hour=wrong)
        assert failed.value.exit_status == 2
        assert office.ann.connections is None
        with pytest.raises(OperationFailed, match="there is no account"):
            await office.do("account.limit", address="nobody@a.example")

    play(tmp_path, scene)
