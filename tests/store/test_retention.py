"""How long the log keeps what happened, and that what is left of it still verifies (R7, R14, R24)."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ivr_consent import pseudonyms as pseudonyms_module
from ivr_consent.config import Retention
from ivr_consent.core.decision import Outcome
from ivr_consent.core.steps import Logged
from ivr_consent.pseudonyms import Key, Pseudonyms
from ivr_consent.store import due, erasure, retention
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place
from ivr_consent.store.retention import Expiry, Keeper, expire, what_is_due
from ivr_consent.testing.clock import Clock
from ivr_consent.verifier import Checkpoint, Event, Tree, leaf, leaf_hash
from tests.store.kept import (
    RECORDED,
    WAIT_S,
    Person,
    ask,
    call,
    codes,
    events,
    in_files,
    note,
    verified,
)

TERMS = Retention(granted_days=300, refused_days=100, service_days=200)
ALL = 600.0
"""Seconds: a run of a test goes on until it is done."""


@pytest.fixture
def ledger(place: Place, clock: Clock) -> Iterator[Ledger]:
    log = Ledger(replace(place, checkpoint_events=10_000), clock=clock)
    yield log
    log.close()


@pytest.fixture
def sqlite_ledger(sqlite_place: Place, clock: Clock) -> Iterator[Ledger]:
    log = Ledger(replace(sqlite_place, checkpoint_events=10_000), clock=clock)
    yield log
    log.close()


def run(ledger: Ledger, clock: Clock, terms: Retention = TERMS, keys: Pseudonyms | None = None) -> Expiry:
    """One run, with what is sealed before it."""
    ledger.seal()
    return expire(ledger, terms, keys, now=clock.now, run_s=ALL)


def kinds(place: Place) -> dict[str, int]:
    return dict(ask(place, "SELECT kind, count(*) FROM events GROUP BY kind"))


def is_there(ledger: Ledger, person: Person) -> bool:
    with ledger.reader() as reader:
        there = reader.call(person.call_id) is not None
    if not there:
        assert ask(ledger.place, "SELECT 1 FROM events WHERE call_id = ?", person.call_id) == []
    return there


def recomputed(place: Place) -> None:
    """From the trunk, the hashes of what was pruned and the events that are there, by the verifier's primitives: every
    checkpoint's root, every link, and that nothing is missing but what an event names."""
    ((size, peaks, last, trunk, trunk_peaks, trunk_leaf),) = ask(
        place, "SELECT size, peaks, last_leaf, trunk_size, trunk_peaks, trunk_leaf FROM log"
    )
    split = [bytes(trunk_peaks)[at : at + 32] for at in range(0, len(trunk_peaks), 32)]
    tree, before = Tree(trunk, split), bytes(trunk_leaf)
    columns = "sequence, time, kind, call_id, line, outcome, payload, commitment, previous"
    there = {row[0]: Event(*row) for row in ask(place, f"SELECT {columns} FROM events")}  # noqa: S608 - fixed columns
    pruned = {sequence: bytes(hashed) for sequence, hashed in ask(place, "SELECT sequence, leaf FROM pruned")}
    notes = dict(ask(place, "SELECT size, note FROM checkpoints"))
    assert not there.keys() & pruned.keys()
    assert sorted(there.keys() | pruned.keys()) == list(range(trunk + 1, size + 1)), "gapless"
    named = set()
    for sequence in range(trunk, size + 1):
        if sequence in there:
            event = there[sequence]
            assert bytes(event.previous) == before
            before = leaf_hash(leaf(event))
            if event.kind == "expired":
                told = json.loads(event.payload)
                named |= {number for first, end in told["events"] for number in range(first, end + 1)}
        elif sequence > trunk:
            before = pruned[sequence]
        if sequence > trunk:
            tree.append(before)
        if sequence in notes:
            assert Checkpoint.parse(notes.pop(sequence).rpartition("\n\n")[0] + "\n").root == tree.root()
    assert all(left < trunk for left in notes), "every checkpoint from the trunk on was met"
    assert (b"".join(tree.peaks), before) == (bytes(peaks), bytes(last))
    assert pruned.keys() <= named
    assert not trunk or trunk in named


# --- what goes, and when ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.GRANTED], ids=str)
def test_refusals_go_before_grants(ledger: Ledger, clock: Clock, outcome: Outcome) -> None:
    """A refusal proves that nothing was recorded, and nobody has to prove that for as long as a recording's consent."""
    refused, granted = call(ledger, None, outcome), call(ledger, None, Outcome.GRANTED, *RECORDED, "recording_expired")
    clock.move(days=99.9)
    assert run(ledger, clock) == Expiry()
    clock.move(days=0.2)
    done = run(ledger, clock)
    assert (done.calls, done.events, done.more) == (1, 2, False)
    assert (is_there(ledger, refused), is_there(ledger, granted)) == (False, True)
    assert events(ledger.place, "expired") == [
        {
            "events": [[2, 3]],
            "kinds": {"asked": 1, "decision": 1},
            "days": {"granted": 300, "refused": 100, "service": 200},
            "reason": "retention_over",
        }
    ]
    clock.move(days=200)
    assert run(ledger, clock).calls == 1
    assert not is_there(ledger, granted)
    recomputed(ledger.place)
    ledger.seal()
    report = verified(ledger.place)
    assert report.ok, report.findings
    assert (report.pruned + report.trunk, codes(report)) == (9, {"events_expired"}), "with log_created, in the trunk"


def test_a_grant_stays_as_long_as_its_recording(ledger: Ledger, clock: Clock) -> None:
    """R22: who is recorded has consented, and that can be shown; then the days begin, with the erasure."""
    person = call(ledger, None, Outcome.GRANTED, *RECORDED)
    clock.move(days=5000)
    assert run(ledger, clock).calls == 0
    note(ledger, person, "recording_expired")
    clock.move(days=299.9)
    assert run(ledger, clock).calls == 0
    clock.move(days=0.2)
    assert run(ledger, clock).calls == 1
    assert not is_there(ledger, person)


@pytest.mark.parametrize("kind", ["withdrawn", "recording_stopped", "recording_missing", "grant_void"])
def test_a_grant_without_a_recording_goes_too(ledger: Ledger, clock: Clock, kind: str) -> None:
    person = call(ledger, None, Outcome.GRANTED, "recording_confirmed", kind)
    clock.move(days=301)
    assert run(ledger, clock).calls == 1
    assert not is_there(ledger, person)


def test_the_days_count_from_the_last_that_happened_in_the_call(ledger: Ledger, clock: Clock) -> None:
    person = call(ledger)
    clock.move(days=90)
    note(ledger, person, "grant_void")
    clock.move(days=50)
    assert run(ledger, clock).calls == 0
    clock.move(days=51)
    assert run(ledger, clock).calls == 1


def test_a_call_that_is_still_being_asked_stays(ledger: Ledger, clock: Clock) -> None:
    person = Person()
    note(ledger, person, "asked")
    clock.move(days=5000)
    run(ledger, clock)
    assert ask(ledger.place, "SELECT count(*) FROM events WHERE call_id = ?", person.call_id) == [(1,)]


def test_events_of_the_service_have_days_of_their_own(ledger: Ledger, clock: Clock) -> None:
    """Also where they name a call; but not before that call."""
    refused, granted = call(ledger), call(ledger, None, Outcome.GRANTED, *RECORDED)
    for kind in ("server_started", "exported", "incident"):
        assert ledger.tell_now(kind, {"by": "anna"}, timeout=WAIT_S) == Logged()
    for person in (refused, granted):
        note(ledger, person, "accessed", by="bo")
    clock.move(days=199)
    assert run(ledger, clock).calls == 1
    assert kinds(ledger.place)["accessed"] == 2, "who had access to the refused call is known when the call is gone"
    clock.move(days=2)
    done = run(ledger, clock)
    assert (done.calls, done.events) == (0, 4)
    assert ask(ledger.place, "SELECT call_id FROM events WHERE kind = 'accessed'") == [(granted.call_id,)]
    assert not {"server_started", "exported", "incident"} & kinds(ledger.place).keys()
    note(ledger, granted, "recording_expired")
    clock.move(days=301)
    assert run(ledger, clock).events == 7, "the call, and who had access to it"
    assert "accessed" not in kinds(ledger.place)
    recomputed(ledger.place)


def test_what_callers_heard_stays_as_long_as_their_decisions(ledger: Ledger, clock: Clock) -> None:
    """R2: a decision names a published version; the event of its publication is part of the proof."""
    assert ledger.tell_now("notice_published", {"version": 1, "by": "anna"}, "support", WAIT_S) == Logged()
    person = call(ledger, None, Outcome.GRANTED, *RECORDED)
    clock.move(days=1000)
    assert run(ledger, clock).events == 0
    note(ledger, person, "withdrawn")
    clock.move(days=301)
    done = run(ledger, clock)
    assert (done.calls, done.events) == (1, 7)
    assert "notice_published" not in kinds(ledger.place)


def test_events_about_the_log_itself_are_never_pruned(ledger: Ledger, clock: Clock) -> None:
    person = call(ledger)
    with erasure.Finder(ledger.place) as finder:
        erasure.forget(ledger, finder.of_call(person.call_id), reason="test", by="anna")
    clock.move(days=-1)
    call(ledger)
    for kind in sorted(due.LASTING - {"log_created", "erased", "expired", "clock_set_back"}):
        assert ledger.tell_now(kind, {}, timeout=WAIT_S) == Logged()
    clock.move(days=5000)
    with_pins = run(ledger, clock)
    assert with_pins.calls == 2
    there = kinds(ledger.place)
    assert there["key_replaced"] == 1, "and the trunk ends before it"
    assert with_pins.trunk == 0, "no checkpoint stands before it"
    assert there.keys() | {"log_created"} >= due.LASTING
    recomputed(ledger.place)


def test_only_what_is_sealed_goes(ledger: Ledger, clock: Clock) -> None:
    """A hash that no checkpoint vouches for proves nothing."""
    call(ledger)
    clock.move(days=5000)
    assert expire(ledger, TERMS, now=clock.now, run_s=ALL).events == 0
    ledger.seal()
    assert expire(ledger, TERMS, now=clock.now, run_s=ALL).events == 2


def test_who_asked_for_an_erasure_is_forgotten_in_time(sqlite_ledger: Ledger, clock: Clock) -> None:
    """The event lasts, and says that somebody's data was erased; by whom, is personal too."""
    person = call(sqlite_ledger)
    call(sqlite_ledger, None, Outcome.GRANTED, *RECORDED)
    with erasure.Finder(sqlite_ledger.place) as finder:
        erasure.forget(sqlite_ledger, finder.of_call(person.call_id), reason="test", by="karla-anna-7")
    clock.move(days=199)
    run(sqlite_ledger, clock)
    assert in_files(sqlite_ledger.place.path, [b"karla-anna-7"]) != []
    clock.move(days=2)
    run(sqlite_ledger, clock)
    assert in_files(sqlite_ledger.place.path, [b"karla-anna-7"]) == []
    told = events(sqlite_ledger.place, "erased")
    assert [event["reason"] for event in told] == ["test", "retention_over"]
    sqlite_ledger.seal()
    assert verified(sqlite_ledger.place).ok


def test_nothing_personal_is_left_of_what_is_over(sqlite_ledger: Ledger, clock: Clock) -> None:
    """R24: not in the tables, not in the files."""
    people = [call(sqlite_ledger) for _ in range(30)]
    kept = call(sqlite_ledger, None, Outcome.GRANTED, *RECORDED)
    path = sqlite_ledger.place.path
    traces = [trace for person in people for trace in (*person.traces, person.call_id.encode())]
    assert len(in_files(path, traces)) == 120
    clock.move(days=101)
    assert run(sqlite_ledger, clock).calls == 30
    assert in_files(path, [trace for person in people for trace in person.traces]) == []
    assert len(in_files(path, kept.traces)) == 3
    assert ask(sqlite_ledger.place, "SELECT count(*) FROM decisions") == [(1,)]
    assert ask(sqlite_ledger.place, "SELECT sum(decisions) FROM counts") == [(31,)], "numbers stay, persons go"


def test_an_unknown_kind_of_event_is_one_of_the_service(ledger: Ledger, clock: Clock) -> None:
    """What a later version writes is kept for its days, and never longer than for ever."""
    assert ledger.tell_now("something_new", {}, timeout=WAIT_S) == Logged()
    clock.move(days=201)
    assert run(ledger, clock).events == 1


def test_what_would_go_is_told_without_doing_it(ledger: Ledger, clock: Clock) -> None:
    call(ledger)
    call(ledger, None, Outcome.GRANTED, *RECORDED, "withdrawn")
    assert ledger.tell_now("server_started", {}, timeout=WAIT_S) == Logged()
    ledger.seal()
    clock.move(days=301)
    before = ask(ledger.place, "SELECT count(*) FROM events")
    told = what_is_due(ledger.place, TERMS, clock.now)
    assert (told.calls, told.events, told.trunk) == (2, 9, 0)
    assert ask(ledger.place, "SELECT count(*) FROM events") == before
    done = run(ledger, clock)
    assert (done.calls, done.events) == (2, 9)


def test_a_clock_that_was_wrong_for_a_while_keeps_nothing_back(ledger: Ledger, clock: Clock) -> None:
    """Events of a time that had not come are kept until it has; those after them go when they are over."""
    first = call(ledger)
    clock.move(days=4000)
    future = call(ledger)
    clock.move(days=-3999)
    last = call(ledger)
    clock.move(days=101)
    assert run(ledger, clock).calls == 2
    assert [is_there(ledger, person) for person in (first, future, last)] == [False, True, False]
    recomputed(ledger.place)
    ledger.seal()
    assert verified(ledger.place).ok


# --- the trunk ----------------------------------------------------------------------------------------------------


def grow(ledger: Ledger, clock: Clock, rounds: int, days: float = 30) -> None:
    """Months of calls, a checkpoint after each."""
    for number in range(rounds):
        call(ledger)
        call(ledger, None, Outcome.GRANTED, *RECORDED, "recording_expired")
        if number % 3 == 0:
            person = call(ledger)
            with erasure.Finder(ledger.place) as finder:
                erasure.forget(ledger, finder.of_call(person.call_id), reason="test", by="anna", files_deadline_s=0.0)
        ledger.seal()
        clock.move(days=days)


def test_years_of_a_log(ledger: Ledger, clock: Clock) -> None:
    """Month after month: it verifies after every run, and what is over is gone but for the checkpoints over it."""
    trunks = []
    for _ in range(10):
        grow(ledger, clock, 3)
        trunks.append(run(ledger, clock).trunk)
        recomputed(ledger.place)
        ledger.seal()
        report = verified(ledger.place)
        assert report.ok, report.findings
        assert report.trunk == trunks[-1]
    assert trunks == sorted(trunks)
    assert trunks[-1] > 100
    ((oldest,),) = ask(ledger.place, "SELECT min(time) FROM events")
    assert datetime.fromisoformat(oldest) > clock.now - timedelta(days=630), "300 and 30 days, and 300 for what said so"
    assert ask(ledger.place, "SELECT count(*) FROM pruned WHERE sequence <= (SELECT trunk_size FROM log)") == [(0,)]
    assert ask(ledger.place, "SELECT min(size) FROM checkpoints")[0][0] < 30, "checkpoints stay: they carry the keys"


def test_the_trunk_ends_at_a_checkpoint_and_says_so(ledger: Ledger, clock: Clock) -> None:
    call(ledger)
    ledger.seal()
    call(ledger)
    clock.move(days=301)
    done = run(ledger, clock)
    assert done.trunk == 5, "log_created, too: it is older than anything is kept"
    assert events(ledger.place, "expired")[-1] == {"events": [[1, 5]], "reason": "retention_over", "trunk": 5}
    assert ask(ledger.place, "SELECT min(sequence) FROM events") == [(6,)]
    recomputed(ledger.place)
    ledger.seal()
    report = verified(ledger.place)
    assert report.ok, report.findings
    call(ledger)


def test_what_tells_of_the_trunk_goes_into_the_next_one(ledger: Ledger, clock: Clock) -> None:
    call(ledger)
    clock.move(days=301)
    first = run(ledger, clock)
    call(ledger)
    clock.move(days=301)
    second = run(ledger, clock)
    assert 0 < first.trunk < second.trunk
    assert [event["trunk"] for event in events(ledger.place, "expired") if "trunk" in event] == [second.trunk]
    recomputed(ledger.place)
    ledger.seal()
    assert verified(ledger.place).ok


def test_a_log_that_was_tampered_with_is_not_shortened(sqlite_ledger: Ledger, clock: Clock) -> None:
    """R23: what could still tell what is wrong is left alone."""
    call(sqlite_ledger)
    sqlite_ledger.seal()
    place = sqlite_ledger.place
    with closing(sqlite3.connect(place.path, isolation_level=None, timeout=WAIT_S)) as forger:
        forger.execute("DROP TRIGGER events_are_never_changed")
        forger.execute("UPDATE events SET outcome = 'granted' WHERE sequence = 1")
    clock.move(days=301)
    done = run(sqlite_ledger, clock)
    assert (done.calls, done.trunk) == (1, 0)
    assert ask(place, "SELECT count(*) FROM pruned") == [(2,)]
    sqlite_ledger.seal()
    assert not verified(place).ok


def test_a_log_with_a_gap_is_not_shortened(sqlite_ledger: Ledger, clock: Clock) -> None:
    call(sqlite_ledger)
    sqlite_ledger.seal()
    place = sqlite_ledger.place
    with closing(sqlite3.connect(place.path, isolation_level=None, timeout=WAIT_S)) as forger:
        forger.execute("DROP TRIGGER events_are_pruned_only")
        forger.execute("DELETE FROM events WHERE sequence = 2")
    clock.move(days=301)
    assert run(sqlite_ledger, clock).trunk == 0
    assert not verified(place).ok


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM pruned",
        "UPDATE pruned SET leaf = zeroblob(32)",
        "DELETE FROM events WHERE kind = 'log_created'",
        "DELETE FROM checkpoints",
    ],
)
def test_the_database_itself_refuses_what_nobody_may_do(sqlite_ledger: Ledger, clock: Clock, statement: str) -> None:
    """A slip of ours, or of somebody with a shell and good intentions."""
    call(sqlite_ledger)
    call(sqlite_ledger, None, Outcome.GRANTED, *RECORDED)
    clock.move(days=101)
    assert run(sqlite_ledger, clock).calls == 1
    with (
        closing(sqlite3.connect(sqlite_ledger.place.path, timeout=WAIT_S)) as forger,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        forger.execute(statement)


def test_rows_of_the_trunk_may_go_and_no_others(ledger: Ledger, clock: Clock) -> None:
    call(ledger)
    clock.move(days=301)
    run(ledger, clock)
    call(ledger)

    def tries(_: Any, database: Any, __: str) -> None:
        database.execute("DELETE FROM events WHERE sequence = (SELECT max(sequence) FROM events)")

    with pytest.raises(Exception, match="append-only"):
        ledger.transact(tries)


# --- short transactions -------------------------------------------------------------------------------------------


def test_a_run_that_is_stopped_leaves_the_rest_for_the_next(sqlite_ledger: Ledger, clock: Clock) -> None:
    for _ in range(30):
        call(sqlite_ledger)
    sqlite_ledger.seal()
    clock.move(days=301)
    first = expire(sqlite_ledger, TERMS, now=clock.now, run_s=0.0)
    assert (first.events, first.more) == (0, True)
    stopped = threading.Event()
    stopped.set()
    assert expire(sqlite_ledger, TERMS, now=clock.now, run_s=ALL, stopped=stopped).more
    assert run(sqlite_ledger, clock).calls == 30


def test_a_slow_disk_makes_the_transactions_shorter(
    sqlite_ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls wait for the writer: what a transaction takes on follows from how long the last one took."""
    for _ in range(60):
        call(sqlite_ledger)
    sqlite_ledger.seal()
    clock.move(days=301)
    taken: list[int] = []
    look = due.call_events

    def counted(*args: Any) -> list[Event]:
        found = look(*args)
        taken[-1] += 1
        return found

    transact, now = sqlite_ledger.transact, [0.0]

    def slow(work: Any, timeout: float = WAIT_S) -> Any:
        taken.append(0)
        now[0] += 1.0  # a second for each
        return transact(work, timeout)

    monkeypatch.setattr(due, "call_events", counted)
    monkeypatch.setattr(sqlite_ledger, "transact", slow)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    expire(sqlite_ledger, TERMS, now=clock.now, run_s=20.0)
    assert taken[:4] == [10, 5, 2, 1]


def test_calls_go_on_meanwhile(sqlite_ledger: Ledger, clock: Clock) -> None:
    """No event waits for a run: each transaction is short, and events come first."""
    for _ in range(200):
        call(sqlite_ledger)
    sqlite_ledger.seal()
    clock.move(days=301)
    waited: list[float] = []
    done = threading.Event()

    def others() -> None:
        while not done.is_set():
            began = time.monotonic()
            assert sqlite_ledger.tell_now("incident", {}, timeout=WAIT_S) == Logged()
            waited.append(time.monotonic() - began)

    thread = threading.Thread(target=others)
    thread.start()
    try:
        assert expire(sqlite_ledger, TERMS, now=clock.now, run_s=ALL).calls == 200
    finally:
        done.set()
        thread.join(WAIT_S)
    assert len(waited) > 10
    assert sorted(waited)[len(waited) // 2] < 1.0


EXPIRES: str = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from ivr_consent.config import Retention
from ivr_consent.store import retention
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place
retention.FIRST_TAKEN = retention.MOST_TAKEN = 1
ledger = Ledger(Place(Path(sys.argv[1]), checkpoint_events=10_000))
terms = Retention(granted_days=300, refused_days=100, service_days=200)
print("begins", flush=True)
retention.expire(ledger, terms, now=datetime.fromisoformat(sys.argv[2]), run_s=600.0)
ledger.close()
print("done", flush=True)
"""


def test_a_run_that_is_killed_leaves_a_log_that_verifies(sqlite_place: Place, clock: Clock) -> None:
    """At any moment: what is gone is named, what is not is whole, and the next run goes on."""
    place = replace(sqlite_place, checkpoint_events=10_000)
    ledger = Ledger(place, clock=clock)
    for number in range(150):
        call(ledger)
        if number % 30 == 0:
            ledger.seal()
    ledger.seal()
    ledger.close()
    command = [sys.executable, "-c", EXPIRES, str(place.path), clock.move(days=301).isoformat()]
    for pause in (0.0, 0.02, 0.05, 0.1, 0.3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="ascii") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begins\n"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(pause)
            process.kill()
        recomputed(place)
        assert verified(place).ok
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=WAIT_S).stdout.endswith("done\n")
    assert ask(place, "SELECT count(*) FROM decisions") == [(0,)]
    recomputed(place)
    assert verified(place).trunk > 0


# --- keys ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pseudonyms:
    """Keys of two old periods, of one in which there was no call, and of the present."""
    path = tmp_path / "pseudonym.key"
    periods = ("2025Q3", "2026Q1", "2026Q2")
    path.write_text("\n".join(["0" * 64, *(f"{period} {'1' * 64}" for period in periods), ""]))
    now = datetime(2027, 7, 1, tzinfo=UTC)
    monkeypatch.setattr(retention, "utc_now", lambda: now)
    with pseudonyms_module._held(path, write=False) as file:
        found = Pseudonyms(path, file.parse(), "quarter", lambda: now)
    found.refresh()
    assert found.periods == ("", "2025Q3", "2026Q1", "2026Q2", "2027Q3")
    return found


def test_a_key_goes_with_the_last_event_of_its_period(ledger: Ledger, clock: Clock, keys: Pseudonyms) -> None:
    """R24: then even a copy of the log tells nothing."""
    old, recorded = Person(subject="f" * 32, reference="f" * 32), Person(subject="2026Q1-" + "a" * 32)
    call(ledger, old)
    call(ledger, recorded, Outcome.GRANTED, *RECORDED)
    call(ledger, Person(subject="2026Q2-" + "b" * 32, reference="2026Q1-" + "c" * 32))
    assert run(ledger, clock, keys=keys).keys == ("2025Q3",), "no call was ever of it"
    clock.move(days=101)
    done = run(ledger, clock, keys=keys)
    assert (done.calls, done.keys) == (2, ("", "2026Q2"))
    note(ledger, recorded, "withdrawn")
    clock.move(days=301)
    assert run(ledger, clock, keys=keys).keys == ("2026Q1",)
    assert keys.periods == ("2027Q3",)


def test_a_key_that_made_a_reference_stays(ledger: Ledger, clock: Clock, keys: Pseudonyms) -> None:
    """A withheld number has no pseudonym, and the caller may have been told a code."""
    call(ledger, Person(subject="2026Q2-" + "b" * 32, reference="2026Q1-" + "c" * 32))
    assert run(ledger, clock, keys=keys).keys == ("", "2025Q3")
    assert keys.periods == ("2026Q1", "2026Q2", "2027Q3")


def test_the_key_of_yesterday_stays(
    ledger: Ledger, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that was being asked at midnight comes into the log now, under the key of the period before."""
    path = tmp_path / "pseudonym.key"
    path.write_text(f"2027Q2 {'1' * 64}\n2027Q3 {'2' * 64}\n")
    now = [datetime(2027, 7, 1, 1, tzinfo=UTC)]
    monkeypatch.setattr(retention, "utc_now", lambda: now[0])
    secrets = (Key("2027Q2", b"1" * 32, 7, 64), Key("2027Q3", b"2" * 32, 79, 64))
    keys = Pseudonyms(path, secrets, "quarter", lambda: now[0])
    assert run(ledger, clock, keys=keys).keys == ()
    now[0] += timedelta(days=1)
    assert run(ledger, clock, keys=keys).keys == ("2027Q2",)


# --- the service's part -------------------------------------------------------------------------------------------


def test_the_keeper_does_a_little_with_every_round(
    sqlite_ledger: Ledger, clock: Clock, keys: Pseudonyms, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(12):
        call(sqlite_ledger)
    sqlite_ledger.seal()
    monkeypatch.setattr(retention, "utc_now", lambda: clock.now + timedelta(days=101))
    keeper = Keeper(sqlite_ledger, TERMS)
    monkeypatch.setattr(retention, "RUN_S", -1.0)
    keeper.round(keys)
    left = "SELECT count(*) FROM decisions"
    assert ask(sqlite_ledger.place, left) == [(12,)]
    monkeypatch.setattr(retention, "RUN_S", ALL)
    keeper.round(keys)
    assert ask(sqlite_ledger.place, left) == [(0,)], "there was more to do: with the next round, not in an hour"
    call(sqlite_ledger)
    sqlite_ledger.seal()
    keeper.round(keys)
    assert ask(sqlite_ledger.place, left) == [(1,)], "now it has an hour's time"


def test_the_keeper_clears_the_files_of_what_others_erased(
    sqlite_ledger: Ledger, clock: Clock, keys: Pseudonyms
) -> None:
    """A reader was in the way of the command line: the service tries again with every round."""
    person = call(sqlite_ledger)
    keeper = Keeper(sqlite_ledger, TERMS)
    path = sqlite_ledger.place.path
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM personal").fetchall()
        with erasure.Finder(sqlite_ledger.place) as finder:
            found = finder.of_call(person.call_id)
        assert not erasure.forget(sqlite_ledger, found, reason="test", by=None, files_deadline_s=0.0).in_files
        keeper.round(keys)
        assert in_files(path, person.traces) != []
        reader.execute("COMMIT")
    keeper.round(keys)
    assert in_files(path, person.traces) == []


def test_a_keeper_that_is_stopped_ends_soon(sqlite_ledger: Ledger, clock: Clock, keys: Pseudonyms) -> None:
    for _ in range(5):
        call(sqlite_ledger)
    sqlite_ledger.seal()
    keeper = Keeper(sqlite_ledger, TERMS)
    keeper.stop()
    began = time.monotonic()
    keeper.round(keys)
    assert time.monotonic() - began < WAIT_S / 2
    assert ask(sqlite_ledger.place, "SELECT count(*) FROM decisions") == [(5,)]
