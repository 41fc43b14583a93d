-- Mailing lists and their members.

-- AUTOINCREMENT: answers by mail name the list by its id, and must not be taken for another list of the same name.
CREATE TABLE mailing_list (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    address_key  TEXT NOT NULL UNIQUE,
    local_part   TEXT NOT NULL,
    domain       TEXT NOT NULL,
    description  TEXT NOT NULL,
    posters      TEXT NOT NULL,
    verp         INTEGER NOT NULL,
    from_rewrite INTEGER NOT NULL,
    closed       INTEGER NOT NULL
) STRICT;

CREATE INDEX mailing_list_domain ON mailing_list (domain);

CREATE TABLE list_owner (
    list_id    INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    local_part TEXT NOT NULL,
    domain     TEXT NOT NULL,
    PRIMARY KEY (list_id, position)
) STRICT, WITHOUT ROWID;

-- Times in microseconds since 1970; NULL: nothing has come back yet.
CREATE TABLE list_member (
    list_id     INTEGER NOT NULL,
    address_key TEXT NOT NULL,
    local_part  TEXT NOT NULL,
    domain      TEXT NOT NULL,
    joined_at   INTEGER NOT NULL,
    bounces     INTEGER NOT NULL DEFAULT 0,
    bounced_at  INTEGER,
    suspended   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (list_id, address_key)
) STRICT, WITHOUT ROWID;
