"""The embedded default: SQLite in WAL mode with full sync, through apsw."""
