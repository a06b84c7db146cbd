"""Verdicts: the call as a timeline, for people, for integration servers, and as a picture."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from ivr_consent.site import shipped
from ivr_consent.testing import reports
from ivr_consent.testing.drivers import simulated
from ivr_consent.testing.picture import picture
from ivr_consent.testing.scenario import Observed, Scenario, load_directory
from ivr_consent.testing.verdict import Verdict, Who, timeline, told

SVG = "{http://www.w3.org/2000/svg}"


def observed(*events: tuple[int, str], end: int = 9000) -> Observed:
    return Observed(
        "granted",
        "yes_key",
        "recorded",
        logged=True,
        decision=None,
        events=tuple(word for _, word in events),
        recorder=(),
        running=1,
        files=1,
        events_at_ms=tuple(at for at, _ in events),
        elapsed_ms=end,
    )


CALL = observed(
    (0, "answer"),
    (0, "play controller"),
    (2000, "press 7"),
    (3000, "play training-question"),
    (4000, "window training"),
    (4500, "press 1"),
    (4700, "decide granted"),
    (4800, "record"),
    (4900, "play result-granted"),
    (8000, "route recorded"),
)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return next(one for one in load_directory(shipped("scenarios")) if one.name == "yes")


def test_what_lasts_ends_with_the_next_thing_that_the_caller_does_not_do() -> None:
    lasting = {moment.event: (moment.at_ms, moment.ended_ms) for moment in timeline(CALL) if moment.ended_ms}
    assert lasting["play controller"] == (0, 3000)
    assert lasting["window training"] == (4000, 4700)
    assert lasting["play result-granted"] == (4900, 8000)


def test_a_hang_up_ends_what_is_heard() -> None:
    (hears, hangs_up, _) = timeline(observed((0, "play more"), (700, "hang up"), (900, "decide abandoned")))
    assert (hears.ended_ms, hangs_up.who) == (700, Who.CALLER)


def test_who_and_when_are_told(scenario: Scenario) -> None:
    text = "\n".join(told(Verdict(scenario, "simulated", CALL, ("reason: expected 'x', was 'y'",))))
    assert text.startswith("FAILED  yes on simulated: Yes in the window: recorded\n  - reason: expected 'x', was 'y'\n")
    for line in (
        "     0.000  3.000     caller    hears controller",
        "     4.500            caller    presses 1",
        "     4.700            log       is sent the decision: granted",
        "     4.800            recorder  is started",
        "     8.000            switch    is told: the recorded line",
    ):
        assert line in text.splitlines()


def test_a_line_of_json_has_the_whole_call(scenario: Scenario) -> None:
    line = reports.json_line(Verdict(scenario, "simulated", CALL, seconds=0.25))
    assert line.count("\n") == 1
    found = json.loads(line)
    assert (found["scenario"], found["result"], found["seconds"]) == ("yes", "passed", 0.25)
    assert found["timeline"][2] == {"at_ms": 2000, "ended_ms": 2000, "who": "caller", "event": "press 7"}


def test_junit(scenario: Scenario) -> None:
    other = scenario.model_copy(update={"name": "other/a", "summary": "\x1b[31m & <b>"})
    verdicts = [
        Verdict(scenario, "simulated", CALL, seconds=0.5),
        Verdict(other, "simulated", CALL, ('reason: "\x07"',), seconds=0.25),
        Verdict(other.model_copy(update={"name": "other/b"}), "simulated", None, skipped="why not"),
    ]
    root = ET.fromstring(reports.junit(verdicts))  # noqa: S314 - our own
    assert {name: root.get(name) for name in ("tests", "failures", "skipped", "errors", "time")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
        "errors": "0",
        "time": "0.750000",
    }
    assert [suite.get("name") for suite in root] == ["simulated.yes", "simulated.other"]
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("message") == 'reason: "\N{REPLACEMENT CHARACTER}"'
    assert failure.text is not None
    assert "hears controller" in failure.text
    assert "& <b>" in failure.text
    skipped = root.find(".//skipped")
    assert skipped is not None
    assert skipped.get("message") == "why not"


def test_a_picture_shows_prompts_keys_and_the_recorder(scenario: Scenario) -> None:
    other = scenario.model_copy(update={"summary": "<script>&\x1b"})
    root = ET.fromstring(picture(Verdict(other, "simulated", CALL, ("wrong & so",))))  # noqa: S314 - our own
    titles = [title.text for title in root.iter(f"{SVG}title")]
    bars = [one for one in root.iter(f"{SVG}rect") if one.find(f"{SVG}title") is not None]
    assert len(bars) == 5, "three prompts, a window, a recorder"
    assert "0.000 caller hears controller" in titles
    assert "the recorder runs" in titles
    keys = list(root.iter(f"{SVG}circle"))
    assert len(keys) == 2
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "wrong: wrong & so" in texts
    assert not list(root.iter(f"{SVG}script"))


def test_the_recorder_is_drawn_until_it_was_stopped(scenario: Scenario) -> None:
    stopped = observed((0, "play more"), (1000, "record"), (2000, "stop"), (4000, "route unrecorded"), end=4000)
    root = ET.fromstring(picture(Verdict(scenario, "simulated", stopped)))  # noqa: S314 - our own
    (bar,) = (one for one in root.iter(f"{SVG}rect") if one.findtext(f"{SVG}title") == "the recorder runs")
    assert float(bar.get("width", "0")) == pytest.approx(1070 / 4, abs=2)


def test_every_shipped_call_can_be_told_and_drawn() -> None:
    found: list[Verdict] = []
    simulated.play(load_directory(shipped("scenarios")), found.append)
    for verdict in found:
        ET.fromstring(picture(verdict))  # noqa: S314 - our own
        assert verdict.seen is not None
        assert len(list(told(verdict))) == 2 + len(verdict.seen.events)
        times = [moment.at_ms for moment in timeline(verdict.seen)]
        assert times == sorted(times)
