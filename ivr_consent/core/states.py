"""The state machine of a call: one table. A pair that is not in it is the error.

The picture in README.md is :func:`mermaid` of this table; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from ivr_consent.core.errors import FlowError


class State(StrEnum):
    """Where a call stands."""

    RINGING = "Ringing"
    INFORMING = "Informing"  # the notice's segments
    QUESTIONING = "Questioning"  # the question is being played
    CHOOSING = "Choosing"  # the choice window is open
    EXPLAINING = "Explaining"  # the long version
    DECIDING = "Deciding"  # a granted decision goes to disk
    REFUSING = "Refusing"  # any other decision goes to disk
    RECORDING = "Recording"  # the recorder is started and read back
    REVOKING = "Revoking"  # a recorder that must not run on is stopped
    TELLING = "Telling"  # the result is spoken
    ROUTING_RECORDED = "RoutingRecorded"
    ROUTING_UNRECORDED = "RoutingUnrecorded"
    RECORDED = "Recorded"
    UNRECORDED = "Unrecorded"


class Event(StrEnum):
    """What happened."""

    ANSWERED = "answered"
    INFORMED = "whole notice played"
    SWITCHED = "language key"
    QUESTIONED = "question played"
    SETTLED = "last question answered, a purpose granted"
    NEXT_QUESTION = "answered, another purpose to ask"
    NO = "no key"
    UNCLEAR = "silence, other or early key; attempts left"
    EXHAUSTED = "no attempt left"
    REPEAT = "repeat key"
    LONGER = "key for the long version"
    EXPLAINED = "long version played or skipped"
    GRANTED = "decision on disk"
    LOGGED = "logged"
    CONFIRMED = "recorder confirmed"
    NOT_CONFIRMED = "recorder not confirmed"
    STOPPED = "recorder stopped"
    TOLD = "result spoken"
    GONE = "caller hung up"
    FAILED = "failure"
    ROUTED = "dialplan told"


S, E = State, Event

TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (S.RINGING, E.ANSWERED): S.INFORMING,
        (S.INFORMING, E.INFORMED): S.QUESTIONING,
        (S.INFORMING, E.SWITCHED): S.INFORMING,
        (S.INFORMING, E.NO): S.REFUSING,
        (S.QUESTIONING, E.QUESTIONED): S.CHOOSING,
        (S.QUESTIONING, E.SWITCHED): S.INFORMING,
        (S.QUESTIONING, E.NO): S.REFUSING,
        (S.QUESTIONING, E.NEXT_QUESTION): S.QUESTIONING,
        (S.QUESTIONING, E.SETTLED): S.DECIDING,
        (S.CHOOSING, E.SETTLED): S.DECIDING,
        (S.CHOOSING, E.NEXT_QUESTION): S.QUESTIONING,
        (S.CHOOSING, E.NO): S.REFUSING,
        (S.CHOOSING, E.UNCLEAR): S.QUESTIONING,
        (S.CHOOSING, E.EXHAUSTED): S.REFUSING,
        (S.CHOOSING, E.REPEAT): S.INFORMING,
        (S.CHOOSING, E.LONGER): S.EXPLAINING,
        (S.CHOOSING, E.SWITCHED): S.INFORMING,
        (S.EXPLAINING, E.EXPLAINED): S.QUESTIONING,
        (S.EXPLAINING, E.NO): S.REFUSING,
        (S.DECIDING, E.GRANTED): S.RECORDING,
        (S.DECIDING, E.FAILED): S.REFUSING,
        (S.RECORDING, E.CONFIRMED): S.TELLING,
        (S.RECORDING, E.NOT_CONFIRMED): S.ROUTING_UNRECORDED,
        (S.RECORDING, E.FAILED): S.REVOKING,
        (S.RECORDING, E.GONE): S.REVOKING,
        (S.TELLING, E.TOLD): S.ROUTING_RECORDED,
        (S.TELLING, E.NO): S.REVOKING,
        (S.TELLING, E.FAILED): S.REVOKING,
        (S.TELLING, E.GONE): S.REVOKING,
        (S.ROUTING_RECORDED, E.ROUTED): S.RECORDED,
        (S.ROUTING_RECORDED, E.FAILED): S.REVOKING,
        (S.ROUTING_RECORDED, E.GONE): S.REVOKING,
        (S.REVOKING, E.STOPPED): S.ROUTING_UNRECORDED,
        (S.REVOKING, E.FAILED): S.ROUTING_UNRECORDED,
        (S.REVOKING, E.GONE): S.UNRECORDED,
        (S.REFUSING, E.LOGGED): S.ROUTING_UNRECORDED,
        (S.REFUSING, E.FAILED): S.ROUTING_UNRECORDED,
        (S.ROUTING_UNRECORDED, E.ROUTED): S.UNRECORDED,
        (S.ROUTING_UNRECORDED, E.GONE): S.UNRECORDED,
        (S.ROUTING_UNRECORDED, E.FAILED): S.UNRECORDED,
        # A caller who hangs up, or anything that fails, before a decision: decided as abandoned or failed.
        **{
            (state, event): S.REFUSING
            for state in (S.RINGING, S.INFORMING, S.QUESTIONING, S.CHOOSING, S.EXPLAINING)
            for event in (E.GONE, E.FAILED)
        },
    }
)

TERMINAL = frozenset({State.RECORDED, State.UNRECORDED})


def advance(state: State, event: Event) -> State:
    """The next state. Raises :class:`FlowError` for a pair that the table does not have."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise FlowError(f"no transition from {state.value} on {event.value!r}") from None


def mermaid() -> str:
    """The table as a Mermaid state diagram; transitions between the same two states share a line."""
    labels: dict[tuple[State, State], list[str]] = {}
    for (state, event), target in TRANSITIONS.items():
        labels.setdefault((state, target), []).append(event.value)
    lines = ["stateDiagram-v2", f"    [*] --> {State.RINGING.value}"]
    lines += [f"    {a.value} --> {b.value}: {' / '.join(events)}" for (a, b), events in labels.items()]
    lines += [f"    {state.value} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(lines) + "\n"
