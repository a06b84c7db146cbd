"""A log in PostgreSQL: one chain for each server, in a schema of its own, with the same tables as in SQLite.

A writer sends the statements of a transaction without waiting for each answer (pipeline mode), and holds the row of
``log`` from its beginning to its end: so writers follow each other, and who has the row knows how the transaction of
the writer before ended. After any error the connection is given up, and the next transaction makes a new one.
"""

from __future__ import annotations

import contextlib
import re
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import psycopg

from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.store.address import Address, shown
from ivr_consent.store.database import APPLICATION_ID, Cursor, Database
from ivr_consent.store.postgresql_link import Link, connect, lock_number, told

IDENTITY: Final = "ivr_consent_schema"
"""The table that says what the schema is: SQLite has a place for that in its header."""

SMALL_BYTES: Final = 64 << 20
"""The table of personal data is written anew up to this size when something was erased: a second's work at most."""

ERASING_S: Final = 600.0

SLOW_S: Final = 0.5
"""An attempt to connect that failed after so long is not made again before as long again: callers wait meanwhile."""

_WORDS: Final = {"BLOB": "BYTEA", "INTEGER": "BIGINT", "TEXT": 'TEXT COLLATE "C"'}
"""Texts are compared by their bytes, as SQLite does: in Danish ``aa`` comes after ``z``."""

_WORD: Final = re.compile(r"\b(BLOB|INTEGER|TEXT)\b")

_MARK: Final = re.compile(r"'[^']*'|\?")


@lru_cache(maxsize=512)
def numbered(statement: str) -> bytes:
    """``?`` as ``$1``, ``$2``, …, but not inside of quotes."""
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] != "?":
            return found[0]
        count += 1
        return f"${count}"

    return _MARK.sub(number, statement).encode()


class _Pending:
    """The answer to a statement that is on its way; waited for when it is looked at."""

    __slots__ = ("_cursor", "_pipeline")

    def __init__(self, cursor: psycopg.Cursor[tuple[Any, ...]], pipeline: psycopg.Pipeline) -> None:
        self._cursor, self._pipeline = cursor, pipeline

    @property
    def rowcount(self) -> int:
        if self._cursor.statusmessage is None:
            self._pipeline.sync()
        return self._cursor.rowcount

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor.fetchall())

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._cursor.fetchone()

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._cursor.fetchall()


def version_of(database: Database, address: Address) -> int:
    """Number of the last migration. Raises :class:`LedgerUnreadable` for a schema that is not ours."""
    found = database.execute(
        "SELECT count(c.oid), count(c.oid) FILTER (WHERE c.relname = ?) FROM pg_catalog.pg_namespace AS n "
        "LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid WHERE n.nspname = ?",
        (IDENTITY, address.schema),
    ).fetchone()
    relations, ours = found or (0, 0)
    if not relations:
        return 0
    row = database.execute(f"SELECT application, version FROM {IDENTITY}").fetchone() if ours else None  # noqa: S608 - a fixed name
    if row is None or row[0] != APPLICATION_ID:
        raise LedgerUnreadable(
            f"the schema {address.schema} of {shown(address.url)} holds something, but not a log of ivr-consent; "
            "give another log.server"
        )
    return int(row[1])


def cannot_write(name: str, error: Exception) -> LedgerError:
    """The error of a chain that cannot be written, with its remedy."""
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        remedy = "the database's owner must allow it: GRANT CREATE ON DATABASE ... TO the role in log.url"
    elif isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        remedy = "name the primary server in log.url, not a standby"
    elif isinstance(error, psycopg.errors.DiskFull):
        remedy = "make room on the disk of the database server"
    else:
        remedy = "see that the server runs and takes log.url from here: psql with the same URL"
    return LedgerError(f"the log {name} cannot be written ({told(error)}); {remedy}")


def cannot_read(name: str, error: Exception) -> LedgerUnreadable:
    """The error of a chain that cannot be read, with its remedy."""
    if isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.UndefinedTable):
        remedy = "its owner must allow it: GRANT USAGE ON SCHEMA and SELECT ON ALL TABLES IN SCHEMA to the role"
    else:
        remedy = "see that the server runs and takes log.url from here: psql with the same URL"
    return LedgerUnreadable(f"the log {name} cannot be read ({told(error)}); {remedy}")


@dataclass(slots=True)
class _Past:
    """What this process has seen of a chain's server: a session that was cut off, an attempt that failed."""

    lost: tuple[int, str] = (0, "")
    not_before: float = 0.0
    refused: str = ""


_PAST: Final[dict[Address, _Past]] = {}
"""Of each chain that this process writes: one, but for tests."""


class PostgresqlDatabase:
    """A chain that is written. ``application``: what the server shows of us among its connections.

    Raises :class:`psycopg.Error`, and :class:`LedgerError` with a remedy.
    """

    kind = "postgresql"
    errors: type[Exception] = psycopg.Error

    def __init__(self, address: Address, application: str) -> None:
        self.address, self.name = address, address.name
        self._application = application
        self._past = _PAST.setdefault(address, _Past())
        self._pipe: AbstractContextManager[psycopg.Pipeline] | None = None
        self._pipeline: psycopg.Pipeline | None = None
        self._inside = self._made = False
        self._link = self._connected()

    # --- the connection ----------------------------------------------------------------------------------------------

    def _connected(self) -> Link:
        past = self._past
        if time.monotonic() < past.not_before:  # nobody waits twice for a server that does not answer
            raise psycopg.OperationalError(past.refused)
        begun = time.monotonic()
        try:
            link = connect(self.address, self._application, writes=True)
        except psycopg.Error as error:
            took = time.monotonic() - begun
            if took > SLOW_S:
                past.not_before, past.refused = begun + 2 * took, told(error)
            raise
        try:
            self._end_lost_session(link)
            self._look_for_others(link)
        except (psycopg.Error, LedgerError):
            link.close()
            raise
        return link

    def _end_lost_session(self, link: Link) -> None:
        """Where we were cut off the server may not know it yet, and our old session holds the row of the writers."""
        pid, since = self._past.lost
        if pid:
            link.execute(
                b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2",
                (pid, since),
            )
        self._past.lost = 0, ""

    def _look_for_others(self, link: Link) -> None:
        """A chain has one server. Who writes it from elsewhere has a name for itself that ends otherwise."""
        kin, _, _ = self._application.rpartition("/")
        rows = link.execute(
            b"SELECT DISTINCT coalesce(host(client_addr), 'this machine') FROM pg_stat_activity "
            b"WHERE datname = current_database() AND starts_with(application_name, $1) AND application_name <> $2",
            (f"{kin}/", self._application),
        ).fetchall()
        if rows:
            raise LedgerError(
                f"the log {self.name} is being written from elsewhere too ({', '.join(row[0] for row in rows)}): each "
                "server has a chain of its own; give one of them another log.server. After a crash of this machine "
                "its old connections may be seen for some 15 seconds: try again then"
            )

    def alive(self) -> bool:
        """Whether the server has said nothing meanwhile: unasked, it says farewell, or hangs up without a word."""
        if self._link.lost:
            return False
        waiting = select.poll()  # a service has more descriptors than select() can take
        waiting.register(self._link.fileno(), select.POLLIN)
        return not waiting.poll(0)

    def must_reopen(self, error: Exception) -> bool:
        """Whether everything about the log has to be looked at again."""
        return isinstance(error, LedgerError) or self._link.lost

    def close(self) -> None:
        """Close the connection; the server rolls back what was not committed."""
        if self._inside or self._link.silent:
            self._past.lost = self._link.backend
        with contextlib.suppress(psycopg.Error):
            self._link.close()
        self._leave_pipeline()

    def _leave_pipeline(self) -> None:
        """Stop sending ahead, whatever errors are still on their way."""
        pipe, self._pipe, self._pipeline = self._pipe, None, None
        if pipe is not None:
            with contextlib.suppress(psycopg.Error):
                pipe.__exit__(None, None, None)

    # --- statements --------------------------------------------------------------------------------------------------

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Cursor:
        """Run one statement; inside a transaction its errors may be raised by a later one, or by the commit."""
        cursor = self._link.cursor()
        try:
            cursor.execute(numbered(statement), values)
        except psycopg.DataError as error:
            if error.sqlstate is None:  # the driver's own: a value that no text of PostgreSQL can hold
                raise ValueError(told(error)) from None
            raise
        return cursor if self._pipeline is None else _Pending(cursor, self._pipeline)

    def begin(self) -> None:
        """Begin as the only writer: who has the row of ``log`` sees how every transaction before it ended."""
        link = self._link
        self._pipe = link.pipeline()
        self._pipeline = self._pipe.__enter__()
        self._inside = True
        link.execute(b"BEGIN")
        if not self._made:  # the row may be being made
            link.execute(b"SELECT pg_advisory_xact_lock($1)", (lock_number(self.address.schema),))
            there = b"SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'log'"
            self._made = link.execute(there, (self.address.schema,)).fetchone() is not None
        if self._made:
            link.execute(b"SELECT 1 FROM log FOR UPDATE")
        self._pipeline.sync()

    def commit(self) -> None:
        """End the transaction; when this returns, all of it is on the server's disk.

        When it raises, that may be so all the same: its word may have been lost on the way.
        """
        # A commit that waits for a standby would be given up at the timeout, and called done.
        self._link.execute(b"SET LOCAL statement_timeout = 0")
        ended = self._link.execute(b"COMMIT")
        pipe, self._pipe, self._pipeline = self._pipe, None, None
        if pipe is not None:
            pipe.__exit__(None, None, None)  # raises the errors of all that was sent ahead
        if ended.statusmessage != "COMMIT":  # ROLLBACK is what the server says to the end of one that had failed
            raise psycopg.OperationalError(f"the server rolled back (it says {ended.statusmessage})")
        self._inside = False

    def rollback(self) -> None:
        """Give the transaction up."""
        if not self._inside:
            return
        if not self._link.lost:
            self._leave_pipeline()
            try:
                self._link.execute(b"ROLLBACK")
                self._inside = False
            except psycopg.Error:
                self._link.silent = True  # nothing sensible comes of it any more

    # --- tables ------------------------------------------------------------------------------------------------------

    def version(self) -> int:
        """Number of the last migration. Raises :class:`LedgerUnreadable` for a schema that is not ours."""
        return version_of(self, self.address)

    def set_version(self, number: int) -> None:
        """Say that the tables are as migration ``number`` leaves them."""
        self.execute(
            f"CREATE TABLE IF NOT EXISTS {IDENTITY} "
            "(one BIGINT PRIMARY KEY CHECK (one = 1), application BIGINT NOT NULL, version BIGINT NOT NULL)"
        )
        self.execute(
            f"INSERT INTO {IDENTITY} VALUES (1, {APPLICATION_ID:d}, {number:d}) "  # noqa: S608 - a fixed name, numbers
            "ON CONFLICT (one) DO UPDATE SET version = excluded.version"
        )

    def run(self, migration: str) -> None:
        """Run the statements of a migration, in PostgreSQL's words for its types."""
        link, pipe = self._link, self._pipe
        self._pipe = self._pipeline = None
        if pipe is not None:
            pipe.__exit__(None, None, None)  # several statements at once cannot be sent ahead
        schema = self.address.schema
        there = link.execute(b"SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", (schema,)).fetchone()
        if there is None:
            link.execute(f'CREATE SCHEMA "{schema}"'.encode())
        link.execute(_WORD.sub(lambda found: _WORDS[found[0]], migration).encode())

    def freeze(self) -> None:
        raise psycopg.ProgrammingError("opened for writing")

    def settle(self, *, failed: bool) -> None:
        """Nothing to do: a server whose flush failed stops, and reads what is on its disk."""

    def in_place(self) -> bool:
        """Nobody can move a table that a transaction is writing."""
        return True

    def forget_erased(self) -> bool:
        """Let nothing of erased rows be found by a question, and their room be used again.

        A small table is written anew, so that its files hold nothing of them either. What the write-ahead log, copies
        and standbys hold goes when they are over.
        """
        link = connect(self.address, self._application, writes=True)
        try:
            link.patience = ERASING_S
            link.execute(f"SET statement_timeout = {ERASING_S * 1000:.0f}".encode())
            (size,) = link.execute(b"SELECT pg_total_relation_size('personal'::regclass)").fetchone() or (0,)
            link.execute(b"VACUUM FULL personal" if size <= SMALL_BYTES else b"VACUUM personal")
        finally:
            link.close()
        return True
