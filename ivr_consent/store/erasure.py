"""Erasing what the log holds of persons: the chain stays as it is, and the erasure is an event of it (R24, GDPR 17).

What is personal stands in the table ``personal``, behind salted commitments. In SQLite a row of it is not deleted but
overwritten where it stands, by zeros and dashes of the same length: a row that is deleted makes the tree of pages
close up sooner or later, which moves its neighbours and leaves copies of *them* in the unused parts of pages, where
erasing them later does not reach (``secure_delete`` clears what is deleted, not what was moved; measured: of 10,000
rows one or two). For the same reason nothing in the table is looked up by the caller: who is to be forgotten is found
by reading all of it. PostgreSQL writes the table anew instead (:meth:`Database.forget_erased`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ivr_consent.core.decision import canonical
from ivr_consent.core.errors import ConsentError, LedgerError
from ivr_consent.store.chain import Chain, Entry
from ivr_consent.store.database import Database
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.personal import OF_STAFF, split
from ivr_consent.store.place import Place, open_for_reading, open_for_writing
from ivr_consent.verifier import HASH_BYTES

ERASED: Final = "erased"
"""The event: whose personal data was erased, by the numbers of the events that they stood beside."""

BATCH: Final = 200
"""Rows erased in one transaction: calls wait for it."""

MARGIN: Final = 1000
"""Overwritten rows that stay before the first row that is still needed. A page has about twenty, and SQLite closes up
at most three pages at once: no row that is needed is ever moved."""

FILES_DEADLINE_S: Final = 5.0
"""How long a reader that is in the way of emptying the write-ahead log is waited for, where somebody waits for us."""

FILES_PAUSE_S: Final = 0.1

MAX_CALLS: Final = 100_000
"""Calls of one caller that are looked at in one go."""

Range = tuple[int, int]
"""First and last sequence."""


@dataclass(frozen=True, slots=True)
class Erasable:
    """A call with personal data in the log.

    ``time``, ``line``, ``outcome`` are its decision's, else those of its first event. ``events``: numbers of the events
    that personal data of the caller stand beside. ``recording``: it was recorded, and the recording is not erased.
    """

    call_id: str
    time: str
    line: str
    outcome: str | None
    events: tuple[int, ...]
    recording: bool


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased: ``events`` by their numbers; ``in_files``: not even the files hold anything of it."""

    calls: int
    events: tuple[Range, ...]
    in_files: bool


# --- finding ---------------------------------------------------------------------------------------------------------


class Finder:
    """Finds calls whose personal data can be erased. Close it."""

    def __init__(self, place: Place) -> None:
        self._database = open_for_reading(place)

    def __enter__(self) -> Finder:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def of_caller(self, subjects: Sequence[str]) -> list[Erasable]:
        """Every call of a caller, by all of the caller's pseudonyms. Reads all personal data in the log."""
        marks = ", ".join("?" * len(subjects))
        query = (
            f"SELECT DISTINCT e.call_id FROM personal AS p JOIN events AS e ON e.sequence = p.sequence "  # noqa: S608 - question marks
            f"WHERE p.erased = 0 AND p.subject IN ({marks}) ORDER BY e.call_id LIMIT {MAX_CALLS + 1:d}"
        )
        found = [call_id for (call_id,) in self._rows(query, subjects) if call_id is not None] if subjects else []
        if len(found) > MAX_CALLS:
            raise ConsentError(f"more than {MAX_CALLS} calls of one caller: this is no caller; erase single calls")
        return list(self._calls(found))

    def of_call(self, call_id: str) -> list[Erasable]:
        """One call, by its id or an unambiguous beginning of it. Raises :class:`ConsentError` for any other."""
        unknown = ConsentError(
            f"no call, or more than one, has an id that begins with {call_id!r}; see: ivr-consent log list"
        )
        if not call_id or set(call_id) - set("0123456789abcdef"):
            raise unknown
        query = "SELECT call_id FROM events WHERE call_id >= ? AND call_id < ? ORDER BY call_id {} LIMIT 1"
        span = (call_id, call_id + "g")  # "g" sorts after every hexadecimal digit
        first, last = (self._rows(query.format(order), span) for order in ("ASC", "DESC"))
        if not first or first != last:
            raise unknown
        return list(self._calls([first[0][0]]))

    def of_reference(self, references: Sequence[str]) -> list[Erasable]:
        """The call that a reference code was told in, by what the log holds of the code.

        Raises :class:`ConsentError` where there is none, and where calls share the code.
        """
        marks = ", ".join("?" * len(references))
        query = f"SELECT call_id FROM decisions WHERE reference IN ({marks}) ORDER BY sequence LIMIT 10"  # noqa: S608 - question marks
        found = [call_id for (call_id,) in self._rows(query, references)]
        if not found:
            raise ConsentError("no call in the log has this reference code; its personal data may have been erased")
        if len(found) > 1:
            raise ConsentError(
                f"{len(found)} calls share this reference code: {', '.join(found)}; find out which one it is with: "
                "ivr-consent log show, and name it with --call"
            )
        return list(self._calls(found))

    def _calls(self, call_ids: Iterable[str]) -> Iterator[Erasable]:
        for call_id in call_ids:
            events = tuple(_of_caller(self._database, call_id))
            if not events:
                continue
            about = self._rows(
                "SELECT time, line, outcome FROM events WHERE call_id = ? ORDER BY kind = 'decision' DESC, sequence "
                "LIMIT 1",
                (call_id,),
            )
            at, line, outcome = about[0]
            yield Erasable(call_id, at, line or "-", outcome, events, _has_recording(self._database, call_id))

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return list(self._database.execute(query, values))
        except self._database.errors as error:
            raise LedgerError(f"the log cannot be read ({error}); restore it from its newest copy") from None


def _of_caller(database: Database, call_id: str) -> Iterator[int]:
    """The numbers of a call's events beside which something of the caller stands: of the staff is another matter."""
    rows = database.execute(
        "SELECT p.sequence, p.data FROM events AS e JOIN personal AS p ON p.sequence = e.sequence "
        "WHERE e.call_id = ? AND p.erased = 0 ORDER BY p.sequence",
        (call_id,),
    )
    for sequence, data in rows.fetchall():
        try:
            staff_alone = set(json.loads(data)) <= set(OF_STAFF)
        except (ValueError, TypeError, RecursionError):
            staff_alone = False  # somebody has changed it: whatever it is, it goes
        if not staff_alone:
            yield sequence


def _has_recording(database: Database, call_id: str) -> bool:
    return database.execute("SELECT 1 FROM recordings WHERE call_id = ?", (call_id,)).fetchone() is not None


# --- erasing ---------------------------------------------------------------------------------------------------------


def forget(
    ledger: Ledger,
    calls: Sequence[Erasable],
    *,
    reason: str,
    by: str | None,
    files_deadline_s: float = FILES_DEADLINE_S,
) -> Erasure:
    """Erase the personal data of calls, and say so in the log, in the same transaction.

    ``reason`` goes into the chain, for ever; ``by``, who asked for it, stands beside it. Blocking. Raises
    :class:`ConsentError` for a call whose recording exists (nothing of that call is erased then), and
    :class:`LedgerError` when the log cannot be written.
    """
    done: list[int] = []
    details = {"reason": reason} | ({"by": by} if by is not None else {})
    for batch in _batches(calls):

        def work(chain: Chain, database: Database, at: str, batch: Sequence[Erasable] = batch) -> list[int]:
            erased = [sequence for call in batch for sequence in _forget_call(database, call.call_id)]
            if erased:
                tell_erased(chain, at, erased, details)
            return erased

        done += ledger.transact(work)
    return Erasure(len(calls), ranges(done), forget_in_files(ledger.place, files_deadline_s))


def _batches(calls: Sequence[Erasable]) -> Iterator[list[Erasable]]:
    batch: list[Erasable] = []
    rows = 0
    for call in calls:
        batch.append(call)
        rows += len(call.events)
        if rows >= BATCH:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _forget_call(database: Database, call_id: str) -> list[int]:
    if _has_recording(database, call_id):
        raise ConsentError(
            f"call {call_id} was recorded, and the recording is not erased; erase it first: "
            f"ivr-consent withdraw {call_id} (or add --withdraw)"
        )
    sequences = list(_of_caller(database, call_id))
    overwrite(database, sequences)
    database.execute("UPDATE decisions SET reference = NULL WHERE call_id = ?", (call_id,))
    return sequences


def tell_erased(chain: Chain, at: str, sequences: Iterable[int], details: dict[str, Any]) -> None:
    """Append the event that says beside which events nothing personal is left."""
    public, personal = split({**details, "events": [list(pair) for pair in ranges(sequences)]})
    chain.append(Entry(ERASED, None, None, None, canonical(public), personal, None), at)


def overwrite(database: Database, sequences: Iterable[int]) -> None:
    """Erase what stands beside events, inside a transaction."""
    if database.kind != "sqlite":
        for sequence in sequences:
            database.execute("DELETE FROM personal WHERE sequence = ?", (sequence,))
        return
    for sequence in sequences:
        # The same types and lengths: the row stays where it is (and 0 and 1 take no room at all in SQLite).
        database.execute(
            f"UPDATE personal SET salt = ?, data = zeroblob(length(data)), subject = {_dashes('subject')}, "  # noqa: S608 - fixed columns
            f"agent = {_dashes('agent')}, erased = 1 WHERE sequence = ? AND erased = 0",
            (bytes(HASH_BYTES), sequence),
        )


def _dashes(column: str) -> str:
    """As many dashes as a text has bytes, as an expression; none where there is no text."""
    length = f"length(CAST({column} AS BLOB))"
    return f"CASE WHEN {column} IS NOT NULL THEN replace(hex(zeroblob({length})), '00', '-') END"


def clear_overwritten(database: Database) -> int:
    """Remove overwritten rows at the beginning of the table, but for :data:`MARGIN`, at most :data:`BATCH`; how many.

    Inside a transaction.
    """
    if database.kind != "sqlite":
        return 0
    first = database.execute("SELECT sequence FROM personal WHERE erased = 0 ORDER BY sequence LIMIT 1").fetchone()
    # The newest row of all is where new ones are added: it stays, too.
    needed = first or database.execute("SELECT max(sequence) FROM personal").fetchone()
    last = database.execute(
        "SELECT sequence FROM personal WHERE sequence < ? ORDER BY sequence DESC LIMIT 1 OFFSET ?",
        (needed[0] if needed is not None else 0, MARGIN),
    ).fetchone()
    if last is None:
        return 0
    cleared = database.execute(
        "DELETE FROM personal WHERE sequence IN "
        "(SELECT sequence FROM personal WHERE sequence <= ? ORDER BY sequence LIMIT ?)",
        (last[0], BATCH),
    )
    return cleared.rowcount


def ranges(sequences: Iterable[int]) -> tuple[Range, ...]:
    """Numbers as ranges of neighbours, in order."""
    found: list[Range] = []
    for sequence in sorted(sequences):
        if found and found[-1][1] == sequence - 1:
            found[-1] = (found[-1][0], sequence)
        else:
            found.append((sequence, sequence))
    return tuple(found)


# --- files -----------------------------------------------------------------------------------------------------------


def forget_in_files(place: Place, deadline_s: float = FILES_DEADLINE_S) -> bool:
    """Let the log's files hold nothing of what was erased. Blocking, at most so many seconds.

    False when somebody who reads the log is still in the way: the service tries again with every sweep.
    """
    until = time.monotonic() + deadline_s
    database = open_for_writing(place)
    try:
        while not database.forget_erased():
            if time.monotonic() > until:
                return False
            time.sleep(FILES_PAUSE_S)
    except database.errors as error:
        raise LedgerError(
            f"the log {place.name} cannot be written ({error}); see its disk, and run this again"
        ) from None
    else:
        return True
    finally:
        database.close()
