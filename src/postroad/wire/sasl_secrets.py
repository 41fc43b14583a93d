"""The server's side of the SASL mechanisms that prove a secret without sending it: SCRAM-SHA-256 and CRAM-MD5.

RFC 5802, RFC 7677, RFC 2195; channel binding by tls-server-end-point (RFC 5929 section 4). Every step is a frozen
value, made from the one before it, the client's line, and what the outside had to add:

    begin_scram(mechanism, line)        -> ScramOpening     whose secret is needed
    scram_challenge(opening, keys, ...) -> ScramExchange    its `text` goes to the client
    scram_proof(exchange, line, ...)    -> ScramProof       right or not; `text` proves us to the client
    begin_cram(...)                     -> CramExchange     its `text` goes to the client
    cram_response(exchange, line)       -> CramResponse     whose secret is needed
    is_right(response, secret)

All lines are in base64, as they stand on the wire. Raises sasl.SaslFault, never anything else.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NoReturn

import msgspec

from postroad.vocabulary.credentials import CramSecret, ScramKeys
from postroad.vocabulary.limits import SASL_NAME_BYTES
from postroad.wire.sasl import BadCredentials, Cancelled, from_base64, to_base64

_NONCE = frozenset(range(0x21, 0x7F)) - {0x2C}
_END_POINT = b"tls-server-end-point"


class ScramOpening(msgspec.Struct, frozen=True):
    """The client's first message, read. `header` is its GS2 header, as it came; `bare` what follows it."""

    mechanism: str
    authorization_id: str
    name: str
    nonce: bytes
    header: bytes
    bare: bytes


class ScramExchange(msgspec.Struct, frozen=True):
    """The client's final message is awaited."""

    opening: ScramOpening
    keys: ScramKeys
    first: bytes
    """Our server-first-message."""

    @property
    def text(self) -> bytes:
        return to_base64(self.first)

    def __repr__(self) -> str:
        return f"ScramExchange({self.opening.name!r}, ...)"


class ScramProof(msgspec.Struct, frozen=True):
    """The proof was checked. When it was right, `text` is our own proof, to be sent and answered by an empty line."""

    opening: ScramOpening
    right: bool
    text: bytes = b""


class CramExchange(msgspec.Struct, frozen=True):
    challenge: bytes

    @property
    def text(self) -> bytes:
        return to_base64(self.challenge)


class CramResponse(msgspec.Struct, frozen=True):
    challenge: bytes
    name: str
    digest: bytes


# ---- SCRAM ---------------------------------------------------------------------------------------


def begin_scram(mechanism: str, line: bytes, *, plus_offered: bool) -> ScramOpening:
    """client-first-message = gs2-header client-first-message-bare (RFC 5802 section 7).

    `plus_offered` tells whether the PLUS mechanism was announced: a client that believes it was not ("y")
    has been lied to by somebody in between (section 6).
    """
    message = _message(line)
    binding, _, rest = message.partition(b",")
    identity, comma, bare = rest.partition(b",")
    if not comma or (identity and identity[:2] != b"a="):
        _fail()
    is_plus = mechanism.endswith("-PLUS")
    if is_plus:
        # RFC 5929 section 4, the one kind that we know.
        if binding != b"p=" + _END_POINT:
            _fail()
    elif binding not in (b"n", b"y") or (binding == b"y" and plus_offered):
        _fail()
    attributes = bare.split(b",")
    # A mandatory extension "m=" that we do not know would stand before the name.
    if len(attributes) < 2 or attributes[0][:2] != b"n=" or attributes[1][:2] != b"r=":
        _fail()
    return ScramOpening(
        mechanism,
        _sasl_name(identity[2:]) if identity else "",
        _sasl_name(attributes[0][2:]),
        _nonce(attributes[1][2:]),
        message[: len(message) - len(bare)],
        bare,
    )


def scram_challenge(opening: ScramOpening, keys: ScramKeys, nonce: bytes) -> ScramExchange:
    """`nonce`: octets that nobody can guess; used once."""
    first = b"r=%b%b,s=%b,i=%d" % (opening.nonce, nonce.hex().encode(), to_base64(keys.salt), keys.iterations)
    return ScramExchange(opening, keys, first)


def scram_proof(exchange: ScramExchange, line: bytes, channel_binding: bytes) -> ScramProof:
    """client-final-message = channel-binding "," nonce ["," extensions] "," proof (RFC 5802 section 7)."""
    message = _message(line)
    without_proof, separator, proof = message.rpartition(b",p=")
    attributes = without_proof.split(b",")
    if not separator or len(attributes) < 2 or attributes[0][:2] != b"c=" or attributes[1][:2] != b"r=":
        _fail()
    opening, keys = exchange.opening, exchange.keys
    nonce = exchange.first[2:].partition(b",")[0]
    if not hmac.compare_digest(attributes[1][2:], nonce):
        _fail()
    bound = opening.header + (channel_binding if opening.mechanism.endswith("-PLUS") else b"")
    same_channel = hmac.compare_digest(from_base64(attributes[0][2:]), bound)
    said = b",".join((opening.bare, exchange.first, without_proof))
    signature = hmac.digest(keys.stored_key, said, "sha256")
    proof_octets = from_base64(proof)
    if len(proof_octets) != len(signature):
        _fail()
    client_key = bytes(a ^ b for a, b in zip(proof_octets, signature, strict=True))
    knows = hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)
    if not (knows and same_channel):
        return ScramProof(opening, False)
    return ScramProof(opening, True, to_base64(b"v=" + to_base64(hmac.digest(keys.server_key, said, "sha256"))))


def unknown_keys(fake_salt: bytes, iterations: int) -> ScramKeys:
    """What a name that nobody has, or that has no keys, is made to look like. No proof fits them."""
    return ScramKeys(fake_salt, iterations, bytes(32), bytes(32))


# ---- CRAM-MD5 ------------------------------------------------------------------------------------


def begin_cram(nonce: bytes, hostname: str) -> CramExchange:
    """RFC 2195 section 2: a challenge like a Message-ID, never the same again."""
    return CramExchange(b"<%b@%b>" % (nonce.hex().encode(), hostname.encode("ascii", "replace")))


def cram_response(exchange: CramExchange, line: bytes) -> CramResponse:
    """name SP 32 hexadecimal digits; a name may have spaces."""
    name, separator, digest = _message(line).rpartition(b" ")
    if not separator or len(digest) != 32 or digest.translate(None, b"0123456789abcdef"):
        _fail()
    return CramResponse(exchange.challenge, _text(name), digest)


def is_right(response: CramResponse, secret: CramSecret | None) -> bool:
    """Whether the client knows the secret; with None, of the same cost, it does not."""
    key = (secret.secret if secret is not None else "nobody").encode()
    digest = hmac.new(key, response.challenge, "md5").hexdigest().encode()
    return hmac.compare_digest(digest, response.digest) and secret is not None


# ---- lines ---------------------------------------------------------------------------------------


def _fail() -> NoReturn:
    raise BadCredentials


def _message(line: bytes) -> bytes:
    if line == b"*":
        raise Cancelled
    return from_base64(line)


def _nonce(octets: bytes) -> bytes:
    if not octets or not _NONCE.issuperset(octets):
        _fail()
    return octets


def _sasl_name(octets: bytes) -> str:
    """saslname (RFC 5802 section 5.1): "=2C" is a comma, "=3D" an equals sign, and no other "=" stands there."""
    if octets.count(b"=") != octets.count(b"=2C") + octets.count(b"=3D"):
        _fail()
    return _text(octets.replace(b"=2C", b",").replace(b"=3D", b"="))


def _text(octets: bytes) -> str:
    if not 0 < len(octets) <= SASL_NAME_BYTES:
        _fail()
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        _fail()
    if any(c < " " or c == "\x7f" for c in text):
        _fail()
    return text
