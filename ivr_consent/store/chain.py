"""The end of the log inside one transaction: events are appended to the chain, and to what is made from it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import LedgerError
from ivr_consent.store.batch import Rows, marks, parts
from ivr_consent.store.database import Database
from ivr_consent.store.facets import Facet, Facets, purposes_text
from ivr_consent.store.personal import Personal
from ivr_consent.verifier import HASH_BYTES, Tree, commitment, leaf_at, leaf_hash, leaf_head

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
        _number(version),
        _number(days) or 0,
        reference if isinstance(reference, str) else None,
        tuple(purpose for purpose in granted if isinstance(purpose, str)) if isinstance(granted, list | tuple) else (),
    )


def _number(value: Any) -> int | None:
    """A number that a database takes: a log from elsewhere may hold any."""
    return value if type(value) is int and 0 <= value < 1 << 31 else None


def utc_now() -> datetime:
    """The clock that the log goes by."""
    return datetime.now(UTC)


def utc_text(time: datetime) -> str:
    """A time as it stands in the log: UTC, ISO 8601, milliseconds."""
    return time.isoformat(timespec="milliseconds")


class Prepared(NamedTuple):
    """An event with all that can be made of it before its place in the log is known, by whoever brings it."""

    entry: Entry
    facet: Facet
    salt: bytes
    committed: bytes | None
    head: str


def prepared(entry: Entry) -> Prepared:
    """Make ready for :meth:`Chain.append_all`. Raises what an event raises that cannot be hashed."""
    kind, call_id, line, outcome, payload, personal, _ = entry
    salt, committed = b"", None
    if personal is not None:
        salt = secrets.token_bytes(HASH_BYTES)
        committed = commitment(salt, personal.data)
    return Prepared(entry, _facet(entry), salt, committed, leaf_head(kind, call_id, line, outcome, payload, committed))


def _facet(entry: Entry) -> Facet:
    line, outcome = entry.line or "", entry.outcome or ""
    if entry.decided is None:
        return Facet(entry.kind, line, outcome)
    language, notice, version, _, _, purposes = entry.decided
    return Facet(entry.kind, line, outcome, language or "", notice or "", version or 0, purposes_text(purposes))


_OF_NOBODY: Final = (None, None, None)


def _due(time: str, days: int) -> str:
    return utc_text(datetime.fromisoformat(time) + timedelta(days=days))


class Chain:
    """Where the log ends. Load it in a transaction, append, save, commit."""

    def __init__(self, database: Database) -> None:
        self._execute = database.execute
        self._name = database.name
        self._nodes: list[tuple[int, int, bytes]] = []
        self._rows = Rows(database)
        self._facets = Facets(database, self._rows)
        self._before = ""
        self._asks_a_server = database.kind != "sqlite"
        # Of calls whose rows wait to be written: the row, number and facet of the decision, the row.
        self._asked: dict[str | None, tuple[Any, ...]] = {}
        self._decisions: dict[str | None, tuple[int, int]] = {}
        self._recordings: dict[str | None, list[Any]] = {}
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
        self._forget_waiting()

    def _forget_waiting(self) -> None:
        self._rows.clear()
        self._asked.clear()
        self._decisions.clear()
        self._recordings.clear()

    def _decided_before(self, call_ids: list[str | None]) -> set[str | None]:
        """Those of these calls that have a decision. Nobody else writes until the transaction ends."""
        if self._asks_a_server:  # which each answer would be a way to and back
            rows = self._execute("SELECT call_id FROM decisions WHERE call_id = ANY(?)", (call_ids,)).fetchall()
            return {call_id for (call_id,) in rows}
        found: set[str | None] = set()
        for some in parts(call_ids):
            query = f"SELECT call_id FROM decisions WHERE call_id IN ({marks(len(some))})"  # noqa: S608 - question marks
            found.update(call_id for (call_id,) in self._execute(query, some))
        return found

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
        return self.append_all([prepared(entry)], time)[0]

    def append_all(self, batch: Sequence[Prepared], time: str) -> list[int]:
        """Add events that happened at one time; their sequences. A second decision of one call is not added: 0."""
        calls = [one.entry.call_id for one in batch if one.entry.decided is not None]
        decided = self._decided_before(calls) if calls else set()
        events, facets = self._rows.of("events"), self._facets
        sequences, hashes = [], []
        sequence, previous = self.tree.size, self.last_leaf
        for one in batch:
            (kind, call_id, line, outcome, payload, personal, index), facet, salt, committed, head = one
            if index is not None:
                if call_id in decided:
                    sequences.append(0)
                    continue
                decided.add(call_id)
            sequence += 1
            number = facets.number(facet, sequence)
            facets.add(number, sequence)
            events.append((sequence, time, kind, call_id, line, outcome, payload, committed, previous))
            if index is not None:
                facets.count(facet, time)
                self._decided(sequence, time, one.entry, index, number)
            else:
                self._followed(sequence, time, one.entry)
            if personal is not None:  # after the decision: its own agent is found by it
                found = self._of_agent(call_id, number) if personal.agent is not None else _OF_NOBODY
                self._rows.of("personal").append((sequence, salt, *personal, *found, 0))
            previous = leaf_hash(leaf_at(head, sequence, time, previous))
            hashes.append(previous)
            sequences.append(sequence)
        if hashes and time < self._before:
            self._execute("INSERT INTO clock_steps VALUES (?)", (self.tree.size + 1,))
        if hashes:
            self._grow(hashes)
            self.last_leaf, self._before, self.last_time = previous, time, max(time, self.last_time)
        self._write_waiting()
        return sequences

    def _grow(self, hashes: list[bytes]) -> None:
        """Add leaves to the tree: as many at once as complete no node that is kept."""
        at, block = 0, 1 << NODE_LEVELS
        while at < len(hashes):
            some = min(len(hashes) - at, block - 1 - self.tree.size % block)
            if some:
                self.tree.extend(hashes[at : at + some])
            else:
                self.tree.append(hashes[at])
            at += some or 1

    def _write_waiting(self) -> None:
        for some in parts(list(self._decisions)):
            self._execute(f"DELETE FROM asked WHERE call_id IN ({marks(len(some))})", some)  # noqa: S608 - question marks
        self._rows.of("asked").extend(self._asked.values())
        self._rows.of("recordings").extend(tuple(row) for row in self._recordings.values())
        self._rows.write()
        self._forget_waiting()

    def _of_agent(self, call_id: str | None, number: int) -> tuple[int, int | None, int | None]:
        """By what an agent's event is found: its own facet, and its call's decision with that one's facet."""
        if call_id in self._decisions:
            return (number, *self._decisions[call_id])
        query = "SELECT sequence, facet FROM decisions WHERE call_id = ?"
        return (number, *(self._execute(query, (call_id,)).fetchone() or (None, None)))

    def _decided(self, sequence: int, time: str, entry: Entry, decided: DecisionIndex, facet: int) -> None:
        _, call_id, line, outcome, *_ = entry
        language, notice, version, days, reference, _ = decided
        row = (sequence, call_id, time, line, outcome, language, notice, version, reference, facet)
        self._rows.of("decisions").append(row)
        self._decisions[call_id] = sequence, facet
        self._asked.pop(call_id, None)
        if outcome == Outcome.GRANTED.value:
            self._recordings[call_id] = [call_id, sequence, days, None]

    def _followed(self, sequence: int, time: str, entry: Entry) -> None:
        """What an event that is not a decision changes of what is expected of its call."""
        kind, call_id = entry.kind, entry.call_id
        if kind == "asked":
            self._asked.setdefault(call_id, (call_id, sequence, time, entry.line))
        elif kind in _ERASED:
            if self._recordings.pop(call_id, None) is None:
                self._execute("DELETE FROM recordings WHERE call_id = ?", (call_id,))
        elif kind == "recording_ended":
            waiting = self._recordings.get(call_id)
            if waiting is not None:
                waiting[3] = _due(time, waiting[2])
                return
            row = self._execute("SELECT days FROM recordings WHERE call_id = ?", (call_id,)).fetchone()
            if row is not None:
                self._execute("UPDATE recordings SET due = ? WHERE call_id = ?", (_due(time, row[0]), call_id))

    def seal(self, note: str, time: str, next_key: str) -> None:
        """Add a checkpoint over all events up to here."""
        self._execute("INSERT INTO checkpoints VALUES (?, ?, ?)", (self.tree.size, time, note))
        self.sealed, self.sealed_time, self.next_key = self.tree.size, time, next_key

    def save(self) -> None:
        """Write where the log ends now."""
        self._rows.of("nodes").extend(self._nodes)
        self._rows.write()
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
