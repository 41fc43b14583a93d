"""What a server keeps of a password so that a client can prove that it knows it, without sending it.

SCRAM-SHA-256 keeps keys from which the password cannot be read (RFC 5802 section 3, RFC 7677); CRAM-MD5 keeps
the password itself (RFC 2195), so it is for accounts that chose to have such a secret.
"""

from __future__ import annotations

import hashlib
import hmac
import stringprep
import unicodedata
from typing import TypeAlias

import msgspec

from postroad.vocabulary.limits import SCRAM_ITERATIONS


class ScramKeys(msgspec.Struct, frozen=True, array_like=True):
    """The stored half of SCRAM-SHA-256: 32 octets each in `stored_key` and `server_key`."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return f"ScramKeys(iterations={self.iterations}, ...)"


class CramSecret(msgspec.Struct, frozen=True, array_like=True):
    """The secret that client and server share for CRAM-MD5, readable as it is."""

    secret: str

    def __repr__(self) -> str:
        return "CramSecret(...)"


StoredSecret: TypeAlias = ScramKeys | CramSecret


def scram_keys(password: str, salt: bytes, iterations: int = SCRAM_ITERATIONS) -> ScramKeys:
    """What to keep of `password` (RFC 5802 section 3). Tens of milliseconds of work: not for the loop.

    Raises ValueError when the password cannot be prepared (control characters, or nothing left).
    """
    salted = salted_password(password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return ScramKeys(
        salt, iterations, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")
    )


def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    """SaltedPassword of RFC 5802 section 3. Raises ValueError as `scram_keys`."""
    return hashlib.pbkdf2_hmac("sha256", prepared(password).encode(), salt, iterations)


def prepared(text: str) -> str:
    """SASLprep (RFC 4013) of a name or password, so that one spelling of several is compared.

    Raises ValueError for what it prohibits, and for nothing left.
    """
    if text.isascii():
        if not text or not text.isprintable():
            raise ValueError("control characters, or nothing at all")
        return text
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    text = unicodedata.normalize("NFKC", mapped)
    if not text or any(_is_prohibited(c) for c in text):
        raise ValueError("characters that a name or password cannot have, or nothing at all")
    # RFC 3454 section 6: right-to-left text begins and ends so, and holds no left-to-right letters.
    if any(map(stringprep.in_table_d1, text)) and (
        any(map(stringprep.in_table_d2, text))
        or not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1]))
    ):
        raise ValueError("right-to-left and left-to-right letters in one name or password")
    return text


def _is_prohibited(c: str) -> bool:
    """RFC 4013 section 2.3."""
    return (
        stringprep.in_table_c12(c)
        or stringprep.in_table_c21_c22(c)
        or stringprep.in_table_c3(c)
        or stringprep.in_table_c4(c)
        or stringprep.in_table_c5(c)
        or stringprep.in_table_c6(c)
        or stringprep.in_table_c7(c)
        or stringprep.in_table_c8(c)
        or stringprep.in_table_c9(c)
    )
