"""In which form a message goes to a next hop: as it is, with less declared, or made 7-bit first.

Pure. RFC 6152 section 3, RFC 3030 section 3, RFC 6531 section 3.6: what a message declares is not always what it
needs, and only what it needs is a reason to change or return it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from postroad.rules.replies import Lacking, lacking
from postroad.vocabulary.envelope import BodyType

_ORDER = (BodyType.SEVEN_BIT, BodyType.EIGHT_BIT_MIME, BodyType.BINARY_MIME)


class ContentNeeds(msgspec.Struct, frozen=True):
    """What content was found to need: the least BODY, and whether a header has octets over 127 (SMTPUTF8)."""

    body: BodyType
    has_eight_bit_header: bool


class Ask(msgspec.Struct, frozen=True):
    """How content is to be made 7-bit; as in `message.convert.plan_conversion`."""

    from_binary: bool
    eight_bit_may_stay: bool


class Form(msgspec.Struct, frozen=True):
    """What to declare for the content; with `ask` when it has been converted so. `lack` is why it has to be."""

    body: BodyType
    smtputf8: bool
    ask: Ask | None = None
    lack: Lacking | None = None


def form_for(
    extensions: Mapping[str, str],
    *,
    size_bytes: int,
    body: BodyType,
    smtputf8: bool,
    addresses_are_ascii: bool,
    needs: ContentNeeds | None,
) -> Form | Lacking | None:
    """The form for a server that announced `extensions`, or what it lacks for good. None when that depends on what
    the content needs: ask again with `needs`."""
    lack = lacking(extensions, size_bytes=size_bytes, body=body, smtputf8=smtputf8)
    if lack is None:
        return Form(body, smtputf8)
    if lack not in (Lacking.EIGHT_BIT, Lacking.BINARY, Lacking.UTF8):
        return lack
    if needs is None:
        return None
    body = min(body, needs.body, key=_ORDER.index)
    smtputf8 = smtputf8 and (needs.has_eight_bit_header or not addresses_are_ascii)
    lack = lacking(extensions, size_bytes=size_bytes, body=body, smtputf8=smtputf8)
    if lack is None:
        return Form(body, smtputf8)
    if lack in (Lacking.EIGHT_BIT, Lacking.BINARY):
        ask = Ask(from_binary=body is BodyType.BINARY_MIME, eight_bit_may_stay="8BITMIME" in extensions)
        return Form(body, smtputf8, ask, lack)
    return lack
