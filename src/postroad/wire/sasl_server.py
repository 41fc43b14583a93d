"""An AUTH on the server's side, from its command to the last line, whatever the protocol (RFC 4422).

SMTP (RFC 4954) puts our lines behind `334 `, POP3 (RFC 5034) behind `+ `; the sessions do that, count the faults and
ask the outside. Here is what they share, pure: how far an exchange has come is a frozen value, and each function
takes it with the client's line and gives a Turn, which is the next such value and what is due now:

    bytes               a challenge, in base64, for the client to answer
    CredentialsGiven    a name and a password, to be compared outside
    SecretAsked         whose secret is needed to go on: `give_secret` brings it
    ProofGiven          the exchange is over; only whether the client may be whom it named is open

Raises sasl.SaslFault when the exchange is over without any of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from postroad.vocabulary.credentials import CramSecret, ScramKeys, StoredSecret
from postroad.vocabulary.limits import SASL_NONCE_BYTES, SCRAM_ITERATIONS
from postroad.wire import sasl
from postroad.wire.sasl_secrets import (
    CramExchange,
    CramResponse,
    ScramExchange,
    ScramOpening,
    ScramProof,
    begin_cram,
    begin_scram,
    cram_response,
    is_right,
    scram_challenge,
    scram_proof,
    unknown_keys,
)

RandomOctets: TypeAlias = Callable[[int], bytes]

PLUS = "SCRAM-SHA-256-PLUS"
_CRAM = "CRAM-MD5"


class CredentialsGiven(msgspec.Struct, frozen=True):
    """A password that is compared outside. `authorization_id` is whom the client wants to act as, "" for the same as
    `name`."""

    mechanism: str
    authorization_id: str
    name: str
    password: str

    def __repr__(self) -> str:
        return f"CredentialsGiven({self.mechanism!r}, {self.authorization_id!r}, {self.name!r}, ...)"


class SecretAsked(msgspec.Struct, frozen=True):
    """What is stored for `name`, for use with `mechanism`?"""

    mechanism: str
    name: str


class ProofGiven(msgspec.Struct, frozen=True):
    """`right` tells whether the client knows the secret; `authorization_id` as in CredentialsGiven."""

    mechanism: str
    authorization_id: str
    name: str
    right: bool


Stage: TypeAlias = sasl.Challenge | ScramOpening | ScramExchange | ScramProof | CramExchange | CramResponse
"""How far an exchange has come."""

Question: TypeAlias = CredentialsGiven | SecretAsked | ProofGiven


class Turn(NamedTuple):
    """`stage` is None once nothing can follow but the outside's yes or no."""

    stage: Stage | None
    due: bytes | Question


class Around(NamedTuple):
    """What an exchange needs beside the client's lines. `random_octets` gives octets that nobody can guess;
    `channel_binding` is tls-server-end-point (RFC 5929); `plus_offered` tells whether the client was offered
    SCRAM-SHA-256-PLUS; `scram_iterations` is what an unknown name is made to look like."""

    random_octets: RandomOctets
    hostname: str
    channel_binding: bytes = b""
    plus_offered: bool = False
    scram_iterations: int = SCRAM_ITERATIONS


def begin(mechanism: str, initial: bytes | None, around: Around) -> Turn:
    """AUTH with one of sasl.MECHANISMS or SECRET_MECHANISMS. `initial` is the initial response as it stood in the
    command, None without one; `=` is an empty one (RFC 4954 section 4, RFC 5034 section 4)."""
    if mechanism == _CRAM:
        if initial is not None:
            # RFC 2195 section 2: the server begins.
            raise sasl.ServerBegins
        return _challenge(begin_cram(around.random_octets(SASL_NONCE_BYTES), around.hostname))
    if mechanism not in sasl.SECRET_MECHANISMS:
        return _follow(mechanism, sasl.start(mechanism, initial))
    if initial is None:
        return _challenge(sasl.Challenge(mechanism))
    return _open_scram(mechanism, b"" if initial == b"=" else initial, around)


def respond(stage: Stage, line: bytes, around: Around) -> Turn:
    """The client's next line, without its CR LF."""
    match stage:
        case sasl.Challenge(mechanism=mechanism) if mechanism in sasl.SECRET_MECHANISMS:
            return _open_scram(mechanism, line, around)
        case sasl.Challenge(mechanism=mechanism):
            return _follow(mechanism, sasl.respond(stage, line))
        case ScramExchange():
            proof = scram_proof(stage, line, around.channel_binding)
            # RFC 4954 section 4, RFC 5034 section 4: what the server has to add to a success comes before it.
            return _challenge(proof) if proof.right else _proven(proof)
        case ScramProof():
            if line == b"*":
                raise sasl.Cancelled
            if line:
                raise sasl.BadCredentials
            return _proven(stage)
        case CramExchange():
            response = cram_response(stage, line)
            return Turn(response, SecretAsked(_CRAM, response.name))
        case _:
            raise AssertionError("a secret is being looked for")


def give_secret(stage: Stage | None, secret: StoredSecret | None, fake_salt: bytes, around: Around) -> Turn:
    """Answers SecretAsked. Without a secret the exchange goes on as with one, and comes to nothing; for SCRAM
    `fake_salt` is then what the client sees: always the same for the same name."""
    if isinstance(stage, CramResponse):
        assert secret is None or isinstance(secret, CramSecret), "CRAM-MD5 goes by CramSecret"
        return Turn(None, ProofGiven(_CRAM, "", stage.name, is_right(stage, secret)))
    assert isinstance(stage, ScramOpening), "no secret is in question"
    assert secret is None or isinstance(secret, ScramKeys), "SCRAM goes by ScramKeys"
    assert secret is not None or fake_salt, "an unknown name has a salt like all others"
    keys = unknown_keys(fake_salt, around.scram_iterations) if secret is None else secret
    return _challenge(scram_challenge(stage, keys, around.random_octets(SASL_NONCE_BYTES)))


def _challenge(stage: sasl.Challenge | ScramExchange | ScramProof | CramExchange) -> Turn:
    return Turn(stage, stage.text)


def _follow(mechanism: str, step: sasl.Step) -> Turn:
    if isinstance(step, sasl.Challenge):
        return _challenge(step)
    return Turn(None, CredentialsGiven(mechanism, step.authorization_id, step.name, step.password))


def _open_scram(mechanism: str, line: bytes, around: Around) -> Turn:
    opening = begin_scram(mechanism, line, plus_offered=around.plus_offered)
    return Turn(opening, SecretAsked(mechanism, opening.name))


def _proven(proof: ScramProof) -> Turn:
    opening = proof.opening
    return Turn(None, ProofGiven(opening.mechanism, opening.authorization_id, opening.name, proof.right))
