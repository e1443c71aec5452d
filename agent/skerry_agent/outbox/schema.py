"""The tables of ``outbox.db``."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # Numbered in the order of creation; next_sequence changes in the same commit as the records.
        """CREATE TABLE streams (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            class TEXT NOT NULL CHECK (class IN ('samples', 'events')),
            next_sequence INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        """CREATE TABLE records (
            stream INTEGER NOT NULL REFERENCES streams (number),
            sequence INTEGER NOT NULL,
            at_ms INTEGER NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('sample', 'event', 'audit')),
            name TEXT NOT NULL,
            data BLOB NOT NULL,
            bytes INTEGER NOT NULL,
            PRIMARY KEY (stream, sequence)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE gone (
            stream INTEGER NOT NULL REFERENCES streams (number),
            first INTEGER NOT NULL,
            last INTEGER NOT NULL,
            PRIMARY KEY (stream, first)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE recent (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            at_ms INTEGER NOT NULL,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            data BLOB NOT NULL
        ) STRICT""",
        # What is there and what was dropped, by kind; triggers keep the first two right in every commit.
        """CREATE TABLE totals (
            kind TEXT PRIMARY KEY,
            rows INTEGER NOT NULL DEFAULT 0,
            bytes INTEGER NOT NULL DEFAULT 0,
            dropped INTEGER NOT NULL DEFAULT 0
        ) STRICT, WITHOUT ROWID""",
        "INSERT INTO totals (kind) VALUES ('sample'), ('event'), ('audit')",
        """CREATE TRIGGER records_added AFTER INSERT ON records BEGIN
            UPDATE totals SET rows = rows + 1, bytes = bytes + NEW.bytes WHERE kind = NEW.kind;
        END""",
        """CREATE TRIGGER records_removed AFTER DELETE ON records BEGIN
            UPDATE totals SET rows = rows - 1, bytes = bytes - OLD.bytes WHERE kind = OLD.kind;
        END""",
        """CREATE TABLE once (
            key TEXT PRIMARY KEY,
            expires_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
)
