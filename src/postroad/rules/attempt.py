"""One attempt to reach a destination, as an object that is asked "what next?" and told "this happened".

    walk = Walk(hosts, 25, ourselves)
    while not isinstance(step := walk.next_step(), NoWay):
        Lookup   -> walk.looked_up({host: addresses, or None where DNS failed for now})
        Connect  -> a session came about: done with walking; or walk.failed(...)

It owns no socket and waits for nothing. It knows the order (RFC 5321 section 5.1), the bound on addresses,
the second try without TLS, and what to make of it when every address has failed.

Which failure of a host is final? RFC 5321 section 5.1 has us try the next address after any of them, so it
only matters at the end. Only 521 and 556 say "no mail here, ever" (RFC 7504 section 4) and only when every
host says so is the mail returned at once. Other 5yz at the greeting, EHLO or AUTH are about *us* (a block
list, a password to correct) and as a rule pass when somebody acts: the mail is deferred, as Postfix does,
and the sender hears of it by the notification of delay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from postroad.rules.mx_order import (
    UNROUTABLE,
    Hosts,
    NoWay,
    Ourselves,
    is_private,
    literal_address,
    loop_to_ourselves,
)
from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.limits import ADDRESSES_PER_ATTEMPT
from postroad.vocabulary.outcome import Fate
from postroad.vocabulary.reply import Reply

NO_ANSWER = EnhancedStatus(4, 4, 1)
DNS_FAILED = EnhancedStatus(4, 4, 3)
NO_SUCH_DOMAIN = EnhancedStatus(5, 1, 2)
TLS_NOT_POSSIBLE = EnhancedStatus(4, 7, 5)
REQUIRETLS_NEEDED = EnhancedStatus(5, 7, 30)
"""REQUIRETLS support required (RFC 8689 section 6)."""
_NO_MAIL_HERE = (521, 556)


class Lookup(msgspec.Struct, frozen=True):
    """The addresses of these hosts are wanted; they are equals and may be asked for at the same time."""

    hosts: tuple[str, ...]


class Connect(msgspec.Struct, frozen=True):
    """Connect to this address of `host`. `tls` is False for the second try after a broken handshake."""

    host: str
    remote: Endpoint
    tls: bool = True


Step = Lookup | Connect | NoWay


class Walk:
    """The way through the hosts and addresses of one destination.

    hosts            in the order to try (mx_order.hosts_of_domain)
    port             the port of all of them
    configured       a route or the smart host: private addresses are then the administrator's own wish, and
                     a name that is not found is a mistake to correct and not a reason to return mail
    private_allowed  whether DNS may lead us to addresses that are not on the internet
    implicit         the host is the domain itself, which has no MX
    is_dead          whether an address could not be reached a short time ago: all others are tried before it
    clear_allowed    whether a broken TLS handshake may be followed by a try without TLS (opportunistic TLS,
                     RFC 7435 section 3: better than not at all)
    """

    def __init__(
        self,
        hosts: Hosts,
        port: int,
        ourselves: Ourselves,
        *,
        configured: bool = False,
        private_allowed: bool = False,
        clear_allowed: bool = True,
        implicit: bool = False,
        is_dead: Callable[[str], bool] = lambda address: False,
    ) -> None:
        self._levels = deque(hosts)
        self._domain = hosts[0][0]
        self._implicit = implicit
        self._is_dead = is_dead
        self._dead: list[Connect] = []
        self._port = port
        self._ourselves = ourselves
        self._configured = configured
        self._private_allowed = private_allowed or configured
        self._clear_allowed = clear_allowed
        self._targets: deque[Connect] = deque()
        self._asked: tuple[str, ...] = ()
        self._current: Connect | None = None
        self._tried = 0
        self._temporary: NoWay | None = None
        self._permanent: NoWay | None = None
        self._no_address: NoWay | None = None

    def next_step(self) -> Step:
        """What to do now. After a Lookup or a Connect it must first be told what came of it."""
        assert self._current is None, "the last Connect was not answered"
        assert not self._asked, "the last Lookup was not answered"
        if self._targets and self._tried < ADDRESSES_PER_ATTEMPT:
            self._tried += 1
            self._current = self._targets.popleft()
            return self._current
        if self._levels and self._tried < ADDRESSES_PER_ATTEMPT:
            hosts = self._levels.popleft()
            literals = {host: (address,) for host in hosts if (address := _address(host)) is not None}
            if len(literals) == len(hosts):
                self._take_level(literals)
                return self.next_step()
            self._asked = hosts
            return Lookup(hosts)
        if self._dead:
            self._targets.extend(self._dead)
            self._dead.clear()
            return self.next_step()
        return self._conclusion()

    def looked_up(self, found: Mapping[str, tuple[str, ...] | None]) -> None:
        """The answer to a Lookup: addresses by host; None where DNS had no answer for now."""
        asked, self._asked = self._asked, ()
        self._take_level({host: found.get(host, ()) for host in asked})

    def failed(self, text: str, *, reply: Reply | None = None, tls: bool = False, insecure: bool = False) -> None:
        """The answer to a Connect that led to no mail being taken: refused, timed out, a greeting or EHLO that
        said no (`reply`), cut before the end of the data; or (`tls`) the handshake broke; or (`insecure`) mail that
        requires TLS cannot go there, today or tomorrow."""
        target, self._current = self._current, None
        assert target is not None, "nothing was being tried"
        if tls and target.tls and self._clear_allowed:
            # The same address at once, not counted: it is one attempt at one host.
            self._tried -= 1
            self._targets.appendleft(Connect(target.host, target.remote, tls=False))
            return
        words = "" if reply is None else str(reply)
        address = target.remote.address
        if insecure:
            self._permanent = NoWay(Fate.FAILED, REQUIRETLS_NEEDED, text, target.host, address)
            return
        if reply is not None and reply.code in _NO_MAIL_HERE:
            self._permanent = NoWay(Fate.FAILED, status_of(reply), text, target.host, address, words)
            return
        if reply is not None:
            status = status_of(reply).with_class(4)
        else:
            status = TLS_NOT_POSSIBLE if tls else NO_ANSWER
        if reply is None and self._temporary is not None and self._temporary.reply:
            return  # what a host said tells more than the silence of the next
        self._temporary = NoWay(Fate.DEFERRED, status, text, target.host, address, words)

    def _take_level(self, found: Mapping[str, tuple[str, ...] | None]) -> None:
        """Line up the addresses of equal hosts, unless one of them is ourselves."""
        targets: list[Connect] = []
        dead: list[Connect] = []
        for host, addresses in found.items():
            if addresses is None:
                self._temporary = NoWay(
                    Fate.DEFERRED, DNS_FAILED, f"The addresses of {host} could not be looked up just now.", host
                )
                continue
            if not addresses:
                self._note_no_address(host)
            for address in addresses:
                remote = Endpoint(address, self._port)
                if self._ourselves.is_here(remote):
                    # RFC 5321 section 5.1: neither us nor anyone who is not better than us.
                    self._no_address = self._no_address or loop_to_ourselves(self._domain)
                    self._levels.clear()
                    return
                if not self._private_allowed and is_private(address):
                    self._no_address = NoWay(
                        Fate.FAILED,
                        UNROUTABLE,
                        f"{host} has the address {address}, which is not on the internet. "
                        'Set delivery.private_destinations = "allow" or a [[route]] if it is meant.',
                        host,
                    )
                    continue
                (dead if self._is_dead(address) else targets).append(Connect(host, remote))
        self._targets.extend(targets)
        self._dead.extend(dead)

    def _note_no_address(self, host: str) -> None:
        if self._configured:
            self._temporary = NoWay(
                Fate.DEFERRED, DNS_FAILED, f"The configured host {host} has no address in DNS.", host
            )
        elif self._implicit:
            self._no_address = NoWay(
                Fate.FAILED, NO_SUCH_DOMAIN, f"The domain {host} has neither an MX nor an address in DNS."
            )
        else:
            # RFC 5321 section 5.1: MX that lead nowhere are an error, not a reason to use the domain itself.
            self._no_address = NoWay(Fate.FAILED, UNROUTABLE, f"The MX host {host} has no address in DNS.", host)

    def _conclusion(self) -> NoWay:
        """Hope first: one host that may answer later is enough to wait for it."""
        verdict = self._temporary or self._permanent or self._no_address
        return verdict or NoWay(Fate.DEFERRED, NO_ANSWER, f"No host for {self._domain} could be reached.")


def _address(host: str) -> str | None:
    return literal_address(host if host.startswith("[") else f"[{host}]")


def status_of(reply: Reply) -> EnhancedStatus:
    """The reply's enhanced status, or the plainest one of its class (RFC 3463 section 3.1)."""
    return reply.status or EnhancedStatus(reply.code // 100, 0, 0)
