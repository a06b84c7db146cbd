"""Many patterns searched for at once: a pattern is compiled and tried only where its first letters stand.

A language has some hundred phrases, nearly none of which a notice holds. As one regular expression they take tens of
milliseconds to compile, and milliseconds to search a text for; here both are a look-up at the beginning of each word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

HEAD: Final = 6
"""Letters that patterns are looked up by. Longer ones would keep hardly any pattern more from being tried."""

_STARTS = re.compile(r"(?<!\w)[\w{]")
_SPECIAL = frozenset("\\[](){}?*+|.^$…~")


def alternatives(pattern: str) -> list[str]:
    """The alternatives of a pattern that stand in no bracket: ``alternatives("a|b(?:c|d)") == ["a", "b(?:c|d)"]``."""
    found, begin, position = [], 0, 0
    while position < len(pattern):
        if pattern[position] == "|":
            found.append(pattern[begin:position])
            begin = position + 1
        position = _behind(pattern, position)
    return [*found, pattern[begin:]]


def heads(pattern: str) -> frozenset[str]:
    """Letters, at most :data:`HEAD`, one of which a match of the pattern begins with; "" when it may begin anyhow."""
    return frozenset[str]().union(*(_heads(alternative) for alternative in alternatives(pattern)))


def _heads(pattern: str) -> frozenset[str]:
    position = 0
    while pattern.startswith(("(?<!", "(?!", "(?="), position):  # matches no letters of its own
        position = _behind(pattern, position)
    if not pattern.startswith("(", position):
        return frozenset({_letters(pattern, position)})
    end = _behind(pattern, position)
    inner = heads(pattern[position + len("(?:") : end - 1])
    return inner | _heads(pattern[end + 1 :]) if pattern.startswith("?", end) else inner


def _letters(pattern: str, position: int) -> str:
    run = ""
    while position < len(pattern) and len(run) < HEAD:
        character = pattern[position]
        if character == "\\" and not pattern[position + 1].isalnum():
            character = pattern[position + 1]
            position += 1
        elif character in _SPECIAL:
            # what a quantifier stands behind may be absent
            return run[:-1] if character in "?*{" else run
        run += character
        position += 1
    return run[:-1] if pattern[position : position + 1] in ("?", "*", "{") else run


def _behind(pattern: str, position: int) -> int:
    """The place behind the character, the class or the bracket that begins at ``position``."""
    character = pattern[position]
    if character == "\\":
        return position + 2
    if character == "[":
        return pattern.index("]", position + 2) + 1
    if character == "(":
        position += 1
        while pattern[position] != ")":
            position = _behind(pattern, position)
    return position + 1


@dataclass(slots=True)
class _Entry:
    tag: str
    pattern: str
    compiled: re.Pattern[str] | None = None

    def match(self, text: str, position: int) -> re.Match[str] | None:
        if self.compiled is None:
            self.compiled = re.compile(rf"(?:{self.pattern})(?!\w)")
        return self.compiled.match(text, position)


@dataclass(slots=True)
class Index:
    """Patterns by the first letters of what they match."""

    entries: dict[str, list[_Entry]] = field(default_factory=dict)
    lengths: tuple[int, ...] = ()

    def add(self, tag: str, patterns: Iterable[tuple[str, str]]) -> None:
        """Add patterns, each as it is written and as it is compiled. They match whole words."""
        for written, meant in patterns:
            entry = _Entry(tag, meant)
            for head in heads(written):
                self.entries.setdefault(head, []).append(entry)
        self.lengths = tuple(sorted({len(head) for head in self.entries}))

    def search(self, text: str) -> Iterator[tuple[str, re.Match[str]]]:
        """Tag and match of every pattern at every beginning of a word; of one tag, none that overlap."""
        ends: dict[str, int] = {}
        for start in _STARTS.finditer(text):
            position = start.start()
            for length in self.lengths:
                for entry in self.entries.get(text[position : position + length], ()):
                    if position < ends.get(entry.tag, 0):
                        continue
                    match = entry.match(text, position)
                    if match is not None:
                        ends[entry.tag] = match.end()
                        yield entry.tag, match
