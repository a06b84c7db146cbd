"""Questions to a log: every filter against a look at every event, other people's rows, and what a reader may not do."""

from __future__ import annotations

import itertools
import json
import random
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.decision import CallContext, Decision, Outcome, canonical
from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.store import search as search_module
from ivr_consent.store.chain import Chain, Entry, decision_index, utc_text
from ivr_consent.store.database import MAX_VALUE_BYTES
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.personal import split
from ivr_consent.store.place import Place, open_for_writing
from ivr_consent.store.reader import PAGE, CallRecord, LedgerReader, LoggedEvent
from ivr_consent.store.rows import MAX_DEPTH
from ivr_consent.store.search import EVERYTHING, Wanted
from ivr_consent.testing.plans import call_context

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


def decision(outcome: Outcome = Outcome.GRANTED, call: CallContext | None = None) -> Decision:
    context = call or call_context()
    granted = outcome is Outcome.GRANTED
    reason, route = ("yes_key", "recorded") if granted else ("no_key", "unrecorded")
    purposes, recording = (("training",), context.call_id) if granted else ((), None)
    return Decision(context, outcome, reason, route, None, (), purposes, 30, 0, ("en",), recording_id=recording)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    log = Ledger(path)
    yield log
    log.close()


@pytest.fixture
def filled(path: Path) -> Iterator[Path]:
    """Six calls, an hour apart: two lines, three outcomes."""
    now = [MIDNIGHT]
    log = Ledger(path, clock=lambda: now[0])
    outcomes = [Outcome.GRANTED, Outcome.DECLINED, Outcome.NO_ANSWER] * 2
    for number, outcome in enumerate(outcomes):
        line = "support" if number < 3 else "sales"
        log.decide_now(decision(outcome, call_context(f"{number:x}" * 32, line=line)))
        now[0] += timedelta(hours=1)
    log.note_now("0" * 32, "support", "recording_confirmed", {"handle": "0x1"})
    log.note_now("0" * 32, "support", "withdrawn", {"route": "unrecorded"})
    yield path
    log.close()


@pytest.mark.parametrize(
    ("wanted", "limit", "found"),
    [
        (EVERYTHING, 50, "543210"),
        (EVERYTHING, None, "543210"),
        (EVERYTHING, 2, "54"),
        (EVERYTHING, 0, ""),
        (Wanted(line="sales"), 50, "543"),
        (Wanted(outcome="granted"), 50, "30"),
        (Wanted(outcome="granted"), 1, "3"),
        (Wanted(line="support", outcome="declined"), 50, "1"),
        (Wanted(purpose="training"), 50, "30"),
        (Wanted(purpose="train"), 50, ""),
        (Wanted(since="2026-03-01T04:00:00"), 50, "54"),
        (Wanted(until="2026-03-01T04:00:00"), 50, "3210"),
        (Wanted(since="2026-03-01"), 50, "543210"),
        (Wanted(since="2026-03-02"), 50, ""),
        (Wanted(line="x' OR '1'='1"), 50, ""),
    ],
)
def test_reading_with_filters(filled: Path, wanted: Wanted, limit: int | None, found: str) -> None:
    with LedgerReader(filled) as reader:
        assert "".join(record.call_id[0] for record in reader.calls(wanted, limit=limit)) == found


def test_what_followed_a_decision(filled: Path) -> None:
    """R13: the route is where the call went in the end."""
    with LedgerReader(filled) as reader:
        record = reader.call("0")
        assert record is not None
        assert [event.kind for event in record.later] == ["recording_confirmed", "withdrawn"]
        assert (record.route, record.recording) == ("unrecorded", "withdrawn")
        assert [open_.call_id[0] for open_ in reader.unfinished_grants()] == ["3"]


@pytest.mark.parametrize("call_id", ["", "f", "g", "%", "0' --", "0" * 33, "É"])
def test_a_call_that_is_not_there(filled: Path, call_id: str) -> None:
    with LedgerReader(filled) as reader:
        assert reader.call(call_id) is None
        assert reader.history(call_id) == ()


def test_an_ambiguous_beginning_is_no_answer(ledger: Ledger) -> None:
    for last in "ab":
        ledger.decide_now(decision(call=call_context("0" * 31 + last)))
    with ledger.reader() as reader:
        assert reader.call("0") is None
        assert reader.history("0") == ()
        assert reader.call("0" * 31 + "a") is not None
        assert [event.kind for event in reader.history("0" * 31 + "a")] == ["decision"]


def test_a_reader_cannot_write(filled: Path) -> None:
    with LedgerReader(filled) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._database.execute("INSERT INTO checkpoints VALUES (99, '', '')")


def test_a_reader_sees_what_is_written_meanwhile(ledger: Ledger) -> None:
    with ledger.reader() as reader:
        assert list(reader.calls()) == []
        made = replace(decision(), reason="yes_key")
        ledger.decide_now(made)
        assert [record.call_id for record in reader.calls()] == [made.call.call_id]


# --- every filter against a look at every event ---------------------------------------------------------------------

LINES, LANGUAGES, AGENTS = ("support", "sales", "claims"), ("en", "da"), ("anna", "bo", None)
PURPOSES = (["training"], ["quality"], ["quality", "training"])
WANTED: dict[str, tuple[Any, ...]] = {
    "line": ("support", "claims", "none"),
    "outcome": ("granted", "declined", "failed"),
    "language": ("en", "da", "xx"),
    "notice": ("recording", "none"),
    "version": (1, 3, 9),
    "purpose": ("training", "quality", "none"),
    "agent": ("anna", "nobody"),
    "references": (("ref3",), ("ref3", "ref20"), ("none",)),
    "kind": ("decision", "asked", "recording_ended", "server_started", "none"),
    "since": ("2026-03-01T00:04:00.000+00:00", "2026-03-01T00:08:00.000+00:00", "2999"),
    "until": ("2026-03-01T00:04:00.000+00:00", "2026-03-01T00:08:00.000+00:00", "1999"),
}


@dataclass(frozen=True)
class Written:
    """What went into a log, beside the log itself."""

    path: Path
    events: list[LoggedEvent]

    def of_call(self, call_id: str | None) -> list[LoggedEvent]:
        return [event for event in self.events if event.call_id == call_id]


def append(chain: Chain, time: datetime, kind: str, call_id: str | None, line: str | None, payload: Any) -> None:
    """One event, as the ledger writes it."""
    public, personal = split(payload)
    outcome = payload.get("outcome") if kind == "decision" else None
    index = decision_index(payload) if kind == "decision" else None
    assert chain.append(Entry(kind, call_id, line, outcome, canonical(public), personal, index), utc_text(time))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """120 calls, some of them with an agent, and a clock that is set back twice."""
    path = tmp_path_factory.mktemp("written") / "decisions.db"
    database = open_for_writing(Place(path))
    rng = random.Random(4)
    now = MIDNIGHT
    for number in range(120):
        database.begin()
        chain = Chain(database)
        chain.load()
        if number in (40, 90):
            now -= timedelta(minutes=2 if number == 40 else 10)
        now += timedelta(seconds=rng.randrange(12))
        call_id, line = secrets.token_hex(16), rng.choice(LINES)
        outcome = rng.choice(("granted", "declined", "no_answer"))
        if number == 0:
            outcome, line = "failed", "claims"  # the oldest is the only one of its kind
        notice = {"id": "recording", "version": rng.randrange(1, 4), "language": rng.choice(LANGUAGES)}
        payload: dict[str, Any] = {"outcome": outcome, "notice": notice if outcome != "failed" else None}
        payload["call"] = {"subject_ref": secrets.token_hex(4)}
        payload["purposes_granted"] = rng.choice(PURPOSES) if outcome == "granted" else []
        payload["reference_ref"] = f"ref{number % 60}"
        append(chain, now, "asked", call_id, line, {})
        append(chain, now, "decision", call_id, line, payload)
        if outcome == "granted":
            agent = rng.choice(AGENTS)
            append(chain, now, "routed", call_id, line, {"agent": agent} if agent else {})
            append(chain, now, "recording_ended", call_id, line, {"agent": agent} if agent else {})
        if number % 20 == 0:
            append(chain, now, "server_started", None, None, {})
        chain.save()
        database.commit()
    database.close()
    with LedgerReader(path) as reader:
        return Written(path, sorted(reader.events(limit=None), key=lambda event: event.sequence))


def fits(written: Written, event: LoggedEvent, wanted: Wanted, *, calls: bool) -> bool:
    """The same question put to one event, by its payload."""
    decided = event.kind == "decision"
    payload = event.payload
    notice = (payload.get("notice") if decided else None) or {}
    of_call = written.of_call(event.call_id) if wanted.agent and (calls or wanted.references) else [event]
    tests = {
        "line": lambda value: event.line == value,
        "outcome": lambda value: event.outcome == value,
        "language": lambda value: notice.get("language") == value,
        "notice": lambda value: notice.get("id") == value,
        "version": lambda value: notice.get("version") == value,
        "purpose": lambda value: value in payload.get("purposes_granted", []),
        "agent": lambda value: any(other.payload.get("agent") == value for other in of_call),
        "references": lambda value: decided and payload.get("reference_ref") in value,
        "kind": lambda value: calls or event.kind == value,
        "since": lambda value: event.time >= value,
        "until": lambda value: event.time < value,
    }
    asked = {name: value for name in tests if (value := getattr(wanted, name)) is not None}
    return (decided or not calls) and all(tests[name](value) for name, value in asked.items())


SINGLES = [{name: value} for name, values in WANTED.items() for value in values]
PAIRS = [
    {one: a, other: b} for one, other in itertools.combinations(WANTED, 2) for a in WANTED[one] for b in WANTED[other]
]


@pytest.mark.parametrize("calls", [True, False], ids=["calls", "events"])
def test_every_filter_and_every_pair_finds_what_fits_and_nothing_else(written: Written, calls: bool) -> None:
    """Also over the places where the clock was set back."""
    newest_first = list(reversed(written.events))
    threes = random.Random(5)
    several = [
        {name: threes.choice(WANTED[name]) for name in threes.sample(list(WANTED), threes.randrange(3, 6))}
        for _ in range(100)
    ]
    found_something = 0
    with LedgerReader(written.path) as reader:
        for asked in ({}, *SINGLES, *PAIRS, *several):
            wanted = Wanted(**asked)
            if calls:
                found = [record.decision.sequence for record in reader.calls(wanted, limit=None)]
            else:
                found = [event.sequence for event in reader.events(wanted, limit=None)]
            expected = [event.sequence for event in newest_first if fits(written, event, wanted, calls=calls)]
            assert found == expected, asked
            found_something += bool(found)
    assert found_something > len(PAIRS) / 4
