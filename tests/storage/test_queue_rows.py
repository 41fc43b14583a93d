"""The envelope as it stands in the queue's rows (storage/sqlite/queue_rows)."""

from datetime import UTC, datetime

import msgspec
import pytest

from postroad.storage.sqlite.queue_rows import envelope_from_bytes, envelope_to_bytes
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import BodyType, DeliverBy, Envelope, Recipient

ANN = Mailbox("ann", "a.example")
BOB = Recipient(Mailbox("bob", "b.example"))
FULL = Envelope(
    ANN,
    (),
    BodyType.BINARY_MIME,
    True,
    "HDRS",
    "QQ314159",
    require_tls=True,
    deliver_by=DeliverBy(3600, "R", True),
    release_at=datetime(2026, 12, 1, 8, 30, tzinfo=UTC),
    priority=-3,
)


@pytest.mark.parametrize("envelope", [Envelope(None, ()), Envelope(ANN, ()), FULL])
def test_an_envelope_is_read_back_as_it_was_written(envelope: Envelope) -> None:
    assert envelope_from_bytes(envelope_to_bytes(envelope)) == envelope


def test_the_recipients_are_not_written_with_it() -> None:
    assert envelope_from_bytes(envelope_to_bytes(Envelope(ANN, (BOB,)))).recipients == ()


def test_rows_of_the_first_version_are_still_read() -> None:
    row = bytes.fromhex("96 92 a3 616e6e a9 612e6578616d706c65 90 a8 384249544d494d45 c3 a4 48445253 a2 5131")
    assert envelope_from_bytes(row) == Envelope(ANN, (), BodyType.EIGHT_BIT_MIME, True, "HDRS", "Q1")


def test_what_a_later_version_has_added_is_passed_over() -> None:
    fields = msgspec.msgpack.decode(envelope_to_bytes(FULL))
    assert envelope_from_bytes(msgspec.msgpack.encode([*fields, "later"])) == FULL
