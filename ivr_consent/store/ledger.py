"""The log of decisions: one writer thread, one commit for all that wait, on disk before anyone is told.

This is the only place where a :class:`~ivr_consent.core.decision.Grant` is made (I1): after the commit of a granted
decision has returned from the disk.
"""

from __future__ import annotations

import contextlib
import json
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ivr_consent.core.decision import Decision, Grant, Outcome, canonical
from ivr_consent.core.errors import LedgerError
from ivr_consent.core.steps import Failed, Granted, Logged
from ivr_consent.logs import get_logger
from ivr_consent.store.schema import open_for_reading, open_for_writing

COMMIT_DEADLINE_S: Final = 2.0
"""How long a caller waits for the disk before going on unrecorded. A healthy disk answers in milliseconds."""

RETRY_S: Final = 5.0
"""Pause between attempts to write what the disk refused."""

MAX_UNWRITTEN: Final = 10_000
"""Events kept in memory while the disk refuses (about 20 MB); the oldest go first then."""

MAX_BATCH: Final = 512
"""Events in one commit: bounds how long the first of them waits for the last."""

CLOSING: Final = (
    "recording_ended",
    "recording_stopped",
    "recording_not_confirmed",
    "recording_missing",
    "withdrawn",
    "grant_void",
)
"""Kinds of events after which nothing more is expected of a granted call's recording."""

log = get_logger()

ERASED: Final = (
    "recording_expired",
    "withdrawn",
    "recording_stopped",
    "recording_not_confirmed",
    "recording_missing",
    "grant_void",
)
"""Kinds of events after which no file of the recording is left."""

Written = Granted | Logged | Failed
Dispatch = Callable[[list[Callable[[], None]]], None]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Ticket:
    """One event on its way to disk. ``done`` is called once, unless the ticket is abandoned first."""

    __slots__ = ("abandoned", "call_id", "decision", "done", "kind", "line", "outcome", "payload", "sequence")

    def __init__(
        self,
        kind: str,
        call_id: str,
        line: str,
        payload: bytes,
        done: Callable[[Written], None] | None,
        decision: Decision | None = None,
    ) -> None:
        self.kind, self.call_id, self.line, self.payload = kind, call_id, line, payload
        self.done, self.decision = done, decision
        self.outcome = decision.outcome.value if decision is not None else None
        self.abandoned = False
        self.sequence = 0

    @property
    def grants(self) -> bool:
        return self.decision is not None and self.decision.outcome is Outcome.GRANTED

    def abandon(self) -> None:
        """Nobody waits any more: no Grant comes of it, and if it was written after all, a grant_void follows."""
        self.abandoned = True


class Ledger:
    """An open log. ``dispatch`` carries finished callbacks to the caller's thread; default: the writer thread."""

    def __init__(
        self, path: Path, *, dispatch: Dispatch | None = None, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.path = path
        self._connection = open_for_writing(path)
        self._dispatch = dispatch or _call_here
        self._clock = clock
        self._queue: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._unwritten: deque[Ticket] = deque(maxlen=MAX_UNWRITTEN)
        self.healthy = True
        self._thread = threading.Thread(target=self._write_until_closed, name="ledger", daemon=True)
        self._thread.start()

    # --- writing -----------------------------------------------------------------------------------------------------

    def decide(self, decision: Decision, done: Callable[[Written], None]) -> Ticket:
        """Write the one decision of a call. ``done`` gets Granted, Logged or Failed.

        A granted decision is tried once; any other is kept and tried again while the disk refuses.
        """
        ticket = Ticket(
            "decision", decision.call.call_id, decision.call.line, canonical(decision.payload()), done, decision
        )
        self._queue.put(ticket)
        return ticket

    def note(
        self, call_id: str, line: str, kind: str, details: Mapping[str, Any], done: Callable[[Written], None] | None
    ) -> Ticket:
        """Write a further event of a call."""
        ticket = Ticket(kind, call_id, line, canonical(details), done)
        self._queue.put(ticket)
        return ticket

    def void(self, ticket: Ticket) -> None:
        """Say in the log that a grant written too late was not used."""
        self.note(ticket.call_id, ticket.line, "grant_void", {"reason": "log_too_slow", "route": "unrecorded"}, None)

    def decide_now(self, decision: Decision, timeout: float = COMMIT_DEADLINE_S) -> Written:
        """Blocking form of :meth:`decide`, seconds; for programs without an event loop."""
        return self._wait(lambda done: self.decide(decision, done), timeout)

    def note_now(
        self, call_id: str, line: str, kind: str, details: Mapping[str, Any], timeout: float = COMMIT_DEADLINE_S
    ) -> Written:
        """Blocking form of :meth:`note`, seconds."""
        return self._wait(lambda done: self.note(call_id, line, kind, details, done), timeout)

    def _wait(self, submit: Callable[[Callable[[Written], None]], Ticket], timeout: float) -> Written:
        box: queue.SimpleQueue[Written] = queue.SimpleQueue()
        ticket = submit(box.put)
        try:
            return box.get(timeout=timeout)
        except queue.Empty:
            ticket.abandon()
            return Failed("log_too_slow")

    def close(self) -> None:
        """Write what is queued, try once more what was refused, and close."""
        self._queue.put(None)
        self._thread.join(timeout=30)
        self._connection.close()

    # --- the writer thread ------------------------------------------------------------------------------------------

    def _write_until_closed(self) -> None:
        closing = False
        while not closing:
            batch: list[Ticket] = []
            try:
                first = self._queue.get(timeout=RETRY_S if self._unwritten else None)
                closing = first is None
                if first is not None:
                    batch.append(first)
                while len(batch) < MAX_BATCH:
                    ticket = self._queue.get_nowait()
                    if ticket is None:
                        closing = True
                    else:
                        batch.append(ticket)
            except queue.Empty:
                pass
            late = list(self._unwritten)
            self._unwritten.clear()
            batch = [ticket for ticket in late + batch if not (ticket.abandoned and ticket.grants)]
            if batch:
                self._dispatch_safely(self._commit(batch))

    def _dispatch_safely(self, callbacks: list[Callable[[], None]]) -> None:
        try:
            self._dispatch(callbacks)
        except Exception:  # nobody there to be told (a loop that closed): the log itself goes on
            log.exception("ledger_callbacks_lost", count=len(callbacks))

    def _commit(self, batch: list[Ticket]) -> list[Callable[[], None]]:
        connection = self._connection
        time = self._clock().isoformat(timespec="milliseconds")
        try:
            connection.execute("BEGIN IMMEDIATE")
            for ticket in batch:
                self._insert(ticket, time)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the writer's root: whatever is wrong, it refuses this batch, goes on
            if self.healthy:
                log.error("log_not_written", problem=f"{type(error).__name__}: {error}", path=str(self.path))
            self.healthy = False
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # the disk refuses even that: the next BEGIN says so again
                    connection.execute("ROLLBACK")
            return [self._refused(ticket) for ticket in batch]
        self.healthy = True
        return [self._accepted(ticket) for ticket in batch]

    def _insert(self, ticket: Ticket, time: str) -> None:
        statement = "INSERT INTO events (time, kind, call_id, line, outcome, payload) VALUES (?, ?, ?, ?, ?, ?)"
        row = (time, ticket.kind, ticket.call_id, ticket.line, ticket.outcome, ticket.payload)
        try:
            ticket.sequence = self._connection.execute(statement, row).lastrowid or 0
        except sqlite3.IntegrityError:
            # A call has one decision (I3). A second one can only follow a grant that came too late: it voids it.
            voids = {"reason": "decided_otherwise", "route": "unrecorded", "decision": json.loads(ticket.payload)}
            row = (time, "grant_void", ticket.call_id, ticket.line, None, canonical(voids))
            ticket.sequence = self._connection.execute(statement, row).lastrowid or 0
            ticket.kind = "grant_void"

    def _accepted(self, ticket: Ticket) -> Callable[[], None]:
        def tell() -> None:
            if ticket.abandoned:
                if ticket.grants:
                    self.void(ticket)
                return
            if ticket.done is None:
                return
            if ticket.grants and ticket.kind == "decision":
                assert ticket.decision is not None
                ticket.done(Granted(Grant.minted_by_ledger(ticket.decision, ticket.sequence)))
            elif ticket.grants:
                ticket.done(Failed("decided_twice"))
            else:
                ticket.done(Logged())

        return tell

    def _refused(self, ticket: Ticket) -> Callable[[], None]:
        done, ticket_grants = ticket.done, ticket.grants
        if not ticket_grants:
            ticket.done = None  # told once, now; the write itself is tried again
            self._unwritten.append(ticket)

        def tell() -> None:
            if done is not None and not ticket.abandoned:
                done(Failed("log_not_written") if ticket_grants else Logged(durable=False))

        return tell


def _call_here(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event as it stands in the log."""

    sequence: int
    time: str
    kind: str
    call_id: str
    line: str
    outcome: str | None
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call's decision with what followed it."""

    decision: LoggedEvent
    later: tuple[LoggedEvent, ...]

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
        kinds = [event.kind for event in self.later if event.kind != "routed"]
        return kinds[-1].removeprefix("recording_") if kinds else "granted"


class LedgerReader:
    """Reads a log that others may be writing."""

    def __init__(self, path: Path) -> None:
        self._connection = open_for_reading(path)

    def __enter__(self) -> LedgerReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def calls(
        self, *, limit: int = 50, line: str | None = None, outcome: str | None = None, since: str | None = None
    ) -> Iterator[CallRecord]:
        """Decisions, newest first, each with its later events. ``since``: a UTC time or day, ISO 8601."""
        where, values = ["kind = 'decision'"], []
        for condition, value in (("line = ?", line), ("outcome = ?", outcome), ("time >= ?", since)):
            if value is not None:
                where.append(condition)
                values.append(value)
        query = f"SELECT * FROM events WHERE {' AND '.join(where)} ORDER BY sequence DESC LIMIT ?"  # noqa: S608 - fixed conditions, bound values
        for row in self._rows(query, [*values, limit]):
            yield CallRecord(row, self._later(row))

    def call(self, call_id: str) -> CallRecord | None:
        """The record of one call, by its id or an unambiguous beginning of it."""
        if not call_id or any(character not in "0123456789abcdef" for character in call_id):
            return None
        query = "SELECT * FROM events WHERE kind = 'decision' AND call_id >= ? AND call_id < ? LIMIT 2"
        rows = self._rows(query, [call_id, call_id + "g"])  # "g" sorts after every hexadecimal digit
        return CallRecord(rows[0], self._later(rows[0])) if len(rows) == 1 else None

    def unfinished_grants(self) -> list[CallRecord]:
        """Granted calls with no closing event: what a restart must look after."""
        marks = ",".join("?" * len(CLOSING))
        query = (
            "SELECT * FROM events AS d WHERE kind = 'decision' AND outcome = 'granted' AND NOT EXISTS "  # noqa: S608 - only question marks are put in
            f"(SELECT 1 FROM events AS e WHERE e.call_id = d.call_id AND e.kind IN ({marks})) ORDER BY sequence"
        )
        return [CallRecord(row, self._later(row)) for row in self._rows(query, list(CLOSING))]

    def expired_recordings(self, now: datetime) -> list[CallRecord]:
        """Calls whose recording has not been erased and ended longer ago than their decision's days, oldest first.

        The database does the sum: a site keeps tens of thousands of recordings, of which a few are due.
        """
        marks = ",".join("?" * len(ERASED))
        query = (
            "SELECT * FROM events AS d WHERE kind = 'decision' AND outcome = 'granted' AND EXISTS "  # noqa: S608 - only question marks are put in
            "(SELECT 1 FROM events AS e WHERE e.call_id = d.call_id AND e.kind = 'recording_ended' AND "
            "julianday(e.time) + json_extract(CAST(d.payload AS TEXT), '$.retention_days') <= julianday(?)) "
            "AND NOT EXISTS "
            f"(SELECT 1 FROM events AS e WHERE e.call_id = d.call_id AND e.kind IN ({marks})) ORDER BY sequence"
        )
        return [CallRecord(row, self._later(row)) for row in self._rows(query, [now.isoformat(), *ERASED])]

    def notice_versions(self) -> dict[str, set[int]]:
        """Every published version that a decision names, by line."""
        query = (
            "SELECT DISTINCT line, json_extract(CAST(payload AS TEXT), '$.notice.version') FROM events "
            "WHERE kind = 'decision'"
        )
        found: dict[str, set[int]] = {}
        try:
            for line, version in self._connection.execute(query):
                if isinstance(version, int):
                    found.setdefault(line, set()).add(version)
        except sqlite3.Error as error:
            raise LedgerError(f"the log cannot be read ({error}); restore it from its newest copy") from None
        return found

    def _later(self, decision: LoggedEvent) -> tuple[LoggedEvent, ...]:
        query = "SELECT * FROM events WHERE call_id = ? AND kind != 'decision' ORDER BY sequence"
        return tuple(self._rows(query, [decision.call_id]))

    def _rows(self, query: str, values: list[Any]) -> list[LoggedEvent]:
        try:
            rows = self._connection.execute(query, values).fetchall()
            return [_event(row) for row in rows]
        except (sqlite3.Error, ValueError) as error:
            raise LedgerError(f"the log cannot be read ({error}); restore it from its newest copy") from None


def _event(row: tuple[Any, ...]) -> LoggedEvent:
    sequence, time, kind, call_id, line, outcome, payload = row
    return LoggedEvent(sequence, time, kind, call_id, line, outcome, json.loads(payload))
