"""What the DNS says of a client and its sender, and what the administrator wants done about it.

Each rule is asked only when it is not "off". A look-up yields a `Finding`; `weigh` turns it, under the
rule's severity, into a ruling. A look-up that failed for now never counts against the client: a rule that
refuses answers 451 4.4.3, a rule that tags writes "temperror" (RFC 8601 section 2.7.3).

Codes: RFC 7372 section 3.3 (5.7.25), RFC 7505 section 4.2 (5.7.27), RFC 3463 section 3.2 (5.1.8).
RFC 5321 section 4.1.4 forbids to refuse mail for a HELO name alone; "reject" there is the administrator's wish.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address

import msgspec

from postroad.rules.ruling import Ruling
from postroad.vocabulary.address import ReversePath
from postroad.vocabulary.limits import INPUT_TEXT
from postroad.vocabulary.reply import printable, reply
from postroad.vocabulary.settings import Severity
from postroad.vocabulary.story import Verdict


class Rule(StrEnum):
    """The names are those of the `[policy]` section."""

    REVERSE_DNS = "reverse_dns"
    HELO = "helo"
    SENDER_DOMAIN = "sender_domain"
    SENDER_HOST = "sender_host"
    OWN_SENDER = "own_sender"


class Result(StrEnum):
    """The words of RFC 8601 section 2.7.3."""

    PASS = "pass"
    FAIL = "fail"
    TEMPERROR = "temperror"


class Finding(msgspec.Struct, frozen=True):
    """What one rule found. `reason` is for people; `status` the enhanced code of a refusal, without its
    class; `host` the client's confirmed name, from REVERSE_DNS alone; `subject` what was looked at; `inputs` what the
    DNS said, a line for each answer (`dns_said`)."""

    rule: Rule
    result: Result
    reason: str
    subject: str = ""
    status: str = "7.1"
    host: str = ""
    inputs: tuple[str, ...] = ()


def dns_said(question: str, name: str, answers: tuple[str, ...] | None) -> str:
    """One answer for the story: "MX c.example: mx.c.example"; None is no answer, and nothing there is "none"."""
    words = "no answer" if answers is None else ", ".join(answers) or "none"
    return printable(f"{question} {name}: {words}", INPUT_TEXT)


def same_address(one: str, other: str) -> bool:
    """Whether two spellings name one address (IPv6 has several)."""
    if one == other:
        return True
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return False


# ---- what each rule makes of the answers ---------------------------------------------------------


def find_reverse_dns(address: str, names: tuple[str, ...], confirmed: str) -> Finding:
    """`names` are the PTR records; `confirmed` is the first of them that leads back to `address`, or empty."""
    if confirmed:
        return Finding(Rule.REVERSE_DNS, Result.PASS, f"{address} is {confirmed}", address, host=confirmed)
    reason = f"{names[0]} does not lead back to {address}" if names else f"{address} has no name"
    return Finding(Rule.REVERSE_DNS, Result.FAIL, reason, address, "7.25")


def find_helo(name: str, client: str, hostname: str, addresses: tuple[str, ...]) -> Finding:
    """A HELO name should be the client's own: an existing host, or the literal of its address.

    `addresses` of the name; not looked at for our own name nor for a literal."""
    lowered = name.lower().rstrip(".")
    if lowered.startswith("["):
        own = same_address(lowered.strip("[]").removeprefix("ipv6:"), client)
        reason = "the literal of its own address" if own else "a literal that is not its address"
        return Finding(Rule.HELO, Result.PASS if own else Result.FAIL, reason, lowered)
    if lowered == hostname.lower():
        return Finding(Rule.HELO, Result.FAIL, "our own name", lowered)
    if not addresses:
        return Finding(Rule.HELO, Result.FAIL, "the name has no address", lowered)
    return Finding(Rule.HELO, Result.PASS, "the name exists", lowered)


def find_sender_domain(domain: str, mail_hosts: tuple[str, ...], addresses: tuple[str, ...]) -> Finding:
    """`mail_hosts` are the MX hosts ("" is the null MX), `addresses` those of the domain itself."""
    if mail_hosts == ("",):
        # RFC 7505 section 4.2: a domain that takes no mail should not be where mail is from.
        return Finding(Rule.SENDER_DOMAIN, Result.FAIL, "the domain takes no mail (null MX)", domain, "7.27")
    if mail_hosts or addresses:
        return Finding(Rule.SENDER_DOMAIN, Result.PASS, "the domain takes mail", domain)
    return Finding(Rule.SENDER_DOMAIN, Result.FAIL, "the domain has neither MX nor address", domain, "1.8")


def find_sender_host(client: str, domain: str, hosts: tuple[str, ...]) -> Finding:
    """`hosts` are the addresses of the HELO name, of the sender's domain and of its MX hosts."""
    if any(same_address(client, each) for each in hosts):
        return Finding(Rule.SENDER_HOST, Result.PASS, "a host of its own domain", domain)
    return Finding(Rule.SENDER_HOST, Result.FAIL, "not a host of the HELO name or the sender's domain", domain)


def find_own_sender(reverse_path: ReversePath, ours: bool) -> Finding:
    """`ours`: the reverse-path is in a local domain; the client is a stranger."""
    subject = reverse_path.domain if reverse_path else ""
    if ours:
        return Finding(Rule.OWN_SENDER, Result.FAIL, "a stranger uses one of our domains", subject)
    return Finding(Rule.OWN_SENDER, Result.PASS, "not one of our domains", subject)


def not_known_now(rule: Rule, subject: str) -> Finding:
    return Finding(rule, Result.TEMPERROR, "the name server does not answer", subject)


# ---- what is done about it -----------------------------------------------------------------------

_TEXTS = {
    Rule.REVERSE_DNS: "Your address has no confirmed name in the DNS",
    Rule.HELO: "Your HELO name is not the name of a host",
    Rule.SENDER_DOMAIN: "The sender's domain cannot receive mail",
    Rule.SENDER_HOST: "Your host does not belong to the sender's domain",
    Rule.OWN_SENDER: "Log in to send as one of our users",
}


def weigh(finding: Finding, severity: Severity) -> Ruling:
    """The ruling on one finding. "tag" never refuses."""

    def verdict(result: str) -> Verdict:
        looked_at = (printable(finding.subject, INPUT_TEXT),) if finding.subject else ()
        return Verdict(finding.rule, result, finding.reason, (*looked_at, *finding.inputs))

    if finding.result is Result.PASS:
        return Ruling(verdict("pass"))
    if severity in (Severity.TAG, Severity.OFF):
        return Ruling(verdict("tag"))
    text = _TEXTS[finding.rule]
    if finding.result is Result.TEMPERROR:
        # RFC 3463 section 3.5, X.4.3 directory server failure: never a rejection.
        again = f"{text.split(' ', 1)[0]} DNS entries cannot be read now, try again later"
        return Ruling(verdict("defer"), reply(451, again, status="4.4.3"))
    if severity is Severity.DEFER:
        return Ruling(verdict("defer"), reply(450, text, status=f"4.{finding.status}"))
    return Ruling(verdict("reject"), reply(550, text, status=f"5.{finding.status}"))


# Only iprev is registered (RFC 8601 section 2.7.3); the others are named as experiments of ours
# (section 2.7.7 lets a consumer ignore what it does not know).
_METHODS = {
    Rule.REVERSE_DNS: ("iprev", "policy.iprev"),
    Rule.HELO: ("x-helo", "smtp.helo"),
    Rule.SENDER_DOMAIN: ("x-sender-domain", "smtp.mailfrom"),
    Rule.SENDER_HOST: ("x-sender-host", "smtp.mailfrom"),
    Rule.OWN_SENDER: ("x-own-sender", "smtp.mailfrom"),
}


def authentication_results(hostname: str, findings: tuple[Finding, ...]) -> bytes:
    """The Authentication-Results field of the rules that tag, or nothing for none (RFC 8601 section 2.2).

    One line for each finding, ended by CR LF. What the peer chose is quoted and made printable, so that it
    cannot add a field or a result.
    """
    if not findings:
        return b""
    lines = [f"Authentication-Results: {hostname}"]
    for finding in findings:
        method, property_ = _METHODS[finding.rule]
        value = f" {property_}={_value(finding.subject)}" if finding.subject else ""
        lines.append(f"\t{method}={finding.result.value} ({_comment(finding.reason)}){value}")
    return (";\r\n".join(lines) + "\r\n").encode("ascii")


def _comment(text: str) -> str:
    """RFC 5322 section 3.2.2: parentheses and backslashes have a meaning in a comment."""
    return "".join(" " if c in "()\\" else c for c in printable(text, 200))


def _value(text: str) -> str:
    """A value is a token or a quoted-string (RFC 2045 section 5.1)."""
    shown = printable(text, 255)
    if shown and all(c.isalnum() or c in "-._" for c in shown):
        return shown
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
