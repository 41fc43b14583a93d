"""Who may send to whom: the questions of a mail transaction that need no look-up in the DNS.

Pure functions over facts; `services/smtp_decisions.py` gathers the facts. Every answer is a `Ruling`:
the reply that refuses, or None, and the verdict for the story. Rulings that carry nothing of their own
are made once, at import.

RFC 5321 sections 3.6 (relaying), 4.1.2 (paths), 4.5.1 (postmaster), 7.8; RFC 6409 section 6 (submission).
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from postroad.rules.networks import NameSet
from postroad.rules.ruling import Ruling, let_through, refused
from postroad.vocabulary.address import Mailbox, ReversePath, path_text
from postroad.vocabulary.limits import NETWORK_SHARE
from postroad.vocabulary.reply import printable
from postroad.vocabulary.story import Verdict


class Place(Enum):
    """Where a recipient's domain is, from our point of view."""

    HERE = "here"
    RELAY = "relay"
    """Accepted here and delivered onward."""
    OUR_ADDRESS = "our address"
    """No domain, or an address literal that is our own end of the connection."""
    ELSEWHERE = "elsewhere"


class AccountState(Enum):
    THERE = "there"
    DISABLED = "disabled"
    UNKNOWN = "unknown"


# In Python 3.11 a member costs 70 ns each time it is looked up in its enumeration; these are needed for each recipient.
_AT_HOME, _OUR_ADDRESS, _RELAYED = Place.HERE, Place.OUR_ADDRESS, Place.RELAY


# ---- recipients ----------------------------------------------------------------------------------

_HERE = let_through("recipient", "a mailbox here")
_BACKUP = let_through("relay", "we relay for this domain")
_MAY_RELAY = let_through("relay", "this client may relay")
# RFC 3463 section 3.2: 5.1.1 bad destination mailbox; section 3.3: 5.2.1 mailbox disabled.
_UNKNOWN = refused("recipient", "no such mailbox", 550, "5.1.1", "No such mailbox here")
_DISABLED = refused("recipient", "the account is disabled", 550, "5.2.1", "This mailbox is disabled")
# RFC 3463 section 3.3: 5.2.4 for what an address leads to.
LEADS_NOWHERE = refused("recipient", "the alias leads nowhere", 550, "5.2.4", "This address leads nowhere")
# RFC 5321 section 4.5.3.1.10.
LEADS_TO_TOO_MANY = refused(
    "recipient", "the aliases lead to too many", 452, "4.5.3", "Too many recipients behind the aliases given"
)
_RELAY_DENIED = refused(
    "relay", "not a domain of ours, and the client may not relay", 550, "5.7.1", "Relay access denied"
)
_ROUTED = refused("relay", "the local part holds another route", 550, "5.7.1", "Routing inside the address is refused")


def judge_recipient(local_part: str, place: Place, account: AccountState, may_relay: bool) -> Ruling:
    """Whether mail for a forward-path is taken.

    `account` is looked at for HERE and OUR_ADDRESS only; `may_relay` is true for our own users and for
    trusted networks. An unknown user of ours is refused at once also to those who may relay.
    """
    if place is _AT_HOME:
        if account is AccountState.THERE:
            return _HERE
        if account is AccountState.DISABLED:
            return _DISABLED
        return _ROUTED if _holds_a_route(local_part) else _UNKNOWN
    if place is _OUR_ADDRESS:
        # RFC 5321 section 4.5.1: postmaster is reachable without a domain, and so at our address.
        return _HERE if account is AccountState.THERE and local_part.lower() == "postmaster" else _UNKNOWN
    if may_relay:
        return _MAY_RELAY
    if place is _RELAYED:
        return _ROUTED if _holds_a_route(local_part) else _BACKUP
    return _RELAY_DENIED


# RFC 821 sections 3.4 and 4.3: to terminals there is no relaying, and 450 is for who is not there.
USER_NOT_LOCAL = refused("terminal", "not a user here", 551, "5.1.6", "User not local; mail alone goes on from here")
NOT_ACTIVE = refused("terminal", "nobody watches", 450, "4.2.1", "The user is not active, or takes no messages")
TERMINAL_GONE = refused("terminal", "nobody was shown it", 451, "4.2.1", "The user is no longer active")
TOO_LARGE_FOR_TERMINALS = refused("terminal", "too large", 552, "5.2.3", "This is too much for a terminal; send mail")


def _holds_a_route(local_part: str) -> bool:
    """`user%other`, `other!user`, `user@other` in quotes: the next host may take it as an order to
    relay (RFC 5321 appendix F.2 and section 7.8 are why it stops here)."""
    return "%" in local_part or "!" in local_part or "@" in local_part


# ---- senders -------------------------------------------------------------------------------------

_NULL_PATH = let_through("sender", "a notification")
_OWN = let_through("sender", "the account's own address")
_OPEN = let_through("sender", "from another server")
_LOGIN_FIRST = refused("sender", "no login", 530, "5.7.0", "Log in first (AUTH)")
_NO_SUBMITTER = Verdict("submitter", "pass", "the submitter is not known")
_BLOCKED_SENDER = refused("block_senders", "the sender is blocked", 550, "5.7.1", "Mail from this sender is refused")


def judge_submission_sender(reverse_path: ReversePath, account: str, allowed: Collection[str]) -> Ruling:
    """Whether an authenticated account may use a reverse-path: its address, or one granted to it.

    `allowed` are keys (`Mailbox.key()`); `account` is the identity, empty when there is none. The null
    reverse-path is allowed to everyone who has logged in: a mail program that sends a read receipt must use it
    (RFC 8098 section 3), and the story names the account in any case.
    """
    if not account:
        return _LOGIN_FIRST  # RFC 4954 section 6: 530 5.7.0
    if reverse_path is None:
        return _NULL_PATH
    if reverse_path.key() in allowed:
        return _OWN
    return _not_yours(reverse_path, account)


def judge_unix_sender(
    reverse_path: ReversePath, user: str, trusted: bool, hostname: str, allowed: Collection[str], local: bool
) -> Ruling:
    """The same for a Unix user on the local socket, who needs no password.

    `trusted` are root and the server's own user: any address of a local domain (`local`) or of this host.
    Everybody else is user@hostname, or whatever the account with that `unix_user` may use (`allowed`).
    """
    if reverse_path is None:
        return _NULL_PATH
    if reverse_path.domain == hostname and (trusted or reverse_path.local_part == user):
        return _OWN
    if reverse_path.key() in allowed or (trusted and local):
        return _OWN
    return _not_yours(reverse_path, user)


def _not_yours(reverse_path: Mailbox, who: str) -> Ruling:
    return refused(
        "sender",
        f"{reverse_path} is not an address of {who}",
        553,
        "5.7.1",
        f"{printable(path_text(reverse_path))} is not one of your addresses",
    )


def judge_submitter(submitter: str | None, account: str, allowed: Collection[str]) -> Verdict | None:
    """What is thought of MAIL's AUTH=, which says who handed the message in first (RFC 4954 section 5).

    `submitter` is None where nothing was said and "" for AUTH=<>. It is believed of those who logged in, and of
    their own addresses; of everybody else it counts as AUTH=<>. Never a reason to refuse.
    """
    if submitter is None:
        return None
    if not submitter:
        return _NO_SUBMITTER
    local_part, _, domain = submitter.rpartition("@")
    if account and Mailbox(local_part.strip('"'), domain.lower()).key() in allowed:
        return Verdict("submitter", "pass", f"submitted by {printable(submitter)}")
    return Verdict("submitter", "pass", f"not believed to be submitted by {printable(submitter)}")


def judge_blocked_sender(reverse_path: ReversePath, addresses: frozenset[str], domains: NameSet) -> Ruling | None:
    """The administrator's `block_senders`; None when there is nothing to say."""
    if reverse_path is not None and (reverse_path.key() in addresses or reverse_path.domain in domains):
        return _BLOCKED_SENDER
    return None


def open_sender(reverse_path: ReversePath) -> Ruling:
    """The ruling on a reverse-path that no rule objected to."""
    return _NULL_PATH if reverse_path is None else _OPEN


# ---- clients -------------------------------------------------------------------------------------

BLOCKED_CLIENT = refused("block_clients", "the client is blocked", 554, "5.7.1", "Your host is refused here")
TOO_MANY_SESSIONS = refused("sessions", "all sessions are taken", 421, "4.3.2", "Too many connections, try again later")
TOO_MANY_OF_CLIENT = refused(
    "sessions_per_client", "too many sessions of one client", 421, "4.7.0", "Too many connections from your address"
)
TOO_MANY_OF_NETWORK = refused(
    "sessions_per_network", "too many sessions of one network", 421, "4.7.0", "Too many connections from your network"
)
TOO_OFTEN = refused(
    "connections_per_minute",
    "too many connections of one client within a minute",
    421,
    "4.7.0",
    "Too many connections from your address within a minute, try again in a minute",
)
TOO_OFTEN_OF_NETWORK = refused(
    "connections_per_minute",
    "too many connections of one network within a minute",
    421,
    "4.7.0",
    "Too many connections from your network within a minute, try again in a minute",
)
SHUT_OUT = refused(
    "recipient_guesses",
    "too many refused recipients of one client, over all its connections",
    421,
    "4.7.0",
    "Too many refused recipients from your address, try again in some minutes",
)
HELD_TOO_LONG = refused(
    "hold", "it would be held longer than it has time", 501, "5.5.4", "HOLDFOR and HOLDUNTIL must end before BY"
)
DISK_RESERVE = refused("disk", "little room is left on the disk", 452, "4.3.1", "Insufficient storage, try again later")


def judge_connection(
    *,
    sessions: int,
    sessions_max: int,
    of_client: int,
    of_client_max: int,
    exempt: bool,
    of_network: int = 0,
) -> Ruling | None:
    """Whether one more connection is served; the numbers count those that are there already. `of_network` are
    sessions that have not logged in; their limit is NETWORK_SHARE times that of a client."""
    if sessions >= sessions_max:
        return TOO_MANY_SESSIONS
    if exempt:
        return None
    if of_client >= of_client_max:
        return TOO_MANY_OF_CLIENT
    if of_network >= of_client_max * NETWORK_SHARE:
        return TOO_MANY_OF_NETWORK
    return None


def judge_rate(*, of_client: int, of_network: int, most: int) -> Ruling | None:
    """Whether a client may connect once more; the numbers count its connections, and those of its network, within
    the minute and without this one. `most` 0 is no limit."""
    if most and of_client >= most:
        return TOO_OFTEN
    if most and of_network >= most * NETWORK_SHARE:
        return TOO_OFTEN_OF_NETWORK
    return None
