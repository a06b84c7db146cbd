"""The end of the log inside one transaction: events are appended to the chain, and to what is made from it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import LedgerError
from ivr_consent.store.database import Database
from ivr_consent.store.facets import Facet, Facets, purposes_text
from ivr_consent.store.personal import Personal
from ivr_consent.verifier import HASH_BYTES, Event, Tree, commitment, leaf, leaf_hash

CLOSING: Final = (
    "recording_ended",
    "recording_stopped",
    "recording_not_confirmed",
    "recording_missing",
    "withdrawn",
    "grant_void",
)
"""Kinds of events after which nothing more is expected of a granted call's recorder."""

ERASED: Final = (
    "recording_expired",
    "withdrawn",
    "recording_stopped",
    "recording_not_confirmed",
    "recording_missing",
    "grant_void",
)
"""Kinds of events after which no file of the recording is left."""

NODE_LEVELS: Final = 8
"""Of the inner nodes every eighth level is kept: a proof then reads at most 256 leaves and as many nodes a level."""

_ERASED: Final = frozenset(ERASED)


class DecisionIndex(NamedTuple):
    """By what decisions are looked for."""

    language: str | None
    notice: str | None
    version: int | None
    days: int
    reference: str | None
    purposes: tuple[str, ...] = ()


class Entry(NamedTuple):
    """An event on its way into the log. ``decided`` for a decision alone."""

    kind: str
    call_id: str | None
    line: str | None
    outcome: str | None
    payload: bytes
    personal: Personal | None
    decided: DecisionIndex | None


def decision_index(payload: Mapping[str, Any]) -> DecisionIndex:
    """What a decision's payload says that decisions are looked for by."""
    notice = payload.get("notice")
    notice = notice if isinstance(notice, Mapping) else {}
    language, name, version = notice.get("language"), notice.get("id"), notice.get("version")
    days, granted = payload.get("retention_days"), payload.get("purposes_granted")
    reference = payload.get("reference_ref")
    return DecisionIndex(
        language if isinstance(language, str) else None,
        name if isinstance(name, str) else None,
        version if isinstance(version, int) else None,
        days if isinstance(days, int) else 0,
        reference if isinstance(reference, str) else None,
        tuple(purpose for purpose in granted if isinstance(purpose, str)) if isinstance(granted, list | tuple) else (),
    )


def utc_now() -> datetime:
    """The clock that the log goes by."""
    return datetime.now(UTC)


def utc_text(time: datetime) -> str:
    """A time as it stands in the log: UTC, ISO 8601, milliseconds."""
    return time.isoformat(timespec="milliseconds")


def _facet(entry: Entry) -> Facet:
    line, outcome = entry.line or "", entry.outcome or ""
    if entry.decided is None:
        return Facet(entry.kind, line, outcome)
    language, notice, version, _, _, purposes = entry.decided
    return Facet(entry.kind, line, outcome, language or "", notice or "", version or 0, purposes_text(purposes))


_OF_NOBODY: Final = (None, None, None)


class Chain:
    """Where the log ends. Load it in a transaction, append, save, commit."""

    def __init__(self, database: Database) -> None:
        self._execute = database.execute
        self._name = database.name
        self._nodes: list[tuple[int, int, bytes]] = []
        self._facets = Facets(database)
        self._before = ""
        self.tree = Tree()
        self.log_id = self.last_time = self.next_key = self.sealed_time = ""
        self.sealed = 0
        self.last_leaf = b""

    def load(self) -> None:
        """Read where the log ends now: another process may have written since. Raises :class:`LedgerError`."""
        row = self._execute(
            "SELECT log_id, size, peaks, last_leaf, last_time, sealed, sealed_time, next_key FROM log"
        ).fetchone()
        try:
            assert row is not None
            self.log_id, size, peaks, last, self.last_time, self.sealed, self.sealed_time, self.next_key = row
            hashes = [bytes(peaks[at : at + HASH_BYTES]) for at in range(0, len(peaks), HASH_BYTES)]
            self.tree = Tree(size, hashes, self._completed)
            self.last_leaf = bytes(last)
            self._before = self.last_time
        except (AssertionError, ValueError, TypeError):
            raise self.does_not_say() from None
        self._nodes.clear()
        self._facets.load()

    def does_not_say(self) -> LedgerError:
        """The error of a log whose end cannot be read."""
        return LedgerError(
            f"{self._name} does not say where it ends: somebody has changed it; see: ivr-consent log verify"
        )

    def has(self, sequence: int, hashed: bytes) -> bool:
        """Whether the log's event of this number has this leaf hash."""
        if sequence >= self.tree.size:
            return sequence == self.tree.size and self.last_leaf == hashed
        row = self._execute("SELECT previous FROM events WHERE sequence = ?", (sequence + 1,)).fetchone()
        return row is not None and bytes(row[0]) == hashed

    def _completed(self, level: int, number: int, hashed: bytes) -> None:
        if level % NODE_LEVELS == 0:
            self._nodes.append((level, number, hashed))

    def append(self, entry: Entry, time: str) -> int:
        """Add one event; its sequence. A second decision of one call is not added: 0."""
        sequence = self.tree.size + 1
        kind, call_id, line, outcome, payload, personal, decided = entry
        facet = _facet(entry)
        number = self._facets.number(facet, sequence)
        if decided is not None and not self._decided(sequence, time, entry, decided, number):
            return 0
        self._facets.add(number, sequence)
        if decided is not None:
            self._facets.count(facet, time)
        if time < self._before:
            self._execute("INSERT INTO clock_steps VALUES (?)", (sequence,))
        self._before = time
        committed = None
        if personal is not None:
            salt = secrets.token_bytes(HASH_BYTES)
            committed = commitment(salt, personal.data)
            found = self._of_agent(call_id, number) if personal.agent is not None else _OF_NOBODY
            row = (sequence, salt, *personal, *found)
            self._execute("INSERT INTO personal VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)", row)
        event = Event(sequence, time, kind, call_id, line, outcome, payload, committed, self.last_leaf)
        self._execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", event)
        self.last_leaf = leaf_hash(leaf(event))
        self.tree.append(self.last_leaf)
        self.last_time = max(time, self.last_time)
        if decided is None:
            self._followed(sequence, time, entry)
        return sequence

    def _of_agent(self, call_id: str | None, number: int) -> tuple[int, int | None, int | None]:
        """By what an agent's event is found: its own facet, and its call's decision with that one's facet."""
        query = "SELECT sequence, facet FROM decisions WHERE call_id = ?"
        return (number, *(self._execute(query, (call_id,)).fetchone() or (None, None)))

    def _decided(self, sequence: int, time: str, entry: Entry, decided: DecisionIndex, facet: int) -> bool:
        _, call_id, line, outcome, *_ = entry
        language, notice, version, days, reference, _ = decided
        added = self._execute(
            "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (sequence, call_id, time, line, outcome, language, notice, version, reference, facet),
        )
        if added.rowcount != 1:
            return False
        self._execute("DELETE FROM asked WHERE call_id = ?", (call_id,))
        if outcome == Outcome.GRANTED.value:
            self._execute("INSERT INTO recordings VALUES (?, ?, ?, NULL)", (call_id, sequence, days))
        return True

    def _followed(self, sequence: int, time: str, entry: Entry) -> None:
        """What an event that is not a decision changes of what is expected of its call."""
        kind, call_id = entry.kind, entry.call_id
        if kind == "asked":
            self._execute(
                "INSERT INTO asked VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (call_id, sequence, time, entry.line)
            )
        elif kind in _ERASED:
            self._execute("DELETE FROM recordings WHERE call_id = ?", (call_id,))
        elif kind == "recording_ended":
            row = self._execute("SELECT days FROM recordings WHERE call_id = ?", (call_id,)).fetchone()
            if row is not None:
                due = utc_text(datetime.fromisoformat(time) + timedelta(days=row[0]))
                self._execute("UPDATE recordings SET due = ? WHERE call_id = ?", (due, call_id))

    def seal(self, note: str, time: str, next_key: str) -> None:
        """Add a checkpoint over all events up to here."""
        self._execute("INSERT INTO checkpoints VALUES (?, ?, ?)", (self.tree.size, time, note))
        self.sealed, self.sealed_time, self.next_key = self.tree.size, time, next_key

    def save(self) -> None:
        """Write where the log ends now."""
        for node in self._nodes:
            self._execute("INSERT INTO nodes VALUES (?, ?, ?)", node)
        self._nodes.clear()
        self._facets.save()
        self._execute(
            "UPDATE log SET size = ?, peaks = ?, last_leaf = ?, last_time = ?, "
            "sealed = ?, sealed_time = ?, next_key = ?",
            (
                self.tree.size,
                b"".join(self.tree.peaks),
                self.last_leaf,
                self.last_time,
                self.sealed,
                self.sealed_time,
                self.next_key,
            ),
        )
