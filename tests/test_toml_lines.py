"""Lines of keys: against documents made with known lines, against the standard library's parser, and on garbage."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ivr_consent.toml_lines import TomlLines

PROMPTS = Path(__file__).parent.parent / "prompts"

Key = tuple[str | int, ...]

# --- by hand ----------------------------------------------------------------------------------------------------------

DOCUMENT = """\
# a comment with [brackets] and = signs
top = 1  # [not.a.table]

[server]
listen = "127.0.0.1"
allow = [  # several lines
  "a",
  # not an element
  [1, 2], "b",
  { host = "c", ports = [
    1, 2 ] },
]
text = \"\"\"
[lines]
key = "no key"
escaped \\\""" and on \"\"\"\"\"
raw = '''
[[segments]]'''''
dotted.inner."quoted key" = { a.b = 1, 'c' = 2 }
when = 1979-05-27 07:32:00
pi = 3.14

[[ segments ]]
id = "one"

[[segments]]
id = "two"

[[segments.parts]]
name = "x"

[[segments.parts]]
name = "y"
[segments.parts.deep]
z = 0

["lines"."a b".'keys']
"y\\u0065s" = 1

[late]
"""

LINES: list[tuple[Key, int | None]] = [
    (("top",), 2),
    (("server",), 4),
    (("server", "listen"), 5),
    (("server", "allow"), 6),
    (("server", "allow", 0), 7),
    (("server", "allow", 1), 9),
    (("server", "allow", 1, 1), 9),
    (("server", "allow", 2), 9),
    (("server", "allow", 3), 10),
    (("server", "allow", 3, "ports"), 10),
    (("server", "allow", 3, "ports", 1), 11),
    (("server", "text"), 13),
    (("server", "raw"), 17),
    (("server", "dotted"), 19),
    (("server", "dotted", "inner", "quoted key", "a", "b"), 19),
    (("server", "dotted", "inner", "quoted key", "c"), 19),
    (("server", "when"), 20),
    (("server", "pi"), 21),
    (("segments",), 23),
    (("segments", 0), 23),
    (("segments", 0, "id"), 24),
    (("segments", 1), 26),
    (("segments", 1, "id"), 27),
    (("segments", 1, "parts"), 29),
    (("segments", 1, "parts", 0, "name"), 30),
    (("segments", 1, "parts", 1), 32),
    (("segments", 1, "parts", 1, "name"), 33),
    (("segments", 1, "parts", 1, "deep", "z"), 35),
    (("lines",), 37),
    (("lines", "a b", "keys", "yes"), 38),
    (("late",), 40),
    # what is not there: the nearest table around it
    (("server", "port"), 4),
    (("server", "allow", 9), 6),
    (("server", "listen", "deeper", 3), 5),
    (("segments", 0, "text"), 23),
    (("segments", 2, "text"), 23),
    (("lines", "a b", "keys", "no"), 37),
    (("late", "key"), 40),
    (("nothing",), None),
    (("key",), None),
    (("server", 0), 4),
    ((0,), None),
    ((), None),
]


@pytest.mark.parametrize(("path", "line"), LINES, ids=[".".join(map(str, path)) for path, _ in LINES])
def test_lines_of_a_document(path: Key, line: int | None) -> None:
    assert TomlLines(DOCUMENT).line(path) == line
    assert TomlLines(DOCUMENT.replace("\n", "\r\n")).line(path) == line


def test_the_document_is_toml() -> None:
    assert tomllib.loads(DOCUMENT)["lines"]["a b"]["keys"] == {"yes": 1}


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("\n\n[a.b]\n[a]\nx = 1\n", ("a",), 4),  # passed through before it is defined
        ("\n[a.b]\nx = 1\n", ("a",), 2),
        ("\na.b = 1\na.c = 1\n", ("a", "c"), 3),
        ("[a]\n[[a.b]]\n[[a.b]]\n\n[a.b.c]\nx = 1\n", ("a", "b", 1, "c", "x"), 6),
        ("a = [\n\n]\nb = {}\nc = 1", ("c",), 5),
        ('"" = 1\n"\\t" = 2', ("\t",), 2),
        ("a = ''\nb = ''''''\nc = \"\"\"\"\"\"\nd = 1", ("d",), 4),
        ('a = "\\\\"\nb = "\\""\nc = 1', ("c",), 3),
        ("1.2 = 3\n3 = 4", ("1", "2"), 1),
        ("a = [{x = 1}, {x = 2,\n y = 3}]", ("a", 1, "y"), 2),
        ("a = +inf\nb = 1e-5\nc = 0x_f", ("b",), 2),
    ],
)
def test_lines_of_odd_documents(text: str, path: Key, line: int) -> None:
    assert TomlLines(text).line(path) == line


def test_spans_are_of_the_values() -> None:
    found = TomlLines(DOCUMENT)
    start, end = found.span(("server", "allow")) or (0, 0)
    assert DOCUMENT[start:end].startswith("[  # several")
    assert DOCUMENT[start:end].endswith("1, 2 ] },\n]")
    start, end = found.span(("segments", 1)) or (0, 0)
    assert DOCUMENT[start:end] == '[[segments]]\nid = "two"'
    start, end = found.span(("segments", 0)) or (0, 0)
    assert DOCUMENT[start:end] == '[[ segments ]]\nid = "one"'
    assert found.span(("segments",)) is None
    assert found.span(("server", "port")) is None
    assert found.is_heading(("segments", 1))
    assert found.is_heading(("late",))
    assert not found.is_heading(("segments",))
    assert not found.is_heading(("server", "listen"))


# --- against documents made with known lines --------------------------------------------------------------------------


@dataclass
class Written:
    """A document as it is written, line by line, with what it means and where each key stands."""

    text: str = ""
    line: int = 1
    lines: dict[Key, int] = field(default_factory=dict)

    def put(self, text: str) -> None:
        self.text += text
        self.line += text.count("\n")

    def key(self, path: Key, line: int | None = None) -> None:
        self.lines.setdefault(path, self.line if line is None else line)


NASTY = ("", "#", "=", "[a]", "a = 1", "]", "}", "'", '"', "\\", "\n", '"""', "'''", "[[segments]]", "ø", "\t")
TEXTS = st.lists(st.sampled_from((*NASTY, "word", " ")), max_size=5).map("".join)
NAMES = st.sampled_from(("a", "b-c", "D_1", "7", "a b", "x.y", "", "=", '"', "ø", "[z]", "#", "\\"))
NUMBERS = st.integers(-9, 9)
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans())
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3), max_leaves=6
)
TABLES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(NAMES, VALUES, max_size=3),
    lambda below: st.dictionaries(
        NAMES,
        st.one_of(
            VALUES,
            below.map(lambda t: ("table", t)),
            st.lists(below, min_size=1, max_size=3).map(lambda ts: ("tables", ts)),
        ),
        max_size=4,
    ),
    max_leaves=6,
)
NOISE = st.sampled_from(("", "\n", "# [c] = 1\n", "   # ' \"\n", "\t\n\n"))


def name(draw: Any, key: str) -> str:
    """A key: bare where it may be, else in quotation marks of either kind."""
    if key and key.isascii() and all(character.isalnum() or character in "-_" for character in key):
        return str(
            draw(st.sampled_from((key, f'"{key}"', f"'{key}'", "".join(f"\\u{ord(c):04x}" for c in key).join('""'))))
        )
    if "'" not in key and "\n" not in key and draw(st.booleans()):
        return f"'{key}'"
    return json.dumps(key, ensure_ascii=draw(st.booleans()))


def write_value(draw: Any, to: Written, path: Key, value: Any, *, lines: bool = True) -> None:
    """A value; over several lines where ``lines`` says that it may be."""
    if isinstance(value, bool):
        to.put("true" if value else "false")
    elif isinstance(value, int):
        to.put(str(value))
    elif isinstance(value, str):
        to.put(draw(st.sampled_from([json.dumps(value), *raw(value)])))
    elif isinstance(value, list):
        to.put("[")
        for number, item in enumerate(value):
            to.put(draw(st.sampled_from(("", " ", "\n", " # ],\n", "\n\t"))) if lines else "")
            to.key((*path, number))
            write_value(draw, to, (*path, number), item, lines=lines)
            if number < len(value) - 1 or draw(st.booleans()):
                to.put(draw(st.sampled_from((",", " ,", "\n,"))) if lines else ",")
        to.put("\n]" if lines and draw(st.booleans()) else " ]")
    else:
        to.put("{")
        for number, (key, item) in enumerate(value.items()):
            to.put(", " if number else " ")
            to.key((*path, key))
            to.put(f"{name(draw, key)} = ")
            write_value(draw, to, (*path, key), item, lines=False)
        to.put(" }")


def raw(value: str) -> Iterator[str]:
    """A text in the other three ways, where it can be written so."""
    if "'" not in value and "\n" not in value:
        yield f"'{value}'"
    if "'''" not in value and not value.startswith("\n") and not value.endswith("'"):
        yield f"'''{value}'''"
    inner = value.replace("\\", "\\\\").replace('"""', '""\\"')
    if not inner.startswith("\n") and not inner.endswith('"'):
        yield f'"""{inner}"""'
        yield f'"""\n{inner}\\\n   """'


def heading(draw: Any, path: Key) -> str:
    dot = draw(st.sampled_from((".", " . ")))
    return str(dot.join(name(draw, part) for part in path if isinstance(part, str)))


def write_table(draw: Any, to: Written, path: Key, table: dict[str, Any]) -> dict[str, Any]:
    """A table's own keys, then those below it with headings of their own; what it means is given back."""
    meant: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, tuple):
            continue
        to.put(draw(NOISE))
        to.key((*path, key))
        to.put(f"{name(draw, key)} = ")
        write_value(draw, to, (*path, key), value)
        to.put(draw(st.sampled_from(("\n", "  # end\n"))))
        meant[key] = value
    for key, value in table.items():
        if not isinstance(value, tuple):
            continue
        kind, below = value
        here = (*path, key)
        if kind == "table":
            to.put(draw(NOISE))
            to.key(here)
            to.put(f"[{heading(draw, here)}]\n")
            meant[key] = write_table(draw, to, here, below)
            continue
        meant[key] = []
        for number, item in enumerate(below):
            to.put(draw(NOISE))
            to.key(here)
            to.key((*here, number))
            to.put(f"[[{heading(draw, here)}]] # x\n")
            meant[key].append(write_table(draw, to, (*here, number), item))
    return meant


def paths(value: Any, path: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every key of a parsed document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, below in items:
        yield (*path, part), below
        yield from paths(below, (*path, part))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), TABLES)
def test_every_key_has_the_line_in_which_it_was_written(data: st.DataObject, table: dict[str, Any]) -> None:
    to = Written()
    meant = write_table(data.draw, to, (), table)
    assert tomllib.loads(to.text) == meant  # what was written is what was meant
    found = TomlLines(to.text)
    assert {path: found.line(path) for path, _ in paths(meant)} == to.lines
    for path, value in paths(meant):
        span = found.span(path)
        if span is not None and not found.is_heading(path):
            assert tomllib.loads(f"x = {to.text[slice(*span)]}")["x"] == value
        assert found.line((*path, "\0")) == to.lines[path]


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*/*.toml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_key_of_a_shipped_notice_stands_in_its_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines, found = text.splitlines(), TomlLines(text)
    for place, value in paths(tomllib.loads(text)):
        number = found.line(place)
        assert number is not None
        named = next(part for part in reversed(place) if isinstance(part, str))
        assert named in lines[number - 1]
        if isinstance(value, str):
            assert value.split()[0] in lines[number - 1]


# --- garbage ----------------------------------------------------------------------------------------------------------

MARKS = ("[", "]", "[[", "]]", "{", "}", "=", ".", ",", "#", "\\", "\n", "\r\n", " ", "-")
QUOTES = ('"', '"""', "'", "'''", '\\u00ff"')
PIECES = ("a", "b", "1", "\x00", "ø", "a = ", "a = 1\n", "[a]\n", "[[a]]\n", "[a.b]\n", "b = [", "a.b = {")
FRAGMENTS = st.lists(st.sampled_from((*MARKS, *QUOTES, *PIECES)), max_size=40).map("".join)


@settings(max_examples=500, deadline=None)
@given(st.one_of(FRAGMENTS, st.text()))
@example('"\\UFFFFFFFF" = 1')
@example('a = """\\')
@example("[a\n]")
def test_it_never_raises_and_agrees_with_the_parser_on_what_it_takes(text: str) -> None:
    found = TomlLines(text)
    tried: tuple[Key, ...] = ((), ("a",), ("a", 0), ("a", "b", 0, "a"))
    for path in tried:
        line = found.line(path)
        assert line is None or 1 <= line <= text.count("\n") + 1
        found.span(path)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    for path, value in paths(document):
        assert found.line(path) is not None
        assert found.line((*path, "\0")) == found.line(path)
        if not isinstance(value, dict | list):
            span = found.span(path)
            assert span is not None, path
            assert tomllib.loads(f"x = {text[slice(*span)]}")["x"] == value


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "[[a]]\n",
        "a=[",
        "a={",
        '"""\\',
        '"""',
        "'''a",
        "a.",
        "[a.",
        '"',
        "'",
        "a=[1,",
        "\x00",
        "a.b=1\n",
        "\\",
        '\\"',
    ],
)
def test_its_time_is_that_of_the_texts_length(piece: str) -> None:
    """Twenty times the text never takes two hundred times as long: nothing is read twice."""

    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        start = time.process_time()
        TomlLines(text)
        return time.process_time() - start

    assert seconds(60_000) < 200 * max(seconds(3_000), 0.001)
