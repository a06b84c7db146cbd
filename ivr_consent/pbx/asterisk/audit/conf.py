"""``extensions.conf`` into a dialplan, as Asterisk's ``pbx_config`` loads it."""

from __future__ import annotations

import re
from typing import Final

from ivr_consent.pbx.asterisk.audit.dialplan import Context, Dialplan, Extension, Include, Step
from ivr_consent.pbx.asterisk.audit.sections import Configuration, Entry, Section, truth
from ivr_consent.pbx.asterisk.audit.texts import filled, parts
from ivr_consent.pbx.audit.findings import Finding, Level, Place, Rule

HINT: Final = -1
_NONE: Final = -2

_NUMBER: Final = re.compile(r"\s*([+-]?\d{1,9})")

SWITCHES: Final = frozenset({"switch", "lswitch", "eswitch"})


def load(configuration: Configuration, dialplan: Dialplan) -> list[Finding]:
    """Add the sections of an extensions.conf to a dialplan. What Asterisk would leave out is left out, and said."""
    findings: list[Finding] = []
    for section in configuration.active():
        name = section.name.lower()
        if name == "general":
            fall = section.last("autofallthrough")
            dialplan.fall_through = dialplan.fall_through if fall is None else truth(fall.value)
        elif name == "globals":
            for entry in section.entries:
                dialplan.globals[entry.name] = (str(filled(entry.value, _no_variable)), entry.place)
    for section in configuration.active():
        if section.name.lower() not in ("general", "globals"):
            _Loader(dialplan, section, findings).load()
    return findings


def _no_variable(name: str) -> None:
    """Nothing is known of a variable."""


class _Loader:
    """One section into its context: the extension that ``same`` goes on with, and the last priority."""

    def __init__(self, dialplan: Dialplan, section: Section, findings: list[Finding]) -> None:
        self.dialplan = dialplan
        self.section = section
        self.findings = findings
        self.context: Context = dialplan.context(section.name, section.place)
        self.name = ""
        self.priority = _NONE

    def load(self) -> None:
        """Every line of the section."""
        for entry in self.section.entries:
            word = entry.name.lower()
            if word.startswith("same"):
                if self.name:
                    self._priority(self.name, entry.value, entry)
                else:
                    self._left_out(entry.place, "nothing stands before it that it could go on with")
            elif word == "exten":
                name, comma, rest = _first(entry.value)
                self.name = self._global(name)
                self._priority(self.name, rest if comma else "", entry)
            elif word == "include":
                name, *times = parts(self._global(entry.value))
                self.context.includes.append(Include(name.strip(), bool(times), entry.place))
            elif word in SWITCHES:
                self.context.switches.append(Step(word, entry.value, entry.place))
            elif word not in ("ignorepat", "autohints"):
                self._left_out(entry.place, f"{entry.name} is no word of a dialplan")

    def _global(self, text: str) -> str:
        """A text with global variables in place of their names, as they are when the dialplan is loaded."""
        if "$" not in text:
            return text
        known = self.dialplan.globals
        done = filled(text, lambda name: known[name][0] if name in known else "")
        return done if isinstance(done, str) else text

    def _left_out(self, place: Place, why: str) -> None:
        found = f"{why}: Asterisk leaves the line out"
        self.findings.append(Finding(Rule.REFUSED_FILE, Level.NOTE, place, found, "mend or remove the line"))

    def _priority(self, name: str, rest: str, entry: Entry) -> None:
        """``priority(label),application(arguments)`` of an extension."""
        name, _, caller = name.partition("/")
        priority, _, application = rest.partition(",")
        priority, bracket, label = priority.strip().partition("(")
        label, closed, _ = label.partition(")")
        if bracket and not closed:
            self._left_out(entry.place, "the label is not closed with )")
            return
        priority, plus, more = priority.partition("+")
        number = self._number(name, caller, priority, entry.place)
        if number is None:
            return
        step = _step(application, entry)
        if step is None:
            return
        if number == HINT:
            self.priority = HINT
            self.context.extension(name, caller).hints.setdefault(HINT, step)
            return
        if plus and (added := _NUMBER.match(more)):
            number += int(added[1])
        self.priority = number
        extension = self.context.extension(name, caller)
        self._add(extension, number, step)
        if label:
            extension.labels.setdefault(label, number)

    def _number(self, name: str, caller: str, priority: str, place: Place) -> int | None:
        """The number that a priority is; ``None`` where Asterisk leaves the line out."""
        if priority == "hint":
            return HINT
        if priority in ("n", "next", "s", "same"):
            if self.priority == _NONE:
                self._left_out(place, f"priority {priority} has nothing before it")
                return None
            number = self.priority + (priority in ("n", "next"))
            if number == 0:
                self._left_out(place, "priority n comes after a hint")
                return None
            return number
        if match := _NUMBER.match(priority):
            if int(match[1]) > 0:
                return int(match[1])
            self._left_out(place, f"{priority} is no priority")
            return None
        known = self.context.extensions.get((name.replace("-", ""), caller)) or self.context.extension(name, caller)
        if priority in known.labels:
            return known.labels[priority]
        self._left_out(place, f"{priority or 'nothing'} is neither a priority nor a label before it")
        return None

    def _add(self, extension: Extension, number: int, step: Step) -> None:
        first = extension.steps.setdefault(number, step)
        if first is not step:
            self._left_out(step.place, f"priority {number} of {extension.name} stands at {first.place} already")


def _first(value: str) -> tuple[str, str, str]:
    """An extension's name, up to the first comma that is not within ``[...]``."""
    if "[" not in value.partition(",")[0]:
        return value.partition(",")
    name, *rest = parts(value, ",", 1)
    return name, "," if rest else "", rest[0] if rest else ""


def _step(text: str, entry: Entry) -> Step | None:
    """``application(arguments)``."""
    application, bracket, arguments = text.partition("(")
    if "${" in application or "$[" in application:
        return Step(text.strip().lower(), "", entry.place, text.strip(), entry.allowed)
    if bracket:
        end = arguments.rfind(")")
        arguments = arguments if end < 0 else arguments[:end]
    application = application.lstrip()
    return Step(application.strip().lower(), arguments, entry.place, application, entry.allowed)
