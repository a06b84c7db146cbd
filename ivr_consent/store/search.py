"""Where in a log the answer to a question stands: sequences, the newest first, the first one at once.

Any filter is a set of facets (:mod:`ivr_consent.store.facets`), and a span of time is a few ranges of sequences: times
rise with the sequence but where the clock was set back, and each such place is known. Of every facet its newest event
in a range is one look into an index; merging them gives the answer in order, however many events lie between.

Rows are fetched in pages, each by a statement of its own: a reader who takes an hour over the first screen keeps no
transaction open, and so does not keep the write-ahead log from being emptied.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ivr_consent.core.errors import LedgerError
from ivr_consent.store.database import Database
from ivr_consent.store.facets import purposes_text

FIRST_PAGE: Final = 8
"""Rows of the first page of a list, and by how much each page is larger than the one before."""

PAGE: Final = 256
"""Rows of the largest page."""

MAX_FACETS: Final = 100_000
"""Of an honest log: lines x outcomes x languages x versions; more were made to use up memory."""

MAX_CLOCK_STEPS: Final = 10_000
"""More, and a span of time is found by looking at every row."""

END: Final = 2**62
"""Beyond every sequence."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question. ``None``: not asked for.

    ``purpose``: one that was granted. ``agent``: as it stands in the log. ``references``: what the log may hold of a
    reference code. ``since``, ``until``: UTC times as they stand in the log; ``until`` itself is not wanted any more.
    """

    line: str | None = None
    outcome: str | None = None
    language: str | None = None
    notice: str | None = None
    version: int | None = None
    purpose: str | None = None
    agent: str | None = None
    references: tuple[str, ...] | None = None
    kind: str | None = None
    since: str | None = None
    until: str | None = None

    def in_time(self, time: str) -> bool:
        """Whether a time is wanted."""
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)

    @property
    def of_decisions(self) -> bool:
        """Whether something is asked that is said of decisions alone."""
        return any(
            value is not None
            for value in (self.outcome, self.language, self.notice, self.version, self.purpose, self.references)
        )


EVERYTHING: Final = Wanted()


@dataclass(frozen=True, slots=True)
class _Source:
    """A table in whose index the sequences of one facet stand in order."""

    table: str
    column: str
    condition: str
    values: tuple[Any, ...] = ()

    def head(self) -> str:
        """The newest of the facet ``f`` in a range, as a part of a statement."""
        return f"(SELECT e.{self.column} FROM {self._of('f.facet')} LIMIT 1)"  # noqa: S608 - fixed columns

    def page(self) -> str:
        """The next of a facet below a sequence."""
        return f"SELECT e.{self.column} FROM {self._of('?')} LIMIT ?"  # noqa: S608 - fixed columns

    def _of(self, facet: str) -> str:
        return (
            f"{self.table} AS e WHERE {self.condition.replace('FACET', facet)} "
            f"AND e.{self.column} >= ? AND e.{self.column} <= ? ORDER BY e.{self.column} DESC"
        )


_BY_FACET: Final = _Source("facet_events", "sequence", "e.facet = FACET")
_EVENTS_OF_AGENT: Final = "e.agent = ? AND e.facet = FACET"
_CALLS_OF_AGENT: Final = "e.agent = ? AND e.decision_facet = FACET"


class Search:
    """Answers by sequences. What it finds may have been pruned meanwhile, and has to be compared with
    :meth:`Wanted.in_time`: a span of time is narrowed down as far as it can."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def calls(self, wanted: Wanted) -> Iterator[int]:
        """The decisions of calls, the newest first."""
        if wanted.references is not None:
            return self._by_reference(wanted, wanted.references, "decision")
        if wanted.agent is not None:
            source = _Source("personal", "decision", _CALLS_OF_AGENT, (wanted.agent,))
        elif wanted.line is None and not wanted.of_decisions:
            return self._all("decisions", wanted)
        else:
            source = _BY_FACET
        return self._merged(source, wanted, "decision")

    def events(self, wanted: Wanted) -> Iterator[int]:
        """Events of every kind, the newest first."""
        if wanted.references is not None:
            return self._by_reference(wanted, wanted.references, wanted.kind or "decision")
        if wanted.agent is not None:
            source = _Source("personal", "sequence", _EVENTS_OF_AGENT, (wanted.agent,))
        elif wanted.line is None and wanted.kind is None and not wanted.of_decisions:
            return self._all("events", wanted)
        else:
            source = _BY_FACET
        return self._merged(source, wanted, wanted.kind)

    def facets(self, wanted: Wanted, kind: str | None = "decision") -> dict[int, tuple[Any, ...]]:
        """Numbers of the facets that fit, each with line, outcome, language, notice, version."""
        columns = "f.facet, f.purposes, f.line, f.outcome, f.language, f.notice, f.version"
        rows = self._facet_rows(columns, wanted, kind)
        return {number: tuple(rest) for number, _, *rest in rows}

    # --- ways to it --------------------------------------------------------------------------------------------------

    def _all(self, table: str, wanted: Wanted) -> Iterator[int]:
        query = f"SELECT sequence FROM {table} WHERE sequence >= ? AND sequence <= ? ORDER BY sequence DESC LIMIT ?"  # noqa: S608 - one of two tables
        for low, high in self.ranges(wanted):
            yield from self._pages(query, (), low, high)

    def _by_reference(self, wanted: Wanted, references: Sequence[str], kind: str) -> Iterator[int]:
        """Calls share a code once in a long while, so that this is short; the rest is compared row by row."""
        query = (
            "SELECT sequence FROM decisions WHERE reference = ? AND sequence >= ? AND sequence <= ? "
            "ORDER BY sequence DESC LIMIT ?"
        )
        fitting = self.facets(wanted, kind)
        found = heapq.merge(*(self._pages(query, (reference,), 0, END) for reference in references), reverse=True)
        for sequence in found:
            row = self._one("SELECT facet FROM decisions WHERE sequence = ?", sequence)
            if row is not None and row[0] in fitting and self._is_of_agent(wanted, sequence, row[0]):
                yield sequence

    def _is_of_agent(self, wanted: Wanted, decision: int, facet: int) -> bool:
        if wanted.agent is None:
            return True
        query = "SELECT 1 FROM personal WHERE agent = ? AND decision_facet = ? AND decision = ?"
        return self._one(query, wanted.agent, facet, decision) is not None

    def _merged(self, source: _Source, wanted: Wanted, kind: str | None) -> Iterator[int]:
        before = END
        for low, high in self.ranges(wanted):
            rows = self._facet_rows(f"f.facet, f.purposes, {source.head()}", wanted, kind, (*source.values, low, high))
            heap = [(-newest, facet) for facet, _, newest in rows if newest is not None]
            heapq.heapify(heap)
            rests: dict[int, Iterator[int]] = {}
            while heap:
                newest, facet = heap[0]
                if facet not in rests:
                    rests[facet] = self._pages(source.page(), (*source.values, facet), low, -newest - 1)
                following = next(rests[facet], None)
                if following is None:
                    heapq.heappop(heap)
                else:
                    heapq.heapreplace(heap, (-following, facet))
                if -newest < before:  # an agent may have several events of one call
                    before = -newest
                    yield before

    def _facet_rows(
        self, columns: str, wanted: Wanted, kind: str | None, values: Sequence[Any] = ()
    ) -> Iterator[tuple[Any, ...]]:
        conditions, asked = ["1 = 1"], []
        for name, value in (
            ("kind", kind),
            ("line", wanted.line),
            ("outcome", wanted.outcome),
            ("language", wanted.language),
            ("notice", wanted.notice),
            ("version", wanted.version),
        ):
            if value is not None:
                conditions.append(f"f.{name} = ?")
                asked.append(value)
        query = f"SELECT {columns} FROM facets AS f WHERE {' AND '.join(conditions)} LIMIT ?"  # noqa: S608 - fixed columns, bound values
        purpose = purposes_text((wanted.purpose,)) if wanted.purpose is not None else None
        for count, row in enumerate(self._database.execute(query, (*values, *asked, MAX_FACETS + 1))):
            if count == MAX_FACETS:
                raise LedgerError(
                    f"{self._database.name} names more than {MAX_FACETS} combinations of line, outcome, language and "
                    "version: it was not written by ivr-consent; see: ivr-consent log verify"
                )
            if purpose is None or purpose in str(row[1]):
                yield row

    def _pages(self, query: str, values: Sequence[Any], low: int, high: int) -> Iterator[int]:
        rows = FIRST_PAGE
        while low <= high:
            page = self._database.execute(query, (*values, low, high, rows)).fetchall()
            for (sequence,) in page:
                yield sequence
            if len(page) < rows:
                return
            high, rows = page[-1][0] - 1, min(rows * FIRST_PAGE, PAGE)

    def _one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        return self._database.execute(query, values).fetchone()

    # --- time --------------------------------------------------------------------------------------------------------

    def ranges(self, wanted: Wanted) -> Iterator[tuple[int, int]]:
        """Ranges of sequences, the newest first, in which everything lies that is wanted by its time."""
        last = self._one("SELECT sequence FROM events ORDER BY sequence DESC LIMIT 1")
        if last is None:
            return
        if wanted.since is None and wanted.until is None:
            yield 0, last[0]
            return
        query = "SELECT sequence FROM clock_steps ORDER BY sequence DESC LIMIT ?"
        steps = [step for (step,) in self._database.execute(query, (MAX_CLOCK_STEPS + 1,))]
        if len(steps) > MAX_CLOCK_STEPS:
            yield 0, last[0]
            return
        high = last[0]
        for begin in (*steps, 0):
            low, end = begin, high
            high = begin - 1
            if not self._touches(wanted, low, end):
                continue
            if wanted.since is not None:
                low = self._first_at(wanted.since, low, end)
            if wanted.until is not None:
                end = self._first_at(wanted.until, low, end) - 1
            if low <= end:
                yield low, end

    def _touches(self, wanted: Wanted, low: int, high: int) -> bool:
        """Whether anything between two times of the clock's being set back can be wanted: two looks."""
        oldest = self._one(
            "SELECT time FROM events WHERE sequence >= ? AND sequence <= ? ORDER BY sequence LIMIT 1", low, high
        )
        newest = self._newest_until(low, high)
        if oldest is None or newest is None:
            return False
        return (wanted.since is None or str(newest[1]) >= wanted.since) and (
            wanted.until is None or str(oldest[0]) < wanted.until
        )

    def _first_at(self, time: str, low: int, high: int) -> int:
        """The first sequence from ``low`` on before which nothing is as late as ``time``; at most ``high + 1``."""
        end = high + 1
        while low < end:
            middle = (low + end) // 2
            found = self._newest_until(low, middle)
            if found is None or str(found[1]) < time:
                low = middle + 1
            else:
                end = found[0]
        return low

    def _newest_until(self, low: int, high: int) -> tuple[int, str] | None:
        query = "SELECT sequence, time FROM events WHERE sequence >= ? AND sequence <= ? ORDER BY sequence DESC LIMIT 1"
        row = self._one(query, low, high)
        return None if row is None else (row[0], row[1])
