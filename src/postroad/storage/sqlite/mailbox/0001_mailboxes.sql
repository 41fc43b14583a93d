-- Mailboxes, their messages, and the keys that make a delivery happen once.
-- Moments are microseconds since 1970 in UTC.
-- uid_validity, uid_next and mod_seq are kept from the first day for IMAP (RFC 9051 section 2.3.1.1, RFC 7162).

-- The row outlives the messages, and even the account: no UID may ever come back.
CREATE TABLE mailbox (
    account_id   INTEGER PRIMARY KEY,
    uid_validity INTEGER NOT NULL,
    uid_next     INTEGER NOT NULL,
    mod_seq      INTEGER NOT NULL
) STRICT;

-- What a listing needs, and nothing of the content, so that a listing reads few pages.
CREATE TABLE message (
    account_id  INTEGER NOT NULL,
    uid         INTEGER NOT NULL,
    folder      TEXT NOT NULL DEFAULT 'INBOX',
    mod_seq     INTEGER NOT NULL,
    flags       TEXT NOT NULL DEFAULT '',
    size_bytes  INTEGER NOT NULL,
    internal_at INTEGER NOT NULL,
    queue_id    TEXT NOT NULL,
    content_id  INTEGER NOT NULL,
    PRIMARY KEY (account_id, uid)
) STRICT, WITHOUT ROWID;

-- The message is head, then body or the file's octets, then tail. Exactly one of body and file is not NULL.
-- tail is the CR LF that content which ended without one was lacking.
CREATE TABLE content (
    id   INTEGER PRIMARY KEY,
    head BLOB NOT NULL,
    tail BLOB NOT NULL,
    file TEXT,
    body BLOB,
    CHECK ((body IS NULL) <> (file IS NULL))
) STRICT;

-- For the sweep of files that no row knows.
CREATE UNIQUE INDEX content_file ON content (file) WHERE file IS NOT NULL;

-- Keys live apart from the messages: a user may fetch and remove a message before its delivery is repeated.
CREATE TABLE delivered (
    delivery_key TEXT NOT NULL,
    account_id   INTEGER NOT NULL,
    uid          INTEGER NOT NULL,
    delivered_at INTEGER NOT NULL,
    PRIMARY KEY (delivery_key, account_id)
) STRICT, WITHOUT ROWID;
