"""The configuration: one TOML file, read once, checked whole, then frozen.

`load` gives a `Configuration` or a ConfigurationError that lists every problem with its line; nothing starts
half-configured. Components get their own part of it as the values of `vocabulary/settings.py`. No value
comes from the environment.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from postroad.app.complaints import complaints
from postroad.app.errors import ConfigurationError
from postroad.app.lines import KeyPath, key_lines, syntax_error
from postroad.app.location import DEFAULT_DATA, find_configuration
from postroad.app.sections import (
    ROUTES,
    ArchiveSection,
    DeliverySection,
    DnsSection,
    DomainName,
    LedgerSection,
    LimitsSection,
    ListenSection,
    OptionalPath,
    PolicySection,
    Pop3Section,
    ProcessesSection,
    QueueSection,
    RouteSection,
    Section,
    TlsSection,
)
from postroad.app.waiting import (
    HoldSection,
    PickupSection,
    check_holds,
    check_pickups,
    hold_domains,
    pickups_of,
)
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import HOLDS, PASSWORD_BYTES, PICKUPS
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import (
    AccountLimits,
    DeliverySettings,
    HoldDomain,
    LimitSettings,
    Pickup,
    PlaintextLogin,
    PolicySettings,
    RetrySettings,
    Route,
    Smarthost,
    SmarthostTls,
)

__all__ = ["DEFAULT_DATA", "Configuration", "find_configuration", "load", "parse"]

CONFIGURATION_BYTES = 4_194_304
"""A larger file is not one that somebody wrote."""


class Configuration(Section):
    """All of it. `path` is the file it came from, `text` what it said, `lines` where each of its keys stands."""

    hostname: DomainName = Field(description="the name in greetings, EHLO and Received; has an address in DNS")
    data: OptionalPath = Field(DEFAULT_DATA, description="queue, mailboxes, accounts, keys")
    processes: ProcessesSection = ProcessesSection()
    listen: ListenSection = ListenSection()
    tls: TlsSection = TlsSection()
    dns: DnsSection = DnsSection()
    delivery: DeliverySection = DeliverySection()
    route: tuple[RouteSection, ...] = Field((), strict=False, max_length=ROUTES)
    hold: tuple[HoldSection, ...] = Field((), strict=False, max_length=HOLDS)
    pickup: tuple[PickupSection, ...] = Field((), strict=False, max_length=PICKUPS)
    queue: QueueSection = QueueSection()
    limits: LimitsSection = LimitsSection()
    policy: PolicySection = PolicySection()
    pop3: Pop3Section = Pop3Section()
    archive: ArchiveSection = ArchiveSection()
    ledger: LedgerSection = LedgerSection()

    _path: Path = PrivateAttr(default=Path("postroad.toml"))
    _lines: dict[KeyPath, int] = PrivateAttr(default_factory=dict)
    _text: str = PrivateAttr(default="")

    @property
    def path(self) -> Path:
        return self._path

    @property
    def text(self) -> str:
        """The file as it was read; `parse` makes the same of it in another process."""
        return self._text

    @property
    def lines(self) -> dict[KeyPath, int]:
        return self._lines

    # ---- folders and files ---------------------------------------------------------------------------

    @property
    def data_folder(self) -> Path:
        return self.data or DEFAULT_DATA

    @property
    def run_folder(self) -> Path:
        return self.data_folder / "run"

    @property
    def control_socket(self) -> Path:
        return self.run_folder / "control.sock"

    @property
    def submit_socket(self) -> Path:
        return self.run_folder / "submit.sock"

    @property
    def certificate_file(self) -> Path:
        return self.tls.certificate or self.data_folder / "keys" / "certificate.pem"

    @property
    def key_file(self) -> Path:
        return self.tls.key or self.data_folder / "keys" / "key.pem"

    # ---- what the components get ---------------------------------------------------------------------

    def listeners(self) -> tuple[tuple[ListenerRole, Endpoint], ...]:
        """Every door with its address, in the order of the file's sections; not the Unix socket."""
        listen = self.listen
        return tuple(
            (role, address)
            for role, addresses in (
                (ListenerRole.SMTP, listen.smtp),
                (ListenerRole.SMTP_PROXY, listen.smtp_proxy),
                (ListenerRole.LMTP, tuple(one for one in listen.lmtp if isinstance(one, Endpoint))),
                (ListenerRole.SUBMISSION, listen.submission),
                (ListenerRole.SUBMISSIONS, listen.submissions),
                (ListenerRole.ODMR, listen.odmr),
                (ListenerRole.POP3, listen.pop3),
                (ListenerRole.POP3S, listen.pop3s),
            )
            for address in addresses
        )

    def local_listeners(self) -> tuple[tuple[ListenerRole, Path], ...]:
        """Doors that are Unix sockets, but for our own in run/."""
        return tuple((ListenerRole.LMTP, one) for one in self.listen.lmtp if isinstance(one, Path))

    def delivery_settings(self) -> DeliverySettings:
        """Reads the smarthost's password from its file. Raises ConfigurationError when that has gone."""
        delivery = self.delivery
        return DeliverySettings(
            hostname=self.hostname,
            smarthost=self._smarthost(),
            routes=tuple(
                Route(route.domain, route.to.address, route.to.port, route.tls, route.rate) for route in self.route
            ),
            hold_domains=frozenset(hold.domain for hold in self.hold),
            port=delivery.port,
            bind=delivery.bind,
            private_destinations_allowed=delivery.private_destinations == "allow",
            offline=delivery.offline,
            destination_connections=delivery.destination_connections,
            destination_rate=delivery.destination_rate,
            recipients_per_transaction=delivery.recipients_per_transaction,
            messages_per_connection=delivery.messages_per_connection,
            connection_idle_s=delivery.connection_idle_s,
        )

    def _smarthost(self) -> Smarthost | None:
        delivery = self.delivery
        if delivery.smarthost is None:
            return None
        user, file = delivery.smarthost_user, delivery.smarthost_password_file
        return Smarthost(
            host=delivery.smarthost.address,
            port=delivery.smarthost.port,
            user=user,
            password=_password(file) if user and file else "",
            # Credentials go to nobody whose name was not proved.
            tls=SmarthostTls.VERIFIED if user else delivery.smarthost_tls,
        )

    def retry_settings(self) -> RetrySettings:
        queue = self.queue
        return RetrySettings(
            waits=queue.retry,
            give_up_after=queue.give_up_after,
            attempts_max=queue.attempts_max,
            warn_after=queue.warn_after,
        )

    def limit_settings(self) -> LimitSettings:
        account = AccountLimits(**self.limits.account.model_dump())
        return LimitSettings(**self.limits.model_dump(exclude={"account"}), account=account)

    def policy_settings(self) -> PolicySettings:
        return PolicySettings(**self.policy.model_dump())

    def hold_settings(self) -> tuple[HoldDomain, ...]:
        return hold_domains(self.hold)

    def pickup_settings(self) -> tuple[Pickup, ...]:
        """Reads their passwords from their files. Raises ConfigurationError when one has gone."""
        return pickups_of(self.pickup, _password)

    def plaintext_login(self) -> PlaintextLogin:
        return self.pop3.plaintext_login

    # ---- what no single key can tell -----------------------------------------------------------------

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        delivery = self.delivery
        if (self.tls.certificate is None) != (self.tls.key is None):
            raise ValueError("tls: only one of certificate and key is given; expected both, or neither")
        if delivery.smarthost_user and delivery.smarthost is None:
            raise ValueError('delivery.smarthost_user: no smarthost; expected delivery.smarthost = "host:port"')
        if delivery.smarthost_user and delivery.smarthost_password_file is None:
            raise ValueError("delivery.smarthost_user: without a password; expected delivery.smarthost_password_file")
        asked = "smarthost_tls" in delivery.model_fields_set
        if delivery.smarthost_user and asked and delivery.smarthost_tls is not SmarthostTls.VERIFIED:
            raise ValueError(
                f'delivery.smarthost_tls: "{delivery.smarthost_tls}" would give the password to whoever answers; '
                'expected "verified" where there is a smarthost_user'
            )
        check_holds(self.hold)
        check_pickups(self.pickup)
        _check_password("delivery.smarthost_password_file", delivery.smarthost_user, delivery.smarthost_password_file)
        for number, pickup in enumerate(self.pickup):
            _check_password(f"pickup.{number}.password_file", pickup.user, pickup.password_file)
        return self


def _check_password(key: str, user: str, file: Path | None) -> None:
    """Raises ValueError for a password file that is of no use. Local users read the configuration to hand mail in;
    the passwords are not theirs to see, and not their concern."""
    if user and file and (os.access(file, os.R_OK) or not file.exists()):
        try:
            _password(file)
        except ConfigurationError as error:
            raise ValueError(f"{key}: {error}") from None


def _password(file: Path) -> str:
    """The first line of a password file. Raises ConfigurationError."""
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            octets = stream.read(PASSWORD_BYTES + 2)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({error.strerror}); expected the password there") from None
    if mode & 0o007:
        raise ConfigurationError(f"{file} can be read by everybody; expected mode 0600 (chmod 600 {file})")
    password = octets.split(b"\n")[0].rstrip(b"\r")
    try:
        text = password.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not UTF-8; expected the password on its first line") from None
    if not text or len(password) > PASSWORD_BYTES or "\0" in text:
        raise ConfigurationError(f"{file} has no usable first line; expected the password there, alone")
    return text


def load(path: Path) -> Configuration:
    """Read and check the file. Raises ConfigurationError with every problem, one a line."""
    try:
        with path.open("rb") as stream:
            octets = stream.read(CONFIGURATION_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}; expected a TOML file") from None
    if len(octets) > CONFIGURATION_BYTES:
        raise ConfigurationError(f"{path}: over {CONFIGURATION_BYTES} octets; expected a configuration file")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: an octet that is not UTF-8; expected UTF-8 text") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Configuration:
    """As `load`, for the text of the file. Paths in it are meant from the folder of `path`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, words = syntax_error(text, str(error))
        raise ConfigurationError(f"{path}:{line}: {words}; expected TOML (https://toml.io)") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: nested too deep; expected the sections of `postroad init`") from None
    lines = key_lines(text)
    try:
        configuration = Configuration.model_validate(table, context={"folder": str(path.absolute().parent)})
    except ValidationError as error:
        raise ConfigurationError(*complaints(Configuration, error, path, lines)) from None
    configuration._path = path.absolute()
    configuration._lines = lines
    configuration._text = text
    return configuration
