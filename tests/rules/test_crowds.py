"""Crowds at the door, and what is believed of a submitter."""

import pytest

from postroad.rules.acceptance import judge_connection, judge_rate, judge_submitter


@pytest.mark.parametrize(
    ("of_client", "of_network", "exempt", "status"),
    [(2, 11, False, None), (2, 12, False, "4.7.0"), (2, 12, True, None), (3, 3, False, "4.7.0")],
)
def test_a_network_may_have_four_times_what_one_of_its_clients_may(
    of_client: int, of_network: int, exempt: bool, status: str | None
) -> None:
    ruling = judge_connection(
        sessions=20, sessions_max=100, of_client=of_client, of_client_max=3, exempt=exempt, of_network=of_network
    )
    assert (str(ruling.reply.status) if ruling is not None and ruling.reply is not None else None) == status


@pytest.mark.parametrize(
    ("of_client", "of_network", "most", "words"),
    [
        (9, 39, 10, ""),
        (10, 10, 10, "421 4.7.0 Too many connections from your address within a minute"),
        (0, 40, 10, "421 4.7.0 Too many connections from your network within a minute"),
        (10**6, 10**6, 0, ""),
    ],
)
def test_whoever_connects_too_often_waits_for_the_next_minute(
    of_client: int, of_network: int, most: int, words: str
) -> None:
    ruling = judge_rate(of_client=of_client, of_network=of_network, most=most)
    assert (ruling is None) == (not words)
    assert ruling is None or str(ruling.reply).startswith(words)


@pytest.mark.parametrize(
    ("submitter", "account", "reason"),
    [
        ("ann@a.example", "ann@a.example", "submitted by ann@a.example"),
        ("Sales@A.example", "ann@a.example", "submitted by Sales@A.example"),
        ("eve@a.example", "ann@a.example", "not believed to be submitted by eve@a.example"),
        ("ann@a.example", "", "not believed to be submitted by ann@a.example"),
        ("", "ann@a.example", "the submitter is not known"),
    ],
)
def test_who_handed_a_message_in_is_believed_of_those_who_logged_in(submitter: str, account: str, reason: str) -> None:
    """RFC 4954 section 5."""
    verdict = judge_submitter(submitter, account, {"ann@a.example", "sales@a.example"})
    assert verdict is not None
    assert (verdict.result, verdict.reason) == ("pass", reason)
    assert judge_submitter(None, account, ()) is None
