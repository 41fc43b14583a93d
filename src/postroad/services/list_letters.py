"""The messages that a mailing list writes by itself, for the queue: to its owners, and to who has written to it.

They have the null reverse-path and ask for no notification (RFC 3834 section 3.3), and are written in the transaction
that settles the message that they follow from.
"""

from __future__ import annotations

from collections.abc import Sequence

from postroad.contracts.mailing_lists import MailingList
from postroad.contracts.queue_store import NewMessage
from postroad.message.list_notices import Words, list_letter
from postroad.message.trace import message_id_text
from postroad.services.list_parts import ListParts, list_facts
from postroad.services.parcel import Parcel
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import Envelope, Notify, Recipient
from postroad.vocabulary.story import Entry, ListAnswered


class ListLetters:
    def __init__(self, parts: ListParts) -> None:
        self._parts = parts

    def to_owners(self, parcel: Parcel, of: MailingList, words: Words) -> tuple[NewMessage, ...]:
        return self._letter(parcel, of, of.responsible, words)

    def answer(
        self,
        parcel: Parcel,
        of: MailingList,
        to: Mailbox,
        words: Words,
        *,
        header: bytes,
        from_: Mailbox | None = None,
    ) -> tuple[NewMessage, ...]:
        """`header` are the fields of what is answered. Nothing where no header field can hold the address."""
        return self._letter(parcel, of, (to,), words, header, from_)

    def _letter(
        self,
        parcel: Parcel,
        of: MailingList,
        to: Sequence[Mailbox],
        words: Words,
        header: bytes | None = None,
        from_: Mailbox | None = None,
    ) -> tuple[NewMessage, ...]:
        parts, about = self._parts, parcel.work.queue_id
        now = parts.clock.now()
        queue_id = parts.queue.new_id(now)
        message_id = message_id_text(queue_id, parts.hostname)
        try:
            composed = list_letter(list_facts(of), to, words, at=now, message_id=message_id, from_=from_, about=header)
        except ValueError:  # an address that may stand in an envelope, and in no header field
            return ()
        recipients = tuple(Recipient(each, (Notify.NEVER,)) for each in to)
        fact = ListAnswered(
            at=now,
            list_=str(of.address),
            about=about,
            to=", ".join(map(str, to)),
            size_bytes=len(composed.content),
        )
        keys = (queue_id, about, of.address.key(), message_id, *(each.key() for each in to))
        return (
            NewMessage(
                queue_id,
                Envelope(None, recipients, smtputf8=composed.smtputf8),
                composed.content,
                parts.routing(recipients),
                now,
                Entry(queue_id, tuple(dict.fromkeys(keys)), (fact,)),
            ),
        )
