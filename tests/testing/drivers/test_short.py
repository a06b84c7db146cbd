"""Where an action falls in a call with short prompts: the same place, in the same order, over the end or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivr_consent.config import Line
from ivr_consent.core.decision import Outcome
from ivr_consent.core.steps import Destination
from ivr_consent.pbx.simulated.caller import Action, During, HangUp, InWindow, Place, Press
from ivr_consent.testing.drivers.short import TELEPHONE, Pace, ShortLine, ShortSite, when
from ivr_consent.testing.scenario import Expect, Scenario


@pytest.fixture(scope="module", params=[Pace(), TELEPHONE], ids=["fake", "telephone"])
def line(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ShortLine:
    expect = Expect(outcome=Outcome.NO_ANSWER, reason="silence", route=Destination.UNRECORDED)
    scenario = Scenario(name="one", summary="One", line=Line(), expect=expect)
    site = ShortSite(Path(tmp_path_factory.mktemp("short")), request.param)
    site.add([scenario])
    return site.line(scenario)


def pressed(line: ShortLine, place: Place, hold_ms: int = 100) -> tuple[int, int]:
    return when(Action(place, Press("1", hold_ms)), line)


def test_early_in_a_place_milliseconds_are_kept(line: ShortLine) -> None:
    assert pressed(line, InWindow(at_ms=400)) == (400, 100)
    assert when(Action(During("more", at_ms=20), HangUp()), line) == (20, 0)


def test_later_ones_keep_their_order_and_stay_inside(line: ShortLine) -> None:
    times = [pressed(line, InWindow(at_ms=at))[0] for at in range(0, 8001, 50)]
    assert times == sorted(times)
    assert times[-1] < line.pace.window_ms
    assert len(set(times)) > 100
    inside = [when(Action(During("more", at_ms=at), HangUp()), line)[0] for at in range(0, 4001, 100)]
    assert max(inside) < line.pace.prompt_ms


@pytest.mark.parametrize("at_ms", [-1, -50, -200, -1000])
@pytest.mark.parametrize("over_ms", [1, 100, 14_000])
def test_a_key_held_across_the_end_is_held_across_the_end(line: ShortLine, at_ms: int, over_ms: int) -> None:
    at, hold = pressed(line, During("training-question", at_ms=at_ms), -at_ms + over_ms)
    assert 0 < at < line.pace.prompt_ms
    pace = line.pace
    assert pace.prompt_ms + pace.over_ms <= at + hold <= 2 * pace.prompt_ms + pace.window_ms // 2


@pytest.mark.parametrize("at_ms", [-300, -1000, 0, 500])
def test_a_key_released_in_the_prompt_is_released_in_the_prompt(line: ShortLine, at_ms: int) -> None:
    at, hold = pressed(line, During("training-question", at_ms=at_ms), 100)
    pace = line.pace
    assert 0 <= at < at + hold <= pace.prompt_ms - pace.over_ms // 2
    assert hold >= pace.hold_ms
