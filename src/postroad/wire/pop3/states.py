"""The states of a POP3 session and what each command does to them (RFC 1939 sections 3 to 7, RFC 5034, RFC 6856).

All of it is in this table: a pair that is absent is a command out of order, answered -ERR without any effect.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    AUTHORIZATION = "AUTHORIZATION"
    NAMED = "AUTHORIZATION, after USER"
    HANDSHAKE = "TLS handshake after STLS"
    TRANSACTION = "TRANSACTION"
    CLOSED = "closed"


class Said(Enum):
    """The status indicator of a reply (RFC 1939 section 3)."""

    OK = "+OK"
    ERR = "-ERR"


# (state, command) -> what we said -> next state. What is absent leaves the state as it was.
# QUIT in TRANSACTION is the UPDATE state (RFC 1939 section 6): whatever comes of it, the session ends.
TRANSITIONS: dict[tuple[State, str], dict[Said, State]] = {
    (State.AUTHORIZATION, "USER"): {Said.OK: State.NAMED},
    (State.AUTHORIZATION, "STLS"): {Said.OK: State.HANDSHAKE},
    (State.AUTHORIZATION, "AUTH"): {Said.OK: State.TRANSACTION},
    (State.AUTHORIZATION, "APOP"): {Said.OK: State.TRANSACTION},
    (State.AUTHORIZATION, "UTF8"): {},
    (State.AUTHORIZATION, "LANG"): {},
    (State.AUTHORIZATION, "CAPA"): {},
    (State.AUTHORIZATION, "QUIT"): {Said.OK: State.CLOSED},
    (State.NAMED, "USER"): {Said.OK: State.NAMED, Said.ERR: State.AUTHORIZATION},
    (State.NAMED, "PASS"): {Said.OK: State.TRANSACTION, Said.ERR: State.AUTHORIZATION},
    (State.NAMED, "STLS"): {Said.OK: State.HANDSHAKE},
    (State.NAMED, "LANG"): {},
    (State.NAMED, "CAPA"): {},
    (State.NAMED, "QUIT"): {Said.OK: State.CLOSED},
    (State.TRANSACTION, "LANG"): {},
    (State.TRANSACTION, "CAPA"): {},
    (State.TRANSACTION, "STAT"): {},
    (State.TRANSACTION, "LIST"): {},
    (State.TRANSACTION, "UIDL"): {},
    (State.TRANSACTION, "RETR"): {},
    (State.TRANSACTION, "TOP"): {},
    (State.TRANSACTION, "DELE"): {},
    (State.TRANSACTION, "RSET"): {},
    (State.TRANSACTION, "NOOP"): {},
    (State.TRANSACTION, "QUIT"): {Said.OK: State.CLOSED, Said.ERR: State.CLOSED},
}

COMMANDS = frozenset(command for _, command in TRANSITIONS)


def in_order(state: State, command: str) -> bool:
    return (state, command) in TRANSITIONS


def next_state(state: State, command: str, said: Said) -> State:
    """The state after `said` has answered `command`, which must be in order."""
    return TRANSITIONS[state, command].get(said, state)


OUT_OF_ORDER = {
    (State.AUTHORIZATION, "PASS"): "USER comes first",
    (State.TRANSACTION, "USER"): "You are logged in already",
    (State.TRANSACTION, "PASS"): "You are logged in already",
    (State.TRANSACTION, "AUTH"): "You are logged in already",
    (State.TRANSACTION, "APOP"): "You are logged in already",
    (State.TRANSACTION, "UTF8"): "UTF8 comes before the login, not after",
    (State.NAMED, "AUTH"): "The password comes now: PASS",
    (State.NAMED, "APOP"): "The password comes now: PASS",
    (State.NAMED, "UTF8"): "UTF8 comes before USER, not after",
    (State.TRANSACTION, "STLS"): "STLS comes before USER and PASS, not after",
}
"""Why a command is out of order; for the others the reason is that nobody has logged in yet."""
