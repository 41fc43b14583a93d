"""The sections of the configuration file as frozen models; each field says what it is for.

A default here is the product's; the description is what `postroad init` writes above the key. Keys of
capabilities that this version does not have are known, so that a file written for a later version is
refused in clear words instead of being half obeyed.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from postroad.app import values
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.settings import BareNewline, OverQuota, PlaintextLogin, Severity, SmarthostTls, WhoMayAsk

RETRY_STEPS = 100
"""Waits of [queue] retry: far more than five days have use for."""

ROUTES = 10_000
LIST_ITEMS = 100_000
"""Entries of a list in the file, such as blocked networks."""

Duration = Annotated[
    timedelta, BeforeValidator(values.parse_duration), AfterValidator(values.at_least(timedelta(seconds=1)))
]
Days = Annotated[timedelta, BeforeValidator(values.parse_duration), AfterValidator(values.at_least(timedelta(days=1)))]
ListenAddress = Annotated[Endpoint, BeforeValidator(values.parse_endpoint)]
NameServer = Annotated[Endpoint, BeforeValidator(values.parse_name_server)]
HostPort = Annotated[Endpoint, BeforeValidator(values.parse_host_port)]
Address = Annotated[str, BeforeValidator(values.parse_address)]
Network = Annotated[str, BeforeValidator(values.parse_network)]
Client = Annotated[str, BeforeValidator(values.parse_client)]
Sender = Annotated[str, BeforeValidator(values.parse_sender)]
DomainName = Annotated[str, BeforeValidator(values.parse_domain)]
DomainPattern = Annotated[str, BeforeValidator(values.parse_domain_pattern)]
Listeners = Annotated[tuple[ListenAddress, ...], Field(strict=False, max_length=64)]


def _resolve(text: object, info: ValidationInfo) -> object:
    """A path of the file is meant from the folder the file is in."""
    if isinstance(text, Path):
        return text
    if not isinstance(text, str) or "\0" in text:
        raise ValueError("is no path; expected text in quotes")
    if not text:
        return None
    return (Path((info.context or {}).get("folder", "/")) / text).absolute()


def _lmtp(text: object, info: ValidationInfo) -> object:
    return values.parse_lmtp(text, Path((info.context or {}).get("folder", "/")))


LmtpAddress = Annotated[Endpoint | Path, BeforeValidator(_lmtp)]
OptionalPath = Annotated[Path | None, BeforeValidator(_resolve)]


def not_yet(off: object) -> Any:
    """A key that this version knows and cannot obey."""
    return Field(off, json_schema_extra={"not_yet": True})


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )

    @field_validator("*", mode="after")
    @classmethod
    def _refuse_what_is_not_built(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("not_yet"):
            value = tuple(value) if isinstance(value, list) else value
            if value != field.default or type(value) is not type(field.default):
                off = "[]" if field.default == () else values.shown(field.default)
                raise ValueError(f"this version of Postroad does not have it yet; leave it out or set it to {off}")
        return value


class ProcessesSection(Section):
    """Who serves, and how many."""

    user: str = Field("", description="who serves, when started as root")
    workers: int = Field(0, ge=0, le=64, description="transport workers; 0 means one up to 4 cores")


class ListenSection(Section):
    """Lists of address:port; an empty list turns the door off. "[::]" is both families."""

    smtp: Listeners = Field((Endpoint("::", 25),), description="from the internet, for our own domains only")
    submission: Listeners = Field((Endpoint("::", 587),), description="our users: STARTTLS, then AUTH")
    submissions: Listeners = Field((Endpoint("::", 465),), description="our users: TLS from the first octet")
    smtp_proxy: Listeners = Field((), description="the same behind a balancer, which must send a PROXY header")
    lmtp: tuple[LmtpAddress, ...] = Field(
        (), strict=False, max_length=64, description="from another mail system here: paths of sockets, or loopback"
    )
    odmr: Listeners = Field((), description="those whose mail we hold: ATRN (RFC 2645); the usual port is 366")
    pop3: Listeners = Field((Endpoint("::", 110),), description="fetching mail: STLS, then login")
    pop3s: Listeners = Field((Endpoint("::", 995),), description="fetching mail: TLS from the first octet")
    http: Any = not_yet(())


class TlsSection(Section):
    """Our certificate; it is read again when the files change."""

    certificate: OptionalPath = Field(None, description="PEM with the full chain; empty: the one that init made")
    key: OptionalPath = Field(None, description="PEM, the private key of it, readable by the serving user alone")


class DnsSection(Section):
    """Where names are looked up."""

    servers: tuple[NameServer, ...] = Field(
        (), strict=False, max_length=8, description='such as "127.0.0.1:5353"; empty: the system\'s own'
    )


class DeliverySection(Section):
    """Mail on its way out."""

    smarthost: HostPort | None = Field(None, description='all of it by way of "host:port"; empty: by MX')
    smarthost_user: str = Field("", max_length=255, description="the name to log in with there")
    smarthost_password_file: OptionalPath = Field(None, description="its password, in a file that others cannot read")
    smarthost_tls: SmarthostTls = Field(
        SmarthostTls.OPPORTUNISTIC,
        strict=False,
        description='"none", "opportunistic" or "verified"; always "verified" when there is a user',
    )
    port: int = Field(25, ge=1, le=65_535, description="the port of other MTAs")
    bind: tuple[Address, ...] = Field((), strict=False, max_length=64, description="local addresses to send from")
    private_destinations: str = Field(
        "refuse",
        pattern="^(refuse|allow)$",
        description='"refuse" or "allow": loopback, private and link-local addresses found by MX',
    )
    offline: bool = Field(False, description="keep everything queued, spend no attempt")
    destination_connections: int = Field(20, ge=1, le=1000, description="at once, for each destination")
    destination_rate: int = Field(
        0, ge=0, le=1_000_000, description="messages a minute to each destination, evenly; 0 is no limit"
    )
    recipients_per_transaction: int = Field(100, ge=1, le=10_000, description="more are sent in further transactions")
    messages_per_connection: int = Field(100, ge=1, le=100_000, description="then a new connection is made")
    connection_idle_s: float = Field(5.0, ge=0, le=300, description="an open connection waits this long for more")

    @field_validator("smarthost", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value


class RouteSection(Section):
    """An exception from MX: the first that fits a domain wins."""

    domain: DomainPattern = Field(description='a domain, or "*.domain" for all below it')
    to: HostPort = Field(description='"host:port"')
    tls: SmarthostTls = Field(
        SmarthostTls.OPPORTUNISTIC,
        strict=False,
        description='"none", "opportunistic" or "verified"; mail that requires TLS goes only where it is "verified"',
    )
    rate: int | None = Field(
        None, ge=0, le=1_000_000, description="messages a minute, instead of delivery.destination_rate; 0 is no limit"
    )


class QueueSection(Section):
    """Mail that could not be delivered at once."""

    retry: tuple[Duration, ...] = Field(
        tuple(timedelta(minutes=m) for m in (5, 15, 30, 60, 120, 240)),
        strict=False,
        min_length=1,
        max_length=RETRY_STEPS,
        description="the waits between attempts; the last repeats",
    )
    give_up_after: Duration = Field(timedelta(days=5), description="then it is returned")
    attempts_max: int = Field(250, ge=1, le=100_000, description="the same, whichever comes first")
    warn_after: Duration = Field(timedelta(hours=4), description="a notice of the delay")


class AccountLimitsSection(Section):
    """For each account, where `postroad account limit` has not said otherwise; 0 is no limit."""

    messages_per_hour: int = Field(500, ge=0, le=10_000_000, description="accepted from it; more get 450 4.7.1")
    recipients_per_day: int = Field(5000, ge=0, le=10_000_000, description="of all its messages; likewise")
    connections: int = Field(50, ge=0, le=1_000_000, description="sessions at once that have logged in as it")
    quota_bytes: int = Field(0, ge=0, le=2**50, description="what a mailbox holds")
    over_quota: OverQuota = Field(
        OverQuota.DEFER, strict=False, description='mail for a full one: "defer" (452 4.2.2) or "reject" (552 5.2.2)'
    )


class LimitsSection(Section):
    """What one client, or all together, may ask of us."""

    # RFC 5321 section 4.5.3.1.7: a server must be able to take content of 64 KiB.
    message_bytes: int = Field(52_428_800, ge=65_536, le=2**31 - 1, description="announced by SIZE")
    # RFC 5321 section 4.5.3.1.8: at least 100 recipients must be taken.
    recipients: int = Field(1000, ge=100, le=100_000, description="of one transaction; more get 452")
    hops: int = Field(100, ge=10, le=1000, description="Received fields; more are taken for a loop: 554 5.4.6")
    sessions: int = Field(20_000, ge=1, le=1_000_000, description="connections at once, of all clients")
    sessions_per_client: int = Field(
        50, ge=1, le=1_000_000, description="connections at once, of one client; four times as many of its network"
    )
    connections_per_minute: int = Field(
        600, ge=0, le=1_000_000, description="new connections of one client, likewise; 0 is no limit"
    )
    session_s: float = Field(3600.0, ge=1, le=86_400, description="how long one lasts; acts between transactions only")
    messages_per_session: int = Field(1000, ge=1, le=10_000_000, description="likewise")
    bad_commands: int = Field(10, ge=1, le=1000, description="then 421")
    command_s: float = Field(300.0, ge=1, le=3600, description="the longest silence (RFC 5321 section 4.5.3.2)")
    exempt: tuple[Network, ...] = Field(
        (), strict=False, max_length=LIST_ITEMS, description="networks without the limits of a single client"
    )
    account: AccountLimitsSection = AccountLimitsSection()


class PolicySection(Section):
    """Whom we believe. The first five are "off", "tag", "defer" or "reject"."""

    reverse_dns: Severity = Field(Severity.TAG, strict=False, description="no PTR record, or none that leads back")
    helo: Severity = Field(Severity.TAG, strict=False, description="a HELO name without an address, or our own")
    sender_domain: Severity = Field(
        Severity.REJECT, strict=False, description="a sender's domain with neither MX nor address"
    )
    sender_host: Severity = Field(
        Severity.OFF, strict=False, description="a client that is no host of its HELO or sender's domain"
    )
    own_sender: Severity = Field(Severity.TAG, strict=False, description="a stranger who writes as one of us")
    bare_newline: BareNewline = Field(
        BareNewline.REJECT, strict=False, description='or "normalise": a CR or LF alone inside the content'
    )
    greeting_delay_s: float = Field(
        0.0, ge=0, le=60, description="strangers wait so long for our greeting; who speaks before it is refused"
    )
    trusted_networks: tuple[Network, ...] = Field(
        (), strict=False, max_length=LIST_ITEMS, description="may relay without logging in: printers, applications"
    )
    block_clients: tuple[Client, ...] = Field(
        (), strict=False, max_length=LIST_ITEMS, description="networks and names that may not send at all"
    )
    block_senders: tuple[Sender, ...] = Field(
        (), strict=False, max_length=LIST_ITEMS, description="addresses and domains that may not send"
    )
    vrfy: WhoMayAsk = Field(
        WhoMayAsk.AUTHENTICATED, strict=False, description='who may ask VRFY: "never", "authenticated", "anyone"'
    )
    expn: WhoMayAsk = Field(WhoMayAsk.AUTHENTICATED, strict=False, description="who may ask EXPN, likewise")
    legacy_commands: WhoMayAsk = Field(
        WhoMayAsk.AUTHENTICATED, strict=False, description="who may use SEND, SOML and SAML, likewise"
    )
    xclient: tuple[Network, ...] = Field(
        (), strict=False, max_length=LIST_ITEMS, description="front ends that may tell whose connection they pass on"
    )


class Pop3Section(Section):
    """Fetching mail."""

    plaintext_login: PlaintextLogin = Field(
        PlaintextLogin.LOOPBACK, strict=False, description='passwords without TLS: "never", "loopback", "always"'
    )
    apop: bool = Field(False, description="offer APOP to accounts that were added with --cram-md5")
    scram_plus: bool = Field(
        False, description="offer SCRAM-SHA-256-PLUS: some clients take it and then cannot do it over TLS 1.3"
    )


class ArchiveSection(Section):
    """The journal: all mail of these domains, kept in a form that cannot be changed unnoticed."""

    domains: tuple[DomainName, ...] = Field(
        (), strict=False, max_length=LIST_ITEMS, description="mail from them and to them is archived"
    )
    keep: Days = Field(
        timedelta(days=180), description="then content and envelopes go, and their hashes stay; a legal hold keeps them"
    )


class LedgerSection(Section):
    """The story of every message."""

    keep: Days = Field(timedelta(days=30), description="how long stories are kept")
