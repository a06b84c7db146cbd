"""What events are looked for by, kept as the log is written: so that a question to a long log has its answer at once.

A facet is a combination of kind, line, outcome, language, notice, version and granted purposes. There are few of them,
however long the log; each has a number, and of each it is kept in order where its events are. Any filter is a set of
facets, and its newest event is the newest of theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from ivr_consent.store.batch import Rows
from ivr_consent.store.database import Database

MAX_KNOWN: Final = 4096
"""Facets kept in memory; beyond that they are looked up again."""

BLOCK_BITS: Final = 12
"""The place of a facet's newest event is kept to 4096 events: exactly it would be one more row to write each time."""


class Facet(NamedTuple):
    """``""`` and 0 stand for none."""

    kind: str
    line: str = ""
    outcome: str = ""
    language: str = ""
    notice: str = ""
    version: int = 0
    purposes: str = ""


def purposes_text(purposes: Iterable[str]) -> str:
    """Granted purposes as they stand in a facet: in order, each between spaces."""
    found = " ".join(sorted(purposes))
    return f" {found} " if found else ""


class Facets:
    """Writes them, inside the transactions of :class:`~ivr_consent.store.chain.Chain`."""

    def __init__(self, database: Database, rows: Rows) -> None:
        self._execute = database.execute
        self._events = rows.of("facet_events")
        self._known: dict[Facet, int] = {}
        self._new: dict[Facet, int] = {}
        self._blocks: dict[int, int] = {}
        self._new_blocks: dict[int, int] = {}
        self._counted: Counter[tuple[Any, ...]] = Counter()

    def load(self) -> None:
        """Begin a transaction: nothing is kept of one that was given up."""
        self._new.clear()
        self._new_blocks.clear()
        self._counted.clear()

    def number(self, facet: Facet, sequence: int) -> int:
        """The number of a facet, of which an event is about to be written."""
        found = self._known.get(facet) or self._new.get(facet)
        if found is None:
            found = self._looked_up(facet, sequence)
        return found

    def _looked_up(self, facet: Facet, sequence: int) -> int:
        row = self._execute(
            "SELECT facet, block FROM facets WHERE kind = ? AND line = ? AND outcome = ? AND language = ? "
            "AND notice = ? AND version = ? AND purposes = ?",
            facet,
        ).fetchone()
        if row is not None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
                self._blocks.clear()
            found, self._blocks[found] = row
            self._known[facet] = found
            return int(found)
        (last,) = self._execute("SELECT coalesce(max(facet), 0) FROM facets").fetchone() or (0,)
        number, block = int(last) + 1, sequence >> BLOCK_BITS
        self._execute("INSERT INTO facets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *facet, sequence, block))
        self._new[facet], self._new_blocks[number] = number, block
        return number

    def add(self, number: int, sequence: int) -> None:
        """Say where an event is."""
        self._events.append((number, sequence))
        block = sequence >> BLOCK_BITS
        if self._blocks.get(number, -1) < block and self._new_blocks.get(number, -1) < block:
            self._begin_block(number, block)

    def _begin_block(self, number: int, block: int) -> None:
        row = self._execute("SELECT block FROM facets WHERE facet = ?", (number,)).fetchone()
        if row is not None and row[0] >= block:
            self._blocks[number] = row[0]  # written by the transaction before, or by another process
            return
        self._execute("UPDATE facets SET block = ? WHERE facet = ?", (block, number))
        self._new_blocks[number] = block

    def count(self, facet: Facet, time: str) -> None:
        """Count a decision for its day."""
        self._counted[(time[:10], *facet[1:])] += 1

    def save(self) -> None:
        """Write what was counted."""
        for counted, decisions in self._counted.items():
            self._execute(
                "INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (day, line, outcome, language, notice, version, purposes) "
                "DO UPDATE SET decisions = counts.decisions + excluded.decisions",
                (*counted, decisions),
            )
        self._counted.clear()
