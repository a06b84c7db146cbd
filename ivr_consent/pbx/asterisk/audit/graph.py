"""What a walk through a dialplan is made of: steps in their context, subroutines, entry points; and a way as stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ivr_consent.pbx.asterisk.audit.dialplan import Extension, Step, Value
from ivr_consent.pbx.asterisk.audit.known import State
from ivr_consent.pbx.asterisk.audit.recorders import Recorder
from ivr_consent.pbx.audit.findings import Place, Stop, shortened

EXACT, GUESSED, UNNAMED = range(3)
"""Ranks of ways: read exactly, by a computed jump, from a context that nothing leads to."""


@dataclass(slots=True, eq=False)
class Node:
    """A step, reached in a context (which may only include the one that has it) by a dialled text."""

    number: int
    context: str
    value: Value
    extension: Extension
    priority: int
    step: Step
    _following: list[Node] | None = None

    @property
    def at(self) -> str:
        """``context,extension,priority``."""
        name = self.value if isinstance(self.value, str) else self.extension.name
        return f"{self.context},{name},{self.priority}"


@dataclass(slots=True, eq=False)
class Frame:
    """A subroutine with what is known at its beginning: who called it, and what is known where it returned."""

    number: int
    macro: str = ""
    """For a macro its context: the end of an extension there returns too."""
    callers: dict[Edge, None] = field(default_factory=dict)
    exits: dict[State, int] = field(default_factory=dict)


class Edge(NamedTuple):
    """A step with what is known there."""

    frame: Frame
    node: Node
    state: State


class Found(NamedTuple):
    """A recorder where a way has come to it: with the results that are possible there, and the way's rank."""

    edge: Edge
    results: int
    rank: int
    recorder: Recorder


class Target(NamedTuple):
    """Where a jump goes. A context that is not known is ``None``."""

    context: str | None
    value: Value
    priority: str
    computed: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """Where calls come in: a context, one extension of it when ``value`` is given, and what says so."""

    context: str
    place: Place
    what: str
    value: str = ""
    priority: str = "1"


Key = tuple[int, int, State]
"""An edge as its frame's number, its node's number and what is known there."""


def key_of(edge: Edge) -> Key:
    """The key of an edge."""
    return edge.frame.number, edge.node.number, edge.state


def stops(
    edge: Edge,
    parents: Mapping[Key, tuple[Edge | None, str]],
    origins: Mapping[Key, Entry],
    node: Callable[[int], Node],
) -> tuple[Stop, ...]:
    """The way from an entry point to a step: where it left the row of priorities, and its end."""
    found = [Stop(edge.node.step.place, edge.node.at, _shown(edge.node.step))]
    key = key_of(edge)
    seen = {key}
    while (before := parents.get(key)) is not None:
        parent, how = before
        if parent is None:
            first = node(key[1])
            if found[-1].at != first.at:
                found.append(Stop(first.step.place, first.at, _shown(first.step)))
            if (entry := origins.get(key)) is not None:
                found.append(Stop(entry.place, entry.context, entry.what))
            break
        if how:
            found.append(Stop(parent.node.step.place, parent.node.at, _shown(parent.node.step)))
        key = key_of(parent)
        if key in seen:
            break
        seen.add(key)
    return shortened(found[::-1])


def _shown(step: Step) -> str:
    text = f"{step.written}({step.arguments})"
    return text if len(text) <= 200 else text[:197] + "..."
