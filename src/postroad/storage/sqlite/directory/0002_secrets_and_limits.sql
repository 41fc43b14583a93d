-- What SCRAM and CRAM-MD5 need of a password, limits of single accounts, and what accounts have sent.

-- RFC 5802 section 3: empty keys stand for none. The secret of CRAM-MD5 (RFC 2195) is the password itself, kept for
-- those accounts alone that asked for it.
ALTER TABLE account ADD COLUMN scram_salt       BLOB    NOT NULL DEFAULT x'';
ALTER TABLE account ADD COLUMN scram_iterations INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN scram_stored_key BLOB    NOT NULL DEFAULT x'';
ALTER TABLE account ADD COLUMN scram_server_key BLOB    NOT NULL DEFAULT x'';
ALTER TABLE account ADD COLUMN cram_secret      TEXT    NOT NULL DEFAULT '';

-- NULL: as configured for everybody. 0: no limit.
ALTER TABLE account ADD COLUMN messages_per_hour  INTEGER;
ALTER TABLE account ADD COLUMN recipients_per_day INTEGER;
ALTER TABLE account ADD COLUMN connections        INTEGER;

-- Times in microseconds since 1970. A window begins with the first message after the one before has ended.
CREATE TABLE account_usage (
    account_id    INTEGER PRIMARY KEY,
    hour_began_at INTEGER NOT NULL,
    messages      INTEGER NOT NULL,
    day_began_at  INTEGER NOT NULL,
    recipients    INTEGER NOT NULL
) STRICT;

-- One row. `changes` rises with every change of domains and accounts, and not with account_usage: who remembers
-- accounts looks at it. The key makes the salts that names without an account are given.
CREATE TABLE house (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    changes       INTEGER NOT NULL,
    fake_salt_key BLOB    NOT NULL
) STRICT;

INSERT INTO house (id, changes, fake_salt_key) VALUES (1, 0, randomblob(32));
