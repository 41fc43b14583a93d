"""Who may set waiting mail going, and in which words that is answered: ETRN, ATRN, TURN.

Pure. RFC 1985 section 5, RFC 2645 section 7, RFC 821 section 3.8.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from postroad.vocabulary.reply import Reply, printable, reply


class Nodes(msgspec.Struct, frozen=True):
    """What an ETRN is about: `holds` among our own; `domain` when it names a single one, whichever that is."""

    holds: tuple[str, ...]
    domain: str = ""


class Pending(msgspec.Struct, frozen=True):
    """What waits for one node. `counted`: the number may be told, for it is we who have set these messages going.
    `refused`: too much is going on for that."""

    messages: int
    counted: bool = True
    refused: bool = False


def nodes_of(argument: str, holds: Collection[str]) -> Nodes:
    """RFC 1985 section 5.1: "domain"; "@domain" for it and all below; "#name" of a queue, and we name none."""
    if argument.startswith("#"):
        return Nodes(())
    if argument.startswith("@"):
        domain = argument[1:]
        below = f".{domain}"
        return Nodes(tuple(each for each in holds if each == domain or each.endswith(below)))
    return Nodes((argument,) if argument in holds else (), argument)


def answer_to_etrn(argument: str, pending: Sequence[Pending]) -> Reply:
    """The reply, in the order of RFC 1985 section 5.3: 459 when nothing here is this node's to ask for, 251 when
    nothing waits, 253 with the number of messages, 252 where that is not known."""
    node = printable(argument, 255)
    if not pending:
        return reply(459, f"Node {node} not allowed: we hold no mail for it", status="4.7.1")
    messages = sum(each.messages for each in pending)
    if messages and all(each.counted for each in pending):
        return reply(253, f"OK, {messages} pending messages for node {node} started", status="2.0.0")
    if messages:
        return reply(252, f"OK, pending messages for node {node} started", status="2.0.0")
    if any(each.refused for each in pending):
        return unable_to_queue(argument)
    return reply(251, f"OK, no messages waiting for node {node}", status="2.0.0")


def unable_to_queue(argument: str) -> Reply:
    """Too often, or too much at once."""
    return reply(458, f"Unable to queue messages for node {printable(argument, 255)}, try later", status="4.3.2")


NOT_FOR_YOU = reply(502, "TURN is for accounts that own a hold", status="5.7.1")
_REFUSED = reply(450, "ATRN request refused", status="4.7.1")
_NO_MAIL = reply(453, "You have no mail", status="4.2.0")
_NOT_NOW = reply(451, "Unable to process ATRN request now", status="4.3.2")
_NO_TURN_NOW = reply(450, "Your mail is being fetched already", status="4.3.2")


def refuse_turn(verb: str, owned: Collection[str], asked: Sequence[str]) -> Reply | None:
    """RFC 2645 section 5.2.1: an account that owns nothing has no mail; one domain that is not its own refuses the
    whole request. TURN names no domains, and RFC 821 section 4.3 has 502 for whoever it is refused to."""
    if verb == "TURN":
        return None if owned else NOT_FOR_YOU
    if any(domain not in owned for domain in asked):
        return _REFUSED
    return None if owned else _NO_MAIL


def answer_to_turn(verb: str, *, locked: bool, messages: int) -> Reply | None:
    """Why not, or None. `messages` wait in what could be locked; `locked`: another session has the rest. TURN is
    granted also when nothing waits: it has no words for that."""
    if messages or (verb == "TURN" and not locked):
        return None
    if locked:
        return _NO_TURN_NOW if verb == "TURN" else _NOT_NOW
    return _NO_MAIL
