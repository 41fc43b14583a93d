"""What a contract may raise. No driver's exception passes a contract, and no store knows a reply."""

from __future__ import annotations


class StoreUnavailable(Exception):
    """The store cannot do it now; nothing was written. Try again later (4.3.0)."""


class StoreFull(StoreUnavailable):
    """No room on the disk (4.3.1)."""


class StoreDamaged(StoreUnavailable):
    """What was written is not there as it was written: nothing can be done until an administrator has put it right."""


class AcceptedBefore(Exception):
    """A message with this key was taken before; this one was not."""


class LeaseLost(Exception):
    """Another owner has taken the shard since: nothing was written, the outcomes must be dropped."""


class NoSuchMailbox(Exception):
    """The account is not, or no longer, there."""


class MaildropLocked(Exception):
    """Another session holds the maildrop (RFC 1939 section 4)."""


class Busy(Exception):
    """A bounded queue is full; the client should try again (454 4.7.0 for a password)."""


class DnsTemporary(Exception):
    """The name could not be looked up now: SERVFAIL, a time-out, no server. Never a verdict on the name."""


class ConnectFailed(Exception):
    """No connection came about; the text says why in words for people."""


class Unreachable(ConnectFailed):
    """Nothing came back at all: no route, or no answer. It may be our own network that is away."""


class TlsFailed(Exception):
    """The handshake failed; the text says why in words for people."""


class CertificateRefused(TlsFailed):
    """It failed because the certificate is not valid for the server's name: trying again will not help."""
