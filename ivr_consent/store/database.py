"""A database as the log uses it: statements with ``?``, explicit transactions, the same words for every kind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.store.files import flush_folder, give_to_owner_of_folder

APPLICATION_ID: Final = 0x49564343  # "IVCC" in the SQLite header: a file without it is not a log of ours

BUSY_TIMEOUT_S: Final = 2.0
"""How long one writer waits for another (the classic AGI script writes the same log); a caller waits with it."""

BUSY_PAUSE_S: Final = (0.0005, 0.002)
"""Between two looks whether the other writer is done: from, to."""

MAX_VALUE_BYTES: Final = 4 << 20
"""The largest text or blob that a reader takes out of a file: a payload has a few thousand bytes."""

CACHE_KIB: Final = 16_384
"""Pages that SQLite keeps in memory, KiB: the keys of calls are random, and their index is what a long log grows by."""


class Cursor(Protocol):
    """What a statement returns: its rows, one after the other."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed."""
        ...

    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or ``None``."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        ...


class Database(Protocol):
    """One connection. Outside of :meth:`begin` and :meth:`commit` each statement stands for itself."""

    errors: type[Exception]
    """What its driver raises, the base of it."""

    kind: str
    """``sqlite`` or ``postgresql``."""

    name: str
    """Where it is, for messages; without passwords."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Cursor:
        """Run one statement; ``?`` stands for each value."""
        ...

    def begin(self) -> None:
        """Begin a transaction as the only writer; waits for another one, at most :data:`BUSY_TIMEOUT_S`."""
        ...

    def commit(self) -> None:
        """End the transaction; when this returns, all of it is on disk."""
        ...

    def rollback(self) -> None:
        """Give the transaction up, where there is one; raises nothing."""
        ...

    def version(self) -> int:
        """Number of the last migration that was applied; 0 for an empty database."""
        ...

    def set_version(self, number: int) -> None:
        """Say that the tables are as migration ``number`` leaves them; inside a transaction."""
        ...

    def run(self, migration: str) -> None:
        """Run the statements of a migration, inside a transaction."""
        ...

    def forget_erased(self) -> bool:
        """Let nothing of erased rows be left in the files, as far as the database can; outside of a transaction.

        False when a reader is in the way: try again.
        """
        ...

    def freeze(self) -> None:
        """Answer from one state of the log from now on, whatever is written meanwhile; of a reader."""
        ...

    def settle(self, *, failed: bool) -> None:
        """Bring to disk, for certain, all that was committed before: asked of a new connection before its first commit.

        ``failed``: the connection before it ended with an error, or may have; that leaves open what is on disk.
        """
        ...

    def in_place(self) -> bool:
        """Whether what was just committed is where it will be looked for: nobody has moved the log away."""
        ...

    def alive(self) -> bool:
        """Whether the connection is still there, as far as is known without asking; before a transaction."""
        ...

    def must_reopen(self, error: Exception) -> bool:
        """Whether the connection is of no more use after this error."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class SqliteDatabase:
    """An SQLite file."""

    kind = "sqlite"
    errors: type[Exception] = sqlite3.Error

    def __init__(self, connection: sqlite3.Connection, path: Path, writers: _Writers | None = None) -> None:
        self._connection = connection
        self._writers = writers or _Writers()
        self._files = _identities(path)
        self.path = path
        self.name = str(path)
        self.execute = connection.execute  # bound once: it is called several times for every event

    execute: Any

    def begin(self) -> None:
        # SQLite itself looks again after up to 100 ms, and hardly ever finds a busy writer between two commits.
        _patiently(self._connection, "BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # the disk refuses even that: the next BEGIN says so again
                self._connection.execute("ROLLBACK")

    def copy_to(self, target: sqlite3.Connection, pages: int, progress: Callable[[int, int, int], None]) -> None:
        """Copy all of it as it is now, ``pages`` at a time; ``progress``: status, pages left, pages in all."""
        # Inside a read transaction: what others write meanwhile does not make the copy begin anew.
        self._connection.execute("BEGIN")
        try:
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            self._connection.backup(target, pages=pages, progress=progress)
        finally:
            self.rollback()

    def version(self) -> int:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        return int(version)

    def set_version(self, number: int) -> None:
        self._connection.execute(f"PRAGMA user_version={number:d}")
        self._connection.execute(f"PRAGMA application_id={APPLICATION_ID:d}")

    def run(self, migration: str) -> None:
        for statement in statements(migration):
            self._connection.execute(statement)

    def forget_erased(self) -> bool:
        # Erased rows are overwritten, but the write-ahead log may still hold what they were. Copying it into the
        # database is in nobody's way; then little is left to do while other writers wait. Readers are not waited for.
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        (busy, *_) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def freeze(self) -> None:
        self._connection.execute("BEGIN")

    def settle(self, *, failed: bool) -> None:
        # After a failed flush the kernel takes the pages of the write-ahead log for written, still shows them, and
        # flushes without them from then on. Who opens the log next finds its end in memory and builds on it; a power
        # cut would take both. So what is there is written once more: it is flushed for certain, or fails again. Then
        # it is copied into the database, whose own pages may have met the same. (Not first: a copy that is cut off in
        # the middle needs the write-ahead log.)
        if not self._writers.alone and not failed:
            return  # whoever writes has done it, and would have met the error
        self.begin()
        try:
            _write_again(Path(f"{self.path}-wal"))
            flush_folder(self.path.parent)
        finally:
            self.rollback()
        if failed:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def in_place(self) -> bool:
        return _identities(self.path) == self._files

    def alive(self) -> bool:
        return True

    def must_reopen(self, error: Exception) -> bool:
        # A full disk leaves nothing behind that a rollback does not take back.
        return not isinstance(error, sqlite3.Error) or not _is(error, *_BUSY, sqlite3.SQLITE_FULL)

    def close(self) -> None:
        self._connection.close()
        self._writers.close()


def open_for_writing(path: Path) -> SqliteDatabase:
    """Open or create a file; every commit is flushed to disk. It is readable by its owner alone.

    Raises :class:`LedgerError` with a remedy.
    """
    writers = _Writers()
    try:
        _create(path)
        writers.join(path)
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
    except (OSError, sqlite3.Error) as error:
        writers.close()
        raise cannot_write(str(path), error) from None
    try:
        _check_identity(connection, path)
        connection.execute("PRAGMA synchronous=FULL")
        _log_ahead(connection)
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB:d}")
        connection.execute("SELECT count(*) FROM sqlite_master")  # now its three files are there
        connection.execute("PRAGMA busy_timeout=0")  # begin() waits
        return SqliteDatabase(connection, path, writers)
    except (OSError, sqlite3.Error) as error:
        connection.close()
        writers.close()
        raise cannot_write(str(path), error) from None
    except LedgerError:
        connection.close()
        writers.close()
        raise


def _create(path: Path) -> None:
    """Make an empty file where there is none; its name is on disk before anything is written into it.

    One that is there is not opened: closing it would take away every lock that this process has on it.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from None
        return
    try:
        give_to_owner_of_folder(descriptor, path.parent)
    finally:
        os.close(descriptor)
    flush_folder(path.parent)


def _patiently(connection: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
    """Wait for another writer, at most :data:`BUSY_TIMEOUT_S`."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            return connection.execute(statement)
        except sqlite3.OperationalError as error:
            if not _is(error, *_BUSY) or time.monotonic() > until:
                raise
            time.sleep(random.uniform(*BUSY_PAUSE_S))  # noqa: S311 - not a secret: two that wait need not meet


def _log_ahead(connection: sqlite3.Connection) -> None:
    # Of processes that make the log at the same moment all but one are told at once that it is locked.
    (mode,) = _patiently(connection, "PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":  # SQLite says nothing else about it
        raise OSError("it cannot have a write-ahead log there: a network's file system, or a failing disk")


def _write_again(path: Path) -> None:
    """Make every page of a file one that has to be flushed, and flush it. Nobody else may be writing it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        offset = 0
        while part := os.pread(descriptor, _PART, offset):
            offset += os.pwrite(descriptor, part, offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_PART: Final = 1 << 20


class _Writers:
    """The processes that write a log, as far as each knows whether it was the first of them.

    A lock on a file beside the log, which belongs to nothing else: SQLite's own must not be touched.
    """

    def __init__(self) -> None:
        self.alone = False
        self._descriptor = -1

    def keep_out(self, path: Path) -> bool:
        """Let there be none; whether there is none. Raises :class:`OSError`."""
        self._open(path)
        return self._lock(fcntl.LOCK_EX)

    def join(self, path: Path) -> None:
        """Be one of them. Raises :class:`OSError`."""
        self._open(path)
        self.alone = self._lock(fcntl.LOCK_EX)
        until = time.monotonic() + BUSY_TIMEOUT_S
        while not self._lock(fcntl.LOCK_SH):  # one that was alone is just making room for others
            if time.monotonic() > until:
                raise OSError("it is being restored from a copy; wait until that is done")
            time.sleep(BUSY_PAUSE_S[1])

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _open(self, path: Path) -> None:
        self._descriptor = os.open(f"{path}-writers", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        give_to_owner_of_folder(self._descriptor, path.parent)

    def close(self) -> None:
        """Be none of them any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _identities(path: Path) -> tuple[tuple[int, int], ...] | None:
    """Which files the log, its write-ahead log and the index of that are; ``None`` where one is missing."""
    try:
        found = [os.stat(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]  # noqa: PTH116 - after every commit
    except OSError:
        return None
    return tuple((status.st_dev, status.st_ino) for status in found)


_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _is(error: sqlite3.Error, *codes: int) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


@contextlib.contextmanager
def nobody_writes(path: Path) -> Iterator[None]:
    """Keep every writer away from a file. Raises :class:`LedgerError` while there is one."""
    writers = _Writers()
    try:
        if not writers.keep_out(path):
            raise LedgerError(
                f"somebody writes the log {path} at this moment; stop the service, wait for calls to end, and run "
                "this again"
            )
        yield
    finally:
        writers.close()


def cannot_write(name: str, error: Exception) -> LedgerError:
    """The error of a log that cannot be written, with its remedy."""
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        remedy = "create its directory and give it to the service's user"
    else:
        remedy = "look for a full or read-only disk, and for the file's owner: it must be the service's user"
    return LedgerError(f"the log {name} cannot be written ({error}); {remedy}")


def open_for_reading(path: Path) -> SqliteDatabase:
    """Open an existing file without writing to it. Raises :class:`LedgerUnreadable` with a remedy."""
    if not path.is_file():
        raise LedgerUnreadable(f"there is no log at {path}; it is created by the first: ivr-consent serve")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise cannot_read(str(path), error) from None
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        connection.execute("PRAGMA trusted_schema=OFF")
        _check_identity(connection, path)
        _check_tables(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise cannot_read(str(path), error) from None
    except LedgerError:
        connection.close()
        raise
    return SqliteDatabase(connection, path)


def cannot_read(name: str, error: Exception) -> LedgerUnreadable:
    """The error of a log that cannot be read, with its remedy."""
    return LedgerUnreadable(f"{name} cannot be read ({error}); is it a log of ivr-consent, and yours?")


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    try:
        # In this order: another process may be making the log, its tables and their owner's number in one commit.
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.OperationalError:
        raise  # the disk, not what is on it
    except sqlite3.DatabaseError as error:
        raise LedgerUnreadable(f"{path} is not a log of ivr-consent ({error}); name another file") from None
    if application != APPLICATION_ID and tables:
        raise LedgerUnreadable(f"{path} is a database, but not a log of ivr-consent; name another file")


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """A file made by somebody else may have a view in a table's place, whose rows never end."""
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'view' OR sql LIKE 'CREATE VIRTUAL%'"
    if connection.execute(query).fetchone() != (0,):
        raise LedgerUnreadable(f"{path} holds more than the tables of a log: it was not written by ivr-consent")


def statements(script: str) -> list[str]:
    """Split a migration into statements (a trigger holds semicolons of its own)."""
    found, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            found.append(current)
            current = ""
    return found
