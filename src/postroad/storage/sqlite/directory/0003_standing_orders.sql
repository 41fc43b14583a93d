-- What an administrator has ordered until further notice: to be offline, to leave a destination alone. Every process
-- that starts looks here; those that run are told.

CREATE TABLE standing_order (
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    given_at INTEGER NOT NULL,     -- microseconds since 1970
    given_by TEXT NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
