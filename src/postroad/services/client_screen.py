"""The `[policy]` rules of one connection: asked as soon as their facts are known, judged at RCPT.

A rule that refuses is waited for; one that only tags is never waited for: it writes what it knows when the
message is made ready.
"""

from __future__ import annotations

import asyncio

import msgspec

from postroad.rules import client_policy
from postroad.rules.acceptance import BLOCKED_CLIENT
from postroad.rules.client_policy import Finding, Result, Rule
from postroad.rules.networks import NameSet
from postroad.rules.ruling import Ruling
from postroad.services.client_lookups import ClientLookups, Found
from postroad.vocabulary.address import ReversePath
from postroad.vocabulary.settings import PolicySettings, Severity
from postroad.vocabulary.story import Verdict

_ENFORCED = (Severity.DEFER, Severity.REJECT)
_OF_SENDER = (Rule.SENDER_DOMAIN, Rule.SENDER_HOST, Rule.OWN_SENDER)


class ScreenPlan(msgspec.Struct, frozen=True):
    """What all connections have in common: the rules that are on, and the names of `block_clients`."""

    severities: dict[Rule, Severity]
    blocked_names: NameSet

    @classmethod
    def of(cls, policy: PolicySettings, blocked_names: NameSet) -> ScreenPlan:
        every = {rule: Severity(getattr(policy, rule.value)) for rule in Rule}
        return cls({rule: how for rule, how in every.items() if how is not Severity.OFF}, blocked_names)

    @property
    def is_empty(self) -> bool:
        return not self.severities and not self.blocked_names


class ClientScreen:
    """Made when a stranger connects; told what the stranger says."""

    __slots__ = ("_address", "_asked", "_helo", "_lookups", "_plan")

    def __init__(
        self, plan: ScreenPlan, lookups: ClientLookups, address: str, known_name: Finding | None = None
    ) -> None:
        """`known_name` is what a front end has found already. An empty `address` is one that it did not tell: rules
        about the address have nothing to say then."""
        self._plan = plan
        self._lookups = lookups
        self._address = address
        self._helo = ""
        self._asked: dict[Rule, Found | Finding] = {}
        if (Rule.REVERSE_DNS in plan.severities or plan.blocked_names) and (address or known_name is not None):
            self._asked[Rule.REVERSE_DNS] = known_name or lookups.reverse_dns(address)

    def greeted(self, name: str) -> None:
        self._helo = name
        if Rule.HELO in self._plan.severities:
            self._asked[Rule.HELO] = self._lookups.helo(name, self._address)

    def sender_given(self, reverse_path: ReversePath, ours: bool) -> None:
        """MAIL. `ours`: its domain is local. The null reverse-path has no domain to look at."""
        on = self._plan.severities
        for rule in _OF_SENDER:
            self._asked.pop(rule, None)
        if Rule.OWN_SENDER in on:
            self._asked[Rule.OWN_SENDER] = client_policy.find_own_sender(reverse_path, ours)
        if reverse_path is None or reverse_path.is_literal:
            return
        domain = reverse_path.domain
        if Rule.SENDER_DOMAIN in on and not ours:
            self._asked[Rule.SENDER_DOMAIN] = self._lookups.sender_domain(domain)
        if Rule.SENDER_HOST in on and self._address:
            self._asked[Rule.SENDER_HOST] = self._lookups.sender_host(self._address, self._helo, domain)

    def unanswered(self) -> Found | None:
        """A look-up that must be waited for before a recipient is judged; None when there is none (left)."""
        for rule, found in self._asked.items():
            if isinstance(found, asyncio.Future) and not found.done() and self._is_enforced(rule):
                return found
        return None

    def _is_enforced(self, rule: Rule) -> bool:
        if rule is Rule.REVERSE_DNS and self._plan.blocked_names:
            return True
        return self._plan.severities.get(rule) in _ENFORCED

    def refusal(self) -> Ruling | None:
        """The first rule that refuses, once nothing is unanswered."""
        names = self._plan.blocked_names
        if names and (self._helo in names or (self.host and self.host in names)):
            return BLOCKED_CLIENT
        for rule in self._asked:
            if self._plan.severities.get(rule) in _ENFORCED:
                ruling = client_policy.weigh(self._finding(rule), self._plan.severities[rule])
                if ruling.reply is not None:
                    return ruling
        return None

    def tags(self) -> tuple[Finding, ...]:
        """What the rules that tag know by now, for Authentication-Results."""
        return tuple(self._finding(rule) for rule in self._asked if self._plan.severities.get(rule) is Severity.TAG)

    def verdicts(self) -> tuple[Verdict, ...]:
        """Every rule's word, for the story."""
        return tuple(
            client_policy.weigh(self._finding(rule), how).verdict
            for rule, how in self._plan.severities.items()
            if rule in self._asked
        )

    @property
    def host(self) -> str:
        """The client's confirmed name, or empty."""
        return self._finding(Rule.REVERSE_DNS).host if Rule.REVERSE_DNS in self._asked else ""

    def _finding(self, rule: Rule) -> Finding:
        found = self._asked[rule]
        if isinstance(found, Finding):
            return found
        if not found.done() or found.cancelled() or found.exception() is not None:
            return Finding(rule, Result.TEMPERROR, "no answer in time", self._subject(rule))
        return found.result()

    def _subject(self, rule: Rule) -> str:
        return {Rule.REVERSE_DNS: self._address, Rule.HELO: self._helo}.get(rule, "")
