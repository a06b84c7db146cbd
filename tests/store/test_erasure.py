"""Erasing persons from the log: not a byte is left, the chain verifies, and the log says so (R24, GDPR 17)."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConsentError, LedgerError
from ivr_consent.store import erasure
from ivr_consent.store.database import open_for_writing
from ivr_consent.store.erasure import Erasable, Finder, ranges
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place
from ivr_consent.store.schema import migrate
from ivr_consent.testing.clock import Clock
from tests.store.kept import RECORDED, Person, ask, call, codes, decided, events, in_files, note, verified


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger]:
    log = Ledger(replace(place, checkpoint_events=10_000), clock=Clock())
    yield log
    log.close()


@pytest.fixture
def sqlite_ledger(sqlite_place: Place) -> Iterator[Ledger]:
    log = Ledger(replace(sqlite_place, checkpoint_events=10_000), clock=Clock())
    yield log
    log.close()


def of_call(place: Place, person: Person) -> list[Erasable]:
    with Finder(place) as finder:
        return finder.of_call(person.call_id)


def forget(ledger: Ledger, *people: Person, by: str | None = None) -> erasure.Erasure:
    found = [erasable for person in people for erasable in of_call(ledger.place, person)]
    return erasure.forget(ledger, found, reason="erasure-request", by=by)


# --- finding ------------------------------------------------------------------------------------------------------


def test_a_caller_is_found_under_every_pseudonym(ledger: Ledger) -> None:
    """One caller, two periods; and nobody else."""
    before, after = Person(subject="2026Q1-" + "a" * 32), Person(subject="2026Q2-" + "b" * 32)
    for person in (before, Person(), after, Person(subject="2026Q1-" + "a" * 31)):
        call(ledger, person)
    with Finder(ledger.place) as finder:
        found = finder.of_caller([before.subject, after.subject, "2026Q3-" + "c" * 32])
        assert finder.of_caller(["2026Q1-" + "a" * 33]) == []
        assert finder.of_caller([]) == []
    assert {erasable.call_id for erasable in found} == {before.call_id, after.call_id}
    first = next(erasable for erasable in found if erasable.call_id == before.call_id)
    assert (first.line, first.outcome, first.events, first.recording) == ("support", "declined", (3,), False)


def test_a_call_is_found_by_the_beginning_of_its_id(ledger: Ledger) -> None:
    one, two = Person(call_id="ab" + "0" * 30), Person(call_id="ab" + "1" * 30)
    call(ledger, one)
    call(ledger, two)
    with Finder(ledger.place) as finder:
        assert [erasable.call_id for erasable in finder.of_call("ab0")] == [one.call_id]
        for wrong in ("ab", "cd", "", "ab%", "ab0' OR 1=1", "AB0"):
            with pytest.raises(ConsentError, match="no call, or more than one"):
                finder.of_call(wrong)


def test_a_reference_code_that_calls_share_is_not_decided_by_chance(ledger: Ledger) -> None:
    one, two = Person(reference="2026Q1-" + "d" * 32), Person(reference="2026Q1-" + "d" * 32)
    alone = Person()
    for person in (one, two, alone):
        call(ledger, person)
    with Finder(ledger.place) as finder:
        assert [erasable.call_id for erasable in finder.of_reference(["x", alone.reference])] == [alone.call_id]
        with pytest.raises(ConsentError, match="2 calls share this reference code") as told:
            finder.of_reference([one.reference])
        assert one.call_id in str(told.value)
        assert two.call_id in str(told.value)
        with pytest.raises(ConsentError, match="no call in the log has this reference code"):
            finder.of_reference(["2026Q1-" + "e" * 32])


# --- erasing ------------------------------------------------------------------------------------------------------


def test_what_is_left_of_a_forgotten_call(ledger: Ledger) -> None:
    """R7, R24: that it was asked and what was decided stays, with a proof; who it was is gone, and the log says so."""
    person, other = call(ledger), call(ledger)
    assert ledger.seal() is not None
    done = forget(ledger, person, by="anna")
    assert (done.calls, done.events, done.in_files) == (1, ((3, 3),), True)
    with ledger.reader() as reader:
        record, kept = reader.call(person.call_id), reader.call(other.call_id)
        assert record is not None
        assert kept is not None
        assert (record.decision.outcome, record.decision.erased) == ("declined", True)
        assert set(record.decision.payload["call"]) & {"subject_ref", "channel_uniqueid"} == set()
        assert "reference_ref" not in record.decision.payload
        assert kept.decision.payload["call"]["subject_ref"] == other.subject
        seal = reader.seal(3)
        assert seal is not None
        assert seal.personal == "erased"
        (told,) = reader.events(limit=1)
    assert (told.kind, told.call_id) == ("erased", None)
    assert told.payload == {"events": [[3, 3]], "reason": "erasure-request", "by": "anna"}
    assert events(ledger.place, "erased") == [{"events": [[3, 3]], "reason": "erasure-request"}]
    assert ask(ledger.place, "SELECT call_id FROM decisions WHERE reference IS NOT NULL") == [(other.call_id,)]
    assert ledger.seal() is not None
    report = verified(ledger.place)
    assert report.ok, report.findings
    assert (report.erased, codes(report)) == (1, {"personal_erased"})


def test_a_forgotten_call_is_found_no_more(ledger: Ledger) -> None:
    person = call(ledger)
    forget(ledger, person)
    with Finder(ledger.place) as finder:
        assert finder.of_caller([person.subject]) == []
        with pytest.raises(ConsentError, match="may have been erased"):
            finder.of_reference([person.reference])
        assert finder.of_call(person.call_id) == []
    again = erasure.forget(ledger, [], reason="erasure-request", by=None)
    assert (again.calls, again.events) == (0, ())
    assert len(events(ledger.place, "erased")) == 1, "nothing was erased, so nothing is said"


def test_what_staff_did_is_not_the_callers(ledger: Ledger) -> None:
    """R15: who had access to a call stays provable when the caller is forgotten."""
    person = call(ledger)
    note(ledger, person, "accessed", by="anna")
    note(ledger, person, "routed", agent="bo")
    forget(ledger, person)
    with ledger.reader() as reader:
        record = reader.call(person.call_id)
    assert record is not None
    assert [event.payload.get("by") or event.payload.get("agent") for event in record.later] == ["anna", "bo"]
    assert record.decision.erased


def test_a_call_that_was_asked_alone_can_be_forgotten(ledger: Ledger) -> None:
    """Its process died: there is no decision, and yet something personal."""
    person = Person()
    note(ledger, person, "asked", call={"subject_ref": person.subject})
    assert of_call(ledger.place, person)[0].outcome is None
    assert forget(ledger, person).events == ((2, 2),)
    assert of_call(ledger.place, person) == []


@pytest.mark.parametrize("later", [(), RECORDED])
def test_a_recording_is_erased_first(ledger: Ledger, later: tuple[str, ...]) -> None:
    """Its evidence has to be whole for as long as it exists (R22): nothing is erased, and what to do is said."""
    person = call(ledger, None, Outcome.GRANTED, *later)
    other = call(ledger)
    assert of_call(ledger.place, person)[0].recording
    with pytest.raises(ConsentError, match=f"ivr-consent withdraw {person.call_id}"):
        forget(ledger, other, person)
    assert events(ledger.place, "erased") == []
    assert of_call(ledger.place, other) != []
    note(ledger, person, "withdrawn")
    assert not of_call(ledger.place, person)[0].recording
    assert forget(ledger, other, person).calls == 2


def test_the_event_and_the_removal_are_one(sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong between them, there is neither."""
    person = call(sqlite_ledger)

    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(erasure, "tell_erased", breaks)
        with pytest.raises(ZeroDivisionError):
            forget(sqlite_ledger, person)
    assert len(in_files(sqlite_ledger.place.path, person.traces)) == 3
    assert events(sqlite_ledger.place, "erased") == []
    assert forget(sqlite_ledger, person).in_files
    assert in_files(sqlite_ledger.place.path, person.traces) == []


def test_many_calls_of_one_caller_go_in_short_transactions(sqlite_ledger: Ledger) -> None:
    subject = "2026Q1-" + "f" * 32
    people = [call(sqlite_ledger, Person(subject=subject)) for _ in range(erasure.BATCH + 5)]
    with Finder(sqlite_ledger.place) as finder:
        found = finder.of_caller([subject])
    done = erasure.forget(sqlite_ledger, found, reason="test", by=None)
    told = events(sqlite_ledger.place, "erased")
    assert len(told) == 2
    assert sum(last - first + 1 for first, last in done.events) == len(people)
    assert sum(last - first + 1 for event in told for first, last in event["events"]) == len(people)
    assert max(sum(last - first + 1 for first, last in event["events"]) for event in told) == erasure.BATCH


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((), ()), ((5,), ((5, 5),)), ((3, 1, 2, 7, 9, 8), ((1, 3), (7, 9))), ((1, 3, 5), ((1, 1), (3, 3), (5, 5)))],
)
def test_ranges(numbers: tuple[int, ...], expected: tuple[tuple[int, int], ...]) -> None:
    assert ranges(numbers) == expected


# --- the files ----------------------------------------------------------------------------------------------------


def salt_of(place: Place, person: Person) -> bytes:
    query = "SELECT p.salt FROM personal AS p JOIN events AS e USING (sequence) WHERE e.call_id = ?"
    ((salt,),) = ask(place, query, person.call_id)
    return bytes(salt)


def test_not_a_byte_is_left_in_the_files(sqlite_ledger: Ledger) -> None:
    """Neither in the database nor in its write-ahead log: not the pseudonym, the channel, the salt, the reference."""
    place = sqlite_ledger.place
    people = [call(sqlite_ledger) for _ in range(40)]
    traces = [trace for person in people for trace in (*person.traces, salt_of(place, person))]
    assert len(in_files(place.path, traces)) == 160
    gone = people[3:30:4]
    traces = [trace for person in gone for trace in (*person.traces, salt_of(place, person))]
    assert forget(sqlite_ledger, *gone).in_files
    assert in_files(place.path, traces) == []
    kept = [person for person in people if person not in gone]
    assert len(in_files(place.path, [trace for person in kept for trace in person.traces])) == 3 * len(kept)


def test_a_reader_in_the_way_is_told_of_and_not_waited_for(sqlite_ledger: Ledger) -> None:
    """Who holds the log open in a state of before keeps the write-ahead log from being emptied: later, then."""
    place, person = sqlite_ledger.place, call(sqlite_ledger)
    traces = [*person.traces, salt_of(place, person)]
    with closing(sqlite3.connect(f"file:{place.path}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM personal").fetchall()
        done = erasure.forget(
            sqlite_ledger, of_call(place, person), reason="erasure-request", by=None, files_deadline_s=0.2
        )
        assert not done.in_files
        assert in_files(place.path, traces) != []
        assert not erasure.forget_in_files(place, 0.0)
        assert call(sqlite_ledger) is not None, "calls go on meanwhile"
        reader.execute("COMMIT")
    assert erasure.forget_in_files(place, 0.0)
    assert in_files(place.path, traces) == []


class _Page:
    """Rows of the table, written and erased as the log does it."""

    def __init__(self, path: Path, seed: int) -> None:
        self.database = open_for_writing(path)
        self.database.execute("PRAGMA synchronous=OFF")
        self.database.begin()
        migrate(self.database)
        self.database.commit()
        self.random = random.Random(seed)  # noqa: S311 - the same run every time
        self.sequence = 0
        self.kept: dict[int, tuple[bytes, ...]] = {}
        self.gone: dict[int, tuple[bytes, ...]] = {}

    def add(self, rows: int) -> None:
        self.database.begin()
        for _ in range(rows):
            self.sequence += self.random.choice((1, 1, 3))
            salt, subject = os.urandom(32), f"2026Q1-{os.urandom(16).hex()}"
            channel = os.urandom(self.random.randrange(6, 12)).hex()
            data = f'{{"call":{{"channel_uniqueid":"{channel}","subject_ref":"{subject}"}}}}'.encode()
            values = (self.sequence, salt, data, subject, self.random.choice((None, None, "bö")))
            self.database.execute("INSERT INTO personal VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL, 0)", values)
            self.kept[self.sequence] = (salt, subject.encode(), channel.encode())
        self.database.commit()

    def erase(self, sequences: list[int]) -> None:
        self.database.begin()
        erasure.overwrite(self.database, sequences)
        self.database.commit()
        self.gone |= {sequence: self.kept.pop(sequence) for sequence in sequences}

    def clear(self) -> int:
        cleared = 0
        while True:
            self.database.begin()
            found = erasure.clear_overwritten(self.database)
            self.database.commit()
            if not found:
                return cleared
            cleared += found


@pytest.mark.parametrize("how", ["at random", "oldest first", "every other"])
def test_nothing_is_left_however_much_is_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Thousands of rows come and go, in every order; no page keeps a copy of any of them."""
    monkeypatch.setattr(erasure, "MARGIN", 200)
    page = _Page(tmp_path / "decisions.db", 1)
    cleared = 0
    for _ in range(16):
        page.add(250)
        there = sorted(page.kept)
        if how == "at random":
            page.erase(page.random.sample(there, len(there) // 3))
        elif how == "oldest first":
            page.erase(there[: len(there) // 2])
        else:
            page.erase(there[: len(there) // 2 : 2])
        cleared += page.clear()
    assert page.database.forget_erased()
    page.database.close()
    assert len(page.gone) > 1500
    assert cleared > 0 or how == "at random"
    content = (tmp_path / "decisions.db").read_bytes()
    assert [trace for row in page.gone.values() for trace in row if trace in content] == []
    assert all(trace in content for row in page.kept.values() for trace in row)


def test_room_is_given_back_and_what_is_needed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "MARGIN", 50)
    page = _Page(tmp_path / "decisions.db", 2)
    page.add(1000)
    first = sorted(page.kept)
    page.erase(first[:400])
    assert page.clear() == 350, "all but the margin"
    page.erase(first[400:])
    assert page.clear() == 599, "but for the margin, and the end, where new rows are added"
    assert page.clear() == 0
    page.add(1)
    page.database.close()


def test_a_log_that_cannot_be_written_is_told(sqlite_place: Place) -> None:
    ledger = Ledger(sqlite_place)
    person = call(ledger)
    found = of_call(sqlite_place, person)
    ledger.close()
    with pytest.raises(LedgerError):
        erasure.forget(ledger, found, reason="test", by=None)


def test_a_decision_is_what_it_was(ledger: Ledger) -> None:
    """R22: what is left of the decision is what was decided, to the letter."""
    person = Person()
    made = decided(person).payload()
    call(ledger, person)
    forget(ledger, person)
    with ledger.reader() as reader:
        record = reader.call(person.call_id)
    assert record is not None
    for gone in ("subject_ref", "channel_uniqueid"):
        del made["call"][gone]
    del made["reference_ref"]
    assert {**record.decision.payload} == {name: list(v) if isinstance(v, tuple) else v for name, v in made.items()}
