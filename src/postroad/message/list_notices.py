"""What a mailing list writes by itself: to its owners, and to people who want to join it or leave it.

Written for people. All of it says that a program wrote it (RFC 3834 section 5), so that no program answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from postroad.message.automatic import Writer, thread_fields, with_fields
from postroad.message.compose import Composed, Draft, compose
from postroad.message.list_fields import ListFacts, list_id
from postroad.message.trace import date_text
from postroad.vocabulary.address import Mailbox


class Words(msgspec.Struct, frozen=True):
    subject: str
    text: str


def list_letter(
    facts: ListFacts,
    to: Sequence[Mailbox],
    words: Words,
    *,
    at: datetime,
    message_id: str,
    from_: Mailbox | None = None,
    about: bytes | None = None,
) -> Composed:
    """From the list's request address where `from_` is not said. `about` are the header fields of the message that it
    answers. Raises ValueError for an address that no header field can hold."""
    draft = Draft(
        from_=Writer(from_ or facts.request, f"The list {facts.address.local_part}").text(),
        to=tuple(map(str, to)),
        subject=words.subject,
        text=words.text,
        date=date_text(at),
        message_id=message_id,
    )
    fields = [b"Auto-Submitted: auto-generated" if about is None else b"Auto-Submitted: auto-replied"]
    if about is not None:
        fields += thread_fields(about)
    # RFC 2919 section 2: messages about the list belong to it as well.
    fields += [f"List-Id: <{list_id(facts.address)}>".encode(), b"Precedence: list"]
    return with_fields(fields, compose(draft))


# ---- to the owners -------------------------------------------------------------------------------


def suspended(facts: ListFacts, members: Sequence[tuple[Mailbox, int]]) -> Words:
    """`members` with the number of days on which their mail came back."""
    lines = "".join(f"    {address}   (came back on {days} days)\n" for address, days in members)
    who = str(members[0][0]) if len(members) == 1 else f"{len(members)} members"
    return Words(
        f"{who} suspended from {facts.address}",
        f"Mail from the list {facts.address} has come back from these members again and again:\n"
        f"\n{lines}\n"
        "They are suspended: they get nothing more from the list until they join it again, by themselves or\n"
        "by your word:\n"
        "\n"
        f"    postroad list join {facts.address} ADDRESS\n"
        "\n"
        "To remove them for good:\n"
        "\n"
        f"    postroad list leave {facts.address} ADDRESS\n",
    )


def wish_for_owners(facts: ListFacts, who: Mailbox) -> Words:
    return Words(
        f"{who} wants to join {facts.address}",
        f"{who} has written to the list {facts.address} and wants to join it.\n"
        "The list is closed: nobody joins by mail, only its administrators let people in.\n"
        "\n"
        "To let the address in:\n"
        "\n"
        f"    postroad list join {facts.address} {who}\n"
        "\n"
        f"Otherwise there is nothing to do, but a word to {who} is kind.\n",
    )


# ---- to people -----------------------------------------------------------------------------------


def help_words(facts: ListFacts, *, closed: bool) -> Words:
    about = f" ({facts.description})" if facts.description else ""
    joining = "ask its owners to be let in" if closed else "join"
    posting = f"To write to its members:  {facts.address}\n" if facts.posts else "Only its owners write to it.\n"
    return Words(
        f"How to use the list {facts.address}",
        f"This is the mailing list {facts.address}{about}.\n"
        "\n"
        f"{posting}"
        f"To {joining}, write to:  {facts.join}\n"
        f"To leave, write to:  {facts.leave}\n"
        f"Its owners are people:  {facts.owner}\n"
        "\n"
        "What you write to the addresses for joining and leaving does not matter; the list asks back, so that\n"
        "nobody can do it in your name.\n",
    )


def question(facts: ListFacts, who: Mailbox, *, leaving: bool, days: int) -> Words:
    wish = "leave" if leaving else "join"
    return Words(
        f"Please confirm: {wish} {facts.address}",
        f"Somebody, we hope you, has asked that {who} should {wish} the mailing list\n"
        f"{facts.address}.\n"
        "\n"
        f"If it is so: reply to this message, as it is, within {days} days. Nothing has to be written in it.\n"
        "\n"
        "If it was not you: do nothing, and nothing will happen.\n",
    )


def joined(facts: ListFacts, who: Mailbox) -> Words:
    posting = f"To write to all members:  {facts.address}\n" if facts.posts else ""
    return Words(
        f"Welcome to {facts.address}",
        f"{who} is a member of the mailing list {facts.address} now.\n\n{posting}To leave:  {facts.leave}\n",
    )


def left(facts: ListFacts, who: Mailbox) -> Words:
    return Words(
        f"You have left {facts.address}",
        f"{who} is not a member of the mailing list {facts.address} any more.\n\nTo join again:  {facts.join}\n",
    )


def member_already(facts: ListFacts, who: Mailbox) -> Words:
    return Words(
        f"You are a member of {facts.address}",
        f"{who} is a member of the mailing list {facts.address} already; there is nothing to do.\n"
        f"\nTo leave:  {facts.leave}\n",
    )


def no_member(facts: ListFacts, who: Mailbox) -> Words:
    return Words(
        f"You are not a member of {facts.address}",
        f"{who} wanted to leave the mailing list {facts.address}, and is not one of its members.\n"
        "\n"
        "Its mail perhaps comes to you by another of your addresses: the field Delivered-To or Received of such a\n"
        f"message shows by which. Write to {facts.leave} from that one,\n"
        f"or to the owners:  {facts.owner}\n",
    )


def passed_to_owners(facts: ListFacts, who: Mailbox) -> Words:
    return Words(
        f"Your wish to join {facts.address}",
        f"The mailing list {facts.address} is closed: its owners decide who joins.\n"
        f"They have been told that {who} wants to. If you hear nothing, write to them:\n"
        f"{facts.owner}\n",
    )


def unknown_token(facts: ListFacts, *, days: int) -> Words:
    return Words(
        f"Not confirmed: {facts.address}",
        f"Your reply to the mailing list {facts.address} confirms nothing. Either our question is older than\n"
        f"{days} days, or it was sent to another address than the one you have replied from.\n"
        "\n"
        f"To join, write again to:  {facts.join}\n"
        f"To leave, write again to:  {facts.leave}\n"
        "and reply from the same address.\n",
    )


def list_is_full(facts: ListFacts) -> Words:
    return Words(
        f"The list {facts.address} is full",
        f"The mailing list {facts.address} has as many members as it can have; you could not be added.\n"
        f"Its owners:  {facts.owner}\n",
    )
