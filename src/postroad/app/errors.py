"""What stops the wiring, in words for people and with the exit status of the command (sysexits.h)."""

from __future__ import annotations

BAD_CONFIGURATION = 2
UNAVAILABLE = 69
TRY_AGAIN = 75


class ConfigurationError(Exception):
    """The configuration cannot be used. `problems` has one line for each: "file:line: key: what; what is expected"."""

    exit_status = BAD_CONFIGURATION

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CannotServe(Exception):
    """The server cannot start or go on: a port is taken, the data folder is in use, ...

    The text says what happened and what to do. `exit_status` is 69 (it will not work as things are) or
    75 (another time it may)."""

    def __init__(self, text: str, exit_status: int = UNAVAILABLE) -> None:
        super().__init__(text)
        self.exit_status = exit_status
