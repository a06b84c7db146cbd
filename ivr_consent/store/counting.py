"""How many decisions there were, by day, line, outcome, language or version: from sums kept as the log is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Final

from ivr_consent.core.errors import LedgerError
from ivr_consent.store.database import Database
from ivr_consent.store.search import END, Search, Wanted, conditions

BY: Final = ("day", "week", "month", "line", "outcome", "language", "notice", "version")
"""What decisions are counted by. Versions count by line: each line's notice has versions of its own."""

OF_TIME: Final = frozenset({"day", "week", "month"})

MAX_GROUPS: Final = 200_000
"""Rows of sums that are looked at; ten years of days, with the six outcomes of each, are a tenth of it."""

_GROUPED: Final = {"day": "day", "week": "day", "month": "day", "version": "line, version"}
_MIDNIGHT: Final = "T00:00:00.000+00:00"
_DAY: Final = len("2026-01-31")


@dataclass(slots=True)
class Tally:
    """Decisions with one label, by outcome."""

    label: str
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def decisions(self) -> int:
        """All of them."""
        return sum(self.outcomes.values())


def tally(database: Database, wanted: Wanted, by: str) -> list[Tally]:
    """Count decisions: by time, the oldest first; else the most frequent first. Raises :class:`LedgerError`.

    Whole days come from sums, which hold pruned decisions too; the parts of days at both ends of a span, and an
    agent's calls, are counted one by one.
    """
    found: dict[str, Tally] = {}
    for *key, outcome, decisions in _sums(database, wanted, by):
        label = _label(by, [str(part) for part in key])
        outcomes = found.setdefault(label, Tally(label)).outcomes
        outcomes[str(outcome)] = outcomes.get(str(outcome), 0) + int(decisions)
    if by in OF_TIME:
        return sorted(found.values(), key=lambda tally: tally.label)
    return sorted(found.values(), key=lambda tally: (-tally.decisions, tally.label))


def _label(by: str, key: list[str]) -> str:
    if by == "month":
        return key[0][:7]
    if by == "week":
        try:
            year, week, _ = date.fromisoformat(key[0]).isocalendar()
        except ValueError:
            return key[0]
        return f"{year:04}-W{week:02}"
    if by == "version":
        return f"{key[0]} {key[1]}" if key[1] != "0" else f"{key[0]} none"
    return key[0] or "none"


def _sums(database: Database, wanted: Wanted, by: str) -> Iterator[tuple[Any, ...]]:
    if wanted.agent is not None:
        tables = (
            "(SELECT DISTINCT decision FROM personal WHERE agent = ? AND decision IS NOT NULL) AS p "
            "JOIN decisions AS d ON d.sequence = p.decision"
        )
        yield from _one_by_one(database, wanted, by, tables, (wanted.agent,))
        return
    since, until = wanted.since, wanted.until
    first = _day_from(since) if since is not None else ""
    last = until[:_DAY] if until is not None else "9"
    if first > last:
        yield from _part_of_day(database, wanted, by)
        return
    if since is not None and not since.endswith(_MIDNIGHT):
        yield from _part_of_day(database, replace(wanted, until=first + _MIDNIGHT), by)
    columns = _GROUPED.get(by, by)
    asked, values = conditions(database, wanted, "")
    query = (
        f"SELECT {columns}, outcome, sum(decisions) FROM counts WHERE day >= ? AND day < ?{asked} "  # noqa: S608 - fixed columns, bound values
        f"GROUP BY {_distinct(columns)} LIMIT ?"
    )
    yield from _rows(database, query, (first, last, *values))
    if until is not None and not until.endswith(_MIDNIGHT):
        yield from _part_of_day(database, replace(wanted, since=last + _MIDNIGHT), by)


def _day_from(since: str) -> str:
    """The first whole day of what begins at a time."""
    day = since[:_DAY]
    if since.endswith(_MIDNIGHT):
        return day
    return (datetime.fromisoformat(since) + timedelta(days=1)).isoformat()[:_DAY]


def _part_of_day(database: Database, wanted: Wanted, by: str) -> Iterator[tuple[Any, ...]]:
    for low, high in Search(database).ranges(wanted):
        yield from _one_by_one(database, wanted, by, "decisions AS d", (), low, high)


def _one_by_one(
    database: Database,
    wanted: Wanted,
    by: str,
    tables: str,
    values: tuple[Any, ...],
    low: int = 0,
    high: int = END,
) -> Iterator[tuple[Any, ...]]:
    columns = ", ".join(
        "substr(d.time, 1, 10)" if name == "day" else f"f.{name}" for name in _GROUPED.get(by, by).split(", ")
    )
    asked, more = conditions(database, wanted, "f.")
    query = (
        f"SELECT {columns}, f.outcome, count(*) FROM {tables} JOIN facets AS f ON f.facet = d.facet "  # noqa: S608 - fixed columns, bound values
        f"WHERE d.sequence >= ? AND d.sequence <= ? AND d.time >= ? AND d.time < ?{asked} "
        f"GROUP BY {_distinct(columns, 'f.')} LIMIT ?"
    )
    span = (low, high, wanted.since or "", wanted.until or "9")
    yield from _rows(database, query, (*values, *span, *more))


def _distinct(columns: str, prefix: str = "") -> str:
    """What to group by: the columns, and the outcome where it is not one of them."""
    return columns if columns == f"{prefix}outcome" else f"{columns}, {prefix}outcome"


def _rows(database: Database, query: str, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for count, row in enumerate(database.execute(query, (*values, MAX_GROUPS + 1))):
        if count == MAX_GROUPS or not isinstance(row[-1], int):
            raise LedgerError(
                f"the sums in {database.name} were not written by ivr-consent; see: ivr-consent log verify"
            )
        yield row
