"""The first steps: `postroad init`, the development server's folder, and what `postroad check` finds."""

from __future__ import annotations

import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from postroad.app.check import Finding, check
from postroad.app.configuration import Configuration, load
from postroad.app.console import perform_here
from postroad.app.development import make_development, welcome
from postroad.app.folder import FolderLock
from postroad.app.house import TheHouse
from postroad.app.initialise import initialise
from postroad.services.operations.performer import OperationFailed
from postroad.world.tls import make_self_signed, write_identity
from tests.support.ports import free_port

NO_DNS = "[dns]\nservers = ['127.0.0.1:1']\n"


def test_init_makes_all_that_the_first_start_needs(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    lines = initialise(folder, "Example.org", password="correct horse")
    configuration = load(folder / "postroad.toml")
    assert configuration.hostname == "mx.example.org"
    assert configuration.data_folder == folder / "data"
    context = ssl.create_default_context(cafile=str(configuration.certificate_file))
    assert context.cert_store_stats()["x509"] == 1
    assert configuration.key_file.stat().st_mode & 0o777 == 0o600
    for path in (folder / "data").iterdir():
        assert path.stat().st_mode & 0o077 in (0, 0o011), path
    domains, accounts = perform_here(configuration, ("domain.list", {}), ("account.list", {}))
    assert [row["domain"] for row in domains] == ["example.org"]
    assert [row["address"] for row in accounts] == ["postmaster@example.org"]
    assert not any("correct horse" in line for line in lines)
    assert any("postroad --config" in line and "serve" in line for line in lines)


def test_init_tells_the_password_that_it_made(tmp_path: Path) -> None:
    (line,) = [line for line in initialise(tmp_path, "example.org", "host.example.org") if "with the password" in line]
    password = line.rpartition(" ")[2]
    assert len(password) == 19
    assert load(tmp_path / "postroad.toml").hostname == "host.example.org"


def test_init_writes_over_nothing(tmp_path: Path) -> None:
    initialise(tmp_path, "example.org", password="correct horse")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.toml")}
    with pytest.raises(OperationFailed, match="is there already and stays"):
        initialise(tmp_path, "example.com", password="correct horse")
    assert {path: path.read_bytes() for path in tmp_path.glob("*.toml")} == before


@pytest.mark.parametrize(("domain", "hostname"), [("a b", ""), ("", ""), ("192.0.2.1", ""), ("a.example", "-x")])
def test_init_refuses_what_is_no_name_and_makes_nothing(tmp_path: Path, domain: str, hostname: str) -> None:
    with pytest.raises(OperationFailed, match="no domain name") as refused:
        initialise(tmp_path / "new", domain, hostname)
    assert refused.value.exit_status == 2
    assert not (tmp_path / "new").exists()


def test_init_that_fails_half_way_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed, match="characters"):
        initialise(tmp_path, "example.org", password="short")
    initialise(tmp_path, "example.com", password="long enough")
    assert load(tmp_path / "postroad.toml").hostname == "mx.example.com"


def test_a_domain_and_an_account_can_come_before_the_first_start(tmp_path: Path) -> None:
    path = tmp_path / "postroad.toml"
    path.write_text('hostname = "mx.a.example"\ndata = "data"\n')
    house = TheHouse(path)
    assert house.perform("domain.add", {"domain": "a.example"})[0]["domain"] == "a.example"
    assert (tmp_path / "data" / "directory.db").stat().st_mode & 0o777 == 0o600


def test_the_development_folder_is_made_once_and_tells_the_same_passwords_again(tmp_path: Path) -> None:
    path, passwords = make_development(tmp_path / "var")
    assert set(passwords) == {"alice@example.test", "bob@example.test"}
    assert (tmp_path / "var" / "accounts.txt").stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert make_development(tmp_path / "var") == (path, passwords)
    assert path.read_text() == text
    configuration = load(path)
    assert all(endpoint.address == "127.0.0.1" for _, endpoint in configuration.listeners())
    assert all(endpoint.port > 1023 for _, endpoint in configuration.listeners())


def test_lost_development_passwords_are_made_anew(tmp_path: Path) -> None:
    _, before = make_development(tmp_path)
    (tmp_path / "accounts.txt").unlink()
    _, after = make_development(tmp_path)
    assert set(after) == set(before)
    assert after != before


def test_the_lines_to_try_name_everything_a_shell_needs(tmp_path: Path) -> None:
    path, passwords = make_development(tmp_path)
    lines = welcome(path, passwords)
    (send,) = [line for line in lines if "smtps://127.0.0.1:2465" in line]
    (fetch,) = [line for line in lines if "pop3s://127.0.0.1:2995/1" in line]
    assert f"--user alice@example.test:{passwords['alice@example.test']}" in send
    assert f"--user bob@example.test:{passwords['bob@example.test']}" in fetch
    assert str(tmp_path / "data/keys/certificate.pem") in send
    assert any("trace bob@example.test" in line for line in lines)


# ---- check -------------------------------------------------------------------------------------------


def configured(folder: Path, more: str = "", hostname: str = "mx.a.example", smtp: int = 0) -> Configuration:
    path = folder / "postroad.toml"
    off = "submission = []\nsubmissions = []\npop3 = []\npop3s = []\n"
    path.write_text(
        f'hostname = "{hostname}"\ndata = "data"\n[listen]\nsmtp = ["127.0.0.1:{smtp}"]\n{off}{NO_DNS}{more}'
    )
    return load(path)


def found(configuration: Configuration, what: str) -> list[Finding]:
    return [finding for finding in check(configuration) if finding.what == what]


def ready(folder: Path, *names: str) -> None:
    """A data folder with a certificate for these names."""
    path = folder / "postroad.toml"
    path.write_text('hostname = "mx.a.example"\ndata = "data"\n')
    TheHouse(path).perform("domain.list", {})
    keys = folder / "data" / "keys"
    write_identity(keys / "certificate.pem", keys / "key.pem", make_self_signed(*(names or ("mx.a.example",))))


def test_a_good_configuration_has_no_complaint_but_the_name_server_that_is_not_there(tmp_path: Path) -> None:
    ready(tmp_path)
    complaints = [finding for finding in check(configured(tmp_path)) if not finding.ok]
    assert [finding.what for finding in complaints] == ["dns"]
    assert all(finding.cure for finding in complaints)


def test_a_missing_data_folder_and_certificate_are_found(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    (data,) = found(configuration, "data")
    (certificate,) = found(configuration, "certificate")
    assert not data.ok
    assert "postroad init" in data.cure
    assert not certificate.ok


def test_files_that_others_can_read_are_found(tmp_path: Path) -> None:
    ready(tmp_path)
    data = tmp_path / "data"
    (data / "directory.db").chmod(0o644)
    (data / "keys" / "key.pem").chmod(0o644)
    data.chmod(0o755)
    configuration = configured(tmp_path)
    cures = [finding.cure for finding in found(configuration, "data modes")]
    assert cures == [f"chmod 711 {data}", f"chmod go= {data / 'directory.db'}"]
    (key,) = found(configuration, "key")
    assert key.cure == f"chmod 600 {data / 'keys' / 'key.pem'}"


def test_a_certificate_for_another_name_is_found(tmp_path: Path) -> None:
    ready(tmp_path, "other.example")
    (name,) = found(configured(tmp_path), "certificate name")
    assert "other.example" in name.finding
    ready(tmp_path, "*.a.example")
    assert found(configured(tmp_path), "certificate name") == []
    assert len(found(configured(tmp_path, hostname="deep.mx.a.example"), "certificate name")) == 1


@pytest.mark.parametrize(
    ("age", "words"), [(timedelta(days=4000), "not valid now"), (timedelta(days=3645), "it ends on")]
)
def test_a_certificate_near_its_end_is_found(tmp_path: Path, age: timedelta, words: str) -> None:
    ready(tmp_path)
    keys = tmp_path / "data" / "keys"
    old = make_self_signed("mx.a.example", now=datetime.now(UTC) - age)
    write_identity(keys / "certificate.pem", keys / "key.pem", old)
    (certificate,) = found(configured(tmp_path), "certificate")
    assert not certificate.ok
    assert words in certificate.finding


def test_a_key_that_does_not_fit_is_found(tmp_path: Path) -> None:
    ready(tmp_path)
    (tmp_path / "data" / "keys" / "key.pem").write_bytes(make_self_signed("mx.a.example")[1])
    (certificate,) = found(configured(tmp_path), "certificate")
    assert not certificate.ok


def test_a_port_of_another_program_is_found_and_one_of_our_own_server_is_right(tmp_path: Path) -> None:
    ready(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        configuration = configured(tmp_path, smtp=other.getsockname()[1])
        (port,) = found(configuration, "listen.smtp")
        assert not port.ok
        lock = FolderLock(tmp_path / "data")
        try:
            (port,) = found(configuration, "listen.smtp")
            assert port.ok
            (port,) = found(configured(tmp_path, smtp=free_port()), "listen.smtp")
            assert not port.ok
        finally:
            lock.release()


def test_a_name_that_nobody_else_knows_is_found(tmp_path: Path) -> None:
    ready(tmp_path)
    for name in ("localhost", "mail.local"):
        (hostname,) = found(configured(tmp_path, hostname=name), "hostname")
        assert not hostname.ok


def test_a_serving_user_who_is_not_there_or_is_root_is_found(tmp_path: Path) -> None:
    ready(tmp_path)
    for user in ("nobody-has-this-name", "root"):
        (finding,) = found(configured(tmp_path, f'[processes]\nuser = "{user}"\n'), "processes.user")
        assert not finding.ok


def test_a_password_of_the_smarthost_is_no_concern_of_a_user_who_hands_mail_in(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    more = '[delivery]\nsmarthost = "a:25"\nsmarthost_user = "u"\nsmarthost_password_file = "secret"\n'
    assert os.access(secret, os.R_OK)
    smarthost = configured(tmp_path, more).delivery_settings().smarthost
    assert smarthost is not None
    assert smarthost.password == "open sesame"
