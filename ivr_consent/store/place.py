"""Where a log is, and opening it: its tables brought to the newest form, its end looked at."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from ivr_consent import __version__
from ivr_consent.config import Settings
from ivr_consent.core.decision import canonical
from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.store import database as sqlite
from ivr_consent.store.address import Address
from ivr_consent.store.chain import Chain, Entry, utc_now, utc_text
from ivr_consent.store.database import Database, cannot_read, cannot_write
from ivr_consent.store.mark import Mark
from ivr_consent.store.schema import checked_version, migrate
from ivr_consent.store.sealing import SealingKey
from ivr_consent.verifier import Event, NoteError, PublicKey, leaf, leaf_hash

CHECKPOINT_EVENTS: Final = 1000
"""A checkpoint after so many events."""

CHECKPOINT_S: Final = 600.0
"""A checkpoint after so many seconds, where there was an event."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log is: an SQLite file, and the key that seals it, by default beside it (``decisions.key``).

    With ``url`` it is the chain of ``server`` in that PostgreSQL database, and ``path`` is no file: it says where the
    key is, which stays here (``pbx1.db``: ``pbx1.key``). ``password_file`` holds the password for the database.
    """

    path: Path
    key: Path | None = None
    checkpoint_events: int = CHECKPOINT_EVENTS
    checkpoint_s: float = CHECKPOINT_S
    url: str | None = None
    server: str = ""
    password_file: Path | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return self.address().name if self.url is not None else str(self.path)

    def address(self) -> Address:
        """Of a log in PostgreSQL, where it is there."""
        assert self.url is not None
        return Address(self.url, self.server, self.password_file)

    def begun(self) -> bool:
        """Whether there is a log, as far as can be seen from here: without asking a database server."""
        return self.path.exists() if self.url is None else self.sealing_key().public_path.exists()

    def sealing_key(self) -> SealingKey:
        """The files of its key."""
        return SealingKey(self._key_path)

    def mark(self) -> Mark:
        """The file that says how many events there were."""
        return Mark(self._key_path)

    @property
    def _key_path(self) -> Path:
        return self.key or self.path.with_suffix(".key")


def place_of(settings: Settings) -> Place:
    """Where the log of a configuration is."""
    log = settings.log
    path, key, seconds = settings.path(log.path), settings.sealing_key(), log.checkpoint_minutes * 60.0
    if log.url is None:
        return Place(path, key, log.checkpoint_events, seconds)
    password_file = settings.path(log.password_file) if log.password_file is not None else None
    server = log.server_name
    return Place(path.with_name(f"{server}.db"), key, log.checkpoint_events, seconds, log.url, server, password_file)


def open_for_writing(place: Place, clock: Callable[[], datetime] = utc_now, *, accept_loss: bool = False) -> Database:
    """Open or create a log, bring it to the newest schema; every commit is flushed to disk.

    Raises :class:`LedgerError` with a remedy: for a disk that refuses, for a log whose end was cut off (unless that is
    to be accepted: see ``store/backup.py``), and for one that is gone while its key is still there.
    """
    key = place.sealing_key()
    if place.url is None and not place.path.exists() and key.public_path.exists():
        raise _gone(place, key)  # before an empty file stands in its place
    database = _writing(place)
    try:
        try:
            database.begin()
            if database.version() == 0 and key.public_path.exists():
                raise _gone(place, key)
            migrate(database)
            unpublished = _keys(database, place, clock(), accept_loss=accept_loss)
            database.commit()
            if unpublished:
                database.settle(failed=True)  # an empty file beside a public key would be a log that is gone
                key.publish(unpublished)
        except (database.errors, OSError) as error:
            raise _cannot_write(place, error) from None
    except LedgerError:
        database.rollback()
        database.close()
        raise
    return database


def _writing(place: Place) -> Database:
    if place.url is None:
        return sqlite.open_for_writing(place.path)
    with _driver():
        from ivr_consent.store.postgresql import PostgresqlDatabase  # noqa: PLC0415 - an extra
    try:
        return PostgresqlDatabase(place.address(), place.address().application(place.sealing_key().path))
    except (PostgresqlDatabase.errors, OSError) as error:
        raise _cannot_write(place, error) from None


@contextlib.contextmanager
def open_database(place: Place) -> Iterator[Database]:
    """Ask the database that a log is in, whether there is one in it or not. Raises :class:`LedgerUnreadable`."""
    database = _reading(place)
    try:
        yield database
    except database.errors as error:
        raise _cannot_read(place, error) from None
    finally:
        database.close()


def _reading(place: Place) -> Database:
    if place.url is None:
        return sqlite.open_for_reading(place.path)
    with _driver():
        from ivr_consent.store.postgresql_reading import PostgresqlReading  # noqa: PLC0415 - an extra
    try:
        return PostgresqlReading(place.address())
    except PostgresqlReading.errors as error:
        raise _cannot_read(place, error) from None


@contextlib.contextmanager
def _driver() -> Iterator[None]:
    """What is imported here is in an extra."""
    try:
        yield
    except ImportError as error:
        raise LedgerError(
            f"log.url needs the driver for PostgreSQL, which cannot be loaded ({error}); "
            "run: pip install 'ivr-consent[postgresql]'"
        ) from None


def _cannot_write(place: Place, error: Exception) -> LedgerError:
    if place.url is None or isinstance(error, OSError):
        return cannot_write(place.name, error)
    from ivr_consent.store import postgresql  # noqa: PLC0415 - an extra

    return postgresql.cannot_write(place.name, error)


def _cannot_read(place: Place, error: Exception) -> LedgerUnreadable:
    if place.url is None:
        return cannot_read(place.name, error)
    from ivr_consent.store import postgresql  # noqa: PLC0415 - an extra

    return postgresql.cannot_read(place.name, error)


def _gone(place: Place, key: SealingKey) -> LedgerError:
    return LedgerError(
        f"the log {place.name} is gone or empty, while its public key {key.public_path} is still there; put its newest "
        f"copy in its place: ivr-consent log restore FILE, or move {key.public_path.name} away to begin another log"
    )


def _keys(database: Database, place: Place, now: datetime, *, accept_loss: bool) -> list[PublicKey]:
    """The public keys of the log, where they are not published yet; of a log that has none, the first is made now."""
    key = place.sealing_key()
    chain = Chain(database)
    chain.load()
    if not chain.next_key:
        first = key.create(chain.log_id)
        details = {"key": str(first), "log": chain.log_id, "software": f"ivr-consent {__version__}"}
        time = max(utc_text(now), chain.last_time)
        chain.append(Entry("log_created", None, None, None, canonical(details), None, None), time)
        chain.next_key = str(first)
        chain.save()
        return [first]
    _check_end(database, chain)
    if not accept_loss:
        _check_key(place, key, chain)
    return [] if key.public_path.exists() else _named_keys(database)


def _named_keys(database: Database) -> list[PublicKey]:
    """The keys that the log says it began with and went on under: their file was lost, or never written."""
    found = []
    kinds = "('log_created', 'key_replaced')"
    for (payload,) in database.execute(f"SELECT payload FROM events WHERE kind IN {kinds} ORDER BY sequence"):  # noqa: S608 - fixed
        with contextlib.suppress(ValueError, TypeError, KeyError):  # somebody has changed it: the verifier says so
            found.append(PublicKey.parse(json.loads(payload)["key"]))
    return found


def _check_key(place: Place, key: SealingKey, chain: Chain) -> None:
    """The log is as new as its key and its mark are. Else it is an old copy, or it has lost its tail."""
    known = place.mark().events(chain.log_id)
    if known > chain.tree.size:
        lost = known - chain.tree.size
        raise LedgerError(
            f"the log {place.name} ends at event {chain.tree.size} and had {known}: at least {lost} "
            f"{'event is' if lost == 1 else 'events are'} lost, its end was cut off or an old copy is in its place; "
            + _TAKE_IT
        )
    try:
        expected = PublicKey.parse(chain.next_key)
    except NoteError:
        raise chain.does_not_say() from None
    if key.usable() and not key.fits(expected):
        if not key.path.exists():
            found = f"the key {key.path} that seals the log {place.name} is gone; bring it back, or "
        else:
            found = (
                f"{key.path} is not the key that seals the log {place.name} next, which ends at event "
                f"{chain.tree.size}: at least one checkpoint was made after that (the end of the log was cut off, or "
                "an old copy is in its place), or the key is another log's; "
            )
        raise LedgerError(found + _TAKE_IT)


_TAKE_IT: Final = (
    "put the newest copy in its place: ivr-consent log restore FILE. What is lost for good has to be accepted: with "
    "--accept-loss the log goes on under a new key and says so (without FILE: as it is now)"
)


def _check_end(database: Database, chain: Chain) -> None:
    """The newest event is the one that the log says it ends with: a cut tail is found before anything is added."""
    columns = "sequence, time, kind, call_id, line, outcome, payload, commitment, previous"
    row = database.execute(f"SELECT {columns} FROM events ORDER BY sequence DESC LIMIT 1").fetchone()  # noqa: S608 - fixed columns
    if row is None:
        whole = chain.tree.size == 0
    else:
        event = Event(*row)
        try:
            whole = event.sequence == chain.tree.size and leaf_hash(leaf(event)) == chain.last_leaf
        except (TypeError, ValueError, AttributeError):
            whole = False  # somebody has written a value of another type
        whole = whole or (event.sequence < chain.tree.size and _is_pruned(database, chain.tree.size))
    if not whole:
        raise LedgerError(
            f"the log {database.name} says that it has {chain.tree.size} events and does not end with the last of "
            "them: somebody has changed it; see what is left with: ivr-consent log verify, and restore its newest copy"
        )


def _is_pruned(database: Database, sequence: int) -> bool:
    return database.execute("SELECT 1 FROM pruned WHERE sequence = ?", (sequence,)).fetchone() is not None


def open_for_reading(place: Place) -> Database:
    """Open an existing log without writing to it. Raises :class:`LedgerUnreadable` with a remedy."""
    database = _reading(place)
    try:
        version = checked_version(database)
        if version == 0:
            raise LedgerUnreadable(f"{place.name} is empty; it is filled by the first: ivr-consent serve")
        if version == 1:
            raise LedgerUnreadable(
                f"{place.name} was written by an older ivr-consent and is brought to the new form by the service; "
                "start it: ivr-consent serve"
            )
    except LedgerError:
        database.close()
        raise
    except database.errors as error:
        database.close()
        raise _cannot_read(place, error) from None
    return database
