"""Scenario files: what is wrong in them is named, and a wrong expectation is noticed."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.config import Line
from ivr_consent.core.errors import ConfigurationError, Problem
from ivr_consent.pbx.simulated.caller import Action, AtStep, During, HangUp, InWindow, Press, StepKind, Wait
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.plans import plan_without_audio
from ivr_consent.testing.scenario import (
    MAX_SCENARIO_BYTES,
    Expect,
    Observed,
    Scenario,
    check,
    differences,
    in_words,
    load_scenarios,
    observed,
    parse_scenarios,
    simulate,
)

HEAD = 'summary = "A call"\n'
NO_ANSWER = '[expect]\noutcome = "no_answer"\nreason = "silence"\nroute = "unrecorded"\n'


def parse(text: str) -> tuple[Scenario, ...]:
    return parse_scenarios(tomllib.loads(text), "silence.toml")


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    return refused.value.problems


# --- reading ----------------------------------------------------------------------------------------------------------


def test_actions() -> None:
    (one,) = parse(
        HEAD + '[[does]]\nduring = "more"\nnth = 2\nat_ms = -100\npress = "1"\nhold_ms = 300\n'
        '[[does]]\nwindow = 3\npress = "#"\n'
        '[[does]]\nquestion = "training"\nwait = true\n'
        '[[does]]\nstep = "record"\nhang_up = true\n' + NO_ANSWER
    )
    assert one.name == "silence"
    assert one.behaviour().actions == (
        Action(During("more", 2, -100), Press("1", 300)),
        Action(InWindow(None, 3, 500), Press("#")),
        Action(InWindow("training", 1, 500), Wait()),
        Action(AtStep(StepKind.RECORD, 1), HangUp()),
    )


def test_portable() -> None:
    """A phone on a real switch plays what can be heard, and injects nothing."""
    (spoken,) = parse(HEAD + '[[does]]\nwindow = 1\npress = "7"\n' + NO_ANSWER)
    (stepped,) = parse(HEAD + '[[does]]\nstep = "record"\nhang_up = true\n' + NO_ANSWER)
    (failing,) = parse(HEAD + '[[fail]]\nduring = "more"\nfault = "prompt-missing"\n' + NO_ANSWER)
    assert [one.portable for one in (spoken, stepped, failing)] == [True, False, False]


def test_variants_replace_and_merge() -> None:
    first, second = parse(
        HEAD
        + '[line]\nrepeats = 1\nlanguages = ["da"]\n[[does]]\nwindow = 1\npress = "1"\n'
        + NO_ANSWER
        + "[[variants]]\n"
        'name = "a"\nline.repeats = 3\nexpect.reason = "other"\n[[variants]]\nname = "b"\nsummary = "B"\ndoes = []\n'
    )
    assert (first.name, second.name) == ("silence/a", "silence/b")
    assert (first.summary, second.summary) == ("A call (a)", "B")
    assert first.line == Line(repeats=3, languages=["da"])
    assert second.line == Line(repeats=1, languages=["da"])
    assert (first.expect.reason, second.expect.reason) == ("other", "silence")
    assert (len(first.does), len(second.does)) == (1, 0)


W = "[[does]]\nwindow = 1\n"
WRONG = [
    ("unknown key", HEAD + "colour = 1\n" + NO_ANSWER, "colour", "unknown key", "summary, line"),
    ("a name", HEAD + "name = 'x'\n" + NO_ANSWER, "name", "unknown key", "named by its file"),
    ("no summary", NO_ANSWER, "summary", "missing", "add it"),
    ("nothing expected", HEAD, "expect", "missing", "add it"),
    ("no outcome", HEAD + "[expect]\nreason = 'x'\nroute = 'unrecorded'", "expect.outcome", "missing", "add it"),
    ("unknown action key", HEAD + W + "push = '1'\n" + NO_ANSWER, "does[1].push", "unknown key", "press, hold_ms"),
    ("unknown line key", HEAD + "[line]\nrepeat = 1\n" + NO_ANSWER, "line.repeat", "unknown key", "repeats"),
    ("a wrong line", HEAD + "[line]\nrepeats = 9\n" + NO_ANSWER, "line.repeats", "found 9", "5"),
    ("no place", HEAD + "[[does]]\npress = '1'\n" + NO_ANSWER, "does[1]", "0 places", "during"),
    ("two places", HEAD + W + "during = 'x'\npress = '1'\n" + NO_ANSWER, "does[1]", "2 places", "give one of"),
    ("window and nth", HEAD + W + "nth = 2\npress = '1'\n" + NO_ANSWER, "does[1]", "window and nth", "leave nth out"),
    ("window 0", HEAD + "[[does]]\nwindow = 0\nwait = true\n" + NO_ANSWER, "does[1].window", "found 0", "1"),
    ("no act", HEAD + W + NO_ANSWER, "does[1]", "not one act", "press"),
    ("two acts", HEAD + W + "press = '1'\nhang_up = true\n" + NO_ANSWER, "does[1]", "not one act", "press"),
    ("not a key", HEAD + W + "press = '12'\n" + NO_ANSWER, "does[1]", "'12'", "one key of"),
    ("a number as key", HEAD + W + "press = 1\n" + NO_ANSWER, "does[1].press", "found 1", "string"),
    ("hold without press", HEAD + W + "wait = true\nhold_ms = 5\n" + NO_ANSWER, "does[1]", "hold_ms", "only a key"),
    ("press at a step", HEAD + "[[does]]\nstep = 'note'\npress = '1'\n" + NO_ANSWER, "does[1]", "step", "during"),
    ("unknown step", HEAD + "[[does]]\nstep = 'sing'\nwait = true\n" + NO_ANSWER, "does[1].step", "'sing'", "'record'"),
    (
        "unknown fault",
        HEAD + "[[fail]]\nwindow = 1\nfault = 'x'\n" + NO_ANSWER,
        "fail[1].fault",
        "'x'",
        "prompt-missing",
    ),
    ("unknown outcome", HEAD + NO_ANSWER.replace("no_answer", "maybe"), "expect.outcome", "'maybe'", "'granted'"),
    ("contradiction", HEAD + NO_ANSWER.replace("unrecorded", "recorded"), "expect", "contradict", "only granted"),
    ("recorded too", HEAD + NO_ANSWER + "recorded = true", "expect", "contradict", "only the recorded route"),
    ("variants a table", HEAD + NO_ANSWER + "[variants]", "variants", "found", "[[variants]]"),
    ("variant without a name", HEAD + NO_ANSWER + "[[variants]]", "variants[1].name", "None", "small letters"),
    (
        "variant twice",
        HEAD + NO_ANSWER + "[[variants]]\nname = 'a'\n[[variants]]\nname = 'a'",
        "variants[2].name",
        "'a'",
        "by its own",
    ),
    (
        "wrong in a variant",
        HEAD + NO_ANSWER + "[[variants]]\nname = 'a'\nexpect.answer = 1",
        "variants[1].expect.answer",
        "unknown key",
        "answers",
    ),
]


@pytest.mark.parametrize(("text", "key", "found", "remedy"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_named(text: str, key: str, found: str, remedy: str) -> None:
    (problem,) = problems(text)
    assert problem.where == f"silence.toml: {key}"
    assert found in problem.found
    assert remedy in problem.remedy


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    toml, letters, large = tmp_path / "a.toml", tmp_path / "b.toml", tmp_path / "c.toml"
    toml.write_text("[[")
    letters.write_bytes(b"\xff")
    large.write_text("#" * (MAX_SCENARIO_BYTES + 1))
    for path, found in (
        (tmp_path / "missing.toml", "cannot be read"),
        (toml, "not TOML"),
        (letters, "not TOML in UTF-8"),
        (large, "larger than"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            load_scenarios(path)
        assert found in refused.value.problems[0].found


# --- judging ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def yes(ledger: Ledger) -> Observed:
    (scenario,) = parse(
        HEAD + W + 'press = "1"\n[expect]\noutcome = "granted"\nreason = "yes_key"\nroute = "recorded"\nrecorded = true'
    )
    seen = observed(simulate(scenario, ledger))
    assert differences(scenario.expect, seen) == ()
    return seen


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        ({"reason": "no_key"}, "reason"),
        ({"logged": False}, "logged"),
        ({"decided": "declined"}, "decided"),
        ({"language": "da"}, "language"),
        ({"answers": {"training": "declined"}}, "answers"),
        ({"answers": {}}, "answers"),
        ({"attempts": {"training": 2}}, "attempts"),
        ({"early_keys": 1}, "early_keys"),
        ({"recorder": []}, "recorder"),
        ({"heard": {"controller": 2}}, "heard controller"),
        ({"heard": {"nowhere": 1}}, "heard nowhere"),
        ({"order": ["record", "decide granted"]}, "order: 'decide granted'"),
        ({"order": ["press 1", "press 1"]}, "order: 'press 1'"),
        ({"never": ["record"]}, "never: 'record'"),
        ({"never": ["play"]}, "never: 'play controller'"),
        ({"outcome": "declined", "route": "unrecorded"}, "route"),
    ],
)
def test_a_wrong_expectation_is_noticed(yes: Observed, expected: dict[str, Any], says: str) -> None:
    base = {"outcome": "granted", "reason": "yes_key", "route": "recorded"}
    assert any(one.startswith(says) for one in differences(Expect.model_validate(base | expected), yes))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"running": 0}, "recorded"),
        ({"files": 0}, "recorded"),
        ({"undone": ("something",)}, "the call never came to"),
        ({"route": "unrecorded"}, "a recorder runs on the unrecorded line"),
        ({"route": "unrecorded", "running": 0}, "there is a file"),
        ({"decision": None, "outcome": "failed"}, "outcome"),
    ],
)
def test_what_must_not_be_is_noticed(yes: Observed, change: dict[str, Any], says: str) -> None:
    """R1, I4: also when a scenario does not ask."""
    expect = Expect.model_validate({"outcome": "granted", "reason": "yes_key", "route": "recorded", "recorded": True})
    assert any(one.startswith(says) for one in differences(expect, replace(yes, **change)))


def test_a_failed_check_shows_the_call(ledger: Ledger) -> None:
    (scenario,) = parse(HEAD + W + 'press = "2"\n' + NO_ANSWER)
    with pytest.raises(AssertionError, match=r"expected 'no_answer', was 'declined'(.|\n)*window training\n +press 2"):
        check(scenario, ledger)


def test_a_plan_without_audio_is_spoken_with_the_shipped_texts() -> None:
    plan = plan_without_audio(Line(languages=["da", "en"], purposes=["training", "quality"]))
    assert [notice.language for notice in plan.notices] == ["da", "en"]
    assert plan.keys.language == "5"
    ids = [prompt.id for prompt in plan.notices[1].information]
    assert ids[:4] == ["controller", "language", "not-started", "training-statement"]
    assert all(prompt.duration_ms > 0 for notice in plan.notices for prompt in notice.prompts())
    assert plan_without_audio(Line()).keys.language is None


def test_a_plan_of_a_notice_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        plan_without_audio(Line(notice="nowhere"))


def test_an_action_and_a_fault_in_words() -> None:
    (one,) = parse(
        HEAD + '[[does]]\nduring = "more"\nnth = 2\npress = "1"\n[[does]]\nwindow = 3\nhang_up = true\n'
        '[[does]]\nquestion = "training"\nwait = true\n[[fail]]\nstep = "record"\nfault = "recorder-refused"\n'
        + NO_ANSWER
    )
    assert [*map(in_words, one.behaviour().actions), in_words(one.fail[0].injection())] == [
        "press 1 during more, time 2",
        "hang up in window 3",
        "wait in the window after the question of training",
        "recorder-refused at the step record",
    ]
