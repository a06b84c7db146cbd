"""Every way through a dialplan, with what is known of the consent on it.

A way is followed from each entry point, step by step. What is remembered is a step together with what is known there
(:mod:`known`): each such pair is looked at once, so that loops end and all is linear in the dialplan. Subroutines are
gone through once for each thing known at their beginning; whoever calls one goes on with what is known at its returns.

Ways have three ranks. 0: from an entry point, by jumps that are read exactly. 1: a jump on it is computed, and goes to
all that it could mean. 2: from a context that nothing in the files leads to, beside entry points that they do name.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from ivr_consent.pbx.asterisk.audit.dialplan import RAN_BY_ASTERISK, Context, Dialplan, Extension, Value
from ivr_consent.pbx.asterisk.audit.graph import (
    EXACT,
    GUESSED,
    UNNAMED,
    Edge,
    Entry,
    Found,
    Frame,
    Key,
    Node,
    Target,
    stops,
)
from ivr_consent.pbx.asterisk.audit.known import SYMBOL, State, Values, text_of
from ivr_consent.pbx.asterisk.audit.patterns import ANYTHING, Pattern, plain
from ivr_consent.pbx.asterisk.audit.recorders import Facts, Recorder
from ivr_consent.pbx.asterisk.audit.texts import filled, parts, truth
from ivr_consent.pbx.asterisk.variables import CONTEXT, RESULT
from ivr_consent.pbx.audit.findings import Place, Stop
from ivr_consent.pbx.audit.results import ASKED, GRANTED, HOLE, NOT_ASKED, VALUES, bits

MOST_VALUES: Final = 6
"""Different values of variables at one step; from then on they count as unknown there."""

MOST_EDGES: Final = 500_000
"""Pairs of a step and what is known there; beyond, the audit says that it did not finish."""

AMBIENT: Final = ("h", "T", "e", "fax")
"""Extensions of the context that a call can get to from any step."""

MENTIONING: Final = frozenset({
    "goto", "gotoif", "gotoiftime", "gosub", "gosubif", "macro", "macroif", "macroexclusive", "execif", "exec",
    "tryexec", "dial", "queue", "originate", "set", "page", "background", "disa", "random", "directory",
    "channelredirect",
})  # fmt: skip  # rows that belong together
"""Applications that can name a context."""

_VARIABLE: Final = re.compile(r"\$\{[^{}]*\}")
_CONTEXTS: Final = re.compile(r"(?:^|[?:(=&])([\w-]+)[,^][^,^?:()]*[,^][^,^?:()]|@([\w-]+)")
"""Contexts in arguments: ``context,extension,priority`` or ``extension@context``."""


class Walk:
    """All ways; filled by :meth:`run`. What a step does is decided by the module ``steps``."""

    def __init__(self, dialplan: Dialplan, facts: Facts) -> None:
        self.dialplan = dialplan
        self.facts = facts
        self.values = Values(dialplan)
        self.root = Frame(0)
        self.rank = EXACT
        self.parents: dict[Key, tuple[Edge | None, str]] = {}
        self.origins: dict[Key, Entry] = {}
        self.found: dict[tuple[Place, str], tuple[tuple[int, int], Found]] = {}
        self.unknown: dict[tuple[Place, str], tuple[Edge, int, str]] = {}
        self.visited: set[tuple[int, int]] = set()
        """Steps, as an extension's id and a priority, that some way came to."""
        self.watching: dict[tuple[int, int], list[tuple[str, str]]] = {}
        """Steps to look out for, as an extension's id and a priority: what is dialled there, and a name."""
        self.watched: dict[str, list[tuple[int, Edge]]] = {}
        """Every way that came there with its rank, by that name."""
        self.trusted: set[str] = set()
        """Contexts of the gate that are as they were shipped."""
        self.assumed = False
        """Whether a context that is not in the files may be there all the same."""
        self.lacking: list[Entry] = []
        """Entry points that lead to nothing in the files."""
        self.full = False
        self._queue: deque[Edge] = deque()
        self._deferred: tuple[list[tuple[Edge, Edge | None, str]], ...] = ([], [], [])
        self._all_nodes: list[Node] = []
        self._nodes: dict[tuple[str, Value, int, int], Node] = {}
        self._frames: dict[tuple[str, int, State], Frame] = {}
        self._variety: dict[tuple[int, int], set[int]] = {}
        self._once: set[tuple[object, ...]] = set()
        self._ambient: dict[str, tuple[str, ...]] = {}

    # --- nodes -------------------------------------------------------------------------------------------------------

    def node(self, context: str, value: Value, extension: Extension, priority: int) -> Node:
        """The node of a step."""
        narrowed = extension.narrowed(value)
        key = (context, narrowed, id(extension), priority)
        found = self._nodes.get(key)
        if found is None:
            step = extension.steps[priority]
            found = self._nodes[key] = Node(len(self._nodes), context, narrowed, extension, priority, step)
            self._all_nodes.append(found)
        return found

    def following(self, node: Node) -> list[Node]:
        """What comes after a step when nothing jumps."""
        if node._following is None:
            node._following = [
                self.node(node.context, node.value, extension, number)
                for extension, number in self.dialplan.following(
                    node.context, node.value, node.extension, node.priority
                )
            ]
        return node._following

    # --- going on ----------------------------------------------------------------------------------------------------

    def go(
        self, frame: Frame, node: Node, state: State, parent: Edge | None, how: str = "", rank: int | None = None
    ) -> None:
        """Look at a step with what is known there, unless that was done."""
        variety = self._variety.setdefault((frame.number, node.number), set())
        if state.values not in variety:
            if len(variety) >= MOST_VALUES:
                state = State(state.results, 0)
            variety.add(state.values)
        key = (frame.number, node.number, state)
        if key in self.parents:
            return
        if len(self.parents) >= MOST_EDGES or self.dialplan.tired:
            self.full = True
            return
        edge = Edge(frame, node, state)
        if rank is not None and rank > self.rank:
            if (key, rank) not in self._once:
                self._once.add((key, rank))
                self._deferred[rank].append((edge, parent, how))
            return
        self.parents[key] = (parent, how)
        self._queue.append(edge)

    def next(self, edge: Edge, state: State | None = None, how: str = "", rank: int | None = None) -> None:
        """Go on with the following priority; at the end of a macro, back to its caller."""
        state = edge.state if state is None else state
        following = self.following(edge.node)
        for node in following:
            self.go(edge.frame, node, state, edge, how, rank)
        if not following:
            self.ended(edge, state)

    def ended(self, edge: Edge, state: State) -> None:
        """The extension has no further priority."""
        if edge.frame.macro and edge.node.context == edge.frame.macro:
            self.returned(edge, state)
        elif not self.dialplan.fall_through:
            self.dialled(edge, edge.node.context, state)

    def returned(self, edge: Edge, state: State, rank: int = EXACT) -> None:
        """Back to whoever called the subroutine."""
        frame = edge.frame
        rank = max(rank, self.rank)
        if frame is self.root or frame.exits.get(state, UNNAMED + 1) <= rank:
            return
        frame.exits[state] = rank
        for caller in list(frame.callers):
            self._back(caller, state, rank)

    def _back(self, caller: Edge, state: State, rank: int) -> None:
        values = self.values.returned(caller.state.values, state.values)
        self.next(caller, State(state.results, values), "", rank)

    def lost(self, edge: Edge, what: str, state: State) -> None:
        """Where the call goes is not known; if that is within a subroutine, it may as well come back."""
        self.say(edge, what)
        self.returned(edge, State(state.results, 0), GUESSED)

    # --- texts -------------------------------------------------------------------------------------------------------

    def fill(self, edge: Edge, text: str, result: int | None = None, state: State | None = None) -> Value:
        """A text with what is known put in; ``result`` is the one result of the gate to assume."""
        if "$" not in text:
            return text
        values = self.values.of((state or edge.state).values)
        node, fixed = edge.node, self.values.fixed

        def look(name: str) -> Value | None:
            if name == RESULT:
                return SYMBOL if result is None else VALUES[result.bit_length() - 1]
            if name == "EXTEN":
                return node.value
            if name == "CONTEXT":
                return node.context
            found = values.get(name)
            if found is None:
                if name.startswith("GLOBAL("):
                    return fixed.get(name[7:-1])
                if name.startswith("ISNULL("):
                    return None if HOLE in name else str(int(name == "ISNULL()"))
                if name.startswith("EXISTS("):
                    return None if HOLE in name else str(int(name != "EXISTS()"))
                return fixed.get(name)
            if isinstance(found, str) and SYMBOL in found and result is not None:
                return found.replace(SYMBOL, VALUES[result.bit_length() - 1])
            return found

        return filled(text, look)

    def depends(self, text: str) -> bool:
        """Whether the gate's result can be in a text."""
        return RESULT in text or (self.values.aliased and "$" in text)

    def decide(self, edge: Edge, condition: str, state: State) -> tuple[int, int]:
        """The results with which a condition can be true, and those with which it can be false."""
        if not self.depends(condition):
            decided = truth(self.fill(edge, condition, state=state))
            return (state.results if decided is not False else 0), (state.results if decided is not True else 0)
        true = false = 0
        for result in bits(state.results):
            decided = truth(self.fill(edge, condition, result, state))
            true |= result if decided is not False else 0
            false |= result if decided is not True else 0
        return true, false

    # --- jumps -------------------------------------------------------------------------------------------------------

    def target(self, edge: Edge, text: str, result: int, state: State) -> Target:
        """Where ``[[context,]extension,]priority`` leads."""
        pieces: list[Value] = [self.fill(edge, piece.strip(), result, state) for piece in parts(text)]
        if len(pieces) == 1 and isinstance(pieces[0], str) and "," in pieces[0]:
            pieces = [piece.strip() for piece in pieces[0].split(",")]
        priority = text_of(pieces[-1]) or "1"
        value: Value = edge.node.value
        context: str | None = edge.node.context
        if len(pieces) > 1:
            value = pieces[-2]
        if len(pieces) > 2:
            context = text_of(pieces[-3])
        hole = isinstance(value, str) and HOLE in value
        computed = HOLE in priority or hole
        if context is not None and HOLE in context:
            return Target(None, value, priority, True)
        # A single unknown text may bring commas of its own, and with them a context.
        whole = (len(pieces) == 1 and priority == HOLE) or (len(pieces) == 2 and value == HOLE)
        if isinstance(value, str) and hole:
            head = value.partition(HOLE)[0]
            value = Pattern(tuple(frozenset(c) for c in head), "!") if head else ANYTHING
        return Target(None if whole else context, value, priority, computed)

    def jump(self, edge: Edge, text: str, state: State) -> None:
        """Follow a jump; without a target go on."""
        if not state.results:
            return
        if not text.strip():
            self.next(edge, state, "branch")
            return
        if self.depends(text):
            for result in bits(state.results):
                self._jump(edge, text, State(result, state.values), result)
        else:
            self._jump(edge, text, state, 0)

    def _jump(self, edge: Edge, text: str, state: State, result: int) -> None:
        target = self.target(edge, text, result or NOT_ASKED, state)
        if target.context is None:
            self.lost(edge, f"jump to {text}: where it goes is computed while the call runs", state)
            return
        self.land(edge, edge.frame, target, state, f"jump to {text}")

    def land(self, edge: Edge, frame: Frame, target: Target, state: State, how: str) -> bool:
        """Go to every step that a target can mean; false when there is none."""
        context = target.context
        assert context is not None
        places = self.places(context, target)
        rank = GUESSED if target.computed else None
        for extension, number in places:
            self.go(frame, self.node(context, target.value, extension, number), state, edge, how, rank)
        if not places or target.computed:
            if context not in self.dialplan.contexts:
                self.say(edge, f"{how}: there is no context {context} in these files", elsewhere=True)
            for extension, number in self.dialplan.find(context, "i", 1):
                self.go(frame, self.node(context, "i", extension, number), state, edge, how, rank)
        return bool(places)

    def places(self, context: str, target: Target) -> list[tuple[Extension, int]]:
        """The extensions and priorities that a target can mean."""
        if HOLE in target.priority:
            return [
                (extension, number)
                for extension, _ in self.dialplan.candidates(context, target.value)
                for number in extension.steps
            ]
        number = target.priority.lstrip("+")
        priority: int | str = int(number) if number.isdecimal() and len(number) < 9 else target.priority
        return self.dialplan.find(context, target.value, priority)

    # --- subroutines, and other channels -----------------------------------------------------------------------------

    def call(self, edge: Edge, text: str, state: State) -> None:
        """``context,extension,priority(arguments)`` as a subroutine, going on behind it."""
        if not state.results:
            return
        if self.depends(text):
            for result in bits(state.results):
                self._call(edge, text, State(result, state.values), result)
        else:
            self._call(edge, text, state, NOT_ASKED)

    def _call(self, edge: Edge, text: str, state: State, result: int) -> None:
        where, bracket, rest = text.partition("(") if "(" in parts(text)[-1] else (text, "", "")
        if bracket and where.count("{") != where.count("}"):
            where, rest = text, ""
        given = (
            [self.fill(edge, part.strip(), result, state) for part in parts(rest.rpartition(")")[0])] if rest else []
        )
        target = self.target(edge, where, result, state)
        if target.context is None:
            self.say(edge, f"subroutine {text}: which one is computed while the call runs")
            self.next(edge, State(state.results, 0))
            return
        if target.context == CONTEXT and (CONTEXT in self.trusted or CONTEXT not in self.dialplan.contexts):
            if CONTEXT not in self.trusted:
                self.say(edge, f"Gosub({text}): there is no context {CONTEXT} in these files", elsewhere=True)
            self.next(edge, State(ASKED, self.values.asked(state.values)))
            return
        self.enter(edge, target, state, self.values.called(state.values, given, {}), "", f"Gosub({text})")

    def enter(self, edge: Edge, target: Target, state: State, values: int, macro: str, how: str) -> None:
        """Begin a subroutine, or go on with what is known where it has returned before."""
        context = target.context
        assert context is not None
        places = self.places(context, target)
        if not places and context not in self.dialplan.contexts:
            self.say(edge, f"{how}: there is no context {context} in these files", elsewhere=True)
            if self.assumed:
                self.next(edge, State(state.results, 0))
        inside = State(state.results, values)
        for extension, number in places:
            node = self.node(context, target.value, extension, number)
            variety = self._variety.setdefault((-1, node.number), set())
            if values not in variety and len(variety) >= MOST_VALUES:
                inside = State(state.results, 0)
            variety.add(inside.values)
            frame = self._frames.get((macro, node.number, inside))
            if frame is None:
                frame = self._frames[macro, node.number, inside] = Frame(len(self._frames) + 1, macro)
            called = Edge(edge.frame, edge.node, state)
            if called not in frame.callers:
                frame.callers[called] = None
                self.parents.setdefault((edge.frame.number, edge.node.number, state), (edge, ""))
                for known, rank in list(frame.exits.items()):
                    self._back(called, known, rank)
            self.go(frame, node, inside, edge, how, GUESSED if target.computed else None)

    def start(self, edge: Edge, context: str, value: Value, priority: str, state: State, how: str) -> None:
        """Another channel, or a handler, begins somewhere; nothing comes back from there."""
        computed = isinstance(value, str) and HOLE in value
        if HOLE in context:
            self.say(edge, f"{how}: where it goes is computed while the call runs")
            return
        self.land(edge, self.root, Target(context, ANYTHING if computed else value, priority, computed), state, how)

    def start_at(self, edge: Edge, text: str, state: State, how: str, separator: str = "^") -> None:
        """The same for ``context^extension^priority^arguments`` as options of Dial write it; a name alone: s,1."""
        text = text.replace(separator, ",")
        where, _, rest = text.partition("(")
        pieces = [text_of(self.fill(edge, piece.strip(), None, state)) for piece in parts(where)]
        rest = rest.rpartition(")")[0]
        given: list[Value] = [self.fill(edge, piece, None, state) for piece in parts(rest)] if rest else []
        if len(pieces) > 3:
            given, pieces = list(pieces[3:]), pieces[:3]
        if len(pieces) == 2:
            pieces = [edge.node.context, *pieces]
        context, value, priority = (*pieces, "s", "1")[:3] if len(pieces) < 3 else pieces
        self.start(
            edge, context, value, priority, State(state.results, self.values.called(state.values, given, {})), how
        )

    def dialled(self, edge: Edge, context: str, state: State, how: str = "a dialled extension") -> None:
        """The caller, or whoever transfers him, dials any extension of a context."""
        key = ("dialled", edge.frame.number, context, state)
        if key in self._once:
            return
        self._once.add(key)
        if context not in self.dialplan.contexts:
            self.say(edge, f"{how}: there is no context {context} in these files", elsewhere=True)
        for extension in self.dialplan.dialled_in(context):
            if extension.name not in RAN_BY_ASTERISK:
                value = extension.pattern or extension.name
                self.go(edge.frame, self.node(context, value, extension, 1), state, edge, how)
        self.special(edge, ("i", "t"), state, context)

    def special(self, edge: Edge, names: tuple[str, ...], state: State, context: str = "") -> None:
        """Extensions that Asterisk goes to by itself."""
        context = context or edge.node.context
        for name in names:
            for extension, number in self.dialplan.find(context, name, 1):
                self.go(edge.frame, self.node(context, name, extension, number), state, edge, f"extension {name}")

    # --- what is found -----------------------------------------------------------------------------------------------

    def say(self, edge: Edge, what: str, *, elsewhere: bool = False) -> None:
        """Something that the files do not tell. ``elsewhere``: it may be in a file that was not given."""
        kind = "elsewhere:" if elsewhere else ""
        self.unknown.setdefault((edge.node.step.place, kind + what), (edge, self.rank, what))

    def record(self, edge: Edge, recorder: Recorder, state: State) -> None:
        """A recorder; the worst way to it is kept."""
        how_bad = 0 if state.results & NOT_ASKED else 1 if state.results & ~GRANTED else 2
        order = (self.rank, how_bad) if how_bad < 2 else (3, 2)
        key = (edge.node.step.place, recorder.what)
        if key not in self.found or order < self.found[key][0]:
            self.found[key] = (order, Found(edge, state.results, self.rank, recorder))

    # --- running -----------------------------------------------------------------------------------------------------

    def run(self, do: Callable[[Walk, Edge, str, str, State], None], entries: list[Entry], *, named: bool) -> None:
        """Follow every way. ``do`` does one step; ``named`` is whether the files say where calls come in."""
        for entry in entries:
            self._begin(entry, EXACT)
        self._exhaust(do, EXACT)
        self._exhaust(do, GUESSED)
        rest = UNNAMED if named else EXACT
        for context, mentioned in self._beginnings():
            entry = Entry(context.name, context.place, f"context {context.name}")
            self.rank = EXACT
            for extension in self.dialplan.dialled_in(context.name):
                if (id(extension), 1) not in self.visited:
                    called = mentioned or context.name.startswith("macro-") or extension.name in AMBIENT
                    self._enter(entry, extension, UNNAMED if called else rest)
            for rank in (EXACT, GUESSED, UNNAMED):
                self._exhaust(do, rank)
        for context in self.dialplan.contexts.values():
            entry = Entry(context.name, context.place, f"context {context.name}")
            for extension in context.extensions.values():
                for number in sorted(extension.steps):
                    if (id(extension), number) not in self.visited:
                        self.rank = UNNAMED
                        self._enter(entry, extension, UNNAMED, number)
                        self._exhaust(do, UNNAMED)

    def _begin(self, entry: Entry, rank: int) -> None:
        if entry.value:
            places = self.places(entry.context, Target(entry.context, entry.value, entry.priority, False))
            if not places:
                self.lacking.append(entry)
            for extension, number in places:
                self._enter(entry, extension, rank, number, entry.value)
            return
        if entry.context not in self.dialplan.contexts:
            self.lacking.append(entry)
        for extension in self.dialplan.dialled_in(entry.context):
            if extension.name not in AMBIENT:
                self._enter(entry, extension, rank)

    def _enter(self, entry: Entry, extension: Extension, rank: int, number: int = 1, value: str = "") -> None:
        node = self.node(entry.context, value or extension.pattern or extension.name, extension, number)
        state = State(NOT_ASKED, 0)
        self.origins.setdefault((0, node.number, state), entry)
        self.go(self.root, node, state, None, "", rank)

    def _beginnings(self) -> Iterator[tuple[Context, bool]]:
        """Contexts that no way came to: first those that nothing mentions, then the others."""
        mentioned: set[str] = set()
        for context in self.dialplan.contexts.values():
            mentioned.update(include.name for include in context.includes)
            for extension in context.extensions.values():
                for step in extension.steps.values():
                    if step.application in MENTIONING:
                        named = _CONTEXTS.findall(_VARIABLE.sub("x", step.arguments))
                        mentioned.update({first or second for first, second in named} - {context.name})
        ordered = sorted(self.dialplan.contexts.values(), key=lambda context: context.name in mentioned)
        for context in ordered:
            if any((id(e), 1) not in self.visited for e in context.extensions.values() if 1 in e.steps):
                yield context, context.name in mentioned

    def _exhaust(self, do: Callable[[Walk, Edge, str, str, State], None], rank: int) -> None:
        self.rank = rank
        for edge, parent, how in self._deferred[rank]:
            self.go(edge.frame, edge.node, edge.state, parent, how)
        self._deferred[rank].clear()
        queue = self._queue
        while queue:
            edge = queue.popleft()
            node = edge.node
            self.visited.add((id(node.extension), node.priority))
            ambient = self._ambient.get(node.context)
            if ambient is None:
                ambient = self._ambient[node.context] = tuple(
                    name for name in AMBIENT if self.dialplan.find(node.context, name, 1)
                )
            if ambient and (node.context, edge.state) not in self._once:
                self._once.add((node.context, edge.state))
                for name in ambient:
                    for extension, number in self.dialplan.find(node.context, name, 1):
                        after = self.node(node.context, name, extension, number)
                        self.go(self.root, after, edge.state, edge, f"extension {name}")
            for dialled, name in self.watching.get((id(node.extension), node.priority), ()):
                if node.value == dialled or (isinstance(node.value, Pattern) and node.value.takes(plain(dialled))):
                    self.watched.setdefault(name, []).append((rank, edge))
            do(self, edge, node.step.application, node.step.arguments, edge.state)

    def way(self, edge: Edge) -> tuple[Stop, ...]:
        """The stops from an entry point to a step."""
        return stops(edge, self.parents, self.origins, self._all_nodes.__getitem__)
