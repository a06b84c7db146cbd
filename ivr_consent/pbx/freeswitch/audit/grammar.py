"""Regular expressions as FreeSWITCH's dialplans have them (PCRE): read into nodes, or not understood."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

Ranges = tuple[tuple[int, int], ...]
"""Characters as ranges of code points."""

LAST: Final = 0x10FFFF
ALL: Final[Ranges] = ((0, LAST),)
LONGEST: Final = 2_000
"""Characters of an expression, and of a text, that are looked at."""


class Regex(NamedTuple):
    """A node: ``kind`` is set, cat, or, star, lazy, group, begin, end; with its parts, or characters."""

    kind: str
    parts: tuple[Regex, ...] = ()
    ranges: Ranges = ()
    low: int = 0
    high: int = 0
    """For star: how often, with -1 for any number; for group: its number."""


EMPTY: Final = Regex("cat")
ANYTHING: Final = Regex("star", (Regex("set", ranges=ALL),), low=0, high=-1)


class UnknownError(ValueError):
    """An expression that is not understood."""


def literal(character: str) -> Regex:
    """One character."""
    return Regex("set", ranges=((ord(character), ord(character)),))


# --- reading ---------------------------------------------------------------------------------------------------------


def _without(ranges: Ranges) -> Ranges:
    found, at = [], 0
    for low, high in sorted(ranges):
        if low > at:
            found.append((at, low - 1))
        at = max(at, high + 1)
    if at <= LAST:
        found.append((at, LAST))
    return tuple(found)


NO_BREAK: Final = _without(((10, 10),))
"""Any character but the end of a line."""

_DIGITS: Final[Ranges] = ((48, 57),)
_WORD: Final[Ranges] = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Final[Ranges] = ((9, 13), (32, 32))
_CLASSES: Final = {
    "d": _DIGITS, "D": _without(_DIGITS), "w": _WORD, "W": _without(_WORD), "s": _SPACE, "S": _without(_SPACE),
    "h": ((9, 9), (32, 32)), "N": NO_BREAK,
}  # fmt: skip  # rows that belong together
_NAMED: Final = {
    "digit": _DIGITS, "alpha": ((65, 90), (97, 122)), "alnum": ((48, 57), (65, 90), (97, 122)), "space": _SPACE,
    "upper": ((65, 90),), "lower": ((97, 122),), "xdigit": ((48, 57), (65, 70), (97, 102)), "word": _WORD,
}  # fmt: skip  # rows that belong together
_ESCAPES: Final = {"n": 10, "r": 13, "t": 9, "f": 12, "e": 27, "a": 7}


def _cased(ranges: Ranges) -> Ranges:
    """With the other case of ASCII letters."""
    more = list(ranges)
    for low, high in ranges:
        for begin, end, shift in ((65, 90, 32), (97, 122, -32)):
            if (first := max(low, begin)) <= (last := min(high, end)):
                more.append((first + shift, last + shift))
    return tuple(more)


class _Reader:
    """Reads one expression; raises UnknownError for what it does not know."""

    def __init__(self, text: str, *, cased: bool, dotall: bool) -> None:
        self.text = text
        self.at = 0
        self.cased = cased
        self.dotall = dotall
        self.groups = 0
        self.depth = 0

    def whole(self) -> Regex:
        found = self._alternatives()
        if self.at < len(self.text):
            raise UnknownError("a parenthesis too many")
        return found

    def _peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _alternatives(self) -> Regex:
        self.depth += 1
        if self.depth > 60:
            raise UnknownError("groups too deep")
        found = [self._row()]
        while self._peek() == "|":
            self.at += 1
            found.append(self._row())
        self.depth -= 1
        return found[0] if len(found) == 1 else Regex("or", tuple(found))

    def _row(self) -> Regex:
        found: list[Regex] = []
        while (character := self._peek()) not in ("", "|", ")"):
            piece = self._atom(character)
            if piece is not None:
                found.append(self._repeated(piece))
        return found[0] if len(found) == 1 else Regex("cat", tuple(found))

    def _set(self, ranges: Ranges) -> Regex:
        return Regex("set", ranges=_cased(ranges) if self.cased else ranges)

    def _atom(self, character: str) -> Regex | None:
        self.at += 1
        if character == "^":
            return Regex("begin")
        if character == "$":
            return Regex("end")
        if character == ".":
            return self._set(ALL if self.dotall else NO_BREAK)
        if character == "(":
            return self._group()
        if character == "[":
            return self._set(self._class())
        if character == "\\":
            return self._escape()
        if character in "*+?":
            raise UnknownError("nothing to repeat")
        return self._set(((ord(character), ord(character)),))

    def _escape(self) -> Regex:
        character = self._peek()
        self.at += 1
        if character in _CLASSES:
            return self._set(_CLASSES[character])
        if character == "A":
            return Regex("begin")
        if character in ("Z", "z"):
            return Regex("end")
        if character in _ESCAPES:
            return self._set(((_ESCAPES[character],) * 2,))
        if not character or character.isalnum():
            raise UnknownError(f"\\{character}")
        return self._set(((ord(character), ord(character)),))

    def _group(self) -> Regex | None:
        number = 0
        if self._peek() == "?":
            self.at += 1
            rest = self.text[self.at :]
            if rest.startswith(":"):
                self.at += 1
            elif rest.startswith("i)"):
                self.at += 2
                self.cased = True
                return None
            elif rest.startswith(("<", "P<")) and not rest.startswith(("<=", "<!")) and ">" in rest:
                self.at += rest.index(">") + 1
                number = self._numbered()
            else:
                raise UnknownError(f"(?{rest[:1]}")
        elif self._peek() == "*":
            raise UnknownError("(*")
        else:
            number = self._numbered()
        inner = self._alternatives()
        if self._peek() != ")":
            raise UnknownError("a parenthesis is not closed")
        self.at += 1
        return Regex("group", (inner,), high=number)

    def _numbered(self) -> int:
        self.groups += 1
        return self.groups

    def _class(self) -> Ranges:
        negated = self._peek() == "^"
        self.at += negated
        found: list[tuple[int, int]] = []
        first = True
        while first or self._peek() != "]":
            first = False
            if self.text.startswith("[:", self.at):
                name, end, _ = self.text[self.at + 2 :].partition(":]")
                if not end or name not in _NAMED:
                    raise UnknownError(f"[:{name[:10]}:]")
                found += _NAMED[name]
                self.at += len(name) + 4
                continue
            low = self._member(found)
            if low is None:
                continue
            high = low
            if self._peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                extra: list[tuple[int, int]] = []
                last = self._member(extra)
                if last is None:
                    found += [(low, low), (45, 45), *extra]
                    continue
                high = last
            if high < low:
                raise UnknownError("a range backwards")
            found.append((low, high))
        self.at += 1
        ranges = _cased(tuple(found)) if self.cased else tuple(found)
        return _without(ranges) if negated else ranges

    def _member(self, found: list[tuple[int, int]]) -> int | None:
        """One character of a class; a class within it is added, and None."""
        character = self._peek()
        if not character:
            raise UnknownError("a class is not closed")
        self.at += 1
        if character != "\\":
            return ord(character)
        character = self._peek()
        self.at += 1
        if character in _CLASSES:
            found += _CLASSES[character]
            return None
        if character in _ESCAPES:
            return _ESCAPES[character]
        if not character or character.isalnum():
            raise UnknownError(f"\\{character}")
        return ord(character)

    def _repeated(self, piece: Regex) -> Regex:
        while True:
            character = self._peek()
            if character == "*":
                low, high = 0, -1
            elif character == "+":
                low, high = 1, -1
            elif character == "?":
                low, high = 0, 1
            elif character == "{" and (counted := self._counts()) is not None:
                low, high = counted
                self.at -= 1
            else:
                return piece
            self.at += 1
            if self._peek() == "+":
                raise UnknownError("possessive")
            lazy = self._peek() == "?"
            self.at += lazy
            piece = Regex("lazy" if lazy else "star", (piece,), low=low, high=high)

    def _counts(self) -> tuple[int, int] | None:
        """``{2}``, ``{2,}``, ``{2,4}``; anything else is a plain brace."""
        body, end, _ = self.text[self.at + 1 : self.at + 14].partition("}")
        low, comma, high = body.partition(",")
        if not end or not low.isdecimal() or (high and not high.isdecimal()):
            return None
        self.at += len(body) + 2
        if int(low) > 1000 or (high and int(high) > 1000):
            raise UnknownError("too many")
        return int(low), (int(high) if high else -1) if comma else int(low)


@lru_cache(maxsize=20_000)
def parsed(expression: str) -> Regex | None:
    """An expression as FreeSWITCH takes it, ``/…/i`` included; None when it is not understood."""
    cased = dotall = False
    if expression.startswith("_") or len(expression) > LONGEST:
        return None  # Asterisk's patterns are turned into expressions first
    if expression.startswith("/"):
        expression, _, options = expression[1:].rpartition("/")
        cased, dotall = "i" in options, "s" in options
    try:
        return _Reader(expression, cased=cased, dotall=dotall).whole()
    except UnknownError:
        return None


def group(regex: Regex, number: int) -> Regex | None:
    """The inside of a capturing group; the whole for number 0."""
    if number == 0:
        return regex
    waiting = [regex]
    while waiting:
        node = waiting.pop()
        if node.kind == "group" and node.high == number:
            return node.parts[0]
        waiting.extend(node.parts)
    return None
