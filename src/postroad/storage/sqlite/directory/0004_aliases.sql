-- Aliases, forwarding, quotas, and notices of absence.

-- The names are as they were first spelled. A catch-all has an empty local part, and the key "@domain".
CREATE TABLE alias_target (
    address_key       TEXT NOT NULL,
    position          INTEGER NOT NULL,
    local_part        TEXT NOT NULL,
    domain            TEXT NOT NULL,
    target_key        TEXT NOT NULL,
    target_local_part TEXT NOT NULL,
    target_domain     TEXT NOT NULL,
    PRIMARY KEY (address_key, position),
    UNIQUE (address_key, target_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX alias_domain ON alias_target (domain);
CREATE INDEX alias_leads_to ON alias_target (target_key);

CREATE TABLE forward (
    account_id INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    target_key TEXT NOT NULL,
    local_part TEXT NOT NULL,
    domain     TEXT NOT NULL,
    PRIMARY KEY (account_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX forward_leads_to ON forward (target_key);

ALTER TABLE account ADD COLUMN keeps_copy       INTEGER NOT NULL DEFAULT 1;
-- NULL: as configured for everybody. 0: no quota.
ALTER TABLE account ADD COLUMN quota_bytes      INTEGER;
-- An empty text is no vacation. NULL: until further notice; else microseconds since 1970.
ALTER TABLE account ADD COLUMN vacation_text    TEXT    NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN vacation_subject TEXT    NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN vacation_days    INTEGER NOT NULL DEFAULT 7;
ALTER TABLE account ADD COLUMN vacation_until   INTEGER;

-- Who was told, so that nobody is told twice in the time (RFC 3834 section 2).
CREATE TABLE vacation_reply (
    account_id INTEGER NOT NULL,
    sender_key TEXT NOT NULL,
    replied_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, sender_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX vacation_reply_age ON vacation_reply (account_id, replied_at);

-- Accounts that were told that their mailbox is nearly full, and have not made room since.
CREATE TABLE quota_warning (account_id INTEGER PRIMARY KEY) STRICT;
