"""How many decisions there were, by day, line, outcome, language or version: from sums kept as the log is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from ivr_consent.core.errors import LedgerError
from ivr_consent.store.database import Database
from ivr_consent.store.search import Wanted

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
        yield from _of_agent(database, wanted, by)
        return
    since, until = wanted.since, wanted.until
    first = _day_from(since) if since is not None else ""
    last = until[:_DAY] if until is not None else "9"
    if first > last:  # within one day
        yield from _one_by_one(database, wanted, by, since, until)
        return
    if since is not None and not since.endswith(_MIDNIGHT):
        yield from _one_by_one(database, wanted, by, since, first + _MIDNIGHT)
    columns = _GROUPED.get(by, by)
    conditions, values = _conditions(wanted, "")
    query = (
        f"SELECT {columns}, outcome, sum(decisions) FROM counts WHERE day >= ? AND day < ? {conditions} "  # noqa: S608 - fixed columns, bound values
        f"GROUP BY {_distinct(columns)} LIMIT ?"
    )
    yield from _rows(database, query, (first, last, *values))
    if until is not None and not until.endswith(_MIDNIGHT):
        yield from _one_by_one(database, wanted, by, last + _MIDNIGHT, until)


def _day_from(since: str) -> str:
    """The first whole day of what begins at a time."""
    day = since[:_DAY]
    if since.endswith(_MIDNIGHT):
        return day
    return (datetime.fromisoformat(since) + timedelta(days=1)).isoformat()[:_DAY]


def _one_by_one(
    database: Database, wanted: Wanted, by: str, since: str | None, until: str | None
) -> Iterator[tuple[Any, ...]]:
    yield from _counted(database, wanted, by, "decisions AS d", "d.time >= ? AND d.time < ?", (since, until))


def _of_agent(database: Database, wanted: Wanted, by: str) -> Iterator[tuple[Any, ...]]:
    tables = (
        "(SELECT DISTINCT decision FROM personal WHERE agent = ? AND decision IS NOT NULL) AS p "
        "JOIN decisions AS d ON d.sequence = p.decision"
    )
    span = "d.time >= ? AND d.time < ?"
    yield from _counted(database, wanted, by, tables, span, (wanted.agent, wanted.since or "", wanted.until or "9"))


def _counted(
    database: Database, wanted: Wanted, by: str, tables: str, span: str, values: tuple[Any, ...]
) -> Iterator[tuple[Any, ...]]:
    columns = ", ".join(
        "substr(d.time, 1, 10)" if name == "day" else f"f.{name}" for name in _GROUPED.get(by, by).split(", ")
    )
    conditions, more = _conditions(wanted, "f.")
    query = (
        f"SELECT {columns}, f.outcome, count(*) FROM {tables} JOIN facets AS f ON f.facet = d.facet "  # noqa: S608 - fixed columns, bound values
        f"WHERE {span} {conditions} GROUP BY {_distinct(columns, 'f.')} LIMIT ?"
    )
    yield from _rows(database, query, (*values, *more))


def _distinct(columns: str, prefix: str = "") -> str:
    """What to group by: the columns, and the outcome where it is not one of them."""
    return columns if columns == f"{prefix}outcome" else f"{columns}, {prefix}outcome"


def _conditions(wanted: Wanted, prefix: str) -> tuple[str, list[Any]]:
    where, values = [], []
    for name in ("line", "outcome", "language", "notice", "version"):
        if (value := getattr(wanted, name)) is not None:
            where.append(f"AND {prefix}{name} = ?")
            values.append(value)
    if wanted.purpose is not None:
        escaped = "".join(f"\\{character}" if character in "%_\\" else character for character in wanted.purpose)
        where.append(f"AND {prefix}purposes LIKE ? ESCAPE '\\'")
        values.append(f"% {escaped} %")
    return " ".join(where), values


def _rows(database: Database, query: str, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for count, row in enumerate(database.execute(query, (*values, MAX_GROUPS + 1))):
        if count == MAX_GROUPS or not isinstance(row[-1], int):
            raise LedgerError(
                f"the sums in {database.name} were not written by ivr-consent; see: ivr-consent log verify"
            )
        yield row
