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
from ivr_consent.store.facets import BLOCK_BITS

FIRST_PAGE: Final = 8
"""Rows of the first page of a list, and by how much each page is larger than the one before."""

PAGE: Final = 256
"""Rows of the largest page."""

MAX_FACETS: Final = 100_000
"""Of an honest log: lines x outcomes x languages x versions; more were made to use up memory."""

MAX_PURPOSES: Final = 10_000
"""Combinations of granted purposes that are looked at."""

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
    """An index in which the sequences of each facet stand in order: all of them, or those of an agent."""

    table: str
    facet: str
    sequence: str
    of_agent: bool

    def page(self) -> str:
        """The next of a facet below a sequence."""
        agent = "agent = ? AND " if self.of_agent else ""
        return (
            f"SELECT {self.sequence} FROM {self.table} WHERE {agent}{self.facet} = ? "  # noqa: S608 - fixed columns
            f"AND {self.sequence} >= ? AND {self.sequence} <= ? ORDER BY {self.sequence} DESC LIMIT ?"
        )

    def facets(self) -> str:
        """The facets that there are in it, and where the newest event of each may be at most."""
        if not self.of_agent:
            return f"SELECT facet, first, ((block + 1) << {BLOCK_BITS}) - 1 FROM facets AS f"  # noqa: S608 - a number
        # One look for each facet of the agent: nothing else is said about how many events lie between two of them.
        following = f"SELECT min({self.facet}) FROM {self.table} WHERE agent = ? AND {self.sequence} IS NOT NULL"  # noqa: S608 - fixed columns
        return (
            f"WITH RECURSIVE own(facet) AS ({following} UNION ALL "  # noqa: S608 - fixed columns
            f"SELECT ({following} AND {self.facet} > own.facet) FROM own WHERE own.facet IS NOT NULL) "
            f"SELECT f.facet, 0, {END} FROM own JOIN facets AS f ON f.facet = own.facet"
        )


_BY_FACET: Final = _Source("facet_events", "facet", "sequence", of_agent=False)
_EVENTS_OF_AGENT: Final = _Source("personal", "facet", "sequence", of_agent=True)
_CALLS_OF_AGENT: Final = _Source("personal", "decision_facet", "decision", of_agent=True)


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
            return self._merged(_CALLS_OF_AGENT, wanted, "decision")
        if wanted.line is None and not wanted.of_decisions:
            return self._all("decisions", wanted)
        return self._merged(_BY_FACET, wanted, "decision")

    def events(self, wanted: Wanted) -> Iterator[int]:
        """Events of every kind, the newest first."""
        if wanted.references is not None:
            return self._by_reference(wanted, wanted.references, wanted.kind or "decision")
        if wanted.agent is not None:
            return self._merged(_EVENTS_OF_AGENT, wanted, wanted.kind)
        if wanted.line is None and wanted.kind is None and not wanted.of_decisions:
            return self._all("events", wanted)
        return self._merged(_BY_FACET, wanted, wanted.kind)

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
        asked, values = conditions(self._database, wanted, "f.", kind)
        fits = f"SELECT f.facet FROM decisions AS d JOIN facets AS f ON f.facet = d.facet WHERE d.sequence = ?{asked}"  # noqa: S608 - fixed conditions
        found = heapq.merge(*(self._pages(query, (reference,), 0, END) for reference in references), reverse=True)
        for sequence in found:
            row = self._one(fits, sequence, *values)
            if row is not None and self._is_of_agent(wanted, sequence, row[0]):
                yield sequence

    def _is_of_agent(self, wanted: Wanted, decision: int, facet: int) -> bool:
        if wanted.agent is None:
            return True
        query = "SELECT 1 FROM personal WHERE agent = ? AND decision_facet = ? AND decision = ?"
        return self._one(query, wanted.agent, facet, decision) is not None

    def _merged(self, source: _Source, wanted: Wanted, kind: str | None) -> Iterator[int]:
        """What stands in a source, of all facets that fit.

        In the heap is each facet with the newest sequence that it may have, until that is looked up; it is for those
        that come first alone.
        """
        agent = (wanted.agent,) if source.of_agent else ()
        last = self._last()  # before the facets: what is written meanwhile may be in a block that they do not tell of
        fitting = self._fitting(source, wanted, kind)
        before = END
        for low, high in self.ranges(wanted, last):
            heap = [(-min(newest, high), facet) for facet, first, newest in fitting if first <= high and newest >= low]
            heapq.heapify(heap)
            found: dict[int, Iterator[int]] = {}
            while heap:
                newest, facet = heap[0]
                known = facet in found
                if not known:
                    found[facet] = self._pages(source.page(), (*agent, facet), low, -newest)
                following = next(found[facet], None)
                if following is None:
                    heapq.heappop(heap)
                else:
                    heapq.heapreplace(heap, (-following, facet))
                if known and -newest < before:  # an agent may have several events of one call
                    before = -newest
                    yield before

    def _fitting(self, source: _Source, wanted: Wanted, kind: str | None) -> list[tuple[int, int, int]]:
        """The facets that fit: number, from where on, and up to where their events may be."""
        asked, values = conditions(self._database, wanted, "f.", kind)
        agents = [wanted.agent] * 2 if source.of_agent else []
        query = f"{source.facets()} WHERE 1 = 1{asked} LIMIT ?"
        rows = self._database.execute(query, (*agents, *values, MAX_FACETS + 1)).fetchall()
        if len(rows) > MAX_FACETS or not all(type(value) is int for row in rows for value in row):
            raise LedgerError(
                f"{self._database.name} names more than {MAX_FACETS} combinations of line, outcome, language and "
                "version, or some that are none: it was not written by ivr-consent; see: ivr-consent log verify"
            )
        return rows

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

    def _last(self) -> int:
        row = self._one("SELECT sequence FROM events ORDER BY sequence DESC LIMIT 1")
        if row is None:
            return -1
        return row[0] if type(row[0]) is int else END

    def ranges(self, wanted: Wanted, last: int | None = None) -> Iterator[tuple[int, int]]:
        """Ranges of sequences, the newest first, in which everything lies that is wanted by its time.

        ``last``: the newest event that counts; by default the newest there is.
        """
        last = self._last() if last is None else last
        if wanted.since is None and wanted.until is None:
            yield 0, last
            return
        query = "SELECT sequence FROM clock_steps ORDER BY sequence DESC LIMIT ?"
        steps = [step for (step,) in self._database.execute(query, (MAX_CLOCK_STEPS + 1,))]
        if len(steps) > MAX_CLOCK_STEPS:
            yield 0, last
            return
        high = last
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


def conditions(database: Database, wanted: Wanted, prefix: str, kind: str | None = None) -> tuple[str, list[Any]]:
    """What is asked of a table with the columns of facets, as the end of a statement, and its values."""
    where, values = "", []
    for name, value in (
        ("kind", kind),
        ("line", wanted.line),
        ("outcome", wanted.outcome),
        ("language", wanted.language),
        ("notice", wanted.notice),
        ("version", wanted.version),
    ):
        if value is not None:
            where += f" AND {prefix}{name} = ?"
            values.append(value)
    if wanted.purpose is not None:
        rows = database.execute("SELECT DISTINCT purposes FROM facets LIMIT ?", (MAX_PURPOSES,))
        found = [purposes for (purposes,) in rows if wanted.purpose in str(purposes).split()]
        where += f" AND {prefix}purposes IN ({', '.join('?' * len(found))})" if found else " AND 1 = 0"
        values += found
    return where, values
