"""What directory.db remembers of having told people: senders of an absence, owners of a mailbox nearly full."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import apsw

from postroad.storage.sqlite.commit import Verb
from postroad.storage.sqlite.moments import to_microseconds
from postroad.vocabulary.limits import VACATION_REPLIES_KEPT

_HAS_ACCOUNT = "SELECT 1 FROM account WHERE id = ?"
_REPLIED_AT = "SELECT replied_at FROM vacation_reply WHERE account_id = ? AND sender_key = ?"
_PUT_REPLY = "INSERT OR REPLACE INTO vacation_reply (account_id, sender_key, replied_at) VALUES (?, ?, ?)"
_FORGET_OLDEST = """
    DELETE FROM vacation_reply WHERE account_id = ?1 AND replied_at < (
        SELECT replied_at FROM vacation_reply WHERE account_id = ?1 ORDER BY replied_at DESC LIMIT 1 OFFSET ?2
    )
"""
_FORGET_REPLIES = "DELETE FROM vacation_reply WHERE account_id = ?"
_PUT_WARNING = "INSERT OR IGNORE INTO quota_warning (account_id) VALUES (?)"
_FORGET_WARNING = "DELETE FROM quota_warning WHERE account_id = ?"


class Replying(NamedTuple):
    account_id: int
    sender: str
    now: datetime
    again_after: timedelta


def _begin_reply(connection: apsw.Connection, asked: Replying) -> bool:
    if connection.execute(_HAS_ACCOUNT, (asked.account_id,)).get is None:
        return False
    key = (asked.account_id, asked.sender)
    replied_at = connection.execute(_REPLIED_AT, key).get
    if replied_at is not None and replied_at > to_microseconds(asked.now - asked.again_after):
        return False
    connection.execute(_PUT_REPLY, (*key, to_microseconds(asked.now)))
    connection.execute(_FORGET_OLDEST, (asked.account_id, VACATION_REPLIES_KEPT))
    return True


def _begin_warning(connection: apsw.Connection, asked: tuple[int, bool]) -> bool:
    account_id, warned = asked
    if connection.execute(_HAS_ACCOUNT, (account_id,)).get is None:
        return False
    connection.execute(_PUT_WARNING if warned else _FORGET_WARNING, (account_id,))
    return connection.changes() > 0


def forget_replies(connection: apsw.Connection, account_id: int) -> None:
    connection.execute(_FORGET_REPLIES, (account_id,))


def forget_notes(connection: apsw.Connection, account_id: int) -> None:
    """The account is gone."""
    forget_replies(connection, account_id)
    connection.execute(_FORGET_WARNING, (account_id,))


BEGIN_REPLY: Verb[Replying, bool] = Verb(_begin_reply)
BEGIN_WARNING: Verb[tuple[int, bool], bool] = Verb(_begin_warning)
