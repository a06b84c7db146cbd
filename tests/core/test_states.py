"""The transition table: complete, without dead ends, and the same as its picture."""

from __future__ import annotations

import pytest

from ivr_consent.core.errors import FlowError
from ivr_consent.core.states import TERMINAL, TRANSITIONS, Event, State, advance, mermaid

WITH_THE_SWITCH = (
    State.RINGING,
    State.INFORMING,
    State.QUESTIONING,
    State.CHOOSING,
    State.EXPLAINING,
    State.RECORDING,
    State.TELLING,
    State.REVOKING,
    State.ROUTING_RECORDED,
    State.ROUTING_UNRECORDED,
)
"""Where a step on the switch is under way: there the caller can hang up, and the switch can fail."""


def reachable(start: State) -> set[State]:
    found, todo = {start}, [start]
    while todo:
        state = todo.pop()
        new = {target for (source, _), target in TRANSITIONS.items() if source is state} - found
        found |= new
        todo += new
    return found


def test_every_state_is_reachable() -> None:
    assert reachable(State.RINGING) == set(State)


@pytest.mark.parametrize("state", [state for state in State if state not in TERMINAL], ids=str)
def test_every_state_leads_to_the_unrecorded_end(state: State) -> None:
    """I4, R6: from wherever a call stands, the unrecorded line can be reached."""
    assert State.UNRECORDED in reachable(state)


def test_terminal_states_have_no_way_on() -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] in TERMINAL]


@pytest.mark.parametrize("event", [Event.GONE, Event.FAILED], ids=str)
@pytest.mark.parametrize("state", WITH_THE_SWITCH, ids=str)
def test_hanging_up_and_failing_have_a_place_everywhere(state: State, event: Event) -> None:
    """R3, R6: neither ever leads towards the recording."""
    target = advance(state, event)
    assert State.RECORDED not in {target}
    assert target in {State.REFUSING, State.REVOKING, State.ROUTING_UNRECORDED, State.UNRECORDED}


def test_the_only_way_to_the_recorded_end() -> None:
    """I1, I4: decided on disk, recorder confirmed, result told, dialplan told; no other way leads there."""

    def ways_to(state: State) -> list[tuple[State, Event]]:
        return [pair for pair, target in TRANSITIONS.items() if target is state]

    assert ways_to(State.RECORDED) == [(State.ROUTING_RECORDED, Event.ROUTED)]
    assert ways_to(State.ROUTING_RECORDED) == [(State.TELLING, Event.TOLD)]
    assert ways_to(State.TELLING) == [(State.RECORDING, Event.CONFIRMED)]
    assert ways_to(State.RECORDING) == [(State.DECIDING, Event.GRANTED)]


def test_silence_and_unclear_keys_never_come_nearer_to_recording() -> None:
    """R3: they lead to the question again or to the refusal."""
    assert advance(State.CHOOSING, Event.UNCLEAR) is State.QUESTIONING
    assert advance(State.CHOOSING, Event.EXHAUSTED) is State.REFUSING


@pytest.mark.parametrize("state", State, ids=str)
def test_a_pair_that_is_not_in_the_table_is_an_error(state: State) -> None:
    missing = [event for event in Event if (state, event) not in TRANSITIONS]
    assert missing
    for event in missing:
        with pytest.raises(FlowError, match=state.value):
            advance(state, event)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.RINGING, Event.GRANTED] = State.RECORDED  # type: ignore[index]  # that is what is tested


def test_the_picture_shows_every_transition() -> None:
    lines = mermaid().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    [*] --> Ringing" in lines
    assert {line for line in lines if line.endswith("[*]")} == {"    Recorded --> [*]", "    Unrecorded --> [*]"}
    shown = set()
    for line in lines[2:]:
        edge, colon, labels = line.strip().partition(": ")
        if colon:
            source, target = edge.split(" --> ")
            shown |= {(State(source), Event(label), State(target)) for label in labels.split(" / ")}
    assert shown == {(source, event, target) for (source, event), target in TRANSITIONS.items()}
    assert mermaid().endswith("\n")
