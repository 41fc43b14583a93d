"""Which command may come when, and what its reply leads to: the SMTP server's automaton as a table.

Rule 1: legality is a question of its own. A pair (phase, verb) that is absent from TRANSITIONS is out of
order: 503 (RFC 5321 section 4.1.4), and nothing changes.
Rule 2: the *reply* moves the state. A first digit that is absent from a row leaves the phase as it was, so a
refused MAIL or RCPT changes nothing, by construction. (BDAT has no 3yz; a 3 stands for "go on with the octets".)
Rule 3: whoever ends a transaction goes to READY, where only MAIL can begin the next.

Not in the table, because it can happen everywhere: a 421, a cut or a time-out leads to CLOSED.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    HELD = "held"
    """The greeting has not been sent yet."""
    CONNECTED = "connected"
    """Greeting sent, or TLS just begun: nothing is known of the client (RFC 3207 section 4.2)."""
    READY = "ready"
    """EHLO or HELO was accepted and no transaction is open."""
    AUTHENTICATING = "authenticating"
    """The next line is not a command but the response to a challenge (RFC 4954 section 4)."""
    SENDER = "sender"
    """MAIL was accepted."""
    RECIPIENTS = "recipients"
    """At least one RCPT was accepted."""
    CONTENT = "content"
    """354 was sent: octets are content up to CR LF . CR LF."""
    CHUNK = "chunk"
    """The next octets, counted, belong to a BDAT, to be kept or to be swallowed (RFC 3030 section 2)."""
    CHUNKS = "chunks"
    """A chunk was taken and the last one has not come."""
    OUT_OF_STEP = "out of step"
    """DATA was refused and the client sent its content nevertheless: its lines are not to be believed any
    more, so no transaction can begin on this connection."""
    STARTING_TLS = "starting TLS"
    """220 was sent: the next octets must be the handshake's."""
    TURNED = "turned"
    """The roles are changed: the connection is for a session of the other role (RFC 821 section 3.8)."""
    CLOSED = "closed"


class Verb(StrEnum):
    """In the order in which HELP lists them."""

    HELO = "HELO"
    EHLO = "EHLO"
    LHLO = "LHLO"
    MAIL = "MAIL"
    SEND = "SEND"
    SOML = "SOML"
    SAML = "SAML"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    END_OF_CHUNK = "end of chunk"
    END_OF_DATA = "end of data"
    RSET = "RSET"
    NOOP = "NOOP"
    VRFY = "VRFY"
    EXPN = "EXPN"
    HELP = "HELP"
    QUIT = "QUIT"
    STARTTLS = "STARTTLS"
    TLS_STARTED = "TLS handshake"
    AUTH = "AUTH"
    RESPONSE = "AUTH response"
    ETRN = "ETRN"
    ATRN = "ATRN"
    TURN = "TURN"
    XCLIENT = "XCLIENT"


NOT_COMMANDS = frozenset({Verb.END_OF_CHUNK, Verb.END_OF_DATA, Verb.TLS_STARTED, Verb.RESPONSE})
"""Words of the table that no client says."""

GREETING_VERBS = (Verb.EHLO, Verb.HELO, Verb.LHLO)
MAIL_VERBS = (Verb.MAIL, Verb.SEND, Verb.SOML, Verb.SAML)

_OUTSIDE = (Phase.CONNECTED, Phase.READY)
_INSIDE = (Phase.SENDER, Phase.RECIPIENTS, Phase.CHUNKS)

TRANSITIONS: dict[tuple[Phase, Verb], dict[int, Phase]] = {
    # RFC 5321 section 4.1.4: EHLO at any time, and it clears what was there.
    **{(phase, verb): {2: Phase.READY} for phase in (*_OUTSIDE, *_INSIDE) for verb in GREETING_VERBS},
    # RFC 821 section 3.4: SEND, SOML and SAML are MAIL with another way for the message.
    **{(Phase.READY, verb): {2: Phase.SENDER} for verb in MAIL_VERBS},
    (Phase.SENDER, Verb.RCPT): {2: Phase.RECIPIENTS},
    (Phase.RECIPIENTS, Verb.RCPT): {},
    # RFC 2920 section 3.1: with no valid recipient DATA must be refused; 554 says more than 503.
    (Phase.SENDER, Verb.DATA): {},
    (Phase.RECIPIENTS, Verb.DATA): {3: Phase.CONTENT},
    (Phase.CONTENT, Verb.END_OF_DATA): {2: Phase.READY, 4: Phase.READY, 5: Phase.READY},
    # RFC 3030 section 2. A refused chunk ends the transaction: nothing can follow it but RSET or a new one.
    (Phase.RECIPIENTS, Verb.BDAT): {3: Phase.CHUNK},
    (Phase.CHUNKS, Verb.BDAT): {3: Phase.CHUNK},
    (Phase.CHUNK, Verb.END_OF_CHUNK): {2: Phase.CHUNKS, 4: Phase.READY, 5: Phase.READY},
    (Phase.CHUNK, Verb.END_OF_DATA): {2: Phase.READY, 4: Phase.READY, 5: Phase.READY},
    # RFC 5321 section 4.1.1.5
    **{(phase, Verb.RSET): {} for phase in (*_OUTSIDE, Phase.OUT_OF_STEP)},
    **{(phase, Verb.RSET): {2: Phase.READY} for phase in _INSIDE},
    # RFC 5321 section 4.1.4: NOOP, HELP, VRFY and EXPN at any time.
    **{
        (phase, verb): {}
        for phase in (*_OUTSIDE, *_INSIDE, Phase.OUT_OF_STEP)
        for verb in (Verb.NOOP, Verb.HELP, Verb.VRFY, Verb.EXPN)
    },
    **{(phase, Verb.QUIT): {2: Phase.CLOSED} for phase in (*_OUTSIDE, *_INSIDE, Phase.OUT_OF_STEP)},
    # RFC 3207 section 4; inside a transaction too, which is then void.
    **{(phase, Verb.STARTTLS): {2: Phase.STARTING_TLS} for phase in (Phase.READY, *_INSIDE)},
    (Phase.STARTING_TLS, Verb.TLS_STARTED): {2: Phase.CONNECTED},
    # RFC 4954 section 4: not inside a transaction, not twice.
    (Phase.READY, Verb.AUTH): {2: Phase.READY, 3: Phase.AUTHENTICATING},
    (Phase.AUTHENTICATING, Verb.RESPONSE): {2: Phase.READY, 4: Phase.READY, 5: Phase.READY},
    # RFC 1985 section 5.1: not inside a transaction. RFC 821 section 3.8, RFC 2645 section 5.2.1.
    (Phase.READY, Verb.ETRN): {},
    **{(Phase.READY, verb): {2: Phase.TURNED} for verb in (Verb.ATRN, Verb.TURN)},
    # The session begins anew, with another client behind the same connection.
    **{(phase, Verb.XCLIENT): {2: Phase.CONNECTED} for phase in _OUTSIDE},
}


def in_order(phase: Phase, verb: Verb) -> bool:
    return (phase, verb) in TRANSITIONS


def next_phase(phase: Phase, verb: Verb, code: int) -> Phase:
    """The phase after a reply with `code` has answered `verb`, which must be in order."""
    return TRANSITIONS[phase, verb].get(code // 100, phase)


def mermaid() -> str:
    """The table as a mermaid state diagram: an arrow per pair of phases, with what leads along it.
    Commands that lead nowhere are not drawn."""
    arrows: dict[tuple[Phase, Phase], dict[Verb, list[int]]] = {}
    for (phase, verb), moves in TRANSITIONS.items():
        for digit, to in moves.items():
            if to is not phase:
                arrows.setdefault((phase, to), {}).setdefault(verb, []).append(digit)
    lines = ["stateDiagram-v2", "    [*] --> connected : greeting 220"]
    for (phase, to), verbs in arrows.items():
        label = ", ".join(f"{verb} {'/'.join(f'{d}yz' for d in digits)}" for verb, digits in verbs.items())
        lines.append(f"    {_node(phase)} --> {_node(to)} : {label}")
    # The one arrow that no reply draws: a command that is none, after DATA was refused, or BDAT where there is none.
    lines += [
        f"    {_node(phase)} --> {_node(Phase.OUT_OF_STEP)} : DATA or BDAT refused, then no command"
        for phase in (*_OUTSIDE, Phase.SENDER, Phase.RECIPIENTS)
    ]
    lines += ["    turned --> [*]", "    closed --> [*]"]
    return "\n".join(lines) + "\n"


def _node(phase: Phase) -> str:
    return phase.value.replace(" ", "_")
