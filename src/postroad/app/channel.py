"""JSON lines between processes: the framing of the control socket and of the supervisor's channel to a worker.

A request is one line, {"verb", "arguments"}. The answer is any number of {"part": [...]} lines and then one
{"result": [...]}, or {"error": text, "exit_status": n}. On the channel each line also carries the request's
"id". No line is longer than CONTROL_LINE_BYTES.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec

from postroad.services.operations.performer import OperationFailed, Performer, PlainObject
from postroad.vocabulary.limits import CONTROL_ANSWER_BYTES, CONTROL_LINE_BYTES, CONTROL_PART_BYTES

Line = dict[str, Any]


class ChannelBroken(Exception):
    """The other end is gone, or says what is no line of ours."""


async def read_line(reader: asyncio.StreamReader) -> Line | None:
    """The next line; None at the end. Raises ChannelBroken."""
    try:
        octets = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ChannelBroken("the line was cut off") from None
        return None
    except asyncio.LimitOverrunError:
        raise ChannelBroken(f"a line is longer than {CONTROL_LINE_BYTES} octets") from None
    except OSError as error:
        raise ChannelBroken(f"the connection broke: {error.strerror}") from None
    try:
        return msgspec.json.decode(octets, type=Line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ChannelBroken(f"no JSON object: {error}") from None


def line(content: Line) -> bytes:
    """Raises OperationFailed if it would be too long."""
    octets = msgspec.json.encode(content) + b"\n"
    if len(octets) > CONTROL_LINE_BYTES:
        raise OperationFailed(f"One item of this takes more than {CONTROL_LINE_BYTES} octets; ask for less.")
    return octets


def answer_lines(result: list[PlainObject], **marks: Any) -> Iterator[bytes]:
    """An answer cut into lines of about CONTROL_PART_BYTES. Raises OperationFailed for an object beyond all bounds."""
    part: list[msgspec.Raw] = []
    size = 0
    for item in result:
        raw = msgspec.json.encode(item)
        if part and size + len(raw) > CONTROL_PART_BYTES:
            yield line({**marks, "part": part})
            part, size = [], 0
        part.append(msgspec.Raw(raw))
        size += len(raw)
    yield line({**marks, "result": part})


async def answer(performer: Performer, request: Line, **marks: Any) -> list[bytes]:
    """Carry a request out; the lines of its answer, whatever happens but a defect of ours."""
    verb, arguments = request.get("verb"), request.get("arguments", {})
    try:
        if not isinstance(verb, str) or not isinstance(arguments, dict):
            raise OperationFailed('expected {"verb": text, "arguments": object}', 2)
        return list(answer_lines(await performer.perform(verb, arguments), **marks))
    except OperationFailed as failed:
        return [failure_line(str(failed), failed.exit_status, **marks)]


def failure_line(text: str, exit_status: int, **marks: Any) -> bytes:
    return line({**marks, "error": text[:CONTROL_PART_BYTES], "exit_status": exit_status})


class Answer:
    """Collects the lines of one answer."""

    def __init__(self) -> None:
        self.result: list[PlainObject] = []
        self._size = 0

    def take(self, content: Line) -> bool:
        """True when the answer is complete. Raises OperationFailed: the error it says, or too large an answer."""
        if "error" in content:
            raise OperationFailed(str(content["error"]), int(content.get("exit_status", 1)))
        items = content["result"] if "result" in content else content.get("part", [])
        self._size += CONTROL_PART_BYTES
        if self._size > CONTROL_ANSWER_BYTES:
            raise OperationFailed("The answer is too large; ask for less.")
        self.result.extend(items)
        return "result" in content
