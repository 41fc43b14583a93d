"""What each door offers, and to whom: the profiles of the SMTP sessions of one listener.

Prepared once and shared: a session's words are made from its profile, and made once for each.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from postroad.rules.networks import NetworkSet
from postroad.services.authentication import ODMR_MECHANISMS, SUBMISSION_MECHANISMS
from postroad.services.reception_parts import ReceptionSettings
from postroad.vocabulary.limits import FUTURE_RELEASE_MAX_S
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import WhoMayAsk
from postroad.wire.sasl import MECHANISMS
from postroad.wire.smtp.server_profile import ServerProfile

_WITHOUT_TLS = ("SCRAM-SHA-256", "CRAM-MD5")
_BY_LOGIN = (ListenerRole.SUBMISSION, ListenerRole.SUBMISSIONS)


class SmtpProfiles:
    """`channel_binding` is that of the certificate now in use; `has_entropy` allows mechanisms that need a nonce."""

    def __init__(
        self,
        settings: ReceptionSettings,
        role: ListenerRole,
        *,
        channel_binding: Callable[[], bytes],
        has_entropy: bool,
    ) -> None:
        policy = settings.policy
        self._channel_binding = channel_binding
        self._plain = _profile(settings, role, has_entropy=has_entropy)
        self._front_ends = NetworkSet(policy.xclient if role is not ListenerRole.LMTP else ())
        self._front_end = structs.replace(self._plain, xclient=True)
        self._waiting = structs.replace(self._plain, greeting_held=True)
        self._holds_greeting = role.is_open_to_strangers and policy.greeting_delay_s > 0
        self._known = NetworkSet((*policy.trusted_networks, *settings.limits.exempt))

    def of(self, address: str) -> ServerProfile:
        """The profile for a client at this address."""
        binding = self._channel_binding()
        if binding != self._plain.channel_binding:  # there is a new certificate
            self._plain, self._front_end, self._waiting = (
                structs.replace(each, channel_binding=binding) for each in (self._plain, self._front_end, self._waiting)
            )
        if address in self._front_ends:
            return self._front_end
        if self._holds_greeting and address not in self._known:
            return self._waiting
        return self._plain


def _profile(settings: ReceptionSettings, role: ListenerRole, *, has_entropy: bool) -> ServerProfile:
    limits = settings.limits
    by_login = role in _BY_LOGIN
    lmtp = role is ListenerRole.LMTP
    tls_available = settings.tls_available and not lmtp and role is not ListenerRole.LOCAL
    mechanisms: tuple[str, ...] = SUBMISSION_MECHANISMS if has_entropy else MECHANISMS
    fetching = role is ListenerRole.ODMR
    # RFC 821 section 3.8: who takes another's mail by TURN must have shown who it is, and how else than by AUTH.
    turning = role.is_open_to_strangers and bool(settings.hold_domains)
    if fetching and has_entropy:
        mechanisms = ODMR_MECHANISMS
    return ServerProfile(
        hostname=settings.hostname,
        greeting="LMTP Postroad" if lmtp else "ESMTP Postroad",
        mail_requires_auth=by_login,
        auth_offered=mechanisms if by_login or turning or fetching else (),
        # RFC 2645 section 5.1.2: without TLS too, where the secret itself is not sent.
        auth_in_clear=tuple(each for each in mechanisms if each in _WITHOUT_TLS) if fetching else (),
        tls_available=tls_available,
        message_bytes=limits.message_bytes,
        recipients_max=limits.recipients,
        messages_per_session=limits.messages_per_session,
        bad_commands=limits.bad_commands,
        command_s=limits.command_s,
        bare_newline=settings.policy.bare_newline,
        chunking=True,
        binarymime=True,
        require_tls=tls_available,
        deliver_by_min_s=0,
        # RFC 4865 section 2 and RFC 6710 section 3: what our users may ask of us, not what strangers may.
        future_release_max_s=FUTURE_RELEASE_MAX_S if by_login or role is ListenerRole.LOCAL else None,
        mt_priority=by_login,
        limits=True,
        expn=settings.policy.expn is not WhoMayAsk.NEVER,
        etrn=settings.queue_runs and (role.is_open_to_strangers or by_login),
        turn=turning,
        atrn=fetching,
        old_ways=settings.policy.legacy_commands if settings.terminals and not lmtp else WhoMayAsk.NEVER,
        lmtp=lmtp,
    )
