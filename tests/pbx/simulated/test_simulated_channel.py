"""The simulated switch itself: it must be as strict as a real one, or the scenarios prove nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ivr_consent.core.decision import Decision, Grant, Outcome
from ivr_consent.core.steps import (
    Answer,
    Answered,
    Ask,
    Decide,
    Destination,
    Failed,
    Gone,
    Granted,
    Logged,
    NotConfirmed,
    Note,
    Play,
    Played,
    Pressed,
    Record,
    Recording,
    Route,
    Routed,
    Stopped,
    StopRecording,
    TimedOut,
    Timing,
)
from ivr_consent.pbx.simulated.caller import (
    Action,
    AtStep,
    Caller,
    During,
    HangUp,
    InWindow,
    Press,
    StepKind,
    Wait,
)
from ivr_consent.pbx.simulated.channel import (
    Fault,
    Injection,
    RecorderCommand,
    SimulatedChannel,
    run_call,
)
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.plans import call_context, short_plan, silent_prompt

PLAN = short_plan()
PROMPT = silent_prompt("a", ms=1000)
NEXT = silent_prompt("b", ms=1000)
QUESTION = PLAN.notices[0].questions["training"]
ASK = Ask(5000, 800)
NO = frozenset("2")
CALL = call_context("e" * 32)


@pytest.fixture
def grant(ledger: Ledger) -> Grant:
    written = ledger.decide_now(granted())
    assert isinstance(written, Granted)
    return written.grant


def granted() -> Decision:
    return Decision(
        CALL, Outcome.GRANTED, "yes_key", "recorded", None, (), ("training",), 30, 0, ("en",), recording_id=CALL.call_id
    )


class NoLog:
    """For steps that do not write."""

    def decide_now(self, decision: Decision) -> Failed:
        raise AssertionError(decision)

    def note_now(self, call_id: str, line: str, kind: str, details: Any) -> Failed:
        raise AssertionError(kind)


def channel(*actions: tuple[Any, Any], faults: tuple[Injection, ...] = ()) -> SimulatedChannel:
    return SimulatedChannel(PLAN, Caller.who(*actions), NoLog(), faults)


# --- keys -----------------------------------------------------------------------------------------------------------


def test_a_prompt_is_played_to_its_end() -> None:
    switch = channel()
    assert switch.perform(Play(PROMPT, NO)) == Played(8000, 1000)
    assert switch.now == 1000


def test_a_key_interrupts_at_its_release() -> None:
    switch = channel((During("a", at_ms=300), Press("2", 100)))
    assert switch.perform(Play(PROMPT, NO)) == Pressed("2", 3200)
    assert switch.now == 400


def test_a_key_that_may_not_interrupt_is_lost() -> None:
    """R3: it neither interrupts, nor waits for the window."""
    switch = channel((During("a", at_ms=300), Press("1")))
    assert switch.perform(Play(PROMPT, NO)) == Played(8000, 1000)
    assert switch.perform(ASK) == TimedOut()


def test_after_a_lost_key_another_may_interrupt() -> None:
    switch = channel((During("a", at_ms=100), Press("1")), (During("a", at_ms=500), Press("2", 100)))
    assert switch.perform(Play(PROMPT, NO)) == Pressed("2", 4800)


def test_a_key_held_over_the_end_is_reported_in_the_window() -> None:
    """R3: with the time at which it began, before the window."""
    switch = channel((During("a", at_ms=-200), Press("1", 500)))
    assert switch.perform(Play(PROMPT, NO)) == Played(8000, 1000)
    assert switch.perform(ASK) == Pressed("1", 0, -200, Timing.VIRTUAL)
    assert switch.now == 1300


def test_a_key_held_over_a_whole_prompt() -> None:
    switch = channel((During("a", at_ms=900), Press("2", 1600)))
    assert switch.perform(Play(PROMPT, NO)) == Played(8000, 1000)
    assert switch.perform(Play(NEXT, frozenset())) == Played(8000, 1000)
    assert switch.perform(ASK) == Pressed("2", 0, -1100, Timing.VIRTUAL)


def test_a_key_held_into_the_next_prompt_interrupts_that() -> None:
    switch = channel((During("a", at_ms=900), Press("2", 300)))
    switch.perform(Play(PROMPT, NO))
    assert switch.perform(Play(NEXT, NO)) == Pressed("2", 1600)


def test_a_key_in_the_window() -> None:
    switch = channel((InWindow(at_ms=700), Press("#", 50)))
    assert switch.perform(ASK) == Pressed("#", 0, 700, Timing.VIRTUAL)
    assert switch.now == 750


def test_a_key_released_after_the_window_is_not_in_it() -> None:
    switch = channel((InWindow(at_ms=-50), Press("1", 100)))
    assert switch.perform(ASK) == TimedOut()
    assert switch.now == 5000
    assert switch.perform(ASK) == Pressed("1", 0, -50, Timing.VIRTUAL)


def test_two_keys_in_one_window_are_two_answers() -> None:
    switch = channel((InWindow(at_ms=100), Press("1")), (InWindow(at_ms=300), Press("2")))
    assert switch.perform(ASK) == Pressed("1", 0, 100, Timing.VIRTUAL)
    assert switch.perform(ASK) == Pressed("2", 0, 100, Timing.VIRTUAL)


# --- places ---------------------------------------------------------------------------------------------------------


def test_places_are_counted() -> None:
    switch = channel((During("a", nth=2, at_ms=0), Press("2", 10)), (InWindow(nth=2, at_ms=5), Press("7", 10)))
    assert switch.perform(Play(PROMPT, NO)) == Played(8000, 1000)
    assert switch.perform(ASK) == TimedOut()
    assert isinstance(switch.perform(Play(PROMPT, NO)), Pressed)
    assert isinstance(switch.perform(ASK), Pressed)
    assert switch.undone == []


def test_a_window_is_known_by_its_question() -> None:
    plan = short_plan(purposes=("training", "quality"))
    switch = SimulatedChannel(plan, Caller.who((InWindow("quality", at_ms=0), Press("1"))), NoLog())
    switch.perform(Play(plan.notices[0].questions["training"], NO))
    assert switch.perform(ASK) == TimedOut()
    switch.perform(Play(plan.notices[0].questions["quality"], NO))
    assert isinstance(switch.perform(ASK), Pressed)
    assert "window quality" in switch.events


@pytest.mark.parametrize("at_ms", [1001, -1001])
def test_a_time_outside_of_the_place_is_an_error(at_ms: int) -> None:
    with pytest.raises(ValueError, match="lasts 1000 ms"):
        channel((During("a", at_ms=at_ms), HangUp())).perform(Play(PROMPT, NO))


@pytest.mark.parametrize(
    ("place", "act"),
    [(During("a", nth=0), Wait()), (During("a"), Press("x")), (During("a"), Press("")), (During("a"), Press("1", 0))],
)
def test_actions_that_cannot_be(place: During, act: Press | Wait) -> None:
    with pytest.raises(ValueError, match=r"count|not a key|held"):
        Action(place, act)


def test_what_was_never_reached_is_told(ledger: Ledger) -> None:
    waiting, hanging = Action(InWindow(nth=9), Wait()), Injection(During("nowhere"), Fault.PROMPT_MISSING)
    done = run_call(PLAN, call_context(), Caller((waiting,)), ledger, (hanging,))
    assert done.undone == (waiting, hanging)


# --- hanging up -----------------------------------------------------------------------------------------------------


def test_hanging_up_in_a_prompt() -> None:
    switch = channel((During("a", at_ms=250), HangUp()))
    assert switch.perform(Play(PROMPT, NO)) == Gone(2000)
    assert switch.now == 250


def test_hanging_up_in_a_window() -> None:
    switch = channel((InWindow(at_ms=250), HangUp()))
    assert switch.perform(ASK) == Gone()
    assert switch.now == 250


def test_a_key_that_is_down_when_the_caller_hangs_up_is_never_reported() -> None:
    switch = channel((InWindow(at_ms=100), Press("1", 100)), (InWindow(at_ms=200), HangUp()))
    assert switch.perform(ASK) == Gone()


def test_nothing_works_after_hanging_up(grant: Grant) -> None:
    """R1: no recorder command on a channel that is gone, whatever it is asked."""
    switch = channel((AtStep(StepKind.ANSWER), HangUp()))
    assert switch.perform(Answer()) == Gone()
    for step in (Play(PROMPT, NO), ASK, Record(grant), Route(Destination.RECORDED, "granted", "yes_key")):
        assert switch.perform(step) == Gone()
    assert switch.commands == []
    assert switch.files == set()
    assert switch.destination is Destination.UNRECORDED


# --- recorder, route, log ---------------------------------------------------------------------------------------------


def test_the_recorder(grant: Grant) -> None:
    """R1: no file before, one while it runs, none after it was stopped."""
    switch = channel()
    assert (switch.files, switch.running) == (set(), set())
    assert switch.perform(Record(grant)) == Recording("0x1", f"{CALL.call_id}.raw")
    assert (switch.files, switch.running) == ({f"{CALL.call_id}.raw"}, {CALL.call_id})
    assert switch.perform(StopRecording(CALL.call_id)) == Stopped()
    assert (switch.files, switch.running) == (set(), set())
    assert switch.commands == [RecorderCommand(0, "start", CALL.call_id), RecorderCommand(0, "stop", CALL.call_id)]


@pytest.mark.parametrize("forged", [None, True, "grant", object()])
def test_the_recorder_takes_nothing_but_a_grant(forged: Any) -> None:
    """I1."""
    with pytest.raises(TypeError, match="Grant"):
        channel().perform(Record(forged))


def test_the_dialplan_goes_on_unrecorded_unless_told() -> None:
    """R6."""
    switch = channel()
    told = [switch.destination]
    assert switch.perform(Route(Destination.RECORDED, "granted", "yes_key")) == Routed()
    told.append(switch.destination)
    assert told == [Destination.UNRECORDED, Destination.RECORDED]


def test_decisions_and_notes_go_to_the_log(ledger: Ledger) -> None:
    switch = SimulatedChannel(PLAN, Caller(), ledger)
    assert isinstance(switch.perform(Decide(granted())), Granted)
    assert switch.perform(Note(CALL, "withdrawn", {"route": "unrecorded"})) == Logged()
    with ledger.reader() as reader:
        record = reader.call(CALL.call_id)
    assert record is not None
    assert [event.kind for event in record.later] == ["withdrawn"]


# --- faults ---------------------------------------------------------------------------------------------------------


def at(step: StepKind, fault: Fault) -> tuple[Injection, ...]:
    return (Injection(AtStep(step), fault),)


def test_faults_of_prompts() -> None:
    for fault, result in (
        (Fault.PROMPT_MISSING, Failed("prompt_missing")),
        (Fault.PROMPT_CUT_SHORT, Played(4000, 1000)),
        (Fault.PROMPT_EMPTY, Played(0, 0)),
        (Fault.CONNECTION_LOST, Failed("connection_lost")),
    ):
        assert channel(faults=(Injection(During("a"), fault),)).perform(Play(PROMPT, NO)) == result


def test_faults_of_the_recorder(grant: Grant) -> None:
    switch = channel(faults=at(StepKind.RECORD, Fault.RECORDER_REFUSED))
    assert switch.perform(Record(grant)) == NotConfirmed("recording_file_missing")
    assert [command.command for command in switch.commands] == ["start", "stop"]
    assert (switch.files, switch.running) == (set(), set())

    switch = channel(
        faults=(
            *at(StepKind.RECORD, Fault.RECORDER_UNCLEAR),
            *at(StepKind.STOP, Fault.STOP_NOT_CONFIRMED),
        )
    )
    assert switch.perform(Record(grant)) == Failed("switch_too_slow")
    assert switch.running
    assert switch.perform(StopRecording(CALL.call_id)) == Failed("stop_not_confirmed")
    assert switch.running, "nobody knows that it stopped"


def test_a_lost_connection_stays_lost(grant: Grant) -> None:
    switch = channel(faults=at(StepKind.ANSWER, Fault.CONNECTION_LOST))
    for step in (Answer(), Play(PROMPT, NO), ASK, Record(grant), Route(Destination.RECORDED, "granted", "x")):
        assert switch.perform(step) == Failed("connection_lost")
    assert switch.perform(StopRecording(CALL.call_id)) == Stopped(), "seen from outside, with no command"
    assert switch.commands == []
    assert switch.destination is Destination.UNRECORDED


def test_other_faults() -> None:
    assert channel(faults=at(StepKind.ANSWER, Fault.NOT_ANSWERED)).perform(Answer()) == Failed("not_answered")
    assert channel().perform(Answer()) == Answered()
    switch = channel(faults=at(StepKind.ROUTE, Fault.DIALPLAN_NOT_TOLD))
    assert switch.perform(Route(Destination.RECORDED, "granted", "x")) == Failed("dialplan_not_told")
    assert switch.destination is Destination.UNRECORDED
    refused = at(StepKind.DECIDE, Fault.LOG_REFUSED)
    assert channel(faults=refused).perform(Decide(granted())) == Failed("log_not_written")


def test_a_fault_at_a_step_where_it_cannot_happen() -> None:
    with pytest.raises(ValueError, match="cannot happen at Ask"):
        channel(faults=(Injection(InWindow(), Fault.PROMPT_MISSING),)).perform(ASK)


# --- whole calls ------------------------------------------------------------------------------------------------------


def test_a_line_that_cannot_be_asked_on(ledger: Ledger) -> None:
    """R6: nothing is played, the log says why."""
    done = run_call("line_not_ready", call_context(), Caller(), ledger)
    assert done.events == ("decide failed", "route unrecorded")
    assert done.ending.reason == "line_not_ready"
    assert done.elapsed_ms == 0


def test_a_log_that_really_refuses(ledger: Ledger) -> None:
    """R1, R6, with the real log: its database may not grow, so nothing is recorded and the call goes on."""
    connection = ledger._database
    (pages,) = connection.execute("PRAGMA page_count").fetchone() or (0,)
    connection.execute(f"PRAGMA max_page_count={pages}")
    filler = ledger.note_now("0" * 32, "support", "filler", {"text": "x" * 100_000}, 20.0)
    assert filler == Logged(durable=False)
    done = run_call(PLAN, call_context(), Caller.who((InWindow(at_ms=500), Press("1"))), ledger)
    assert done.ending.reason == "log_not_written"
    assert not done.ending.logged
    assert done.commands == ()
    assert done.destination is Destination.UNRECORDED
    connection.execute("PRAGMA max_page_count=1073741823")


def test_times_of_the_journal(ledger: Ledger) -> None:
    done = run_call(PLAN, call_context(), Caller.who((InWindow(at_ms=500), Press("1", 100))), ledger)
    assert [(entry.began_ms, entry.ended_ms) for entry in done.journal][:5] == [
        (0, 0),
        (0, 0),
        (0, 1000),
        (1000, 2000),
        (2000, 3000),
    ]
    assert done.elapsed_ms == 4600
    assert done.events[5:8] == ("window training", "press 1", "decide granted")


def test_what_the_caller_had_still_in_mind_did_not_happen(ledger: Ledger) -> None:
    actions = ((During("notice-1", at_ms=100), HangUp()), (During("notice-1", at_ms=600), Press("1")))
    done = run_call(PLAN, call_context(), Caller.who(*actions), ledger)
    assert done.events == ("answer", "note asked", "play notice-1", "hang up", "decide abandoned")
