"""The Authentication-Results field that "tag" writes, held against the grammar of RFC 8601 section 2.2."""

import re

from hypothesis import given
from hypothesis import strategies as st

from postroad.rules.client_policy import Finding, Result, Rule, authentication_results

# RFC 5322 section 3.2.2 (a comment without comments in it), RFC 2045 section 5.1, RFC 5321 section 4.1.2 (Keyword).
CFWS = r"(?:[ \t]|\([\x20-\x27\x2a-\x5b\x5d-\x7e\t]*\))"
TOKEN = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e\t]|\\[\x20-\x7e\t])*"'
VALUE = rf"(?:{TOKEN}|{QUOTED})"
KEYWORD = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
METHOD = rf"{CFWS}*(?P<method>{KEYWORD}){CFWS}*={CFWS}*(?P<result>{KEYWORD})"
PROPERTY = rf"{CFWS}+(?P<ptype>{KEYWORD}){CFWS}*\.{CFWS}*(?P<property>{KEYWORD}){CFWS}*={CFWS}*(?P<value>{VALUE})"
RESULT = re.compile(rf"{CFWS}*;{METHOD}(?:{PROPERTY})?")
HEAD = re.compile(rf"Authentication-Results:{CFWS}*(?P<name>{VALUE})")
END = re.compile(rf"{CFWS}*")
REGISTERED = {"pass", "fail", "temperror"}


def parsed(field: bytes) -> list[dict[str, str]]:
    """The results in the field; raises AssertionError where the grammar does not allow it."""
    text = field.decode("ascii")
    assert text.endswith("\r\n")
    unfolded = re.sub(r"\r\n(?=[ \t])", "", text[:-2])
    assert "\r" not in unfolded
    assert "\n" not in unfolded
    assert all(len(line) <= 998 for line in text.split("\r\n"))
    head = HEAD.match(unfolded)
    assert head is not None
    assert head["name"] == "mx.here.example"
    position, found = head.end(), []
    while not END.fullmatch(unfolded, position):
        result = RESULT.match(unfolded, position)
        assert result is not None, unfolded[position:]
        found.append(result.groupdict())
        position = result.end()
    return found


def test_the_field_says_what_was_found_in_the_words_of_the_standard() -> None:
    findings = (
        Finding(Rule.REVERSE_DNS, Result.PASS, "192.0.2.1 is mx.a.example", "192.0.2.1"),
        Finding(Rule.REVERSE_DNS, Result.FAIL, "2001:db8::1 has no name", "2001:db8::1"),
        Finding(Rule.HELO, Result.TEMPERROR, "the name server does not answer", "a_b.example"),
        Finding(Rule.OWN_SENDER, Result.PASS, "not one of our domains"),
    )
    assert parsed(authentication_results("mx.here.example", findings)) == [
        {"method": "iprev", "result": "pass", "ptype": "policy", "property": "iprev", "value": "192.0.2.1"},
        {"method": "iprev", "result": "fail", "ptype": "policy", "property": "iprev", "value": '"2001:db8::1"'},
        {"method": "x-helo", "result": "temperror", "ptype": "smtp", "property": "helo", "value": "a_b.example"},
        {"method": "x-own-sender", "result": "pass", "ptype": None, "property": None, "value": None},
    ]


@given(
    st.lists(
        st.builds(
            Finding, st.sampled_from(Rule), st.sampled_from(Result), st.text(max_size=300), st.text(max_size=300)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_a_stranger_calls_itself_the_field_keeps_to_the_grammar(findings: list[Finding]) -> None:
    found = parsed(authentication_results("mx.here.example", tuple(findings)))
    assert [each["result"] for each in found] == [finding.result.value for finding in findings]
    assert {each["result"] for each in found} <= REGISTERED
