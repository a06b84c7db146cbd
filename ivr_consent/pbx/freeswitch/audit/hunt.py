"""What a call finds in a context. FreeSWITCH looks through the extensions first, with the variables as they are then,
and puts the actions into a row; only then it runs them. Both are kept apart here.

A *hunt* is done for one destination (or kind of destination), one result of the gate, and what is known of variables.
Its conditions are true, false, or unknown; then both. What comes out is a *plan*: actions, and which may follow which.
Rows that part and meet again meet in a node without an action, so that a plan is no longer than its context.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ivr_consent.pbx.audit.results import HOLE, OTHER, VALUES, bit_of, bits
from ivr_consent.pbx.freeswitch.audit import expressions, grammar, texts
from ivr_consent.pbx.freeswitch.audit.dialplan import (
    ALWAYS,
    NEVER,
    ON_FALSE,
    ON_TRUE,
    Action,
    Condition,
    Context,
    Dialplan,
    Extension,
)
from ivr_consent.pbx.freeswitch.audit.memory import Memory
from ivr_consent.pbx.freeswitch.variables import RESULT

DEEPEST: Final = 100
"""Conditions within conditions, as FreeSWITCH has it."""

MOST_LOOKS: Final = 500_000
MOST_STEPS: Final = 4_000_000
"""Extensions that are looked at in all hunts together, and steps of matching their expressions."""


@dataclass(slots=True, eq=False)
class Node:
    """An action in a plan, with its captures put in; without one where rows meet, begin and end."""

    number: int
    context: str
    extension: str = ""
    action: Action | None = None
    data: str = ""
    destination: str = ""
    following: list[Node] = field(default_factory=list)
    last: bool = False

    @property
    def at(self) -> str:
        """``context,extension``."""
        return f"{self.context},{self.extension}" if self.extension else self.context


@dataclass(slots=True, eq=False)
class Plan:
    """What a hunt found: where its rows begin, and what is known there, behind all that ran inline."""

    first: Node
    results: int = 0
    values: int = 0


class _Point(NamedTuple):
    """A place in a hunt: results and variables there, the destination as far as it is known, the row's last node."""

    results: int
    values: int
    destination: str
    last: Node


Captures = dict[int, str]
_Test = tuple[bool, bool, _Point, Captures | None]
"""Whether the anti-actions are taken, whether it goes on, the point, and what ``$1`` means (None: nothing)."""


class Hunter:
    """Does hunts, each once."""

    def __init__(self, dialplan: Dialplan, memory: Memory) -> None:
        self.dialplan = dialplan
        self.memory = memory
        self.tired = False
        self.count = 0
        self._looks = 0
        self._spent = expressions.spent()
        self._plans: dict[tuple[str, str, int, int], Plan] = {}

    def plan(self, context: Context, destination: str, result: int, values: int) -> Plan:
        """What a call to a destination finds in a context, with one result of the gate."""
        key = (context.name, destination, result, values)
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = _Hunt(self, context, destination, result, values).plan
        return found

    def node(self, context: str, extension: str = "") -> Node:
        """A new node."""
        self.count += 1
        return Node(self.count, context, extension)

    def look(self) -> bool:
        """Whether one more extension may be looked at."""
        self._looks += 1
        if self._looks > MOST_LOOKS or expressions.spent() - self._spent > MOST_STEPS:
            self.tired = True
        return not self.tired


class _Hunt:
    """One hunt."""

    def __init__(self, hunter: Hunter, context: Context, destination: str, result: int, values: int) -> None:
        self.hunter = hunter
        self.memory = hunter.memory
        self.context = context
        self.destination = destination
        first = hunter.node(context.name)
        self.plan = Plan(first)
        self.end = hunter.node(context.name)
        self.end.last = True
        point: _Point | None = _Point(result, values, destination, first)
        for extension in self._extensions():
            if point is None or not hunter.look():
                break
            self.extension = extension
            matched, missed = self._conditions(extension.conditions, point, 0)
            if matched is not None and not extension.continues:
                self._finished(matched)
                matched = None
            point = self._either(matched, missed)
            if point is not None and point.destination != destination:
                point = point._replace(destination=destination)
        if point is not None:
            self._finished(point)

    def _finished(self, point: _Point) -> None:
        """One end of the hunt: the row is run now."""
        values = point.values
        self.plan.values = self.memory.both(self.plan.values, values) if self.plan.results else values
        self.plan.results |= point.results
        point.last.following.append(self.end)

    def _extensions(self) -> list[Extension]:
        """The extensions in their order, without those that are tied to another destination."""
        if expressions.is_exact(self.destination):
            return self.context.taking(self.destination)
        return self.context.extensions

    # --- points ------------------------------------------------------------------------------------------------------

    def _either(self, one: _Point | None, other: _Point | None) -> _Point | None:
        """What is known where two ways meet."""
        if one is None or other is None:
            return other if one is None else one
        last = one.last
        if last is not other.last:
            last = self.hunter.node(self.context.name)
            one.last.following.append(last)
            other.last.following.append(last)
        destination = one.destination if one.destination == other.destination else self.destination
        return _Point(one.results | other.results, self.memory.both(one.values, other.values), destination, last)

    def _queued(self, point: _Point, actions: list[Action], captures: Captures | None) -> _Point:
        """A point with actions put into the row."""
        for action in actions:
            node = self.hunter.node(self.context.name, self.extension.name)
            node.action, node.destination = action, point.destination
            node.data = action.data if captures is None else substituted(action.data, captures)
            point.last.following.append(node)
            point = point._replace(last=node)
            if action.inline and action.application in ("set", "export", "multiset", "unset"):
                point = self._inline(point, action.application, node.data)
        return point

    def _inline(self, point: _Point, application: str, data: str) -> _Point:
        """What an inline action changes for the conditions that follow."""
        if application == "unset":
            pairs = [(data.strip().lower(), "")]
        else:
            pairs = texts.assignments(data) if application == "multiset" else texts.assignments(data, "\0")
        for name, written in pairs:
            value = self.filled(written, point)
            if name == RESULT:
                point = point._replace(results=bit_of(value) if expressions.is_exact(value) else OTHER)
            else:
                point = point._replace(values=self.memory.changed(point.values, name, value))
        return point

    def filled(self, text: str, point: _Point) -> str:
        """A text with what is known at a point."""
        if "${" not in text:
            return text
        return texts.filled(text, lambda name: look(name, point.results, self.memory.of(point.values), point, self))

    # --- conditions --------------------------------------------------------------------------------------------------

    def _conditions(
        self, conditions: list[Condition], point: _Point, depth: int
    ) -> tuple[_Point | None, _Point | None]:
        """Where it goes on with the extension matched, and where not."""
        if depth > DEEPEST:
            return None, point
        now: list[_Point | None] = [point, None]
        done: list[_Point | None] = [None, None]
        for condition in conditions:
            start = self._either(*now)
            if start is None:
                break
            now = [None, None]
            within: _Point | None = None
            for anti, proceeds, tested, captures in self._tests(condition, start):
                one = self._queued(tested, condition.antis if anti else condition.actions, None if anti else captures)
                goes_on = proceeds or (anti and bool(condition.antis))
                if condition.breaks in (ALWAYS, ON_FALSE if anti else ON_TRUE):
                    done[goes_on] = self._either(done[goes_on], one)
                elif goes_on and condition.nested:
                    within = self._either(within, one)
                else:
                    now[goes_on] = self._either(now[goes_on], one)
            if within is not None:
                self._within(condition, within, now, done, depth)
        return self._either(now[1], done[1]), self._either(now[0], done[0])

    def _within(
        self, condition: Condition, point: _Point, now: list[_Point | None], done: list[_Point | None], depth: int
    ) -> None:
        """The conditions within a condition."""
        matched, missed = self._conditions(condition.nested, point, depth + 1)
        if not condition.require_nested:
            matched, missed = self._either(matched, missed), None
        now[1] = self._either(now[1], matched)
        if condition.breaks == NEVER:
            now[0] = self._either(now[0], missed)
        else:
            done[0] = self._either(done[0], missed)

    def _tests(self, condition: Condition, point: _Point) -> list[_Test]:
        """Every outcome that is possible, as mod_dialplan_xml comes to it."""
        if condition.rule is not None:
            return self._rule(condition, point)
        if condition.field is None:
            if not condition.timed:
                return [(False, True, point, None)]
            return [(False, True, point, None), (True, False, point, None)]
        true, false = self._matches(condition, point)
        found: list[_Test] = [(False, True, one, captures) for one, captures in true]
        for one in false:
            found.append((True, False, one, None))
            if condition.timed:  # the time was right, the field was not: its actions are taken all the same
                found.append((False, False, one, _ANY if "(" in condition.expression else None))
        return found

    def _rule(self, condition: Condition, point: _Point) -> list[_Test]:
        """``regex="all|any|xor"``: passes (none, one, more), whether one failed, whether the last one passed."""
        every, only = condition.rule == "all", condition.rule == "xor"
        running = {(0, False, False)} if condition.regexes else {(0, False, False), (0, False, True)}
        ended: set[tuple[int, bool, bool]] = set()
        for one in condition.regexes:
            can_pass, can_fail = self._can(one, point)
            following: set[tuple[int, bool, bool]] = set()
            for passes, failed, _ in running:
                if can_pass:
                    passed = (min(passes + 1, 2), failed, True)
                    (following if every or only else ended).add(passed)
                if can_fail:
                    (ended if every else following).add((passes, True, False))
            running = following
        captures = _ANY if any("(" in one.expression for one in condition.regexes) else None
        found: set[tuple[bool, bool]] = set()
        for passes, failed, proceeds in running | ended:
            taken = passes == 1 if only else (every and not failed) or (not every and passes > 0)
            found |= {(not taken, one) for one in ((proceeds,) if captures is None else (False, True))}
        return [(anti, proceeds, point, captures) for anti, proceeds in sorted(found)]

    def _can(self, condition: Condition, point: _Point) -> tuple[bool, bool]:
        if condition.field is None:
            return True, condition.timed
        true, false = self._matches(condition, point)
        return bool(true) or condition.timed, bool(false) or condition.timed

    def _matches(self, condition: Condition, point: _Point) -> tuple[list[tuple[_Point, Captures]], list[_Point]]:
        """The points at which a condition's field matches, with its captures, and those at which it does not."""
        true: list[tuple[_Point, Captures]] = []
        false: list[_Point] = []
        asks = "${" in condition.expression or "$" in (condition.field or "")
        for result in bits(point.results) if asks and point.results & (point.results - 1) else (point.results,):
            one = point._replace(results=result)
            self._match(condition, one, true, false)
        return true, false

    def _match(
        self, condition: Condition, point: _Point, true: list[tuple[_Point, Captures]], false: list[_Point]
    ) -> None:
        expression = self.filled(condition.expression, point)
        text = self._field(condition.field or "", point)
        if not expressions.is_exact(expression):
            true.append((point, _ANY))
            false.append(point)
            return
        regex = grammar.parsed(expression)
        if expressions.is_exact(text):
            found = expressions.match(regex, text)
            if found is None or found is not False:
                true.append((point, found if isinstance(found, dict) else _ANY))
            if found is None or found is False:
                false.append(point)
            return
        if expressions.can_match(regex, text):
            captures, whole = _kinds(regex), HOLE
            if condition.field in _DESTINATION:
                whole = expressions.language(regex)
            true.append((point if whole == HOLE else point._replace(destination=whole), captures))
        if not expressions.always_matches(regex, text):
            false.append(point)

    def _field(self, name: str, point: _Point) -> str:
        if "$" in name:
            return self.filled(name, point)
        if name == "destination_number":
            return point.destination
        if name == "context":
            return self.context.name
        return "XML" if name == "dialplan" else HOLE


_DESTINATION: Final = ("destination_number", "${destination_number}")
_ANY: Final[Captures] = {}
"""Captures of which nothing is known."""


def _kinds(regex: grammar.Regex | None) -> Captures:
    """What each group of an expression takes, as a language."""
    if regex is None:
        return _ANY
    found = {0: expressions.language(regex)}
    for number in range(1, 10):
        inner = grammar.group(regex, number)
        if inner is None:
            break
        found[number] = expressions.language(inner)
    return found


def substituted(data: str, captures: Captures) -> str:
    """An action's data with ``$1`` put in."""
    if "$" not in data:
        return data
    parts, at = [], 0
    while (begin := data.find("$", at)) >= 0:
        end = begin + 1
        while end < len(data) and data[end].isdecimal() and end - begin < 3:
            end += 1
        if end == begin + 1:
            parts.append(data[at:end])
        else:
            parts += [data[at:begin], captures.get(int(data[begin + 1 : end]), "" if captures else HOLE)]
        at = end
    return "".join([*parts, data[at:]])


def look(name: str, results: int, values: dict[str, str], point: _Point | None, hunt: _Hunt | None) -> str | None:
    """The value of a variable."""
    if name == RESULT:
        return VALUES[results.bit_length() - 1] if results and not results & (results - 1) else None
    if name == "destination_number" and point is not None:
        return point.destination
    if name == "context" and hunt is not None:
        return hunt.context.name
    return values.get(name)
