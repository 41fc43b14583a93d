"""Look-ups about clients and senders, for the rules of `[policy]`: started early, shared, kept for a while.

A question under way or answered lately is not asked again, whichever connection wants to know. Every
look-up ends within POLICY_LOOKUP_S, with "temperror" if there was no answer, and never raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import msgspec

from postroad.contracts.errors import DnsTemporary
from postroad.contracts.resolver import Resolver
from postroad.rules import client_policy
from postroad.rules.client_policy import Finding, Rule
from postroad.services.errands import Errands
from postroad.vocabulary.limits import (
    CLIENT_FACTS_ENTRIES,
    CLIENT_FACTS_S,
    MX_HOSTS,
    POLICY_LOOKUP_S,
    POLICY_LOOKUPS_AT_ONCE,
    POLICY_NAMES,
    VERDICT_INPUTS,
)

Found = asyncio.Future[Finding]
Question = Callable[["Inquiry"], Coroutine[None, None, Finding]]


class ClientLookups:
    """Answers each question with a future; done at once where the answer is known already."""

    def __init__(self, *, resolver: Resolver, hostname: str, errands: Errands) -> None:
        self._resolver = resolver
        self._hostname = hostname
        self._errands = errands
        self._loop = asyncio.get_running_loop()
        self._kept: dict[tuple[str, ...], tuple[float, Found]] = {}
        self._under_way = 0

    def reverse_dns(self, address: str) -> Found:
        return self._ask((Rule.REVERSE_DNS, address), lambda dns: _reverse_dns(dns, address))

    def helo(self, name: str, client: str) -> Found:
        return self._ask((Rule.HELO, client, name), lambda dns: _helo(dns, name, client, self._hostname))

    def sender_domain(self, domain: str) -> Found:
        return self._ask((Rule.SENDER_DOMAIN, domain), lambda dns: _sender_domain(dns, domain))

    def sender_host(self, client: str, helo: str, domain: str) -> Found:
        return self._ask((Rule.SENDER_HOST, client, helo, domain), lambda dns: _sender_host(dns, client, helo, domain))

    # ---- sharing ---------------------------------------------------------------------------------

    def _ask(self, key: tuple[str, ...], question: Question) -> Found:
        """`key` is the rule, what else the answer depends on, and last what is looked at."""
        now = self._loop.time()
        kept = self._kept.get(key)
        if kept is not None and kept[0] > now:
            return kept[1]
        rule, subject = Rule(key[0]), key[-1]
        if self._under_way >= POLICY_LOOKUPS_AT_ONCE:
            return self._done(client_policy.not_known_now(rule, subject))
        while len(self._kept) >= CLIENT_FACTS_ENTRIES:
            del self._kept[next(iter(self._kept))]
        self._under_way += 1
        found = self._errands.start(self._answer(rule, subject, question, key))
        self._kept.pop(key, None)
        self._kept[key] = (now + CLIENT_FACTS_S, found)
        return found

    async def _answer(self, rule: Rule, subject: str, question: Question, key: tuple[str, ...]) -> Finding:
        dns = Inquiry(self._resolver)
        try:
            async with asyncio.timeout(POLICY_LOOKUP_S):
                return msgspec.structs.replace(await question(dns), inputs=tuple(dns.said))
        except (DnsTemporary, TimeoutError):
            self._kept.pop(key, None)  # the next to ask may have more luck
            return msgspec.structs.replace(client_policy.not_known_now(rule, subject), inputs=tuple(dns.said))
        except Exception as failure:
            # A fault of ours, not of the client's: told to whoever runs the server, and no verdict on anybody.
            self._kept.pop(key, None)
            self._loop.call_exception_handler({"message": f"looking up {subject} failed", "exception": failure})
            return client_policy.not_known_now(rule, subject)
        finally:
            self._under_way -= 1

    def _done(self, finding: Finding) -> Found:
        future: Found = self._loop.create_future()
        future.set_result(finding)
        return future


# ---- the questions -------------------------------------------------------------------------------


class Inquiry:
    """The resolver, with a note of what it said: the inputs of a verdict."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.said: list[str] = []

    async def names(self, address: str) -> tuple[str, ...]:
        return await self._noted("PTR", address, self._resolver.names(address))

    async def addresses(self, host: str) -> tuple[str, ...]:
        return await self._noted("A, AAAA", host, self._resolver.addresses(host))

    async def mail_hosts(self, domain: str) -> tuple[str, ...]:
        """By preference; "" is the null MX (RFC 7505)."""

        async def ask() -> tuple[str, ...]:
            return tuple(record.host for record in sorted(await self._resolver.mx(domain)))

        return await self._noted("MX", domain, ask())

    async def _noted(self, question: str, name: str, asked: Awaitable[tuple[str, ...]]) -> tuple[str, ...]:
        answers: tuple[str, ...] | None = None
        try:
            answers = await asked
            return answers
        finally:
            if len(self.said) < VERDICT_INPUTS:
                shown = None if answers is None else tuple(each or "." for each in answers[:POLICY_NAMES])
                self.said.append(client_policy.dns_said(question, name, shown))


async def _reverse_dns(dns: Inquiry, address: str) -> Finding:
    names = (await dns.names(address))[:POLICY_NAMES]
    for name in names:
        addresses = await dns.addresses(name)
        if any(client_policy.same_address(address, each) for each in addresses):
            return client_policy.find_reverse_dns(address, names, name)
    return client_policy.find_reverse_dns(address, names, "")


async def _helo(dns: Inquiry, name: str, client: str, hostname: str) -> Finding:
    known = name.startswith("[") or name.lower().rstrip(".") == hostname.lower()
    addresses = () if known else await dns.addresses(name.lower().rstrip("."))
    return client_policy.find_helo(name, client, hostname, addresses)


async def _sender_domain(dns: Inquiry, domain: str) -> Finding:
    hosts = await dns.mail_hosts(domain)
    addresses = () if hosts else await dns.addresses(domain)
    return client_policy.find_sender_domain(domain, hosts, addresses)


async def _sender_host(dns: Inquiry, client: str, helo: str, domain: str) -> Finding:
    """The hosts are looked up one after another and only until one fits."""
    answered = True
    finding = client_policy.find_sender_host(client, domain, ())
    names = [] if not helo or helo.startswith("[") else [helo.lower().rstrip(".")]
    names.append(domain)
    try:
        names += [host for host in (await dns.mail_hosts(domain))[:MX_HOSTS] if host]
    except DnsTemporary:
        answered = False
    for name in dict.fromkeys(names):
        try:
            finding = client_policy.find_sender_host(client, domain, await dns.addresses(name))
        except DnsTemporary:
            answered = False
            continue
        if finding.result is client_policy.Result.PASS:
            return finding
    if not answered:
        raise DnsTemporary("not all hosts of the sender's domain could be looked up")
    return finding
