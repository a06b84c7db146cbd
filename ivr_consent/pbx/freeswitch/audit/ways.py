"""Every way through the dialplan, with what is known of the consent on it.

A way is followed from each entry point: a hunt, then its actions one after the other, then the next hunt. What is
remembered is an action in its plan together with what is known there; each such pair is looked at once, so that loops
end. ``execute_extension`` comes back: whoever runs it goes on with what is known where that ended.

Ways have three ranks. 0: from an entry point, by jumps that are read exactly. 1: a jump on it is computed, and goes to
all that it could mean. 2: from a context that nothing in the files leads to, beside entry points that they do name.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ivr_consent.pbx.audit.findings import Place, Stop, shortened
from ivr_consent.pbx.audit.results import GRANTED, HOLE, NOT_ASKED, bits
from ivr_consent.pbx.freeswitch.audit import expressions, texts
from ivr_consent.pbx.freeswitch.audit.dialplan import Context, Dialplan
from ivr_consent.pbx.freeswitch.audit.hunt import Hunter, Node, look
from ivr_consent.pbx.freeswitch.audit.memory import Memory
from ivr_consent.pbx.freeswitch.audit.recorders import Facts, Recorder

EXACT, GUESSED, UNNAMED = range(3)

MOST_EDGES: Final = 500_000
"""Pairs of an action and what is known there; beyond, the audit says that it did not finish."""

MOST_NODES: Final = 2_000_000
"""Nodes of all plans."""

MOST_VALUES: Final = 6
"""Different values of variables with which one context is hunted for one destination; then they are unknown there."""


class State(NamedTuple):
    """Results that are possible, and the number of the variables' values."""

    results: int
    values: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Where calls come in: a context, one destination of it or any, and what says so."""

    context: str
    place: Place
    what: str
    destination: str = expressions.DIALLED


@dataclass(slots=True, eq=False)
class Frame:
    """An extension that comes back: who ran it, and what is known where it ended."""

    number: int
    callers: dict[Edge, None] = field(default_factory=dict)
    exits: dict[State, None] = field(default_factory=dict)


class Edge(NamedTuple):
    """An action in its plan with what is known there."""

    frame: Frame
    node: Node
    state: State
    rank: int


class Found(NamedTuple):
    """A recorder where the worst way came to it."""

    edge: Edge
    results: int
    recorder: Recorder


_Key = tuple[int, int, State]


class Walk:
    """All ways; filled by :meth:`run`. What an action does is decided by the module ``steps``."""

    def __init__(self, dialplan: Dialplan, facts: Facts, tracked: frozenset[str]) -> None:
        self.dialplan = dialplan
        self.facts = facts
        self.memory = Memory(tracked)
        self.hunter = Hunter(dialplan, self.memory)
        self.trusted: set[str] = set()
        """Contexts of the gate that are as they were shipped."""
        self.root = Frame(0)
        self.found: dict[tuple[Place, str], tuple[tuple[int, int, int], Found]] = {}
        self.told: dict[tuple[Place, str], tuple[Edge, str]] = {}
        """What is to be said of a place: where, and of what kind."""
        self.reached: set[str] = set()
        """Contexts that some way came to."""
        self.watching: dict[tuple[str, str], str] = {}
        """Lines by their recorded destination, as context and destination."""
        self.around: dict[tuple[str, Place], tuple[Edge, int, bool]] = {}
        """Ways to them without a yes: with which results, and whether by a jump to just that destination."""
        self.lacking: dict[tuple[Place, str], tuple[Edge | None, str]] = {}
        """Contexts that are not there, by who names them."""
        self.full = False
        self._parents: dict[_Key, tuple[Edge | None, str]] = {}
        self._origins: dict[_Key, Entry] = {}
        self._queue: deque[Edge] = deque()
        self._deferred: dict[int, list[tuple[Edge, Edge | None, str]]] = {GUESSED: [], UNNAMED: []}
        self._frames: dict[tuple[str, str, State], Frame] = {}
        self._variety: dict[tuple[str, str], set[int]] = {}

    # --- running -----------------------------------------------------------------------------------------------------

    def run(self, do: Callable[[Walk, Edge], None], entries: list[Entry], *, named: bool) -> None:
        """Follow every way. Without entries that files name, every context counts that nothing else leads to."""
        for entry in entries:
            self._enter(entry, EXACT)
        self._finish(do, EXACT)
        if not named:
            mentioned = self._mentioned()
            for context in list(self.dialplan.contexts.values()):
                if context.name not in mentioned and context.name not in self.trusted:
                    self._enter(Entry(context.name, context.place, f"context {context.name}"), EXACT)
            self._finish(do, EXACT)
        self._finish(do, GUESSED)
        for context in list(self.dialplan.contexts.values()):
            if context.name not in self.reached and context.name not in self.trusted:
                self._enter(Entry(context.name, context.place, f"context {context.name}"), UNNAMED)
        self._finish(do, UNNAMED)

    def _mentioned(self) -> set[str]:
        """Contexts that actions of another context name."""
        return {
            word
            for context, _, action in self.dialplan.actions
            for word in re.split(r"[\s/,:!'\]]+", action.data)
            if word in self.dialplan.contexts and word != context.name
        }

    def _finish(self, do: Callable[[Walk, Edge], None], rank: int) -> None:
        while True:
            for edge, parent, how in self._deferred.pop(rank, []) if rank else []:
                self._put(edge, parent, how)
            if rank:
                self._deferred[rank] = []
            while self._queue:
                edge = self._queue.popleft()
                if edge.node.last:
                    self._ended(edge)
                elif edge.node.action is None:
                    self.next(edge, edge.state)
                else:
                    do(self, edge)
            if not rank or not self._deferred[rank]:
                return

    def _enter(self, entry: Entry, rank: int) -> None:
        context = self.dialplan.find(entry.context)
        if context is None:
            self.lacking[entry.place, entry.context] = (None, entry.what)
            return
        if entry.destination == expressions.DIALLED and rank == EXACT:
            self._dialled(context, entry)
        self._land(self.root, context, entry.destination, State(NOT_ASKED, 0), None, "", rank, entry)

    def _dialled(self, context: Context, entry: Entry) -> None:
        """Recorded destinations that a caller may dial by their name."""
        for (name, destination), line in self.watching.items():
            if name == context.name:
                node = Node(0, context.name, destination)
                edge = Edge(self.root, node, State(NOT_ASKED, 0), EXACT)
                self.around.setdefault((line, entry.place), (edge, NOT_ASKED, False))

    # --- going on ----------------------------------------------------------------------------------------------------

    def _put(self, edge: Edge, parent: Edge | None, how: str, entry: Entry | None = None) -> None:
        key = (edge.frame.number, edge.node.number, edge.state)
        if key in self._parents:
            return
        if len(self._parents) >= MOST_EDGES or self.hunter.count > MOST_NODES or self.hunter.tired:
            self.full = True
            return
        self._parents[key] = (parent, how)
        if entry is not None:
            self._origins[key] = entry
        self._queue.append(edge)

    def next(self, edge: Edge, state: State) -> None:
        """Go on with what may follow in the plan."""
        for node in edge.node.following:
            self._put(Edge(edge.frame, node, state, edge.rank), edge, "")

    def _ended(self, edge: Edge) -> None:
        frame = edge.frame
        if frame is self.root or edge.state in frame.exits:
            return
        frame.exits[edge.state] = None
        for caller in list(frame.callers):
            self.next(caller._replace(rank=max(caller.rank, edge.rank)), edge.state)

    def _land(
        self,
        frame: Frame,
        context: Context,
        destination: str,
        state: State,
        parent: Edge | None,
        how: str,
        rank: int,
        entry: Entry | None = None,
    ) -> None:
        """Hunt a context for a destination, with each result by itself, and go through the plan."""
        self.reached.add(context.name)
        variety = self._variety.setdefault((context.name, destination), set())
        values = state.values
        if values not in variety:
            values = 0 if len(variety) >= MOST_VALUES else values
            variety.add(values)
        for result in bits(state.results):
            if self.full:
                return
            plan = self.hunter.plan(context, destination, result, values)
            edge = Edge(frame, plan.first, State(plan.results or result, plan.values), rank)
            if rank > (parent.rank if parent is not None else EXACT) and rank in self._deferred and entry is None:
                self._deferred[rank].append((edge, parent, how))
            else:
                self._put(edge, parent, how, entry)

    def jump(self, edge: Edge, destination: str, context: str, state: State, how: str) -> None:
        """A call goes to another destination, and does not come back."""
        self._go(self.root, edge, destination, context, state, how)

    def call(self, edge: Edge, destination: str, context: str, state: State, how: str) -> None:
        """``execute_extension``: what comes behind it goes on when that has ended."""
        for result in bits(state.results):
            one = State(result, state.values)
            key = (context, destination, one)
            frame = self._frames.get(key)
            if frame is None:
                frame = self._frames[key] = Frame(len(self._frames) + 1)
            if not self._go(frame, edge, destination, context, one, how):
                self.next(edge, one)
                continue
            frame.callers[edge] = None
            for left in list(frame.exits):
                self.next(edge, left)

    def _go(self, frame: Frame, edge: Edge, destination: str, name: str, state: State, how: str) -> bool:
        if not expressions.is_exact(name):
            self.say(edge, "computed", f"{how}: the context is computed while the call runs")
            return False
        context = self.dialplan.find(name)
        if context is None:
            assert edge.node.action is not None
            self.lacking.setdefault((edge.node.action.place, name), (edge, expressions.shown(how)))
            return False
        rank = max(edge.rank, GUESSED) if HOLE in destination else edge.rank
        line = self.watching.get((context.name, destination))
        if line is not None and state.results & ~GRANTED and edge.node.action is not None:
            self.around[line, edge.node.action.place] = (edge, state.results, True)
        self._land(frame, context, destination, state, edge, how, rank)
        return True

    # --- what is found -----------------------------------------------------------------------------------------------

    def fill(self, edge: Edge, text: str, state: State) -> str:
        """A text with what is known at an action."""
        if "${" not in text:
            return text
        values = self.memory.of(state.values)
        node = edge.node

        def known(name: str) -> str | None:
            if name == "destination_number":
                return node.destination
            return node.context if name == "context" else look(name, state.results, values, None, None)

        return texts.filled(text, known)

    def record(self, edge: Edge, recorder: Recorder, state: State) -> None:
        """A recorder starts here: the worst way to it is kept."""
        action = edge.node.action
        assert action is not None
        harmless = not state.results & ~GRANTED
        order = (int(harmless), edge.rank, int(not state.results & NOT_ASKED))
        known = self.found.get((action.place, recorder.what))
        if known is None or order < known[0]:
            self.found[action.place, recorder.what] = (order, Found(edge, state.results, recorder))
        elif order == known[0] and state.results & ~known[1].results:
            results = known[1].results | state.results
            self.found[action.place, recorder.what] = (order, known[1]._replace(results=results))

    def say(self, edge: Edge, kind: str, what: str) -> None:
        """Something else to tell of an action."""
        action = edge.node.action
        assert action is not None
        self.told.setdefault((action.place, expressions.shown(what)), (edge, kind))

    def way(self, edge: Edge) -> tuple[Stop, ...]:
        """The way from an entry point to an action: where it left the row of actions, and its end."""
        found = [self._stop(edge.node)] if edge.node.action is not None else []
        key: _Key = (edge.frame.number, edge.node.number, edge.state)
        seen = {key}
        while (before := self._parents.get(key)) is not None:
            parent, how = before
            if parent is None:
                if (entry := self._origins.get(key)) is not None:
                    found.append(Stop(entry.place, entry.context, entry.what))
                break
            if how:
                found.append(self._stop(parent.node))
            key = (parent.frame.number, parent.node.number, parent.state)
            if key in seen:
                break
            seen.add(key)
        return shortened(found[::-1])

    def _stop(self, node: Node) -> Stop:
        action = node.action
        assert action is not None
        shown = expressions.shown(f"{action.application} {action.data}".strip())
        return Stop(action.place, node.at, shown if len(shown) <= 200 else shown[:197] + "...")
