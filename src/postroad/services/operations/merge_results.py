"""What became of merged letters, from the ledger; and the addresses of those that will never arrive are suppressed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from postroad.contracts.clock import Clock
from postroad.contracts.ledger import Ledger
from postroad.contracts.suppressions import Awaited, Suppression, SuppressionStore
from postroad.rules.explaining import explain
from postroad.rules.suppression import expires_at, is_hard
from postroad.services.operations.arguments import address, moment
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary import story
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import MERGE_LETTERS_ASKED, MERGE_STEPS, SUPPRESSION_DAYS
from postroad.vocabulary.outcome import Fate, Outcome

_DONE = (Fate.DELIVERED, Fate.RELAYED, Fate.EXPANDED, Fate.HELD)
_ENDED_BY_HAND = {"bounce": "returned by an administrator", "delete": "removed by an administrator"}


class MergeOperations:
    def __init__(self, *, ledger: Ledger, suppressions: SuppressionStore, clock: Clock) -> None:
        self._ledger = ledger
        self._suppressions = suppressions
        self._clock = clock

    def verbs(self) -> Verbs:
        return {"merge.results": self._results, "merge.taken": self._taken, "merge.expect": self._expect}

    async def _results(self, arguments: PlainObject) -> list[PlainObject]:
        """One object for each of `letters`, {"address", "queue_id"}, handed in since `since`."""
        letters = _letters(arguments)
        since = moment(arguments, "since") or self._clock.now()
        ids = tuple(queue_id for _, queue_id in letters)
        stories = await self._ledger.find_each(ids, MERGE_STEPS, since)
        results, hard = [], list[Suppression]()
        for recipient, queue_id in letters:
            result = result_of([fact for entry in stories[queue_id] for fact in entry.facts])
            if result["hard"]:
                hard.append(suppression_for(address(recipient), queue_id, result, self._clock.now()))
            results.append({"address": recipient, "queue_id": queue_id, **result})
        if hard:
            try:
                await self._suppressions.add(tuple(hard))
            except ValueError as refused:
                raise OperationFailed(str(refused)) from None
        return results

    async def _expect(self, arguments: PlainObject) -> list[PlainObject]:
        """That `letters`, {"address", "queue_id"}, handed in since `since`, are merged: housekeeping will look at what
        became of them, whoever looks or not."""
        since = moment(arguments, "since") or self._clock.now()
        letters = [
            Awaited(queue_id=queue_id, address=address(recipient), since=since)
            for recipient, queue_id in _letters(arguments)
        ]
        await self._suppressions.expect(tuple(letters))
        return []

    async def _taken(self, arguments: PlainObject) -> list[PlainObject]:
        """Which of `message_ids` were accepted since `since`: {"message_id", "queue_id"} each."""
        named = arguments.get("message_ids", [])
        if not isinstance(named, list) or len(named) > MERGE_LETTERS_ASKED:
            raise OperationFailed(f"message_ids: expected a list of at most {MERGE_LETTERS_ASKED}", 2)
        since = moment(arguments, "since") or self._clock.now()
        found = await self._ledger.find_each(tuple(map(str, named)), MERGE_STEPS, since)
        return [
            {"message_id": name, "queue_id": entry.queue_id}
            for name, entries in found.items()
            for entry in entries[:1]
            if entry.queue_id
        ]


def suppression_for(recipient: Mailbox, queue_id: str, result: PlainObject, now: datetime) -> Suppression:
    """For a letter that failed hard."""
    return Suppression(
        address=recipient,
        since=now,
        expires_at=expires_at(now, SUPPRESSION_DAYS),
        reason=result["reply"] or result["reason"],
        bounce=queue_id,
    )


def result_of(facts: Sequence[story.Fact]) -> PlainObject:
    """The state of a letter to one recipient, from its own story. An alias here that leads to several people is
    delivered when all of them have it, and refused when one of them never will."""
    attempts = [fact for fact in facts if isinstance(fact, story.Attempted)]
    last: dict[str, tuple[Outcome, story.Attempted]] = {}
    for attempt in sorted(attempts, key=lambda attempt: attempt.at):
        for outcome in attempt.outcomes:
            last[outcome.recipient.forward_path.key()] = (outcome, attempt)
    by_hand = next((fact for fact in facts if isinstance(fact, story.Acted) and fact.action in _ENDED_BY_HAND), None)
    chosen = _worst(last.values())
    if chosen is None or (by_hand is not None and chosen[0].fate is Fate.DEFERRED):
        reason = _ENDED_BY_HAND[by_hand.action] if by_hand else "no attempt has been made yet"
        state = "refused" if by_hand else "waiting"
        return _result(state, reason, at=by_hand.at.isoformat() if by_hand else None)
    outcome, attempt = chosen
    state = "delivered" if outcome.fate in _DONE else "deferred" if outcome.fate is Fate.DEFERRED else "refused"
    following = attempt.next_attempt_at if state == "deferred" else None
    return _result(
        state,
        "" if state == "delivered" else in_words(outcome),
        status=str(outcome.status),
        reply=outcome.reply,
        attempts=max(each.attempt for each in attempts),
        at=attempt.at.isoformat(),
        next_attempt_at=None if following is None else following.isoformat(),
        hard=outcome.fate is Fate.FAILED and is_hard(outcome.status, outcome.reply),
    )


def in_words(outcome: Outcome) -> str:
    """Why, for people: what the far end's code means, or our own words where nobody answered."""
    explained = explain(outcome.reply) if outcome.reply else ()
    if explained:
        # The enhanced status, where there is one, tells more than the code before it.
        return next((each.meaning for each in explained if "." in each.code), explained[0].meaning)
    if outcome.text:
        return outcome.text
    return explain(str(outcome.status))[0].meaning


def refused_at_once(reply: str) -> PlainObject:
    """The result of a letter that our own server did not take."""
    explained = explain(reply)
    words = next((each.meaning for each in explained if "." in each.code), explained[0].meaning if explained else reply)
    return _result("refused", words, reply=reply)


def _worst(those: Iterable[tuple[Outcome, story.Attempted]]) -> tuple[Outcome, story.Attempted] | None:
    order = {Fate.FAILED: 2, Fate.DEFERRED: 1}
    return max(those, key=lambda each: order.get(each[0].fate, 0), default=None)


def _result(state: str, reason: str, **more: object) -> PlainObject:
    nothing = {"status": "", "reply": "", "attempts": 0, "at": None, "next_attempt_at": None, "hard": False}
    return {"state": state, "reason": reason, **nothing, **more}


class _Letter(msgspec.Struct):
    address: str
    queue_id: str


def _letters(arguments: PlainObject) -> list[tuple[str, str]]:
    try:
        letters = msgspec.convert(arguments.get("letters", []), list[_Letter])
    except msgspec.ValidationError as error:
        raise OperationFailed(f"letters: {error}", 2) from None
    if len(letters) > MERGE_LETTERS_ASKED:
        raise OperationFailed(f"letters: at most {MERGE_LETTERS_ASKED} at once", 2)
    return [(letter.address, letter.queue_id) for letter in letters]
