"""What follows from an attempt (rules/settlement)."""

from datetime import UTC, datetime, timedelta

import pytest

from postroad.rules.settlement import Decision, Past, age_text, decide
from postroad.vocabulary.address import Mailbox, ReversePath
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import DeliverBy, Notify, Recipient
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.vocabulary.settings import RetrySettings

T0 = datetime(2026, 5, 1, tzinfo=UTC)
ANN = Mailbox("ann", "a.example")
RETRY = RetrySettings()
STATUS = {
    Fate.DELIVERED: EnhancedStatus(2, 1, 5),
    Fate.EXPANDED: EnhancedStatus(2, 1, 5),
    Fate.RELAYED: EnhancedStatus(2, 0, 0),
    Fate.DEFERRED: EnhancedStatus(4, 4, 1),
    Fate.FAILED: EnhancedStatus(5, 1, 1),
}


def outcome(fate: Fate, name: str = "bob", *notify: Notify, reply: str = "") -> Outcome:
    return Outcome(Recipient(Mailbox(name, "b.example"), notify), fate, STATUS[fate], f"{name} {fate}", reply)


def decide_at(age: timedelta, *outcomes: Outcome, sender: ReversePath = ANN, **past: bool | int) -> Decision:
    attempts, warned = int(past.get("attempts", 1)), bool(past.get("warned", False))
    return decide(
        outcomes,
        Past(sender, T0, attempts, warned),
        RETRY,
        now=T0 + age,
        jitter=0.0,
        next_hop_reports=bool(past.get("next_hop_reports", False)),
    )


MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def test_when_all_is_taken_over_nothing_remains_and_nobody_is_told() -> None:
    decision = decide_at(MINUTE, outcome(Fate.RELAYED), outcome(Fate.RELAYED, "cat"))
    assert (decision.remaining, decision.due_at) == ((), None)
    assert (decision.failures, decision.delays, decision.deliveries, decision.relays) == ((), (), (), ())


def test_each_recipient_has_a_fate_of_its_own() -> None:
    taken, later, never = outcome(Fate.RELAYED), outcome(Fate.DEFERRED, "cat"), outcome(Fate.FAILED, "dan")
    decision = decide_at(MINUTE, taken, later, never)
    assert decision.remaining == (later.recipient,)
    assert decision.due_at == T0 + MINUTE + RETRY.waits[0]
    assert decision.failures == (never,)
    assert decision.attempts == 1


def test_a_failure_that_nobody_hears_of_says_so() -> None:
    (outcome_of_report,) = decide_at(MINUTE, outcome(Fate.FAILED), sender=None).outcomes
    assert outcome_of_report.text.endswith(
        "Nobody is told of it: the message has the null reverse-path, as notifications have."
    )
    (unwanted,) = decide_at(MINUTE, outcome(Fate.FAILED, "bob", Notify.NEVER)).outcomes
    assert unwanted.text.endswith("Nobody is told of it: its sender asked for that (NOTIFY).")
    (told,) = decide_at(MINUTE, outcome(Fate.FAILED)).outcomes
    assert "Nobody" not in told.text


def test_a_list_that_took_the_message_is_reported_when_asked_for() -> None:
    wanted, other = outcome(Fate.EXPANDED, "list", Notify.SUCCESS), outcome(Fate.EXPANDED)
    assert decide_at(MINUTE, wanted, other).deliveries == (wanted,)


def test_those_who_failed_together_share_a_notification() -> None:
    failed = (outcome(Fate.FAILED), outcome(Fate.FAILED, "cat"))
    assert decide_at(MINUTE, *failed).failures == failed


def test_nobody_is_told_about_a_notification() -> None:
    every = (outcome(Fate.FAILED), outcome(Fate.DEFERRED), outcome(Fate.DELIVERED, "dan", Notify.SUCCESS))
    decision = decide_at(DAY, *every, sender=None)
    assert (decision.failures, decision.delays, decision.deliveries, decision.relays) == ((), (), (), ())
    assert len(decision.remaining) == 1


@pytest.mark.parametrize(
    ("notify", "told"),
    [((), True), ((Notify.FAILURE,), True), ((Notify.NEVER,), False), ((Notify.SUCCESS,), False), ((Notify.DELAY,), 0)],
)
def test_failures_are_reported_as_notify_asks(notify: tuple[Notify, ...], told: bool) -> None:
    decision = decide_at(MINUTE, outcome(Fate.FAILED, "bob", *notify))
    assert bool(decision.failures) == told
    assert decision.remaining == ()


def test_success_is_reported_only_when_asked_for() -> None:
    asked = outcome(Fate.DELIVERED, "bob", Notify.SUCCESS, Notify.FAILURE)
    decision = decide_at(MINUTE, asked, outcome(Fate.DELIVERED, "cat"))
    assert decision.deliveries == (asked,)


def test_a_relayed_success_is_ours_to_report_only_where_the_next_hop_cannot() -> None:
    asked = outcome(Fate.RELAYED, "bob", Notify.SUCCESS)
    assert decide_at(MINUTE, asked).relays == (asked,)
    assert decide_at(MINUTE, asked, next_hop_reports=True).relays == ()


def test_a_delay_is_told_once_after_four_hours() -> None:
    later = outcome(Fate.DEFERRED)
    early = decide_at(timedelta(hours=3), later)
    assert (early.delays, early.warned) == ((), False)
    due = decide_at(timedelta(hours=4), later, attempts=6)
    assert (due.delays, due.warned) == ((later,), True)
    again = decide_at(timedelta(hours=9), later, attempts=7, warned=True)
    assert (again.delays, again.warned) == ((), True)


def test_a_delay_is_not_told_to_who_asked_for_something_else() -> None:
    decision = decide_at(timedelta(hours=5), outcome(Fate.DEFERRED, "bob", Notify.FAILURE))
    assert (decision.delays, decision.warned) == ((), True)


def test_after_five_days_a_deferral_becomes_a_failure_with_the_last_reason() -> None:
    decision = decide_at(5 * DAY, outcome(Fate.DEFERRED, reply="451 4.4.1 later"), attempts=35, warned=True)
    (failure,) = decision.failures
    assert failure.fate is Fate.FAILED
    assert failure.status == EnhancedStatus(4, 4, 1)
    assert failure.reply == "451 4.4.1 later"
    assert "35 attempts in 5 days" in failure.text
    assert "bob deferred" in failure.text
    assert (decision.remaining, decision.due_at) == ((), None)
    assert decision.outcomes == (failure,)


def test_giving_up_without_any_reason_is_expiry() -> None:
    silent = Outcome(Recipient(Mailbox("bob", "b.example")), Fate.DEFERRED, EnhancedStatus(4, 0, 0))
    (failure,) = decide_at(5 * DAY, silent, attempts=35).failures
    assert failure.status == EnhancedStatus(4, 4, 7)


def test_the_queue_shows_the_reason_of_what_waits() -> None:
    decision = decide_at(MINUTE, outcome(Fate.FAILED, "dan"), outcome(Fate.DEFERRED, reply="451 busy\x07"))
    assert decision.last == "451 busy?"


@pytest.mark.parametrize(
    ("age", "text"),
    [(5 * DAY, "5 days"), (timedelta(hours=30), "30 hours"), (3 * MINUTE, "3 minutes"), (MINUTE, "60 seconds")],
)
def test_ages_are_said_in_the_unit_people_would_use(age: timedelta, text: str) -> None:
    assert age_text(age) == text


# ---- a time to be there by (RFC 2852), a time to begin (RFC 4865) ---------------------------------

HOUR = timedelta(hours=1)


def timed(age: timedelta, *outcomes: Outcome, **past: object) -> Decision:
    facts: dict[str, object] = {"attempts": 1, "warned": False, **past}
    keeps_time, reports = bool(facts.pop("keeps_time", False)), bool(facts.pop("reports", False))
    return decide(
        outcomes,
        Past(ANN, T0, **facts),  # type: ignore[arg-type]
        RETRY,
        now=T0 + age,
        jitter=0.0,
        next_hop_reports=reports,
        next_hop_keeps_time=keeps_time,
    )


@pytest.mark.parametrize("mode", ["R", "N"])
def test_what_has_a_deadline_is_taken_up_when_it_comes(mode: str) -> None:
    by = DeliverBy(7200, mode)
    later = outcome(Fate.DEFERRED)
    assert timed(HOUR, later, deliver_by=by, attempts=4).due_at == T0 + 2 * HOUR
    assert timed(MINUTE, later, deliver_by=by).due_at == T0 + MINUTE + RETRY.waits[0]


def test_mode_n_tells_of_the_delay_when_the_time_has_passed_and_goes_on() -> None:
    later, told = outcome(Fate.DEFERRED), DeliverBy(7200, "N")
    before = timed(HOUR, later, deliver_by=told)
    assert (before.delays, before.warned) == ((), False)
    after = timed(2 * HOUR, later, deliver_by=told)
    assert [str(each.status) for each in after.delays] == ["4.4.7"]
    assert (after.warned, after.remaining) == (True, (later.recipient,))
    assert timed(5 * HOUR, later, deliver_by=told, warned=True).delays == ()


def test_mode_n_with_a_late_time_is_told_then_and_not_after_four_hours() -> None:
    later, told = outcome(Fate.DEFERRED), DeliverBy(8 * 3600, "N")
    assert timed(5 * HOUR, later, deliver_by=told).delays == ()
    assert timed(8 * HOUR, later, deliver_by=told).delays != ()


def test_a_trace_reports_each_relay_but_to_who_wants_nothing() -> None:
    plain, mute = outcome(Fate.RELAYED), outcome(Fate.RELAYED, "cat", Notify.NEVER)
    decision = timed(MINUTE, plain, mute, deliver_by=DeliverBy(600, "R", True), keeps_time=True, reports=True)
    assert decision.relays == (plain,)
    assert timed(MINUTE, plain, deliver_by=DeliverBy(600, "R"), keeps_time=True).relays == ()


def test_the_sender_hears_when_nobody_keeps_the_time_any_more() -> None:
    plain = outcome(Fate.RELAYED)
    assert timed(MINUTE, plain, deliver_by=DeliverBy(600, "N"), reports=True).relays == (plain,)
    assert timed(MINUTE, plain, deliver_by=DeliverBy(600, "N"), keeps_time=True, reports=True).relays == ()


def test_patience_begins_when_the_message_was_released() -> None:
    released = T0 + 6 * DAY
    waiting = timed(6 * DAY + HOUR, outcome(Fate.DEFERRED), release_at=released)
    assert (waiting.due_at, waiting.delays) == (T0 + 6 * DAY + HOUR + RETRY.waits[0], ())
    assert timed(11 * DAY, outcome(Fate.DEFERRED), release_at=released).due_at is None
