"""What an administrator decides, as frozen values: each component receives its own section.

`app/configuration.py` reads and checks the file and makes these; the defaults here are the product's.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import msgspec

from postroad.vocabulary.address import Mailbox


class SmarthostTls(StrEnum):
    """Of the smart host, a route or a pickup."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    VERIFIED = "verified"


class Smarthost(msgspec.Struct, frozen=True):
    host: str
    port: int
    user: str = ""
    password: str = ""
    tls: SmarthostTls = SmarthostTls.OPPORTUNISTIC


class Route(msgspec.Struct, frozen=True):
    """`pattern` is a domain or "*.domain"; the first match wins. With `tls` "verified" nothing goes there but inside
    TLS with a certificate for `host`, and so mail that requires TLS may (RFC 8689). `rate` takes the place of
    `destination_rate`, None does not."""

    pattern: str
    host: str
    port: int
    tls: SmarthostTls = SmarthostTls.OPPORTUNISTIC
    rate: int | None = None


class HoldDomain(msgspec.Struct, frozen=True):
    """Mail for `domain` waits here until `owner` fetches it by ETRN, ATRN or TURN, at most for `keep`."""

    domain: str
    owner: str
    """The account's address, in the form of `Mailbox.key()`."""
    keep: timedelta = timedelta(days=30)


class PickupMethod(StrEnum):
    ETRN = "etrn"
    """Ask the server to send it to us, by MX (RFC 1985)."""
    ATRN = "atrn"
    """Take it over our own connection (RFC 2645)."""
    TURN = "turn"
    """The same by RFC 821 section 3.8."""
    POP3 = "pop3"
    """Fetch a maildrop (RFC 1939)."""


class Pickup(msgspec.Struct, frozen=True):
    """Mail of ours that waits elsewhere. `domains`: for ETRN, each; for ATRN, none is all that is ours there.
    `deliver_to`: the address here that mail fetched by POP3 is for. `every` None: only when asked."""

    name: str
    host: str
    port: int
    method: PickupMethod
    user: str = ""
    password: str = ""
    tls: SmarthostTls = SmarthostTls.VERIFIED
    every: timedelta | None = None
    domains: tuple[str, ...] = ()
    deliver_to: Mailbox | None = None

    def __repr__(self) -> str:
        return f"Pickup(name={self.name!r}, host={self.host!r}, method={self.method.value!r}, ...)"


class DeliverySettings(msgspec.Struct, frozen=True):
    hostname: str
    smarthost: Smarthost | None = None
    routes: tuple[Route, ...] = ()
    hold_domains: frozenset[str] = frozenset()
    """Domains whose mail goes into a hold."""
    port: int = 25
    bind: tuple[str, ...] = ()
    private_destinations_allowed: bool = False
    offline: bool = False
    destination_connections: int = 20
    destination_rate: int = 0
    """Messages a minute to one set of hosts, each of their transactions counted; 0 is no limit."""
    recipients_per_transaction: int = 100
    messages_per_connection: int = 100
    connection_idle_s: float = 5.0


class RetrySettings(msgspec.Struct, frozen=True):
    waits: tuple[timedelta, ...] = (
        timedelta(minutes=5),
        timedelta(minutes=15),
        timedelta(minutes=30),
        timedelta(hours=1),
        timedelta(hours=2),
        timedelta(hours=4),
    )
    give_up_after: timedelta = timedelta(days=5)
    attempts_max: int = 250
    warn_after: timedelta = timedelta(hours=4)


class OverQuota(StrEnum):
    """What becomes of mail for a mailbox that is full."""

    DEFER = "defer"
    """452 4.2.2; what was accepted before waits in the queue."""
    REJECT = "reject"
    """552 5.2.2; what was accepted before is returned."""


class AccountLimits(msgspec.Struct, frozen=True):
    """Of each account that has none of its own; 0 is no limit. Messages and recipients are those accepted from it."""

    messages_per_hour: int = 500
    recipients_per_day: int = 5000
    connections: int = 50
    """Sessions at once that have logged in as it."""
    quota_bytes: int = 0
    over_quota: OverQuota = OverQuota.DEFER


class LimitSettings(msgspec.Struct, frozen=True):
    message_bytes: int = 52_428_800
    recipients: int = 1000
    hops: int = 100
    sessions: int = 20_000
    sessions_per_client: int = 50
    """A network, the /24 or /48 that a client is in, may have NETWORK_SHARE times as many of strangers."""
    connections_per_minute: int = 600
    """Of one client; a network likewise."""
    session_s: float = 3600.0
    messages_per_session: int = 1000
    bad_commands: int = 10
    command_s: float = 300.0
    exempt: tuple[str, ...] = ()
    """Networks (CIDR) without per-client limits."""
    account: AccountLimits = AccountLimits()


class Severity(StrEnum):
    """What a rule about clients does when it does not hold."""

    OFF = "off"
    TAG = "tag"
    DEFER = "defer"
    REJECT = "reject"


class WhoMayAsk(StrEnum):
    NEVER = "never"
    AUTHENTICATED = "authenticated"
    ANYONE = "anyone"


class BareNewline(StrEnum):
    REJECT = "reject"
    NORMALISE = "normalise"


class PolicySettings(msgspec.Struct, frozen=True):
    reverse_dns: Severity = Severity.TAG
    helo: Severity = Severity.TAG
    sender_domain: Severity = Severity.REJECT
    sender_host: Severity = Severity.OFF
    own_sender: Severity = Severity.TAG
    bare_newline: BareNewline = BareNewline.REJECT
    greeting_delay_s: float = 0.0
    """How long a stranger waits for the 220; who speaks before it is refused. 0 for not at all."""
    trusted_networks: tuple[str, ...] = ()
    block_clients: tuple[str, ...] = ()
    block_senders: tuple[str, ...] = ()
    vrfy: WhoMayAsk = WhoMayAsk.AUTHENTICATED
    expn: WhoMayAsk = WhoMayAsk.AUTHENTICATED
    legacy_commands: WhoMayAsk = WhoMayAsk.AUTHENTICATED
    """SEND, SOML and SAML."""
    xclient: tuple[str, ...] = ()
    """Addresses (CIDR) of front ends that may tell whose connection they pass on."""


class PlaintextLogin(StrEnum):
    """POP3 USER and PASS without TLS."""

    NEVER = "never"
    LOOPBACK = "loopback"
    ALWAYS = "always"
