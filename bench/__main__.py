"""python -m bench [WAY ...]: rates, ratios and costs beside other servers, in turns, medians of rounds.

accept, accept-reused, relay, relay-reused, accept-1mib: mail that is held, or handed on, over a connection each or over
connections that are used again; the last in MB/s of messages of 1 MiB.
mailbox, mailbox-many, mailbox-crowd, mailbox-large: by LMTP into mailboxes, by POP3 out of them; see bench/mailbox.py.
accept-policy, accept-tls: what the rules about clients, and TLS, cost. idle, loris, garbage: see bench/hostile.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from bench import backlog, hostile, keepers, mailbox, policy, tables
from bench.measure import WAYS, interleaved
from bench.peers import ENTRIES
from postroad.app.bench_machine import fdatasyncs_per_second

_POLICY: dict[str, Callable[[int, int], tables.Row]] = {
    "accept-policy": policy.accept_policy,
    "accept-tls": policy.accept_tls,
}
_OTHERS: dict[str, Callable[[], None]] = {
    "idle": hostile.idle,
    "loris": hostile.loris,
    "garbage": hostile.garbage,
    "backlog": backlog.backlog,
    "mailbox-many": mailbox.many,
    "mailbox-crowd": mailbox.crowd,
    "mailbox-large": mailbox.large,
}
_MAILBOX = "mailbox"
_ALL = (*WAYS, *_POLICY, _MAILBOX, *_OTHERS)


def main() -> int:
    options = _options()
    names = _taking_part(options.against)
    rows: list[tables.Row] = []
    _say_what_is_measured(options, names)
    for way in options.ways or _ALL:
        if way in _OTHERS:
            _OTHERS[way]()
        elif way in _POLICY:
            rows.append(_POLICY[way](options.rounds, options.messages))
            print(tables.text(rows[-1]), flush=True)
        elif way == _MAILBOX:
            for sessions in options.sessions:
                for found_row in mailbox.deliver_and_fetch(options.rounds, options.messages, sessions):
                    rows.append(found_row)
                    print(tables.text(found_row), flush=True)
        else:
            for sessions in options.sessions:
                messages = max(sessions, options.messages // WAYS[way].share)
                found = interleaved(WAYS[way], names, options.rounds, messages, sessions, print)
                rows.append(tables.row(WAYS[way], sessions, found))
                print(tables.text(rows[-1]), flush=True)
    if options.markdown and rows:
        print(tables.markdown(rows))
        print("\n".join(f"- {line}." for line in _configurations(options.ways or _ALL, names)))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ways", nargs="*", default=[], metavar="WAY", help=f"of {', '.join(_ALL)}; all without")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=4000, help="a round; of 1 MiB a twentieth")
    parser.add_argument("--sessions", type=_numbers, default=[20], metavar="N[,N]", help="clients at once, 20")
    parser.add_argument("--against", metavar="NAME[,NAME]", help=f"beside these; all of {', '.join(list(ENTRIES)[1:])}")
    parser.add_argument("--markdown", action="store_true", help="print tables for docs/performance.md at the end")
    options = parser.parse_args()
    if unknown := set(options.ways) - set(_ALL):
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(_ALL)}")
    if unknown := set((options.against or "").split(",")) - {*ENTRIES, ""}:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(ENTRIES)}")
    return options


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _taking_part(against: str | None) -> list[str]:
    """Ours and those that are asked for and are here; of the others it is said why they are not."""
    asked = [name for name in ENTRIES if against is None or name in ("postroad", *against.split(","))]
    for name in list(asked):
        if why := ENTRIES[name].missing():
            print(f"{name} is left out: {why}")
            asked.remove(name)
    return asked


def _say_what_is_measured(options: argparse.Namespace, names: list[str]) -> None:
    sessions = " and ".join(map(str, options.sessions))
    print(f"{options.messages} messages of 4096 octets, {sessions} sessions, {options.rounds} rounds in turns")
    print("client look-ups off, no TLS, durable before the 250; every accepted message is counted at the end")
    for line in _configurations(options.ways or _ALL, names):
        print(f"  {line}")
    print(
        f"this machine: {os.cpu_count()} cores, {fdatasyncs_per_second():,.0f} fdatasync/s of 4 KiB, other work: "
        f"load {os.getloadavg()[0]:.1f}\n",
        flush=True,
    )


def _configurations(ways: Sequence[str], names: list[str]) -> Iterator[str]:
    if any(way in WAYS for way in ways):
        yield from (f"{name}: {ENTRIES[name].configuration}" for name in names)
    if any(way.startswith(_MAILBOX) for way in ways):
        yield from (f"{name}, mailboxes: {entry.configuration}" for name, entry in keepers.ENTRIES.items())


if __name__ == "__main__":
    sys.exit(main())
