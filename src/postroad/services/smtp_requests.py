"""What SMTP clients ask outside of a transaction: VRFY, EXPN, ETRN, TURN, ATRN (RFC 5321 section 3.5, RFC 1985,
RFC 821 section 3.8, RFC 2645). Another part of the decisions of one connection."""

from __future__ import annotations

import asyncio

from postroad.contracts.directory import Alias, DomainKind, Found
from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.mailing_lists import ListAddress, ListDuty
from postroad.rules import directory_requests, hold_requests
from postroad.rules.acceptance import AccountState
from postroad.rules.directory_requests import Asked, Listed
from postroad.rules.ruling import Ruling
from postroad.services.answers import Answer, Pending, Turned
from postroad.services.reception_parts import Desk
from postroad.services.refusals import Refusals
from postroad.services.smtp_client import SmtpClient
from postroad.services.smtp_content import STORE_UNAVAILABLE
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import LIST_MEMBERS_TOLD
from postroad.vocabulary.reply import Reply
from postroad.vocabulary.settings import WhoMayAsk
from postroad.vocabulary.story import Verdict
from postroad.wire.smtp.events import ExpandAsked, QueueRunAsked, TurnAsked, VerifyAsked


class SmtpRequests:
    def __init__(self, desk: Desk, client: SmtpClient, refusals: Refusals) -> None:
        self._desk = desk
        self._client = client
        self._refusals = refusals

    # ---- the directory ---------------------------------------------------------------------------

    def verify(self, event: VerifyAsked) -> Answer:
        may_ask = self._may(self._desk.settings.policy.vrfy)
        asked = self._look_up(event.argument) if may_ask else Asked()
        return self._tell("VRFY", event.argument, directory_requests.judge_verify(asked, may_ask=may_ask))

    def expand(self, event: ExpandAsked) -> Answer:
        may_ask = self._may(self._desk.settings.policy.expn)
        asked = self._look_up(event.argument) if may_ask else Asked()
        return self._tell("EXPN", event.argument, directory_requests.judge_expand(asked, may_ask=may_ask))

    def _may(self, who: WhoMayAsk) -> bool:
        known = bool(self._client.account or self._client.unix_user)
        return who is WhoMayAsk.ANYONE or (who is WhoMayAsk.AUTHENTICATED and known)

    def _tell(self, verb: str, argument: str, ruling: Ruling) -> Answer:
        assert ruling.reply is not None
        if ruling.reply.is_positive:
            return ruling.reply
        return self._refusals.refuse_guess(verb, argument, ruling)

    def _look_up(self, argument: str) -> Asked:
        """RFC 5321 section 3.5.1: a mailbox, or a user's name alone, which may be in several domains here."""
        directory = self._desk.directory
        local_part, at, domain = argument.strip().removeprefix("<").removesuffix(">").rpartition("@")
        if at and local_part and domain:
            known = directory.domain(domain.lower())
            if known is None or known.kind is not DomainKind.LOCAL:
                return Asked(here=False, may_relay=not self._client.is_stranger)
            return Asked(self._listed(directory.recipient(Mailbox(local_part, domain.lower()))))
        name = domain if not at else ""
        if not name:
            return Asked(understood=False)
        found = (
            directory.recipient(Mailbox(name, known.name))
            for known in directory.domains()
            if known.kind is DomainKind.LOCAL
        )
        # The directory answers for postmaster of every domain; a user is listed once. A catch-all is nobody's name.
        known_here = {one.address.key(): one for one in found if one is not None}
        return Asked(
            tuple(
                one
                for each in known_here.values()
                if not (isinstance(each, Alias) and each.is_catch_all)
                for one in self._listed(each)
            )
        )

    def _listed(self, found: Found | None) -> tuple[Listed, ...]:
        if found is None:
            return ()
        if isinstance(found, Alias):
            return (Listed(found.address, "", AccountState.THERE, found.targets),)
        if isinstance(found, ListAddress):
            return (self._listed_list(found),)
        state = AccountState.DISABLED if found.disabled else AccountState.THERE
        own = (found.address,) if found.keeps_copy and found.forward_to else ()
        return (Listed(found.address, found.display_name, state, (*own, *found.forward_to)),)

    def _listed_list(self, found: ListAddress) -> Listed:
        """The members who get its mail. Its other addresses, for joining and the like, are no lists."""
        members: tuple[Mailbox, ...] = ()
        more = False
        if found.duty is ListDuty.POST:
            known = self._desk.directory.lists.members(found.list_.id, "", LIST_MEMBERS_TOLD + 1)
            more = len(known) > LIST_MEMBERS_TOLD
            members = () if more else tuple(each.address for each in known if not each.suspended)
        return Listed(found.address, found.list_.description, AccountState.THERE, members, too_many=more)

    # ---- waiting mail ----------------------------------------------------------------------------

    def run_queue(self, event: QueueRunAsked) -> Answer:
        desk, address = self._desk, self._client.remote.address
        assert desk.onward.holds is not None, "ETRN is offered where there are holds"
        now = asyncio.get_running_loop().time()
        if desk.queue_runs.too_many(address, now):
            answer = hold_requests.unable_to_queue(event.argument)
            self._refusals.note("ETRN", event.argument, answer, Verdict("etrn", "defer", "asked too often"))
            return answer
        desk.queue_runs.wrong(address, now)
        asking = desk.errands.start(desk.onward.holds.start(event.argument))
        return Pending(asking, lambda done: self._queue_is_run(event.argument, done))

    def _queue_is_run(self, argument: str, done: asyncio.Future[Reply]) -> Answer:
        answer = done.result()
        if not answer.is_positive:
            self._refusals.note("ETRN", argument, answer, Verdict("etrn", "reject", answer.lines[0]))
        return answer

    def turn(self, event: TurnAsked) -> Answer:
        holds = self._desk.onward.holds
        assert holds is not None, "TURN is offered where there are holds"
        account = self._client.record()
        if account is None:  # it has been removed, or disabled, since it logged in
            return hold_requests.NOT_FOR_YOU
        opening = holds.open_for(event.verb, account.address.key(), event.domains, self._client.facts())
        return Pending(self._desk.errands.start(opening), lambda done: self._opened(event, done), though_gone=True)

    def _opened(self, event: TurnAsked, done: asyncio.Future[Turned | Reply]) -> Answer:
        try:
            answer = done.result()
        except StoreUnavailable:
            return STORE_UNAVAILABLE
        if isinstance(answer, Reply):
            self._refusals.note(event.verb, ",".join(event.domains), answer, Verdict("turn", "reject", answer.lines[0]))
        return answer
