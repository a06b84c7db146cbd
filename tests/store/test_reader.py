"""Questions to a log: every filter against a look at every event, other people's rows, and what a reader may not do."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ivr_consent.core.decision import CallContext, Decision, Outcome
from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.store import events as events_module
from ivr_consent.store import facets, search
from ivr_consent.store.chain import Chain, Entry, utc_text
from ivr_consent.store.database import SqliteDatabase
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place, open_for_writing
from ivr_consent.store.reader import LedgerReader, LoggedEvent
from ivr_consent.store.search import EVERYTHING, Wanted
from ivr_consent.testing.plans import call_context
from ivr_consent.verifier import Event, leaf, leaf_hash
from tests.store.written import MIDNIGHT, Written, append, entry, overwrite, prune, raw, written_log


def decision(outcome: Outcome = Outcome.GRANTED, call: CallContext | None = None) -> Decision:
    context = call or call_context()
    granted = outcome is Outcome.GRANTED
    reason, route = ("yes_key", "recorded") if granted else ("no_key", "unrecorded")
    purposes, recording = (("training",), context.call_id) if granted else ((), None)
    return Decision(context, outcome, reason, route, None, (), purposes, 30, 0, ("en",), recording_id=recording)


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger]:
    log = Ledger(place)
    yield log
    log.close()


@pytest.fixture
def filled(place: Place) -> Iterator[Place]:
    """Six calls, an hour apart: two lines, three outcomes."""
    now = [MIDNIGHT]
    log = Ledger(place, clock=lambda: now[0])
    outcomes = [Outcome.GRANTED, Outcome.DECLINED, Outcome.NO_ANSWER] * 2
    for number, outcome in enumerate(outcomes):
        line = "support" if number < 3 else "sales"
        log.decide_now(decision(outcome, call_context(f"{number:x}" * 32, line=line)))
        now[0] += timedelta(hours=1)
    log.note_now("0" * 32, "support", "recording_confirmed", {"handle": "0x1"})
    log.note_now("0" * 32, "support", "withdrawn", {"route": "unrecorded"})
    yield place
    log.close()


ASKED: tuple[tuple[Wanted, int | None, str], ...] = (
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
)


def test_reading_with_filters(filled: Place) -> None:
    with LedgerReader(filled) as reader:
        for wanted, limit, found in ASKED:
            assert "".join(record.call_id[0] for record in reader.calls(wanted, limit=limit)) == found, wanted


def test_what_followed_a_decision(filled: Place) -> None:
    """R13: the route is where the call went in the end."""
    with LedgerReader(filled) as reader:
        record = reader.call("0")
        assert record is not None
        assert [event.kind for event in record.later] == ["recording_confirmed", "withdrawn"]
        assert (record.route, record.recording) == ("unrecorded", "withdrawn")
        assert [open_.call_id[0] for open_ in reader.unfinished_grants()] == ["3"]


def test_a_call_that_is_not_there(filled: Place) -> None:
    with LedgerReader(filled) as reader:
        for call_id in ("", "f", "g", "%", "0' --", "0" * 33, "É"):
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


def test_a_reader_cannot_write(filled: Place) -> None:
    with LedgerReader(filled) as reader, pytest.raises(reader._database.errors, match=r"read-?only"):
        reader._database.execute("INSERT INTO checkpoints VALUES (99, '', '')")


def test_a_reader_sees_what_is_written_meanwhile(ledger: Ledger) -> None:
    with ledger.reader() as reader:
        assert list(reader.calls()) == []
        made = replace(decision(), reason="yes_key")
        ledger.decide_now(made)
        assert [record.call_id for record in reader.calls()] == [made.call.call_id]


# --- every filter against a look at every event ---------------------------------------------------------------------

WANTED: dict[str, tuple[Any, ...]] = {
    "line": ("support", "claims", "none"),
    "outcome": ("granted", "declined", "failed"),
    "language": ("en", "da", "xx"),
    "notice": ("recording", "none"),
    "version": (1, 3, 9),
    "purpose": ("training", "quality", "none"),
    "agent": ("anna", "nobody"),
    "references": (("ref3",), ("ref3", "ref33"), ("none",)),
    "kind": ("decision", "asked", "recording_ended", "server_started", "none"),
    "since": ("2026-02-28T23:00:00.000+00:00", "2026-03-01T15:30:00.000+00:00", "2999"),
    "until": ("2026-02-28T23:00:00.000+00:00", "2026-03-01T15:30:00.000+00:00", "1999"),
}


@pytest.fixture
def written(place: Place) -> Written:
    return written_log(place)


def fits(written: Written, event: LoggedEvent, wanted: Wanted, *, calls: bool) -> bool:
    """The same question put to one event, by its payload."""
    decided = event.kind == "decision"
    payload = event.payload
    notice = (payload.get("notice") if decided else None) or {}
    of_call = written.of_call(event.call_id) if wanted.agent and (calls or wanted.references) else [event]
    tests: dict[str, Callable[[Any], bool]] = {
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


def questions(of_each: int) -> list[dict[str, Any]]:
    """Every filter with every value, every pair of filters with some, and several together."""
    rng = random.Random(5)  # noqa: S311 - the same questions each time
    pairs = [
        {one: rng.choice(WANTED[one]), other: rng.choice(WANTED[other])}
        for one, other in itertools.combinations(WANTED, 2)
        for _ in range(of_each)
    ]
    several = [
        {name: rng.choice(WANTED[name]) for name in rng.sample(list(WANTED), rng.randrange(3, 6))}
        for _ in range(20 * of_each)
    ]
    return [{}, *SINGLES, *pairs, *several]


def test_every_filter_and_every_pair_finds_what_fits_and_nothing_else(written: Written) -> None:
    """Also over the places where the clock was set back."""
    newest_first = list(reversed(written.events))
    asked = questions(4 if written.place.url is None else 1)
    found_something = 0
    with LedgerReader(written.place) as reader:
        for values in asked:
            wanted = Wanted(**values)
            calls = [record.decision.sequence for record in reader.calls(wanted, limit=None)]
            events = [event.sequence for event in reader.events(wanted, limit=None)]
            assert calls == [e.sequence for e in newest_first if fits(written, e, wanted, calls=True)], values
            assert events == [e.sequence for e in newest_first if fits(written, e, wanted, calls=False)], values
            found_something += bool(calls) + bool(events)
    assert found_something > len(asked) / 2


def test_what_followed_is_found_for_each_of_many_calls(written: Written) -> None:
    with LedgerReader(written.place) as reader:
        for record in reader.calls(limit=None):
            of_call = written.of_call(record.call_id)
            assert [*record.events] == of_call[1:]  # without "asked"
            assert [*reader.history(record.call_id)] == of_call


def test_a_clock_that_was_set_back_too_often_costs_time_and_no_answer(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_CLOCK_STEPS", 1)
    test_every_filter_and_every_pair_finds_what_fits_and_nothing_else(written_log(sqlite_place))


@pytest.mark.parametrize("bits", [0, 2, 5])
def test_newest_events_in_any_block(sqlite_place: Place, monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    """Small blocks stand for a log of many thousand events; the same is written by many processes in turn."""
    monkeypatch.setattr(facets, "BLOCK_BITS", bits)
    monkeypatch.setattr(search, "BLOCK_BITS", bits)
    monkeypatch.setattr(facets, "MAX_KNOWN", 3)
    test_every_filter_and_every_pair_finds_what_fits_and_nothing_else(written_log(sqlite_place))


def test_one_writer_goes_on_through_many_blocks(sqlite_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its transactions some are given up; the newest event of each facet is found after each."""
    monkeypatch.setattr(facets, "BLOCK_BITS", 2)
    monkeypatch.setattr(search, "BLOCK_BITS", 2)
    rng = random.Random(6)  # noqa: S311 - the same each time
    with closing(open_for_writing(sqlite_place)) as database, LedgerReader(sqlite_place) as reader:
        chain = Chain(database)
        newest: dict[str, int] = {}
        for _ in range(200):
            database.begin()
            chain.load()
            kinds = [rng.choice(("server_started", "server_stopped", "exported")) for _ in range(rng.randrange(4))]
            added = {kind: chain.append(entry(kind, None, None, {}), utc_text(MIDNIGHT)) for kind in kinds}
            chain.save()
            if rng.random() < 0.3:
                database.rollback()
            else:
                database.commit()
                newest |= added
            for kind, sequence in newest.items():
                assert next(reader.events(Wanted(kind=kind))).sequence == sequence


@pytest.mark.parametrize("values", [{"line": "a", "language": "da"}, {"line": "a", "language": "xx"}, {"agent": "bo"}])
def test_the_first_row_is_found_without_looking_at_the_others(sqlite_place: Place, values: dict[str, str]) -> None:
    """The only call that fits is the oldest of 2000, or there is none, while half of them fit each of two filters."""

    def call(number: int, line: str, language: str, agent: str) -> list[Entry]:
        payload = {"outcome": "granted", "notice": {"language": language}, "agent": agent}
        return [entry("decision", f"{number:032x}", line, payload)]

    entries = call(0, "a", "da", "bo")
    for number in range(1, 2000):
        entries += call(number, "a", "en", "anna") if number % 2 else call(number, "b", "da", "anna")
    append(sqlite_place, entries)
    with LedgerReader(sqlite_place) as reader:
        steps = itertools.count()
        database = reader._database
        assert isinstance(database, SqliteDatabase)
        database._connection.set_progress_handler(lambda: next(steps) < 0, 100)
        found = [record.call_id for record in reader.calls(Wanted(**values), limit=1)]  # type: ignore[arg-type]  # by name
        assert found == ([f"{0:032x}"] if "xx" not in values.values() else [])
        assert next(steps) < 50, "hundreds of instructions of the database"
        list(reader.calls(limit=None))
        assert next(steps) > 500, "what a look at every call takes"


def test_more_combinations_than_any_site_has(sqlite_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    append(sqlite_place, [entry("asked", f"{n:032x}", f"line{n}", {}) for n in range(20)])
    monkeypatch.setattr(search, "MAX_FACETS", 10)
    with LedgerReader(sqlite_place) as reader, pytest.raises(LedgerError, match="more than 10 combinations"):
        list(reader.events(Wanted(kind="asked")))


# --- pruning and erasing ---------------------------------------------------------------------------------------------


def test_what_was_pruned_is_not_found_and_costs_nothing(place: Place) -> None:
    append(place, [entry("asked", f"{n:032x}", "support", {}) for n in range(30)])
    append(place, [entry("server_started", None, None, {})])
    prune(place, range(2, 20))
    with LedgerReader(place) as reader:
        assert [event.sequence for event in reader.events(Wanted(kind="asked"), limit=None)] == list(range(31, 19, -1))
        assert [event.sequence for event in reader.events(limit=None)] == [*range(32, 19, -1), 1]
        assert reader._database.execute("SELECT count(*) FROM facet_events").fetchone() == (14,)
        assert reader.event(5) is None
        seal = reader.seal(5)
        assert seal is not None
        assert (seal.pruned, seal.personal, seal.checkpoint) == (True, "none", None)
        assert reader.seal(99) is None


def test_by_what_an_event_is_held(place: Place) -> None:
    """The hash is that of the verifier; the checkpoint is the first over it; anchors are told."""
    log = Ledger(place)
    log.decide_now(decision(call=call_context("0" * 32, subject_ref="2026Q1-" + "a" * 32)))
    assert log.seal() is not None
    log.note_now("0" * 32, "support", "recording_confirmed", {"handle": "0x1"})
    with log.reader() as reader:
        first, last = reader.seal(2), reader.seal(3)
        columns = "sequence, time, kind, call_id, line, outcome, payload, commitment, previous"
        row = reader._database.execute(f"SELECT {columns} FROM events WHERE sequence = 2").fetchone()  # noqa: S608 - fixed columns
    assert first is not None
    assert last is not None
    assert row is not None
    assert first.leaf == leaf_hash(leaf(Event(*row))).hex()
    assert (first.pruned, first.personal) == (False, "kept")
    assert first.checkpoint is not None
    assert first.checkpoint[0] == 2
    assert (last.personal, last.checkpoint, last.anchors) == ("none", None, ())
    log.close()
    with closing(open_for_writing(place)) as database:
        database.begin()
        database.execute("INSERT INTO anchors VALUES (2, 'file', '2026-03-02T00:00:00.000+00:00', NULL)")
        database.execute("UPDATE personal SET data = ? WHERE sequence = 2", (b'{"call":{"subject_ref":"another"}}',))
        database.commit()
    with LedgerReader(place) as reader:
        changed = reader.seal(2)
    assert changed is not None
    assert changed.personal == "changed"
    assert [(anchor.size, anchor.place) for anchor in changed.anchors] == [(2, "file")]


# --- what somebody else wrote ----------------------------------------------------------------------------------------

NOT_OURS = {
    "no JSON": b"evil\x1b[2J",
    "nothing": b"",
    "not UTF-8": b'{"a":"\xff"}',
    "a list": b"[1]",
    "a text": b'"x"',
    "null": b"null",
    "not a number": b'{"a":NaN}',
    "a number too large": b'{"a":1e999}',
    "a number too long": b'{"a":' + b"9" * 5000 + b"}",
    "too deep for the stack": b'{"a":' + b"[" * 100_000,
    "too deep": b'{"a":' + b"[" * 80 + b"]" * 80 + b"}",
    "too large": b'{"a":"' + b"x" * (1 << 19) + b'"}',
    "far too large": b'{"a":"' + b"x" * (5 << 20) + b'"}',
}


@pytest.mark.parametrize("payload", NOT_OURS.values(), ids=NOT_OURS)
def test_an_event_that_is_not_ours_is_named_and_the_others_are_read(sqlite_place: Place, payload: bytes) -> None:
    append(sqlite_place, [raw(b"{}", "1" * 32), raw(payload, "2" * 32), raw(b"{}", "3" * 32)])
    with LedgerReader(sqlite_place) as reader, pytest.raises(LedgerError, match="event 3 of the log was not written"):
        list(reader.calls())
    with LedgerReader(sqlite_place, lenient=True) as reader:
        calls = list(reader.calls())
        events = list(reader.events())
        assert reader.after(2)[0].problem
    assert [bool(record.decision.problem) for record in calls] == [False, True, False]
    assert [event.sequence for event in events if event.problem] == [3]


@pytest.mark.parametrize("column", ["time", "kind", "line", "call_id", "outcome", "payload", "commitment"])
@pytest.mark.parametrize(
    "value", [None, 7, 1.5, b"\xff\x00", "x" * 100_000], ids=["null", "int", "float", "bytes", "long"]
)
def test_a_column_of_another_type(sqlite_place: Place, column: str, value: object) -> None:
    append(sqlite_place, [raw(b"{}", "1" * 32), raw(b"{}", "2" * 32)])
    overwrite(sqlite_place.path, f"{column} = ?", [value], 2)
    with LedgerReader(sqlite_place, lenient=True) as reader:
        list(reader.calls())
        events = list(reader.events())
        reader.seal(2)
    assert [event.sequence for event in events] == [3, 2, 1]
    allowed = column == "commitment" or (value is None and column in ("line", "call_id", "outcome"))
    assert bool(events[1].problem) is not allowed
    assert events[0].problem is None


def test_text_that_is_none(sqlite_place: Place) -> None:
    """A text that is not UTF-8 is something that the database cannot give at all."""
    append(sqlite_place, [raw(b"{}", f"{n}" * 32) for n in range(1, 6)])
    overwrite(sqlite_place.path, "line = CAST(? AS TEXT)", [b"\xff\xfe"], 3)
    with LedgerReader(sqlite_place, lenient=True) as reader:
        assert [(event.sequence, bool(event.problem)) for event in reader.events()] == [
            (n, n == 3) for n in range(6, 0, -1)
        ]
        assert [event.sequence for event in reader.after(1) if event.problem] == [3]


@pytest.mark.parametrize("statement", ["CREATE VIEW more AS SELECT 1", "CREATE VIRTUAL TABLE more USING fts5(a)"])
def test_a_file_with_more_than_tables(sqlite_place: Place, statement: str) -> None:
    """A view in a table's place could have rows without end."""
    append(sqlite_place, [raw(b"{}")])
    with closing(sqlite3.connect(sqlite_place.path)) as connection:
        connection.execute(statement)
        connection.commit()
    with pytest.raises(LedgerUnreadable, match="more than the tables of a log"):
        LedgerReader(sqlite_place)


def test_a_call_with_events_without_end_is_read_to_a_bound(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = raw(b"{}", "1" * 32)
    append(sqlite_place, [made, *(Entry("routed", "1" * 32, "support", None, b"{}", None, None) for _ in range(50))])
    monkeypatch.setattr(events_module, "MAX_OF_CALL", 10)
    with LedgerReader(sqlite_place) as reader:
        (record,) = reader.calls()
        assert len(record.later) == 10
    monkeypatch.setattr(events_module, "MAX_BYTES", 20)
    with LedgerReader(sqlite_place) as reader:
        (record,) = reader.calls()
        assert len(record.later) == 10
        assert len(reader.after(0)) < 51
        assert [event.sequence for event in reader.events(limit=None)] == list(range(52, 0, -1))
