"""Random callers on both fakes, through our real servers: the simulated switch and they agree on every call."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import pytest

from ivr_consent.core import flow
from ivr_consent.core.steps import Ask, Pressed, Result, Step, TimedOut
from ivr_consent.testing.drivers.exchange import Exchange
from ivr_consent.testing.drivers.fake_asterisk import FakeAsteriskExchange
from ivr_consent.testing.drivers.fake_freeswitch import FakeFreeSwitchExchange
from ivr_consent.testing.scenario import parse_scenarios
from tests.differential import agrees, callers, disagreements, variety

SIDE_BY_SIDE = 48

fakes = pytest.mark.parametrize("exchange", [FakeAsteriskExchange, FakeFreeSwitchExchange])


@fakes
def test_route_decision_and_file_agree(exchange: Callable[[], Exchange], capsys: pytest.CaptureFixture[str]) -> None:
    """R1 to R7, for callers that nobody thought of."""
    agrees(exchange(), SIDE_BY_SIDE, capsys)


def test_callers_differ_and_are_the_same_by_their_seed() -> None:
    found = variety(callers())
    assert {key.partition(" ")[0] for key in found} >= {"granted", "declined", "no_answer", "invalid", "abandoned"}
    assert len(found) >= 8
    assert len({one.scenario.line.model_dump_json() for one in callers()}) > 20
    some = callers(5, 7)
    callers.cache_clear()
    assert callers(5, 7) == some != callers(5, 8)


def early_counts(before: Callable[..., Any]) -> Callable[..., Any]:
    """A key that is held since before the window counts as one pressed in it."""

    def changed(result: Result) -> Result:
        return replace(result, after_ms=max(0, result.after_ms)) if isinstance(result, Pressed) else result

    return answers_changed(before, changed)


def short_window(before: Callable[..., Any]) -> Callable[..., Any]:
    """The window is over after half of a telephone's."""

    def changed(result: Result) -> Result:
        return TimedOut() if isinstance(result, Pressed) and result.after_ms > SHORT_MS else result

    return answers_changed(before, changed)


SHORT_MS = 750


def answers_changed(before: Callable[..., Any], changed: Callable[[Result], Result]) -> Callable[..., Any]:
    def choose(*arguments: Any) -> Generator[Step, Result, Any]:
        run: Generator[Step, Any, Any] = before(*arguments)
        result: Result | None = None
        while True:
            try:
                step = run.send(result)
            except StopIteration as end:
                return end.value
            result = yield step
            result = changed(result) if isinstance(step, Ask) else result

    return choose


@pytest.mark.parametrize(
    ("planted", "exchange"), [(early_counts, FakeFreeSwitchExchange), (short_window, FakeAsteriskExchange)]
)
def test_a_planted_difference_is_found_and_can_be_played_again(
    planted: Callable[..., Any], exchange: Callable[[], Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both timelines are shown, and the caller's file, which says what the simulated switch did."""
    randoms = callers()
    files = {one.file: one.scenario for one in randoms}
    monkeypatch.setattr(flow._Flow, "choose", planted(flow._Flow.choose))
    monkeypatch.setattr("tests.differential.KEEP", None)
    found = disagreements(exchange(), randoms, SIDE_BY_SIDE)
    assert 0 < len(found) < len(randoms)
    for told in found:
        assert told.count("      when  for       who       what") == 2
        file = told[told.index("#:schema") :]
        (again,) = parse_scenarios(tomllib.loads(file), f"{files[file].name}.toml")
        assert again == files[file]
