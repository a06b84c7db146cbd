"""Is this log what it claims to be? Recomputed event by event from the verifier's primitives, and from what was made
beside the chain; goes on where it stopped, so that a log that grows through a thousand deaths is checked after each."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivr_consent.core.decision import canonical
from ivr_consent.store.chain import ERASED, NODE_LEVELS
from ivr_consent.store.place import Place
from ivr_consent.store.sealing import good
from ivr_consent.verifier import (
    FIRST_PREVIOUS,
    Checkpoint,
    Event,
    PublicKey,
    Tree,
    commitment,
    leaf,
    leaf_hash,
    opened,
)

EVENTS = """
    SELECT e.sequence, e.time, e.kind, e.call_id, e.line, e.outcome, e.payload, e.commitment, e.previous, p.salt, p.data
    FROM events AS e LEFT JOIN personal AS p ON p.sequence = e.sequence WHERE e.sequence > ? ORDER BY e.sequence
"""


@dataclass(slots=True)
class Evidence:
    """What has been recomputed of a log so far."""

    path: Path
    tree: Tree = field(default_factory=Tree)
    previous: bytes = FIRST_PREVIOUS
    checkpoints: int = 0
    key: PublicKey | None = None
    decided: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By call: entry and outcome of its decision."""
    later: dict[str, list[str]] = field(default_factory=dict)
    """By call: kinds of its other events."""
    kinds: Counter[str] = field(default_factory=Counter)
    nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def go_on(self, *, whole: bool = True) -> None:
        """Check what has been added. ``whole``: and all that is made beside the chain, and the file itself."""
        self.tree.completed = self._completed
        with closing(self._opened()) as database:
            if self.key is None:
                self.key = PublicKey.parse(self.path.with_suffix(".pub").read_text().strip())
            notes = iter(
                database.execute(
                    "SELECT size, time, note FROM checkpoints WHERE size > ? ORDER BY size", [self._sealed()]
                ).fetchall()
            )
            due = next(notes, None)
            for row in database.execute(EVENTS, [self.tree.size]):
                self._event(Event(*row[:9]), row[9], row[10])
                if due is not None and due[0] == self.tree.size:
                    self._checkpoint(*due)
                    due = next(notes, None)
            assert due is None, f"a checkpoint of {due[0]} events, of {self.tree.size}"
            self._end(database)
            if whole:
                self._derived(database)
                self._intact(database)
        assert Place(self.path).sealing_key().fits(self.key), "the key is not the one that the log names"

    def _opened(self) -> Any:
        return sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)

    def _intact(self, database: Any) -> None:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def _completed(self, level: int, number: int, hashed: bytes) -> None:
        if level % NODE_LEVELS == 0:
            self.nodes[level, number] = hashed

    def _sealed(self) -> int:
        return self.checkpoints

    def _event(self, event: Event, salt: bytes | None, personal: bytes | None) -> None:
        assert event.sequence == self.tree.size + 1
        assert event.previous == self.previous
        payload = json.loads(event.payload)
        assert canonical(payload) == event.payload
        if personal is None or salt is None:
            assert event.commitment is None, f"entry {event.sequence} has lost its personal data"
        else:
            assert event.commitment == commitment(salt, personal)
        self.previous = leaf_hash(leaf(event))
        self.tree.append(self.previous)
        self.kinds[event.kind] += 1
        if event.kind == "decision":
            assert event.call_id is not None
            assert event.outcome is not None
            assert event.call_id not in self.decided, "two decisions of one call"
            self.decided[event.call_id] = event.sequence, event.outcome
        elif event.call_id is not None:
            self.later.setdefault(event.call_id, []).append(event.kind)

    def _checkpoint(self, size: int, time: str, note: str) -> None:
        assert self.key is not None
        told = Checkpoint.parse(opened(note, self.key, good))
        assert (told.size, told.time, told.root) == (size, time, self.tree.root())
        self.key, self.checkpoints = told.next_key, size

    def _end(self, database: Any) -> None:
        row = database.execute("SELECT size, peaks, last_leaf, sealed, next_key FROM log").fetchone()
        expected = (self.tree.size, b"".join(self.tree.peaks), self.previous, self.checkpoints, str(self.key))
        assert row == expected, "the log does not end where it says"

    def _derived(self, database: Any) -> None:
        def rows(query: str) -> Any:
            return database.execute(query).fetchall()

        assert {call: (at, out) for call, at, out in rows("SELECT call_id, sequence, outcome FROM decisions")} == (
            self.decided
        )
        assert {(level, number): hashed for level, number, hashed in rows("SELECT * FROM nodes")} == self.nodes
        assert rows("SELECT coalesce(sum(decisions), 0) FROM counts") == [(len(self.decided),)]
        open_recordings = {
            call
            for call, (_, outcome) in self.decided.items()
            if outcome == "granted" and not set(self.later.get(call, ())) & set(ERASED)
        }
        assert {call for (call,) in rows("SELECT call_id FROM recordings")} == open_recordings
        asked = {call for call, kinds in self.later.items() if "asked" in kinds} - set(self.decided)
        assert {call for (call,) in rows("SELECT call_id FROM asked")} == asked


def check(path: Path) -> Evidence:
    """Recompute a whole log."""
    evidence = Evidence(path)
    evidence.go_on()
    return evidence


def must_hold(evidence: Evidence, acknowledged: Iterable[tuple[str, str, int]]) -> None:
    """Every acknowledged decision (call, outcome, entry) is in the log as it was acknowledged."""
    for call, outcome, sequence in acknowledged:
        found = evidence.decided.get(call)
        assert found is not None, f"the acknowledged decision of call {call} is lost"
        assert found[1] == outcome
        assert sequence in (0, found[0])
