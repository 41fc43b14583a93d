"""What every directory owes to those who ask it. A runner subclasses this and says how one is opened."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postroad.contracts.directory import Account, AlreadyThere, Directory, Domain, DomainKind, NotThere
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.credentials import ScramKeys
from postroad.vocabulary.standing_order import OrderKind, StandingOrder
from postroad.vocabulary.usage import DAY, HOUR, Sent, Usage

HERE = Domain(name="a.example")
BACKUP = Domain(name="b.example", kind=DomainKind.RELAY, relay_to="mx.b.example:25")
ANN = Account(
    id=0,
    address=Mailbox("Ann", "a.example"),
    display_name="Ann Author",
    password="$argon2id$v=19$...",
    unix_user="ann",
    grants=(Mailbox("sales", "a.example"), Mailbox("info", "a.example")),
)
KEYS = ScramKeys(b"salt of sixteen!", 100_000, b"s" * 32, b"k" * 32)
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
BOB = Account(id=0, address=Mailbox("bob", "a.example"))

DEADLINE_S = 30.0


class DirectoryContract:
    @abstractmethod
    def open_directory(self, data: Path) -> Directory:
        """A directory on `data`; opened again, or twice at a time, it tells the same."""

    @abstractmethod
    def let_time_pass(self) -> None:
        """A second goes by, in which changes made elsewhere are noticed."""

    def run(self, data: Path, scene: Callable[[Directory], Coroutine[Any, Any, None]]) -> None:
        async def play() -> None:
            async with asyncio.timeout(DEADLINE_S), self.opened(data) as directory:
                await scene(directory)

        asyncio.run(play())

    @asynccontextmanager
    async def opened(self, data: Path) -> AsyncIterator[Directory]:
        directory = self.open_directory(data)
        try:
            yield directory
        finally:
            await directory.close()

    def test_an_account_is_found_without_regard_to_case(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await directory.add_domain(HERE)
            ann = await directory.add_account(ANN)
            assert ann == msgspec.structs.replace(ANN, id=ann.id)
            for spelling in ("Ann", "ann", "ANN"):
                assert directory.account(Mailbox(spelling, "a.example")) == ann
            assert directory.account(Mailbox("anne", "a.example")) is None
            assert directory.account(Mailbox("ann", "b.example")) is None
            assert directory.account_by_unix_user("ann") == ann
            assert directory.account_by_unix_user("bob") is None
            assert directory.account_by_unix_user("") is None

        self.run(tmp_path, scene)

    def test_what_was_added_is_there_after_reopening(self, tmp_path: Path) -> None:
        async def before(directory: Directory) -> None:
            assert directory.domain("a.example") is None
            await directory.add_domain(HERE)
            await directory.add_domain(BACKUP)
            await directory.add_account(BOB)
            await directory.add_account(ANN)

        async def after(directory: Directory) -> None:
            assert directory.domains() == (HERE, BACKUP)
            assert directory.domain("b.example") == BACKUP
            assert [str(account.address) for account in directory.accounts()] == ["Ann@a.example", "bob@a.example"]
            assert directory.accounts("a.example") == directory.accounts()
            assert directory.accounts("b.example") == ()
            ann = directory.account(ANN.address)
            assert ann is not None
            assert ann.grants == ANN.grants

        self.run(tmp_path, before)
        self.run(tmp_path, after)

    def test_a_name_is_given_once(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await directory.add_domain(HERE)
            with pytest.raises(AlreadyThere):
                await directory.add_domain(msgspec.structs.replace(HERE, kind=DomainKind.RELAY))
            await directory.add_account(ANN)
            with pytest.raises(AlreadyThere):
                await directory.add_account(Account(id=0, address=Mailbox("ANN", "a.example")))
            with pytest.raises(AlreadyThere):
                await directory.add_account(Account(id=0, address=Mailbox("x", "a.example"), unix_user="ann"))
            assert directory.domain("a.example") == HERE
            assert len(directory.accounts()) == 1

        self.run(tmp_path, scene)

    def test_only_a_local_domain_has_accounts(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await directory.add_domain(BACKUP)
            for domain in ("b.example", "c.example"):
                with pytest.raises(NotThere):
                    await directory.add_account(Account(id=0, address=Mailbox("ann", domain)))

        self.run(tmp_path, scene)

    def test_an_id_is_never_used_again(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await directory.add_domain(HERE)
            first = await directory.add_account(BOB)
            assert await directory.remove_account(Mailbox("BOB", "a.example")) == first
            assert directory.account(BOB.address) is None
            assert (await directory.add_account(BOB)).id > first.id

        self.run(tmp_path, scene)

    def test_a_domain_goes_only_when_its_accounts_are_gone(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await directory.add_domain(HERE)
            await directory.add_account(ANN)
            with pytest.raises(ValueError):
                await directory.remove_domain("a.example")
            assert directory.domain("a.example") == HERE
            await directory.remove_account(ANN.address)
            await directory.remove_domain("a.example")
            assert directory.domain("a.example") is None
            with pytest.raises(NotThere):
                await directory.remove_domain("a.example")
            with pytest.raises(NotThere):
                await directory.remove_account(ANN.address)

        self.run(tmp_path, scene)

    def test_everything_but_id_and_address_can_be_changed(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await directory.add_domain(HERE)
            ann = await directory.add_account(ANN)
            changed = msgspec.structs.replace(
                ann,
                display_name="A.",
                password="",
                disabled=True,
                unix_user="anna",
                grants=(Mailbox("x", "y.example"),),
            )
            await directory.change_account(changed)
            assert directory.account(ANN.address) == changed
            assert directory.account_by_unix_user("ann") is None
            assert directory.account_by_unix_user("anna") == changed
            with pytest.raises(NotThere):
                await directory.change_account(msgspec.structs.replace(ann, id=ann.id + 1))
            with pytest.raises(NotThere):
                await directory.change_account(msgspec.structs.replace(ann, address=Mailbox("eve", "a.example")))
            assert directory.account(ANN.address) == changed

        self.run(tmp_path, scene)

    def test_postmaster_always_reaches_somebody(self, tmp_path: Path) -> None:
        """RFC 5321 section 4.5.1: every domain served here has one, also when it is named without a domain."""
        anywhere, here = Mailbox("Postmaster", ""), Mailbox("POSTMASTER", "a.example")

        async def scene(directory: Directory) -> None:
            assert directory.account(anywhere) is None
            await directory.add_domain(HERE)
            await directory.add_domain(BACKUP)
            assert directory.account(here) is None
            bob = await directory.add_account(BOB)
            ann = await directory.add_account(ANN)
            assert directory.account(anywhere) == directory.account(here) == bob
            assert directory.account(Mailbox("postmaster", "b.example")) is None
            assert directory.account(Mailbox("postmaster", "c.example")) is None
            own = await directory.add_account(Account(id=0, address=Mailbox("postmaster", "a.example")))
            assert directory.account(here) == own
            await directory.remove_account(BOB.address)
            assert directory.account(anywhere) == ann

        self.run(tmp_path, scene)

    def test_a_change_made_by_another_is_noticed(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            async with self.opened(tmp_path) as another:
                await another.add_domain(HERE)
                await another.add_account(BOB)
                self.let_time_pass()
                assert directory.domain("a.example") == HERE
                bob = directory.account(BOB.address)
                assert bob is not None
                await another.change_account(msgspec.structs.replace(bob, disabled=True))
                await another.add_account(ANN)
                self.let_time_pass()
                seen = directory.account(BOB.address)
                assert seen is not None
                assert seen.disabled
                assert len(directory.accounts()) == 2
                await directory.remove_account(BOB.address)
                self.let_time_pass()
                assert another.account(BOB.address) is None

        self.run(tmp_path, scene)

    def test_an_address_is_found_as_it_was_meant_not_as_a_pattern(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await directory.add_domain(HERE)
            odd = await directory.add_account(Account(id=0, address=Mailbox('a"b %_c', "a.example")))
            wide = await directory.add_account(Account(id=0, address=Mailbox("Jürgen", "a.example")))
            assert directory.account(Mailbox('A"B %_C', "a.example")) == odd
            assert directory.account(Mailbox("JÜRGEN", "a.example")) == wide
            assert directory.account(Mailbox("%", "a.example")) is None

        self.run(tmp_path, scene)

    def test_what_an_account_keeps_of_its_password_and_its_limits_come_back_as_they_were(self, tmp_path: Path) -> None:
        secrets = msgspec.structs.replace(BOB, scram=KEYS, cram_secret="tanstaaf tanstaaf", messages_per_hour=7)

        async def before(directory: Directory) -> None:
            await directory.add_domain(HERE)
            bob = await directory.add_account(secrets)
            assert bob == msgspec.structs.replace(secrets, id=bob.id)

        async def after(directory: Directory) -> None:
            bob = directory.account(BOB.address)
            assert bob is not None
            assert (bob.scram, bob.cram_secret) == (KEYS, "tanstaaf tanstaaf")
            assert (bob.messages_per_hour, bob.recipients_per_day, bob.connections) == (7, None, None)
            changed = msgspec.structs.replace(
                bob, scram=None, cram_secret="", messages_per_hour=None, recipients_per_day=0, connections=3
            )
            await directory.change_account(changed)
            assert directory.account(BOB.address) == changed
            assert directory.accounts() == (changed,)

        self.run(tmp_path, before)
        self.run(tmp_path, after)

    def test_an_account_does_not_show_its_secrets_when_it_is_printed(self, tmp_path: Path) -> None:
        shown = repr(msgspec.structs.replace(ANN, scram=KEYS, cram_secret="tanstaaf"))
        assert "Ann@a.example" in shown
        assert "tanstaaf" not in shown
        assert "argon2" not in shown

    def test_what_was_sent_is_added_up_and_kept(self, tmp_path: Path) -> None:
        ids: list[int] = []

        async def before(directory: Directory) -> None:
            await directory.add_domain(HERE)
            ids.extend([(await directory.add_account(ANN)).id, (await directory.add_account(BOB)).id])
            ann, bob = ids
            assert directory.usage(ann) == Usage()
            await directory.add_usage((Sent(ann, 1, 3, NOON),))
            later = NOON + timedelta(minutes=59)
            counters = await directory.add_usage((Sent(ann, 2, 2, later), Sent(bob, 1, 1, later)))
            assert counters == {ann: Usage(NOON, 3, NOON, 5), bob: Usage(later, 1, later, 1)}

        async def after(directory: Directory) -> None:
            ann, bob = ids
            assert directory.usage(ann) == Usage(NOON, 3, NOON, 5)
            after_the_hour = NOON + HOUR
            counters = await directory.add_usage((Sent(ann, 1, 1, after_the_hour),))
            assert counters[ann] == directory.usage(ann) == Usage(after_the_hour, 1, NOON, 6)
            await directory.add_usage((Sent(ann, 1, 1, NOON + DAY),))
            assert directory.usage(ann) == Usage(NOON + DAY, 1, NOON + DAY, 1)
            await directory.remove_account(BOB.address)
            assert directory.usage(bob) == Usage()
            assert await directory.add_usage((Sent(bob, 1, 1, NOON),)) == {}

        self.run(tmp_path, before)
        self.run(tmp_path, after)

    def test_an_order_stands_until_it_is_taken_back(self, tmp_path: Path) -> None:
        offline = StandingOrder(kind=OrderKind.OFFLINE, given_at=NOON, by="ann")
        pause = StandingOrder(kind=OrderKind.PAUSE, subject="domain:b.example", given_at=NOON + HOUR, by="bob")

        async def given(directory: Directory) -> None:
            assert directory.standing_orders() == ()
            async with self.opened(tmp_path) as another:
                await directory.give_order(pause)
                await another.give_order(offline)
                await directory.give_order(msgspec.structs.replace(pause, given_at=NOON + DAY, by="eve"))
                assert directory.standing_orders() == another.standing_orders() == (offline, pause)

        async def taken_back(directory: Directory) -> None:
            assert directory.standing_orders() == (offline, pause)
            assert not await directory.take_back_order(OrderKind.PAUSE, "domain:c.example")
            assert await directory.take_back_order(OrderKind.PAUSE, pause.subject)
            assert await directory.take_back_order(OrderKind.OFFLINE)
            assert not await directory.take_back_order(OrderKind.OFFLINE)

        async def at_last(directory: Directory) -> None:
            assert directory.standing_orders() == ()

        for scene in (given, taken_back, at_last):
            self.run(tmp_path, scene)

    def test_counters_of_several_processes_add_up(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await directory.add_domain(HERE)
            ann = await directory.add_account(ANN)
            async with self.opened(tmp_path) as another:
                await another.add_usage((Sent(ann.id, 1, 10, NOON),))
                counters = await directory.add_usage((Sent(ann.id, 1, 5, NOON),))
                assert counters == {ann.id: Usage(NOON, 2, NOON, 15)}
                assert another.usage(ann.id) == counters[ann.id]

        self.run(tmp_path, scene)

    def test_the_key_of_salts_for_nobody_is_the_installation_s_own_and_stays(self, tmp_path: Path) -> None:
        found: list[bytes] = []

        async def scene(directory: Directory) -> None:
            found.append(directory.fake_salt_key())

        for folder in (tmp_path / "one", tmp_path / "one", tmp_path / "two"):
            folder.mkdir(exist_ok=True)
            self.run(folder, scene)
        one, again, two = found
        assert one == again
        assert one != two
        assert len(one) == len(two) == 32
