"""The doors of the house: what a listener is for decides what its clients may do."""

from __future__ import annotations

from enum import StrEnum


class ListenerRole(StrEnum):
    """The names are those of the `[listen]` section, and of the ledger."""

    SMTP = "smtp"
    """From other MTAs, for local domains only (RFC 5321)."""
    SMTP_PROXY = "smtp_proxy"
    """The same from behind a balancer, which says in a PROXY header who the client is."""
    LMTP = "lmtp"
    """From a mail system on this machine, for mailboxes here (RFC 2033). Never port 25."""
    SUBMISSION = "submission"
    """From our users: STARTTLS, then AUTH (RFC 6409)."""
    SUBMISSIONS = "submissions"
    """From our users: TLS from the first octet (RFC 8314 section 3.3)."""
    ODMR = "odmr"
    """From those whose mail we hold: ATRN and nothing else (RFC 2645), port 366."""
    PICKUP = "pickup"
    """No door: what a `[[pickup]]` fetched, over a connection that we opened ourselves."""
    LOCAL = "local"
    """From the machine's own Unix users, over run/submit.sock, known by their peer credentials."""
    POP3 = "pop3"
    POP3S = "pop3s"

    @property
    def implicit_tls(self) -> bool:
        return self in _IMPLICIT_TLS

    @property
    def is_open_to_strangers(self) -> bool:
        """Mail from everywhere comes in here; the rules about clients and senders apply."""
        return self in _OPEN_TO_STRANGERS

    @property
    def is_submission(self) -> bool:
        return self in _SUBMISSION


# Asked for every message; in Python 3.11 looking members up in their enumeration costs more than all the rest.
_IMPLICIT_TLS = (ListenerRole.SUBMISSIONS, ListenerRole.POP3S)
_OPEN_TO_STRANGERS = (ListenerRole.SMTP, ListenerRole.SMTP_PROXY)
_SUBMISSION = (ListenerRole.SUBMISSION, ListenerRole.SUBMISSIONS, ListenerRole.LOCAL)
