"""Sums of decisions against a count of every event, with whole days and with parts of them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, suppress
from datetime import date
from typing import Any

import pytest

from ivr_consent.core.errors import LedgerError
from ivr_consent.store.chain import Chain, utc_text
from ivr_consent.store.counting import BY, OF_TIME
from ivr_consent.store.place import Place, open_for_writing
from ivr_consent.store.reader import LedgerReader, LoggedEvent
from ivr_consent.store.search import Wanted
from tests.store.written import MIDNIGHT, Written, append, entry, written_log

SPANS: tuple[dict[str, Any], ...] = (
    {},
    {"since": "2026-03-01T00:00:00.000+00:00"},
    {"since": "2026-03-01T03:30:00.000+00:00"},
    {"until": "2026-03-01T00:00:00.000+00:00"},
    {"until": "2026-03-01T03:30:00.000+00:00"},
    {"since": "2026-02-28T15:00:00.000+00:00", "until": "2026-03-01T20:30:00.000+00:00"},
    {"since": "2026-03-01T03:00:00.000+00:00", "until": "2026-03-01T12:00:00.000+00:00"},
    {"since": "2026-03-01T00:00:00.000+00:00", "until": "2026-03-02T00:00:00.000+00:00"},
    {"since": "2026-03-01T12:00:00.000+00:00", "until": "2026-03-01T03:00:00.000+00:00"},
    {"since": "2999-01-01T00:00:00.000+00:00"},
)
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"line": "support"},
    {"outcome": "granted", "language": "da"},
    {"version": 2},
    {"notice": "none"},
    {"purpose": "quality"},
    {"purpose": "qual%"},
    {"agent": "anna"},
    {"agent": "anna", "line": "claims"},
    {"agent": "nobody"},
)


def label(event: LoggedEvent, by: str) -> str:
    """What a decision counts for."""
    notice = event.payload.get("notice") or {}
    day = event.time[:10]
    year, week, _ = date.fromisoformat(day).isocalendar()
    labels: dict[str, str] = {
        "day": day,
        "week": f"{year:04}-W{week:02}",
        "month": day[:7],
        "line": event.line or "",
        "outcome": event.outcome or "",
        "language": notice.get("language", "none"),
        "notice": notice.get("id", "none"),
        "version": f"{event.line} {notice.get('version', 'none')}",
    }
    return labels[by]


@pytest.fixture
def written(place: Place) -> Written:
    return written_log(place)


def test_every_sum_is_what_a_count_gives(written: Written) -> None:
    filters = FILTERS if written.place.url is None else FILTERS[-2:]
    with LedgerReader(written.place) as reader:
        for span in SPANS:
            for asked in filters:
                wanted = Wanted(**span, **asked)
                decisions = [record.decision for record in reader.calls(wanted, limit=None)]
                for by in BY:
                    counted = Counter((label(event, by), event.outcome) for event in decisions)
                    found = reader.tally(by, wanted)
                    summed = {(tally.label, outcome): n for tally in found for outcome, n in tally.outcomes.items()}
                    assert summed == counted, (by, wanted)
                    assert sum(tally.decisions for tally in found) == len(decisions)


def test_the_order_is_that_of_time_or_of_frequency(written: Written) -> None:
    with LedgerReader(written.place) as reader:
        for by in BY:
            found = reader.tally(by)
            keys = [tally.label if by in OF_TIME else (-tally.decisions, tally.label) for tally in found]
            assert keys == sorted(keys)
            assert len(keys) > (by != "week")


def test_what_was_given_up_is_not_counted(place: Place) -> None:
    """A second decision of a call counts for nothing, and neither does one whose commit failed."""
    decided = entry("decision", "1" * 32, "support", {"outcome": "granted"})
    with closing(open_for_writing(place)) as database:
        chain = Chain(database)
        database.begin()
        chain.load()
        assert chain.append(entry("decision", "2" * 32, "sales", {"outcome": "failed"}), utc_text(MIDNIGHT))
        database.rollback()
        for _ in range(2):  # the same writer goes on
            database.begin()
            chain.load()
            chain.append(decided, utc_text(MIDNIGHT))
            chain.append(entry("decision", "2" * 32, "sales", {"outcome": "failed"}), utc_text(MIDNIGHT))
            chain.save()
            database.commit()
    with LedgerReader(place) as reader:
        assert [(tally.label, tally.decisions) for tally in reader.tally("outcome")] == [("failed", 1), ("granted", 1)]
        assert [record.call_id[0] for record in reader.calls(Wanted(line="sales"))] == ["2"]


@pytest.mark.parametrize("value", ["many", 1.5, b"\xff", -(2**63)])
def test_sums_that_somebody_else_wrote(sqlite_place: Place, value: object) -> None:
    append(sqlite_place, [entry("decision", "1" * 32, "support", {"outcome": "granted"})] * 2)
    with closing(sqlite3.connect(sqlite_place.path)) as connection:
        for column in ("decisions", "day", "line"):
            connection.execute(f"UPDATE counts SET {column} = ?", (value,))  # noqa: S608 - columns of the test
            connection.commit()
            with LedgerReader(sqlite_place) as reader:
                for by in BY:
                    with suppress(LedgerError):
                        assert all(isinstance(tally.label, str) for tally in reader.tally(by))
                        assert column != "decisions" or isinstance(value, int)
