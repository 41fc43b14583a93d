"""What is told of our users: VRFY and EXPN (RFC 5321 sections 3.5 and 7.3).

Pure functions over what was found; each ruling holds a reply.
"""

from __future__ import annotations

import msgspec

from postroad.rules.acceptance import AccountState
from postroad.rules.ruling import Ruling, answered, refused
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.limits import REPLY_LINES
from postroad.vocabulary.reply import Reply, printable
from postroad.vocabulary.story import Verdict


class Listed(msgspec.Struct, frozen=True):
    """One user of ours, or one alias or list with the addresses it names: those alone, not where they lead in turn.
    `too_many`: more than one reply should name."""

    address: Mailbox
    name: str
    state: AccountState
    members: tuple[Mailbox, ...] = ()
    too_many: bool = False


class Asked(msgspec.Struct, frozen=True):
    """What was found for the argument. `here`: its domain is ours; `may_relay`: we would take mail to elsewhere
    from this client; `understood`: it is an address, or a name."""

    found: tuple[Listed, ...] = ()
    here: bool = True
    may_relay: bool = False
    understood: bool = True


_VERIFY_SYNTAX = refused("vrfy", "not an address", 501, "5.5.4", "Syntax: VRFY address")
_EXPAND_SYNTAX = refused("expn", "not an address", 501, "5.5.4", "Syntax: EXPN address")
_CANNOT_VERIFY = answered("vrfy", "we do not tell", 252, "2.1.5", "Cannot VRFY user, but will take the message")
_CANNOT_EXPAND = answered("expn", "we do not tell", 252, "2.1.5", "Cannot EXPN list, but will take the message")
_TOO_MANY = answered("expn", "too many members", 252, "2.1.5", "More members than are told; will take the message")
# RFC 5321 section 3.5.1: 551 is for a user who is not local, and for whom mail is not taken.
_NOT_LOCAL = refused("directory", "not a domain of ours", 551, "5.1.6", "User not local; ask the host of that domain")
_UNKNOWN = refused("directory", "no such mailbox", 550, "5.1.1", "No such mailbox here")
_DISABLED = refused("directory", "the account is disabled", 550, "5.2.1", "This mailbox is disabled")


def judge_verify(asked: Asked, *, may_ask: bool) -> Ruling:
    """The answer to VRFY: full name and mailbox; 553 with the possibilities where a name fits several users."""
    if not may_ask:
        return _CANNOT_VERIFY
    return _refusal(asked, _VERIFY_SYNTAX, _CANNOT_VERIFY) or _told("vrfy", asked.found[0])


def judge_expand(asked: Asked, *, may_ask: bool) -> Ruling:
    """The answer to EXPN: the members. A user is a list of one, unless mail for it goes elsewhere."""
    if not may_ask:
        return _CANNOT_EXPAND
    refusal = _refusal(asked, _EXPAND_SYNTAX, _CANNOT_EXPAND)
    if refusal is not None:
        return refusal
    if asked.found[0].too_many:
        return _TOO_MANY
    members = asked.found[0].members
    return _members(members) if members else _told("expn", asked.found[0])


def _members(members: tuple[Mailbox, ...]) -> Ruling:
    """RFC 5321 section 3.5.2: a line for each; there are ALIAS_TARGETS or LIST_MEMBERS_TOLD at most."""
    lines = tuple(f"<{printable(str(member))}>" for member in members)
    return Ruling(Verdict("expn", "pass", "told"), Reply(250, lines, EnhancedStatus(2, 1, 5)))


def _refusal(asked: Asked, syntax: Ruling, elsewhere: Ruling) -> Ruling | None:
    if not asked.understood:
        return syntax
    if not asked.here:
        return elsewhere if asked.may_relay else _NOT_LOCAL
    if not asked.found:
        return _UNKNOWN
    if len(asked.found) > 1:
        return _ambiguous(asked.found)
    return _DISABLED if asked.found[0].state is AccountState.DISABLED else None


def _told(rule: str, user: Listed) -> Ruling:
    return answered(rule, "told", 250, "2.1.5", _text(user))


def _ambiguous(found: tuple[Listed, ...]) -> Ruling:
    """RFC 5321 section 3.5.1: 553, with the mailboxes to choose from."""
    lines = ("Ambiguous; possibilities are", *(_text(user) for user in found[: REPLY_LINES - 1]))
    verdict = Verdict("directory", "reject", "the name fits several users")
    return Ruling(verdict, Reply(553, lines, EnhancedStatus(5, 1, 4)))


def _text(user: Listed) -> str:
    name, address = printable(user.name), printable(str(user.address))
    return f"{name} <{address}>" if name else f"<{address}>"
