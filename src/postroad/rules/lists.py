"""What a mailing list does with what comes to its addresses: pure decisions (RFC 2369, RFC 2919, RFC 3834, RFC 5321
section 3.9.2).

Who may post, what is not passed on, when a member is suspended, whether the author's domain lets another server send
its mail, and the tokens by which somebody confirms that it was he who wanted to join or leave.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import msgspec

from postroad.message.list_fields import ListHeader
from postroad.rules.ruling import Ruling, let_through, refused
from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.limits import (
    LIST_BOUNCE_APART_S,
    LIST_BOUNCE_RUN_S,
    LIST_BOUNCES_MAX,
    LIST_POLICY_LOOKS,
    LIST_TOKEN_DAYS,
)

# ---- who may post --------------------------------------------------------------------------------

_MAY_POST = let_through("list", "may post to the list")
# RFC 3463 section 3.8: 5.7.2 mailing list expansion prohibited.
_NOT_A_MEMBER = refused("list", "not a member of the list", 550, "5.7.2", "Only members may write to this list")
_NOT_AN_OWNER = refused("list", "not an owner of the list", 550, "5.7.2", "Only its owners may write to this list")
_BOUNCES = "-bounces"
_NO_SENDER = refused("list", "the null reverse-path", 550, "5.7.2", "Lists take no notifications")


class Posting(Protocol):
    """What counts of a list; `contracts.mailing_lists.MailingList` has this form."""

    @property
    def posters(self) -> str:
        """ "members", "anyone" or "owners"."""
        ...

    @property
    def owners(self) -> tuple[Mailbox, ...]: ...


def judge_poster(to: Posting, reverse_path: ReversePath, is_member: Callable[[Mailbox], bool]) -> Ruling:
    """Whether mail from this reverse-path is passed on to the members. It is the one name of the author that is known
    before the content, so that a stranger is refused and nobody has to be written to. A notification is never passed on
    (RFC 3834 section 2)."""
    if reverse_path is None:
        return _NO_SENDER
    if to.posters == "anyone" or reverse_path.key() in {owner.key() for owner in to.owners}:
        return _MAY_POST
    if to.posters == "owners":
        return _NOT_AN_OWNER
    return _MAY_POST if is_member(reverse_path) else _NOT_A_MEMBER


def names_of_poster(reverse_path: Mailbox) -> tuple[Mailbox, ...]:
    """As whom a reverse-path may be a member: itself, without its tag, and the list whose bounces it takes, so that a
    list may be a member of a list, here and elsewhere."""
    bare = reverse_path.without_tag()
    names = [reverse_path, bare]
    if bare.local_part.lower().endswith(_BOUNCES):
        names.append(Mailbox(bare.local_part[: -len(_BOUNCES)], bare.domain))
    return tuple(dict.fromkeys(name for name in names if name.local_part))


class Refusal(msgspec.Struct, frozen=True):
    """Why a message that was accepted is not passed on."""

    status: EnhancedStatus
    text: str


_AUTOMATIC = Refusal(EnhancedStatus(5, 7, 2), "An automatic reply is not passed on to the members of a list.")
_LOOP = Refusal(EnhancedStatus(5, 4, 6), "The message has been passed on by this list before.")


def judge_content(list_address: Mailbox, header: ListHeader) -> Refusal | None:
    """What does not go to the members, whoever sent it: what has been through the list already, however many others it
    went through since, and what a program answered (RFC 3834 section 5)."""
    if list_address.key() in header.passed:
        return _LOOP
    return _AUTOMATIC if header.auto_submitted == "auto-replied" else None


# ---- bounces -------------------------------------------------------------------------------------


class Counted(Protocol):
    """What counts of a member; `contracts.mailing_lists.Member` has this form."""

    @property
    def bounces(self) -> int: ...
    @property
    def bounced_at(self) -> datetime | None: ...
    @property
    def suspended(self) -> bool: ...


class Run(msgspec.Struct, frozen=True):
    """The run of bounces of a member after one more."""

    bounces: int
    bounced_at: datetime
    suspended: bool


def after_bounce(member: Counted, now: datetime) -> Run | None:
    """None where it says nothing new: a day of ten messages is one bad day, not ten."""
    last = member.bounced_at
    if member.suspended or (last is not None and now - last < timedelta(seconds=LIST_BOUNCE_APART_S)):
        return None
    goes_on = last is not None and now - last <= timedelta(seconds=LIST_BOUNCE_RUN_S)
    bounces = member.bounces + 1 if goes_on else 1
    return Run(bounces, now, bounces >= LIST_BOUNCES_MAX)


# ---- the author's domain -------------------------------------------------------------------------


def policy_names(domain: str) -> tuple[str, ...]:
    """The names at which a domain's policy may stand, the nearest first (RFC 9989: a walk up the tree)."""
    labels = domain.split(".")
    names = [".".join(labels[at:]) for at in range(max(1, len(labels) - 1))]
    return tuple(f"_dmarc.{name}" for name in names[:LIST_POLICY_LOOKS])


def policy_forbids(record: bytes, *, is_own: bool) -> bool | None:
    """Whether the policy asks others to refuse mail with this author that another server sends; None for a record that
    is none. `is_own`: it stands at the author's domain itself, and not above it."""
    parts = [part.strip().partition(b"=") for part in record.split(b";")]
    tags = {name.strip().lower(): value.strip().lower() for name, _, value in parts}
    if tags.get(b"v") != b"dmarc1":
        return None
    policy = tags.get(b"p", b"none")
    if not is_own:
        policy = tags.get(b"sp", policy)
    return policy in (b"reject", b"quarantine")


# ---- joining and leaving by mail -----------------------------------------------------------------


class Wish(StrEnum):
    JOIN = "join"
    LEAVE = "leave"
    HELP = "help"


_WORDS = {
    "subscribe": Wish.JOIN,
    "join": Wish.JOIN,
    "unsubscribe": Wish.LEAVE,
    "leave": Wish.LEAVE,
    "signoff": Wish.LEAVE,
}


def wish_of(subject: str) -> Wish:
    """What somebody wants who wrote to list-request@: the first word of the subject, help for all else."""
    words = subject.lower().split()
    while words and words[0] == "re:":
        del words[0]
    return _WORDS.get(words[0], Wish.HELP) if words else Wish.HELP


def is_from_a_person(header: ListHeader) -> bool:
    """Whether it may be answered: nothing that a program sent, nor what came over a list (RFC 3834 section 2)."""
    return header.auto_submitted in ("", "no") and not header.passed and not header.is_bulk


def token(key: bytes, list_id: int, wish: Wish, address: Mailbox, at: datetime, days_ago: int = 0) -> str:
    """What only who reads the mail of `address` learns. `key` is this installation's own. Nothing has to be remembered
    of a question that nobody answers."""
    day = (at - timedelta(days=days_ago)).date().isoformat()
    text = f"list\0{list_id}\0{wish.value}\0{address.key()}\0{day}".encode()
    digest = hmac.new(key, text, hashlib.sha256).digest()
    return base64.b32encode(digest[:15]).decode("ascii").lower()


def confirmed(key: bytes, list_id: int, tag: str, address: Mailbox, at: datetime) -> Wish | None:
    """What the token in the tag of `list-confirm+token@` confirms for the sender; None for one that is not his, or too
    old."""
    said = tag.lower().encode("utf-8", "replace")
    for wish in (Wish.JOIN, Wish.LEAVE):
        for days_ago in range(LIST_TOKEN_DAYS + 1):
            if hmac.compare_digest(token(key, list_id, wish, address, at, days_ago).encode("ascii"), said):
                return wish
    return None
