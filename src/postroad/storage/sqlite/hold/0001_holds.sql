-- 0001_holds.sql
-- Why: mail of one domain that waits to be fetched by its owner, with the envelope it is to be sent on with.
-- Moments are microseconds since 1970 in UTC. Blobs are MessagePack.

-- The file's name is a hash; here is what it is of.
CREATE TABLE hold (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    domain TEXT NOT NULL
) STRICT;

-- recipients are those that wait. A message stays, with none, while a report about it does.
-- Numbers never return (AUTOINCREMENT): keys are made of them.
CREATE TABLE message (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    queue_id    TEXT NOT NULL,
    envelope    BLOB NOT NULL,
    recipients  BLOB NOT NULL,
    waits       INTEGER NOT NULL,
    size_bytes  INTEGER NOT NULL,
    queued_at   INTEGER NOT NULL,
    held_at     INTEGER NOT NULL,
    deadline_at INTEGER,                -- when the sender is to be told (RFC 2852), if at any time
    attempts    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX message_waiting ON message (number) WHERE waits = 1;
CREATE INDEX message_deadline ON message (deadline_at) WHERE waits = 1 AND deadline_at IS NOT NULL;

-- Apart from the message, so that a listing reads few pages. Exactly one of the two is not NULL.
CREATE TABLE content (
    message INTEGER PRIMARY KEY,
    file    TEXT,
    octets  BLOB,
    CHECK ((octets IS NULL) <> (file IS NULL))
) STRICT;

CREATE UNIQUE INDEX content_file ON content (file) WHERE file IS NOT NULL;

-- Outcomes that the sender has to be told of: they stay until the queue has the notification.
CREATE TABLE report (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    message  INTEGER NOT NULL,
    outcomes BLOB NOT NULL
) STRICT;

CREATE INDEX report_message ON report (message);

-- "<queue id>/<forward-path>": what the queue delivers again after a crash is not taken a second time.
CREATE TABLE delivered (
    delivery_key TEXT PRIMARY KEY,
    delivered_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the ledger has yet to copy.
CREATE TABLE outbox (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    entries BLOB NOT NULL
) STRICT;
