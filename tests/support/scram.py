"""A SCRAM-SHA-256 client as RFC 5802 section 3 describes it, written for the tests alone."""

from __future__ import annotations

import base64
import hashlib
import hmac

CLIENT_NONCE = b"fyko+d2lbbFgONRvqkxdawL"


def in_base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


class ScramClient:
    """One exchange. `binding` is tls-server-end-point, for SCRAM-SHA-256-PLUS; without it none is asked for."""

    def __init__(self, name: str, password: str, *, binding: bytes = b"", authorization_id: str = "") -> None:
        self._password = password.encode()
        self._header = b"p=tls-server-end-point," if binding else b"n,"
        self._header += b"a=" + authorization_id.encode() + b"," if authorization_id else b","
        self._binding = binding
        escaped = name.replace("=", "=3D").replace(",", "=2C").encode()
        self._bare = b"n=" + escaped + b",r=" + CLIENT_NONCE
        self.salt = b""
        self.iterations = 0
        self._server_signature = b""

    def first(self) -> bytes:
        return self._header + self._bare

    def final(self, server_first: bytes) -> bytes:
        """The answer to the server's salt."""
        parts = dict(part.split(b"=", 1) for part in server_first.split(b","))
        assert parts[b"r"].startswith(CLIENT_NONCE)
        assert len(parts[b"r"]) >= len(CLIENT_NONCE) + 16
        self.salt = base64.b64decode(parts[b"s"])
        self.iterations = int(parts[b"i"])
        salted = hashlib.pbkdf2_hmac("sha256", self._password, self.salt, self.iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        bare = b"c=" + base64.b64encode(self._header + self._binding) + b",r=" + parts[b"r"]
        message = b",".join((self._bare, server_first, bare))
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        self._server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return bare + b",p=" + base64.b64encode(proof)

    def believes(self, server_final: bytes) -> bool:
        """Whether the server has shown that it knows the password too."""
        return server_final == b"v=" + base64.b64encode(self._server_signature)
