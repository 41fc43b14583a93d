"""Flags and folders as other programs note them, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.mail_flags import (
    checked_folder,
    from_maildir_folder,
    from_maildir_name,
    put_status,
    take_status,
    to_maildir_folder,
    to_maildir_info,
)

FLAGS = st.sets(st.sampled_from(["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"])).map(
    lambda flags: " ".join(sorted(flags))
)
BEGINNINGS = st.lists(
    st.sampled_from([b"A: b\r\n", b"Status: RO\r\n", b"X-Status:\r\n A\r\n", b"\r\n", b"text\r\n", b"status: x"])
).map(b"".join)


def test_the_name_of_a_file_tells_the_flags() -> None:
    assert from_maildir_name("1234.M1P2.host,S=5:2,FRS") == "\\Answered \\Flagged \\Seen"
    assert from_maildir_name("1234.M1P2.host:2,DPT") == "$Forwarded \\Deleted \\Draft"
    assert from_maildir_name("1234.M1P2.host:2,aZS") == "\\Seen"
    assert from_maildir_name("1234.FRS") == from_maildir_name("1234.host:2,") == ""
    assert to_maildir_info("\\Seen \\Answered $Forwarded $Junk") == ":2,PRS"


def test_the_fields_of_an_mbox_tell_the_flags_and_go() -> None:
    letter = b"A: b\r\nStatus: RO\r\nX-Status: AF\r\nC: d\r\n\r\nStatus: RO\r\n"
    assert take_status(letter) == (b"A: b\r\nC: d\r\n\r\nStatus: RO\r\n", "\\Answered \\Flagged \\Seen")
    assert take_status(b"A: b\r\n\r\n") == (b"A: b\r\n\r\n", "")
    assert take_status(b"Status: O\nA: b\n\n") == (b"A: b\n\n", "")


@given(BEGINNINGS, FLAGS)
def test_flags_that_are_put_are_taken_again_and_nothing_else_is(beginning: bytes, flags: str) -> None:
    put = put_status(beginning, flags)
    if put == beginning:
        return  # there is no header to put them in
    taken, found = take_status(put)
    assert found == flags
    # A header that was all of the message has a line end at least.
    assert taken in (beginning, beginning + b"\r\n")


@given(st.text(st.characters(exclude_characters="/", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_folders_have_names_of_maildir_and_back(name: str) -> None:
    folder = f"Work/{name}"
    made = to_maildir_folder(folder)
    assert made.isascii()
    assert made.count(".") == 2
    if name.isprintable():
        assert from_maildir_folder(made) == folder


def test_names_in_modified_utf_7_are_those_of_rfc_3501() -> None:
    assert from_maildir_folder(".~peter.mail.&U,BTFw-.&ZeVnLIqe-") == "~peter/mail/台北/日本語"
    assert to_maildir_folder("~peter/mail/台北/日本語") == ".~peter.mail.&U,BTFw-.&ZeVnLIqe-"
    assert to_maildir_folder("R&D/a.b") == ".R&-D.a&AC4-b"


@pytest.mark.parametrize("name", ["", "/", "a//b", "a/", "x" * 300, "a\nb", "\x00"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        checked_folder(name)


@pytest.mark.parametrize("name", [".", "..a", ".&AAA-", ".&U-", ".a..b"])
def test_a_name_that_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        from_maildir_folder(name)


def test_the_inbox_has_one_spelling() -> None:
    assert checked_folder("inbox") == "INBOX"
