"""A reverse-path for each member: legal, short enough, and understood when something comes back to it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.verp import digest_of, is_told_apart, named_by, reverse_path_of
from postroad.storage.sqlite.queue_rows import envelope_from_bytes, envelope_to_bytes
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import Envelope, Recipient
from postroad.vocabulary.limits import LOCAL_PART_BYTES

BOUNCES = Mailbox("friends-bounces", "a.example")
LIST = Envelope(BOUNCES, (), verp=True)


def path_for(member: Mailbox, envelope: Envelope = LIST) -> str:
    path = reverse_path_of(envelope, Recipient(member))
    assert path is not None
    return str(path)


def test_the_member_stands_in_the_sub_address() -> None:
    assert path_for(Mailbox("bob", "b.example")) == "friends-bounces+bob=b.example@a.example"
    assert path_for(Mailbox("bob+x=y", "b.example")) == "friends-bounces+bob+x=y=b.example@a.example"


@pytest.mark.parametrize("path", [None, Mailbox("c++-bounces", "a.example"), Mailbox("zoë-bounces", "a.example")])
def test_a_reverse_path_that_could_not_be_found_again_is_the_same_for_all(path: Mailbox | None) -> None:
    envelope = Envelope(path, (), verp=True)
    assert not is_told_apart(envelope)
    assert reverse_path_of(envelope, Recipient(Mailbox("bob", "b.example"))) == path


def test_without_the_mark_it_is_the_same_for_all() -> None:
    assert reverse_path_of(Envelope(BOUNCES, ()), Recipient(Mailbox("bob", "b.example"))) == BOUNCES


@pytest.mark.parametrize(
    "member",
    [Mailbox("two words", "b.example"), Mailbox("bøb", "b.example"), Mailbox("bob", "[192.0.2.1]"),
     Mailbox("b" * 60, "b.example"), Mailbox("b..ob", "b.example")],
)  # fmt: skip
def test_what_does_not_fit_has_a_digest_in_its_place(member: Mailbox) -> None:
    path = reverse_path_of(LIST, Recipient(member))
    assert path is not None
    assert named_by(path) == digest_of(member)
    assert named_by(Mailbox(path.local_part.upper(), path.domain)) == digest_of(
        Mailbox(member.local_part.upper(), member.domain)
    )


def test_a_member_that_is_an_alias_is_named_and_not_whom_it_leads_to() -> None:
    recipient = Recipient(Mailbox("eve", "c.example"), original="rfc822;all+2Bx@b.example")
    path = reverse_path_of(LIST, recipient)
    assert path is not None
    assert named_by(path) == Mailbox("all+x", "b.example")


def test_a_row_of_a_former_version_has_no_mark() -> None:
    row = msgspec.msgpack.encode(msgspec.msgpack.decode(envelope_to_bytes(LIST))[:12])
    assert envelope_from_bytes(row).verp is False
    assert envelope_from_bytes(envelope_to_bytes(LIST)).verp is True


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=80)
DOMAINS = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{1,20}){1,8}", fullmatch=True)


@given(NAMES, DOMAINS, st.integers(1, 56))
def test_any_member_has_one_that_servers_take_and_that_names_it(name: str, domain: str, length: int) -> None:
    member = Mailbox(name, domain)
    path = reverse_path_of(Envelope(Mailbox("l" * length, "a.example"), (), verp=True), Recipient(member))
    assert path is not None
    assert path.is_ascii
    assert len(path.local_part) <= LOCAL_PART_BYTES
    assert str(path) == f"{path.local_part}@a.example"
    assert named_by(path) in (member, digest_of(member), None)
    if length <= LOCAL_PART_BYTES - 17:
        assert named_by(path) is not None
