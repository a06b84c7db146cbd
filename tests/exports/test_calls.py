"""Reading a log call by call: whole, in order, in pages, as it was when it was opened; and whatever was put into it."""

from __future__ import annotations

import json
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConsentError, LedgerError
from ivr_consent.exports import calls as calls_module
from ivr_consent.exports import sheet
from ivr_consent.exports.calls import Calls, Selection
from ivr_consent.exports.facts import Standing, Subject, facts_of
from ivr_consent.store.erasure import overwrite
from ivr_consent.store.place import Place, open_for_writing, place_of
from ivr_consent.verifier import Event, leaf, leaf_hash
from tests.exports.support import PSEUDONYM, Book, book, by_name, facts
from tests.sites import SmallSite

HOSTILE = "evil\x1b]0;owned\x07\r\n=cmd\u202e\ud800"


@pytest.fixture
def path(written: tuple[SmallSite, Book]) -> Path:
    return place_of(written[0].settings).path


def insert(path: Path, **columns: Any) -> int:
    """Write an event past us; its sequence."""
    values = {
        "time": "2026-03-02T08:30:00.000+00:00",
        "kind": "decision",
        "call_id": "f" * 32,
        "line": "support",
        "outcome": "granted",
        "payload": b"{}",
        "commitment": None,
        "previous": bytes(32),
        **columns,
    }
    with closing(sqlite3.connect(path)) as connection, connection:
        (sequence,) = connection.execute("SELECT max(sequence) + 1 FROM events").fetchone()
        sequence = values.setdefault("sequence", sequence)
        connection.execute("UPDATE log SET size = max(size, ?)", (sequence,))
        names = ", ".join(values)
        connection.execute(
            f"INSERT INTO events ({names}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608 - our own names
            list(values.values()),
        )
    return int(sequence)


# --- order, pages, choice --------------------------------------------------------------------------------------------


def test_calls_come_in_the_order_of_their_decisions(written: tuple[SmallSite, Book]) -> None:
    site, page = written
    found = facts(place_of(site.settings))
    assert [call.call_id for call in found] == list(page.calls.values())
    assert [call.sequence for call in found] == sorted(call.sequence for call in found)


def test_each_has_its_own_events(written: tuple[SmallSite, Book]) -> None:
    """What a call's events say, and nothing of the calls between them."""
    site, page = written
    found = by_name(page, facts(place_of(site.settings)))
    assert {name: call.standing for name, call in found.items()} == {
        "kept": Standing.GIVEN,
        "refused": Standing.REFUSED,
        "silent": Standing.UNDECIDED,
        "other-key": Standing.UNDECIDED,
        "hung-up": Standing.UNDECIDED,
        "failed": Standing.UNKNOWN,
        "withdrawn": Standing.WITHDRAWN,
        "expired": Standing.EXPIRED,
        "void": Standing.VOID,
        "running": Standing.GIVEN,
    }
    assert found["failed"].asked_at is None
    assert found["kept"].asked_at == "2026-03-02T08:30:00.000+00:00"
    assert found["running"].recording == "confirmed"
    assert found["running"].due is None
    assert found["void"].route == "unrecorded"
    assert all(call.readable for call in found.values())


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages_change_nothing(written: tuple[SmallSite, Book], monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    place = place_of(written[0].settings)
    whole = facts(place)
    with Calls(place) as calls:
        events = list(calls.events(Selection()))
    monkeypatch.setattr(calls_module, "PAGE", size)
    monkeypatch.setattr(calls_module, "EVENTS_PAGE", size)
    assert facts(place) == whole
    with Calls(place) as calls:
        assert list(calls.events(Selection())) == events


def test_what_is_written_later_is_not_in_it(site: SmallSite) -> None:
    (manifest,) = site.publish()
    with book(site, manifest) as page:
        page.call("first")
        with Calls(place_of(site.settings)) as calls:
            page.note("first", "withdrawn", {"reason": "by_administrator"})
            page.call("second")
            found = [facts_of(call) for call in calls.stream(Selection())]
            assert [call.standing for call in found] == [Standing.GIVEN]
            assert calls.count(Selection()) == 1
            assert {event.kind for event in calls.events(Selection())} == {"log_created", "asked", "decision"}


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (Selection(outcome="declined"), ["refused"]),
        (Selection(line="other"), []),
        (Selection(line="support", outcome="no_answer"), ["silent"]),
        (Selection(since="2026-04-02T00:00:00.000+00:00"), ["void", "running"]),
        (Selection(until="2026-03-02T08:36:41.250+00:00"), ["kept"]),
        (Selection(until="2026-03-02T08:36:41.251+00:00"), ["kept", "refused"]),
        (Selection(since="2026-03-02T08:36:41.250+00:00", until="2026-03-02T08:38:00+00:00"), ["refused"]),
    ],
)
def test_a_choice(written: tuple[SmallSite, Book], chosen: Selection, names: list[str]) -> None:
    site, page = written
    found = facts(place_of(site.settings), chosen)
    assert [call.call_id for call in found] == [page.calls[name] for name in names]
    with Calls(place_of(site.settings)) as calls:
        assert calls.count(chosen) == len(names)


def test_one_call_by_the_beginning_of_its_id(written: tuple[SmallSite, Book]) -> None:
    site, page = written
    wanted = page.calls["withdrawn"]
    with Calls(place_of(site.settings)) as calls:
        assert calls.find(wanted[:12]) == wanted
        for wrong in ("", "zz", "f" * 32, "' OR 1=1 --"):
            with pytest.raises(ConsentError, match="log list"):
                calls.find(wrong)
    assert [call.call_id for call in facts(place_of(site.settings), Selection(call=wanted))] == [wanted]


def test_a_decision_is_found_by_its_leaf(written: tuple[SmallSite, Book], path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        columns = "sequence, time, kind, call_id, line, outcome, payload, commitment, previous"
        rows = connection.execute(f"SELECT {columns} FROM events WHERE kind = 'decision'").fetchall()  # noqa: S608 - our own columns
    expected = {row[0]: leaf_hash(leaf(Event(*row))).hex() for row in rows}
    assert {call.sequence: call.proof.leaf for call in facts(path)} == expected


def test_a_call_has_the_first_checkpoint_over_it(site: SmallSite) -> None:
    (manifest,) = site.publish()
    with book(site, manifest) as page:
        page.call("first")
        page.ledger.seal()
        page.call("second")
        page.call("third")
        page.ledger.seal()
        page.call("fourth")
        with Calls(place_of(site.settings)) as calls:
            found = by_name(page, [facts_of(call) for call in calls.stream(Selection())])
            sizes = {name: calls.checkpoint_over(call.sequence) for name, call in found.items()}
            newest = calls.newest_checkpoint()
    first, second = sizes["first"], sizes["second"]
    assert first is not None
    assert second is not None
    assert first.size < found["second"].sequence <= second.size
    assert sizes["third"] == second == newest
    assert sizes["fourth"] is None


# --- what is gone ----------------------------------------------------------------------------------------------------


def test_erased_data_is_told_as_erased(written: tuple[SmallSite, Book], path: Path) -> None:
    """GDPR 17: nothing is made up in its place."""
    _, page = written
    sequence = by_name(page, facts(path))["kept"].sequence
    with closing(open_for_writing(Place(path))) as database:
        database.begin()
        overwrite(database, [sequence])
        database.commit()
    kept = by_name(page, facts(path))["kept"]
    assert (kept.subject, kept.subject_is) == (None, Subject.ERASED)
    assert (kept.outcome, kept.readable) == ("granted", True)
    assert by_name(page, facts(path))["silent"].subject == PSEUDONYM


def test_pruned_events_are_left_out(written: tuple[SmallSite, Book], path: Path) -> None:
    """A decision whose time is over is no call any more; a call whose beginning is pruned has no beginning."""
    _, page = written
    found = by_name(page, facts(path))
    gone = [found["refused"].sequence, found["silent"].sequence - 1]
    with closing(sqlite3.connect(path)) as connection, connection:
        for sequence in gone:
            connection.execute("INSERT INTO pruned VALUES (?, ?)", (sequence, bytes(32)))
            connection.execute("DELETE FROM events WHERE sequence = ?", (sequence,))
        connection.execute("DELETE FROM decisions WHERE sequence = ?", (gone[0],))
    left = by_name(page, facts(path))
    assert "refused" not in left
    assert left["silent"].asked_at is None
    with Calls(Place(path)) as calls:
        assert calls.pruned() == 2
        assert calls.count(Selection()) == len(left)


# --- what somebody else has put there --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not json",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"reason":' + b"9" * 5000 + b"}",
        "text, not bytes",
        17,
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_payload_that_is_none_is_told(path: Path, payload: Any) -> None:
    insert(path, payload=payload)
    call = facts(path)[-1]
    assert not call.readable
    assert (call.reason, call.notice, call.answers) == (None, None, ())
    assert sheet.row(call).endswith(b",no\r\n")
    with Calls(Place(path)) as calls:
        assert list(calls.events(Selection()))[-1].payload is None


@pytest.mark.parametrize(
    "payload",
    [
        {"call": [], "notice": "x", "answers": {"a": 1}, "purposes_granted": 7, "retention_days": "30"},
        {"notice": {"segments": [HOSTILE, {"id": HOSTILE, "complete": "yes", "times": 1.5}], "version": True}},
        {"answers": [None, {"purpose": 1, "key": {}, "after_ms": 10**300}], "purposes_granted": [None, HOSTILE]},
        {"route": {"deep": []}, "reason": HOSTILE, "retention_days": 10**15, "call": {"subject_ref": HOSTILE}},
        {"retention_days": -5, "notice": {"id": "x" * 50_000}},
        {},
    ],
)
def test_values_of_another_type_are_none(path: Path, payload: object) -> None:
    insert(path, payload=json.dumps(payload).encode(), line=HOSTILE.replace("\ud800", ""), outcome="granted")
    insert(path, kind="recording_ended", payload=b'{"route":{"a":1},"sha256":[1],"milliseconds":"x"}')
    call = facts(path)[-1]
    assert call.readable
    assert call.due is None
    row = sheet.row(call).decode()
    assert row.removesuffix("\r\n").isprintable()
    assert len(row) < 20_000


def test_a_huge_payload_is_not_read(path: Path) -> None:
    """A log that was made to use up memory."""
    insert(path, payload=b'{"reason":"' + b"x" * (64 << 20) + b'"}')
    tracemalloc.start()
    try:
        calls = facts(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not calls[-1].readable
    assert peak < 16 << 20


def test_what_followed_is_read_as_far_as_there_is_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "MAX_FOLLOWING", 150_000)
    insert(path)
    for _ in range(6):
        insert(path, kind="recording_ended", payload=b'{"file":"' + b"x" * 50_000 + b'"}')
    found = facts(path)[-1]
    assert not found.readable
    assert found.last_sequence == found.sequence + 6


def test_a_text_that_is_too_long_is_told(path: Path) -> None:
    """No reader takes it out of the file; nothing is left out without a word."""
    insert(path, line="x" * (8 << 20))
    with pytest.raises(LedgerError, match="log verify"):
        facts(path)


@pytest.mark.parametrize("statement", ["DELETE FROM log", "DROP TABLE log"])
def test_a_log_that_does_not_say_where_it_ends(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    with pytest.raises(LedgerError):
        facts(path)


def test_a_call_without_end_is_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "MAX_EVENTS", 5)
    insert(path)
    for _ in range(8):
        insert(path, kind="recording_ended")
    assert facts(path)[-1].left_out == 3


def test_two_decisions_of_one_call_are_both_told(path: Path) -> None:
    """One cannot hide the other."""
    before = facts(path)
    insert(path, call_id=before[0].call_id, outcome="declined")
    after = facts(path)
    assert [call.outcome for call in after if call.call_id == before[0].call_id] == ["granted", "declined"]


def test_a_decision_that_the_index_does_not_have_is_told(path: Path) -> None:
    """Exports are of the events, which are evidence, and not of what was made from them."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM decisions")
    assert len(facts(path)) == 10


# --- memory ----------------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_log(site: SmallSite, monkeypatch: pytest.MonkeyPatch) -> None:
    (manifest,) = site.publish()
    monkeypatch.setattr(calls_module, "PAGE", 10)
    with book(site, manifest) as page:
        place = place_of(site.settings)
        for number in range(40):
            page.call(f"few-{number}", Outcome.DECLINED)
        few = peak_of(place)
        for number in range(400):
            page.call(f"many-{number}", Outcome.DECLINED)
        many = peak_of(place)
    assert many < few * 1.3 + 50_000


def peak_of(place: Place) -> int:
    """Memory that reading every call takes at most, bytes."""

    def rows() -> Iterator[bytes]:
        with Calls(place) as calls:
            for call in calls.stream(Selection()):
                yield sheet.row(facts_of(call))

    size = sum(len(row) for row in rows())  # whatever is made once is made now
    tracemalloc.start()
    try:
        assert sum(len(row) for row in rows()) == size
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
