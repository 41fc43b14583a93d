-- 0002_keys.sql
-- Why: what comes out of another store (a notification about held mail, a message fetched by POP3) is taken once,
-- though a crash may bring it twice. A key outlives its message; whoever made it says when it may go.

CREATE TABLE taken (
    key      TEXT PRIMARY KEY,
    taken_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
