"""Rows on their way into tables: written many at a time, so that the writer's thread seldom leaves Python.

Each statement that runs lets other threads have Python meanwhile, and costs more than what it does: one for sixty rows
is several times as fast as sixty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

from ivr_consent.store.database import Database

MOST: Final = 64
"""Rows of one statement; powers of two, so that few statements are prepared."""

ONCE: Final = frozenset({"asked"})
"""Tables in which a row that is there already stays as it is."""

Row = tuple[Any, ...]


class Rows:
    """Rows that wait, table by table."""

    def __init__(self, database: Database) -> None:
        self._execute: Callable[[str, Sequence[Any]], Any] = database.execute
        # A database server is sent statements without waiting for each: there is nothing to be gained.
        self._most = MOST if database.kind == "sqlite" else 1
        self._waiting: dict[str, list[Row]] = {}

    def of(self, table: str) -> list[Row]:
        """The rows that wait for a table: append to it."""
        return self._waiting.setdefault(table, [])

    def clear(self) -> None:
        """Forget those of a transaction that was given up."""
        for rows in self._waiting.values():
            rows.clear()

    def write(self) -> None:
        """Write them all. Raises what the database raises."""
        for table, rows in self._waiting.items():
            at = 0
            while at < len(rows):
                count = min(self._most, 1 << (len(rows) - at).bit_length() - 1)
                values = list(chain.from_iterable(rows[at : at + count]))
                self._execute(_insert(table, len(rows[at]), count), values)
                at += count
            rows.clear()


@cache
def _insert(table: str, columns: int, count: int) -> str:
    row = f"({', '.join('?' * columns)})"
    ignored = " ON CONFLICT DO NOTHING" if table in ONCE else ""
    return f"INSERT INTO {table} VALUES {', '.join([row] * count)}{ignored}"  # noqa: S608 - a table's name


def parts(values: Sequence[Any]) -> list[Sequence[Any]]:
    """As many at a time as one statement takes, in powers of two."""
    found, at = [], 0
    while at < len(values):
        count = min(MOST, 1 << (len(values) - at).bit_length() - 1)
        found.append(values[at : at + count])
        at += count
    return found


@cache
def marks(count: int) -> str:
    """So many question marks."""
    return ", ".join("?" * count)
