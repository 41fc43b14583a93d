"""A mail transaction under way: one value in one field, kept or dropped whole (RFC 5321 section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from postroad.contracts.queue_store import NewMessage, StoredContent
from postroad.rules.deliver_by import deadline_of
from postroad.rules.expansion import LeadOf, expand
from postroad.services.account_usage import Tab
from postroad.services.content_intake import ContentIntake
from postroad.services.leads import expanded_facts
from postroad.vocabulary.address import Mailbox, path_text
from postroad.vocabulary.endpoint import PeerFacts
from postroad.vocabulary.envelope import BodyType, Envelope, Recipient
from postroad.vocabulary.limits import VERDICTS_KEPT
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.outcome import Group
from postroad.vocabulary.story import Entry, Fact, Received, Verdict
from postroad.wire.smtp.events import SenderGiven


def release_of(sender: SenderGiven, at: datetime) -> datetime | None:
    """When the message may go: the interval counts from now (RFC 4865 section 4); None for at once."""
    until = sender.hold_until if sender.hold_for_s is None else at + timedelta(seconds=sender.hold_for_s)
    return None if until is None or until <= at else until


def is_held_too_long(sender: SenderGiven, at: datetime) -> bool:
    """Whether it is to go later than it is to be there."""
    until = release_of(sender, at)
    return until is not None and sender.deliver_by is not None and until >= deadline_of(sender.deliver_by, at)


class Transaction:
    """From MAIL to the answer to the end of the data."""

    __slots__ = ("_seen", "intake", "led_to", "recipients", "screened", "sender", "tab", "verdicts")

    def __init__(self, sender: SenderGiven, verdict: Verdict) -> None:
        self.sender = sender
        self.recipients: list[Recipient] = []
        self.led_to = 0
        """Addresses that aliases among the recipients lead to."""
        self.verdicts: list[Verdict] = [verdict]
        self.screened = False
        """The rules about the client let it through."""
        self.intake: ContentIntake | None = None
        self.tab: Tab | None = None
        """What it costs the account that sends it; None for strangers."""
        self._seen: set[Mailbox | str] = set()

    def has(self, identity: Mailbox | str) -> bool:
        """Whether this recipient was given before; the same one many times is one delivery."""
        return identity in self._seen

    def add(self, identity: Mailbox | str, recipient: Recipient) -> None:
        self._seen.add(identity)
        self.recipients.append(recipient)

    def note(self, verdict: Verdict) -> None:
        """Keep a verdict for the story; what was said just before is not said again."""
        if verdict is not self.verdicts[-1] and len(self.verdicts) < VERDICTS_KEPT:
            self.verdicts.append(verdict)

    def only_recipient(self) -> Mailbox | None:
        return self.recipients[0].forward_path if len(self.recipients) == 1 else None

    def message(
        self,
        content: bytes | StoredContent,
        *,
        at: datetime,
        role: ListenerRole,
        peer: PeerFacts,
        routing: Callable[[tuple[Recipient, ...]], tuple[Group, ...]],
        lead_of: LeadOf,
        verdicts: tuple[Verdict, ...],
    ) -> NewMessage:
        """The message as the queue takes it, and the fact that tells of it."""
        intake, sender = self.intake, self.sender
        assert intake is not None
        recipients = tuple(self.recipients)
        body = sender.body
        if intake.eight_bit and body is BodyType.SEVEN_BIT:
            body = BodyType.EIGHT_BIT_MIME
        path = sender.reverse_path
        release_at = release_of(sender, at)
        keys: list[str] = [intake.queue_id]
        keys += [each.forward_path.key() for each in recipients]
        if path is not None:
            keys.append(path.key())
        if intake.message_id:
            keys.append(intake.message_id)
        received = Received(
            at=at,
            listener=role.value,
            peer=peer,
            reverse_path=path_text(path),
            recipients=tuple([str(each.forward_path) for each in recipients]),
            message_id=intake.message_id,
            size_bytes=len(content) if isinstance(content, bytes) else content.size_bytes,
            verdicts=(*self.verdicts, *verdicts),
        )
        expansion = expand(recipients, lead_of)
        facts: tuple[Fact, ...] = (received,)
        given: tuple[Mailbox, ...] = ()
        if expansion.followed:
            keys += [end.key() for each in expansion.followed for end in each.to]
            keys = list(dict.fromkeys(keys))
            facts += expanded_facts(expansion, at)
            given = tuple([each.forward_path for each in recipients])
        return NewMessage(
            queue_id=intake.queue_id,
            envelope=Envelope(
                path,
                recipients,
                body,
                sender.smtputf8,
                sender.ret,
                sender.envid,
                sender.require_tls,
                sender.deliver_by,
                release_at,
                sender.priority or 0,
                sender.way,
                given,
            ),
            content=content,
            groups=routing(expansion.recipients),
            queued_at=at,
            story=Entry(intake.queue_id, tuple(keys), facts),
            due_at=release_at,
        )

    def drop(self) -> None:
        """Nothing of it is kept."""
        if self.intake is not None:
            self.intake.discard()
        if self.tab is not None:
            self.tab.drop()
