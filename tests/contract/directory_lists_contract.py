"""What every directory owes to mailing lists. A part of the directory's contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from postroad.contracts.directory import Account, Alias, AlreadyThere, Directory, Domain, DomainKind, NotThere
from postroad.contracts.mailing_lists import ListAddress, ListDuty, MailingList, Member, WhoPosts
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import LIST_MEMBERS
from tests.contract.directory_contract import DirectoryContract

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def box(name: str) -> Mailbox:
    return Mailbox(name, "a.example")


FRIENDS = MailingList(id=0, address=box("Friends"), description="Our friends", owners=(box("ann"), box("bob")))


async def populate(directory: Directory) -> MailingList:
    await directory.add_domain(Domain(name="a.example"))
    await directory.add_domain(Domain(name="b.example", kind=DomainKind.RELAY))
    await directory.add_account(Account(id=0, address=box("ann")))
    return await directory.lists.create(FRIENDS)


class DirectoryListsContract(DirectoryContract):
    def test_a_list_is_found_by_each_of_its_addresses_in_any_case_and_with_a_tag(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            one = await populate(directory)
            assert one == msgspec.structs.replace(FRIENDS, id=one.id)
            assert directory.recipient(box("FRIENDS")) == ListAddress(box("Friends"), one, ListDuty.POST)
            for suffix, duty in [*((duty.value, duty) for duty in ListDuty if duty.value), ("join", ListDuty.JOIN)]:
                for name in (f"friends-{suffix}", f"Friends-{suffix.upper()}", f"friends-{suffix}+tag=x"):
                    found = directory.recipient(box(name))
                    assert isinstance(found, ListAddress)
                    assert (found.list_, found.duty) == (one, duty)
            assert directory.recipient(box("friends-else")) is None
            assert directory.lists.find(box("friends-request")) is None
            assert directory.lists.of_domain() == directory.lists.of_domain("a.example") == (one,)
            assert directory.lists.of_domain("b.example") == ()

        self.run(tmp_path, scene)

    def test_nobody_else_can_have_an_address_of_a_list_nor_a_list_that_of_another(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await populate(directory)
            for duty in ListDuty:
                taken = FRIENDS.at(duty)
                with pytest.raises(AlreadyThere):
                    await directory.add_account(Account(id=0, address=taken))
                with pytest.raises(AlreadyThere):
                    await directory.add_targets(Alias(taken, (box("ann"),)))
                with pytest.raises(AlreadyThere):
                    await directory.lists.create(MailingList(id=0, address=taken))
            await directory.add_account(Account(id=0, address=box("team-owner")))
            await directory.add_targets(Alias(box("club-join"), (box("ann"),)))
            await directory.add_targets(Alias(box("club-request"), (box("ann"),)))
            for name in ("ann", "team", "club"):
                with pytest.raises(AlreadyThere):
                    await directory.lists.create(MailingList(id=0, address=box(name)))
            for domain in ("b.example", "away.example"):
                with pytest.raises(NotThere):
                    await directory.lists.create(MailingList(id=0, address=Mailbox("x", domain)))

        self.run(tmp_path, scene)

    def test_a_list_is_changed_but_for_its_name(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            one = await populate(directory)
            changed = msgspec.structs.replace(
                one,
                description="",
                posters=WhoPosts.OWNERS,
                verp=False,
                from_rewrite=True,
                closed=True,
                owners=(Mailbox("eve", "away.example"),),
            )
            await directory.lists.change(changed)
            assert directory.lists.find(one.address) == changed
            with pytest.raises(NotThere):
                await directory.lists.change(msgspec.structs.replace(one, address=box("others")))

        self.run(tmp_path, scene)

    def test_members_join_once_and_leave_once_in_any_case(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            lists, one = directory.lists, await populate(directory)
            dan, eve = Mailbox("Dan", "d.example"), Mailbox("eve", "e.example")
            assert await lists.join(one.id, (dan, eve), NOON) == (dan, eve)
            assert await lists.join(one.id, (Mailbox("DAN", "d.example"), box("ann")), NOON) == (box("ann"),)
            assert lists.member(one.id, Mailbox("dan", "d.example")) == Member(address=dan, joined_at=NOON)
            assert [each.address for each in lists.members(one.id, "", 10)] == [box("ann"), dan, eve]
            assert [each.address for each in lists.members(one.id, box("ann").key(), 1)] == [dan]
            assert lists.counts(one.id) == (3, 0)
            assert await lists.leave(one.id, (Mailbox("DAN", "d.example"), box("bob"))) == (
                Mailbox("DAN", "d.example"),
            )
            assert await lists.leave(one.id, (dan,)) == ()
            assert lists.member(one.id, dan) is None

        self.run(tmp_path, scene)

    def test_bounces_are_kept_and_joining_again_ends_a_suspension_and_nothing_else(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            lists, one = directory.lists, await populate(directory)
            ann, bob, gone = box("ann"), box("bob"), box("gone")
            await lists.join(one.id, (ann, bob), NOON)
            noted = tuple(
                Member(address=who, joined_at=NOON, bounces=number, bounced_at=NOON, suspended=number == 5)
                for who, number in ((ann, 5), (bob, 2), (gone, 1))
            )
            await lists.note_bounces(one.id, noted)
            assert lists.members(one.id, "", 10) == noted[:2]
            assert lists.counts(one.id) == (2, 1)
            later = NOON + timedelta(days=1)
            assert await lists.join(one.id, (ann, bob), later) == (ann,)
            assert lists.member(one.id, ann) == Member(address=ann, joined_at=later)
            assert lists.member(one.id, bob) == noted[1]

        self.run(tmp_path, scene)

    def test_a_list_has_so_many_members_and_one_more_lets_none_of_them_in(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            lists, one = directory.lists, await populate(directory)
            await lists.join(one.id, tuple(Mailbox(f"u{n}", "d.example") for n in range(LIST_MEMBERS - 1)), NOON)
            with pytest.raises(ValueError, match=str(LIST_MEMBERS)):
                await lists.join(one.id, (box("ann"), box("bob")), NOON)
            assert lists.counts(one.id) == (LIST_MEMBERS - 1, 0)
            await lists.join(one.id, (box("ann"),), NOON)
            assert lists.counts(one.id) == (LIST_MEMBERS, 0)

        self.run(tmp_path, scene)

    def test_a_deleted_list_takes_its_members_along_and_its_number_is_not_used_again(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            lists, one = directory.lists, await populate(directory)
            await lists.join(one.id, (box("ann"),), NOON)
            await directory.add_targets(Alias(box("pals"), (box("friends"),)))
            with pytest.raises(ValueError, match=r"pals@a\.example"):
                await lists.delete(one.address)
            await directory.remove_targets(Alias(box("pals"), ()))
            assert await lists.delete(box("FRIENDS")) == one
            assert directory.recipient(box("friends-owner")) is None
            with pytest.raises(NotThere):
                await lists.delete(one.address)
            with pytest.raises(NotThere):
                await lists.join(one.id, (box("bob"),), NOON)
            again = await lists.create(FRIENDS)
            assert again.id > one.id
            assert lists.counts(one.id) == lists.counts(again.id) == (0, 0)

        self.run(tmp_path, scene)

    def test_what_another_process_changes_is_seen_within_a_second(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            one = await populate(directory)
            assert directory.recipient(box("friends")) is not None
            other = self.open_directory(tmp_path)
            try:
                await other.lists.join(one.id, (box("ann"),), NOON)
                assert directory.lists.counts(one.id) == (1, 0)
                await other.lists.change(msgspec.structs.replace(one, closed=True))
                self.let_time_pass()
                found = directory.recipient(box("friends"))
                assert isinstance(found, ListAddress)
                assert found.list_.closed
                await other.lists.delete(one.address)
                self.let_time_pass()
                assert directory.recipient(box("friends")) is None
            finally:
                await other.close()

        self.run(tmp_path, scene)
