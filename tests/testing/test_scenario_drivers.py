"""One set of scenario files on every driver: the simulated switch, and both fakes with our real servers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core import flow
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConsentError
from ivr_consent.core.steps import Destination, Pressed, Result, Step
from ivr_consent.site import shipped
from ivr_consent.testing.drivers import exchange as exchanges
from ivr_consent.testing.drivers import simulated
from ivr_consent.testing.drivers.exchange import Exchange
from ivr_consent.testing.drivers.fake_asterisk import FakeAsteriskExchange
from ivr_consent.testing.drivers.fake_freeswitch import FakeFreeSwitchExchange
from ivr_consent.testing.drivers.short import ShortSite
from ivr_consent.testing.scenario import Scenario, load_directory
from ivr_consent.testing.verdict import Verdict, told

ALL = load_directory(shipped("scenarios"))
PORTABLE = [scenario for scenario in ALL if scenario.portable]
AT_ONCE = 100

fakes = pytest.mark.parametrize("exchange", [FakeAsteriskExchange, FakeFreeSwitchExchange])


def named(*names: str) -> list[Scenario]:
    by_name = {scenario.name: scenario for scenario in ALL}
    return [by_name[name] for name in names]


def on_simulated(scenarios: Sequence[Scenario]) -> dict[str, Verdict]:
    found: list[Verdict] = []
    simulated.play(scenarios, found.append)
    assert len(found) == len(scenarios)
    return {verdict.scenario.name: verdict for verdict in found}


def on_fake(exchange: Callable[[], Exchange], scenarios: Sequence[Scenario]) -> dict[str, Verdict]:
    found: list[Verdict] = []
    exchanges.play(exchange(), scenarios, found.append, AT_ONCE)
    assert len(found) == len(scenarios)
    return {verdict.scenario.name: verdict for verdict in found}


def shown(verdicts: dict[str, Verdict]) -> str:
    return "\n".join(line for verdict in verdicts.values() if verdict.wrong for line in told(verdict))


# --- the whole set ----------------------------------------------------------------------------------------------------


def test_the_shipped_set_passes_on_the_simulated_switch() -> None:
    verdicts = on_simulated(ALL)
    assert not shown(verdicts)
    assert all(verdict.passed for verdict in verdicts.values())


@fakes
def test_the_same_set_passes_through_our_server(exchange: Callable[[], Exchange]) -> None:
    """Everything that a caller can do by ear: the decision and the notes in the log, the recorder, the route."""
    assert len(PORTABLE) > 60
    verdicts = on_fake(exchange, PORTABLE)
    assert not shown(verdicts)
    assert all(verdict.passed and verdict.seen is not None for verdict in verdicts.values())


# --- they can fail ----------------------------------------------------------------------------------------------------


CAME = "the call never came to"


def never_there() -> Scenario:
    """Its caller would act in a window that is not opened any more."""
    (yes,) = named("wrong-then-yes")
    late = yes.does[0].model_copy(update={"window": 3})
    return yes.model_copy(update={"does": [*yes.does, late]})


def wrongly(scenario: Scenario, **expected: object) -> Scenario:
    return scenario.model_copy(update={"expect": scenario.expect.model_copy(update=expected)})


@fakes
def test_what_is_not_as_expected_is_told(exchange: Callable[[], Exchange]) -> None:
    yes, no, silence = named("yes", "no", "silence/asked-once")
    wrong = [
        wrongly(yes, outcome=Outcome.DECLINED, route=Destination.UNRECORDED, recorded=False, recorder=[]),
        wrongly(no, order=["decide declined", "press 2"]),
        wrongly(silence, heard={"training-question": 2}, attempts={"training": 2}, never=["window"]),
    ]
    verdicts = on_fake(exchange, [*wrong, never_there()])
    assert [verdict.result for verdict in verdicts.values()] == ["failed"] * 4
    text = shown(verdicts)
    for word in ("outcome", "route", "recorded", "recorder", "'press 2' does not", "attempts", "never: 'window", CAME):
        assert word in text, word
    assert "caller    presses 2" in text
    assert "recorder  is started" in text


@fakes
def test_a_server_that_grants_without_being_asked_is_found_out(
    exchange: Callable[[], Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A yes that was pressed too early counts: the whole set must not pass then."""
    before = flow._Flow.choose

    def choose(*arguments: Any) -> Generator[Step, Result, Any]:
        run: Generator[Step, Any, Any] = before(*arguments)
        result: Result | None = None
        while True:
            try:
                step = run.send(result)
            except StopIteration as end:
                return end.value
            result = yield step
            if isinstance(result, Pressed) and result.after_ms is not None:
                result = replace(result, after_ms=max(0, result.after_ms))

    monkeypatch.setattr(flow._Flow, "choose", choose)
    verdicts = on_fake(exchange, named("held-across-the-end/then-nothing"))
    assert "outcome: expected 'no_answer', was 'granted'" in shown(verdicts)


# --- what cannot be played --------------------------------------------------------------------------------------------


@fakes
def test_what_only_the_simulated_switch_can_do_is_skipped(exchange: Callable[[], Exchange]) -> None:
    verdicts = on_fake(exchange, named("hang-up/at-the-first-prompt", "recorder-fails/no-reply"))
    assert {name: verdict.result for name, verdict in verdicts.items()} == {
        "recorder-fails/no-reply": "skipped",
        "hang-up/at-the-first-prompt": "passed",
    }
    with pytest.raises(ConsentError, match="none of these"):
        on_fake(exchange, named("hang-up/before-the-answer"))


def test_a_place_outside_of_its_prompt_is_a_failure_and_no_crash() -> None:
    (yes,) = named("yes")
    far = yes.does[0].model_copy(update={"at_ms": 9000})
    verdicts = on_simulated([yes.model_copy(update={"does": [far]}), *named("no")])
    assert verdicts["no"].passed
    assert "outside of" in verdicts["yes"].wrong[0]


# --- many at once -----------------------------------------------------------------------------------------------------


def test_calls_that_share_commits_end_as_alone() -> None:
    """The driver's calls are under way at once; each is decided as the scenario alone is."""
    again = [
        scenario.model_copy(update={"name": f"{scenario.name}-{number}"}) for number in range(4) for scenario in ALL
    ]
    verdicts = on_simulated(again)
    assert not shown(verdicts)
    assert len(verdicts) == 4 * len(ALL)


# --- short calls ------------------------------------------------------------------------------------------------------


def test_short_prompts_are_real_files_of_the_real_texts(tmp_path: Path) -> None:
    site = ShortSite(tmp_path)
    site.add(PORTABLE)
    names = {site.line(scenario).name for scenario in PORTABLE}
    assert 1 < len(names) < len(PORTABLE)
    for name in names:
        plan = site.lines.plans[name]
        for notice in plan.notices:
            for prompt in notice.prompts():
                assert Path(f"{prompt.path}.wav").stat().st_size > 1000
                assert Path(f"{prompt.path}.ulaw").stat().st_size in prompt.lengths
                assert Path(prompt.path).name == prompt.id
    assert "Example Company" in site.lines.plans["scenario0"].notices[0].information[0].text
