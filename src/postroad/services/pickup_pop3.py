"""Fetching a maildrop elsewhere by POP3 into the queue, for one address here (RFC 1939).

A message is deleted over there only when it is durable here; and as the queue takes each unique-id (RFC 1939 section
7) once, a connection that ends between the two fetches nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from postroad.contracts.clock import Clock
from postroad.contracts.errors import AcceptedBefore
from postroad.contracts.queue_store import NewMessage, QueueStore
from postroad.message import header as headers
from postroad.message.trace import fetched_field
from postroad.services.content_intake import ContentIntake, ContentRefused
from postroad.services.notifications import Routing
from postroad.services.talk import Talk
from postroad.vocabulary.address import Mailbox, ReversePath, path_text
from postroad.vocabulary.endpoint import Endpoint, PeerFacts
from postroad.vocabulary.envelope import BodyType, Envelope, Recipient
from postroad.vocabulary.limits import COMMIT_BATCH, HEADER_BYTES
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import LimitSettings, Pickup
from postroad.vocabulary.story import Entry, Received, Verdict
from postroad.wire.pop3.client import Pop3ClientSession
from postroad.wire.pop3.client_events import (
    MaildropListed,
    MessageEnded,
    MessageOctets,
    MessageRefused,
    SessionEnded,
    Waiting,
)
from postroad.wire.session import Wait
from postroad.wire.smtp.paths import PathRefused, parse_mailbox

_RETURN_PATH = headers.finder(b"return-path")


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchingWorld:
    """`accepted` is handed each message that the queue has taken."""

    hostname: str
    queue: QueueStore
    clock: Clock
    limits: LimitSettings
    routing: Routing
    accepted: Callable[[NewMessage], None]


class Pop3Fetching:
    """One session with one maildrop."""

    def __init__(self, world: FetchingWorld, pickup: Pickup, talk: Talk, session: Pop3ClientSession, remote: Endpoint):
        self._world = world
        self._pickup = pickup
        self._talk = talk
        self._session = session
        self._remote = remote
        self._keys = f"pop3/{pickup.user}@{pickup.host}:{pickup.port}/"
        self._known: set[str] = set()
        """Keys of messages that are ours already, and still over there."""
        self.fetched = 0
        """Messages that are ours now."""
        self.left = 0
        """Messages that were refused, by the server or by us, and stay there."""

    async def fetch(self) -> str:
        """Fetch what there is. Returns what went wrong, in words; empty when nothing did. Raises StoreUnavailable,
        TlsFailed."""
        listed = await self._talk.next_event()
        if not isinstance(listed, MaildropListed):
            return _why(listed)
        await self._forget_keys(listed)
        for message in listed.messages:
            if not await self._is_known(message):
                trouble = await self._fetch_one(message)
                if trouble is not None:
                    return trouble
        return await self._say_goodbye()

    async def _say_goodbye(self) -> str:
        self._session.quit()
        event = await self._talk.next_event()
        while not isinstance(event, SessionEnded | Wait):
            event = await self._talk.next_event()
        return _why(event)

    async def _forget_keys(self, listed: MaildropListed) -> None:
        """What is not over there any more cannot come a second time. Keeps those that can."""
        there = {self._key(message) for message in listed.messages}
        after = ""
        while keys := await self._world.queue.keys(self._keys, after, COMMIT_BATCH):
            after = keys[-1]
            gone = tuple(key for key in keys if key not in there)
            self._known.update(there.intersection(keys))
            if gone:
                await self._world.queue.forget_keys(gone)

    def _key(self, message: Waiting) -> str:
        return f"{self._keys}{message.uid}"

    async def _is_known(self, message: Waiting) -> bool:
        """Whether it was fetched before, and only not deleted: it is deleted now."""
        if self._key(message) not in self._known:
            return False
        await self._delete(message)
        return True

    # ---- one message -----------------------------------------------------------------------------

    async def _fetch_one(self, message: Waiting) -> str | None:
        """None, and the session is ready for the next; or why it is over."""
        if message.size_bytes > self._world.limits.message_bytes:
            self.left += 1
            return None
        world = self._world
        now = world.clock.now()
        queue_id = world.queue.new_id(now)
        intake = ContentIntake(
            world.queue,
            queue_id,
            hostname=world.hostname,
            hops_max=world.limits.hops,
            is_submission=False,
            at=now,
            trace=lambda: fetched_field(
                self._pickup.host,
                self._remote,
                self._talk.tls,
                hostname=world.hostname,
                queue_id=queue_id,
                at=now,
                recipient=self._recipient,
            ),
        )
        try:
            beginning = await self._receive(message, intake)
            if isinstance(beginning, str):
                return beginning or None
            await self._accept(message, intake, beginning)
        except ContentRefused:
            self.left += 1
            return None
        finally:
            intake.discard()
        return await self._delete(message)

    @property
    def _recipient(self) -> Mailbox:
        assert self._pickup.deliver_to is not None, "mail that is fetched by POP3 goes to an address here"
        return self._pickup.deliver_to

    async def _receive(self, message: Waiting, intake: ContentIntake) -> bytes | str:
        """The octets that the header is in; or why there are none: empty where the session goes on."""
        self._session.retrieve(message.number)
        beginning = b""
        received = 0
        while True:
            event = await self._talk.next_event()
            if isinstance(event, MessageOctets):
                received += len(event.data)
                if received > self._world.limits.message_bytes:
                    self.left += 1
                    return "a message is larger than the server said"
                if len(beginning) < HEADER_BYTES:
                    beginning += event.data[: HEADER_BYTES - len(beginning)]
                if not intake.receive(event.data):
                    await intake.drained()
            elif isinstance(event, MessageEnded):
                intake.end()
                return beginning
            elif isinstance(event, MessageRefused):
                self.left += 1
                return ""
            elif not isinstance(event, Wait) or event is Wait.CLOSED:
                return _why(event)

    async def _accept(self, message: Waiting, intake: ContentIntake, beginning: bytes) -> None:
        """Hand it to the queue. Raises ContentRefused, StoreUnavailable."""
        content = await intake.sealed() if intake.streaming else intake.whole()
        recipients = (Recipient(self._recipient),)
        sender = _return_path(beginning)
        body = BodyType.EIGHT_BIT_MIME if intake.eight_bit else BodyType.SEVEN_BIT
        keys = [intake.queue_id, self._recipient.key(), intake.message_id]
        if sender is not None:
            keys.append(sender.key())
        peer = PeerFacts(remote=self._remote, local=Endpoint("", 0), helo=self._pickup.host, tls=self._talk.tls)
        fact = Received(
            at=intake.at,
            listener=ListenerRole.PICKUP.value,
            peer=peer,
            reverse_path=path_text(sender),
            recipients=(str(self._recipient),),
            message_id=intake.message_id,
            size_bytes=len(content) if isinstance(content, bytes) else content.size_bytes,
            verdicts=(Verdict("pickup", "pass", f"fetched by POP3, unique-id {message.uid}"),),
        )
        new = NewMessage(
            intake.queue_id,
            Envelope(sender, recipients, body),
            content,
            self._world.routing(recipients),
            intake.at,
            Entry(intake.queue_id, tuple(key for key in keys if key), (fact,)),
            key=self._key(message),
        )
        try:
            await self._world.queue.accept(new)
        except AcceptedBefore:
            return
        self.fetched += 1
        self._world.accepted(new)

    async def _delete(self, message: Waiting) -> str | None:
        self._session.delete(message.number)
        event = await self._talk.next_event()
        return _why(event) if isinstance(event, SessionEnded) else None


def _why(event: object) -> str:
    return event.reason if isinstance(event, SessionEnded) else "the session ended without a word"


def _return_path(beginning: bytes) -> ReversePath:
    """Whom the server that delivered it knew as the sender; the null path where it does not say (RFC 5321 section
    4.4)."""
    header, _ = headers.split_header(beginning)
    found = headers.find_fields(header, _RETURN_PATH)
    if not found:
        return None
    value = headers.unfold(header, found[0]).strip()
    try:
        return parse_mailbox(value.removeprefix(b"<").removesuffix(b">"), smtputf8=True)
    except PathRefused:
        return None
