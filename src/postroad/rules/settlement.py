"""What follows from an attempt: who stays and until when, and what the sender is to be told.

Pure: from the outcomes, the group's past and the settings to a `Decision`, which the services write down
as one `Settlement` (RFC 5321 sections 4.5.4.1 and 6.1, RFC 3461 sections 4.1 and 5.2, RFC 3464, RFC 2852).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec import structs

from postroad.rules.deliver_by import deadline_of
from postroad.rules.retry import next_attempt_at
from postroad.vocabulary.address import ReversePath
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import DeliverBy, Notify, Recipient
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.reply import printable
from postroad.vocabulary.settings import RetrySettings

EXPIRED = EnhancedStatus(4, 4, 7)
"""Delivery time expired (RFC 3463 section 3.5); used where no attempt left a better reason."""

_NOTHING_SAID = EnhancedStatus(4, 0, 0)


class Past(msgspec.Struct, frozen=True):
    """What happened to the group before. `attempts` counts the one just made; `release_at` is when the first
    could be made, where that was not at once (RFC 4865)."""

    reverse_path: ReversePath
    queued_at: datetime
    attempts: int
    warned: bool
    deliver_by: DeliverBy | None = None
    release_at: datetime | None = None

    @property
    def began_at(self) -> datetime:
        """From when on patience is counted."""
        return self.queued_at if self.release_at is None else max(self.queued_at, self.release_at)

    @property
    def deadline(self) -> datetime | None:
        return None if self.deliver_by is None else deadline_of(self.deliver_by, self.queued_at)


class Decision(msgspec.Struct, frozen=True):
    """`outcomes` are the attempt's, with those that were given up turned into failures. The other four
    are the outcomes to notify the sender of, one notification for each that is not empty:

    `failures` (action "failed"), `delays` ("delayed"), `deliveries` ("delivered", and "expanded" for a list),
    `relays` ("relayed").

    `remaining` stay in the queue until `due_at`; `attempts` and `warned` are the group's new numbers;
    `last` is one line for the queue's listing.
    """

    outcomes: tuple[Outcome, ...]
    remaining: tuple[Recipient, ...] = ()
    due_at: datetime | None = None
    attempts: int = 0
    warned: bool = False
    last: str = ""
    failures: tuple[Outcome, ...] = ()
    delays: tuple[Outcome, ...] = ()
    deliveries: tuple[Outcome, ...] = ()
    relays: tuple[Outcome, ...] = ()


def decide(
    outcomes: tuple[Outcome, ...],
    past: Past,
    retry: RetrySettings,
    *,
    now: datetime,
    jitter: float,
    next_hop_reports: bool = False,
    next_hop_keeps_time: bool = False,
) -> Decision:
    """What follows from the outcomes of one attempt, one outcome for each recipient of the group.

    `next_hop_reports` tells that the next hop knows DSN and was given NOTIFY: it reports the success of
    what it took over, we do not (RFC 3461 section 5.2.2); `next_hop_keeps_time` that it was given BY=. Nobody is
    told anything about a message with the null reverse-path (RFC 5321 section 6.1).
    """
    deferred = tuple(o for o in outcomes if o.fate is Fate.DEFERRED)
    due_at = None
    if deferred:
        due_at = next_attempt_at(retry, attempts=past.attempts, queued_at=past.began_at, now=now, jitter=jitter)
        deadline = past.deadline
        if due_at is not None and deadline is not None and now < deadline:
            due_at = min(due_at, deadline)  # something is to be done or said at that moment
        if due_at is None:
            outcomes = tuple(_given_up(o, past, now) if o.fate is Fate.DEFERRED else o for o in outcomes)
            deferred = ()
    last = _last_line(outcomes)
    outcomes = tuple(_untold(o, past) if o.fate is Fate.FAILED else o for o in outcomes)
    if past.reverse_path is None:
        return Decision(outcomes, tuple(o.recipient for o in deferred), due_at, past.attempts, past.warned, last)

    warn = bool(deferred) and not past.warned and now >= _warn_at(past, retry)
    return Decision(
        outcomes,
        remaining=tuple(o.recipient for o in deferred),
        due_at=due_at,
        attempts=past.attempts,
        # Once per group, whether or not anybody in it wants to hear of delays.
        warned=past.warned or warn,
        last=last,
        failures=tuple(o for o in outcomes if o.fate is Fate.FAILED and _wants(o.recipient, Notify.FAILURE)),
        delays=_late(deferred, past) if warn else (),
        deliveries=tuple(
            o for o in outcomes if o.fate in (Fate.DELIVERED, Fate.EXPANDED) and _wants(o.recipient, Notify.SUCCESS)
        ),
        relays=tuple(
            o
            for o in outcomes
            if o.fate is Fate.RELAYED
            and (
                (not next_hop_reports and _wants(o.recipient, Notify.SUCCESS))
                or _traces(past.deliver_by, next_hop_keeps_time, o.recipient)
            )
        ),
    )


def _untold(outcome: Outcome, past: Past) -> Outcome:
    """A failure of which nobody hears ends here, and its story says so."""
    if past.reverse_path is None:
        why = "the message has the null reverse-path, as notifications have"
    elif not _wants(outcome.recipient, Notify.FAILURE):
        why = "its sender asked for that (NOTIFY)"
    else:
        return outcome
    return structs.replace(outcome, text=f"{outcome.text} Nobody is told of it: {why}.".lstrip())


def _warn_at(past: Past, retry: RetrySettings) -> datetime:
    """Who asked to be told at a time of their own is told then, and not before (RFC 2852 section 4.1.4, mode N)."""
    deadline = past.deadline
    if deadline is not None and past.deliver_by is not None and past.deliver_by.mode == "N":
        return deadline
    return past.began_at + retry.warn_after


def _late(deferred: tuple[Outcome, ...], past: Past) -> tuple[Outcome, ...]:
    told = tuple(o for o in deferred if _wants(o.recipient, Notify.DELAY))
    if past.deliver_by is None or past.deliver_by.mode != "N":
        return told
    return tuple(structs.replace(o, status=EXPIRED) for o in told)


def _traces(deliver_by: DeliverBy | None, next_hop_keeps_time: bool, recipient: Recipient) -> bool:
    """A relay that the sender hears of: each, if a trace was asked for, and the one after which nobody keeps the
    time any more (RFC 2852 section 4.1.4)."""
    if deliver_by is None or Notify.NEVER in recipient.notify:
        return False
    return deliver_by.trace or not next_hop_keeps_time


def age_text(age: timedelta) -> str:
    """ "5 days", "3 hours", "90 seconds": how long something took, for people."""
    seconds = int(age.total_seconds())
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} seconds"


def _wants(recipient: Recipient, word: Notify) -> bool:
    """RFC 3461 section 4.1: whoever said nothing hears of failures, and of delays as well if we
    choose to; NEVER stands alone; what is listed is what is wanted."""
    if not recipient.notify:
        return word is not Notify.SUCCESS
    return word in recipient.notify


def _given_up(outcome: Outcome, past: Past, now: datetime) -> Outcome:
    """The failure that a deferral becomes at the end.

    The last attempt's own status stays, being more to the point than "expired" (RFC 3463 section 3.5),
    with its 4 in front: an Action of failed with a persistent transient Status says just this
    (RFC 3464 section 2.3.4).
    """
    status = EXPIRED if outcome.status == _NOTHING_SAID else outcome.status
    waited = age_text(now - past.began_at)
    text = f"Given up after {past.attempts} attempts in {waited}."
    if outcome.text:
        text = f"{text} The last one: {outcome.text}"
    return Outcome(
        outcome.recipient, Fate.FAILED, status, text, outcome.reply, outcome.remote_mta, outcome.remote_address
    )


def _last_line(outcomes: tuple[Outcome, ...]) -> str:
    """The reply or error that an administrator wants to see first: of a deferral, else of a failure."""
    for fate in (Fate.DEFERRED, Fate.FAILED):
        for outcome in outcomes:
            if outcome.fate is fate:
                words = outcome.reply or outcome.text
                return printable(f"{outcome.remote_mta}: {words}" if outcome.remote_mta else words)
    return ""
