"""Reading the log while others write it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import LedgerError
from ivr_consent.store.chain import utc_text
from ivr_consent.store.place import Place, open_for_reading
from ivr_consent.store.rows import NotOurs, checked_columns, leaf_of, payload_of, personal_state
from ivr_consent.store.search import EVERYTHING, Search, Wanted

_COLUMNS: Final = "e.sequence, e.time, e.kind, e.call_id, e.line, e.outcome, e.payload, e.commitment, p.data"
_EVENTS: Final = f"SELECT {_COLUMNS} FROM events AS e LEFT JOIN personal AS p ON p.sequence = e.sequence"  # noqa: S608 - fixed columns

PAGE: Final = 200
"""Events fetched at once where all that follow are wanted."""

MAX_OF_CALL: Final = 1000
"""Events of one call that are looked at; a call of ours has less than twenty."""

MAX_SHOWN: Final = 200
"""Characters of a column of an event that cannot be read."""

MAX_BYTES: Final = 8 << 20
"""Of payloads that are in memory at once; the first one is always let in."""


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event as it stands in the log, its personal data put back in their place.

    ``call_id`` and ``line`` are ``None`` for an event of the service. ``erased``: there were personal data, and they
    have been erased. ``problem``: why it cannot be read; the payload is empty then.
    """

    sequence: int
    time: str
    kind: str
    call_id: str | None
    line: str | None
    outcome: str | None
    payload: Mapping[str, Any]
    erased: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call's decision with what followed it."""

    decision: LoggedEvent
    later: tuple[LoggedEvent, ...]

    @property
    def call_id(self) -> str:
        """The call's id, which names its recording too."""
        return self.decision.call_id or ""

    @property
    def line(self) -> str:
        """The line that was called."""
        return self.decision.line or ""

    @property
    def route(self) -> str:
        """Where the call went: as decided, unless a later event changed it."""
        for event in reversed(self.later):
            if "route" in event.payload:
                return str(event.payload["route"])
        return str(self.decision.payload.get("route", "unrecorded"))

    @property
    def recording(self) -> str:
        """What became of the recording: ``none``, ``granted`` (not yet started), ``confirmed``, ``ended``, …"""
        if self.decision.outcome != Outcome.GRANTED.value:
            return "none"
        kinds = [event.kind for event in self.later if event.kind in OF_RECORDING]
        return kinds[-1].removeprefix("recording_") if kinds else "granted"

    @property
    def events(self) -> tuple[LoggedEvent, ...]:
        """All of it in order."""
        return (self.decision, *self.later)


OF_RECORDING: Final = frozenset(
    {
        "recording_confirmed",
        "recording_ended",
        "recording_expired",
        "recording_missing",
        "recording_not_confirmed",
        "recording_stopped",
        "withdrawn",
        "grant_void",
    }
)
"""Kinds of events that say what became of a recording."""


@dataclass(frozen=True, slots=True)
class AskedCall:
    """A call that is being asked, or was when its process died."""

    call_id: str
    line: str
    time: str


@dataclass(frozen=True, slots=True)
class Seal:
    """By what one event is held in its log.

    ``leaf``: the hash of its leaf, hexadecimal; ``None`` where its row is none that could have been written.
    ``pruned``: nothing but that hash is left of it. ``personal``: ``none``, ``kept``, ``erased``, or ``changed`` (not
    what the log committed to). ``checkpoint``: size and time of the first signed checkpoint over it, ``None`` while it
    is not sealed. ``anchors``: where that one was shown, and when; where it was not, the next one that was.
    """

    sequence: int
    leaf: str | None
    pruned: bool
    personal: str
    checkpoint: tuple[int, str] | None
    anchors: tuple[Anchor, ...]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A checkpoint of ``size`` events that was shown outside."""

    size: int
    place: str
    time: str


class LedgerReader:
    """Reads a log that others may be writing. One thread at a time.

    An event that somebody else wrote past us ends a question with a :class:`LedgerError` that names it; or it comes
    with :attr:`LoggedEvent.problem`, where ``lenient``.
    """

    def __init__(self, place: Place | Path, *, lenient: bool = False) -> None:
        self.place = place if isinstance(place, Place) else Place(place)
        self._lenient = lenient
        self._database = open_for_reading(self.place)
        self._search = Search(self._database)

    def __enter__(self) -> LedgerReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def replaced(self) -> bool:
        """Whether another file stands in the log's place now: a copy was restored."""
        return not self._database.in_place()

    # --- calls -------------------------------------------------------------------------------------------------------

    def calls(self, wanted: Wanted = EVERYTHING, *, limit: int | None = 50) -> Iterator[CallRecord]:
        """Decisions, newest first, each with its later events; ``limit`` ``None``: all of them."""
        for decision in self._found(self._search.calls(wanted), wanted, limit):
            yield CallRecord(decision, self._later(decision))

    def call(self, call_id: str) -> CallRecord | None:
        """The record of one call, by its id or an unambiguous beginning of it."""
        if not _may_be_an_id(call_id):
            return None
        query = "SELECT sequence FROM decisions WHERE call_id >= ? AND call_id < ? LIMIT 2"
        found = self._rows(query, [call_id, call_id + "g"])  # "g" sorts after every hexadecimal digit
        return self._record(found[0][0]) if len(found) == 1 else None

    def history(self, call_id: str) -> tuple[LoggedEvent, ...]:
        """All events of one call, oldest first, by its id or an unambiguous beginning of it."""
        if not _may_be_an_id(call_id):
            return ()
        query = "SELECT call_id FROM events WHERE call_id >= ? AND call_id < ? ORDER BY call_id"
        span = [call_id, call_id + "g"]
        first, last = (self._rows(f"{query} {order} LIMIT 1", span) for order in ("", "DESC"))
        if not first or first != last:
            return ()
        condition = "WHERE e.call_id = ? ORDER BY e.sequence LIMIT ?"
        return tuple(self._events(condition, [first[0][0], MAX_OF_CALL]))

    def _record(self, sequence: int) -> CallRecord | None:
        decision = self.event(sequence)
        return CallRecord(decision, self._later(decision)) if decision is not None else None

    def unfinished_grants(self) -> list[CallRecord]:
        """Granted calls with no closing event: what a restart must look after."""
        rows = self._rows("SELECT sequence FROM recordings WHERE due IS NULL ORDER BY sequence")
        return [record for (sequence,) in rows if (record := self._record(sequence)) is not None]

    def expired_recordings(self, now: datetime) -> list[CallRecord]:
        """Calls whose recording has not been erased and ended longer ago than their decision's days, oldest first."""
        rows = self._rows("SELECT sequence FROM recordings WHERE due <= ? ORDER BY due, sequence", [utc_text(now)])
        return [record for (sequence,) in rows if (record := self._record(sequence)) is not None]

    def undecided(self, before: datetime) -> list[AskedCall]:
        """Calls that began to be asked before then and have no decision: their process died."""
        rows = self._rows("SELECT call_id, line, time FROM asked WHERE time < ? ORDER BY sequence", [utc_text(before)])
        return [AskedCall(*row) for row in rows]

    def notice_versions(self) -> dict[str, set[int]]:
        """Every published version that a decision names, by line."""
        found: dict[str, set[int]] = {}
        for line, version in self._rows("SELECT DISTINCT line, version FROM counts WHERE version > 0"):
            found.setdefault(line, set()).add(version)
        return found

    # --- events ------------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """How many events the log has, the pruned ones too: the newest one's sequence."""
        rows = self._rows("SELECT size FROM log")
        if len(rows) != 1 or not isinstance(rows[0][0], int):
            raise self._unreadable("it does not say where it ends")
        return rows[0][0]

    def events(self, wanted: Wanted = EVERYTHING, *, limit: int | None = 50) -> Iterator[LoggedEvent]:
        """Events of every kind, newest first; ``limit`` ``None``: all of them."""
        return self._found(self._search.events(wanted), wanted, limit)

    def event(self, sequence: int) -> LoggedEvent | None:
        """One event; ``None`` where there is none, or it was pruned."""
        return next(iter(self._events("WHERE e.sequence = ?", [sequence])), None)

    def after(self, sequence: int) -> list[LoggedEvent]:
        """The oldest :data:`PAGE` events after one, oldest first."""
        return self._events("WHERE e.sequence > ? ORDER BY e.sequence LIMIT ?", [sequence, PAGE])

    def seal(self, sequence: int) -> Seal | None:
        """By what one event is held, pruned or not; ``None`` where there is none."""
        query = (
            "SELECT e.sequence, e.time, e.kind, e.call_id, e.line, e.outcome, e.payload, e.commitment, e.previous, "
            "p.salt, p.data FROM events AS e LEFT JOIN personal AS p ON p.sequence = e.sequence WHERE e.sequence = ?"
        )
        hashed: str | None
        rows = self._rows(query, [sequence])
        if rows:
            *columns, committed, previous, salt, data = rows[0]
            hashed = leaf_of((*columns, committed, previous))
            personal, pruned = personal_state(committed, salt, data), False
        else:
            left = self._rows("SELECT leaf FROM pruned WHERE sequence = ?", [sequence])
            if not left:
                return None
            hashed, personal, pruned = bytes(left[0][0]).hex(), "none", True
        query = "SELECT size, time FROM checkpoints WHERE size >= ? ORDER BY size LIMIT 1"
        checkpoint = next(((int(size), str(time)) for size, time in self._rows(query, [sequence])), None)
        return Seal(sequence, hashed, pruned, personal, checkpoint, self._anchors(sequence))

    def _anchors(self, sequence: int) -> tuple[Anchor, ...]:
        query = (
            "SELECT size, place, time FROM anchors "
            "WHERE size = (SELECT min(size) FROM anchors WHERE size >= ?) ORDER BY time, place LIMIT ?"
        )
        return tuple(
            Anchor(int(size), str(place), str(time)) for size, place, time in self._rows(query, [sequence, PAGE])
        )

    # --- rows --------------------------------------------------------------------------------------------------------

    def _found(self, sequences: Iterator[int], wanted: Wanted, limit: int | None) -> Iterator[LoggedEvent]:
        left = limit
        while left != 0:
            try:
                sequence = next(sequences, None)
            except self._database.errors as error:
                raise self._unreadable(error) from None
            if sequence is None:
                return
            event = self.event(sequence)
            if event is None or not wanted.in_time(event.time):
                continue  # pruned meanwhile; or of a time with which the clock ran backwards
            yield event
            left = None if left is None else left - 1

    def _later(self, decision: LoggedEvent) -> tuple[LoggedEvent, ...]:
        condition = "WHERE e.call_id = ? AND e.sequence > ? ORDER BY e.sequence LIMIT ?"
        return tuple(self._events(condition, [decision.call_id, decision.sequence, MAX_OF_CALL]))

    def _events(self, condition: str, values: Sequence[Any] = ()) -> list[LoggedEvent]:
        """The oldest of what fits: as much of it as may be in memory at once."""
        found: list[LoggedEvent] = []
        size = 0
        try:
            for row in self._database.execute(f"{_EVENTS} {condition}", values):
                size += len(row[6] or b"") if isinstance(row[6], bytes | str | None) else 0
                if found and size > MAX_BYTES:
                    break
                found.append(self._event(row))
        except self._database.errors as error:
            if not _of_one_value(error):
                raise self._unreadable(error) from None
            rows = self._rows(f"SELECT e.sequence FROM events AS e {condition}", values)  # noqa: S608 - fixed conditions
            return [self._refused(row, "a text or a payload of it cannot be read") for row in rows]
        return found

    def _event(self, row: tuple[Any, ...]) -> LoggedEvent:
        sequence, time, kind, call_id, line, outcome, raw, committed, personal = row
        try:
            checked_columns(*row[:6])
            payload = payload_of(raw, personal)
        except NotOurs as problem:
            return self._refused(row, str(problem))
        return LoggedEvent(
            sequence, time, kind, call_id, line, outcome, payload, committed is not None and personal is None
        )

    def _refused(self, row: tuple[Any, ...], problem: str) -> LoggedEvent:
        if not self._lenient:
            raise event_error(row[0], problem)
        texts = [value[:MAX_SHOWN] if isinstance(value, str) else None for value in row[1:6]]
        time, kind, call_id, line, outcome = texts or [None] * 5
        return LoggedEvent(row[0], time or "", kind or "", call_id, line, outcome, {}, problem=problem)

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return list(self._database.execute(query, values))
        except self._database.errors as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception | str) -> LedgerError:
        return LedgerError(f"the log cannot be read ({error}); restore it from its newest copy")


def event_error(sequence: Any, problem: str) -> LedgerError:
    """The error of one event that is not of our form."""
    return LedgerError(
        f"event {sequence} of the log was not written by ivr-consent: {problem}; see: ivr-consent log verify"
    )


def _of_one_value(error: Exception) -> bool:
    """Whether the database could read the row, and not a value in it: too large, or not UTF-8."""
    return isinstance(error, sqlite3.DataError) or "decode" in str(error).lower()


def _may_be_an_id(text: str) -> bool:
    return bool(text) and all(character in "0123456789abcdef" for character in text)
