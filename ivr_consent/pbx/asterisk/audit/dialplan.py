"""A dialplan as Asterisk has it after loading: contexts, extensions, priorities; and what a dialled text leads to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from ivr_consent.pbx.asterisk.audit.patterns import ANYTHING, Pattern, exactly, pattern, plain
from ivr_consent.pbx.audit.findings import Place

Value = str | Pattern
"""What is dialled, as far as it is known: one text, or one of a set."""

DEEPEST_SCOPE = 128
"""Contexts that include each other; Asterisk stops there too."""

MOST_COMPARED = 5_000_000
"""Patterns that are compared with what is dialled, over all."""

MOST_SCOPED = 200_000
"""Contexts that all contexts include together."""

MOST_PATTERNS = 100
"""Patterns of a context that are compared with each other; of more, none is taken for hidden."""

MANY_LOOKS = 20
MOST_INDEXED = 3_000_000
"""From so many look-ups on a context has an index; and entries that all indexes have together."""

MOST_BEGINNINGS, LONGEST_BEGINNING = 20, 10
"""How an index has patterns: by so many beginnings, of so many characters."""

RAN_BY_ASTERISK = frozenset({"a", "e", "fax", "h", "i", "o", "t", "T"})
"""Extensions that nobody dials: Asterisk goes there by itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """One priority: an application in small letters, and as written, with its arguments as written."""

    application: str
    arguments: str
    place: Place
    written: str = ""
    allowed: str = ""


@dataclass(slots=True, eq=False)
class Extension:
    """One name in one context, with its priorities and labels. ``caller`` is the caller id it wants, or empty."""

    context: str
    name: str
    caller: str = ""
    steps: dict[int, Step] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    pattern: Pattern | None = None
    hints: dict[int, Step] = field(default_factory=dict)

    def takes(self, value: Value) -> bool:
        """Whether this extension can be meant."""
        if isinstance(value, str):
            return self.pattern.takes(plain(value)) if self.pattern else plain(value) == plain(self.name)
        return value.takes(plain(self.name)) if self.pattern is None else value.overlaps(self.pattern)

    def covers(self, value: Value) -> bool:
        """Whether nothing else can be meant once this one is reached."""
        if self.caller:
            return False
        return isinstance(value, str) or self.set.covers(value)

    @property
    def set(self) -> Pattern:
        """The texts that it takes."""
        return self.pattern or exactly(plain(self.name))

    def narrowed(self, value: Value) -> Value:
        """What was dialled, given that it led here."""
        if isinstance(value, str):
            return value
        return self.name if self.pattern is None else self.pattern if value is ANYTHING else _narrower(value, self)


def _narrower(value: Pattern, extension: Extension) -> Value:
    mine = extension.set
    return mine if value.covers(mine) else value if mine.covers(value) else mine


@dataclass(frozen=True, slots=True)
class Include:
    """``include => name``; ``timed`` when it counts at some times only."""

    name: str
    timed: bool
    place: Place


@dataclass(slots=True, eq=False)
class Context:
    """A context. ``switches`` look for extensions elsewhere."""

    name: str
    place: Place
    extensions: dict[tuple[str, str], Extension] = field(default_factory=dict)
    includes: list[Include] = field(default_factory=list)
    switches: list[Step] = field(default_factory=list)
    registrar: str = "pbx_config"
    _plain: dict[str, list[Extension]] | None = None
    _patterns: list[Extension] | None = None
    _late: list[Extension] | None = None

    def extension(self, name: str, caller: str = "") -> Extension:
        """The extension of a name, made when it is new."""
        key = (plain(name), caller)
        found = self.extensions.get(key)
        if found is None:
            found = self.extensions[key] = Extension(self.name, name, caller, pattern=pattern(name))
            self._plain = self._patterns = self._late = None
        return found

    def exact(self, value: Value) -> list[Extension]:
        """Extensions without a pattern that can be meant, those that want a caller id first."""
        names = self.names()
        if isinstance(value, str):
            return names.get(plain(value), [])
        return [extension for same in names.values() if same[0].takes(value) for extension in same]

    def names(self) -> dict[str, list[Extension]]:
        """Extensions without a pattern by their names."""
        if self._plain is None:
            self._plain = {}
            for extension in self.extensions.values():
                if extension.pattern is None:
                    self._plain.setdefault(plain(extension.name), []).append(extension)
            for same in self._plain.values():
                same.sort(key=lambda extension: not extension.caller)
        return self._plain

    def late(self) -> list[Extension]:
        """Extensions without a first priority: nobody begins there, but a call of a broader pattern can go on there."""
        if self._late is None:
            self._late = [e for e in self.extensions.values() if e.steps and 1 not in e.steps and e.pattern is None]
        return self._late

    def patterns(self) -> list[Extension]:
        """Patterns in the order in which Asterisk tries them."""
        if self._patterns is None:
            ordered = (
                (extension.pattern.order, not extension.caller, number, extension)
                for number, extension in enumerate(self.extensions.values())
                if extension.pattern is not None
            )
            self._patterns = [extension for *_, extension in sorted(ordered, key=lambda found: found[:3])]
        return self._patterns


_Row = tuple[int, int, Extension, bool]
"""Where it stands in the order of looking, twice; the extension; whether its context counts at all times."""


def _beginnings(pattern: Pattern) -> list[str]:
    """The first characters of what a pattern takes: as many of them as make few texts."""
    begins = [""]
    for allowed in pattern.places:
        if len(begins) * len(allowed) > MOST_BEGINNINGS or len(begins[0]) == LONGEST_BEGINNING:
            break
        begins = [begin + character for begin in begins for character in allowed]
    return begins


def _from(ordered: list[str], begin: str) -> Iterator[str]:
    """Those of some texts in order that begin with a text."""
    for at in range(bisect_left(ordered, begin), len(ordered)):
        if not ordered[at].startswith(begin):
            return
        yield ordered[at]


class _Index:
    """What a context and its includes have, for many look-ups: names, and patterns by what they can begin with."""

    def __init__(self, scope: list[tuple[Context, bool]]) -> None:
        self.names: dict[str, list[_Row]] = {}
        self.patterns: dict[str, list[_Row]] = {}
        self.lengths: set[int] = set()
        self.size = 0
        for position, (context, always) in enumerate(scope):
            for same in context.names().values():
                for extension in same:
                    row = (position, -1, extension, always)
                    self.names.setdefault(plain(extension.name), []).append(row)
                    self.size += 1
            for number, extension in enumerate(context.patterns()):
                row = (position, number, extension, always)
                for begin in _beginnings(extension.set):
                    self.patterns.setdefault(begin, []).append(row)
                    self.lengths.add(len(begin))
                    self.size += 1
        self.ordered = sorted(self.names)
        self.ordered_patterns = sorted(self.patterns)

    def candidates(self, value: Value) -> list[tuple[Extension, bool]]:
        """As :meth:`Dialplan.candidates`."""
        rows = self._of_text(plain(value)) if isinstance(value, str) else self._of_set(value)
        rows.sort(key=lambda row: row[:2])
        return [(extension, always and extension.covers(value)) for _, _, extension, always in rows]

    def _of_set(self, value: Pattern) -> list[_Row]:
        rows: dict[int, _Row] = {}
        for begin in _beginnings(value):
            for name in _from(self.ordered, begin):
                if value.takes(name):
                    rows |= {id(row): row for row in self.names[name]}
            keys = [begin[:length] for length in self.lengths if length < len(begin)]
            for key in (*keys, *_from(self.ordered_patterns, begin)):
                rows |= {id(row): row for row in self.patterns.get(key, ()) if row[2].takes(value)}
        return list(rows.values())

    def _of_text(self, bare: str) -> list[_Row]:
        rows = list(self.names.get(bare, ()))
        for length in self.lengths:
            if length <= len(bare):
                rows += (row for row in self.patterns.get(bare[:length], ()) if row[2].takes(bare))
        return rows


class Dialplan:
    """All contexts, and what can be looked up in them."""

    def __init__(self) -> None:
        self.contexts: dict[str, Context] = {}
        self.globals: dict[str, tuple[str, Place]] = {}
        self.fall_through = True
        """Whether a call ends with its extension (autofallthrough); else it waits for digits."""
        self._scopes: dict[str, list[tuple[Context, bool]]] = {}
        self.compared = 0
        self.scoped = 0
        self._all_patterns: dict[str, dict[int, list[Extension]]] = {}
        self._all_late: dict[str, list[Extension]] = {}
        self._dialled: dict[str, list[Extension]] = {}
        self._indexes: dict[str, _Index] = {}
        self._looks: dict[str, int] = {}
        self._indexed = 0
        self._candidates: dict[tuple[str, Value], list[tuple[Extension, bool]]] = {}

    def context(self, name: str, place: Place) -> Context:
        """The context of a name, made when it is new."""
        found = self.contexts.get(name)
        if found is None:
            found = self.contexts[name] = Context(name, place)
        return found

    def scope(self, name: str) -> list[tuple[Context, bool]]:
        """The context and what it includes, in the order of looking; with whether it counts at all times."""
        found = self._scopes.get(name)
        if found is None:
            depth = 0 if self.scoped < MOST_SCOPED else DEEPEST_SCOPE
            found = self._scopes[name] = list(self._walk(name, True, set(), depth))
            self.scoped += len(found)
            if depth and len(found) < len(self.contexts[name].includes if found else ()):
                self.compared = MOST_COMPARED + 1
        return found

    def _walk(self, name: str, always: bool, seen: set[str], depth: int) -> Iterator[tuple[Context, bool]]:
        context = self.contexts.get(name)
        if context is None or name in seen or depth > DEEPEST_SCOPE:
            return
        seen.add(name)
        yield context, always
        for include in context.includes:
            yield from self._walk(include.name, always and not include.timed, seen, depth + 1)

    def candidates(self, context: str, value: Value) -> list[tuple[Extension, bool]]:
        """Extensions that a dialled text can mean, best first; with whether the search surely ends there."""
        key = (context, value)
        found = self._candidates.get(key)
        if found is not None:
            return found
        index = self._index(context)
        self.compared += 1 if index is not None or isinstance(value, str) else self._size(context)
        if index is not None:
            found = self._candidates[key] = index.candidates(value)
        else:
            found = self._candidates[key] = [
                (extension, always and extension.covers(value))
                for inner, always in self.scope(context)
                for extension in (*inner.exact(value), *(e for e in inner.patterns() if e.takes(value)))
            ]
        return found

    def _index(self, context: str) -> _Index | None:
        """An index of the context, once it was looked into often and while there is room for one."""
        found = self._indexes.get(context)
        if found is not None:
            return found
        looks = self._looks[context] = self._looks.get(context, 0) + 1
        if looks < MANY_LOOKS or self._indexed > MOST_INDEXED:
            return None
        found = self._indexes[context] = _Index(self.scope(context))
        self._indexed += found.size
        return found

    def find(self, context: str, value: Value, priority: int | str) -> list[tuple[Extension, int]]:
        """Where a jump can lead: extensions with the number of the priority. A label is looked up in each."""
        found = []
        for extension, last in self.candidates(context, value):
            number = extension.labels.get(priority) if isinstance(priority, str) else priority
            if number is not None and number in extension.steps:
                found.append((extension, number))
                if last:
                    break
        return found

    def following(self, context: str, value: Value, extension: Extension, priority: int) -> list[tuple[Extension, int]]:
        """What comes after a priority: Asterisk looks the whole text up anew, so a broader pattern can go on."""
        number = priority + 1
        if isinstance(value, str):
            return self.find(context, value, number)
        mine = [(extension, number)] if number in extension.steps else []
        broader = () if mine and not extension.caller else self._patterns_of(context).get(number, ())
        self.compared += len(broader)
        others = [
            (other, number)
            for other in (*self._late_in(context), *broader)
            if number in other.steps and other is not extension and other.takes(value)
        ]
        return mine + others

    def _patterns_of(self, context: str) -> dict[int, list[Extension]]:
        """Every pattern of a context and what it includes, by the priorities that it has."""
        found = self._all_patterns.get(context)
        if found is None:
            found = self._all_patterns[context] = {}
            for inner, _ in self.scope(context):
                for extension in inner.patterns():
                    for number in extension.steps:
                        found.setdefault(number, []).append(extension)
        return found

    def _size(self, context: str) -> int:
        return sum(len(inner.extensions) for inner, _ in self.scope(context))

    def _late_in(self, context: str) -> list[Extension]:
        found = self._all_late.get(context)
        if found is None:
            found = self._all_late[context] = [e for inner, _ in self.scope(context) for e in inner.late()]
        return found

    @property
    def tired(self) -> bool:
        """Whether there was more to compare than can be: whoever asks on has to say so."""
        return self.compared > MOST_COMPARED

    def dialled_in(self, context: str) -> list[Extension]:
        """Every extension that somebody can dial in a context and what it includes: none that another one hides."""
        found = self._dialled.get(context)
        if found is None:
            found = self._dialled[context] = list(self._in_reach(context))
        return found

    def _in_reach(self, context: str) -> Iterator[Extension]:
        before: list[Extension] = []
        for inner, always in self.scope(context):
            for same in inner.names().values():
                for extension in same:
                    if 1 in extension.steps and any(e is extension for e, _ in self.find(context, extension.name, 1)):
                        yield extension
            for extension in inner.patterns():
                if 1 not in extension.steps:
                    continue
                if not any(other.set.covers(extension.set) for other in before):
                    yield extension
                if always and not extension.caller and len(before) < MOST_PATTERNS:
                    before.append(extension)
