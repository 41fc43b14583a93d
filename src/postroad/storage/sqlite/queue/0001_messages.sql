-- 0001_messages.sql
-- Why: the first shape of a shard of the queue.
-- Moments are microseconds since 1970 in UTC. A message's id is the number that its queue id spells.

CREATE TABLE message (
    id         INTEGER PRIMARY KEY,
    envelope   BLOB NOT NULL,       -- MessagePack, without recipients: those stand in the groups
    queued_at  INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
) STRICT;

-- Apart from the message, so that a look at the queue reads few pages. A message without a row here
-- has its content in a file of its own.
CREATE TABLE content (
    id     INTEGER PRIMARY KEY,
    octets BLOB NOT NULL
) STRICT;

-- The recipients of a message that go to one destination, tried and settled together.
CREATE TABLE recipient_group (
    message     INTEGER NOT NULL,
    destination TEXT NOT NULL,
    recipients  BLOB NOT NULL,      -- MessagePack; those still to be served
    due_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    warned      INTEGER NOT NULL DEFAULT 0,
    last        TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (message, destination)
) STRICT, WITHOUT ROWID;

CREATE INDEX recipient_group_due ON recipient_group (due_at);

-- What the ledger has yet to copy: one row for each commit.
CREATE TABLE outbox (
    number  INTEGER PRIMARY KEY,
    entries BLOB NOT NULL
) STRICT;

-- epoch rises with every owner; last_id is at or above every id that was ever given out.
CREATE TABLE shard (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    epoch   INTEGER NOT NULL,
    last_id INTEGER NOT NULL
) STRICT;

INSERT INTO shard (only, epoch, last_id) VALUES (1, 0, 0);
