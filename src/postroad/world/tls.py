"""Certificates and TLS contexts: what we show, and what we check others against.

TLS 1.2 is the oldest we speak (RFC 8996). There are no session tickets: a session begun on one port could
otherwise be resumed on another, and a full handshake with P-256 is cheap.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from postroad.vocabulary.limits import TLS_RELOAD_S

CERTIFICATE_YEARS = 10

_Marks = tuple[tuple[int, int, int], ...]


class BadCertificate(Exception):
    """The files do not make a certificate with its key; the text says which and why."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises BadCertificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    try:
        # An encrypted key would make OpenSSL ask at the terminal; a server has none.
        context.load_cert_chain(certificate, key, password=_no_password)
    except FileNotFoundError:
        missing = certificate if not certificate.exists() else key
        raise BadCertificate(f"{missing} is not there")
    except PermissionError:
        raise BadCertificate(f"{certificate} or {key} may not be read by this user")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise BadCertificate(f"{certificate} and {key} are not a certificate and its key in PEM form: {error}")
    return context


def end_point(certificate: Path) -> bytes:
    """tls-server-end-point of the first certificate in a PEM file (RFC 5929 section 4.1): its hash, made with the
    hash function of its own signature, and with SHA-256 where that is MD5 or SHA-1. Empty where the signature uses
    none (Ed25519), or the file cannot be read: then there is nothing to bind to."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes

    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        function = loaded.signature_hash_algorithm
    except (OSError, ValueError, UnsupportedAlgorithm):
        return b""
    if function is None:
        return b""
    return loaded.fingerprint(hashes.SHA256() if function.name in ("md5", "sha1") else function)


def _no_password() -> str:
    raise ValueError("the key is encrypted; store it without a passphrase, readable by the mail user only")


def _report(text: str) -> None:
    logging.getLogger("postroad.tls").error("%s", text)


class TlsIdentity:
    """Our certificate and key, from two PEM files, read again when they change.

    A new pair that is broken is reported once, by `report`, and the old one stays in use. Raises
    BadCertificate when there is no good pair to begin with.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        report: Callable[[str], None] = _report,
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._monotonic = monotonic
        self._report = report
        self._marks = self._look()
        self._context = server_context(certificate, key)
        self._end_point = end_point(certificate)
        self._looked_at = monotonic()

    def context(self) -> ssl.SSLContext:
        """For the next handshake; never raises."""
        now = self._monotonic()
        if now - self._looked_at >= TLS_RELOAD_S:
            self._looked_at = now
            marks = self._look()
            if marks != self._marks:
                self._marks = marks
                try:
                    self._context = server_context(self._certificate, self._key)
                    self._end_point = end_point(self._certificate)
                except BadCertificate as error:
                    self._report(f"the certificate has changed and cannot be used, the old one stays: {error}")
        return self._context

    def end_point(self) -> bytes:
        """What SCRAM-SHA-256-PLUS binds to in the next handshake (`end_point`); never raises."""
        self.context()
        return self._end_point

    @cached_property
    def listener_context(self) -> ssl.SSLContext:
        """For a listener that begins with TLS and keeps one context: every handshake moves on to the present one."""
        context = server_context(self._certificate, self._key)

        def use_present(connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self.context()

        context.sni_callback = use_present
        return context

    def _look(self) -> _Marks:
        """What tells that a file has changed. A missing file has a mark, too."""
        marks = []
        for path in (self._certificate, self._key):
            try:
                facts = os.stat(path)
                marks.append((facts.st_mtime_ns, facts.st_size, facts.st_ino))
            except OSError:
                marks.append((0, 0, 0))
        return tuple(marks)


class TlsClient:
    """The contexts of connections that we open. `authorities` is a PEM file of certificates to trust besides
    those of the system."""

    def __init__(self, authorities: Path | None = None) -> None:
        self._authorities = authorities

    @cached_property
    def verified(self) -> ssl.SSLContext:
        """The certificate must be valid and fit the name (RFC 6125)."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._authorities is not None:
            context.load_verify_locations(self._authorities)
        return context

    @cached_property
    def unverified(self) -> ssl.SSLContext:
        """Any certificate will do (RFC 7435): it keeps out those who only listen."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # A short key in a certificate that nobody checks is no reason to fall back to no TLS at all.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        return context


def make_self_signed(hostname: str, *more_names: str, now: datetime | None = None) -> tuple[bytes, bytes]:
    """A certificate that signs itself, for CERTIFICATE_YEARS, and its P-256 key: (certificate, key) in PEM form.

    `more_names` are further host names or IP addresses, such as "localhost" and "127.0.0.1".
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    # RFC 5280 appendix A.1: a common name has at most 64 characters; the names that count are in the SAN.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hostname[:64])])
    begin = (now or datetime.now(UTC)) - timedelta(days=1)
    names = [_general_name(text) for text in dict.fromkeys((hostname, *more_names))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365 * CERTIFICATE_YEARS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def _general_name(text: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def write_identity(certificate: Path, key: Path, pems: tuple[bytes, bytes]) -> None:
    """Write a new pair, the key first and for its owner alone (0600), each replaced whole."""
    for path, pem, mode in ((key, pems[1], 0o600), (certificate, pems[0], 0o644)):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
