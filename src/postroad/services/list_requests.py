"""Who writes to a mailing list about joining and leaving: `friends-request@`, `friends-subscribe@`,
`friends-unsubscribe@`, and `friends-confirm+token@` for the answer to our question.

Nobody joins or leaves by a message alone, for anybody can write in anybody's name: the list asks the address, and does
it when the answer comes back with the token (`rules/lists.py`). What a program sent is not answered (RFC 3834 section
2), and an address at most once in LIST_ANSWER_APART_S; a token that is right is always taken.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta

from postroad.contracts.mailing_lists import ListDuty, MailingList
from postroad.contracts.queue_store import NewMessage
from postroad.message import list_notices
from postroad.message.encoded_words import decoded
from postroad.message.header import first_value, split_header
from postroad.message.list_fields import read_header
from postroad.message.list_notices import Words
from postroad.rules.lists import Wish, confirmed, is_from_a_person, token, wish_of
from postroad.services.list_letters import ListLetters
from postroad.services.list_parts import ListParts, Served, beginning, list_facts
from postroad.services.parcel import Parcel
from postroad.vocabulary.address import SUBADDRESS_SEPARATOR, Mailbox
from postroad.vocabulary.limits import (
    LIST_ANSWER_APART_S,
    LIST_ANSWERS_KEPT,
    LIST_TOKEN_DAYS,
    NOTIFICATION_HEADER_BYTES,
)
from postroad.vocabulary.queue_id import QueueId

_KEY_LABEL = b"confirming membership of mailing lists"
_WISHES = {ListDuty.JOIN: Wish.JOIN, ListDuty.LEAVE: Wish.LEAVE}


class Requests:
    def __init__(self, parts: ListParts, letters: ListLetters) -> None:
        self._parts = parts
        self._letters = letters
        self._answered: dict[tuple[int, str], tuple[datetime, QueueId]] = {}
        """When an address was answered by a list last, and what it had written."""

    async def take(self, parcel: Parcel, of: MailingList, duty: ListDuty, came_to: Mailbox) -> Served:
        """Raises StoreUnavailable."""
        who, content = parcel.work.envelope.reverse_path, parcel.content
        assert content is not None, "fetched before it is looked into"
        header = split_header(await beginning(content, NOTIFICATION_HEADER_BYTES))[0]
        if who is None or not is_from_a_person(read_header(header)):
            return Served("Not answered: a program sent it.")
        if duty is ListDuty.CONFIRM:
            wish = confirmed(self._key(), of.id, _tag(came_to), who, self._parts.clock.now())
            if wish is not None:
                return await self._fulfil(parcel, of, who, wish, header)
        if self._was_answered(of, who, parcel.work.queue_id):
            return Served(f"Not answered: {who} has been answered just now.")
        if duty is ListDuty.CONFIRM:
            words = list_notices.unknown_token(list_facts(of), days=LIST_TOKEN_DAYS)
            served = self._answer(parcel, of, who, words, header)
        else:
            subject = decoded(first_value(header, b"subject") or b"")
            served = self._asked(parcel, of, who, _WISHES.get(duty) or wish_of(subject), header)
        self._note_answered(of, who, parcel.work.queue_id)
        return served

    def _asked(self, parcel: Parcel, of: MailingList, who: Mailbox, wish: Wish, header: bytes) -> Served:
        facts = list_facts(of)
        if wish is Wish.HELP:
            return self._answer(parcel, of, who, list_notices.help_words(facts, closed=of.closed), header)
        member = self._parts.directory.lists.member(of.id, who)
        if wish is Wish.JOIN and member is not None and not member.suspended:
            return self._answer(parcel, of, who, list_notices.member_already(facts, who), header)
        if wish is Wish.LEAVE and member is None:
            return self._answer(parcel, of, who, list_notices.no_member(facts, who), header)
        if wish is Wish.JOIN and of.closed:
            told = self._letters.to_owners(parcel, of, list_notices.wish_for_owners(facts, who))
            return self._answer(parcel, of, who, list_notices.passed_to_owners(facts, who), header, also=told)
        asking = token(self._key(), of.id, wish, who, self._parts.clock.now())
        words = list_notices.question(facts, who, leaving=wish is Wish.LEAVE, days=LIST_TOKEN_DAYS)
        confirm = of.at(ListDuty.CONFIRM)
        from_ = Mailbox(f"{confirm.local_part}{SUBADDRESS_SEPARATOR}{asking}", confirm.domain)
        return self._answer(parcel, of, who, words, header, from_=from_)

    async def _fulfil(self, parcel: Parcel, of: MailingList, who: Mailbox, wish: Wish, header: bytes) -> Served:
        """Durable before the message is settled; should it come to it a second time, nothing is changed by that."""
        lists, facts = self._parts.directory.lists, list_facts(of)
        if wish is Wish.LEAVE:
            await lists.leave(of.id, (who,))
            return self._answer(parcel, of, who, list_notices.left(facts, who), header)
        if of.closed:
            told = self._letters.to_owners(parcel, of, list_notices.wish_for_owners(facts, who))
            return self._answer(parcel, of, who, list_notices.passed_to_owners(facts, who), header, also=told)
        try:
            await lists.join(of.id, (who,), self._parts.clock.now())
        except ValueError:
            return self._answer(parcel, of, who, list_notices.list_is_full(facts), header)
        return self._answer(parcel, of, who, list_notices.joined(facts, who), header)

    def _answer(
        self,
        parcel: Parcel,
        of: MailingList,
        who: Mailbox,
        words: Words,
        header: bytes,
        *,
        from_: Mailbox | None = None,
        also: tuple[NewMessage, ...] = (),
    ) -> Served:
        children = self._letters.answer(parcel, of, who, words, header=header, from_=from_)
        return Served(f"Answered: {words.subject}", children=(*children, *also))

    def _was_answered(self, of: MailingList, who: Mailbox, queue_id: QueueId) -> bool:
        """Before this message; it may come a second time, if its settlement was lost."""
        last = self._answered.get((of.id, who.key()))
        if last is None or last[1] == queue_id:
            return False
        return timedelta() <= self._parts.clock.now() - last[0] < timedelta(seconds=LIST_ANSWER_APART_S)

    def _note_answered(self, of: MailingList, who: Mailbox, queue_id: QueueId) -> None:
        if len(self._answered) >= LIST_ANSWERS_KEPT:
            self._answered.clear()
        self._answered[of.id, who.key()] = (self._parts.clock.now(), queue_id)

    def _key(self) -> bytes:
        """This installation's own, and for this alone."""
        return hmac.new(self._parts.directory.fake_salt_key(), _KEY_LABEL, hashlib.sha256).digest()


def _tag(address: Mailbox) -> str:
    return address.local_part.partition(SUBADDRESS_SEPARATOR)[2]
