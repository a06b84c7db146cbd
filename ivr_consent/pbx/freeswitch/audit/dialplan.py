"""The XML dialplan as FreeSWITCH has it: contexts, extensions, conditions, actions. (mod_dialplan_xml.c, 1.10)"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from ivr_consent.pbx.audit.findings import Finding, Level, Place, Rule
from ivr_consent.pbx.freeswitch.audit import expressions, grammar
from ivr_consent.pbx.freeswitch.audit.documents import Document, Element

LONGEST_BEGINNING: Final = 100
_ANYTHING: Final = frozenset(("",))

ON_FALSE, ON_TRUE, ALWAYS, NEVER = "on-false", "on-true", "always", "never"
TRUE: Final = frozenset({"yes", "on", "true", "t", "enabled", "active", "allow"})

_TIMES: Final = frozenset({
    "date-time", "year", "yday", "mon", "mday", "week", "mweek", "wday", "hour", "minute", "minute-of-day",
    "time-of-day", "tz-offset", "dst",
})  # fmt: skip  # rows that belong together
"""Attributes that make a condition one of date and time."""


@dataclass(slots=True, eq=False)
class Action:
    """An action or anti-action: ``application`` in small letters, ``data`` as written."""

    application: str
    data: str
    place: Place
    inline: bool = False
    allowed: str = ""


@dataclass(slots=True, eq=False)
class Condition:
    """A condition. ``field`` is None where it has none; ``rule`` is ``all``, ``any`` or ``xor`` over ``regexes``."""

    place: Place
    field: str | None
    expression: str
    breaks: str
    timed: bool
    rule: str | None
    regexes: list[Condition]
    actions: list[Action]
    antis: list[Action]
    nested: list[Condition]
    require_nested: bool


@dataclass(slots=True, eq=False)
class Extension:
    """An extension with its conditions."""

    name: str
    place: Place
    continues: bool
    conditions: list[Condition]


@dataclass(slots=True, eq=False)
class Context:
    """A context. Extensions that only take destinations with certain beginnings are found by these."""

    name: str
    place: Place
    extensions: list[Extension] = field(default_factory=list)
    by_beginning: dict[str, list[int]] = field(default_factory=dict)

    def taking(self, destination: str) -> list[Extension]:
        """The extensions that one destination can have to do with, in their order."""
        numbers: set[int] = set()
        for length in range(min(len(destination), LONGEST_BEGINNING) + 1):
            numbers.update(self.by_beginning.get(destination[:length], ()))
        return [self.extensions[number] for number in sorted(numbers)]

    def add(self, extension: Extension) -> None:
        """Add an extension behind the others."""
        for beginning in _beginnings(extension):
            self.by_beginning.setdefault(beginning[:LONGEST_BEGINNING], []).append(len(self.extensions))
        self.extensions.append(extension)


@dataclass(slots=True)
class Dialplan:
    """All contexts by name, and what could not be taken as it stands."""

    contexts: dict[str, Context] = field(default_factory=dict)
    actions: list[tuple[Context, Extension, Action]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def find(self, name: str) -> Context | None:
        """The context that a call gets: that of the name, or ``global``."""
        return self.contexts.get(name) or self.contexts.get("global")


def truth(text: str) -> bool:
    """As FreeSWITCH takes a word for true."""
    word = text.strip().lower()
    return word in TRUE or (word.lstrip("-").isdecimal() and int(word[:9]) != 0)


def load(document: Document) -> Dialplan:
    """The dialplan of a document: contexts in its dialplan sections, or anywhere where there are no sections."""
    dialplan = Dialplan()
    sections = [one for one in document.root.named("section") if one.get("name") in ("dialplan", "site")]
    for section in sections or [document.root]:
        loose = not sections or section.get("name") == "site"
        found = [one for one in section.walk() if one.tag == "context"] if loose else section.named("context")
        for element in found:
            _context(dialplan, element)
    return dialplan


def _context(dialplan: Dialplan, element: Element) -> None:
    name = element.get("name")
    if not name:
        return
    if name in dialplan.contexts:
        found = f"a second context {name}: FreeSWITCH takes the first one, at {dialplan.contexts[name].place}, alone"
        dialplan.findings.append(Finding(Rule.DROPPED, Level.WARNING, element.place, found, "put them together"))
        return
    context = dialplan.contexts[name] = Context(name, element.place)
    for child in element.named("extension"):
        extension = Extension(
            child.get("name") or "_anon_",
            child.place,
            truth(child.get("continue")),
            [_condition(one) for one in child.named("condition")],
        )
        context.add(extension)
        waiting = list(extension.conditions)
        while waiting:
            condition = waiting.pop()
            dialplan.actions += [(context, extension, one) for one in condition.actions + condition.antis]
            waiting += condition.nested


def _beginnings(extension: Extension) -> frozenset[str]:
    """What a destination must begin with: with another one it ends at its first condition, which then does nothing."""
    first = extension.conditions[0] if extension.conditions else None
    if first is None or first.field != "destination_number" or first.rule is not None or first.timed or first.antis:
        return _ANYTHING
    if first.breaks not in (ON_FALSE, ALWAYS) or "${" in first.expression:
        return _ANYTHING
    return expressions.beginnings(grammar.parsed(first.expression))


def _condition(element: Element) -> Condition:
    expression = element.get("expression")
    if inner := element.named("expression"):
        expression = inner[0].text
    breaks = element.get("break").lower()
    return Condition(
        element.place,
        element.attributes.get("field"),
        expression,
        breaks if breaks in (ON_TRUE, ON_FALSE, ALWAYS, NEVER) else ON_FALSE,
        bool(_TIMES & set(element.attributes)),
        element.attributes["regex"].lower() if "regex" in element.attributes else None,
        [_condition(one) for one in element.named("regex")],
        [action for one in element.named("action") for action in _actions(one)],
        [action for one in element.named("anti-action") for action in _actions(one)],
        [_condition(one) for one in element.named("condition")],
        truth(element.get("require-nested", "true")),
    )


def _actions(element: Element) -> list[Action]:
    loop = element.attributes.get("loop")
    if loop is not None and not re.match(r"\s*\+?0*[1-9]", loop):
        return []
    data = element.text or element.get("data")
    name = element.get("application").strip().lower()
    return [Action(name, data, element.place, truth(element.get("inline")), element.allowed)]
