"""Logins that prove a secret without sending it, as ann makes them in the fuzzers' world: no fuzzer guesses one."""

from __future__ import annotations

import base64
import hashlib
import hmac

from fuzz.smtp_world import KEYS, SECRET, random_octets
from postroad.vocabulary.credentials import salted_password
from postroad.vocabulary.limits import SASL_NONCE_BYTES
from postroad.wire.sasl_secrets import begin_cram, begin_scram, scram_challenge


def scram(header: bytes, mechanism: str, binding: bytes = b"") -> bytes:
    """AUTH with the whole exchange of RFC 5802 section 3, as lines."""
    bare = b"n=ann,r=nonce"
    opening = begin_scram(mechanism, base64.b64encode(header + bare), plus_offered=True)
    first = base64.b64decode(scram_challenge(opening, KEYS, random_octets(SASL_NONCE_BYTES)).text)
    nonce = first.partition(b",")[0]
    without_proof = b"c=" + base64.b64encode(header + binding) + b"," + nonce
    key = hmac.digest(salted_password(SECRET, KEYS.salt, KEYS.iterations), b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), bare + b"," + first + b"," + without_proof, "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    final = without_proof + b",p=" + base64.b64encode(proof)
    opened = b"AUTH " + mechanism.encode() + b" " + base64.b64encode(header + bare)
    return opened + b"\r\n" + base64.b64encode(final) + b"\r\n\r\n"


def cram(hostname: str) -> bytes:
    """AUTH with the answer of RFC 2195 section 2, as lines."""
    challenge = begin_cram(random_octets(SASL_NONCE_BYTES), hostname).challenge
    digest = hmac.new(SECRET.encode(), challenge, "md5").hexdigest()
    return b"AUTH CRAM-MD5\r\n" + base64.b64encode(f"ann {digest}".encode()) + b"\r\n"
