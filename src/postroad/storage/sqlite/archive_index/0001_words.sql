-- What helps to find messages of the archive again. Made from its records and never evidence: it may be thrown away.

CREATE TABLE entry (
    id          INTEGER PRIMARY KEY,
    chain       TEXT NOT NULL,
    month       TEXT NOT NULL,
    number      INTEGER NOT NULL,
    key         TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    subject     TEXT NOT NULL,
    UNIQUE (chain, month, number)
) STRICT;

CREATE INDEX entry_accepted ON entry (accepted_at);

-- Whole addresses in lower case, and "@domain" of each.
CREATE TABLE party (
    address TEXT NOT NULL,
    sends   INTEGER NOT NULL,
    entry   INTEGER NOT NULL,
    PRIMARY KEY (address, sends, entry)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE words USING fts5 (text, content = '', contentless_delete = 1);
