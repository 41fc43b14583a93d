"""What `postroad check --deep` asks each kind of database: rows that point to nothing, and sizes that do not agree.

Each query ends with a LIMIT that is given to it.
"""

from __future__ import annotations

from dataclasses import dataclass

_REMOVE = "bring the message back from a backup (postroad restore BACKUP); it cannot be read here"
_HARMLESS = "it takes room and does no harm"


@dataclass(frozen=True)
class Rows:
    """`finding` is filled with the columns of each row."""

    query: str
    finding: str
    cure: str


ROWS: dict[str, tuple[Rows, ...]] = {
    "mail": (
        Rows(
            "SELECT account_id, uid FROM message WHERE content_id NOT IN (SELECT id FROM content) LIMIT ?",
            "message {1} of account {0} has no content",
            _REMOVE,
        ),
        Rows(
            "SELECT id FROM content WHERE id NOT IN (SELECT content_id FROM message) LIMIT ?",
            "content {0} belongs to no message",
            _HARMLESS,
        ),
        Rows(
            "SELECT account_id, uid FROM message WHERE NOT EXISTS (SELECT 1 FROM mailbox"
            " WHERE mailbox.account_id = message.account_id AND mailbox.uid_next > message.uid) LIMIT ?",
            "message {1} of account {0} has a number that its mailbox has not given out yet",
            "bring the mailbox back from a backup (postroad restore BACKUP --account ADDRESS)",
        ),
        Rows(
            "SELECT account_id, uid, size_bytes, length(head) + length(body) + length(tail) FROM message"
            " JOIN content ON content.id = message.content_id"
            " WHERE body IS NOT NULL AND size_bytes <> length(head) + length(body) + length(tail) LIMIT ?",
            "message {1} of account {0} has {3} octets, and {2} when it was delivered",
            _REMOVE,
        ),
    ),
    "hold": (
        Rows(
            "SELECT queue_id FROM message WHERE number NOT IN (SELECT message FROM content) LIMIT ?",
            "message {0} has no content",
            _REMOVE,
        ),
        Rows(
            "SELECT message FROM content WHERE message NOT IN (SELECT number FROM message) LIMIT ?",
            "content {0} belongs to no message",
            _HARMLESS,
        ),
    ),
    "queue": (
        Rows(
            "SELECT DISTINCT message FROM recipient_group WHERE message NOT IN (SELECT id FROM message) LIMIT ?",
            "recipients are waiting for message number {0}, which is not there",
            _REMOVE,
        ),
        Rows(
            "SELECT id FROM message WHERE id NOT IN (SELECT message FROM recipient_group) LIMIT ?",
            "message number {0} has no recipients any more",
            _HARMLESS,
        ),
        Rows(
            "SELECT id FROM content WHERE id NOT IN (SELECT id FROM message) LIMIT ?",
            "content number {0} belongs to no message",
            _HARMLESS,
        ),
        Rows(
            "SELECT message.id, size_bytes, length(octets) FROM message JOIN content USING (id)"
            " WHERE size_bytes <> length(octets) LIMIT ?",
            "message number {0} has {2} octets, and {1} when it was accepted",
            _REMOVE,
        ),
    ),
}

CONTENT_SIZES = {
    "mail": "SELECT file, size_bytes - length(head) - length(tail) FROM message"
    " JOIN content ON content.id = message.content_id WHERE file IS NOT NULL",
    "hold": "SELECT file, size_bytes FROM message JOIN content ON content.message = message.number"
    " WHERE file IS NOT NULL",
    "queue": "SELECT id, size_bytes FROM message WHERE id NOT IN (SELECT id FROM content)",
    "archive": "SELECT file, size_bytes FROM record WHERE file IS NOT NULL",
}
"""The name of each content file (the queue's is its number), and how many octets it must have."""
