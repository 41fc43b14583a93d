"""APOP (RFC 1939 section 7): one line, and a digest over the timestamp of the greeting and a secret that both know."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from postroad.vocabulary.credentials import CramSecret, StoredSecret
from postroad.vocabulary.limits import SASL_NONCE_BYTES
from postroad.wire.sasl_server import ProofGiven, RandomOctets

_HEXADECIMAL = frozenset(b"0123456789abcdef")
_DIGEST_OCTETS = 32


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
        return ProofGiven("APOP", "", self.name, right)


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
