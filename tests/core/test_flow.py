"""What the flow asks for and what it writes down, call by call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ivr_consent.core.decision import Answer as AnswerEvidence
from ivr_consent.core.decision import Decision, Outcome
from ivr_consent.core.flow import Plan
from ivr_consent.core.steps import Ask, Decide, Destination, Note, Play, Pressed, Record, Route, Timing
from ivr_consent.pbx.simulated.caller import (
    Action,
    AtStep,
    Caller,
    During,
    HangUp,
    InWindow,
    Place,
    Press,
    StepKind,
)
from ivr_consent.pbx.simulated.channel import Fault, Injection, SimulatedCall, run_call
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.plans import call_context, short_plan

ONE = short_plan()
TWO = short_plan(purposes=("training", "quality"))
DANISH_TOO = short_plan(languages=("en", "da"))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    log = Ledger(tmp_path_factory.mktemp("log") / "decisions.db")
    yield log
    log.close()


def press(key: str, *, window: int = 1, at_ms: int = 500) -> Action:
    return Action(InWindow(nth=window, at_ms=at_ms), Press(key))


def call(ledger: Ledger, plan: Plan, *actions: Action, injections: tuple[Injection, ...] = ()) -> SimulatedCall:
    done = run_call(plan, call_context(), Caller(actions), ledger, injections)
    assert not done.undone
    return done


def decision(done: SimulatedCall) -> Decision:
    (only,) = done.decisions
    return only


def keys_of(done: SimulatedCall) -> dict[str, frozenset[str]]:
    """Which keys interrupt each prompt."""
    return {entry.step.prompt.id: entry.step.keys for entry in done.journal if isinstance(entry.step, Play)}


# --- what interrupts ------------------------------------------------------------------------------------------------


def test_only_no_interrupts_the_notice(ledger: Ledger) -> None:
    """R2, R3, R5: a yes cannot cut the notice short; a no can, at any moment."""
    assert keys_of(call(ledger, ONE, press("1"))) == {
        "notice-1": frozenset("2"),
        "notice-2": frozenset("2"),
        "training-question": frozenset("2"),
        "result-granted": frozenset("2"),
    }


def test_the_language_key_interrupts_where_there_is_another_language(ledger: Ledger) -> None:
    keys = keys_of(call(ledger, DANISH_TOO, press("1")))
    assert keys["notice-1"] == keys["notice-2"] == keys["training-question"] == frozenset("25")
    assert keys["result-granted"] == frozenset("2")


def test_the_long_version_may_be_skipped(ledger: Ledger) -> None:
    assert keys_of(call(ledger, ONE, press("4"), press("1", window=2)))["long-1"] == frozenset("24")


def test_what_is_told_after_a_refusal_is_not_interrupted(ledger: Ledger) -> None:
    """R5: nothing is asked of who has declined."""
    assert keys_of(call(ledger, ONE, press("2")))["result-declined"] == frozenset()


def test_the_window_is_as_configured(ledger: Ledger) -> None:
    asked = [entry.step for entry in call(ledger, ONE).journal if isinstance(entry.step, Ask)]
    assert asked == [Ask(8000, 800)] * 3


def test_yes_and_no_cost_the_same(ledger: Ledger) -> None:
    """R5: the same prompts, the same one key, the same time until the call goes on."""
    yes, no = call(ledger, ONE, press("1")), call(ledger, ONE, press("2"))
    assert yes.elapsed_ms == no.elapsed_ms
    plays = [[e.step.prompt.id for e in done.journal if isinstance(e.step, Play)] for done in (yes, no)]
    assert [name.replace("granted", "declined") for name in plays[0]] == plays[1]


# --- the evidence of a yes ------------------------------------------------------------------------------------------


def test_evidence_of_a_yes(ledger: Ledger) -> None:
    """R22: who, which notice, how much of it, the question, the key, the time, the route, the recording."""
    done = call(ledger, ONE, press("1", at_ms=700))
    made = decision(done)
    notice = ONE.notices[0]
    assert (made.outcome, made.reason, made.route) == (Outcome.GRANTED, "yes_key", "recorded")
    assert made.purposes_granted == ("training",)
    assert made.retention_days == 30
    assert made.recording_id == made.call.call_id
    assert made.languages_offered == ("en",)
    assert made.repeats == 0
    assert made.answers == (
        AnswerEvidence(
            "training", notice.questions["training"].text_sha256, "granted", "1", 700, Timing.VIRTUAL.value, 1, 0
        ),
    )
    assert made.notice is not None
    assert (made.notice.id, made.notice.version, made.notice.language) == ("short", 1, "en")
    assert made.notice.text_sha256 == notice.text_sha256
    assert made.notice.complete
    assert made.notice.times == 1
    assert [segment.id for segment in made.notice.segments] == ["notice-1", "notice-2", "training-question"]
    for segment, prompt in zip(made.notice.segments, (*notice.information, notice.questions["training"]), strict=True):
        assert segment.samples_played == segment.samples_total == 8000
        assert segment.complete
        assert segment.times == 1
        assert segment.text_sha256 == prompt.text_sha256
        assert segment.audio_sha256 == prompt.audio_sha256
        assert segment.elements == prompt.elements


def test_the_confirmation_names_the_file(ledger: Ledger) -> None:
    """R9: what the switch said of the recorder is in the log before the caller is told."""
    done = call(ledger, ONE, press("1"))
    notes = [entry.step for entry in done.journal if isinstance(entry.step, Note)]
    assert [note.kind for note in notes] == ["asked", "recording_confirmed", "routed"]
    assert notes[1].details == {"handle": "0x1", "file": f"{decision(done).call.call_id}.raw"}
    assert done.destination is Destination.RECORDED


def test_repeats_and_attempts_are_counted(ledger: Ledger) -> None:
    """R22: one replay, one wrong key, one silence."""
    done = call(ledger, ONE, press("3"), press("9", window=2), press("1", window=4))
    made = decision(done)
    assert made.repeats == 1
    assert made.answers[0].attempts == 3
    assert made.notice is not None
    assert made.notice.times == 2
    assert [segment.times for segment in made.notice.segments] == [2, 2, 4]


def test_a_key_held_over_the_end_is_counted_and_grants_nothing(ledger: Ledger) -> None:
    """R3, I2."""
    held = Action(During("training-question", at_ms=-100), Press("1", 300))
    made = decision(call(ledger, ONE, held, press("1", window=2)))
    assert (made.answers[0].early_keys, made.answers[0].attempts, made.answers[0].after_ms) == (1, 2, 500)


def test_a_held_no_declines_and_tells_its_time(ledger: Ledger) -> None:
    """R5: no counts at any moment."""
    held = Action(During("training-question", at_ms=-100), Press("2", 300))
    answer = decision(call(ledger, ONE, held)).answers[0]
    assert (answer.answer, answer.key, answer.after_ms, answer.attempts) == ("declined", "2", -100, 1)


# --- the evidence of other ends ---------------------------------------------------------------------------------------


def test_evidence_of_a_hang_up_in_the_notice(ledger: Ledger) -> None:
    """R7, R22: how far it was heard; what was not played was not heard."""
    made = decision(call(ledger, ONE, Action(During("notice-2", at_ms=250), HangUp())))
    assert (made.outcome, made.reason, made.recording_id) == (Outcome.ABANDONED, "hung_up_informing", None)
    assert made.notice is not None
    assert not made.notice.complete
    assert made.notice.times == 0
    heard = [(s.samples_played, s.samples_total, s.complete, s.times) for s in made.notice.segments]
    assert heard == [(8000, 8000, True, 1), (2000, 8000, False, 1), (0, 8000, False, 0)]
    assert made.answers[0].answer == "not_asked"


def test_a_replay_that_was_cut_short_is_not_complete(ledger: Ledger) -> None:
    """I2, R22: the last playing counts, also where an earlier one was whole."""
    made = decision(call(ledger, ONE, press("3"), Action(During("notice-2", nth=2, at_ms=250), HangUp())))
    assert made.notice is not None
    heard = [(s.samples_played, s.complete, s.times) for s in made.notice.segments]
    assert heard == [(8000, True, 2), (2000, False, 2), (8000, True, 1)]
    assert not made.notice.complete


def test_who_was_asked_and_hung_up_was_not_not_asked(ledger: Ledger) -> None:
    """R7: the log does not say "not asked" of somebody who was."""
    for place in (InWindow(at_ms=100), During("training-question", at_ms=100)):
        made = decision(call(ledger, ONE, Action(place, HangUp())))
        assert made.answers[0].answer == "unanswered"


def test_no_in_the_notice_says_how_far_it_was_heard(ledger: Ledger) -> None:
    made = decision(call(ledger, TWO, Action(During("notice-1", at_ms=400), Press("2", 100))))
    assert made.reason == "no_key_during_notice"
    assert [(answer.answer, answer.key, answer.after_ms) for answer in made.answers] == [("declined", "2", None)] * 2
    assert made.notice is not None
    assert made.notice.segments[0].samples_played == 4000


@pytest.mark.parametrize("first", ["yes", "no"])
def test_silence_on_the_second_question(ledger: Ledger, first: str) -> None:
    """R4: what was granted stands, and nothing else is granted by silence."""
    made = decision(call(ledger, TWO, press("1" if first == "yes" else "2")))
    assert [answer.answer for answer in made.answers] == [{"yes": "granted", "no": "declined"}[first], "no_answer"]
    assert made.purposes_granted == (("training",) if first == "yes" else ())
    assert made.outcome is (Outcome.GRANTED if first == "yes" else Outcome.DECLINED)


def test_silence_on_the_first_question_spares_the_second(ledger: Ledger) -> None:
    made = decision(call(ledger, TWO))
    assert [answer.answer for answer in made.answers] == ["no_answer", "not_asked"]
    assert (made.outcome, made.reason) == (Outcome.NO_ANSWER, "silence")


@pytest.mark.parametrize(
    ("keys", "outcome", "reason"),
    [
        (("9", "9", "9"), Outcome.INVALID, "other_key"),
        (("9", "9", None), Outcome.NO_ANSWER, "silence"),
        ((None, None, "9"), Outcome.INVALID, "other_key"),
    ],
)
def test_the_last_attempt_names_the_reason(
    ledger: Ledger, keys: tuple[str | None, ...], outcome: Outcome, reason: str
) -> None:
    """R7."""
    actions = [press(key, window=n) for n, key in enumerate(keys, 1) if key is not None]
    made = decision(call(ledger, ONE, *actions))
    assert (made.outcome, made.reason) == (outcome, reason)


# --- languages --------------------------------------------------------------------------------------------------------


def test_evidence_is_of_the_language_of_the_choice(ledger: Ledger) -> None:
    """R2, R22: the notice begins anew in the other language, and only that playing counts."""
    switch = Action(During("notice-2", at_ms=400), Press("5", 100))
    made = decision(call(ledger, DANISH_TOO, switch, press("1")))
    assert made.notice is not None
    assert made.notice.language == "da"
    assert [segment.times for segment in made.notice.segments] == [1, 1, 1]
    assert made.notice.text_sha256 == DANISH_TOO.notices[1].text_sha256
    assert made.languages_offered == ("en", "da")
    assert made.answers[0].question_sha256 == DANISH_TOO.notices[1].questions["training"].text_sha256


def test_a_yes_in_another_language_is_asked_again(ledger: Ledger) -> None:
    """I2: consent is to the question in the language of the notice that was heard."""
    plan = short_plan(languages=("en", "da"), purposes=("training", "quality"))
    made = decision(call(ledger, plan, press("1"), press("5", window=2), press("2", window=3), press("1", window=4)))
    assert made.notice is not None
    assert made.notice.times == 1
    assert [answer.answer for answer in made.answers] == ["declined", "granted"]
    assert made.purposes_granted == ("quality",)


def test_a_no_is_kept_with_the_question_as_it_was_asked(ledger: Ledger) -> None:
    """R5, R22: not asked again in the other language; the log keeps which words were answered."""
    plan = short_plan(languages=("en", "da"), purposes=("training", "quality"))
    made = decision(call(ledger, plan, press("2"), press("5", window=2), press("1", window=3)))
    training, quality = made.answers
    assert (training.answer, training.attempts) == ("declined", 1)
    assert training.question_sha256 == plan.notices[0].questions["training"].text_sha256
    assert quality.question_sha256 == plan.notices[1].questions["quality"].text_sha256
    assert made.purposes_granted == ("quality",)


def test_evidence_says_what_chose_the_language(ledger: Ledger) -> None:
    """R22: the plan knows why the call began in it; a caller who switches chose by key, also back to where it began."""
    plan = replace(DANISH_TOO, language_by="dialled")
    there, back = press("5"), press("5", window=2)
    for actions, expected in [
        ((press("1"),), ("en", "dialled")),
        ((there, press("1", window=2)), ("da", "key")),
        ((there, back, press("1", window=3)), ("en", "key")),
    ]:
        made = decision(call(ledger, plan, *actions))
        assert made.notice is not None
        assert (made.notice.language, made.notice.language_by) == expected


# --- after the grant --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "act", "kind", "reason"),
    [
        (During("result-granted", at_ms=100), Press("2"), "withdrawn", "no_key_after_grant"),
        (During("result-granted", at_ms=100), HangUp(), "recording_stopped", "hung_up_while_result_was_told"),
    ],
    ids=["no", "hang-up"],
)
def test_a_recorder_that_must_not_run_on(
    ledger: Ledger, place: Place, act: Press | HangUp, kind: str, reason: str
) -> None:
    """R13, I5: stopped, read back, and in the log."""
    done = call(ledger, ONE, press("1"), Action(place, act))
    (note,) = [e.step for e in done.journal if isinstance(e.step, Note) and e.step.kind == kind]
    assert note.details == {"reason": reason, "stop_confirmed": True, "stop_problem": None, "route": "unrecorded"}
    assert [command.command for command in done.commands] == ["start", "stop"]
    assert not done.running
    assert not done.files
    assert done.ending.recording_id is None


def test_a_stop_that_is_not_confirmed_is_said(ledger: Ledger) -> None:
    """R9: the log does not claim what nobody read back."""
    injection = Injection(AtStep(StepKind.STOP), Fault.STOP_NOT_CONFIRMED)
    no = Action(During("result-granted", at_ms=100), Press("2"))
    done = call(ledger, ONE, press("1"), no, injections=(injection,))
    (note,) = [e.step for e in done.journal if isinstance(e.step, Note) and e.step.kind == "withdrawn"]
    assert note.details["stop_confirmed"] is False
    assert done.destination is Destination.UNRECORDED


def test_other_keys_while_the_result_is_told_are_not_heard(ledger: Ledger) -> None:
    done = call(ledger, ONE, press("1"), Action(During("result-granted", at_ms=100), Press("1")))
    assert done.ending.outcome is Outcome.GRANTED


def test_the_dialplan_is_told_last(ledger: Ledger) -> None:
    """R6: what it is told is the outcome, and nothing is done on the switch after it."""
    for key, destination in (("1", Destination.RECORDED), ("2", Destination.UNRECORDED)):
        done = call(ledger, ONE, press(key))
        on_switch = [entry.step for entry in done.journal if not isinstance(entry.step, Decide | Note)]
        assert isinstance(on_switch[-1], Route)
        assert on_switch[-1].destination is destination


def test_the_press_is_believed_with_its_proof(ledger: Ledger) -> None:
    done = call(ledger, ONE, press("1", at_ms=7000))
    (pressed,) = [entry.result for entry in done.journal if isinstance(entry.result, Pressed)]
    assert pressed == Pressed("1", 0, 7000, Timing.VIRTUAL)


# --- trials ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "outcome", "reason", "told"),
    [
        ((press("1"),), Outcome.GRANTED, "yes_key", "result-granted"),
        ((press("2"),), Outcome.DECLINED, "no_key", "result-declined"),
        ((press("3"), press("4", window=2), press("1", window=3)), Outcome.GRANTED, "yes_key", "result-granted"),
        ((), Outcome.NO_ANSWER, "silence", "result-unrecorded"),
        ((Action(During("notice-1", at_ms=100), HangUp()),), Outcome.ABANDONED, "hung_up_informing", None),
    ],
    ids=["yes", "no", "repeat, long, yes", "silence", "hangs up"],
)
def test_a_trial(ledger: Ledger, actions: tuple[Action, ...], outcome: Outcome, reason: str, told: str | None) -> None:
    """What callers would hear, and nothing of it is logged or recorded."""
    done = call(ledger, replace(ONE, trial=True), *actions)
    assert (done.ending.outcome, done.ending.reason, done.ending.logged) == (outcome, reason, False)
    assert done.decisions == ()
    assert done.destination is Destination.UNRECORDED
    assert not any(isinstance(entry.step, Decide | Record | Note) for entry in done.journal)
    routes = [entry.step for entry in done.journal if isinstance(entry.step, Route)]
    assert routes == ([] if told is None else [Route(Destination.UNRECORDED, "trial", reason)])
    plays = [entry.step for entry in done.journal if isinstance(entry.step, Play)]
    assert told in (None, plays[-1].prompt.id)
    if told == "result-granted":
        assert plays[-1].keys == frozenset(), "there is nothing to take back"


def test_a_trial_takes_half_a_prompt_for_no_information(ledger: Ledger) -> None:
    """I2 holds in a trial too: else a draft would sound right that no caller could say yes to."""
    injection = Injection(During("notice-2"), Fault.PROMPT_CUT_SHORT)
    done = call(ledger, replace(ONE, trial=True), injections=(injection,))
    assert (done.ending.outcome, done.ending.reason) == (Outcome.FAILED, "prompt_not_whole")
