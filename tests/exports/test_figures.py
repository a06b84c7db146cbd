"""What a report counts: every number of a log that is known, and bounded memory for one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from ivr_consent.core.decision import Outcome
from ivr_consent.exports import figures as figures_module
from ivr_consent.exports.calls import Calls, Noted, Selection
from ivr_consent.exports.figures import LONGEST_MS, NONE, OTHERS, UNKNOWN, Answers, Figures, Heard, Spoken, Version
from ivr_consent.store.place import place_of
from ivr_consent.testing.plans import call_context
from tests.exports.support import BEGIN, Book, decision
from tests.sites import SmallSite


@pytest.fixture
def counted(written: tuple[SmallSite, Book]) -> Figures:
    found = Figures()
    with Calls(place_of(written[0].settings)) as calls:
        found.count(calls.events(Selection()))
    return found


def noted(payload: Any = None, *, day: str = "2026-03-02", **more: Any) -> Noted:
    values: dict[str, Any] = {"kind": "decision", "line": "support", "outcome": "granted", **more}
    return Noted(1, f"{day}T08:30:00.000+00:00", values["kind"], values["line"], values["outcome"], payload)


def counted_of(*events: Noted) -> Figures:
    found = Figures()
    found.count(events)
    return found


def test_every_outcome_is_counted(counted: Figures) -> None:
    expected = {"granted": 5, "declined": 1, "no_answer": 1, "invalid": 1, "abandoned": 1, "failed": 1}
    assert dict(counted.outcomes) == expected
    assert counted.calls == 10
    assert {day.isoformat(): sum(counts.values()) for day, counts in counted.days.items()} == {
        "2026-03-02": 7,
        "2026-03-03": 1,
        "2026-04-02": 2,
    }
    assert {name: counts.total() for name, counts in counted.lines.items()} == {"support": 10}
    assert {name: counts.total() for name, counts in counted.languages.items()} == {"en": 9, "da": 1}
    assert counted.versions[Version("support", "recording", "1")].total() == 10
    assert counted.reasons[("failed", "prompt_not_whole")] == 1


def test_events_around_the_decision_are_counted(counted: Figures) -> None:
    kinds = {"withdrawn": 1, "recording_expired": 1, "recording_ended": 3, "recording_confirmed": 4, "grant_void": 1}
    assert {kind: counted.kinds[kind] for kind in kinds} == kinds
    assert counted.kinds["decision"] == 10
    assert counted.first_time == "2026-03-02T08:30:00.000+00:00"
    assert counted.last_time == "2026-04-02T09:48:03.750+00:00"


def test_answers_are_counted_by_what_they_were(counted: Figures) -> None:
    assert (counted.answers["granted"].number, counted.answers["declined"].number) == (10, 2)
    assert counted.answers["granted"].below(0.5) == 1250


# --- time to decide --------------------------------------------------------------------------------------------------


def test_shares_of_answers_are_exact() -> None:
    times = Answers()
    for milliseconds in range(1, 1001):
        times.add(milliseconds)
    assert [times.below(share) for share in (0.001, 0.1, 0.5, 0.9, 1.0)] == [1, 100, 500, 900, 1000]
    assert times.bins(500, 1000) == [499, 501]
    assert sum(times.bins(500, 500)) == 1000


def test_what_is_out_of_bounds_is_counted() -> None:
    times = Answers()
    for milliseconds in (-1, -(2**40), 2**40, LONGEST_MS):
        times.add(milliseconds)
    assert (times.number, times.early) == (2, 2)
    assert times.below(0.5) == LONGEST_MS
    assert Answers().below(0.5) is None


# --- where callers hang up -------------------------------------------------------------------------------------------


def hung_up(manifest: Any, reason: str, heard: int, times: int = 0) -> Noted:
    payload = decision(call_context(), Outcome.ABANDONED, manifest, heard=heard, reason=reason).payload()
    payload["notice"]["times"] = times
    return noted(payload, outcome="abandoned")


def test_the_place_where_a_caller_hung_up(site: SmallSite) -> None:
    """On the first playing by its segment; everything else apart."""
    (manifest,) = site.publish()
    whole = noted(decision(call_context(), Outcome.GRANTED, manifest).payload())
    found = counted_of(
        whole,
        hung_up(manifest, "hung_up_informing", 0),
        hung_up(manifest, "hung_up_informing", 3),
        hung_up(manifest, "hung_up_informing", 3),
        hung_up(manifest, "hung_up_informing", 2, times=1),
        hung_up(manifest, "hung_up_questioning", 8, times=1),
        hung_up(manifest, "hung_up_choosing", 9, times=1),
        hung_up(manifest, "hung_up_explaining", 9, times=1),
        hung_up(manifest, "hung_up_ringing", 0),
    )
    heard = found.heard[Spoken("support", "recording", "1", "en")]
    assert (heard.calls, heard.hung_up) == (9, 8)
    assert heard.left == [1, 0, 0, 2, 0, 0, 0, 0, 1, 0]
    assert (heard.before, heard.choosing, heard.later) == (1, 1, 2)
    assert heard.still_there() == [7, 7, 7, 5, 5, 5, 5, 5, 4, 4]
    assert heard.segments[0] == "controller"
    assert heard.segments[-2:] == ("training-question", "quality-question")


def test_who_did_not_hang_up_is_still_there() -> None:
    heard = Heard(("a", "b"))
    heard.calls = 5
    assert heard.still_there() == [5, 5]


def test_another_order_of_segments_is_left_out(site: SmallSite) -> None:
    (manifest,) = site.publish()
    payload = decision(call_context(), Outcome.ABANDONED, manifest, heard=2).payload()
    other = decision(call_context(), Outcome.ABANDONED, manifest, heard=2).payload()
    other["notice"]["segments"].reverse()
    found = counted_of(noted(payload, outcome="abandoned"), noted(other, outcome="abandoned"))
    assert found.heard[Spoken("support", "recording", "1", "en")].calls == 1


# --- logs of others --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"notice": [], "answers": 7, "call": "x", "reason": {}},
        {"notice": {"segments": "x", "times": "1"}, "answers": [None, {"answer": ["granted"], "after_ms": 5}]},
        {
            "notice": {"segments": [1, {"id": {}}], "version": 10**400},
            "answers": [{"answer": "granted", "after_ms": 1.5}],
        },
    ],
)
def test_whatever_a_decision_holds_it_is_counted_once(payload: Any) -> None:
    found = counted_of(noted(payload), noted(payload, outcome="?"), noted(payload, outcome="abandoned"))
    assert dict(found.outcomes) == {"granted": 1, UNKNOWN: 1, "abandoned": 1}
    assert found.unreadable == (3 if payload is None else 0)
    assert found.answers["granted"].number == 0


@pytest.mark.parametrize("day", ["yesterday!", "2026-13-40", "0000-01-01", "9999-12-31", ""])
def test_days_that_there_are_not(day: str) -> None:
    found = counted_of(noted({}, day=day))
    assert (found.calls, found.undated, found.days) == (1, 1, {})


def test_names_without_end_are_counted_together() -> None:
    """Memory is bounded; the sums are right."""

    def events() -> Iterator[Noted]:
        for number in range(1000):
            name = f"x{number}"
            segments = [{"id": name}]
            payload = {
                "reason": name,
                "call": {"software": name},
                "notice": {"id": name, "version": number + 1, "language": name, "segments": segments},
            }
            yield noted(payload, line=name)
            yield noted(None, kind=name)

    found = Figures()
    found.count(events())
    for counts in (found.lines, found.languages, found.versions):
        assert len(counts) == figures_module.MAX_NAMES + 1
        assert sum(one.total() for one in counts.values()) == 1000
    assert found.lines[OTHERS].total() == 1000 - figures_module.MAX_NAMES
    for numbers in (found.reasons, found.software, found.kinds):
        assert len(numbers) <= figures_module.MAX_NAMES + 1
    assert sum(found.kinds.values()) == 2000
    assert len(found.heard) == figures_module.MAX_NAMES


def test_days_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_module, "MAX_DAYS", 10)
    days = [(date(1950, 1, 1) + timedelta(days=at)).isoformat() for at in range(25)]
    found = counted_of(*(noted({}, day=day) for day in days))
    assert (len(found.days), found.undated) == (10, 15)


def test_long_and_hostile_names_are_short_and_printable() -> None:
    found = counted_of(noted({"reason": "\x1b[2J" * 100}, line="\u202e" + "x" * 5000))
    (line,) = found.lines
    assert line.isprintable()
    assert len(line) < 200
    assert next(iter(found.languages)) == NONE
    assert found.first_time.startswith(BEGIN.strftime("%Y-%m-%d"))
