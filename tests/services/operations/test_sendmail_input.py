"""What Unix programs pipe into sendmail becomes a message that mail can carry."""

import io

import pytest

from postroad.services.operations.performer import OperationFailed
from postroad.services.operations.sendmail_input import Letter, read_letter


def read(octets: bytes, *, dot_ends: bool = True, from_header: bool = False, most: int = 10_000) -> Letter:
    return read_letter(
        io.BytesIO(octets),
        dot_ends=dot_ends,
        recipients_from_header=from_header,
        default_from="ann@a.example",
        most=most,
    )


def test_lone_line_feeds_become_line_ends_of_mail() -> None:
    assert read(b"From: a@b\nSubject: x\n\none\ntwo\n").content == b"From: a@b\r\nSubject: x\r\n\r\none\r\ntwo\r\n"


def test_line_ends_that_are_right_already_stay() -> None:
    assert read(b"From: a@b\r\n\r\none\r\n").content == b"From: a@b\r\n\r\none\r\n"


def test_a_single_dot_ends_the_message_unless_told_otherwise() -> None:
    assert read(b"From: a@b\n\none\n.\ntwo\n").content == b"From: a@b\r\n\r\none\r\n"
    assert read(b"From: a@b\n\none\n.\ntwo\n", dot_ends=False).content.endswith(b"one\r\n.\r\ntwo\r\n")


def test_recipients_are_taken_from_the_header_and_bcc_is_removed() -> None:
    letter = read(
        b"From: a@b\nTo: Bob <bob@b.example>, cat@c.example\nCc: dan@d.example\n"
        b"Bcc: eve@e.example,\n bob@b.example\n\nx\n",
        from_header=True,
    )
    assert letter.recipients == ("bob@b.example", "cat@c.example", "dan@d.example", "eve@e.example")
    assert b"eve" not in letter.content
    assert b"To: Bob <bob@b.example>, cat@c.example\r\nCc: dan@d.example\r\n\r\nx\r\n" in letter.content


def test_without_t_bcc_stays_where_it_is() -> None:
    letter = read(b"From: a@b\nBcc: eve@e.example\n\nx\n")
    assert letter.recipients == ()
    assert b"Bcc: eve@e.example\r\n" in letter.content


def test_a_missing_from_is_added_and_a_body_without_header_gets_its_empty_line() -> None:
    assert read(b"just words\n").content == b"From: ann@a.example\r\n\r\njust words\r\n"


def test_the_from_line_of_a_mailbox_file_is_dropped() -> None:
    assert read(b"From ann Mon Jan  1 00:00:00 2024\nFrom: a@b\n\nx\n").content == b"From: a@b\r\n\r\nx\r\n"


def test_a_message_over_the_bound_is_refused_with_its_size() -> None:
    with pytest.raises(OperationFailed, match="longer than 100 octets") as refused:
        read(b"x" * 101, most=100)
    assert refused.value.exit_status == 65


def test_addresses_that_cannot_be_read_are_told() -> None:
    with pytest.raises(OperationFailed, match="cannot be read"):
        read(b"To: <>\n\nx\n", from_header=True)
