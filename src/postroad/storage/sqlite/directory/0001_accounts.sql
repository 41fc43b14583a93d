-- Domains, accounts, and the further addresses an account may send as.

CREATE TABLE domain (
    name     TEXT PRIMARY KEY,
    kind     TEXT NOT NULL,
    relay_to TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: the id names the mailbox, and the next owner of a name must not inherit the mail of the last.
CREATE TABLE account (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    address_key  TEXT NOT NULL UNIQUE,
    local_part   TEXT NOT NULL,
    domain       TEXT NOT NULL,
    display_name TEXT NOT NULL,
    password     TEXT NOT NULL,
    disabled     INTEGER NOT NULL,
    unix_user    TEXT NOT NULL
) STRICT;

CREATE INDEX account_domain ON account (domain);

-- A local Unix user speaks for one account at most.
CREATE UNIQUE INDEX account_unix_user ON account (unix_user) WHERE unix_user <> '';

CREATE TABLE send_grant (
    account_id INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    local_part TEXT NOT NULL,
    domain     TEXT NOT NULL,
    PRIMARY KEY (account_id, position)
) STRICT, WITHOUT ROWID;
