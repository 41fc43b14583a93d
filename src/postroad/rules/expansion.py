"""From the recipients that were given to those who get the message: aliases, catch-alls and forwarding are followed
(RFC 5321 section 3.9.1).

Pure over one question, where an address leads. Nobody is lost: who leads to nobody, round in a circle, or to more than
is borne stays as he was given, and fails where he is to be delivered. Nobody gets two copies: of those who are named
more than once the first counts, and who was given by the client before who was led to. The envelope sender is not
touched: a bounce goes to who wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import Notify, Recipient
from postroad.vocabulary.limits import ALIAS_RECIPIENTS, ALIAS_STEPS

_XTEXT = re.compile(r"[^!-*,-<>-~]")


class Lead(msgspec.Struct, frozen=True):
    """Where an address leads: `address` is the alias or account behind it, which gets it too if it `keeps_copy`."""

    address: Mailbox
    targets: tuple[Mailbox, ...]
    keeps_copy: bool = False


LeadOf = Callable[[Mailbox], Lead | None]
"""None for addresses that lead nowhere else: mailboxes and lists here, all addresses elsewhere, and unknown ones."""


class Followed(msgspec.Struct, frozen=True):
    """One recipient that led on, and whom to, for the story."""

    address: Mailbox
    to: tuple[Mailbox, ...]


class Expansion(msgspec.Struct, frozen=True):
    recipients: tuple[Recipient, ...]
    followed: tuple[Followed, ...] = ()


def expand(recipients: tuple[Recipient, ...], lead_of: LeadOf) -> Expansion:
    """Everybody who gets a copy. What `expand` has made of recipients it leaves as it is."""
    for each in recipients:
        if not each.expanded and lead_of(each.forward_path) is not None:
            break
    else:
        return Expansion(recipients)
    everybody: list[Recipient] = []
    leading: list[Recipient] = []
    for recipient in recipients:
        stays = recipient.expanded or lead_of(recipient.forward_path) is None
        (everybody if stays else leading).append(recipient)
    there = {each.forward_path.key() for each in everybody}
    followed = []
    for recipient in leading:
        ends = where_it_leads(recipient.forward_path, lead_of)
        if ends:
            followed.append(Followed(recipient.forward_path, ends))
        for each in _copies(recipient, ends, lead_of):
            if each.forward_path.key() not in there:
                there.add(each.forward_path.key())
                everybody.append(each)
    if not followed:
        return Expansion(recipients)
    return Expansion(tuple(everybody), tuple(followed))


def where_it_leads(address: Mailbox, lead_of: LeadOf) -> tuple[Mailbox, ...]:
    """The addresses at the end of all ways, each once; the address itself among them where it keeps a copy. Nobody
    where all ways lead round in a circle, over more than ALIAS_STEPS steps, or to more than ALIAS_RECIPIENTS."""
    ends: dict[str, Mailbox] = {}
    followed: set[str] = set()
    seen = {address.key()}
    level = [address]
    for _ in range(ALIAS_STEPS + 1):
        below: list[Mailbox] = []
        for here in level:
            lead = lead_of(here)
            if lead is None:
                ends[here.key()] = here
                continue
            name = lead.address.key()
            if name in followed:
                continue
            followed.add(name)
            if lead.keeps_copy:
                ends[here.key()] = here
            for target in lead.targets:
                if target.key() not in seen:
                    seen.add(target.key())
                    below.append(target)
            if len(seen) > 2 * ALIAS_RECIPIENTS:
                return ()
        if len(ends) > ALIAS_RECIPIENTS:
            return ()
        if not below:
            return tuple(ends.values())
        level = below
    return ()


def _copies(recipient: Recipient, ends: tuple[Mailbox, ...], lead_of: LeadOf) -> list[Recipient]:
    """RFC 3461 section 5.2.7.2: an alias for one address hands on what was asked for. Section 5.2.7.3: of one for
    several the sender who wants to hear of success hears that it was expanded, and of no single success; a failure of
    any is told. An account that forwards and keeps a copy reports its own delivery."""
    if not ends:
        return [recipient]
    original = recipient.original or f"rfc822;{_xtext(str(recipient.forward_path))}"
    if len(ends) == 1:
        return [Recipient(ends[0], recipient.notify, original, lead_of(ends[0]) is not None)]
    success = Notify.SUCCESS in recipient.notify
    notify = tuple(word for word in recipient.notify if word is not Notify.SUCCESS)
    if success and not notify:
        notify = (Notify.NEVER,)
    copies = []
    reports_itself = False
    for end in ends:
        if end == recipient.forward_path:
            reports_itself = True
            copies.append(msgspec.structs.replace(recipient, expanded=True))
        else:
            copies.append(Recipient(end, notify, original, lead_of(end) is not None))
    if success and not reports_itself:
        copies.append(Recipient(recipient.forward_path, (Notify.SUCCESS,), recipient.original, expanded=True))
    return copies


def _xtext(text: str) -> str:
    """RFC 3461 section 4; what is not US-ASCII in the form of RFC 6533 section 3."""
    return _XTEXT.sub(
        lambda match: f"+{ord(match[0]):02X}" if match[0].isascii() else f"\\x{{{ord(match[0]):X}}}", text
    )
