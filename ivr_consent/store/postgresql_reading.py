"""A chain in PostgreSQL that is read, perhaps while it is written."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import psycopg

from ivr_consent.store.address import APPLICATION, Address
from ivr_consent.store.database import Cursor
from ivr_consent.store.postgresql import numbered, version_of
from ivr_consent.store.postgresql_link import Link, connect

CHUNK: Final = 500
"""Rows of an answer that are fetched at once; the first ones are there before the server has found the last."""

MAX_LINKS: Final = 8
"""Connections of one reader: a further one is made only for a question amid the answer to another."""

_SHORT: Final = re.compile(r"(\bLIMIT (\?|\d+)|\bsequence = \?|\bsequence IN \([?, ]+\) ORDER BY [a-z. ]+( DESC)?)$")
"""How questions end whose answers are short: they are fetched at once, and the server keeps a plan for what is asked
often, which is most of the work."""

_ONE_STATE: Final = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresqlReading:
    """Asks. An answer is fetched as it is looked at, so a long one costs no memory. Raises :class:`psycopg.Error`."""

    kind = "postgresql"
    errors: type[Exception] = psycopg.Error

    def __init__(self, address: Address) -> None:
        self.address, self.name = address, address.name
        self._free: list[Link] = []
        self._links: list[Link] = []
        self._snapshot: str | None = None
        self._release(self._take())
        self._table = self._log_table()

    def _take(self) -> Link:
        if self._free:
            return self._free.pop()
        if len(self._links) >= MAX_LINKS:
            raise psycopg.OperationalError(f"more than {MAX_LINKS} answers of the log are being read at once")
        link = connect(self.address, f"{APPLICATION} reader", writes=False)
        self._links.append(link)
        if self._snapshot is not None:
            link.execute(_ONE_STATE)
            link.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'".encode())
        return link

    def _release(self, link: Link) -> None:
        if link.lost:
            link.close()
            self._links = [other for other in self._links if other is not link]
        else:
            self._free.append(link)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Cursor:
        """Ask; the first rows of the answer are there when this returns."""
        if not _SHORT.search(statement):
            return _Answer(self._rows(statement, values))
        link = self._take()
        try:
            return link.cursor().execute(numbered(statement), values)
        finally:
            self._release(link)

    def _rows(self, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        link = self._take()
        try:
            size = CHUNK if psycopg.capabilities.has_stream_chunked() else 1
            with contextlib.closing(link.cursor().stream(numbered(statement), values, size=size)) as rows:  # type: ignore[type-var]  # it is a generator
                yield from rows
        finally:
            self._release(link)

    def version(self) -> int:
        """Number of the last migration. Raises :class:`LedgerUnreadable` for a schema that is not ours."""
        return version_of(self, self.address)

    def begin(self) -> None:
        raise _only_read()

    def commit(self) -> None:
        raise _only_read()

    def rollback(self) -> None:
        """There is nothing to give up."""

    def set_version(self, number: int) -> None:
        raise _only_read()

    def run(self, migration: str) -> None:
        raise _only_read()

    def forget_erased(self) -> bool:
        raise _only_read()

    def freeze(self) -> None:
        """Answer from one state of the log from now on, on every connection."""
        link = self._take()
        link.execute(_ONE_STATE)
        (self._snapshot,) = link.execute(b"SELECT pg_export_snapshot()").fetchone() or (None,)
        self._release(link)

    def settle(self, *, failed: bool) -> None:
        raise _only_read()

    def in_place(self) -> bool:
        """Whether it is still the same tables: a copy that was restored has others."""
        return self._log_table() == self._table

    def _log_table(self) -> object:
        return self.execute("SELECT to_regclass('log')::oid").fetchone()

    def alive(self) -> bool:
        return True

    def must_reopen(self, error: Exception) -> bool:
        return False

    def close(self) -> None:
        """Close the connections."""
        for link in self._links:
            link.close()
        self._links, self._free = [], []


def _only_read() -> psycopg.ProgrammingError:
    return psycopg.ProgrammingError("opened for reading")


class _Answer:
    """The rows of an answer: the first ones here, the rest still coming."""

    __slots__ = ("_first", "_rest")

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._first: deque[tuple[Any, ...]] = deque(islice(rows, CHUNK))
        self._rest = rows  # ended already where there were fewer: its connection is free again

    @property
    def rowcount(self) -> int:
        raise _only_read()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while (row := self.fetchone()) is not None:
            yield row

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._first.popleft() if self._first else next(self._rest, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self)
