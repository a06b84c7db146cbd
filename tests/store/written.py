"""A log of which everything that went in is known beside it, and other people's rows."""

from __future__ import annotations

import random
import secrets
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ivr_consent.core.decision import canonical
from ivr_consent.store.chain import Chain, DecisionIndex, Entry, decision_index, utc_text
from ivr_consent.store.database import Database
from ivr_consent.store.personal import split
from ivr_consent.store.place import Place, open_for_writing
from ivr_consent.store.reader import LedgerReader, LoggedEvent

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
LINES, LANGUAGES, AGENTS = ("support", "sales", "claims"), ("en", "da"), ("anna", "bo", None)
PURPOSES = (["training"], ["quality"], ["quality", "training"])
CALLS = 60


@dataclass(frozen=True)
class Written:
    """What went into a log, beside the log itself."""

    place: Place
    events: list[LoggedEvent]

    def of_call(self, call_id: str | None) -> list[LoggedEvent]:
        return [event for event in self.events if event.call_id == call_id]


def append(place: Place | Path, entries: Iterable[Entry], time: str | datetime = MIDNIGHT) -> list[int]:
    """Add events to a log in one transaction, as the ledger does; their sequences."""
    with closing(open_for_writing(place if isinstance(place, Place) else Place(place))) as database:
        return committed(database, entries, time if isinstance(time, str) else utc_text(time))


def committed(database: Database, entries: Iterable[Entry], time: str) -> list[int]:
    """Add events in one transaction; their sequences."""
    database.begin()
    chain = Chain(database)
    chain.load()
    found = [chain.append(entry, time) for entry in entries]
    chain.save()
    database.commit()
    return found


def entry(kind: str, call_id: str | None, line: str | None, payload: dict[str, Any]) -> Entry:
    """One event, as the ledger makes it of a payload."""
    public, personal = split(payload)
    decided = kind == "decision"
    outcome, index = (payload.get("outcome"), decision_index(payload)) if decided else (None, None)
    return Entry(kind, call_id, line, outcome, canonical(public), personal, index)


def raw(payload: bytes, call_id: str = "a" * 32, line: str = "support", outcome: str = "failed") -> Entry:
    """A decision with a payload that nobody looked at."""
    return Entry("decision", call_id, line, outcome, payload, None, DecisionIndex(None, None, None, 0, None))


def overwrite(path: Path, assignments: str, values: Iterable[Any], sequence: int) -> None:
    """Change an event as somebody does who may write the file: triggers and constraints are gone then."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.text_factory = bytes
        names = [
            name.decode() for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        ]
        for name in names:
            connection.execute(f"DROP TRIGGER {name}")
        columns = "sequence INTEGER PRIMARY KEY, time, kind, call_id, line, outcome, payload, commitment, previous"
        connection.execute(f"CREATE TABLE copied ({columns})")
        connection.execute("INSERT INTO copied SELECT * FROM events")
        connection.execute("DROP TABLE events")
        connection.execute("ALTER TABLE copied RENAME TO events")
        connection.execute(f"UPDATE events SET {assignments} WHERE sequence = ?", (*values, sequence))  # noqa: S608 - of the tests


def prune(place: Place, sequences: Iterable[int]) -> None:
    """Take events out, as retention does."""
    with closing(open_for_writing(place)) as database:
        database.begin()
        for sequence in sequences:
            database.execute("INSERT INTO pruned VALUES (?, ?)", (sequence, bytes(32)))
            database.execute("DELETE FROM events WHERE sequence = ?", (sequence,))
        database.commit()


def written_log(place: Place) -> Written:
    """Calls of three days, some with an agent, and a clock that is set back twice."""
    with closing(open_for_writing(place)) as database:
        _fill(database)
    with LedgerReader(place) as reader:
        return Written(place, sorted(reader.events(limit=None), key=lambda event: event.sequence))


def _fill(database: Database) -> None:
    rng = random.Random(4)  # noqa: S311 - the same log each time
    now = MIDNIGHT - timedelta(hours=12)
    for number in range(CALLS):
        if number in (CALLS // 3, CALLS * 3 // 4):
            now -= timedelta(hours=2 if number == CALLS // 3 else 10)
        now += timedelta(minutes=rng.randrange(60))
        call_id, line = secrets.token_hex(16), rng.choice(LINES)
        outcome = rng.choice(("granted", "declined", "no_answer"))
        if number == 0:
            outcome, line = "failed", "claims"  # the oldest is the only one of its kind
        notice = {"id": "recording", "version": rng.randrange(1, 4), "language": rng.choice(LANGUAGES)}
        payload: dict[str, Any] = {"outcome": outcome, "notice": notice if outcome != "failed" else None}
        payload["call"] = {"subject_ref": secrets.token_hex(4)}
        payload["purposes_granted"] = rng.choice(PURPOSES) if outcome == "granted" else []
        payload["reference_ref"] = f"ref{number % (CALLS // 2)}"
        entries = [entry("asked", call_id, line, {}), entry("decision", call_id, line, payload)]
        if outcome == "granted":
            agent = rng.choice(AGENTS)
            entries += [
                entry(kind, call_id, line, {"agent": agent} if agent else {}) for kind in ("routed", "recording_ended")
            ]
        if number % 15 == 0:
            entries.append(entry("server_started", None, None, {}))
        committed(database, entries, utc_text(now))
