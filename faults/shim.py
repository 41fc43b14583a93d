"""Orders to the shim that stands between a server's process and the system's calls, and what it has seen.

shim.c is compiled when it is first needed; without a C compiler `Shim` raises CannotBeBuilt. The structures here are
those of shim.c.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from types import TracebackType

_PATH_OCTETS = 240
_ENTRIES = 4096
_SOURCE = Path(__file__).with_name("shim.c")


class CannotBeBuilt(Exception):
    """There is no C compiler here, or it does not like the source; its words."""


class Kind(IntFlag):
    """Kinds of calls. OPEN is one that makes a file; SEND goes to a socket of the internet families."""

    OPEN = 1
    WRITE = 2
    SYNC = 4
    RENAME = 8
    LINK = 16
    UNLINK = 32
    TRUNCATE = 64
    SEND = 128


FILES = Kind.OPEN | Kind.WRITE | Kind.SYNC | Kind.RENAME | Kind.LINK | Kind.UNLINK | Kind.TRUNCATE
ALL = FILES | Kind.SEND


class Action(IntEnum):
    """What happens at the call with the number `at`, before it is carried out."""

    COUNT = 0
    KILL = 1
    """SIGKILL to the supervisor and to the process itself."""
    FAIL_ONCE = 2
    FAIL_ON = 3
    """It and all after it fail."""


class _Entry(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("at_ns", ctypes.c_int64),
        ("done", ctypes.c_int32),
        ("failed", ctypes.c_int32),
        ("path", ctypes.c_char * _PATH_OCTETS),
        ("other", ctypes.c_char * _PATH_OCTETS),
    ]


class _Control(ctypes.Structure):
    _fields_ = [
        ("target", ctypes.c_int32),
        ("action", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("kinds", ctypes.c_int32),
        ("at", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("hits", ctypes.c_int64),
        ("realtime_ns", ctypes.c_int64),
        ("monotonic_ns", ctypes.c_int64),
        ("entries", ctypes.c_int64),
        ("folder", ctypes.c_char * _PATH_OCTETS),
        ("log", _Entry * _ENTRIES),
    ]


@dataclass(frozen=True)
class Call:
    """One call. `other` is the second name of a rename or link, and the first octets of what a SEND says;
    `is_done` is whether it returned before the process died."""

    kind: Kind
    path: str
    other: str
    offset: int
    length: int
    at_s: float
    """Of CLOCK_MONOTONIC."""
    is_done: bool
    failed: int
    """An errno, or 0."""

    def __str__(self) -> str:
        name = errno.errorcode.get(self.failed, "")
        return f"{(self.kind.name or '?').lower()} {Path(self.path).name} {self.other[:40]!r} {name}".rstrip()


def build(folder: Path) -> Path:
    """Compile the shim; the library. Raises CannotBeBuilt."""
    library = folder / "shim.so"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-shared", "-fPIC"]
    try:
        done = subprocess.run([*command, "-o", str(library), str(_SOURCE)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CannotBeBuilt(
            "the fault lab needs a C compiler, `cc`; on Debian: apt-get install gcc libc6-dev"
        ) from None
    if done.returncode:
        raise CannotBeBuilt(done.stderr)
    return library


class Shim:
    """The orders for one server whose data are in `data`. `environment` is for its processes."""

    def __init__(self, library: Path, orders: Path, data: Path) -> None:
        orders.write_bytes(bytes(ctypes.sizeof(_Control)))
        with orders.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._control = _Control.from_buffer(self._memory)
        self._control.folder = f"{data}/".encode()
        self.environment = {"LD_PRELOAD": str(library), "POSTROAD_FAULTS": str(orders)}

    def arm(self, pid: int, action: Action, *, at: int = 0, kinds: Kind = ALL, error: int = 0) -> None:
        """From now on calls of these kinds by this process count, from 1."""
        control = self._control
        control.action = int(Action.COUNT)  # clocks that were moved for this process stay so
        for name in ("count", "hits", "entries"):
            setattr(control, name, 0)
        ctypes.memset(ctypes.addressof(control.log), 0, ctypes.sizeof(control.log))
        control.at, control.kinds, control.error = at, int(kinds), error
        control.action = int(action)
        control.target = pid

    def disarm(self) -> None:
        """The calls go through again; the clocks of the process jump back to the right time."""
        self._control.target = 0

    def allow(self) -> None:
        """The calls go through again; moved clocks stay moved."""
        self._control.action = int(Action.COUNT)

    def move_clock(self, seconds: float) -> None:
        """The armed process is told another time of day, as when a machine's clock is set. 0 sets it right."""
        self._control.realtime_ns = round(seconds * 1e9)

    def let_time_pass(self, seconds: float) -> None:
        """So much time is over for the armed process all at once, by every clock."""
        self._control.realtime_ns += round(seconds * 1e9)
        self._control.monotonic_ns += round(seconds * 1e9)

    def reset_clocks(self) -> None:
        self._control.realtime_ns = self._control.monotonic_ns = 0

    @property
    def count(self) -> int:
        return int(self._control.count)

    @property
    def hits(self) -> int:
        """How often something was made to happen."""
        return int(self._control.hits)

    def calls(self) -> list[Call]:
        """What has been called since `arm`, in order."""
        return [_call(entry) for entry in self._entries()]

    def _entries(self) -> Iterable[_Entry]:
        found = min(int(self._control.entries), _ENTRIES)
        entries: list[_Entry] = list(self._control.log[:found])
        return entries

    def __enter__(self) -> Shim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disarm()


def _call(entry: _Entry) -> Call:
    return Call(
        kind=Kind(entry.kind),
        path=entry.path.decode(errors="replace"),
        other=entry.other.decode(errors="replace"),
        offset=entry.offset,
        length=entry.length,
        at_s=entry.at_ns / 1e9,
        is_done=bool(entry.done),
        failed=entry.failed,
    )
