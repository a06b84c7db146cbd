"""What is known on a way: which results of the gate are possible there, and the values of variables.

A set of results is a number, one bit for each. Values are kept for variables only that some jump or branch looks at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ivr_consent.pbx.asterisk.audit.dialplan import Dialplan, Step, Value
from ivr_consent.pbx.asterisk.audit.patterns import Pattern
from ivr_consent.pbx.asterisk.audit.texts import parts
from ivr_consent.pbx.asterisk.variables import RESULT
from ivr_consent.pbx.audit.results import HOLE

LONGEST_VALUE: Final = 400
MOST_VARIABLES: Final = 60
"""Characters of a value that is remembered, and variables that are remembered at a time."""

SYMBOL: Final = f"${{{RESULT}}}"

_READ: Final = re.compile(r"\$\{([A-Za-z0-9_]+)")

_LOOKS_AT_NOTHING: Final = frozenset({
    "noop", "verbose", "log", "playback", "wait", "answer", "saydigits", "saynumber", "sayalpha", "userevent", "return",
    "progress", "ringing", "playtones", "senddtmf", "hangup", "musiconhold", "dumpchan", "agi", "system", "trysystem",
})  # fmt: skip  # rows that belong together
"""Applications whose arguments change nothing in where a call goes."""


class State(NamedTuple):
    """Results that are possible, and the number of the variables' values."""

    results: int
    values: int


def assigned(step: Step) -> Iterable[tuple[str, str]]:
    """Names and values, as written, that a Set or MSet gives; inheritance marks and LOCAL() are taken away."""
    if step.application not in ("set", "mset"):
        return
    yield from pairs(step.application, step.arguments)


def pairs(application: str, arguments: str) -> Iterator[tuple[str, str]]:
    """As :func:`assigned`."""
    for pair in parts(arguments) if application == "mset" else [arguments]:
        name, equals, value = pair.partition("=")
        if equals:
            yield variable(name.strip()), value.strip()


def variable(name: str) -> str:
    """A variable's name without ``_``, ``__`` and ``LOCAL()``."""
    name = name[2:] if name.startswith("__") else name[1:] if name.startswith("_") else name
    return name[6:-1] if name.startswith("LOCAL(") and name.endswith(")") else name


def without_global(name: str) -> str:
    """``GLOBAL(x)`` as ``x``."""
    return name[7:-1] if name.startswith("GLOBAL(") and name.endswith(")") else name


class Values:
    """Variables by number: a way carries a number, and the same values have the same number. 0: nothing is known."""

    def __init__(self, dialplan: Dialplan) -> None:
        self._numbers: dict[tuple[tuple[str, Value], ...], int] = {(): 0}
        self._values: list[dict[str, Value]] = [{}]
        self.aliased = False
        """Whether some variable is set from the gate's result."""
        self.tracked, self.fixed = self._survey(dialplan)

    def _survey(self, dialplan: Dialplan) -> tuple[frozenset[str], dict[str, str]]:
        """Variables that decide where calls go, and globals that nothing changes."""
        read: set[str] = set()
        sets: dict[str, set[str]] = {}
        for context in dialplan.contexts.values():
            for extension in context.extensions.values():
                for step in extension.steps.values():
                    if step.application in ("set", "mset"):
                        for written, value in assigned(step):
                            name = without_global(written)
                            if name.isidentifier() or "-" in name:
                                sets.setdefault(name, set()).update(_READ.findall(value))
                                self.aliased = self.aliased or (SYMBOL in value and name != RESULT)
                            elif "$" in name or "(" in name:
                                read.update(_READ.findall(step.arguments))
                    elif "$" in step.arguments and step.application not in _LOOKS_AT_NOTHING:
                        read.update(_READ.findall(step.arguments))
                    elif step.application.startswith("read"):
                        sets.setdefault(variable(parts(step.arguments)[0]), set())
        waiting = list(read)
        while waiting:
            for name in sets.get(waiting.pop(), ()):
                if name not in read:
                    read.add(name)
                    waiting.append(name)
        fixed = {name: value for name, (value, _) in dialplan.globals.items() if name not in sets and HOLE not in value}
        return frozenset(read), fixed

    def of(self, number: int) -> dict[str, Value]:
        """The values of a number; not to be changed."""
        return self._values[number]

    def number(self, values: dict[str, Value]) -> int:
        """The number of some values."""
        if not values:
            return 0
        key = tuple(sorted(values.items(), key=lambda pair: pair[0]))
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._values)
            self._values.append(values)
        return found

    def changed(self, number: int, name: str, value: Value | None) -> int:
        """The same with another value of one variable, or without it."""
        if name not in self.tracked:
            return number
        values = self._values[number]
        if value is None or not _worth_keeping(value):
            if name not in values:
                return number
            return self.number({key: kept for key, kept in values.items() if key != name})
        if values.get(name) == value or (len(values) >= MOST_VARIABLES and name not in values):
            return number
        return self.number({**values, name: value})

    def without(self, number: int, text: str) -> int:
        """What is still known after an application that may set any variable that its arguments name."""
        values = self._values[number]
        if not values:
            return number
        text = _READ.sub("", text)
        named = {name for name in values if name in text or name.endswith("STATUS")}
        if not named:
            return number
        return self.number({name: value for name, value in values.items() if name not in named})

    def asked(self, number: int) -> int:
        """What is known once the gate has another result: copies of the one before are of nothing known."""
        values = self._values[number]
        kept = {name: value for name, value in values.items() if not (isinstance(value, str) and SYMBOL in value)}
        return number if len(kept) == len(values) else self.number(kept)

    def called(self, number: int, arguments: list[Value], more: dict[str, Value]) -> int:
        """What a subroutine knows: its arguments in place of the caller's."""
        own = {name: value for name, value in self._values[number].items() if not _argument(name)}
        for count, value in enumerate(arguments, 1):
            own[f"ARG{count}"] = value
        own |= more
        return self.number(
            {name: value for name, value in own.items() if name in self.tracked and _worth_keeping(value)}
        )

    def returned(self, caller: int, callee: int) -> int:
        """What is known after a subroutine: its values, with the caller's own arguments."""
        values = {name: value for name, value in self._values[callee].items() if not _argument(name)}
        values |= {name: value for name, value in self._values[caller].items() if _argument(name)}
        return self.number(values)


def _worth_keeping(value: Value) -> bool:
    """Whether something is known of a value."""
    return isinstance(value, Pattern) or (len(value) <= LONGEST_VALUE and bool(value.strip(HOLE) or not value))


def _argument(name: str) -> bool:
    return name.startswith(("ARG", "MACRO_"))


def text_of(value: Value) -> str:
    """A value as a text; a set of texts is a hole."""
    return HOLE if isinstance(value, Pattern) else value
