"""What delivery status notifications say is understood, ours and others'; whatever else comes names nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.status_report import RecipientStatus, read_report
from postroad.vocabulary.limits import LIST_BOUNCE_RECIPIENTS

REPORTS = Path(__file__).parent / "reports"

POSTFIX = b"""\
Return-Path: <>
From: MAILER-DAEMON@b.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: friends-bounces+nobody=b.example@a.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4XyZ.1700000000/mx.b.example"

This is a MIME-encapsulated message.

--4XyZ.1700000000/mx.b.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--4XyZ.1700000000/mx.b.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.b.example
X-Postfix-Queue-ID: 4XyZ

Final-Recipient: rfc822; nobody@b.example
Original-Recipient: rfc822;nobody@b.example
Action: %b
Status: %b
Diagnostic-Code: X-Postfix; unknown user: "nobody"

--4XyZ.1700000000/mx.b.example
Content-Description: Undelivered Message
Content-Type: message/rfc822

Subject: hello

Hello.

--4XyZ.1700000000/mx.b.example--
"""


def postfix(action: bytes = b"failed", status: bytes = b"5.1.1", line_end: bytes = b"\r\n") -> bytes:
    return (POSTFIX % (action, status)).replace(b"\n", line_end)


def ours(name: str) -> bytes:
    """As it goes out; the files have the line ends of text."""
    return (REPORTS / f"{name}.eml").read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def test_an_unknown_user_at_a_postfix_speaks_against_the_address() -> None:
    found = read_report(postfix())
    assert found == (RecipientStatus(("nobody@b.example", "nobody@b.example"), "failed", "5.1.1"),)
    assert found[0].speaks_against_address


@pytest.mark.parametrize(
    ("action", "status", "expected"),
    [
        (b"failed", b"4.4.1", True),
        (b"Failed (permanently)", b"5.2.1 (disabled)", True),
        (b"delayed", b"4.4.1", False),
        (b"delivered", b"2.1.5", False),
        (b"relayed", b"2.0.0", False),
        (b"expanded", b"2.0.0", False),
        (b"failed", b"5.2.3", False),
        (b"failed", b"5.3.4", False),
        (b"failed", b"5.6.1", False),
    ],
)
def test_only_what_is_about_the_address_and_final_speaks_against_it(
    action: bytes, status: bytes, expected: bool
) -> None:
    found = read_report(postfix(action, status))
    assert found is not None
    assert found[0].speaks_against_address is expected


@pytest.mark.parametrize(
    ("name", "action"),
    [("failed", "failed"), ("delayed", "delayed"), ("delivered", "delivered"), ("relayed", "relayed")],
)
def test_our_own_notifications_are_understood(name: str, action: str) -> None:
    found = read_report(ours(name))
    assert found
    assert {each.action for each in found} == {action}
    assert all("@" in address for each in found for address in each.addresses)


def test_a_report_for_addresses_in_utf8_is_understood() -> None:
    found = read_report(ours("international"))
    assert found
    assert any(not address.isascii() for each in found for address in each.addresses)


def test_a_vacation_notice_is_no_report() -> None:
    assert read_report(b"Auto-Submitted: auto-replied\r\nSubject: Away\r\n\r\nAction: failed\r\n") is None


def test_a_report_inside_of_what_came_back_is_not_this_one() -> None:
    outer = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n"
    assert read_report(outer + postfix() + b"\r\n--x--\r\n") is None


def test_a_report_on_a_crowd_is_read_up_to_the_bound() -> None:
    one = b"Final-Recipient: rfc822; bob@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
    head = b"Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\nContent-Type: message/delivery-status\r\n\r\n"
    found = read_report(head + one * (LIST_BOUNCE_RECIPIENTS + 1) + b"--x--\r\n")
    assert found is not None
    assert len(found) == LIST_BOUNCE_RECIPIENTS


@given(st.data())
def test_no_octets_raise(data: st.DataObject) -> None:
    report = postfix()
    at = data.draw(st.integers(0, len(report)))
    read_report(report[:at] + data.draw(st.binary(max_size=60)) + report[at + data.draw(st.integers(0, 60)) :])
    read_report(data.draw(st.binary(max_size=300)))
