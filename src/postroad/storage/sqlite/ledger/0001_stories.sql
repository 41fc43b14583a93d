-- One day of one process's part of the ledger.

-- `octets` are entries as one transaction of a store, or one flush, put them together; never taken apart here.
-- An id is higher than the one before by the number of keys of its blob.
CREATE TABLE story (
    id     INTEGER PRIMARY KEY,
    octets BLOB NOT NULL
) STRICT;

-- Which stories name a key. The hash is the first 64 bits of BLAKE2b; whoever searches compares the key itself.
-- A chapter is a run of ids, and so a number of mentions: hashes fall anywhere, and in an index over the whole day each would soon change
-- a page of its own, 4 KiB of log and a checksum for every few octets. Within a chapter they fall together on a few
-- pages. A search looks into every chapter, a few microseconds each.
CREATE TABLE mention (
    chapter  INTEGER NOT NULL,
    key_hash INTEGER NOT NULL,
    story    INTEGER NOT NULL,
    PRIMARY KEY (chapter, key_hash, story)
) STRICT, WITHOUT ROWID;
