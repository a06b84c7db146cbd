"""The log's tables, as numbered migrations, and opening a file as a log of ours."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from ivr_consent.core.errors import LedgerError, LedgerUnreadable

APPLICATION_ID = 0x49564343  # "IVCC" in the SQLite header: a file without it is not a log of ours

BUSY_TIMEOUT_S = 2.0
"""How long one writer waits for another (the classic AGI script writes the same log); a caller waits with it."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY,      -- gapless: nothing is ever deleted
        time TEXT NOT NULL,                -- UTC, ISO 8601, milliseconds
        kind TEXT NOT NULL,
        call_id TEXT NOT NULL,
        line TEXT NOT NULL,
        outcome TEXT,                      -- of a decision
        payload BLOB NOT NULL              -- canonical JSON
    );
    CREATE UNIQUE INDEX one_decision_per_call ON events (call_id) WHERE kind = 'decision';
    CREATE INDEX events_of_call ON events (call_id, sequence);
    CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    """,
)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open or create a log, bring it to the newest schema; every commit is flushed to disk.

    The file is readable by its owner alone. Raises :class:`LedgerError` with a remedy.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=32
        )
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"the log {path} cannot be opened ({error}); {_remedy(error)}") from None
    try:
        _check_identity(connection, path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        version = _version(connection)
        for number, migration in enumerate(MIGRATIONS[version:], version + 1):
            for statement in _statements(migration):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={number}")
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        raise LedgerError(f"the log {path} cannot be written ({error}); {_remedy(error)}") from None
    except LedgerError:
        connection.close()
        raise
    return connection


def _remedy(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        return "create its directory and give it to the service's user"
    return "look for a full or read-only disk, and for the file's owner: it must be the service's user"


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open an existing log without writing to it. Raises :class:`LedgerUnreadable` with a remedy."""
    if not path.is_file():
        raise LedgerUnreadable(f"there is no log at {path}; it is created by the first: ivr-consent serve")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        _check_identity(connection, path)
        if _version(connection) == 0:
            raise LedgerUnreadable(f"{path} is empty; it is filled by the first: ivr-consent serve")
    except LedgerError:
        connection.close()
        raise
    except sqlite3.Error as error:
        connection.close()
        raise LedgerUnreadable(f"{path} cannot be read ({error}); is it a log of ivr-consent, and yours?") from None
    return connection


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        raise LedgerUnreadable(f"{path} is not a log of ivr-consent ({error}); name another file") from None
    if application != APPLICATION_ID and tables:
        raise LedgerUnreadable(f"{path} is a database, but not a log of ivr-consent; name another file")
    version = _version(connection)
    if version > len(MIGRATIONS):
        raise LedgerUnreadable(
            f"{path} was written by a newer ivr-consent (schema {version}, this one knows {len(MIGRATIONS)}); upgrade"
        )


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _statements(script: str) -> list[str]:
    """Split a migration into statements (a trigger holds semicolons of its own)."""
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
