"""What was measured, as text while it is measured and as the table of docs/performance.md."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from bench.measure import Measurement, Way


@dataclass(frozen=True)
class Row:
    """One way with a number of sessions. The first of the contestants is ours."""

    title: str
    unit: str
    results: dict[str, list[Measurement]] = field(default_factory=dict)


def row(way: Way, sessions: int, results: dict[str, list[Measurement]]) -> Row:
    return Row(f"{way.name}, {sessions} sessions", way.unit, results)


def text(shown: Row) -> str:
    lines = [f"{shown.title:28} {shown.unit:>8} {'range':>15} {'CPU ms':>7} {'tool ms':>8} {'tool %':>7} {'MiB':>6}"]
    for name, rounds in shown.results.items():
        middle, low, high = _spread([one.rate for one in rounds])
        cpu, tool = _median(rounds, "cpu_ms"), _median(rounds, "tool_ms")
        share = 100 * tool / (tool + cpu) if tool + cpu else 0
        lines.append(
            f"  {name:26} {middle:8,.0f} {f'{low:,.0f}-{high:,.0f}':>15} {cpu:7.2f} {tool:8.2f} {share:7.0f} "
            f"{_median(rounds, 'memory_mib'):6.0f}"
        )
    lines += [f"  postroad / {name}: {verdict(shown, name, long=True)}" for name in others(shown)]
    return "\n".join(lines) + "\n"


def others(shown: Row) -> list[str]:
    return [name for name in shown.results if name != "postroad"] if "postroad" in shown.results else []


def verdict(shown: Row, name: str, *, long: bool = False) -> str:
    """Ours to theirs, round by round: the median; "undecided" where the rounds are on both sides of 1."""
    pairs = zip(shown.results["postroad"], shown.results[name], strict=True)
    ratios = [ours.rate / theirs.rate for ours, theirs in pairs]
    middle, low, high = _spread(ratios)
    said = "undecided" if low <= 1 <= high else f"{middle:.2g}x" if middle < 1 else f"{middle:.1f}x"
    if long:
        return f"{said} (rounds {', '.join(f'{ratio:.2f}' for ratio in ratios)})"
    return f"{said} ({low:.2g}-{high:.2g})" if high < 1 else f"{said} ({low:.1f}-{high:.1f})"


def markdown(rows: list[Row]) -> str:
    """Rates and ratios; then what a message costs; then memory."""
    names = list(dict.fromkeys(name for shown in rows for name in shown.results))
    ratios = [name for name in names if any(name in others(shown) for shown in rows)]
    parts = [_table(["", *names, *(f"to {name}" for name in ratios)], [_rates(shown, names, ratios) for shown in rows])]
    for heading, cell in (
        ("processor time of a message, ms (and of the tool)", _cost),
        ("memory, MiB", lambda rounds: f"{_median(rounds, 'memory_mib'):,.0f}"),
    ):
        body = [[shown.title, *(_cell(shown, name, cell) for name in names)] for shown in rows]
        parts.append(_table([heading, *names], body))
    return "\n\n".join(parts) + "\n"


def _rates(shown: Row, names: list[str], ratios: list[str]) -> list[str]:
    space = " " if shown.unit == "MB/s" else ""

    def rate(rounds: list[Measurement]) -> str:
        middle, low, high = _spread([one.rate for one in rounds])
        return f"{middle:,.0f}{space}{shown.unit} ({low:,.0f}-{high:,.0f})"

    compared = others(shown)
    return [
        shown.title,
        *(_cell(shown, name, rate) for name in names),
        *(verdict(shown, name) if name in compared else "" for name in ratios),
    ]


def _cost(rounds: list[Measurement]) -> str:
    return f"{_median(rounds, 'cpu_ms'):.2f} ({_median(rounds, 'tool_ms'):.2f})"


def _cell(shown: Row, name: str, say: object) -> str:
    rounds = shown.results.get(name)
    assert callable(say)
    return str(say(rounds)) if rounds else ""


def _table(headings: list[str], body: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *body]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |") for cells in lines)


def _median(rounds: list[Measurement], of: str) -> float:
    return float(statistics.median(getattr(one, of) for one in rounds))


def _spread(numbers: list[float]) -> tuple[float, float, float]:
    """Median, least, most."""
    return statistics.median(numbers), min(numbers), max(numbers)
