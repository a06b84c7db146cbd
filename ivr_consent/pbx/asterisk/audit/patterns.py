"""Names of extensions: which dialled text they take, in which order they are tried, and which of them overlap.

A name that begins with ``_`` is a pattern: X, Z, N and ``[...]`` stand for one of some characters, ``.`` for one or
more of any, ``!`` for none or more. Hyphens count for nothing, in names and in what is dialled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_DIGITS: Final = frozenset("0123456789")
_CLASSES: Final = {"X": _DIGITS, "Z": _DIGITS - {"0"}, "N": _DIGITS - {"0", "1"}}

ENDLESS: Final = 1 << 30

_DOT, _BANG, _END = 0x18000, 0x28000, 0x30000
"""Where Asterisk sorts ``.``, ``!`` and a pattern's end, behind every set of characters."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A set of texts: one set of characters for each place, then ``""``, ``"."`` or ``"!"``."""

    places: tuple[frozenset[str], ...]
    tail: str = ""

    @property
    def shortest(self) -> int:
        """The fewest characters it takes."""
        return len(self.places) + (self.tail == ".")

    @property
    def longest(self) -> int:
        """The most."""
        return ENDLESS if self.tail else len(self.places)

    def takes(self, text: str) -> bool:
        """Whether a text is one of the set."""
        return self.shortest <= len(text) <= self.longest and all(
            character in allowed for character, allowed in zip(text, self.places, strict=False)
        )

    def overlaps(self, other: Pattern) -> bool:
        """Whether some text is in both sets."""
        return (
            self.shortest <= other.longest
            and other.shortest <= self.longest
            and all(not mine.isdisjoint(theirs) for mine, theirs in zip(self.places, other.places, strict=False))
        )

    def covers(self, other: Pattern) -> bool:
        """Whether every text of the other set is in this one."""
        return (
            self.shortest <= other.shortest
            and other.longest <= self.longest
            and len(self.places) <= other.shortest
            and (len(self.places) <= len(other.places))
            and all(theirs <= mine for mine, theirs in zip(self.places, other.places, strict=False))
        )

    def cut(self, offset: int, length: int | None) -> Pattern:
        """What ``${EXTEN:offset:length}`` makes of it."""
        if offset < 0:
            return ANYTHING if self.tail else Pattern(self.places[offset:]).cut(0, length)
        rest = Pattern(self.places[offset:], self.tail if offset < len(self.places) or not self.tail else "!")
        if length is None or length < 0:
            return rest if length is None else ANYTHING
        if length <= len(rest.places):
            return Pattern(rest.places[:length])
        return Pattern(rest.places, "!") if rest.tail else rest

    @property
    def order(self) -> tuple[int, ...]:
        """Patterns are tried in ascending order of this."""
        keys = [(len(allowed) << 8) | ord(min(allowed, default="\0")) for allowed in self.places]
        return (*keys, {"": _END, ".": _DOT, "!": _BANG}[self.tail])


ANYTHING: Final = Pattern((), "!")


def plain(name: str) -> str:
    """A name or a dialled text without the hyphens that count for nothing."""
    return name.replace("-", "") if "-" in name and "[" not in name else name


@lru_cache(maxsize=65_536)
def pattern(name: str) -> Pattern | None:
    """The pattern that a name is; ``None`` for one that stands for itself."""
    if not name.startswith("_"):
        return None
    places: list[frozenset[str]] = []
    at = 1
    while at < len(name):
        character = name[at]
        at += 1
        if character in ".!":
            return Pattern(tuple(places), character)
        if character == "-":
            continue
        if character == "[":
            end = name.find("]", at)
            if end < 0:
                return Pattern(tuple(places))
            places.append(frozenset(_members(name[at:end])))
            at = end + 1
        else:
            places.append(_CLASSES.get(character.upper(), frozenset(character)))
    return Pattern(tuple(places))


def _members(inner: str) -> Iterable[str]:
    """The characters of ``[0-9a]``; a backslash takes the next one for itself."""
    at = 0
    while at < len(inner):
        if inner[at] == "\\" and at + 1 < len(inner):
            at += 1
            yield inner[at]
            at += 1
        elif inner[at + 1 : at + 2] == "-" and at + 2 < len(inner):
            yield from (chr(code) for code in range(ord(inner[at]), min(ord(inner[at + 2]), 0x24F) + 1))
            at += 3
        else:
            yield inner[at]
            at += 1


def exactly(text: str) -> Pattern:
    """The set of one text."""
    return Pattern(tuple(frozenset(character) for character in text))
