"""`postroad archive`: looking into the journal. Who looked, when, at what and why is written down before anything is
shown; without a reason nothing is."""

from __future__ import annotations

import base64

from postroad.contracts.archive_store import Access, Archive, ArchiveQuery, ChainHead, Found, LegalHold, Words
from postroad.contracts.clock import Clock
from postroad.message.searched_text import searched_text
from postroad.services.operations.arguments import address, argument, domain_name, moment
from postroad.services.operations.operator_verbs import Verbs
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.limits import (
    ARCHIVE_FOUND,
    ARCHIVE_HOLD_NAME_CHARACTERS,
    ARCHIVE_PAGE,
    ARCHIVE_REASON_CHARACTERS,
)
from postroad.vocabulary.queue_id import QueueId


class ArchiveOperations:
    def __init__(self, *, archive: Archive, clock: Clock) -> None:
        self._archive = archive
        self._clock = clock

    def verbs(self) -> Verbs:
        return {
            "archive.search": self._search,
            "archive.show": self._show,
            "archive.content": self._content,
            "archive.verify": self._verify,
            "archive.heads": self._heads,
            "archive.hold": self._hold,
            "archive.release": self._release,
            "archive.holds": self._holds,
            "archive.log": self._log,
        }

    async def _search(self, arguments: PlainObject) -> list[PlainObject]:
        """`action` is "search" or "export": what is written down."""
        query = ArchiveQuery(
            words=argument(arguments, "words", ""),
            sender=_party(argument(arguments, "sender", "")),
            recipient=_party(argument(arguments, "recipient", "")),
            after=moment(arguments, "after"),
            before=moment(arguments, "before"),
        )
        limit = argument(arguments, "limit", 100)
        if not 1 <= limit <= ARCHIVE_FOUND:
            raise OperationFailed(f"limit: expected 1 to {ARCHIVE_FOUND}, got {limit}", 2)
        action = "export" if argument(arguments, "export", False) else "search"
        given = {name: arguments[name] for name in ("words", "sender", "recipient", "after", "before")
                 if arguments.get(name)}  # fmt: skip
        await self._archive.record(self._access(arguments, action, " ".join(f"{n}={v}" for n, v in given.items())))
        if argument(arguments, "rebuild", False):
            await self._archive.forget_index()
        while new := await self._archive.unindexed(ARCHIVE_PAGE):
            await self._archive.index(tuple(Words(each, *searched_text(each.octets)) for each in new))
        return [_plain(found) for found in await self._archive.search(query, limit)]

    async def _show(self, arguments: PlainObject) -> list[PlainObject]:
        queue_id = QueueId(argument(arguments, "queue_id", "").upper())
        await self._archive.record(self._access(arguments, "show", queue_id))
        found = await self._archive.show(queue_id)
        if found is None:
            raise OperationFailed(f"{queue_id}: the archive has no such message, or its content was removed")
        return [_plain(found)]

    async def _content(self, arguments: PlainObject) -> list[PlainObject]:
        """In pieces, base64 each, so that a large message does not stand in one line."""
        queue_id = QueueId(argument(arguments, "queue_id", "").upper())
        await self._archive.record(self._access(arguments, "content", queue_id))
        try:
            return [
                {"octets": base64.b64encode(piece).decode("ascii")} async for piece in self._archive.content(queue_id)
            ]
        except KeyError:
            raise OperationFailed(f"{queue_id}: the archive has no such message, or its content was removed") from None

    async def _verify(self, arguments: PlainObject) -> list[PlainObject]:
        heads = tuple(_head(one) for one in arguments.get("heads", []))
        verified = await self._archive.verify(heads)
        return [
            {
                "records": verified.records,
                "removed": verified.removed,
                "complaints": list(verified.complaints),
                "complaints_in_all": verified.complaints_in_all,
                "heads": len(verified.heads),
            }
        ]

    async def _heads(self, arguments: PlainObject) -> list[PlainObject]:
        return [
            {"chain": head.chain, "month": head.month, "number": head.number, "hash": head.hash}
            for head in await self._archive.heads()
        ]

    async def _hold(self, arguments: PlainObject) -> list[PlainObject]:
        hold = LegalHold(
            name=_hold_name(arguments),
            address=_party(argument(arguments, "address", "")),
            after=moment(arguments, "after"),
            before=moment(arguments, "before"),
        )
        if not await self._archive.hold(hold, self._access(arguments, "hold", hold.name)):
            raise OperationFailed(f"there is a hold called {hold.name!r} already; release it first, or choose a name")
        return []

    async def _release(self, arguments: PlainObject) -> list[PlainObject]:
        name = _hold_name(arguments)
        if not await self._archive.release(name, self._access(arguments, "release", name)):
            raise OperationFailed(f"there is no hold called {name!r}")
        return []

    async def _holds(self, arguments: PlainObject) -> list[PlainObject]:
        return [
            {
                "name": hold.name,
                "address": hold.address,
                "after": hold.after.isoformat() if hold.after else "",
                "before": hold.before.isoformat() if hold.before else "",
            }
            for hold in await self._archive.holds()
        ]

    async def _log(self, arguments: PlainObject) -> list[PlainObject]:
        return [
            {
                "at": each.at.isoformat(timespec="seconds"),
                "by": each.by,
                "action": each.action,
                "detail": each.detail,
                "reason": each.reason,
            }
            for each in await self._archive.accesses(ARCHIVE_FOUND)
        ]

    def _access(self, arguments: PlainObject, action: str, detail: str) -> Access:
        """Raises OperationFailed where nobody says why."""
        by, reason = argument(arguments, "by", ""), argument(arguments, "reason", "").strip()
        if not by or not reason:
            raise OperationFailed("say why you look into the archive: --reason TEXT; it is written down", 2)
        if len(reason) > ARCHIVE_REASON_CHARACTERS:
            raise OperationFailed(f"the reason is longer than {ARCHIVE_REASON_CHARACTERS} characters", 2)
        return Access(by=by, at=self._clock.now(), action=action, detail=detail, reason=reason)


def _party(text: str) -> str:
    """An address, or a domain with "@" before it. Raises OperationFailed for what is neither."""
    if not text:
        return ""
    return f"@{domain_name(text[1:])}" if text.startswith("@") else str(address(text))


def _hold_name(arguments: PlainObject) -> str:
    name = argument(arguments, "name", "").strip()
    if not 0 < len(name) <= ARCHIVE_HOLD_NAME_CHARACTERS:
        raise OperationFailed(f"the name of a hold has 1 to {ARCHIVE_HOLD_NAME_CHARACTERS} characters", 2)
    return name


def _head(one: PlainObject) -> ChainHead:
    try:
        return ChainHead(str(one["chain"]), str(one["month"]), int(one["number"]), str(one["hash"]))
    except (KeyError, TypeError, ValueError):
        raise OperationFailed("this is no list of heads as `postroad archive heads --json` gives it", 2) from None


def _plain(found: Found) -> PlainObject:
    return {
        "queue_id": found.queue_id,
        "sender": found.envelope.reverse_path,
        "recipients": list(found.envelope.recipients),
        "leads_to": list(found.envelope.leads_to),
        "about": found.envelope.about,
        "accepted_at": found.accepted_at.isoformat(),
        "size_bytes": found.size_bytes,
        "subject": found.subject,
        "content_hash": found.content_hash,
        "record_hash": found.hash,
    }
