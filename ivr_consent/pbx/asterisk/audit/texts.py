"""Texts of a dialplan: arguments, options, jump targets, variables, and ``$[ ]`` as far as its parts are known.

What is not known is a hole in a text (``HOLE``). A condition with holes has no truth unless the rest decides it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from ivr_consent.pbx.asterisk.audit.patterns import ANYTHING, Pattern, exactly
from ivr_consent.pbx.audit.results import HOLE

_OPENING, _CLOSING = "([{", ")]}"
_SPECIAL: Final = re.compile(r"[\\\"()\[\]{},;:?|^&]")

DEEPEST: Final = 40
"""Variables within variables; deeper ones are not known."""

Look = Callable[[str], "str | Pattern | None"]
"""The value of a variable by its name, or of a function by its whole call; None when it is not known."""


def parts(text: str, separator: str = ",", most: int = -1) -> list[str]:
    """Split at separators that stand in no brackets, no quotes and behind no backslash."""
    if separator not in text:
        return [text]
    if not any(character in text for character in '([{"\\'):
        return text.split(separator, most)
    return list(_parts(text, separator, most))


@lru_cache(maxsize=16_384)
def _parts(text: str, separator: str, most: int) -> tuple[str, ...]:
    found: list[str] = []
    begin, depth, quoted, skipped = 0, 0, False, -1
    for match in _SPECIAL.finditer(text):
        at, character = match.start(), match[0]
        if at == skipped:
            continue
        if character == "\\":
            skipped = at + 1
        elif character == '"':
            quoted = not quoted
        elif quoted:
            pass
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth = max(0, depth - 1)
        elif character == separator and depth == 0 and (most < 0 or len(found) < most):
            found.append(text[begin:at])
            begin = at + 1
    found.append(text[begin:])
    return tuple(found)


def arguments(text: str) -> list[str]:
    """An application's arguments, without spaces around them."""
    return [part.strip() for part in parts(text)]


def nth(found: list[str], number: int) -> str:
    """An argument by its number from 0; empty when there are fewer."""
    return found[number] if number < len(found) else ""


def options(text: str) -> dict[str, str]:
    """``gU(sub^a)x`` as ``{"g": "", "U": "sub^a", "x": ""}``."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        letter = text[at]
        at += 1
        value = ""
        if text[at : at + 1] == "(":
            depth, end = 0, at
            while end < len(text):
                depth += (text[end] == "(") - (text[end] == ")")
                end += 1
                if depth == 0:
                    break
            value = text[at + 1 : end - 1] if depth == 0 else text[at + 1 :]
            at = end
        found[letter] = value
    return found


def call(text: str) -> tuple[str, str]:
    """``App(args)`` as its small-lettered name and its arguments."""
    name, bracket, rest = text.strip().partition("(")
    if not bracket:
        return name.strip().lower(), ""
    end = rest.rfind(")")
    return name.strip().lower(), rest if end < 0 else rest[:end]


class Branches(NamedTuple):
    """``condition?true:false``, each as written."""

    condition: str
    true: str
    false: str


def branches(text: str) -> Branches:
    """Take ``condition?true:false`` apart."""
    condition, *rest = parts(text, "?", 1)
    true, *other = parts(rest[0], ":", 1) if rest else [""]
    return Branches(condition.strip(), true.strip(), other[0].strip() if other else "")


# --- variables -------------------------------------------------------------------------------------------------------


def closing(text: str, begin: int) -> int:
    """The index behind the bracket that closes the one at ``begin``; the text's end when none does."""
    depth = 0
    for at in range(begin, len(text)):
        if text[at] in "{[":
            depth += 1
        elif text[at] in "}]":
            depth -= 1
            if depth == 0:
                return at + 1
    return len(text)


def filled(text: str, look: Look, depth: int = 0) -> str | Pattern:
    """A text with its variables and expressions replaced: a text (with holes), or a set of texts where that is known.

    Never fails; what is not understood is a hole.
    """
    if "$" not in text:
        return text
    if depth > DEEPEST:
        return HOLE
    pieces: list[str | Pattern] = []
    begin = 0
    while (at := text.find("$", begin)) >= 0:
        opening = text[at + 1 : at + 2]
        if opening not in ("{", "["):
            pieces.append(text[begin : at + 1])
            begin = at + 1
            continue
        pieces.append(text[begin:at])
        end = closing(text, at + 1)
        inner = text[at + 2 : end - 1]
        pieces.append(_variable(inner, look, depth) if opening == "{" else _expression(inner, look, depth))
        begin = end
    pieces.append(text[begin:])
    pieces = [piece for piece in pieces if piece != ""]
    if len(pieces) == 1:
        return pieces[0]
    if pieces and isinstance(pieces[-1], Pattern) and not any(isinstance(p, Pattern) or HOLE in p for p in pieces[:-1]):
        head = exactly("".join(str(piece) for piece in pieces[:-1]))
        return Pattern(head.places + pieces[-1].places, pieces[-1].tail)
    return "".join(HOLE if isinstance(piece, Pattern) else piece for piece in pieces)


def _variable(inner: str, look: Look, depth: int) -> str | Pattern:
    """What ``${inner}`` is."""
    name = filled(inner, look, depth + 1)
    if isinstance(name, Pattern) or HOLE in name:
        if inner.startswith("IF("):
            return _if(inner, look, depth)
        return HOLE
    if inner.startswith("IF("):
        return _if(inner, look, depth)
    found: str | Pattern | None
    if "(" in name:
        found = look(name)
        return HOLE if found is None else found
    name, offset, length = (*name.split(":"), "", "")[:3]
    found = look(name)
    if found is None:
        return HOLE
    if not offset and not length:
        return found
    try:
        start, count = int(offset or 0), int(length) if length else None
    except ValueError:
        return HOLE
    if isinstance(found, Pattern):
        return found.cut(start, count)
    if HOLE in found:
        return HOLE
    rest = found[start:] if start >= 0 or -start <= len(found) else found
    return rest if count is None else rest[:count]


def _if(inner: str, look: Look, depth: int) -> str | Pattern:
    """``${IF(condition?true:false)}``."""
    branch = branches(inner[3:].rpartition(")")[0])
    decided = truth(filled(branch.condition, look, depth + 1))
    return HOLE if decided is None else filled(branch.true if decided else branch.false, look, depth + 1)


def as_set(value: str | Pattern) -> Pattern | str:
    """A text with holes as the set of texts that it can be."""
    if isinstance(value, Pattern) or HOLE not in value:
        return value
    head = value.partition(HOLE)[0]
    return Pattern(exactly(head).places, "!") if head else ANYTHING


def truth(value: str | Pattern) -> bool | None:
    """What a condition decides: empty and 0 are no. ``None`` when it is not known."""
    if isinstance(value, Pattern):
        return None
    value = value.strip()
    if HOLE in value:
        return None
    if re.fullmatch(r"[+-]?\d+", value):
        return int(value) != 0
    return bool(value)


# --- $[ ] ------------------------------------------------------------------------------------------------------------

_TOKENS: Final = re.compile(r'\s*("[^"]*"?|<=|>=|!=|==|=~|~~|::|&&|\|\||[|&=<>+\-*/%?:()!,]|[^\s|&=<>+*/%?:()!"]+)')

_LEVELS: Final = (("|", "||"), ("&", "&&"), ("=", "==", "!=", "<", ">", "<=", ">="), ("+", "-"), ("*", "/", "%"))


def _expression(inner: str, look: Look, depth: int) -> str:
    """What ``$[inner]`` is; a hole where it is not known."""
    text = filled(inner, look, depth + 1)
    if isinstance(text, Pattern):
        return HOLE
    return _worked_out(text)


@lru_cache(maxsize=16_384)
def _worked_out(text: str) -> str:
    """The value of an expression whose variables are filled in."""
    tokens = _TOKENS.findall(text)
    if len(tokens) > 400:
        return HOLE
    parser = _Parser(tokens)
    value = parser.conditional()
    return HOLE if value is None or not parser.ended else value


class _Parser:
    """Evaluates the operators of Asterisk's expressions; a value is a text, or None when it is not known."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    @property
    def ended(self) -> bool:
        return self.at >= len(self.tokens)

    def next_is(self, *wanted: str) -> str:
        token = self.tokens[self.at] if not self.ended else ""
        if token and token in wanted:
            self.at += 1
            return token
        return ""

    def conditional(self) -> str | None:
        value = self.level(0)
        if not self.next_is("?"):
            return value
        yes = self.level(0)
        self.next_is(":", "::")
        no = self.level(0)
        decided = _truth(value)
        return None if decided is None else yes if decided else no

    def level(self, number: int) -> str | None:
        if number == len(_LEVELS):
            return self.single()
        value = self.level(number + 1)
        while operator := self.next_is(*_LEVELS[number]):
            value = _operate(operator, value, self.level(number + 1))
        return value

    def single(self) -> str | None:
        self.depth += 1
        if self.depth > 100 or self.ended:
            self.at = len(self.tokens) + 1
            return None
        word = self.tokens[self.at]
        self.at += 1
        if word == "!":
            decided = _truth(self.single())
            return None if decided is None else str(int(not decided))
        if word == "-":
            value = self.single()
            return None if value is None else "-" + value
        if word == "(":
            value = self.conditional()
            if not self.next_is(")"):
                return None
        elif HOLE in word or word in "|&=<>?:)" or re.search(r"\d-\d", word):
            value = None
        else:
            value = word
        if self.next_is("=~", "~~"):
            self.single()  # a regular expression, or two texts put together: not worked out
            return None
        return value


def _truth(value: str | None) -> bool | None:
    if value is None or HOLE in value:
        return None
    bare = value.strip('"')
    return bare not in ("", "0")


def _number(value: str) -> float | None:
    try:
        return float(value) if re.fullmatch(r"-?\d+(\.\d+)?", value) else None
    except ValueError:
        return None


def _operate(operator: str, left: str | None, right: str | None) -> str | None:
    """One operator. "and" and "or" are decided by one side alone where that is enough."""
    if operator in ("&", "&&", "|", "||"):
        first, second = _truth(left), _truth(right)
        if operator[0] == "&":
            if first is False or second is False:
                return "0"
            return right if first and second else None
        if first is True or second is True:
            return "1"
        return None if first is None or second is None else "0"
    if left is None or right is None or HOLE in left or HOLE in right:
        return None
    a, b = _number(left), _number(right)
    if operator in ("=", "==", "!="):
        same = a == b if a is not None and b is not None else left == right
        return str(int(same == (operator != "!=")))
    if a is None or b is None:
        return None
    if operator in ("<", ">", "<=", ">="):
        return str(int({"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[operator]))
    if operator in ("/", "%") and b == 0:
        return None
    done = {"+": a + b, "-": a - b, "*": a * b}.get(operator, a / b if operator == "/" and b else None)
    if done is None and b:
        done = a % b
    return None if done is None else str(int(done)) if done == int(done) else str(done)
