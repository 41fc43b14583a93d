"""What every directory owes to those who ask where an address leads. A part of the directory's contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from postroad.contracts.directory import (
    Account,
    Alias,
    AlreadyThere,
    Directory,
    Domain,
    DomainKind,
    LeadsNowhere,
    NotThere,
    Vacation,
)
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import ALIAS_RECIPIENTS, ALIAS_STEPS, ALIAS_TARGETS, FORWARD_TARGETS
from tests.contract.directory_contract import DirectoryContract

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
WEEK = timedelta(days=7)


def box(name: str) -> Mailbox:
    return Mailbox(name, "a.example")


def away(number: int) -> Mailbox:
    return Mailbox(f"u{number}", "away.example")


ANN = Account(id=0, address=box("ann"))
BOB = Account(id=0, address=box("bob"))


async def populate(directory: Directory) -> tuple[Account, Account]:
    await directory.add_domain(Domain(name="a.example"))
    await directory.add_domain(Domain(name="b.example", kind=DomainKind.RELAY))
    return await directory.add_account(ANN), await directory.add_account(BOB)


class DirectoryAliasesContract(DirectoryContract):
    def test_an_alias_leads_to_what_it_names_in_the_order_given(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await populate(directory)
            made = await directory.add_targets(Alias(box("Team"), (box("bob"), away(1))))
            assert made == Alias(box("Team"), (box("bob"), away(1)))
            assert directory.recipient(box("TEAM")) == made
            assert directory.account(box("team")) is None
            grown = await directory.add_targets(Alias(box("team"), (box("ann"), box("BOB"))))
            assert grown == Alias(box("Team"), (box("bob"), away(1), box("ann")))
            assert directory.aliases() == directory.aliases("a.example") == (grown,)
            assert directory.aliases("b.example") == ()
            assert directory.leading_to(box("Ann")) == (box("Team"),)
            assert directory.leading_to(box("team")) == ()

        async def after(directory: Directory) -> None:
            left = await directory.remove_targets(Alias(box("team"), (box("bob"), box("ann"))))
            assert left == Alias(box("Team"), (away(1),)) == directory.recipient(box("team"))
            with pytest.raises(NotThere):
                await directory.remove_targets(Alias(box("team"), (away(1), box("bob"))))
            assert directory.recipient(box("team")) == left
            assert (await directory.remove_targets(Alias(box("team"), ()))).targets == ()
            assert directory.recipient(box("team")) is None
            with pytest.raises(NotThere):
                await directory.remove_targets(Alias(box("team"), ()))

        self.run(tmp_path, scene)
        self.run(tmp_path, after)

    def test_a_name_is_an_account_or_an_alias(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await populate(directory)
            with pytest.raises(AlreadyThere):
                await directory.add_targets(Alias(box("ANN"), (box("bob"),)))
            await directory.add_targets(Alias(box("team"), (box("bob"),)))
            with pytest.raises(AlreadyThere):
                await directory.add_account(Account(id=0, address=box("Team")))
            for domain in ("b.example", "c.example"):
                with pytest.raises(NotThere):
                    await directory.add_targets(Alias(Mailbox("team", domain), (box("bob"),)))

        self.run(tmp_path, scene)

    def test_a_target_here_has_to_be_there(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await populate(directory)
            with pytest.raises(NotThere, match=r"nobody@a\.example"):
                await directory.add_targets(Alias(box("team"), (box("ann"), box("nobody"))))
            assert directory.recipient(box("team")) is None
            await directory.add_targets(Alias(box("team"), (box("ann+x"), Mailbox("nobody", "b.example"))))
            await directory.remove_account(ANN.address)
            assert directory.recipient(box("team")) is not None

        self.run(tmp_path, scene)

    def test_a_domain_with_aliases_stays(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await directory.add_domain(Domain(name="a.example"))
            await directory.add_targets(Alias(box("team"), (away(1),)))
            with pytest.raises(ValueError):
                await directory.remove_domain("a.example")
            await directory.remove_targets(Alias(box("team"), ()))
            await directory.remove_domain("a.example")

        self.run(tmp_path, scene)

    def test_a_circle_is_refused_and_nothing_is_changed(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            ann, bob = await populate(directory)
            with pytest.raises(LeadsNowhere, match="circle"):
                await directory.add_targets(Alias(box("one"), (box("ann"), box("One"))))
            await directory.add_targets(Alias(box("one"), (box("ann"),)))
            await directory.add_targets(Alias(box("two"), (box("one"),)))
            await directory.add_targets(Alias(box("three"), (box("two"),)))
            with pytest.raises(LeadsNowhere, match="circle"):
                await directory.add_targets(Alias(box("one"), (away(1), box("three+x"))))
            assert directory.recipient(box("one")) == Alias(box("one"), (box("ann"),))
            with pytest.raises(LeadsNowhere, match="circle"):
                await directory.change_account(msgspec.structs.replace(ann, forward_to=(box("three"),)))
            with pytest.raises(LeadsNowhere, match="circle"):
                await directory.change_account(msgspec.structs.replace(ann, forward_to=(box("ann"),)))
            await directory.change_account(msgspec.structs.replace(bob, forward_to=(box("ann"),)))
            with pytest.raises(LeadsNowhere, match="circle"):
                await directory.change_account(msgspec.structs.replace(ann, forward_to=(box("bob"),)))
            assert directory.recipient(box("ann")) == ann

        self.run(tmp_path, scene)

    def test_a_catch_all_that_catches_its_own_target_is_a_circle(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await populate(directory)
            with pytest.raises(LeadsNowhere, match="circle"):
                await directory.add_targets(Alias(box(""), (box("nobody"),)))
            assert directory.recipient(box("anybody")) is None

        self.run(tmp_path, scene)

    def test_too_many_addresses_and_too_many_steps_are_refused(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            await populate(directory)
            crowd = tuple(away(number) for number in range(ALIAS_TARGETS + 1))
            with pytest.raises(LeadsNowhere):
                await directory.add_targets(Alias(box("all"), crowd))
            await directory.add_targets(Alias(box("most"), crowd[:ALIAS_RECIPIENTS]))
            with pytest.raises(LeadsNowhere, match="mailing list"):
                await directory.add_targets(Alias(box("all"), (box("most"), box("ann"))))
            await directory.add_targets(Alias(box("all"), (box("most"),)))
            await directory.remove_targets(Alias(box("most"), crowd[:1]))
            await directory.add_targets(Alias(box("all"), (box("ann"),)))
            # It has room itself, but not the one that leads to it.
            with pytest.raises(LeadsNowhere, match="all@"):
                await directory.add_targets(Alias(box("most"), crowd[:1]))
            with pytest.raises(LeadsNowhere):
                await directory.change_account(
                    Account(id=1, address=box("ann"), forward_to=crowd[: FORWARD_TARGETS + 1])
                )
            await directory.add_targets(Alias(box("step0"), (box("ann"),)))
            for number in range(1, ALIAS_STEPS):
                await directory.add_targets(Alias(box(f"step{number}"), (box(f"step{number - 1}"),)))
            with pytest.raises(LeadsNowhere, match="one behind the other"):
                await directory.add_targets(Alias(box("last"), (box(f"step{ALIAS_STEPS - 1}"),)))

        self.run(tmp_path, scene)

    def test_a_sub_address_belongs_to_its_user(self, tmp_path: Path) -> None:
        """RFC 5233; a name of its own comes first."""

        async def scene(directory: Directory) -> None:
            ann, _ = await populate(directory)
            for tag in ("+", "+lists", "+a+b"):
                assert directory.recipient(box(f"Ann{tag}")) == ann
                assert directory.account(box(f"Ann{tag}")) is None
            assert directory.recipient(box("+ann")) is None
            team = await directory.add_targets(Alias(box("team"), (box("ann"),)))
            assert directory.recipient(box("team+x")) == team
            own = await directory.add_targets(Alias(box("ann+lists"), (box("bob"),)))
            assert directory.recipient(box("ann+lists")) == own
            assert directory.recipient(Mailbox("ann+x", "b.example")) is None

        self.run(tmp_path, scene)

    def test_a_catch_all_gets_what_belongs_to_nobody_else(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            ann, _ = await populate(directory)
            await directory.add_domain(Domain(name="c.example"))
            caught = await directory.add_targets(Alias(box(""), (box("bob"),)))
            assert caught.is_catch_all
            for name in ("nobody", "abuse", "postmaster", "no+body"):
                assert directory.recipient(box(name)) == caught
            assert directory.recipient(box("ann+x")) == ann
            assert directory.recipient(Mailbox("nobody", "c.example")) is None

        self.run(tmp_path, scene)

    def test_postmaster_and_abuse_of_each_domain_lead_somewhere(self, tmp_path: Path) -> None:
        """RFC 5321 section 4.5.1, RFC 2142 section 4."""

        async def scene(directory: Directory) -> None:
            ann, bob = await populate(directory)
            await directory.add_domain(Domain(name="c.example"))
            for domain in ("a.example", "c.example"):
                assert directory.recipient(Mailbox("Postmaster", domain)) == ann
                assert directory.recipient(Mailbox("ABUSE", domain)) == ann
            assert directory.recipient(Mailbox("postmaster", "")) == ann
            assert directory.recipient(Mailbox("abuse", "")) is None
            assert directory.recipient(Mailbox("abuse", "b.example")) is None
            await directory.change_account(msgspec.structs.replace(ann, disabled=True))
            assert directory.recipient(box("postmaster")) == bob
            await directory.add_targets(Alias(Mailbox("postmaster", "c.example"), (away(1),)))
            assert directory.recipient(Mailbox("abuse", "c.example")) == Alias(
                Mailbox("postmaster", "c.example"), (away(1),)
            )

        self.run(tmp_path, scene)

    def test_forwarding_quota_and_vacation_are_kept(self, tmp_path: Path) -> None:
        vacation = Vacation(text="Away.\nBack soon.", subject="Away", days=3, until=NOON)
        given = msgspec.structs.replace(
            ANN, quota_bytes=5_000_000_000, forward_to=(away(1), away(2)), keeps_copy=False, vacation=vacation
        )

        async def before(directory: Directory) -> None:
            await directory.add_domain(Domain(name="a.example"))
            await directory.add_account(given)

        async def after(directory: Directory) -> None:
            ann = directory.account(ANN.address)
            assert ann is not None
            assert ann == msgspec.structs.replace(given, id=ann.id) == directory.recipient(ANN.address)
            assert directory.accounts() == (ann,)
            assert directory.leading_to(away(2)) == (ANN.address,)
            await directory.remove_account(ANN.address)
            assert directory.leading_to(away(2)) == ()

        self.run(tmp_path, before)
        self.run(tmp_path, after)

    def test_a_sender_is_answered_once_in_the_time(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            ann, bob = await populate(directory)

            async def begin(account: Account, sender: str, at: datetime) -> bool:
                return await directory.begin_reply(account.id, sender, at, WEEK)

            assert await begin(ann, "eve@away.example", NOON)
            assert not await begin(ann, "eve@away.example", NOON + WEEK - timedelta(seconds=1))
            assert await begin(ann, "dan@away.example", NOON)
            assert await begin(bob, "eve@away.example", NOON)
            assert await begin(ann, "eve@away.example", NOON + WEEK)
            assert not await directory.begin_reply(99, "eve@away.example", NOON, WEEK)
            await directory.change_account(msgspec.structs.replace(ann, vacation=Vacation(text="Again away.")))
            assert await begin(ann, "eve@away.example", NOON + WEEK)

        self.run(tmp_path, scene)

    def test_a_warning_is_given_once_until_it_is_taken_back(self, tmp_path: Path) -> None:
        async def scene(directory: Directory) -> None:
            ann, bob = await populate(directory)
            assert await directory.begin_warning(ann.id, True)
            assert not await directory.begin_warning(ann.id, True)
            assert await directory.begin_warning(bob.id, True)
            assert await directory.begin_warning(ann.id, False)
            assert not await directory.begin_warning(ann.id, False)
            assert await directory.begin_warning(ann.id, True)
            assert not await directory.begin_warning(99, True)

        self.run(tmp_path, scene)
