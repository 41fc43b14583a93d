-- Addresses that merged letters are not sent to. Times are microseconds since 1970.
CREATE TABLE suppression (
    address_key TEXT    NOT NULL PRIMARY KEY,
    local_part  TEXT    NOT NULL,
    domain      TEXT    NOT NULL,
    since       INTEGER NOT NULL,
    expires_at  INTEGER,            -- NULL: never
    reason      TEXT    NOT NULL,
    given_by    TEXT    NOT NULL,
    bounce      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX suppression_age ON suppression (since);
CREATE INDEX suppression_end ON suppression (expires_at);

-- Queue ids of letters whose failure was undone by hand: looking at their story again must not bring it back.
CREATE TABLE suppression_undone (bounce TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
