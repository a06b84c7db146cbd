"""Where in a TOML file a key stands: the line that an administrator has to look at.

The standard library's parser gives the values and forgets their places. :class:`TomlLines` reads the same text once
more for the places alone. It judges nothing: on a text that is not TOML it finds what it can, and it never raises.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

Path = tuple[str | int, ...]
"""A key by the names of its tables, and by numbers from 0 in arrays and arrays of tables."""

# Each token is matched in one step forward, never back (possessive): the time is that of the text's length. A text
# that is not closed goes on to the end of its line or, when it may have several, of the file.
_TOKEN: Final = re.compile(
    r"""
      (?P<blank> [ \t\r]++ | \#[^\n]*+ )
    | (?P<newline> \n )
    | (?P<long> \"{3} (?: [^"\\]++ | \\.? | "(?!"") )*+ (?:"{3,5})? | '{3} (?: [^']++ | '(?!'') )*+ (?:'{3,5})? )
    | (?P<name> " (?: [^"\\\n]++ | \\[^\n]? )*+ "? | '[^'\n]*+'? | [A-Za-z0-9_-]++ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int
    line: int


@dataclass(slots=True)
class _Node:
    """A key, a table or an element: its line, and from where to where its value goes in the text."""

    line: int
    start: int = -1
    end: int = -1
    header: bool = False
    """Written as [table] or as one of [[tables]]."""
    named: bool = False
    """Defined, not only passed through on the way to a key below it."""
    several: int = 0
    """How many [[tables]] it has."""
    children: dict[str | int, _Node] | None = field(default=None)

    def child(self, part: str | int, line: int) -> _Node:
        if self.children is None:
            self.children = {}
        return self.children.setdefault(part, _Node(line))


class TomlLines:
    """The places of all keys of one TOML text; read when the first one is asked for."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _root(self) -> _Node:
        return _Scan(self._text).run()

    def line(self, path: Path) -> int | None:
        """The line, from 1, in which a key stands; else that of the nearest table around it; else ``None``."""
        node, found = self._root, None
        for part in path:
            below = (node.children or {}).get(part)
            if below is None:
                break
            node, found = below, below.line
        return found

    def span(self, path: Path) -> tuple[int, int] | None:
        """Where the value of exactly this key begins and ends in the text; ``None`` when it has none there.

        Of a table with a heading: from the heading to the end of its own last value.
        """
        node = self._node(path)
        return None if node is None or node.start < 0 or node.end < 0 else (node.start, node.end)

    def is_heading(self, path: Path) -> bool:
        """Whether this is written as ``[table]`` or as one of ``[[tables]]``."""
        node = self._node(path)
        return node is not None and node.header

    def _node(self, path: Path) -> _Node | None:
        node: _Node | None = self._root
        for part in path:
            node = None if node is None else (node.children or {}).get(part)
        return node


class _Scan:
    """One walk over a text."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.pushed: _Token | None = None

    def next(self) -> _Token | None:
        token, self.pushed = self.pushed, None
        return token if token is not None else next(self.tokens, None)

    def run(self) -> _Node:
        root = table = _Node(0, 0, 0)
        while (token := self.next()) is not None:
            if token.text == "[" and token.kind == "other":
                table = self.heading(root, token) or table
                self.skip_line()
            elif token.kind == "name":
                node = self.key(table, token)
                if node is None:
                    self.skip_line()
                    continue
                self.value(node)
                table.end = max(table.end, node.end)
            elif token.kind != "newline":
                self.skip_line()
        return root

    def skip_line(self) -> None:
        while (token := self.next()) is not None and token.kind != "newline":
            pass

    def names(self, token: _Token | None) -> list[str]:
        """The parts of a dotted key that begins with this token; what stands behind it is left."""
        parts = []
        while token is not None and token.kind == "name":
            parts.append(_plain(token.text))
            token = self.next()
            if token is None or token.text != ".":
                break
            token = self.next()
        self.pushed = token
        return parts

    def heading(self, root: _Node, opening: _Token) -> _Node | None:
        token = self.next()
        several = token is not None and token.text == "[" and token.start == opening.end
        parts = self.names(self.next() if several else token)
        closing = self.next()
        if not parts or closing is None or closing.text != "]":
            self.pushed = closing
            return None
        end = closing.end + 1 if several else closing.end
        node = root
        for part in parts[:-1]:
            node = node.child(part, opening.line)
            if node.several and node.children:
                node = node.children[node.several - 1]
        node = node.child(parts[-1], opening.line)
        if several:
            above, node = node, node.child(node.several, opening.line)
            above.several += 1
            above.named = True
        if not node.named:
            node.line, node.start, node.end, node.header, node.named = opening.line, opening.start, end, True, True
        return node

    def key(self, table: _Node, token: _Token) -> _Node | None:
        """The node of a key up to its equals sign; ``None``, and nothing is made, when there is none."""
        parts = self.names(token)
        equals = self.next()
        if equals is None or equals.text != "=":
            self.pushed = equals
            return None
        for part in parts:
            table = table.child(part, token.line)
        if not table.named:
            table.line, table.named = token.line, True
        return table

    def value(self, node: _Node) -> None:
        """Take the value of a key, up to the end of its last line."""
        around: list[tuple[_Node, bool]] = []  # the arrays (true) and inline tables that are open
        wanted, last = "value", node
        while (token := self.next()) is not None:
            mark = token.text if token.kind == "other" else ""
            if token.kind == "newline":
                if not around:
                    return
            elif mark and mark in "]}" and around:
                around.pop()[0].end = token.end
                wanted = ""
                last = _Node(0)  # what stands behind a bracket belongs to nothing
            elif mark == "," and around:
                wanted = "value" if around[-1][1] else "key"
            elif wanted == "key":
                below = self.key(around[-1][0], token) if token.kind == "name" else None
                wanted = "" if below is None else "value"
                last = below or _Node(0)
            elif wanted == "value":
                if around and around[-1][1]:
                    above = around[-1][0]
                    last = above.child(len(above.children or ()), token.line)
                if last.start < 0:
                    last.start, last.end = token.start, token.end
                if mark and mark in "[{":
                    around.append((last, mark == "["))
                    wanted = "value" if mark == "[" else "key"
                else:
                    wanted = ""
            else:
                last.end = token.end  # the rest of a number or a date


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind != "blank":
            yield _Token(kind, match[0], match.start(), match.end(), line)
        line += match[0].count("\n")


def _plain(name: str) -> str:
    """A name as it is meant: without its quotation marks."""
    if name[0] not in "\"'":
        return name
    if "\\" in name and name[0] == '"':
        try:
            return str(tomllib.loads(f"name = {name}")["name"])
        except ValueError:
            return name
    return name[1:-1]
