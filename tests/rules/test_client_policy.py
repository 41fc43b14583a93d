"""What the DNS says of a client, and what is done about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.client_policy import (
    Finding,
    Result,
    Rule,
    authentication_results,
    find_helo,
    find_reverse_dns,
    find_sender_domain,
    find_sender_host,
    not_known_now,
    same_address,
    weigh,
)
from postroad.vocabulary.settings import Severity


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("severity", Severity)
def test_what_could_not_be_looked_up_is_never_a_rejection(rule: Rule, severity: Severity) -> None:
    ruling = weigh(not_known_now(rule, "x"), severity)
    if severity in (Severity.DEFER, Severity.REJECT):
        assert str(ruling.reply).startswith("451 4.4.3")
    else:
        assert ruling.reply is None


@pytest.mark.parametrize("rule", Rule)
def test_a_rule_that_fails_does_what_its_severity_says(rule: Rule) -> None:
    finding = Finding(rule, Result.FAIL, "why", status="7.25")
    assert weigh(finding, Severity.TAG).reply is None
    assert weigh(finding, Severity.TAG).verdict.result == "tag"
    assert str(weigh(finding, Severity.DEFER).reply).startswith("450 4.7.25")
    assert str(weigh(finding, Severity.REJECT).reply).startswith("550 5.7.25")
    assert weigh(Finding(rule, Result.PASS, "fine"), Severity.REJECT).reply is None


def test_a_helo_literal_must_be_the_clients_own_address_in_any_spelling() -> None:
    for name in ("[2001:db8::1]", "[IPv6:2001:0db8:0::1]", "[ipv6:2001:DB8::1]"):
        assert find_helo(name, "2001:db8::1", "mx.here.example", ()).result is Result.PASS
    assert find_helo("[192.0.2.1]", "192.0.2.2", "mx.here.example", ()).result is Result.FAIL
    assert find_helo("MX.here.example.", "192.0.2.2", "mx.here.example", ("192.0.2.2",)).result is Result.FAIL


def test_a_null_mx_beside_others_is_not_a_refusal_of_mail() -> None:
    assert find_sender_domain("a.example", ("",), ("192.0.2.1",)).status == "7.27"
    assert find_sender_domain("a.example", (), ()).status == "1.8"
    assert find_sender_domain("a.example", ("mx", ""), ()).result is Result.PASS


def test_a_client_is_compared_with_hosts_by_value() -> None:
    assert find_sender_host("2001:db8::1", "a.example", ("192.0.2.1", "2001:db8:0::1")).result is Result.PASS
    assert not same_address("nonsense", "192.0.2.1")


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_peer_can_write_a_second_field_or_result(subject: str, reason: str) -> None:
    findings = tuple(Finding(rule, Result.FAIL, reason, subject) for rule in Rule)
    field = authentication_results("mx.here.example", findings)
    lines = field.decode("ascii").split("\r\n")
    assert lines.pop() == ""
    assert lines[0] == "Authentication-Results: mx.here.example;"
    assert len(lines) == 1 + len(findings)
    for line in lines[1:]:
        assert line.startswith("\t")
        comment = line[line.index("(") + 1 : line.index(")")]
        assert "(" not in comment
        assert "\\" not in comment


def test_no_finding_is_no_field() -> None:
    assert authentication_results("mx.here.example", ()) == b""


def test_a_name_that_does_not_lead_back_is_not_confirmed() -> None:
    assert find_reverse_dns("192.0.2.1", ("a.example",), "").host == ""
    assert find_reverse_dns("192.0.2.1", ("a.example",), "a.example").host == "a.example"
