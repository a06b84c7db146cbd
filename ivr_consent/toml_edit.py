"""Changes to a TOML file that somebody keeps by hand: one value or one table, and not a byte besides.

A parser that writes a document anew moves comments to other tables when a table is taken out, and tables that stand
apart are put together. So a change is a splice at the place that :class:`~ivr_consent.toml_lines.TomlLines` finds, and
what comes of it is read again: it must mean exactly what was wanted.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tomlkit

from ivr_consent.core.errors import ConsentError
from ivr_consent.toml_lines import Path, TomlLines

_BOM = "\ufeff"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def literal(value: str) -> str:
    """A text as a value of TOML, on one line."""
    return tomlkit.string(value).as_string()


def set_value(text: str, path: Path, value: str) -> str:
    """The file with a key at the end of ``path`` set to a text: in the place of its value, else as the last of its
    table, else in a table of its own at the end.

    A comment in the table that shows the key (``# key = …``) gives its place to it. Raises :class:`ConsentError` when
    the file is not TOML or the key cannot be set without changing more.
    """

    def change(document: dict[str, Any]) -> None:
        table: Any = document
        for part in path[:-1]:
            table = table[part] if isinstance(part, int) else table.setdefault(part, {})
        table[path[-1]] = value

    return _edited(text, change, lambda bare: _set(bare, path, value))


def append_table(text: str, name: str, values: Mapping[str, str]) -> str:
    """The file with one more ``[[name]]`` table, behind the last of that name or at the end. Raises as above."""

    def change(document: dict[str, Any]) -> None:
        document.setdefault(name, []).append(dict(values))

    return _edited(text, change, lambda bare: _append(bare, name, values))


def remove_table(text: str, name: str, number: int) -> str:
    """The file without one of its ``[[name]]`` tables, counted from 0, and the empty line before it. Raises as above.

    Comments above and below it stay.
    """

    def change(document: dict[str, Any]) -> None:
        del document[name][number]
        if not document[name]:
            del document[name]

    return _edited(text, change, lambda bare: _remove(bare, name, number))


def _edited(text: str, change: Callable[[dict[str, Any]], None], ways: Callable[[str], Iterable[str]]) -> str:
    """The first of several ways to change a text that means what it should."""
    bare = text.removeprefix(_BOM)
    wanted = _parsed(bare)
    if wanted is None:
        raise ConsentError("the file is not TOML as it is; correct it first (ivr-consent check says where)")
    try:
        change(wanted)
    except (AttributeError, IndexError, KeyError, TypeError):
        raise ConsentError("the file has other things in that place; write it by hand") from None
    for edited in ways(bare):
        with contextlib.suppress(RecursionError):  # tables within tables without end cannot be compared
            if _parsed(edited) == wanted:
                return text[: len(text) - len(bare)] + edited
    raise ConsentError("the file is written in a way that cannot be changed without more; write it by hand")


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _set(text: str, path: Path, value: str) -> Iterable[str]:
    lines, end = TomlLines(text), _end_of_line(text)
    span, table = lines.span(path), path[:-1]
    if span is not None:
        yield text[: span[0]] + literal(value) + text[span[1] :]
        return
    line = f"{_key(path[-1])} = {literal(value)}"
    inside = lines.span(table) if table else None
    if inside is not None and lines.is_heading(table):
        yield from _in_place_of_comment(text, inside[0], str(path[-1]), line)
        yield _line_after(text, inside[1], _indent(text, inside[1]) + line, end)
    elif inside is not None and text[inside[1] - 1] == "}":
        before = text[: inside[1] - 1].rstrip()
        yield before + ("" if before.endswith("{") else ",") + f" {line} " + text[inside[1] - 1 :]
    elif table:
        heading = ".".join(_key(part) for part in table)
        yield _at_the_end(text, [f"[{heading}]", line], end)


def _in_place_of_comment(text: str, start: int, key: str, line: str) -> Iterable[str]:
    heading = text.find("\n", start) + 1 or len(text)
    following = re.compile(r"^[ \t]*\[", re.MULTILINE).search(text, heading)
    shown = re.compile(rf"^([ \t]*)#[ \t]*{re.escape(key)}[ \t]*=[^\n\r]*", re.MULTILINE)
    found = shown.search(text, heading, following.start() if following is not None else len(text))
    if found is not None:
        yield text[: found.start()] + found[1] + line + text[found.end() :]


def _append(text: str, name: str, values: Mapping[str, str]) -> Iterable[str]:
    lines, end = TomlLines(text), _end_of_line(text)
    block = [f"[[{_key(name)}]]", *(f"{_key(key)} = {literal(value)}" for key, value in values.items())]
    number = 0
    while lines.is_heading((name, number)):
        number += 1
    last = lines.span((name, number - 1)) if number else None
    if last is not None:
        yield _line_after(text, last[1], end + end.join(block), end)
    yield _at_the_end(text, block, end)


def _remove(text: str, name: str, number: int) -> Iterable[str]:
    lines = TomlLines(text)
    span = lines.span((name, number))
    if span is None or not lines.is_heading((name, number)):
        return
    start = text.rfind("\n", 0, span[0]) + 1
    stop = text.find("\n", span[1]) + 1 or len(text)
    empty = re.compile(r"(?:\A|(?<=\n))\r?\n\Z").search(text[:start])
    if empty is not None:
        start = empty.start()
    elif start == 0:
        stop += len(text[stop:]) - len(text[stop:].lstrip("\r\n"))
    yield text[:start] + text[stop:]


def _line_after(text: str, position: int, line: str, end: str) -> str:
    """A line behind the one that ends at or after a position."""
    stop = text.find("\n", position) + 1
    return f"{text[:stop]}{line}{end}{text[stop:]}" if stop else f"{text}{end}{line}{end}"


def _at_the_end(text: str, block: list[str], end: str) -> str:
    gap = "" if not text else end if text.endswith("\n") else end + end
    return text + gap + end.join(block) + end


def _end_of_line(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    return text[start : start + len(text[start:]) - len(text[start:].lstrip(" \t"))]


def _key(name: str | int) -> str:
    return str(name) if _BARE.fullmatch(str(name)) else literal(str(name))
