"""A chain on either database: recomputed, looked into, copied."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivr_consent.core.decision import CallContext, Decision, Outcome
from ivr_consent.store.place import Place, open_for_reading, open_for_writing
from ivr_consent.testing.plans import call_context
from tests.faults.evidence import Evidence

TABLES = (
    "log", "events", "personal", "pruned", "nodes", "checkpoints", "anchors", "decisions", "facets", "facet_events",
    "clock_steps", "recordings", "asked", "counts",
)  # fmt: skip  # rows that belong together


def decision(outcome: Outcome = Outcome.GRANTED, call: CallContext | None = None) -> Decision:
    """A decision of a call, by default of one more call."""
    call = call or call_context()
    granted = outcome is Outcome.GRANTED
    reason, route = ("yes_key", "recorded") if granted else ("no_key", "unrecorded")
    purposes, recording = (("training",), call.call_id) if granted else ((), None)
    return Decision(call, outcome, reason, route, None, (), purposes, 30, 0, ("en",), recording_id=recording)


@dataclass(slots=True)
class ChainEvidence(Evidence):
    """The same checks of a chain in PostgreSQL."""

    place: Place = field(default_factory=lambda: Place(Path()))

    def _opened(self) -> Any:
        return open_for_reading(self.place)

    def _intact(self, database: Any) -> None:
        """The server checks its pages itself."""


def evidence_of(place: Place) -> Evidence:
    """Nothing recomputed yet."""
    return Evidence(place.path) if place.url is None else ChainEvidence(place.path, place=place)


def check(place: Place) -> Evidence:
    """Recompute a whole chain."""
    evidence = evidence_of(place)
    evidence.go_on()
    return evidence


def rows(place: Place) -> list[tuple[Any, ...]]:
    """All events but the first, ``log_created``."""
    with closing(open_for_reading(place)) as database:
        query = "SELECT sequence, kind, call_id, outcome FROM events WHERE sequence > 1 ORDER BY sequence"
        return database.execute(query).fetchall()


def kinds(place: Place) -> list[str]:
    """Of all events but the first."""
    return [kind for _, kind, _, _ in rows(place)]


def copy(source: Place, target: Place) -> None:
    """The log of one place, row by row, as that of another one in PostgreSQL."""
    open_for_writing(target).close()
    with closing(open_for_reading(source)) as old, closing(open_for_writing(target)) as new:
        new.begin()
        new.execute("SET LOCAL session_replication_role = replica")  # what is append-only is so by triggers
        for table in TABLES:
            new.execute(f"DELETE FROM {table}")  # noqa: S608 - fixed names
            for row in old.execute(f"SELECT * FROM {table}"):  # noqa: S608 - our own tables
                new.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - our own tables
        new.commit()
