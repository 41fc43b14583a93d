"""Our certificate: the configured one, or one signed by itself, so that TLS is there from the first minute.

MTAs that use TLS opportunistically (RFC 7435) do not ask who signed it; mail clients do, and a real one is
named in the configuration under [tls].
"""

from __future__ import annotations

from collections.abc import Callable

from postroad.app.configuration import Configuration
from postroad.app.errors import CannotServe
from postroad.world.tls import BadCertificate, TlsIdentity, make_self_signed, write_identity

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def ensure_certificate(configuration: Configuration) -> bool:
    """Make one where none is configured and none was made. True if it was made now. Raises CannotServe."""
    certificate, key = configuration.certificate_file, configuration.key_file
    if configuration.tls.certificate is not None or certificate.exists() or key.exists():
        return False
    try:
        write_identity(certificate, key, make_self_signed(configuration.hostname, *LOOPBACK_NAMES))
    except OSError as error:
        raise CannotServe(f"{error.filename or certificate}: {error.strerror}; no certificate can be made") from None
    return True


def open_identity(configuration: Configuration, report: Callable[[str], None]) -> TlsIdentity:
    """Raises CannotServe."""
    try:
        return TlsIdentity(configuration.certificate_file, configuration.key_file, report=report)
    except BadCertificate as error:
        raise CannotServe(f"tls: {error}; `postroad check` says what it should be") from None
