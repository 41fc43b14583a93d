"""The header of a message that goes over a list: what is read of it, and what members get (RFC 2369, RFC 2919)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from postroad.message.header import fields, find_body, split_header, unfold
from postroad.message.list_fields import ListFacts, for_members, list_fields, list_id, read_header
from postroad.vocabulary.address import Mailbox

LIST = Mailbox("Friends", "a.example")
FACTS = ListFacts(
    address=LIST,
    description="Our friends",
    request=Mailbox("friends-request", "a.example"),
    join=Mailbox("friends-subscribe", "a.example"),
    leave=Mailbox("friends-unsubscribe", "a.example"),
    owner=Mailbox("friends-owner", "a.example"),
)
OF_LISTS = (
    *(b"list-id", b"list-help", b"list-subscribe", b"list-unsubscribe", b"list-unsubscribe-post", b"list-post"),
    *(b"list-owner", b"list-archive", b"precedence"),
)
ADDED = list_fields(FACTS)

_NAMES = st.sampled_from([*OF_LISTS, b"X-Loop", b"From", b"Reply-To", b"Subject", b"LIST-ID", b"Received", b"X y"])
_VALUES = st.binary(max_size=40) | st.sampled_from([b" <x@b.example>", b" a,\r\n\tb", b"", b" list"])
_FIELDS = st.builds(lambda name, value: name + b":" + value + b"\r\n", _NAMES, _VALUES)
HEADERS = st.lists(_FIELDS, max_size=8).map(b"".join) | st.binary(max_size=200)


def names(header: bytes) -> list[bytes]:
    return [field.name for field in fields(header)]


def test_the_list_s_own_fields_stand_first_and_each_once() -> None:
    came = (
        b"Received: from x\r\nList-Id: <others.b.example>\r\nX-Loop: others@b.example\r\nprecedence: bulk\r\n"
        b"LIST-Unsubscribe : <mailto:x@b.example>,\r\n <https://b.example/leave>\r\nFrom: bob@b.example\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nSubject: hi\r\n"
    )
    kept = b"Received: from x\r\nX-Loop: others@b.example\r\nFrom: bob@b.example\r\nSubject: hi\r\n"
    assert for_members(came, ADDED) == ADDED + kept
    assert list_id(LIST) == "friends.a.example"


def test_only_owners_write_to_it_is_said_and_a_name_is_encoded() -> None:
    text = list_fields(structs.replace(FACTS, posts=False, description="Grüße"))
    assert b"List-Post: NO\r\n" in text
    assert text.startswith(b"List-Id: =?utf-8?")
    assert text.isascii()


@given(header=HEADERS)
def test_whatever_comes_the_rest_stays_octet_for_octet_and_in_order(header: bytes) -> None:
    made = for_members(header, ADDED)
    assert made.startswith(ADDED)
    kept = made[len(ADDED) :]
    assert not set(names(kept)) & set(OF_LISTS)
    # What is left is what came, with ranges taken out.
    at = 0
    for octet in kept:
        at = header.find(bytes([octet]), at) + 1
        assert at > 0
    assert for_members(kept, b"") == kept


@given(header=HEADERS)
def test_the_fields_read_again_say_that_the_list_has_passed_it_on(header: bytes) -> None:
    whole = for_members(split_header(header)[0], ADDED)
    read = read_header(whole)
    assert LIST.key() in read.passed
    assert read.is_bulk
    assert read_header(header).passed <= read.passed


@given(octets=st.binary(max_size=400))
def test_no_octets_make_it_fail(octets: bytes) -> None:
    read = read_header(octets)
    assert "\n" not in read.author
    for_members(octets, ADDED, (LIST, "Our friends"))


@given(name=st.text(max_size=30), value=st.binary(max_size=60))
def test_a_from_that_is_rewritten_names_the_list_and_brings_in_no_field(name: str, value: bytes) -> None:
    header = b"Subject: x\r\nFrom: " + value.replace(b"\n", b"").replace(b"\r", b"") + b"\r\n"
    made = for_members(header, b"", (LIST, "Our friends"))
    assert names(made) == [b"from", b"reply-to", b"subject"]
    assert find_body(made) == -1
    shown = next(unfold(made, field) for field in fields(made) if field.name == b"from")
    assert shown.endswith(b"<Friends@a.example>")
    assert b"\n" not in shown


@pytest.mark.parametrize(
    ("value", "author"),
    [
        (b"bob@b.example", "bob@b.example"),
        (b"Bob Ray <bob@b.example>", "bob@b.example"),
        (b'"Ray, Bob <x@y>" <bob@b.example>', ""),
        (b"bob@b.example (Bob)", "bob@b.example"),
        (b"Bob <bob@b.example>, Ann <ann@b.example>", ""),
        (b"undisclosed", ""),
        (b"", ""),
    ],
)
def test_the_author_is_the_one_address_in_from(value: bytes, author: str) -> None:
    assert read_header(b"From: " + value + b"\r\n").author == author


@pytest.mark.parametrize(
    ("value", "word"),
    [(b"auto-replied", "auto-replied"), (b"Auto-Replied (vacation); x=y", "auto-replied"), (b"no", "no"), (b"", "")],
)
def test_the_word_of_auto_submitted_is_read_without_its_comment(value: bytes, word: str) -> None:
    assert read_header(b"Auto-Submitted: " + value + b"\r\n").auto_submitted == word
