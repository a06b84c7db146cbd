"""Several logs read as one: the chains of all servers in one database, or logs of several files.

Each chain stays what it is, with numbers and proofs of its own; what is merged are the answers to questions. Every
event in an answer says whose it is (:attr:`~ivr_consent.store.records.LoggedEvent.server`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final, TypeAlias, TypeVar

from ivr_consent.core.errors import ConsentError, LedgerError, LedgerUnreadable
from ivr_consent.store.address import SCHEMA_PREFIX
from ivr_consent.store.counting import OF_TIME, Tally
from ivr_consent.store.place import Place, open_database
from ivr_consent.store.reader import LedgerReader
from ivr_consent.store.records import AskedCall, CallRecord, LoggedEvent, Seal
from ivr_consent.store.search import EVERYTHING, Wanted

MAX_CHAINS: Final = 500
"""Chains that are read at once: each has a connection."""

T = TypeVar("T")


def places(place: Place, server: str | None = None) -> list[Place]:
    """Every chain of the database that ``place`` is in, or that of one server, by the names of their servers.

    Of an SQLite file: itself. Raises :class:`LedgerError`, and :class:`ConsentError` for a server that has no log.
    """
    if place.url is None:
        if server is not None:
            raise ConsentError("the log is one file, and of one server; leave --server away")
        return [place]
    found = [_of_server(place, name) for name in _servers(place)]
    if server is None:
        return found
    chosen = [one for one in found if one.server == server]
    if not chosen:
        names = ", ".join(one.server for one in found) or "none"
        raise ConsentError(f"there is no log of a server {server!r} in the database; there are: {names}")
    return chosen


def _servers(place: Place) -> list[str]:
    """Whose logs are in the database. A schema of that name that is no log of ours is none."""
    with open_database(place) as database:
        rows = database.execute(
            "SELECT n.nspname FROM pg_catalog.pg_namespace AS n JOIN pg_catalog.pg_class AS c "
            "ON c.relnamespace = n.oid AND c.relname = 'ivr_consent_schema' "
            "WHERE starts_with(n.nspname, ?) ORDER BY n.nspname LIMIT ?",
            (SCHEMA_PREFIX, MAX_CHAINS + 1),
        ).fetchall()
    if len(rows) > MAX_CHAINS:
        raise LedgerError(f"there are more than {MAX_CHAINS} logs in the database; choose one: --server NAME")
    return [str(name).removeprefix(SCHEMA_PREFIX) for (name,) in rows]


def _of_server(place: Place, server: str) -> Place:
    if server == place.server:
        return place
    return replace(place, server=server, path=place.path.with_name(f"{server}.db"), key=None)


class MergedReader:
    """The questions of :class:`~ivr_consent.store.reader.LedgerReader` to several logs at once.

    What is said of one chain by its numbers is asked of its own reader, see :attr:`readers`.
    """

    def __init__(self, chosen: Sequence[Place], *, lenient: bool = False) -> None:
        self.readers: dict[str, LedgerReader] = {}
        """By the name of the server; of files, by their own."""
        with ExitStack() as opened:
            for place in chosen:
                try:
                    reader = opened.enter_context(LedgerReader(place, lenient=lenient))
                except LedgerUnreadable as error:
                    hint = "; or choose another one: --server NAME" if len(chosen) > 1 and place.url else ""
                    raise LedgerUnreadable(f"{error}{hint}") from None
                self.readers[place.server or str(place.path)] = reader
            self._opened = opened.pop_all()

    def __enter__(self) -> MergedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._opened.close()

    # --- calls -------------------------------------------------------------------------------------------------------

    def calls(self, wanted: Wanted = EVERYTHING, *, limit: int | None = 50) -> Iterator[CallRecord]:
        """Decisions, newest first, each with its later events; ``limit`` ``None``: all of them."""
        of_each = [
            _each(reader.calls(wanted, limit=limit), _call_of, server) for server, reader in self.readers.items()
        ]
        merged = heapq.merge(*of_each, key=lambda record: record.decision.time, reverse=True)
        return islice(merged, limit)

    def call(self, call_id: str) -> CallRecord | None:
        """The record of one call, by its id or a beginning of it that no other call of any server has."""
        holder = self.holder(call_id)
        record = self.readers[holder].call(call_id) if holder is not None else None
        return _call_of(record, holder) if record is not None and holder is not None else None

    def history(self, call_id: str) -> tuple[LoggedEvent, ...]:
        """All events of one call, oldest first."""
        holder = self.holder(call_id)
        return () if holder is None else tuple(_event_of(one, holder) for one in self.readers[holder].history(call_id))

    def holder(self, call_id: str) -> str | None:
        """The server that has the one call whose id begins so; ``None`` where there is none, or more than one."""
        found = [(server, name) for server, reader in self.readers.items() for name in reader.named(call_id)]
        return found[0][0] if len(found) == 1 else None

    def unfinished_grants(self) -> list[CallRecord]:
        """Granted calls with no closing event."""
        return self._records(lambda reader: reader.unfinished_grants())

    def expired_recordings(self, now: datetime) -> list[CallRecord]:
        """Calls whose recording has not been erased and ended longer ago than their decision's days."""
        return self._records(lambda reader: reader.expired_recordings(now))

    def undecided(self, before: datetime) -> list[AskedCall]:
        """Calls that began to be asked before then and have no decision."""
        found = [call for reader in self.readers.values() for call in reader.undecided(before)]
        return sorted(found, key=lambda call: call.time)

    def notice_versions(self) -> dict[str, set[int]]:
        """Every published version that a decision names, by line."""
        found: dict[str, set[int]] = {}
        for reader in self.readers.values():
            for line, versions in reader.notice_versions().items():
                found.setdefault(line, set()).update(versions)
        return found

    def tally(self, by: str, wanted: Wanted = EVERYTHING) -> list[Tally]:
        """How many decisions there were, by one of :data:`ivr_consent.store.counting.BY`, or by ``server``."""
        found: dict[str, Tally] = {}
        for server, reader in self.readers.items():
            for one in reader.tally("outcome" if by == "server" else by, wanted):
                label = server if by == "server" else one.label
                outcomes = found.setdefault(label, Tally(label)).outcomes
                for outcome, decisions in one.outcomes.items():
                    outcomes[outcome] = outcomes.get(outcome, 0) + decisions
        if by in OF_TIME:
            return sorted(found.values(), key=lambda tally: tally.label)
        return sorted(found.values(), key=lambda tally: (-tally.decisions, tally.label))

    # --- events ------------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """How many events the logs have had together."""
        return sum(reader.size() for reader in self.readers.values())

    def events(self, wanted: Wanted = EVERYTHING, *, limit: int | None = 50) -> Iterator[LoggedEvent]:
        """Events of every kind, newest first; ``limit`` ``None``: all of them."""
        of_each = [
            _each(reader.events(wanted, limit=limit), _event_of, server) for server, reader in self.readers.items()
        ]
        return islice(heapq.merge(*of_each, key=lambda event: event.time, reverse=True), limit)

    def seal_of(self, event: LoggedEvent) -> Seal | None:
        """By what an event is held in its own log."""
        return self.readers[event.server].seal(event.sequence) if event.server in self.readers else None

    def _records(self, ask: Callable[[LedgerReader], list[CallRecord]]) -> list[CallRecord]:
        found = [_call_of(record, server) for server, reader in self.readers.items() for record in ask(reader)]
        return sorted(found, key=lambda record: record.decision.time)


def _each(items: Iterator[T], of: Callable[[T, str], T], server: str) -> Iterator[T]:
    return (of(item, server) for item in items)


def _event_of(event: LoggedEvent, server: str) -> LoggedEvent:
    return replace(event, server=server)


def _call_of(record: CallRecord, server: str) -> CallRecord:
    return CallRecord(_event_of(record.decision, server), tuple(_event_of(event, server) for event in record.later))


Reader: TypeAlias = LedgerReader | MergedReader
"""What answers questions."""


def of_one_log(reader: Reader) -> LedgerReader:
    """The reader of one log, for what several cannot answer. Raises :class:`ConsentError`."""
    if isinstance(reader, LedgerReader):
        return reader
    if len(reader.readers) == 1:
        return next(iter(reader.readers.values()))
    raise ConsentError(f"each log has numbers of its own; choose one: --server {'|'.join(reader.readers)}")


def open_reader(place: Place, server: str | None = None, *, lenient: bool = False) -> Reader:
    """What answers questions: to all logs of a database, to that of one server, or to an SQLite file."""
    chosen = places(place, server)
    if place.url is None or server is not None:
        return LedgerReader(chosen[0], lenient=lenient)
    if not chosen:
        raise LedgerUnreadable(f"there is no log at {place.name}; it is created by the first: ivr-consent serve")
    return MergedReader(chosen, lenient=lenient)
