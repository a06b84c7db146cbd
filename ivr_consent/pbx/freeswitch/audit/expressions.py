"""Regular expressions of conditions: whether a text matches, and whether any text of a kind can.

A destination is a text in which single characters of a private range stand for languages: for all texts that a part of
an expression matches. So ``transfer $1 XML default`` behind ``^(10[0-9]{2})$`` leads to four digits that begin with 10,
and to nothing else. Both questions are answered by automata, in time that the size of expression and text bounds;
expressions that need more (look-around, references) can match anything. Grammar: PCRE, as far as dialplans have it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from ivr_consent.pbx.audit.results import HOLE
from ivr_consent.pbx.freeswitch.audit.grammar import (
    ALL,
    ANYTHING,
    LONGEST,
    NO_BREAK,
    Ranges,
    Regex,
    UnknownError,
    literal,
)

MOST_STATES: Final = 3_000
MOST_STEPS: Final = 20_000
"""States of an automaton, and steps of one match; beyond, anything is possible."""

FIRST_LANGUAGE: Final = 0xF0000
MOST_LANGUAGES: Final = 60_000


MOST_BEGINNINGS: Final = 64

_spent: Final = [0]


def spent() -> int:
    """Steps of all matches so far: so that whoever asks for many can end."""
    return _spent[0]


def beginnings(regex: Regex | None) -> frozenset[str]:
    """Texts of which every text that matches begins with one; an empty one where that is not known."""
    if regex is None or not _begins(regex):
        return frozenset(("",))
    texts, _ = _begun(regex, frozenset(("",)))
    return texts


def _begun(regex: Regex, before: frozenset[str]) -> tuple[frozenset[str], bool]:
    """Beginnings behind others, and whether what follows can make them longer."""
    if regex.kind in ("begin", "group", "cat"):
        for part in regex.parts:
            before, goes_on = _begun(part, before)
            if not goes_on:
                return before, False
        return before, True
    if regex.kind == "set":
        count = sum(high - low + 1 for low, high in regex.ranges)
        if count * len(before) > MOST_BEGINNINGS:
            return before, False
        more = [chr(code) for low, high in regex.ranges for code in range(low, high + 1)]
        return frozenset(text + character for text in before for character in more), True
    if regex.kind == "or":
        found = [_begun(part, before) for part in regex.parts]
        every: frozenset[str] = frozenset().union(*(texts for texts, _ in found))
        return (every, all(goes_on for _, goes_on in found)) if len(every) <= MOST_BEGINNINGS else (before, False)
    return before, False


# --- languages -------------------------------------------------------------------------------------------------------

_LANGUAGES: Final[list[Regex]] = [ANYTHING]
_NUMBERS: Final[dict[Regex, int]] = {ANYTHING: 0}
DIALLED: Final = chr(FIRST_LANGUAGE)
"""Whatever a caller dials."""


def language(regex: Regex | None) -> str:
    """The character for the texts that an expression matches as a whole; a hole where it is not known."""
    if regex is None:
        return HOLE
    if not _plain(regex):
        inner = _inside(regex)
        if inner is None:
            return HOLE
        regex = inner
    number = _NUMBERS.get(regex)
    if number is None:
        if len(_LANGUAGES) >= MOST_LANGUAGES:
            return HOLE
        number = _NUMBERS[regex] = len(_LANGUAGES)
        _LANGUAGES.append(regex)
    return chr(FIRST_LANGUAGE + number)


def _inside(regex: Regex) -> Regex | None:
    """``^x$`` as ``x``."""
    parts = regex.parts if regex.kind == "cat" else ()
    if len(parts) >= 2 and parts[0].kind == "begin" and parts[-1].kind == "end":
        inner = Regex("cat", parts[1:-1])
        return inner if _plain(inner) else None
    return None


def is_exact(text: str) -> bool:
    """Whether a text is one text."""
    return HOLE not in text and not any(ord(character) >= FIRST_LANGUAGE for character in text)


def shown(text: str) -> str:
    """A text for people: what is not known of it as dots."""
    return "".join("..." if character == HOLE or ord(character) >= FIRST_LANGUAGE else character for character in text)


def _of(text: str) -> Regex:
    """The texts that a text with holes and languages stands for."""
    parts = []
    for character in text:
        number = ord(character) - FIRST_LANGUAGE
        if character == HOLE:
            parts.append(ANYTHING)
        elif number >= 0:
            parts.append(_LANGUAGES[number] if number < len(_LANGUAGES) else ANYTHING)
        else:
            parts.append(literal(character))
    return Regex("cat", tuple(parts))


def _plain(regex: Regex) -> bool:
    """Whether it has no anchors within."""
    waiting = [regex]
    while waiting:
        node = waiting.pop()
        if node.kind in ("begin", "end"):
            return False
        waiting.extend(node.parts)
    return True


# --- automata --------------------------------------------------------------------------------------------------------

_EMPTY_MOVE, _AT_BEGIN, _AT_END = range(3)


@dataclass(slots=True)
class _Automaton:
    """States with moves: empty ones (free, at the begin, at the end) and by characters. 0 is the first."""

    empty: list[list[tuple[int, int]]] = field(default_factory=list)
    moves: list[list[tuple[Ranges, int]]] = field(default_factory=list)
    last: int = 0

    def state(self) -> int:
        if len(self.empty) >= MOST_STATES:
            raise UnknownError("too large")
        self.empty.append([])
        self.moves.append([])
        return len(self.empty) - 1

    def add(self, regex: Regex, begin: int) -> int:
        """Add a node behind a state; the state behind it."""
        if regex.kind == "set":
            end = self.state()
            self.moves[begin].append((regex.ranges, end))
            return end
        if regex.kind in ("begin", "end"):
            end = self.state()
            self.empty[begin].append((_AT_BEGIN if regex.kind == "begin" else _AT_END, end))
            return end
        if regex.kind in ("cat", "group"):
            for part in regex.parts:
                begin = self.add(part, begin)
            return begin
        if regex.kind == "or":
            end = self.state()
            for part in regex.parts:
                self.empty[self.add(part, begin)].append((_EMPTY_MOVE, end))
            return end
        return self._star(regex, begin)

    def _star(self, regex: Regex, begin: int) -> int:
        (part,) = regex.parts
        for _ in range(regex.low):
            begin = self.add(part, begin)
        if regex.high < 0:
            loop = self.state()
            self.empty[begin].append((_EMPTY_MOVE, loop))
            self.empty[self.add(part, loop)].append((_EMPTY_MOVE, loop))
            return loop
        end = self.state()
        self.empty[begin].append((_EMPTY_MOVE, end))
        for _ in range(regex.high - regex.low):
            begin = self.add(part, begin)
            self.empty[begin].append((_EMPTY_MOVE, end))
        return end


@lru_cache(maxsize=20_000)
def _automaton(regex: Regex) -> _Automaton | None:
    found = _Automaton()
    try:
        found.last = found.add(regex, found.state())
    except UnknownError:
        return None
    return found


def _overlap(one: Ranges, other: Ranges) -> bool:
    return any(low <= last and first <= high for low, high in one for first, last in other)


def can_match(regex: Regex | None, text: str) -> bool:
    """Whether some text of a kind is matched somewhere in it; true when that is not known."""
    if regex is None or len(text) > LONGEST:
        return True
    return _can_match(regex, text)


@lru_cache(maxsize=100_000)
def _can_match(regex: Regex, text: str) -> bool:
    search = Regex("cat", (ANYTHING, regex)) if not _begins(regex) else regex
    wanted, given = _automaton(search), _automaton(_of(text))
    if wanted is None or given is None:
        return True
    waiting = [(0, 0, True, False)]
    seen = set(waiting)
    while waiting:
        one, other, begun, ended = waiting.pop()
        if one == wanted.last:
            if not ended or other == given.last:
                return True
            if any(_reaches(given, other)):
                return True
        following: list[tuple[int, int, bool, bool]] = []
        for kind, state in wanted.empty[one]:
            if kind == _EMPTY_MOVE or (kind == _AT_BEGIN and begun):
                following.append((state, other, begun, ended))
            elif kind == _AT_END:
                following.append((state, other, begun, True))
        following += [(one, state, begun, ended) for _, state in given.empty[other]]
        if not ended:
            following += [
                (state, target, False, False)
                for ranges, state in wanted.moves[one]
                for others, target in given.moves[other]
                if _overlap(ranges, others)
            ]
        for pair in following:
            if pair not in seen:
                seen.add(pair)
                waiting.append(pair)
        if len(seen) > MOST_STEPS:
            break
    _spent[0] += len(seen)
    return len(seen) > MOST_STEPS


def always_matches(regex: Regex | None, text: str) -> bool:
    """Whether every text of a kind is sure to be matched: where the expression takes anything, or is that kind."""
    if regex is None:
        return False
    bare = _bare(regex)
    if bare == ANYTHING or (bare.kind == "cat" and not bare.parts):
        return True
    return len(text) == 1 and text != HOLE and text == language(regex) and _inside(regex) is not None


def _bare(regex: Regex) -> Regex:
    """Without anchors, and without a group around all of it. Line breaks count as never dialled."""
    parts = [part for part in regex.parts if part.kind not in ("begin", "end")] if regex.kind == "cat" else [regex]
    if len(parts) == 1 and parts[0].kind == "group":
        return _bare(parts[0].parts[0])
    if len(parts) == 1 and parts[0].kind == "star" and (parts[0].low, parts[0].high) == (0, -1):
        inner = parts[0].parts[0]
        return ANYTHING if inner.ranges in (ALL, NO_BREAK) else parts[0]
    return regex if len(parts) != 1 else parts[0]


def _begins(regex: Regex) -> bool:
    """Whether it is tied to the begin of a text."""
    return regex.kind == "begin" or (regex.kind == "cat" and bool(regex.parts) and regex.parts[0].kind == "begin")


def _reaches(automaton: _Automaton, state: int) -> list[bool]:
    """Whether the last state is reached from another by empty moves alone."""
    seen, waiting = {state}, [state]
    while waiting:
        for _, target in automaton.empty[waiting.pop()]:
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return [automaton.last in seen]


# --- one text --------------------------------------------------------------------------------------------------------


def match(regex: Regex | None, text: str) -> dict[int, str] | bool | None:
    """What one exact text's groups take, False when it does not match, None when that is not known."""
    if regex is None or len(text) > LONGEST:
        return None
    return _match(regex, text)


@lru_cache(maxsize=20_000)
def _match(regex: Regex, text: str) -> dict[int, str] | bool | None:
    matcher = _Matcher(text)
    begins = range(1) if _begins(regex) else range(len(text) + 1)
    try:
        for begin in begins:
            found = matcher.at(regex, begin)
            if found is not None:
                end, groups = found
                return {0: text[begin:end], **{number: text[a:b] for number, (a, b) in groups.items()}}
    except (UnknownError, RecursionError):
        return None if can_match(regex, text) else False
    finally:
        _spent[0] += matcher.steps
    return False


_Groups = dict[int, tuple[int, int]]


class _Matcher:
    """A match in PCRE's order, by going back, within a number of steps."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps = 0

    def at(self, regex: Regex, begin: int) -> tuple[int, _Groups] | None:
        return self._go((regex, None), begin, {})

    def _go(self, work: tuple[object, object] | None, at: int, groups: _Groups) -> tuple[int, _Groups] | None:
        """``work`` is a list of what is to be matched, one within the other: a node, or a group to be closed."""
        while work is not None:
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise UnknownError("too many steps")
            head, rest = work
            work = rest  # type: ignore[assignment]  # the list's own type would be recursive
            if isinstance(head, tuple) and not isinstance(head, Regex):
                groups = {**groups, head[0]: (head[1], at)}
                continue
            assert isinstance(head, Regex)
            if head.kind == "set":
                if at >= len(self.text) or not _overlap(head.ranges, ((ord(self.text[at]),) * 2,)):
                    return None
                at += 1
            elif head.kind == "begin":
                if at:
                    return None
            elif head.kind == "end":
                if at < len(self.text) and self.text[at:] != "\n":
                    return None
            elif head.kind == "cat":
                for part in reversed(head.parts):
                    work = (part, work)
            elif head.kind == "group":
                work = (head.parts[0], ((head.high, at), work) if head.high else work)
            elif head.kind == "or":
                for part in head.parts[:-1]:
                    if (found := self._go((part, work), at, groups)) is not None:
                        return found
                work = (head.parts[-1], work)
            else:
                if head.high == 0 or (head.low <= 0 and at >= len(self.text)):
                    continue
                more = Regex(head.kind, head.parts, low=max(head.low - 1, 0), high=head.high - (head.high > 0))
                longer = (head.parts[0], (more, work))
                if head.low <= 0:
                    first, work = (longer, work) if head.kind == "star" else (work, longer)
                    if (found := self._go(first, at, groups)) is not None:
                        return found
                else:
                    work = longer
        return at, groups
