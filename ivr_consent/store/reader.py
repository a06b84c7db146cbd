"""Reading the log while others write it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from ivr_consent.store.chain import utc_text
from ivr_consent.store.counting import Tally, tally
from ivr_consent.store.events import MAX_OF_CALL, PAGE, Events, event_error
from ivr_consent.store.personal import KEPT_BESIDE
from ivr_consent.store.place import Place, open_for_reading
from ivr_consent.store.records import Anchor, AskedCall, CallRecord, LoggedEvent, Seal
from ivr_consent.store.rows import leaf_of, personal_state
from ivr_consent.store.search import END, EVERYTHING, Search, Wanted

__all__ = ["Anchor", "AskedCall", "CallRecord", "LedgerReader", "LoggedEvent", "Seal", "Wanted", "event_error"]

_OF_LEAF: Final = "e.sequence, e.time, e.kind, e.call_id, e.line, e.outcome, e.payload, e.commitment, e.previous"
_SEALED: Final = f"SELECT {_OF_LEAF}, p.salt, p.data FROM events AS e {KEPT_BESIDE} WHERE e.sequence = ?"  # noqa: S608 - fixed columns


class LedgerReader:
    """Reads a log that others may be writing. One thread at a time.

    An event that somebody else wrote past us ends a question with a :class:`LedgerError` that names it; or it comes
    with :attr:`LoggedEvent.problem`, where ``lenient``.
    """

    def __init__(self, place: Place | Path, *, lenient: bool = False) -> None:
        self.place = place if isinstance(place, Place) else Place(place)
        self._database = open_for_reading(self.place)
        self._events = Events(self._database, lenient=lenient)
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
        left = END if limit is None else limit
        for page in self._events.pages(self._search.calls(wanted)):
            decisions = [decision for decision in page if wanted.in_time(decision.time)][:left]
            left -= len(decisions)
            for decision, later in zip(decisions, self._events.later(decisions), strict=True):
                yield CallRecord(decision, later)
            if not left:
                return

    def call(self, call_id: str) -> CallRecord | None:
        """The record of one call, by its id or an unambiguous beginning of it."""
        if not _may_be_an_id(call_id):
            return None
        query = "SELECT sequence FROM decisions WHERE call_id >= ? AND call_id < ? LIMIT 2"
        found = self._events.rows(query, [call_id, call_id + "g"])  # "g" sorts after every hexadecimal digit
        return self._record(found[0][0]) if len(found) == 1 else None

    def named(self, beginning: str) -> tuple[str, ...]:
        """The first and the last of the ids that begin so: none, one, or two of perhaps more."""
        if not _may_be_an_id(beginning):
            return ()
        query = "SELECT call_id FROM events WHERE call_id >= ? AND call_id < ? ORDER BY call_id"
        span = [beginning, beginning + "g"]
        ends = (self._events.rows(f"{query} {order} LIMIT 1", span) for order in ("", "DESC"))
        return tuple(dict.fromkeys(call_id for rows in ends for (call_id,) in rows))

    def history(self, call_id: str) -> tuple[LoggedEvent, ...]:
        """All events of one call, oldest first, by its id or an unambiguous beginning of it."""
        found = self.named(call_id)
        if len(found) != 1:
            return ()
        condition = "WHERE e.call_id = ? ORDER BY e.sequence LIMIT ?"
        return tuple(self._events.fitting(condition, [found[0], MAX_OF_CALL]))

    def _record(self, sequence: int) -> CallRecord | None:
        decision = self.event(sequence)
        return CallRecord(decision, self._events.later([decision])[0]) if decision is not None else None

    def unfinished_grants(self) -> list[CallRecord]:
        """Granted calls with no closing event: what a restart must look after."""
        rows = self._events.rows("SELECT sequence FROM recordings WHERE due IS NULL ORDER BY sequence")
        return [record for (sequence,) in rows if (record := self._record(sequence)) is not None]

    def expired_recordings(self, now: datetime) -> list[CallRecord]:
        """Calls whose recording has not been erased and ended longer ago than their decision's days, oldest first."""
        rows = self._events.rows(
            "SELECT sequence FROM recordings WHERE due <= ? ORDER BY due, sequence", [utc_text(now)]
        )
        return [record for (sequence,) in rows if (record := self._record(sequence)) is not None]

    def undecided(self, before: datetime) -> list[AskedCall]:
        """Calls that began to be asked before then and have no decision: their process died."""
        rows = self._events.rows(
            "SELECT call_id, line, time FROM asked WHERE time < ? ORDER BY sequence", [utc_text(before)]
        )
        return [AskedCall(*row) for row in rows]

    def notice_versions(self) -> dict[str, set[int]]:
        """Every published version that a decision names, by line."""
        found: dict[str, set[int]] = {}
        for line, version in self._events.rows("SELECT DISTINCT line, version FROM counts WHERE version > 0"):
            found.setdefault(line, set()).add(version)
        return found

    def tally(self, by: str, wanted: Wanted = EVERYTHING) -> list[Tally]:
        """How many decisions there were, by one of :data:`ivr_consent.store.counting.BY`."""
        try:
            return tally(self._database, wanted, by)
        except self._database.errors as error:
            raise self._events.unreadable(error) from None

    # --- events ------------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """How many events the log has, the pruned ones too: the newest one's sequence."""
        rows = self._events.rows("SELECT size FROM log")
        if len(rows) != 1 or not isinstance(rows[0][0], int):
            raise self._events.unreadable("it does not say where it ends")
        return rows[0][0]

    def trunk(self) -> int:
        """How many of the oldest events are gone altogether: their time was over."""
        return sum(int(size) for (size,) in self._events.rows("SELECT trunk_size FROM log"))

    def events(self, wanted: Wanted = EVERYTHING, *, limit: int | None = 50) -> Iterator[LoggedEvent]:
        """Events of every kind, newest first; ``limit`` ``None``: all of them."""
        left = END if limit is None else limit
        for page in self._events.pages(self._search.events(wanted)):
            events = [event for event in page if wanted.in_time(event.time)][:left]
            left -= len(events)
            yield from events
            if not left:
                return

    def event(self, sequence: int) -> LoggedEvent | None:
        """One event; ``None`` where there is none, or it was pruned."""
        return self._events.one(sequence)

    def after(self, sequence: int) -> list[LoggedEvent]:
        """The oldest :data:`PAGE` events after one, oldest first."""
        return self._events.fitting("WHERE e.sequence > ? ORDER BY e.sequence LIMIT ?", [sequence, PAGE])

    def seal_of(self, event: LoggedEvent) -> Seal | None:
        """By what an event of this log is held."""
        return self.seal(event.sequence)

    def seal(self, sequence: int) -> Seal | None:
        """By what one event is held, pruned or not; ``None`` where there is none."""
        hashed: str | None
        row = self._events.row(_SEALED, sequence)
        if row is not None:
            hashed, personal, pruned = None, "unknown", False
            if row:
                *columns, committed, previous, salt, data = row
                hashed, personal = leaf_of((*columns, committed, previous)), personal_state(committed, salt, data)
        else:
            left = self._events.rows("SELECT leaf FROM pruned WHERE sequence = ?", [sequence])
            if not left:
                return None
            hashed, personal, pruned = bytes(left[0][0]).hex(), "none", True
        query = "SELECT size, time FROM checkpoints WHERE size >= ? ORDER BY size LIMIT 1"
        checkpoint = next(((int(size), str(time)) for size, time in self._events.rows(query, [sequence])), None)
        return Seal(sequence, hashed, pruned, personal, checkpoint, self._anchors(sequence))

    def _anchors(self, sequence: int) -> tuple[Anchor, ...]:
        query = (
            "SELECT size, place, time FROM anchors "
            "WHERE size = (SELECT min(size) FROM anchors WHERE size >= ?) ORDER BY time, place LIMIT ?"
        )
        return tuple(
            Anchor(int(size), str(place), str(time)) for size, place, time in self._events.rows(query, [sequence, PAGE])
        )


def _may_be_an_id(text: str) -> bool:
    return bool(text) and all(character in "0123456789abcdef" for character in text)
