"""What clients were told, laid beside what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One line of the table. `lost` and `doubled` name the letters; both are to be empty."""

    fault: str
    tried: int
    promised: int
    """Of these, answered with 250."""
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    unavoidable: int
    """Second copies where the other server's 250 was lost on the way, or its reader died."""
    returned: int = 0
    queued: int = 0
    """Still in the queue at the end."""
    times: int = 0
    """How often the fault really happened."""

    @property
    def is_good(self) -> bool:
        return not self.lost and not self.doubled

    def cells(self) -> tuple[str, ...]:
        return (
            self.fault,
            *(str(number) for number in (self.times, self.tried, self.promised, len(self.lost), len(self.doubled))),
            str(self.unavoidable),
            str(self.returned),
        )


HEAD = ("Fault", "times", "tried", "answered 250", "lost", "duplicated", "unavoidable duplicates", "returned")


@dataclass
class Book:
    """The letters of one row of the table, by token."""

    told: dict[str, int | None] = field(default_factory=dict)
    """The code of the last reply; None where the connection ended before it."""
    excused: Counter[str] = field(default_factory=Counter)
    """How many second copies of a letter nobody could avoid."""
    times: int = 0

    def add(self, token: str, code: int | None) -> None:
        self.told[token] = code

    def excuse(self, token: str) -> None:
        self.excused[token] += 1

    def row(self, fault: str, found: Mapping[str, int], returned: Mapping[str, int], queued: frozenset[str]) -> Row:
        """`found` and `returned` count copies, and notifications, by token.

        A letter that was refused may not arrive: its client sends it again."""
        promised = [token for token, code in self.told.items() if code == 250]
        lost = [token for token in promised if not found.get(token) and not returned.get(token) and token not in queued]
        doubled: list[str] = []
        unavoidable = 0
        for token, code in self.told.items():
            copies = found.get(token, 0)
            more = copies - 1 if code is None or code == 250 else copies
            if more > 0:
                unavoidable += min(more, self.excused[token])
                if more > self.excused[token]:
                    doubled.append(token)
            if returned.get(token, 0) > 1:
                doubled.append(f"{token} (returned)")
        return Row(
            fault=fault,
            tried=len(self.told),
            promised=len(promised),
            lost=tuple(lost),
            doubled=tuple(doubled),
            unavoidable=unavoidable,
            returned=sum(1 for token in self.told if returned.get(token)),
            queued=len(queued & self.told.keys()),
            times=self.times,
        )
