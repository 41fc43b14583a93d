"""AUTH and APOP on the server's side of a POP3 session: the SASL mechanisms of SMTP in POP3's frames.

RFC 5034 puts the lines of an exchange behind "+ "; APOP (RFC 1939 section 7) is one line, and a digest over the
timestamp of the greeting. Nothing here speaks or counts: each step gives what to send to the client (bytes, in base64),
or what must be asked of the outside. Raises sasl.SaslFault when the exchange is over without either.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from postroad.vocabulary.credentials import CramSecret, ScramKeys, StoredSecret
from postroad.vocabulary.limits import SASL_NONCE_BYTES, SCRAM_ITERATIONS
from postroad.wire import sasl
from postroad.wire.pop3.events import CredentialsGiven, ProofGiven, SecretAsked
from postroad.wire.sasl_secrets import (
    ScramExchange,
    ScramOpening,
    ScramProof,
    begin_scram,
    scram_challenge,
    scram_proof,
    unknown_keys,
)

RandomOctets: TypeAlias = Callable[[int], bytes]
Step: TypeAlias = bytes | CredentialsGiven | SecretAsked | ProofGiven

PLUS = "SCRAM-SHA-256-PLUS"
IN_CLEAR = frozenset({"SCRAM-SHA-256"})
"""What is offered without TLS even where no password may come in clear: it does not send one."""

_HEXADECIMAL = frozenset(b"0123456789abcdef")
_DIGEST_OCTETS = 32


class Surroundings(NamedTuple):
    """What an exchange needs beside the client's lines. `channel_binding` is tls-server-end-point (RFC 5929)."""

    random_octets: RandomOctets
    channel_binding: bytes
    plus_offered: bool


class Exchange:
    """AUTH from its command to its last line."""

    __slots__ = ("_around", "_mechanism", "_step")

    def __init__(self, mechanism: str, around: Surroundings) -> None:
        self._mechanism = mechanism
        self._around = around
        self._step: sasl.Challenge | ScramOpening | ScramExchange | ScramProof = sasl.Challenge(mechanism)

    def begin(self, initial: bytes | None) -> Step:
        """`initial` as it stood in the command; `=` is an empty one (RFC 5034 section 4)."""
        if self._mechanism not in sasl.SECRET_MECHANISMS:
            return self._follow(sasl.start(self._mechanism, initial))
        return b"" if initial is None else self._open(b"" if initial == b"=" else initial)

    def respond(self, line: bytes) -> Step:
        """The client's next line without its CR LF."""
        step = self._step
        if isinstance(step, ScramExchange):
            self._step = proof = scram_proof(step, line, self._around.channel_binding)
            # RFC 5034 section 4: what the server has to add to a success comes before it, in a challenge.
            return proof.text if proof.right else self._proven(proof)
        if isinstance(step, ScramProof):
            if line == b"*":
                raise sasl.Cancelled
            if line:
                raise sasl.BadCredentials
            return self._proven(step)
        assert isinstance(step, sasl.Challenge), "a secret is being looked for"
        if self._mechanism in sasl.SECRET_MECHANISMS:
            return self._open(line)
        return self._follow(sasl.respond(step, line))

    def give_secret(self, secret: StoredSecret | None, fake_salt: bytes) -> Step:
        """Answers SecretAsked; without a secret the exchange goes on as with one, and comes to nothing."""
        opening = self._step
        assert isinstance(opening, ScramOpening), "no secret is in question"
        assert secret is None or isinstance(secret, ScramKeys), "SCRAM goes by ScramKeys"
        keys = unknown_keys(fake_salt, SCRAM_ITERATIONS) if secret is None else secret
        self._step = exchange = scram_challenge(opening, keys, self._around.random_octets(SASL_NONCE_BYTES))
        return exchange.text

    def _open(self, line: bytes) -> SecretAsked:
        self._step = opening = begin_scram(self._mechanism, line, plus_offered=self._around.plus_offered)
        return SecretAsked(mechanism=self._mechanism, name=opening.name)

    def _follow(self, step: sasl.Step) -> Step:
        if isinstance(step, sasl.Challenge):
            self._step = step
            return step.text
        return CredentialsGiven(
            name=step.name,
            password=step.password,
            mechanism=self._mechanism,
            authorization_id=step.authorization_id,
        )

    def _proven(self, proof: ScramProof) -> ProofGiven:
        opening = proof.opening
        return ProofGiven(
            mechanism=opening.mechanism,
            authorization_id=opening.authorization_id,
            name=opening.name,
            right=proof.right,
        )


class Apop(NamedTuple):
    """APOP name digest, read."""

    name: str
    digest: bytes

    def proof(self, timestamp: bytes, secret: StoredSecret | None) -> ProofGiven:
        """RFC 1939 section 7: the digest is MD5 over the greeting's timestamp and the secret. With None, of the same
        cost, it is wrong."""
        assert secret is None or isinstance(secret, CramSecret), "APOP goes by a secret that can be read"
        key = (secret.secret if secret is not None else "nobody").encode()
        digest = hashlib.md5(timestamp + key, usedforsecurity=False).hexdigest().encode()
        right = hmac.compare_digest(digest, self.digest) and secret is not None
        return ProofGiven(mechanism="APOP", authorization_id="", name=self.name, right=right)


def timestamp(random_octets: RandomOctets, hostname: str) -> bytes:
    """What the greeting ends with where APOP may be used: a msg-id, never the same again (RFC 1939 section 7)."""
    return b"<%b@%b>" % (random_octets(SASL_NONCE_BYTES).hex().encode(), hostname.encode("ascii", "replace"))


def parse_apop(argument: bytes) -> tuple[bytes, bytes] | None:
    """The name and the digest as they stand there; None when it is not two words and hexadecimal digits. A name may
    have spaces."""
    name, _, digest = argument.rpartition(b" ")
    if not name.strip(b" ") or len(digest) != _DIGEST_OCTETS or not _HEXADECIMAL.issuperset(digest):
        return None
    return name, digest
