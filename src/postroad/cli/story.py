"""A step of a story in words: what happened, when, and what the other side said."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from postroad.cli.output import safe, size
from postroad.services.operations.performer import PlainObject

_NAMED = 20
"""Members of a list that are named in a line."""
_DOORS = {
    "smtp": "from another server",
    "submission": "from a mail client (STARTTLS)",
    "submissions": "from a mail client (TLS)",
    "local": "from a user of this machine",
    "odmr": "from a dial-up customer",
    "pickup": "fetched from where it waited for us",
}


def told(step: PlainObject) -> Iterator[str]:
    """The lines for one step as `story.find` gives it; the first begins with the time."""
    lines = _TELLERS[step["type"]](step)
    yield f"{_time(step['at'])}  {safe(next(lines))}"
    for line in lines:
        yield f"{'':>21}  {safe(line)}"


def _received(step: PlainObject) -> Iterator[str]:
    peer = step["peer"]
    yield f"accepted {_DOORS.get(step['listener'], step['listener'])}, {size(step['size_bytes'])} octets"
    yield f"from {step['reverse_path']} to {', '.join(step['recipients'])}"
    yield _client(peer)
    if step["message_id"]:
        yield f"Message-ID {step['message_id']}"
    yield from _verdicts(step)


def _client(peer: PlainObject) -> str:
    address, port = peer["remote"]
    words = [
        "the client is " + (f"Unix user {peer['uid']}" if peer.get("uid") is not None else f"{address} port {port}")
    ]
    if peer.get("helo"):
        words.append(f"calls itself {peer['helo']}")
    if peer.get("account"):
        words.append(f"is logged in as {peer['account']}")
    if peer.get("tls"):
        words.append(f"uses {peer['tls'][0]}")
    return ", ".join(words)


def _notified(step: PlainObject) -> Iterator[str]:
    yield f"this is our notification ({step['action']}) about {step['about']}"
    yield f"to {', '.join(step['recipients'])}"


def _attempted(step: PlainObject) -> Iterator[str]:
    where = "the mailbox here" if step["destination"] == "mailbox" else step["destination"]
    yield f"attempt {step['attempt']} for {where}, {step['took_ms']} ms"
    if step["remote"]:
        address, port = step["remote"]
        tls = f"with {step['tls'][0]}" if step["tls"] else "without TLS"
        yield f"spoke to {step['remote_name'] or address} ({address} port {port}) {tls}"
    for outcome in step["outcomes"]:
        local, domain = outcome["recipient"][0]
        yield f"{local}@{domain}: {outcome['fate'].upper()} {_why(outcome)}"
    if step["next_attempt_at"]:
        yield f"next attempt at {_time(step['next_attempt_at'])}"
    if step["notification"]:
        yield f"the sender is told by {step['notification']}"


def _why(outcome: PlainObject) -> str:
    words = ["(" + ".".join(map(str, outcome["status"])) + ")"]
    if outcome.get("text"):
        words.append(outcome["text"])
    if outcome.get("reply"):
        words.append(f'it said "{outcome["reply"]}"')
    return " ".join(words)


def _moved(step: PlainObject) -> Iterator[str]:
    yield f"the configuration changed: from {step['destination']} to {', '.join(step['to'])}"


def _expanded(step: PlainObject) -> Iterator[str]:
    if step.get("members"):
        yield f"expanded: the {step['members']} members of the list {step['address']} get it"
        yield f"by {', '.join(step['to'])}"
        return
    yield f"{step['address']} leads to {', '.join(step['to'])}"


def _distributed(step: PlainObject) -> Iterator[str]:
    recipients = step["recipients"]
    more = f" and {len(recipients) - _NAMED} more" if len(recipients) > _NAMED else ""
    yield f"this takes {step['about']} to members of the list {step['list_']}, {size(step['size_bytes'])} octets"
    yield f"from {step['reverse_path']} to {', '.join(recipients[:_NAMED])}{more}"


def _list_answered(step: PlainObject) -> Iterator[str]:
    yield f"this is what the list {step['list_']} answers to {step['about']}"
    yield f"to {step['to']}"


def _answered(step: PlainObject) -> Iterator[str]:
    yield f"this is the notice of absence of {step['account']}, about {step['about']}"
    yield f"to {step['to']}"


def _fetched(step: PlainObject) -> Iterator[str]:
    address, port = step["remote"]
    done = "removed from the mailbox of" if step["removed"] else "fetched by"
    yield f"{done} {step['account']} (from {address} port {port})"


def _read(step: PlainObject) -> Iterator[str]:
    what = f"read in the mailbox of {step['account']}" if step["uid"] else f"mailbox of {step['account']} listed"
    why = f": {step['reason']}" if step.get("reason") else ""
    yield f"{what} by the administrator {step['by']}{why}"


def _refused(step: PlainObject) -> Iterator[str]:
    subject = f" {step['subject']}" if step["subject"] else ""
    yield f"REFUSED at {step['stage']}{subject}: {step['reply']}"
    yield _client(step["peer"])
    yield from _verdicts(step)


def _shown(step: PlainObject) -> Iterator[str]:
    yield f"shown at the terminal of {', '.join(step['accounts'])}"
    yield f"{step['way']} from {step['reverse_path']}"


def _reported(step: PlainObject) -> Iterator[str]:
    yield f"out of {step['destination']}: the sender is told by {step['notification']}"
    yield f"about {', '.join(step['recipients'])}"


def _acted(step: PlainObject) -> Iterator[str]:
    of = f" of {', '.join(step['recipients'])}" if step.get("recipients") else ""
    yield f"{step['action']}{of} by the administrator {step['by']}"
    if step.get("notification"):
        yield f"the sender is told by {step['notification']}"


def _verdicts(step: PlainObject) -> Iterator[str]:
    for rule, result, reason, inputs in step["verdicts"]:
        looked_at = f" ({'; '.join(inputs)})" if inputs else ""
        yield f"rule {rule}: {result}{', ' + reason if reason else ''}{looked_at}"


def _time(text: str) -> str:
    return text[:19].replace("T", " ") + " Z"


_TELLERS: dict[str, Callable[[PlainObject], Iterator[str]]] = {
    "received": _received,
    "notified": _notified,
    "attempted": _attempted,
    "moved": _moved,
    "expanded": _expanded,
    "distributed": _distributed,
    "list_answered": _list_answered,
    "answered": _answered,
    "fetched": _fetched,
    "read": _read,
    "refused": _refused,
    "shown": _shown,
    "reported": _reported,
    "acted": _acted,
}
