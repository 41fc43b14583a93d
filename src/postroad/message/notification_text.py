"""The two parts of a notification that we write: the words for people and the fields for machines."""

from __future__ import annotations

import textwrap
from datetime import timedelta

from postroad.message.encoded_words import decoded
from postroad.message.header import first_value, split_header
from postroad.message.notification_request import Action, NotificationRequest, action_of
from postroad.message.plain_words import explain
from postroad.message.report_fields import clean, field, final_recipient, from_xtext, original_recipient
from postroad.message.trace import date_text
from postroad.vocabulary.outcome import Outcome

_WIDTH = 72
_ORDER = (Action.FAILED, Action.DELAYED, Action.DELIVERED, Action.EXPANDED, Action.RELAYED)
_TROUBLES = (Action.FAILED, Action.DELAYED)
_SUBJECT_MAX = 120
"""Characters of the original's Subject that are enough to know it by."""

_SUBJECTS = {
    Action.FAILED: "Your mail was not delivered",
    Action.DELAYED: "Your mail is delayed",
    Action.DELIVERED: "Your mail was delivered",
    Action.RELAYED: "Your mail was passed on",
    Action.EXPANDED: "Your mail was given to a list",
}

_INTRODUCTIONS = {
    Action.FAILED: "Your message could not be delivered to the following, and will not be tried again:",
    Action.DELAYED: (
        "Your message could not be delivered yet to the following. You need do nothing: it will be tried again{until}. "
        "If it fails in the end you will be told."
    ),
    Action.DELIVERED: "Your message was delivered to the following:",
    Action.RELAYED: (
        "Your message was passed on to the mail system of the following. That system does not send such confirmations: "
        "you will hear from it only if something goes wrong, and perhaps not even then."
    ),
    Action.EXPANDED: (
        "Your message was accepted for the following, which is a list, and passed on to its members. Whether it "
        "reaches each of them is not reported to you."
    ),
}


def subject(request: NotificationRequest) -> str:
    """The Subject: US-ASCII whatever the addresses are."""
    worst = next(action for action in _ORDER if action in request.actions)
    text = _SUBJECTS[worst]
    if len(request.outcomes) == 1:
        address = str(request.outcomes[0].recipient.forward_path)
        if address.isascii() and len(address) <= _WIDTH:
            return f"{text}: {clean(address, utf8=False)}"
        return text
    return f"{text} ({len(request.outcomes)} recipients)"


# ---- for people ------------------------------------------------------------------------------------


def text(request: NotificationRequest) -> str:
    """The first part, with CR LF line ends: which message, what became of it and for whom, why in the words of
    whoever said so, and what to do."""
    lines = [f"This is the mail system at {request.hostname}.", "", *_which(request), ""]
    for action in _ORDER:
        outcomes = [outcome for outcome in request.outcomes if action_of(outcome) is action]
        if not outcomes:
            continue
        lines += _wrap(_introduction(action, request))
        lines.append("")
        for outcome in outcomes:
            lines += _about(outcome, action)
            lines.append("")
    lines += _wrap(
        f"The message has the number {request.queue_id} here: quote it when you ask your postmaster about it. The "
        "details for machines, and the message or its header, are attached. This report was made by a program; "
        "nobody reads what is sent to its address."
    )
    return "\r\n".join(lines) + "\r\n"


def _which(request: NotificationRequest) -> list[str]:
    """By what its author knows the message again."""
    value = first_value(split_header(request.content)[0], b"subject") or b""
    subject = clean(" ".join(decoded(value).split()), utf8=True, most=_SUBJECT_MAX)
    lines = _wrap(f"Subject: {subject}", 4) if subject else []
    return ["It is about this message of yours:", "", *lines, f"    Arrived here: {date_text(request.arrived_at)}"]


def _introduction(action: Action, request: NotificationRequest) -> str:
    until = f" until {date_text(request.will_retry_until)}" if request.will_retry_until is not None else ""
    return _INTRODUCTIONS[action].format(until=until)


def _about(outcome: Outcome, action: Action) -> list[str]:
    lines = [f"  {clean(str(outcome.recipient.forward_path), utf8=True)}"]
    if action not in _TROUBLES:
        return lines
    explanation = explain(outcome.status)
    lines += _wrap(f"What happened: {explanation.what} ({outcome.status})", 4)
    if outcome.reply:
        lines += _wrap(f'{_who(outcome)} said: "{clean(outcome.reply, utf8=False)}"', 4)
    if outcome.text:
        lines += _wrap(f"We noted: {clean(outcome.text, utf8=False)}", 4)
    if action is Action.FAILED:
        lines += _wrap(f"What to do: {explanation.advice}", 4)
    return lines


def _who(outcome: Outcome) -> str:
    name = clean(outcome.remote_mta, utf8=False)
    address = clean(outcome.remote_address, utf8=False)
    if name and address:
        return f"{name} [{address}]"
    return name or (f"[{address}]" if address else "The other mail system")


def _wrap(paragraph: str, indent: int = 0) -> list[str]:
    room = " " * indent
    return textwrap.wrap(
        paragraph,
        _WIDTH,
        initial_indent=room,
        subsequent_indent=room,
        break_long_words=False,
        break_on_hyphens=False,
    )


# ---- for machines ----------------------------------------------------------------------------------


def status_text(request: NotificationRequest) -> str:
    """The second part: message/delivery-status, or message/global-delivery-status for a message with
    SMTPUTF8 (RFC 6533 section 4)."""
    return "\r\n".join([_per_message(request), *(_per_recipient(outcome, request) for outcome in request.outcomes)])


def _per_message(request: NotificationRequest) -> str:
    """RFC 3464 section 2.2."""
    fields = []
    if request.envelope.envid:
        envid = clean(from_xtext(request.envelope.envid), utf8=False)
        fields.append(field("Original-Envelope-Id", envid))
    fields.append(field("Reporting-MTA", f"dns; {request.hostname}"))
    if request.received_from:
        fields.append(field("Received-From-MTA", f"dns; {clean(request.received_from, utf8=False)}"))
    fields.append(field("Arrival-Date", date_text(request.arrived_at)))
    deliver_by = request.envelope.deliver_by
    if deliver_by is not None:
        # RFC 2852 section 5.
        deadline = request.arrived_at + timedelta(seconds=deliver_by.seconds)
        fields.append(field("Deliver-By-Date", date_text(deadline)))
    return "".join(fields)


def _per_recipient(outcome: Outcome, request: NotificationRequest) -> str:
    """RFC 3464 section 2.3."""
    utf8 = request.envelope.smtputf8
    action = action_of(outcome)
    recipient = outcome.recipient
    fields = []
    original = original_recipient(recipient.original, utf8=utf8)
    if original:
        fields.append(field("Original-Recipient", original))
    fields.append(field("Final-Recipient", final_recipient(recipient.forward_path, utf8=utf8)))
    fields.append(field("Action", action.value))
    fields.append(field("Status", str(outcome.status)))
    remote = clean(outcome.remote_mta, utf8=False) or clean(
        f"[{outcome.remote_address}]" if outcome.remote_address else "", utf8=False
    )
    if remote:
        fields.append(field("Remote-MTA", f"dns; {remote}"))
    if outcome.reply:
        fields.append(field("Diagnostic-Code", f"smtp; {clean(outcome.reply, utf8=False)}"))
    elif outcome.text and action in _TROUBLES:
        fields.append(field("Diagnostic-Code", f"x-postroad; {clean(outcome.text, utf8=False)}"))
    fields.append(field("Last-Attempt-Date", date_text(request.last_attempt_at or request.at)))
    fields.append(field("Final-Log-ID", clean(request.queue_id, utf8=False)))
    if action is Action.DELAYED and request.will_retry_until is not None:
        fields.append(field("Will-Retry-Until", date_text(request.will_retry_until)))
    return "".join(fields)
