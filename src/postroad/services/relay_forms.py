"""In which form a message goes to the next hop: as it is, or made 7-bit where the server takes no other
(RFC 6152 section 3, RFC 3030 section 3).

Content in memory is looked at on the spot; what is not costs an errand, which the connection waits for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from postroad.contracts.queue_store import StoredContent
from postroad.message.convert import CannotConvert
from postroad.rules.body_form import Form, form_for
from postroad.rules.replies import Lacking, lacking
from postroad.services.conversion import Conversions, Converted, convert_small, needs_of_small
from postroad.services.parcel import Parcel
from postroad.services.relay_parts import Contents
from postroad.vocabulary.envelope import BodyType


class Sending(NamedTuple):
    """Content in the form in which it goes out, and what is declared of it."""

    content: bytes | StoredContent
    size_bytes: int
    body: BodyType
    smtputf8: bool

    def in_memory(self) -> bytes | None:
        return self.content if isinstance(self.content, bytes) else self.content.in_memory()


class Unfit(NamedTuple):
    """The server cannot have it in any form; `unconvertible` tells why none could be made."""

    lack: Lacking
    size_bytes: int = 0
    unconvertible: str = ""


Errand: TypeAlias = Callable[[], Awaitable[Unfit | None]]
"""After it the parcel can be asked for again, unless it is unfit. Raises StoreUnavailable; KeyError when the message
is no longer there."""


class Forms:
    """The forms of what goes over one connection; `extensions` are its server's. `is_waited_for` says whether the
    connection still waits for the errand about a parcel."""

    def __init__(self, store: Contents, conversions: Conversions, is_waited_for: Callable[[Parcel], bool]) -> None:
        self.extensions: dict[str, str] = {}
        self._store = store
        self._conversions = conversions
        self._is_waited_for = is_waited_for

    def sending(self, parcel: Parcel) -> Sending | Unfit | Errand:
        """The content in the form that the server takes. It is there."""
        content, work = parcel.content, parcel.work
        assert content is not None, "fetched before its form is asked for"
        form = self._form(parcel)
        if form is None:
            octets = parcel.in_memory()
            if octets is None:
                return self._examine(parcel, content)
            parcel.needs = needs_of_small(octets)
            form = self._form(parcel)
        assert form is not None, "with its needs known there is a form, or something lacking"
        if isinstance(form, Lacking):
            return Unfit(form)
        if form.ask is None:
            return Sending(content, work.size_bytes, form.body, form.smtputf8)
        if parcel.converted is None or parcel.converted.ask != form.ask:
            parcel.forget_converted()
            octets = parcel.in_memory()
            if octets is None:
                return self._convert(parcel, content, form)
            unfit = _take(parcel, convert_small(octets, form.ask), form)
            if unfit is not None:
                return unfit
        converted = parcel.converted
        assert converted is not None, "it was made above"
        size = converted.size_bytes
        lack = lacking(self.extensions, size_bytes=size, body=converted.body, smtputf8=form.smtputf8)
        if lack is not None:
            return Unfit(lack, size)
        return Sending(converted.content, size, converted.body, form.smtputf8)

    def _form(self, parcel: Parcel) -> Form | Lacking | None:
        envelope = parcel.work.envelope
        return form_for(
            self.extensions,
            size_bytes=parcel.work.size_bytes,
            body=envelope.body,
            smtputf8=envelope.smtputf8,
            addresses_are_ascii=not envelope.smtputf8 or _addresses_are_ascii(parcel),
            needs=parcel.needs,
        )

    # ---- errands -----------------------------------------------------------------------------------

    def fetch(self, parcel: Parcel) -> Errand:
        async def fetch() -> None:
            parcel.content = await self._store.content(parcel.work.queue_id)

        return fetch

    def _examine(self, parcel: Parcel, content: bytes | StoredContent) -> Errand:
        async def examine() -> None:
            parcel.needs = await self._conversions.needs(content)

        return examine

    def _convert(self, parcel: Parcel, content: bytes | StoredContent, form: Form) -> Errand:
        async def convert() -> Unfit | None:
            assert form.ask is not None, "it is to be converted"
            made = await self._conversions.convert(content, form.ask)
            if self._is_waited_for(parcel):
                return _take(parcel, made, form)
            if isinstance(made, Converted):
                made.discard()  # the connection ended meanwhile
            return None

        return convert


def _take(parcel: Parcel, made: Converted | CannotConvert, form: Form) -> Unfit | None:
    if isinstance(made, Converted):
        parcel.converted = made
        return None
    assert form.lack is not None, "something lacking is why it was to be converted"
    return Unfit(form.lack, unconvertible=made.reason)


def _addresses_are_ascii(parcel: Parcel) -> bool:
    path = parcel.work.envelope.reverse_path
    return (path is None or path.is_ascii) and all(each.forward_path.is_ascii for each in parcel.work.recipients)
