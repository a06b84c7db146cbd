r"""Recorded sessions between Asterisk and a server, read back byte for byte.

A transcript is a text file that a person can read::

    # Asterisk 22: what this is about
       0.003 -- connection accepted, environment block:
       0.003 A> agi_network: yes\n
       0.507 S> ANSWER\n
       1.508 -- server closed the connection

Seconds since the start, then who sent (``A>`` Asterisk, ``S>`` the server) with the bytes escaped as in a
Python literal, or ``--`` and a comment. A line that does not end with ``\n`` was sent as it stands, without
a line end. Lines that begin with ``#`` say what was done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Entry", "Kind", "Transcript", "TranscriptError", "escape", "parse", "read", "unescape"]

_line = re.compile(r" *([0-9]+\.[0-9]+) (A>|S>|--) (.*)").fullmatch
_escape = re.compile(r"\\(x[0-9a-fA-F]{2}|.|$)", re.DOTALL)
_SHORT: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
_SESSION_BEGINS: Final = "connection accepted"
_SESSION_ENDS: Final = "server closed the connection"


class TranscriptError(ValueError):
    """A file that is not a transcript; the message names the line."""


class Kind(Enum):
    """Who, or what, an entry is of."""

    ASTERISK = "A>"
    SERVER = "S>"
    COMMENT = "--"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a transcript."""

    seconds: float
    kind: Kind
    data: bytes
    """What went over the wire, its line end included; empty for a comment."""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole recorded session, or several, with what was done."""

    header: tuple[str, ...]
    entries: tuple[Entry, ...]

    def sessions(self) -> tuple[tuple[Entry, ...], ...]:
        """The entries of each connection to an AGI server, without what other connections said after it."""
        found: list[tuple[Entry, ...]] = []
        begin: int | None = None
        for index, entry in enumerate(self.entries):
            if entry.kind is not Kind.COMMENT:
                continue
            if entry.comment.startswith(_SESSION_BEGINS):
                begin = index
            elif entry.comment == _SESSION_ENDS and begin is not None:
                found.append(self.entries[begin : index + 1])
                begin = None
        if begin is not None:
            found.append(self.entries[begin:])
        return tuple(found)


def read(path: Path) -> Transcript:
    """The transcript in the file *path*."""
    # newline="": universal newlines would turn a stray CR into a line of its own
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    try:
        return parse(text)
    except TranscriptError as error:
        raise TranscriptError(f"{path}: {error}") from None


def parse(text: str) -> Transcript:
    """The transcript that *text* is."""
    header: list[str] = []
    entries: list[Entry] = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        if line.startswith("#"):
            header.append(line[1:].strip())
            continue
        if not line.strip():
            continue
        match = _line(line)
        if match is None:
            raise TranscriptError(f"line {number} is neither '# ...' nor 'SECONDS A>|S>|-- ...'")
        seconds, mark, rest = match.groups()
        kind = Kind(mark)
        if kind is Kind.COMMENT:
            entries.append(Entry(float(seconds), kind, b"", rest))
            continue
        try:
            entries.append(Entry(float(seconds), kind, unescape(rest)))
        except ValueError as error:
            raise TranscriptError(f"line {number}: {error}") from None
    return Transcript(tuple(header), tuple(entries))


def unescape(text: str) -> bytes:
    r"""The bytes that *text* stands for: ``\n``, ``\r``, ``\t``, ``\\``, ``\xNN``, and itself otherwise."""

    def one(match: re.Match[str]) -> str:
        body = match[1]
        if len(body) == 3:
            return chr(int(body[1:], 16))
        if body not in _SHORT:
            raise ValueError(f"unknown escape '\\{body}'")
        return _SHORT[body]

    # A byte is carried as the character of its number, so anything beyond ASCII has to be escaped.
    if not text.isascii():
        raise ValueError("bytes beyond ASCII are written as \\xNN")
    return _escape.sub(one, text).encode("latin-1")


def escape(data: bytes) -> str:
    """The text that :func:`unescape` turns back into *data*."""
    text = repr(data)
    body = text[2:-1]
    # repr escapes the quotation mark it has chosen for itself
    return body.replace("\\'", "'") if text[1] == "'" else body
