"""Our records: one encrypted SQLite file by default."""
