-- Merged letters whose end is not known yet: should one fail for good, its address is suppressed.
CREATE TABLE awaited (
    queue_id   TEXT    NOT NULL PRIMARY KEY,
    local_part TEXT    NOT NULL,
    domain     TEXT    NOT NULL,
    since      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
