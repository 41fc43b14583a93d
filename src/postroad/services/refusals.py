"""How one SMTP connection says no: in which words, for the ledger, and more slowly to whoever guesses."""

from __future__ import annotations

import asyncio

from postroad.rules.acceptance import SHUT_OUT
from postroad.rules.ruling import Ruling
from postroad.services.answers import Answer, Pending
from postroad.services.reception_parts import Desk
from postroad.services.smtp_client import SmtpClient
from postroad.vocabulary.address import ReversePath
from postroad.vocabulary.limits import (
    REFUSED_RECIPIENT_DELAY_S,
    REFUSED_RECIPIENTS,
    REFUSED_RECIPIENTS_DELAYED,
)
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.reply import Reply, reply
from postroad.vocabulary.story import Entry, Refused, Verdict

_TOO_MANY_UNKNOWN = reply(421, "Too many refused recipients, closing", status="4.7.0")


class Refusals:
    __slots__ = ("_client", "_desk", "_guesses")

    def __init__(self, desk: Desk, client: SmtpClient) -> None:
        self._desk = desk
        self._client = client
        self._guesses = 0

    def forget(self) -> None:
        """Another client speaks now."""
        self._guesses = 0

    def refuse(self, stage: str, subject: str, ruling: Ruling, path: ReversePath) -> Reply:
        """The ruling's reply, noted. `path` is an address that the refusal can be found by."""
        assert ruling.reply is not None
        self.note(stage, subject, ruling.reply, ruling.verdict, () if path is None else (path.key(),))
        return ruling.reply

    def refuse_guess(self, stage: str, subject: str, ruling: Ruling, path: ReversePath = None) -> Answer:
        """A refusal that tells whether an address exists: whoever collects them is slowed down, then cut."""
        answer = self.refuse(stage, subject, ruling, path)
        if self._client.role is ListenerRole.LMTP:
            return answer  # it hands on what others have addressed
        self._guesses += 1
        if self._client.is_stranger and self._is_shut_out():
            return SHUT_OUT.reply or answer
        if self._guesses > REFUSED_RECIPIENTS:
            return _TOO_MANY_UNKNOWN
        if self._guesses > REFUSED_RECIPIENTS_DELAYED:
            return self.later(REFUSED_RECIPIENT_DELAY_S, answer)
        return answer

    def _is_shut_out(self) -> bool:
        """One more guess of this client's, over all its connections."""
        guesses, address = self._desk.recipient_guesses, self._client.remote.address
        now = asyncio.get_running_loop().time()
        guesses.wrong(address, now)
        return guesses.too_many(address, now)

    def later(self, delay_s: float, answer: Answer) -> Pending:
        return Pending(self._desk.errands.after(delay_s), lambda _: answer)

    def note(
        self, stage: str, subject: str, answer: Reply | None, verdict: Verdict, keys: tuple[str, ...] = ()
    ) -> None:
        refused = Refused(
            at=self._desk.clock.now(),
            listener=self._client.role.value,
            peer=self._client.facts(),
            stage=stage,
            subject=subject,
            reply="" if answer is None else str(answer),
            verdicts=(verdict,),
        )
        self._desk.ledger.record(Entry("", keys, (refused,)))
