"""Events out of the database: as many at once as may be in memory, and what somebody else wrote named, not believed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from ivr_consent.core.errors import LedgerError
from ivr_consent.store.database import Database
from ivr_consent.store.personal import KEPT_BESIDE
from ivr_consent.store.records import LoggedEvent
from ivr_consent.store.rows import NotOurs, checked_columns, payload_of

_COLUMNS: Final = "e.sequence, e.time, e.kind, e.call_id, e.line, e.outcome, e.payload, e.commitment, p.data"
_EVENTS: Final = f"SELECT {_COLUMNS} FROM events AS e {KEPT_BESIDE}"  # noqa: S608 - fixed columns

PAGE: Final = 64
"""Events fetched at once. The first page has one: it is shown before another is looked for."""

MAX_OF_CALL: Final = 1000
"""Events of one call that are looked at; a call of ours has less than twenty."""

MAX_BYTES: Final = 4 << 20
"""Of payloads that are in memory at once; the first one is always let in."""

MAX_SHOWN: Final = 200
"""Characters of a column of an event that cannot be read."""


class Events:
    """Reads events. One that was not written by us ends it with a :class:`LedgerError` that names it; or it comes with
    :attr:`LoggedEvent.problem`, where ``lenient``."""

    def __init__(self, database: Database, *, lenient: bool) -> None:
        self._database = database
        self._lenient = lenient

    def one(self, sequence: int) -> LoggedEvent | None:
        """One event; ``None`` where there is none, or it was pruned."""
        return next(iter(self.fitting("WHERE e.sequence = ?", [sequence])), None)

    def pages(self, sequences: Iterator[int]) -> Iterator[list[LoggedEvent]]:
        """Events by their sequences, which fall; without those that were pruned meanwhile."""
        size = 1
        while True:
            try:
                left = list(islice(sequences, size))
            except self._database.errors as error:
                raise self.unreadable(error) from None
            if not left:
                return
            while left:
                marks = ", ".join("?" * len(left))
                page = self.fitting(f"WHERE e.sequence IN ({marks}) ORDER BY e.sequence DESC", left)
                if not page:
                    break
                yield page
                left = [sequence for sequence in left if sequence < page[-1].sequence]
            size = min(size * 8, PAGE)

    def later(self, decisions: Sequence[LoggedEvent]) -> list[tuple[LoggedEvent, ...]]:
        """What followed each decision, the oldest first."""
        if len(decisions) > 1:
            ids = [decision.call_id for decision in decisions]
            condition = (
                f"WHERE e.call_id IN ({', '.join('?' * len(ids))}) AND e.sequence > ? ORDER BY e.sequence LIMIT ?"
            )
            oldest = min(decision.sequence for decision in decisions)
            found, whole = self._read(condition, [*ids, oldest, MAX_OF_CALL])
            if whole and len(found) < MAX_OF_CALL:
                return [
                    tuple(event for event in found if event.call_id == made.call_id and event.sequence > made.sequence)
                    for made in decisions
                ]
        condition = "WHERE e.call_id = ? AND e.sequence > ? ORDER BY e.sequence LIMIT ?"
        return [tuple(self.fitting(condition, [made.call_id, made.sequence, MAX_OF_CALL])) for made in decisions]

    def fitting(self, condition: str, values: Sequence[Any] = ()) -> list[LoggedEvent]:
        """The first of what fits: as much of it as may be in memory at once."""
        return self._read(condition, values)[0]

    def _read(self, condition: str, values: Sequence[Any]) -> tuple[list[LoggedEvent], bool]:
        """The same, and whether that is all of it."""
        found: list[LoggedEvent] = []
        size = 0
        try:
            for row in self._database.execute(f"{_EVENTS} {condition}", values):
                size += len(row[6]) if isinstance(row[6], bytes | str) else 0
                if found and size > MAX_BYTES:
                    return found, False
                found.append(self._event(row))
        except self._database.errors as error:
            if not _of_one_value(error):
                raise self.unreadable(error) from None
            return self._one_by_one(condition, values), True
        return found, True

    def _one_by_one(self, condition: str, values: Sequence[Any]) -> list[LoggedEvent]:
        """Events of which one holds a value that the database cannot give."""
        rows = self.rows(f"SELECT e.sequence FROM events AS e {condition}", values)  # noqa: S608 - fixed conditions
        if len(rows) == 1:
            return [self._refused(self._readable(rows[0]), "a text or a payload of it cannot be read")]
        return [event for (sequence,) in rows if (event := self.one(sequence)) is not None]

    def _readable(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the database can give of an event: its columns without the payload, or its sequence alone."""
        query = "SELECT sequence, time, kind, call_id, line, outcome FROM events WHERE sequence = ?"
        try:
            return self._database.execute(query, row).fetchone() or row
        except self._database.errors:
            return row

    def _event(self, row: tuple[Any, ...]) -> LoggedEvent:
        sequence, time, kind, call_id, line, outcome, raw, committed, personal = row
        try:
            checked_columns(*row[:6])
            payload = payload_of(raw, personal)
        except NotOurs as problem:
            return self._refused(row, str(problem))
        erased = committed is not None and personal is None
        return LoggedEvent(sequence, time, kind, call_id, line, outcome, payload, erased)

    def _refused(self, row: tuple[Any, ...], problem: str) -> LoggedEvent:
        if not self._lenient:
            raise event_error(row[0], problem)
        texts = [value[:MAX_SHOWN] if isinstance(value, str) else None for value in row[1:6]]
        time, kind, call_id, line, outcome = texts or [None] * 5
        return LoggedEvent(row[0], time or "", kind or "", call_id, line, outcome, {}, problem=problem)

    def row(self, query: str, sequence: int) -> tuple[Any, ...] | None:
        """The one row of an event; an empty one where it holds a value that the database cannot give."""
        try:
            return self._database.execute(query, [sequence]).fetchone()
        except self._database.errors as error:
            if not _of_one_value(error):
                raise self.unreadable(error) from None
            return ()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a question. Raises :class:`LedgerError`."""
        try:
            return list(self._database.execute(query, values))
        except self._database.errors as error:
            raise self.unreadable(error) from None

    def unreadable(self, error: Exception | str) -> LedgerError:
        """The error of a log that the database cannot read."""
        return LedgerError(f"the log cannot be read ({error}); restore it from its newest copy")


def event_error(sequence: Any, problem: str) -> LedgerError:
    """The error of one event that is not of our form."""
    return LedgerError(
        f"event {sequence} of the log was not written by ivr-consent: {problem}; see: ivr-consent log verify"
    )


def _of_one_value(error: Exception) -> bool:
    """Whether the database could read the row, and not a value in it: too large, or not UTF-8."""
    return isinstance(error, sqlite3.DataError) or "decode" in str(error).lower()
