"""Texts of a dialplan: ``${variables}``, ``${commands(arguments)}``, arguments, dial strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ivr_consent.pbx.audit.results import HOLE

DEEPEST: Final = 20
"""Variables within variables; deeper ones are not known."""

LONGEST: Final = 20_000
"""Characters of a text that are looked at."""

_SLICE: Final = re.compile(r"^(.*?):(-?\d{1,5})(?::(-?\d{1,5}))?$", re.DOTALL)
_OPENING: Final = {"{": "}", "[": "]", "<": ">"}

Look = Callable[[str], "str | None"]
"""The value of a variable by its name in small letters; None when it is not known."""


class Command(NamedTuple):
    """A command of the switch (an API), with its arguments as written."""

    name: str
    arguments: str


def closing(text: str, begin: int, opening: str = "{", shut: str = "}") -> int:
    """Where the bracket at ``begin`` is closed; -1 when it is not."""
    depth = 0
    for at in range(begin, min(len(text), begin + LONGEST)):
        if text[at] == opening:
            depth += 1
        elif text[at] == shut:
            depth -= 1
            if depth == 0:
                return at
    return -1


def _holes(text: str) -> Iterator[tuple[int, int, str]]:
    """Each outermost ``${...}``: where it begins and ends, and its inside."""
    at = 0
    while (begin := text.find("${", at)) >= 0:
        end = closing(text, begin + 1)
        if end < 0:
            return
        yield begin, end + 1, text[begin + 2 : end]
        at = end + 1


def filled(text: str, look: Look, depth: int = 0) -> str:
    """A text with its variables filled in; what is not known is a hole."""
    if "${" not in text:
        return text
    if depth > DEEPEST or len(text) > LONGEST:
        return HOLE
    parts: list[str] = []
    at = 0
    for begin, end, inner in _holes(text):
        parts += (text[at:begin], _value(inner, look, depth))
        at = end
    return "".join([*parts, text[at:]])


def _value(inner: str, look: Look, depth: int) -> str:
    inner = filled(inner, look, depth + 1)
    if HOLE in inner or "(" in inner:
        return HOLE
    name, first, length = inner, None, None
    if (sliced := _SLICE.match(inner)) is not None:
        name, first, length = sliced[1], int(sliced[2]), sliced[3]
    value = look(name.lower())
    if value is None or first is None or HOLE in value:
        return HOLE if value is None else value
    value = value[first:] if first >= 0 else value[max(len(value) + first, 0) :]
    if length is None:
        return value
    return value[: int(length)] if int(length) >= 0 else HOLE


def read(text: str) -> set[str]:
    """Names of the variables that a text reads."""
    return {
        re.split(r"[:(\[]", name, maxsplit=1)[0].lower() for name in re.findall(r"\$\{([^${}]{1,200})", text[:LONGEST])
    }


def commands(text: str, depth: int = 0) -> Iterator[Command]:
    """Commands that a text runs when it is expanded: ``${name(arguments)}``, also within each other."""
    if "${" not in text or depth > DEEPEST:
        return
    for _, _, inner in _holes(text[:LONGEST]):
        name, opening, rest = inner.partition("(")
        if opening and "${" not in name:
            yield Command(name.strip().lower(), rest.rpartition(")")[0])
        yield from commands(inner, depth + 1)


def words(text: str) -> list[str]:
    """Arguments between blanks; single quotes hold some together."""
    found: list[str] = []
    word, quoted, begun = "", False, False
    for character in text:
        if character == "'":
            quoted, begun = not quoted, True
        elif character == " " and not quoted:
            if word or begun:
                found.append(word)
            word, begun = "", False
        else:
            word += character
    return [*found, word] if word or begun else found


def separated(text: str, separator: str) -> list[str]:
    """Parts between separators that stand outside of brackets and quotes."""
    found: list[str] = []
    part: list[str] = []
    depth, quoted = 0, False
    for character in text:
        if character == "'":
            quoted = not quoted
        elif not quoted and character in "({[":
            depth += 1
        elif not quoted and character in ")}]" and depth:
            depth -= 1
        if character == separator and not depth and not quoted:
            found.append("".join(part))
            part = []
        else:
            part.append(character)
    return [*found, "".join(part)]


def assignments(text: str, separator: str = ",") -> list[tuple[str, str]]:
    """``a=b,c=d`` as names in small letters and values; ``^^;`` in front names another separator."""
    if text.startswith("^^") and len(text) > 2:
        separator, text = text[2], text[3:]
    found = []
    for pair in separated(text, separator):
        name, equals, value = pair.partition("=")
        if equals:
            found.append((name.strip().lower(), value.strip().strip("'")))
    return found


class Leg(NamedTuple):
    """One destination of a dial string, with the variables that stand before it."""

    address: str
    variables: list[tuple[str, str]]


def legs(text: str) -> list[Leg]:
    """The destinations of a dial string: ``{all}[one]sofia/...,[two]loopback/...|user/...``."""
    shared, text = _brackets(text.strip(), "{<")
    found = []
    for thread in text[:LONGEST].split(":_:"):
        more, rest = _brackets(thread.strip(), "{<")
        for either in separated(rest, "|"):
            for one in separated(either, ","):
                own, address = _brackets(one.strip(), "[{<")
                found.append(Leg(address.strip(), shared + more + own))
    return found


def _brackets(text: str, kinds: str) -> tuple[list[tuple[str, str]], str]:
    """Variables in the brackets that a text begins with, and what comes after them."""
    found: list[tuple[str, str]] = []
    while text[:1] and text[0] in kinds:
        end = closing(text, 0, text[0], _OPENING[text[0]])
        if end < 0:
            break
        found += assignments(text[1:end])
        text = text[end + 1 :].lstrip()
    return found, text
