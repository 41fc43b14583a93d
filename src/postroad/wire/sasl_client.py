"""The client's side of SASL: which mechanism, and what it answers to each challenge.

SCRAM-SHA-256 and its PLUS (RFC 5802, RFC 7677, RFC 5929), CRAM-MD5 (RFC 2195), PLAIN (RFC 4616), LOGIN. An exchange is
made once per AUTH; its lines are in base64, as they stand on the wire.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

from postroad.vocabulary.credentials import prepared, salted_password
from postroad.vocabulary.limits import SASL_NONCE_BYTES, SCRAM_ITERATIONS_MAX
from postroad.wire.sasl import BadBase64, SaslFault, from_base64, plain_response, to_base64

PLUS, SCRAM, CRAM = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "CRAM-MD5"
# Inside TLS a server that keeps no CRAM-MD5 secret of ours is likelier than one that must not see our password.
_IN_TLS = (PLUS, SCRAM, "PLAIN", "LOGIN", CRAM)
_IN_CLEAR = (SCRAM, CRAM, "PLAIN", "LOGIN")
SECRETS_SERVED = 16
"""Salted passwords that are remembered: one per server that we log in to, and its work is done once."""


class NotTheServer(SaslFault):
    """The other end does not prove that it knows our password, or speaks no SCRAM."""


class Exchange(Protocol):
    mechanism: str

    def initial(self, bytes_max: int) -> bytes | None:
        """The initial response; None when the server begins, or when it is too long to go with the command."""
        ...

    def respond(self, challenge: bytes) -> bytes:
        """The answer to a challenge (what follows `334 `). Raises SaslFault."""
        ...

    @property
    def may_end(self) -> bool:
        """Whether the server may say now that it is satisfied."""
        ...


def strongest(
    offered: Iterable[str], *, in_tls: bool, password_may_show: bool, can_bind: bool, can_draw: bool
) -> list[str]:
    """The mechanisms of ours among `offered`, the best first. `password_may_show` allows those that send it in clear;
    `can_bind` tells that the channel binding is known, `can_draw` that there are random octets for a nonce."""
    known = {mechanism.upper() for mechanism in offered}
    possible = [mechanism for mechanism in (_IN_TLS if in_tls else _IN_CLEAR) if mechanism in known]
    if not (in_tls or password_may_show):
        possible = [mechanism for mechanism in possible if mechanism in (SCRAM, CRAM)]
    if not can_draw:
        possible = [mechanism for mechanism in possible if mechanism not in (PLUS, SCRAM)]
    return [mechanism for mechanism in possible if mechanism != PLUS or can_bind]


def begin(
    mechanism: str,
    name: str,
    password: str,
    *,
    random_octets: Callable[[int], bytes] | None = None,
    channel_binding: bytes = b"",
    plus_offered: bool = False,
) -> Exchange:
    """Raises SaslFault when the name or password cannot be said in that mechanism."""
    if mechanism in (PLUS, SCRAM):
        assert random_octets is not None, "SCRAM needs a nonce"
        return _Scram(
            mechanism, name, password, random_octets(SASL_NONCE_BYTES).hex().encode(), channel_binding, plus_offered
        )
    if mechanism == CRAM:
        return _Cram(name, password)
    return _Plain(name, password) if mechanism == "PLAIN" else _Login(name, password)


class _Plain:
    mechanism = "PLAIN"
    may_end = True

    def __init__(self, name: str, password: str) -> None:
        self._response = plain_response(name, password)
        self._sent = False

    def initial(self, bytes_max: int) -> bytes | None:
        self._sent = len(self._response) <= bytes_max
        return self._response if self._sent else None

    def respond(self, challenge: bytes) -> bytes:
        if self._sent:
            raise SaslFault("the server asked for more than a name and a password")
        self._sent = True
        return self._response


class _Login:
    mechanism = "LOGIN"
    may_end = True

    def __init__(self, name: str, password: str) -> None:
        self._lines = [to_base64(name.encode()), to_base64(password.encode())]

    def initial(self, bytes_max: int) -> bytes | None:
        return None

    def respond(self, challenge: bytes) -> bytes:
        if not self._lines:
            raise SaslFault("the server asked for more than a name and a password")
        return self._lines.pop(0)


class _Cram:
    mechanism = CRAM

    def __init__(self, name: str, password: str) -> None:
        self._name, self._password = name.encode(), password.encode()
        self.may_end = False

    def initial(self, bytes_max: int) -> bytes | None:
        return None

    def respond(self, challenge: bytes) -> bytes:
        if self.may_end:
            raise SaslFault("the server sent a second challenge")
        self.may_end = True
        digest = hmac.new(self._password, _challenge(challenge), "md5").hexdigest()
        return to_base64(self._name + b" " + digest.encode())


class _Scram:
    """RFC 5802 section 5. The server must prove itself before it may say that it is satisfied."""

    def __init__(
        self, mechanism: str, name: str, password: str, nonce: bytes, channel_binding: bytes, plus_offered: bool
    ) -> None:
        self.mechanism = mechanism
        self.may_end = False
        if mechanism == PLUS:
            assert channel_binding, "PLUS binds to the channel"
            self._header = b"p=tls-server-end-point,,"
            self._bound = self._header + channel_binding
        else:
            # Section 6: "y" says that we could have bound, had the server offered it.
            self._header = b"y,," if channel_binding and not plus_offered else b"n,,"
            self._bound = self._header
        try:
            said_name = prepared(name).replace("=", "=3D").replace(",", "=2C")
        except ValueError as failure:
            raise SaslFault(f"our name cannot be sent: {failure}") from None
        self._password = password
        self._nonce = nonce
        self._bare = b"n=" + said_name.encode() + b",r=" + nonce
        self._expected = b""

    def initial(self, bytes_max: int) -> bytes | None:
        response = to_base64(self._header + self._bare)
        return response if len(response) <= bytes_max else None

    def respond(self, challenge: bytes) -> bytes:
        if self.may_end:
            raise NotTheServer("the server went on after its last message")
        if self._expected:
            if not hmac.compare_digest(_challenge(challenge), self._expected):
                raise NotTheServer("the server does not prove that it knows our password")
            self.may_end = True
            return b""
        if not challenge:
            return to_base64(self._header + self._bare)  # the initial response did not go with the command
        return to_base64(self._final(_challenge(challenge)))

    def _final(self, first: bytes) -> bytes:
        attributes = first.split(b",")
        if len(attributes) < 3 or [each[:2] for each in attributes[:3]] != [b"r=", b"s=", b"i="]:
            raise NotTheServer("the server's SCRAM message cannot be read")
        nonce, rounds = attributes[0][2:], attributes[2][2:]
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise NotTheServer("the server answered somebody else's SCRAM message")
        if not rounds.isdigit() or len(rounds) > 9 or not 0 < int(rounds) <= SCRAM_ITERATIONS_MAX:
            raise NotTheServer("the server asks for an unreasonable number of rounds")
        salt = from_base64(attributes[1][2:])
        try:
            salted = _salted(self._password, salt, int(rounds))
        except ValueError as failure:
            raise SaslFault(f"our password cannot be used: {failure}") from None
        without_proof = b"c=" + to_base64(self._bound) + b",r=" + nonce
        said = b",".join((self._bare, first, without_proof))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), said, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._expected = b"v=" + to_base64(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said, "sha256"))
        return without_proof + b",p=" + to_base64(proof)


@lru_cache(maxsize=SECRETS_SERVED)
def _salted(password: str, salt: bytes, iterations: int) -> bytes:
    """Remembered, for it is the slow step, and on the loop (RFC 5802 section 3 lets a client keep it)."""
    return salted_password(password, salt, iterations)


def _challenge(line: bytes) -> bytes:
    try:
        return from_base64(line)
    except BadBase64:
        raise SaslFault("the server's challenge is not base64") from None
