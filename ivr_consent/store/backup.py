"""Copies of a log: made while it is written, and put back in its place.

A copy never holds the key that seals the log. A copy that is put back is older than its key as soon as one checkpoint
was made after it, and shorter than the mark beside the key says as soon as one event was: then events are lost. That
has to be accepted; the log goes on under a new key, and says so.

Each step of a restore leaves the log as it was, or one that is refused until the restore is run again.
"""

from __future__ import annotations

import contextlib
import glob
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from ivr_consent import verifier
from ivr_consent.core.decision import canonical
from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.store import database as sqlite
from ivr_consent.store.chain import Chain, Entry, utc_now, utc_text
from ivr_consent.store.database import Database
from ivr_consent.store.erasure import overwrite, tell_erased
from ivr_consent.store.files import flush_folder, give_to_owner_of_folder
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place, open_database, open_for_reading, open_for_writing
from ivr_consent.store.sealing import good, origin
from ivr_consent.verifier import NoteError, Outside, PublicKey, Report, Tables

PAGES: Final = 2048
"""Pages copied at a time, 8 MiB: between two of them it is told how far it is."""

AGAIN: Final = 1000
"""Personal data erased in one event after a restore."""

Progress = Callable[[int, int], None]
"""Is told how much is done, and of how much."""


class Copied(NamedTuple):
    """A copy that was made and verified. ``sealed``: so many of its events are under a checkpoint."""

    file: Path
    log: str
    events: int
    sealed: int
    sealed_time: str
    bytes: int


class Restorable(NamedTuple):
    """What a copy is, beside what is known of the log. ``lost``: so many events at least; 0 when none is known to be.

    ``fits``: whether the key that is there seals it next; if not, the log went on after the copy, or the key is gone.
    ``there``: so many events has the log that is in place now; ``None`` when it cannot be read.
    """

    log_id: str
    events: int
    lost: int
    fits: bool
    there: int | None

    @property
    def whole(self) -> bool:
        """Whether nothing is lost, as far as can be told here."""
        return self.fits and not self.lost


class Restored(NamedTuple):
    """What was done. ``kept``: where the log is that was there before. ``key``: the new public key, where one was
    needed. ``erased``: events whose personal data had been erased after the copy was made, and was erased again."""

    kept: Path | None
    key: str | None
    erased: int


# --- a copy is made --------------------------------------------------------------------------------------------------


def backup(place: Place, file: Path, progress: Progress | None = None) -> Copied:
    """Copy a log that others may be writing, verify the copy, and only then give it its name.

    Raises :class:`LedgerError`: also when there is something under that name already, or the copy is not intact.
    """
    _sqlite_only(place)
    if os.path.lexists(file):
        raise LedgerError(f"{file} is there already; name another file")
    _seal(place)
    with _beside(file) as aside:
        _copy(place.path, aside, progress)
        made = _looked_at(aside, place)
        try:
            os.link(aside, file)  # unlike a rename, this never replaces what somebody made meanwhile
            flush_folder(file.parent)
        except OSError as error:
            raise LedgerError(f"{file} cannot be written ({error.strerror}); see who may write there") from None
    return made._replace(file=file)


def _seal(place: Place) -> None:
    """A copy that ends with a checkpoint proves all that is in it; where we may not sign one, it ends as it ends."""
    with contextlib.suppress(LedgerError):
        with open_database(place) as database:
            current = database.version() > 1  # one of before must not be changed by copying it
        if current and place.sealing_key().usable():
            ledger = Ledger(place)
            try:
                ledger.seal()
            finally:
                ledger.close()


def _looked_at(file: Path, place: Place) -> Copied:
    """Verify a copy. One of a version that had no chain is whole when SQLite says so. Raises :class:`LedgerError`."""
    database = sqlite.open_for_reading(file)
    try:
        if database.version() == 1:
            (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise LedgerError(f"the copy is not intact ({verdict}); the log {place.name} is damaged")
            (events,) = database.execute("SELECT count(*) FROM events").fetchone()
            return Copied(file, "", events, 0, "", file.stat().st_size)
    except sqlite3.Error as error:
        raise LedgerError(f"the copy cannot be read ({error}); the log {place.name} is damaged") from None
    finally:
        database.close()
    report = _intact(file, _published(place))
    return Copied(file, report.origin, report.events, report.sealed, report.sealed_time, file.stat().st_size)


# --- a copy is put back ----------------------------------------------------------------------------------------------


def look(place: Place, file: Path | None, outside: Iterable[Outside] = ()) -> Restorable:
    """Verify a copy, and compare it with what is known of the log here; without ``file``, the log as it is.

    ``outside``: checkpoints that stand elsewhere. Raises :class:`LedgerError`.
    """
    if file is None:
        report = _intact(place, _published(place), outside)
    else:
        _sqlite_only(place)
        report = _intact(file, _published(place), outside)
    _same_log(place, file, report)
    log_id = report.origin.rpartition("/")[2]
    there = None if file is None else _there(place, log_id)
    known = max(place.mark().events(log_id), there or 0, *(_shown(one, report.origin) for one in outside), 0)
    return Restorable(log_id, report.events, max(0, known - report.events), _fits(place, file), there)


def restore(
    place: Place,
    file: Path | None,
    *,
    accept_loss: bool,
    outside: Iterable[Outside] = (),
    progress: Progress | None = None,
) -> Restored:
    """Put a copy in the log's place; without ``file`` the log stays as it is, and what it has lost is accepted.

    ``accept_loss``: where the copy is not whole, the log goes on under a new key, and its events ``restored`` and
    ``key_replaced`` say so. Nothing may be writing the log. Raises :class:`LedgerError`.
    """
    found = look(place, file, outside)
    if not found.whole and not accept_loss:
        raise LedgerError(_lost(place, file, found))
    kept, erased = None, 0
    if file is not None and not _is_the_log(place, file):
        with sqlite.nobody_writes(place.path), _beside(place.path) as aside:
            _copy(file, aside, progress)
            if found.there is not None:
                erased = _erase_again(place, aside)
            kept = _put(place, aside)
    if found.whole:
        _tell(place, found)
        return Restored(kept, None, erased)
    return Restored(kept, str(_go_on(place, found)), erased)


def _lost(place: Place, file: Path | None, found: Restorable) -> str:
    name = place.name if file is None else str(file)
    if found.lost:
        count = f"at least {found.lost} {'event' if found.lost == 1 else 'events'}"
    elif not place.sealing_key().path.exists():
        count = "whatever was written after it (nobody can tell: the key is gone)"
    else:
        count = "what was written after its last checkpoint"
    return (
        f"{name} ends at event {found.events}: {count} of the log {place.name} would be lost. Restore a newer copy; "
        "or, if there is none, accept the loss with --accept-loss: the log then goes on under a new key and says so"
    )


def _is_the_log(place: Place, file: Path) -> bool:
    with contextlib.suppress(OSError):
        return place.path.samefile(file)
    return False


def _same_log(place: Place, file: Path | None, report: Report) -> None:
    published = _published(place)
    if published and all(key.name != report.origin for key in published):
        raise LedgerError(
            f"{file or place.name} is a copy of another log ({report.origin}); the one here is {published[0].name}. To "
            f"use it all the same, move what is here away: {place.name}, {place.sealing_key().path} and "
            f"{place.sealing_key().public_path.name}"
        )


def _there(place: Place, log_id: str) -> int | None:
    """The events of the log that is in place now."""
    with contextlib.suppress(LedgerError), open_database(place) as database:
        row = database.execute("SELECT size FROM log WHERE log_id = ?", (log_id,)).fetchone()
        return None if row is None else int(row[0])
    return None


def _shown(outside: Outside, name: str) -> int:
    """So many events had the log, as a checkpoint from outside says; whether it is genuine, the verifier has judged."""
    with contextlib.suppress(NoteError, ValueError):
        text = outside.note.partition("\n\n")[0] + "\n"
        checkpoint = verifier.Checkpoint.parse(text)
        return checkpoint.size if checkpoint.origin == name else 0
    return 0


def _fits(place: Place, file: Path | None) -> bool:
    database = open_for_reading(place) if file is None else sqlite.open_for_reading(file)
    try:
        chain = Chain(database)
        chain.load()
        return place.sealing_key().fits(PublicKey.parse(chain.next_key))
    except (NoteError, OSError):
        return False
    finally:
        database.close()


def _put(place: Place, aside: Path) -> Path | None:
    """Keep what is in the log's place under a name that says when it was replaced, and put the copy there."""
    path = place.path
    kept = path.with_name(f"{path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    try:
        was_there = os.path.lexists(path)
        for ending in ("", "-wal", "-shm"):  # a write-ahead log of another time would spoil the copy
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{ending}").rename(f"{kept}{ending}")
        flush_folder(path.parent)
        aside.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise LedgerError(
            f"the copy cannot be put in the place of {place.name} ({error.strerror}); see who may write there"
        ) from None
    return kept if was_there else None


def _erase_again(place: Place, aside: Path) -> int:
    """What was erased after the copy was made must not come back with it: erased in the copy, which says so."""
    with open_database(place) as there:
        (size,) = there.execute("SELECT size FROM log").fetchone() or (0,)
        kept = {sequence for (sequence,) in there.execute("SELECT sequence FROM personal WHERE erased = 0")}
    database = sqlite.open_for_writing(aside)
    try:
        rows = database.execute("SELECT sequence FROM personal WHERE erased = 0 AND sequence <= ?", (size,))
        gone = [sequence for (sequence,) in rows if sequence not in kept]
        if gone:
            _erase(database, gone)
    except sqlite3.Error as error:
        database.rollback()
        raise LedgerError(f"the copy cannot be written ({error}); look for a full disk") from None
    finally:
        database.close()
    return len(gone)


def _erase(database: Database, sequences: list[int]) -> None:
    database.begin()
    chain = Chain(database)
    chain.load()
    overwrite(database, sequences)
    for sequence in sequences:
        database.execute("UPDATE decisions SET reference = NULL WHERE sequence = ?", (sequence,))
    time = max(utc_text(utc_now()), chain.last_time)
    for begin in range(0, len(sequences), AGAIN):
        tell_erased(chain, time, sequences[begin : begin + AGAIN], {"reason": "restored"})
    chain.save()
    database.commit()


def _tell(place: Place, found: Restorable) -> None:
    """Nothing is lost: the key goes on."""
    ledger = Ledger(place)
    try:
        ledger.transact(lambda chain, _, time: _append(chain, "restored", {"events": found.events, "lost": 0}, time))
        ledger.seal()
    finally:
        ledger.close()


def _go_on(place: Place, found: Restorable) -> PublicKey:
    """Events are lost: say so in the log, and under which key it goes on. Run again, it finishes what a crash left."""
    key = place.sealing_key()
    database = open_for_writing(place, accept_loss=True)
    try:
        database.settle(failed=True)
        with key.held() as mine:
            if not mine:
                raise LedgerError(f"somebody seals the log {place.name}; stop the service, and run this again")
            chain = Chain(database)
            database.begin()
            chain.load()
            made = key.replace(chain.log_id)
            time = max(utc_text(utc_now()), chain.last_time)
            _append(chain, "restored", {"events": found.events, "lost": found.lost or None}, time)
            _append(chain, "key_replaced", {"key": str(made), "log": origin(chain.log_id), "reason": "restored"}, time)
            chain.next_key = str(made)
            chain.save()
            database.commit()
            key.advance()
        mark = place.mark()
        mark.set(chain.log_id, chain.tree.size)
        mark.close()
    except (database.errors, OSError) as error:
        database.rollback()
        raise LedgerError(
            f"{place.name} cannot be written ({error}); see its disk, and run this again: ivr-consent log restore "
            "--accept-loss"
        ) from None
    finally:
        database.close()
    _seal(place)
    return made


def _append(chain: Chain, kind: str, details: dict[str, str | int | None], time: str) -> None:
    chain.append(Entry(kind, None, None, None, canonical(details), None, None), time)


# --- both ------------------------------------------------------------------------------------------------------------


def _sqlite_only(place: Place) -> None:
    if place.url is not None:
        raise LedgerError(
            f"{place.name} is in PostgreSQL: copy it with pg_dump, and put it back with pg_restore; what is lost is "
            "then accepted with: ivr-consent log restore --accept-loss"
        )


def _published(place: Place) -> list[PublicKey]:
    path = place.sealing_key().public_path
    try:
        return verifier.read_keys(str(path))
    except (OSError, NoteError, ValueError):
        return []


def _intact(log: Place | Path, keys: list[PublicKey], outside: Iterable[Outside] = ()) -> Report:
    """A report in which nothing is wrong, but that the end may be missing. Raises :class:`LedgerError`."""
    name = log.name if isinstance(log, Place) else str(log)
    try:
        report = _verified(log, keys, outside)
    except verifier.Unreadable as error:
        raise LedgerUnreadable(f"{name} is no copy of a log: {error}") from None
    wrong = [
        finding.sentence
        for finding in report.findings
        if finding.level == verifier.WRONG and finding.code != "tail_cut"
    ]
    if report.form != "log":
        raise LedgerUnreadable(f"{name} is an export, and no copy of a log: see ivr-consent log backup")
    if wrong or report.damage:
        raise LedgerError(
            f"{name} is not intact: {[*wrong, report.damage][0]}; see all of it with: ivr-consent log verify {name}"
        )
    return report


def _verified(log: Place | Path, keys: list[PublicKey], outside: Iterable[Outside]) -> Report:
    if isinstance(log, Path) or log.url is None:
        return verifier.verify(log if isinstance(log, Path) else log.path, keys, outside, good=good)
    with open_database(log) as database:
        rows: Any = database.execute
        return verifier.verify(Tables(rows), keys, outside, good=good)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A file's name while it is being written; whatever happens, nothing is left of it, nor of one that was killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        number = left.name.removeprefix(f".{path.name}.").partition("-")[0]
        if number.isdecimal() and not Path(f"/proc/{number}").exists():
            _remove(left)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
    finally:
        for ending in ("", "-wal", "-shm", "-journal", "-writers"):
            _remove(Path(f"{aside}{ending}"))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path, progress: Progress | None) -> None:
    """A consistent copy in one file, flushed, readable by its owner alone. Raises :class:`LedgerError`."""
    try:
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        give_to_owner_of_folder(descriptor, target.parent)
        os.close(descriptor)
    except OSError as error:
        raise LedgerError(f"nothing can be written beside {target} ({error.strerror}); name another place") from None
    database = sqlite.open_for_reading(source)
    try:
        with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:

            def told(_: int, left: int, pages: int) -> None:
                if progress is not None:
                    progress(pages - left, pages)

            copy.execute("PRAGMA synchronous=OFF")  # nothing rests on it before it is flushed, below
            database.copy_to(copy, PAGES, told)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, whole by itself, also where nothing can be written
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"{source} cannot be copied to {target.parent} ({error}); look for a full disk") from None
    finally:
        database.close()
