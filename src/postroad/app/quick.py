"""The short way of a command to the running server: no configuration is checked, no store is known, no loop runs.

Most of the time of a small command went into loading what it does not use. What only needs the control socket
finds it here, with the standard library alone; whatever is unusual is left to the long way (app/console.py), which
also has the words for it.
"""

from __future__ import annotations

import json
import socket
import tomllib
from pathlib import Path

from postroad.app.errors import TRY_AGAIN
from postroad.app.location import DEFAULT_DATA
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.limits import CONTROL_ANSWER_BYTES, CONTROL_ANSWER_S, CONTROL_LINE_BYTES, STOP_MARGIN_S

VERBS = ("queue.", "status")
"""Beginnings of verbs that are the running server's alone."""


def ask_the_server(path: Path, verb: str, arguments: PlainObject) -> list[PlainObject] | None:
    """Its answer; None where there is no server, or this is not for it alone: then the long way knows what to do.
    `path` is the configuration. Raises OperationFailed."""
    if not verb.startswith(VERBS):
        return None
    where = _control_socket(path)
    if where is None:
        return None
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(CONTROL_ANSWER_S + STOP_MARGIN_S)
        try:
            control.connect(str(where))
        except OSError:
            return None
        try:
            control.sendall(json.dumps({"verb": verb, "arguments": arguments}).encode() + b"\n")
            return _answer(control)
        except TimeoutError:
            raise OperationFailed("The server is too slow to answer. Try again.", TRY_AGAIN) from None
        except (OSError, ValueError) as error:
            raise OperationFailed(f"The server did not answer: {error}. Try again.", TRY_AGAIN) from None


def _control_socket(path: Path) -> Path | None:
    try:
        with path.open("rb") as file:
            data = tomllib.load(file).get("data", str(DEFAULT_DATA))
    except (OSError, ValueError):
        return None
    return path.parent / data / "run" / "control.sock" if isinstance(data, str) and data else None


def _answer(control: socket.socket) -> list[PlainObject]:
    result: list[PlainObject] = []
    size = 0
    with control.makefile("rb") as lines:
        while octets := lines.readline(CONTROL_LINE_BYTES + 1):
            size += len(octets)
            if not octets.endswith(b"\n") or size > CONTROL_ANSWER_BYTES:
                raise ValueError("the answer is too large, or was cut off")
            content = json.loads(octets)
            if "error" in content:
                raise OperationFailed(str(content["error"]), int(content.get("exit_status", 1)))
            result += content["result"] if "result" in content else content["part"]
            if "result" in content:
                return result
    raise ValueError("it closed the connection")
