-- One day of one process's part of the ledger.

-- `octets` are entries as one transaction of a store, or one flush, put them together; never taken apart here.
CREATE TABLE story (
    id     INTEGER PRIMARY KEY,
    octets BLOB NOT NULL
) STRICT;

-- Which stories name a key. The hash is the first 64 bits of BLAKE2b; whoever searches compares the key itself.
CREATE TABLE mention (
    key_hash INTEGER NOT NULL,
    story    INTEGER NOT NULL,
    PRIMARY KEY (key_hash, story)
) STRICT, WITHOUT ROWID;
