-- A month of one chain of the journal, or the register of what was done with it.
-- Moments are microseconds since 1970 in UTC; hashes are BLAKE2b of 32 octets.
--
-- `hash` covers number, kind, key, both moments, size, both inner hashes and the hash before it (archive_rows.py).
-- Retention takes envelope, content and file away and leaves the rest; nothing else is ever changed.

CREATE TABLE record (
    number        INTEGER PRIMARY KEY,  -- counts on over all months of a chain, from 1, without a gap
    kind          TEXT NOT NULL,        -- "message", "expansion"; in the register what was done
    key           TEXT NOT NULL,        -- the queue id; of an expansion "<queue id>/expansion"
    recorded_at   INTEGER NOT NULL,
    accepted_at   INTEGER NOT NULL,
    size_bytes    INTEGER NOT NULL,
    envelope_hash BLOB NOT NULL,
    content_hash  BLOB NOT NULL,
    previous      BLOB NOT NULL,
    hash          BLOB NOT NULL,
    envelope      BLOB,                 -- JSON
    file          TEXT,                 -- large content is a file of this name
    content       BLOB                  -- small content
) STRICT;

CREATE INDEX record_key ON record (key);
