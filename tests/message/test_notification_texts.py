"""What a person reads in each kind of report, word for word, and the fields below it.

A change of the words shows here as a change of these texts: read them as the one who gets the mail.
"""

from __future__ import annotations

import email
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flufl.bounce import all_failures

from postroad.message.notification import NotificationRequest, compose
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import DeliverBy, Envelope, Recipient
from postroad.vocabulary.outcome import Fate, Outcome

FOLDER = Path(__file__).parent / "reports"
AT = datetime(2026, 1, 6, 12, 0, 0, tzinfo=UTC)
ANN = Mailbox("ann", "a.example")
LETTER = (
    b"From: Ann <ann@a.example>\r\nTo: bob@b.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from Ann\r\n"
    b"Message-ID: <1@a.example>\r\n\r\nHi Bob\r\n"
)


def outcome(address: str, fate: Fate, status: tuple[int, int, int], **more: str) -> Outcome:
    local_part, _, domain = address.rpartition("@")
    original = "rfc822;bob+2Bold@b.example" if local_part == "bob" else ""
    return Outcome(Recipient(Mailbox(local_part, domain), original=original), fate, EnhancedStatus(*status), **more)


REFUSED = outcome(
    "bob@b.example", Fate.FAILED, (5, 1, 1), reply="550 5.1.1 <bob@b.example>: Recipient address rejected",
    remote_mta="mx1.b.example", remote_address="192.0.2.1",
)  # fmt: skip
GIVEN_UP = outcome(
    "cat@c.example", Fate.FAILED, (4, 4, 1),
    text="Given up after 32 attempts in 5 days. The last one: No connection to mx.c.example: it did not answer.",
    remote_mta="mx.c.example", remote_address="192.0.2.9",
)  # fmt: skip
REPORTS: dict[str, tuple[Envelope, tuple[Outcome, ...]]] = {
    "failed": (Envelope(ANN, (), ret="FULL", envid="order+2B42"), (REFUSED, GIVEN_UP)),
    "delayed": (
        Envelope(ANN, (), deliver_by=DeliverBy(7200, "N")),
        (outcome("bob@b.example", Fate.DEFERRED, (4, 2, 2), reply="452 4.2.2 Mailbox full", remote_mta="b.example"),),
    ),
    "delivered": (Envelope(ANN, ()), (outcome("cat@a.example", Fate.DELIVERED, (2, 1, 5)),)),
    "relayed": (
        Envelope(ANN, ()),
        (outcome("bob@b.example", Fate.RELAYED, (2, 0, 0), reply="250 2.0.0 Ok", remote_mta="mx1.b.example"),),
    ),
    "expanded": (Envelope(ANN, ()), (outcome("all@a.example", Fate.EXPANDED, (2, 1, 5)),)),
    "international": (
        Envelope(Mailbox("\u00e4nn", "a.example"), (), smtputf8=True),
        (outcome("j\u00f6rg@b.example", Fate.FAILED, (5, 6, 7), text="mx.b.example takes no such addresses."),),
    ),
    "secret": (
        Envelope(ANN, (), ret="FULL", require_tls=True),
        (outcome("bob@b.example", Fate.FAILED, (5, 7, 30), text="mx1.b.example does not offer REQUIRETLS."),),
    ),
}  # fmt: skip


def report(name: str) -> bytes:
    envelope, outcomes = REPORTS[name]
    return compose(
        NotificationRequest(
            hostname="mx.a.example",
            notification_id="0000000000NB",
            at=AT,
            queue_id="0000000000NA",
            envelope=envelope,
            outcomes=outcomes,
            arrived_at=AT - timedelta(days=5),
            content=LETTER,
            content_is_whole=True,
            will_retry_until=AT + timedelta(days=2),
        )
    )


@pytest.mark.parametrize(
    ("name", "temporary", "permanent"),
    [
        # What the sender called the recipient is what he looks for: Original-Recipient goes before Final-Recipient.
        ("failed", (), (b"bob+old@b.example", b"cat@c.example")),
        ("delayed", (b"bob+old@b.example",), ()),
        ("delivered", (), ()),
        ("relayed", (), ()),
        ("expanded", (), ()),
        ("secret", (), (b"bob+old@b.example",)),
    ],
)
def test_a_list_manager_reads_from_it_who_failed_and_how(
    name: str, temporary: tuple[bytes, ...], permanent: tuple[bytes, ...]
) -> None:
    """flufl.bounce is what Mailman reads reports with."""
    read = email.message_from_bytes(report(name))
    assert all_failures(read) == (frozenset(temporary), frozenset(permanent))


@pytest.mark.parametrize("name", REPORTS)
def test_the_report_reads_so(name: str) -> None:
    expected = (FOLDER / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")
    assert report(name).decode() == expected.decode()


if __name__ == "__main__":
    for each in REPORTS:
        (FOLDER / f"{each}.eml").write_bytes(report(each).replace(b"\r\n", b"\n"))
