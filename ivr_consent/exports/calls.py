"""Calls of a log, oldest first, each with its events; in pages, so that a log of any length takes the same memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ivr_consent.core.errors import ConsentError, LedgerError
from ivr_consent.exports.text import plain
from ivr_consent.store.personal import KEPT_BESIDE, joined
from ivr_consent.store.place import Place, open_for_reading
from ivr_consent.store.records import CallRecord, LoggedEvent
from ivr_consent.verifier import Event, leaf, leaf_hash

PAGE: Final = 64
"""Calls that are read at once."""

EVENTS_PAGE: Final = 256
"""Likewise events."""

MAX_EVENTS: Final = 200
"""Events of one call that are looked at; a call of ours has less than ten."""

MAX_PAYLOAD: Final = 1 << 16
"""Bytes of one event's payload that are looked at; ours have a few thousand."""

MAX_FOLLOWING: Final = 1 << 22
"""Bytes of the payloads of all that followed the calls of one page; ours have a tenth of it."""

_EVENTS: Final = f"""
    SELECT e.sequence, e.time, e.kind, e.call_id, e.line, e.outcome,
        CASE WHEN length(e.payload) <= ? THEN e.payload END, e.commitment, e.previous,
        CASE WHEN length(p.data) <= ? THEN p.data END, p.sequence
    FROM events AS e {KEPT_BESIDE}
"""  # noqa: S608 - fixed text


@dataclass(frozen=True, slots=True)
class Selection:
    """Which calls: of a line, with an outcome, decided from a time on and before another, or the one with this id.

    Times are UTC as they stand in the log, ISO 8601; ``until`` itself is not in it.
    """

    line: str | None = None
    outcome: str | None = None
    since: str | None = None
    until: str | None = None
    call: str | None = None

    def plain(self) -> dict[str, str]:
        """What was given, by name."""
        names = ("line", "outcome", "since", "until", "call")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Proof:
    """By what a decision is found in its log: the hash of its leaf there (hexadecimal)."""

    log: str
    sequence: int
    leaf: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """One call: when it began to be asked (``None``: not in the log), its decision, what followed.

    ``unreadable``: so many of its events have no payload of our form. ``left_out``: so many are beyond
    :data:`MAX_EVENTS`.
    """

    asked: LoggedEvent | None
    decision: LoggedEvent
    later: tuple[LoggedEvent, ...]
    proof: Proof
    unreadable: int = 0
    left_out: int = 0

    @property
    def record(self) -> CallRecord:
        """The same, as a question to the log has it."""
        return CallRecord(self.decision, self.later)


class Noted(NamedTuple):
    """One event, without who it is about. ``payload`` of a decision alone; ``None`` for one that is not of our form."""

    sequence: int
    time: str
    kind: str
    line: str
    outcome: str
    payload: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A checkpoint: so many events, and the signed note."""

    size: int
    time: str
    note: str


class Calls:
    """Reads the calls of one log as it was when this was made: what is written later is not in it.

    Raises :class:`LedgerError` when it cannot be read.
    """

    def __init__(self, place: Place) -> None:
        self._database = open_for_reading(place)
        self._sealed: tuple[int, Sealed | None] = (-1, None)
        try:
            ((log_id, self.size, self._trunk),) = self._rows("SELECT log_id, size, trunk_size FROM log")
        except (LedgerError, ValueError):
            self.close()
            raise LedgerError(
                f"{place.name} does not say where it ends: somebody has changed it; see: ivr-consent log verify"
            ) from None
        self.log_id = plain(log_id, 100)

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def count(self, chosen: Selection) -> int:
        """How many calls are chosen."""
        where, values = self._chosen(chosen)
        ((found,),) = self._rows(f"SELECT count(*) FROM decisions WHERE {where}", values)  # noqa: S608 - fixed conditions
        return int(found)

    def span(self, chosen: Selection) -> tuple[int, int]:
        """From which event to which the chosen time goes. Raises :class:`ConsentError` when there is none in it."""
        where, values = self._chosen(Selection(since=chosen.since, until=chosen.until))
        query = f"SELECT min(sequence), max(sequence) FROM events WHERE {where}"  # noqa: S608 - fixed conditions
        ((first, last),) = self._rows(query, values)
        if first is None:
            raise ConsentError("no event of the log is of that time; see: ivr-consent log list")
        return int(first), int(last)

    def pruned(self) -> int:
        """How many events are gone because their time was over."""
        ((single,),) = self._rows("SELECT count(*) FROM pruned")
        return int(self._trunk) + int(single)

    def newest_checkpoint(self) -> Sealed | None:
        """The last one; ``None`` when nothing was sealed yet."""
        return self._checkpoint("ORDER BY size DESC LIMIT 1", [])

    def checkpoint_over(self, sequence: int) -> Sealed | None:
        """The first checkpoint that vouches for an event; ``None`` when it is not sealed yet."""
        begin, known = self._sealed
        if known is None or not begin < sequence <= known.size:
            known = self._checkpoint("WHERE size >= ? ORDER BY size LIMIT 1", [sequence])
            self._sealed = (sequence - 1, known)  # those that follow are mostly under the same one
        return known

    def _checkpoint(self, condition: str, values: Sequence[Any]) -> Sealed | None:
        rows = self._rows(f"SELECT size, time, note FROM checkpoints {condition}", values)  # noqa: S608 - fixed conditions
        if not rows or type(rows[0][0]) is not int:
            return None
        return Sealed(rows[0][0], plain(rows[0][1], 100), plain(rows[0][2]))

    def stream(self, chosen: Selection) -> Iterator[Call]:
        """The chosen calls in the order of their decisions: of the events themselves, not of what is made from them."""
        where, values = self._chosen(chosen, "e.")
        condition = f"WHERE e.kind = 'decision' AND {where} AND e.sequence > ? ORDER BY e.sequence LIMIT ?"
        last = 0
        while page := self._rows(_EVENTS + condition, [MAX_PAYLOAD, MAX_PAYLOAD, *values, last, PAGE]):
            last = page[-1][0]
            yield from self._calls(page)

    def events(self, chosen: Selection) -> Iterator[Noted]:
        """The chosen events of every kind, in their order, by line and time; one without a line is of every line."""
        where, values = ["sequence <= ?"], [self.size]
        for condition, value in (
            ("(line = ? OR line IS NULL)", chosen.line),
            ("time >= ?", chosen.since),
            ("time < ?", chosen.until),
        ):
            if value is not None:
                where.append(condition)
                values.append(value)
        query = (
            "SELECT sequence, time, kind, line, outcome, "  # noqa: S608 - fixed conditions, bound values
            "CASE WHEN kind = 'decision' AND length(payload) <= ? THEN payload END "
            f"FROM events WHERE {' AND '.join(where)} AND sequence > ? ORDER BY sequence LIMIT ?"
        )
        last = 0
        while page := self._rows(query, [MAX_PAYLOAD, *values, last, EVENTS_PAGE]):
            last = page[-1][0]
            for sequence, time, kind, line, outcome, raw in page:
                payload = _table(raw) if kind == "decision" else None
                yield Noted(
                    sequence, plain(time, 100), plain(kind, 100), plain(line or ""), plain(outcome or ""), payload
                )

    def _calls(self, page: list[tuple[Any, ...]]) -> list[Call]:
        calls = [_Gathered(row) for row in page]
        by_id: dict[Any, list[_Gathered]] = {}
        for call in calls:
            by_id.setdefault(call.row[3], []).append(call)
        marks = ", ".join("?" * len(by_id))
        condition = f"WHERE e.call_id IN ({marks}) AND e.sequence <= ? AND e.kind <> 'decision' ORDER BY e.sequence"
        room = MAX_FOLLOWING
        for row in self._cursor(_EVENTS + condition, [MAX_PAYLOAD, MAX_PAYLOAD, *by_id, self.size]):
            room -= len(row[6]) if isinstance(row[6], bytes | str) else 0
            for call in by_id.get(row[3], ()):
                call.add(row if room >= 0 else (*row[:6], None, *row[7:]))
        return [call.made(self.log_id) for call in calls]

    def _chosen(self, chosen: Selection, prefix: str = "") -> tuple[str, list[Any]]:
        where, values = [f"{prefix}sequence <= ?"], [self.size]
        conditions = (
            ("line = ?", chosen.line),
            ("outcome = ?", chosen.outcome),
            ("time >= ?", chosen.since),
            ("time < ?", chosen.until),
            ("call_id = ?", chosen.call),
        )
        for condition, value in conditions:
            if value is not None:
                where.append(prefix + condition)
                values.append(value)
        return " AND ".join(where), values

    def find(self, beginning: str) -> str:
        """The id of the one call whose id begins so. Raises :class:`ConsentError` when there is none, or several."""
        found: list[tuple[Any, ...]] = []
        if beginning and all(character in "0123456789abcdef" for character in beginning):
            query = "SELECT call_id FROM decisions WHERE call_id >= ? AND call_id < ? LIMIT 2"
            found = self._rows(query, [beginning, beginning + "g"])  # "g" sorts after every hexadecimal digit
        if len(found) != 1:
            raise ConsentError(
                f"no call, or more than one, has an id that begins with {beginning!r}; see: ivr-consent log list"
            )
        return plain(found[0][0])

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self._cursor(query, values))

    def _cursor(self, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._database.execute(query, values)
        except self._database.errors as error:
            raise LedgerError(
                f"the log cannot be read ({error}); see what is wrong with it: ivr-consent log verify"
            ) from None


class _Gathered:
    """The events of one call as they come."""

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.row = row
        self.unreadable = self.left_out = 0
        self.asked: LoggedEvent | None = None
        self.decision = self._event(row)
        self.later: list[LoggedEvent] = []

    def add(self, row: tuple[Any, ...]) -> None:
        if len(self.later) >= MAX_EVENTS:
            self.left_out += 1
        elif row[0] > self.decision.sequence:
            self.later.append(self._event(row))
        elif row[2] == "asked":
            self.asked = self._event(row)

    def _event(self, row: tuple[Any, ...]) -> LoggedEvent:
        sequence, time, kind, call_id, line, outcome, raw, committed, _, personal, there = row
        payload: dict[str, Any] = {}
        try:
            payload = {**json.loads(raw)}
            if personal is not None:
                payload = joined(payload, json.loads(personal))
        except (ValueError, TypeError, AttributeError, RecursionError):
            payload = {}
            self.unreadable += 1
        erased = committed is not None and there is None
        return LoggedEvent(
            sequence, plain(time), plain(kind), _optional(call_id), _optional(line), _optional(outcome), payload, erased
        )

    def made(self, log_id: str) -> Call:
        proof = Proof(log_id, self.decision.sequence, _leaf(self.row))
        return Call(self.asked, self.decision, tuple(self.later), proof, self.unreadable, self.left_out)


def _table(raw: Any) -> Mapping[str, Any] | None:
    try:
        return {**json.loads(raw)}
    except (ValueError, TypeError, RecursionError):
        return None


def _leaf(row: tuple[Any, ...]) -> str | None:
    """The hash of an event's leaf, ``None`` for a row that could never have been one."""
    sequence, time, kind, call_id, line, outcome, raw, committed, previous, *_ = row
    with suppress(TypeError, ValueError, AttributeError):
        return leaf_hash(leaf(Event(sequence, time, kind, call_id, line, outcome, raw, committed, previous))).hex()
    return None


def _optional(value: Any) -> str | None:
    return None if value is None else plain(value)
