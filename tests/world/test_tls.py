"""Certificates: made, written, read again when they change, and kept when the new one is broken."""

import hashlib
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from postroad.vocabulary.limits import TLS_RELOAD_S
from postroad.world.tls import BadCertificate, TlsClient, TlsIdentity, end_point, make_self_signed, write_identity


class Watch:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def shown(context: ssl.SSLContext) -> bytes:
    """The certificate that a server with this context shows, in DER form; the version is TLS 1.2 or later."""
    client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = TlsClient().unverified.wrap_bio(client_in, client_out, server_hostname="mx.a.example")
    server = context.wrap_bio(client_out, client_in, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    certificate = client.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    write_identity(tmp_path / "cert.pem", tmp_path / "key.pem", make_self_signed("mx.a.example"))
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_a_certificate_of_our_own_names_the_host_and_more() -> None:
    pem, _ = make_self_signed("mx.a.example", "localhost", "127.0.0.1", "::1")
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mx.a.example", "localhost"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert 9 < (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days / 365 <= 10


def test_the_key_is_for_its_owner_alone(files: tuple[Path, Path]) -> None:
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o600
    assert sorted(path.name for path in files[0].parent.iterdir()) == ["cert.pem", "key.pem"]


def test_a_new_certificate_is_shown_without_a_restart(files: tuple[Path, Path]) -> None:
    watch = Watch()
    identity = TlsIdentity(*files, monotonic=watch)
    listener = identity.listener_context
    old = shown(identity.context())
    assert shown(listener) == old
    write_identity(*files, make_self_signed("mx.a.example"))
    assert shown(identity.context()) == old  # not looked at again so soon
    watch.now += TLS_RELOAD_S
    new = shown(identity.context())
    assert new != old
    assert shown(listener) == new


@pytest.mark.parametrize("which", [0, 1])
def test_a_broken_one_is_reported_once_and_the_old_one_stays(files: tuple[Path, Path], which: int) -> None:
    watch = Watch()
    reports: list[str] = []
    identity = TlsIdentity(*files, monotonic=watch, report=reports.append)
    old = shown(identity.context())
    files[which].write_text("not a certificate")
    for _ in range(3):
        watch.now += TLS_RELOAD_S
        assert shown(identity.context()) == old
    assert len(reports) == 1
    assert str(files[0]) in reports[0]
    write_identity(*files, make_self_signed("mx.a.example"))
    watch.now += TLS_RELOAD_S
    assert shown(identity.context()) != old


def test_without_a_good_pair_nothing_begins(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match="is not there"):
        TlsIdentity(tmp_path / "none.pem", files[1])
    files[1].write_bytes(make_self_signed("mx.a.example")[1])
    with pytest.raises(BadCertificate, match="not a certificate and its key"):
        TlsIdentity(*files)


def test_old_versions_are_refused(files: tuple[Path, Path]) -> None:
    context = TlsIdentity(*files).context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        client.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        client.maximum_version = ssl.TLSVersion.TLSv1_1
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    offer = client.wrap_bio(to_client, to_server)
    with pytest.raises(ssl.SSLWantReadError):
        offer.do_handshake()
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol"):
        context.wrap_bio(to_server, to_client, server_side=True).do_handshake()


@pytest.mark.parametrize(
    ("signed_with", "hashed_with"),
    [("sha256", "sha256"), ("sha384", "sha384"), ("sha512", "sha512"), ("sha1", "sha256")],
)
def test_the_end_point_is_the_hash_of_the_certificate_shown(tmp_path: Path, signed_with: str, hashed_with: str) -> None:
    """RFC 5929 section 4.1, with OpenSSL as the other opinion of what the certificate is."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mx.a.example"]
    where = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, f"-{signed_with}", *where], check=True, capture_output=True)
    identity = TlsIdentity(certificate, key)
    assert (
        identity.end_point() == end_point(certificate) == hashlib.new(hashed_with, shown(identity.context())).digest()
    )


def test_a_certificate_signed_without_a_hash_has_no_end_point(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=mx.a.example"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    assert end_point(certificate) == b""
    assert end_point(tmp_path / "nothing.pem") == b""


def test_the_end_point_follows_a_new_certificate(files: tuple[Path, Path]) -> None:
    watch = Watch()
    identity = TlsIdentity(*files, monotonic=watch)
    before = identity.end_point()
    write_identity(*files, make_self_signed("mx.a.example"))
    watch.now += TLS_RELOAD_S
    assert identity.end_point() == hashlib.sha256(shown(identity.context())).digest() != before
