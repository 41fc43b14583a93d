"""What a next hop's replies mean (rules/replies)."""

import pytest

from postroad.rules.replies import (
    Lacking,
    NextHop,
    lacking,
    lacking_promise,
    limits_of,
    outcome_of,
    outcome_of_cut,
    outcome_of_lacking,
    wants_another_transaction,
)
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.envelope import BodyType, DeliverBy, Recipient
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.reply import reply

BOB = Recipient(Mailbox("bob", "b.example"))
MX = NextHop("mx.b.example", "192.0.2.25")


@pytest.mark.parametrize(
    ("code", "fate", "status"),
    [
        (250, Fate.RELAYED, "2.0.0"),
        (451, Fate.DEFERRED, "4.0.0"),
        (452, Fate.DEFERRED, "4.0.0"),
        (521, Fate.FAILED, "5.0.0"),
        (556, Fate.FAILED, "5.0.0"),
        (550, Fate.FAILED, "5.0.0"),
        (552, Fate.FAILED, "5.0.0"),
    ],
)
def test_the_first_digit_decides(code: int, fate: Fate, status: str) -> None:
    outcome = outcome_of(BOB, reply(code, "so it is"), MX)
    assert (outcome.fate, str(outcome.status)) == (fate, status)
    assert (outcome.reply, outcome.remote_mta, outcome.remote_address) == (f"{code} so it is", MX.name, MX.address)


def test_the_peers_enhanced_status_is_kept() -> None:
    assert str(outcome_of(BOB, reply(550, "No such user", status="5.1.1"), MX).status) == "5.1.1"


def test_a_server_that_has_enough_recipients_gets_the_rest_in_the_next_transaction() -> None:
    assert wants_another_transaction(reply(452, "Too many"), accepted_before=3)
    assert wants_another_transaction(reply(552, "Too many"), accepted_before=3)
    assert not wants_another_transaction(reply(452, "Disk full"), accepted_before=0)
    assert not wants_another_transaction(reply(451, "Later"), accepted_before=3)


def test_a_server_that_hangs_up_with_a_5yz_has_not_judged_the_recipient() -> None:
    outcome = outcome_of_cut(BOB, "cut", reply(554, "Bye", status="5.7.1"), MX)
    assert (outcome.fate, str(outcome.status)) == (Fate.DEFERRED, "4.7.1")
    assert str(outcome_of_cut(BOB, "cut", None, MX).status) == "4.4.2"


@pytest.mark.parametrize(
    ("extensions", "body", "smtputf8", "expected"),
    [
        ({}, BodyType.SEVEN_BIT, False, None),
        ({"SIZE": "999"}, BodyType.SEVEN_BIT, False, Lacking.SIZE),
        ({"SIZE": "1000"}, BodyType.SEVEN_BIT, False, None),
        ({"SIZE": "0"}, BodyType.SEVEN_BIT, False, None),
        ({"SIZE": ""}, BodyType.SEVEN_BIT, False, None),
        ({"SIZE": "9" * 5000}, BodyType.SEVEN_BIT, False, None),
        ({"SIZE": "12x"}, BodyType.SEVEN_BIT, False, None),
        ({}, BodyType.EIGHT_BIT_MIME, False, Lacking.EIGHT_BIT),
        ({"8BITMIME": ""}, BodyType.EIGHT_BIT_MIME, False, None),
        ({"8BITMIME": ""}, BodyType.EIGHT_BIT_MIME, True, Lacking.UTF8),
        ({"8BITMIME": "", "SMTPUTF8": ""}, BodyType.EIGHT_BIT_MIME, True, None),
        ({"BINARYMIME": "", "CHUNKING": ""}, BodyType.BINARY_MIME, False, None),
        ({"BINARYMIME": "", "8BITMIME": ""}, BodyType.BINARY_MIME, False, Lacking.BINARY),
        ({"CHUNKING": "", "8BITMIME": ""}, BodyType.BINARY_MIME, False, Lacking.BINARY),
    ],
)
def test_what_a_server_cannot_do_is_known_from_its_announcement(
    extensions: dict[str, str], body: BodyType, smtputf8: bool, expected: Lacking | None
) -> None:
    assert lacking(extensions, size_bytes=1000, body=body, smtputf8=smtputf8) is expected


@pytest.mark.parametrize(
    ("lack", "status"), [(Lacking.SIZE, "5.3.4"), (Lacking.EIGHT_BIT, "5.6.3"), (Lacking.UTF8, "5.6.7")]
)
def test_the_sender_learns_what_was_lacking(lack: Lacking, status: str) -> None:
    outcome = outcome_of_lacking(BOB, lack, MX, size_bytes=1000, extensions={"SIZE": "500"})
    assert (outcome.fate, str(outcome.status)) == (Fate.FAILED, status)
    assert "mx.b.example" in outcome.text


SECURE = TlsFacts("TLSv1.3", "x", verified=True)


@pytest.mark.parametrize(
    ("extensions", "tls", "expected"),
    [
        ({"REQUIRETLS": ""}, SECURE, None),
        ({}, SECURE, Lacking.SECRECY),
        ({"REQUIRETLS": ""}, None, Lacking.SECRECY),
        ({"REQUIRETLS": ""}, TlsFacts("TLSv1.3", "x"), Lacking.SECRECY),
    ],
)
def test_what_requires_tls_goes_over_verified_tls_to_who_requires_it(
    extensions: dict[str, str], tls: TlsFacts | None, expected: Lacking | None
) -> None:
    assert lacking_promise(extensions, tls=tls, require_tls=True, deliver_by=None) is expected
    assert lacking_promise(extensions, tls=tls, require_tls=False, deliver_by=None) is None


def test_mode_r_needs_a_hop_that_keeps_the_time() -> None:
    by = DeliverBy(60, "R")
    assert lacking_promise({}, tls=None, require_tls=False, deliver_by=by) is Lacking.TIME
    assert lacking_promise({"DELIVERBY": "30"}, tls=None, require_tls=False, deliver_by=by) is None


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        ("MAILMAX=10 RCPTMAX=200", {"MAILMAX": 10, "RCPTMAX": 200}),
        ("rcptmax=5", {"RCPTMAX": 5}),
        ("MAILMAX=0 RCPTMAX=-1 X=1234567 Y= RCPTDOMAINMAX", {}),
        ("", {}),
    ],
)
def test_the_limits_of_a_server_are_read_where_they_can_be_kept(said: str, limits: dict[str, int]) -> None:
    assert limits_of({"LIMITS": said}) == limits
