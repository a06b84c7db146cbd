"""Recorded sessions between FreeSWITCH and whoever used its event socket, read back byte for byte.

A transcript is a file of blocks and notes::

    # case 04-hangup-mid-playback. the caller hangs up 1 s into a 3 s prompt (linger 2)
    #### 0.007 APP>FS[out] 9
    connect

    #### 8.090 [out] connection closed by FS (EOFError)

A block's head says the seconds, who sent (``FS>APP`` or ``APP>FS``), on which connection (``out`` is the outbound
socket of the call, ``watch``, ``guard`` and the like are inbound ones) and how many raw bytes follow; after them is a
line end. Bytes may be no UTF-8. Lines that begin with ``# `` are notes; ``# ^ x`` closes the case x above it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Block", "Closed", "Message", "Note", "Transcript", "TranscriptError", "event", "messages", "parse", "read"]

SWITCH: Final = "FS>APP"
APPLICATION: Final = "APP>FS"

_block = re.compile(rb"#### ([0-9]+\.[0-9]+) (FS>APP|APP>FS)\[([^]\n]+)\] ([0-9]{1,8})").fullmatch
_closed = re.compile(rb"#### ([0-9]+\.[0-9]+) \[([^]\n]+)\] (connection closed.*)").fullmatch


class TranscriptError(ValueError):
    """A file that is not a transcript; the message says where."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one side sent: usually one message, never one packet."""

    seconds: float
    sender: str
    tag: str
    data: bytes

    @property
    def by_switch(self) -> bool:
        """FreeSWITCH sent it."""
        return self.sender == SWITCH


@dataclass(frozen=True, slots=True)
class Closed:
    """FreeSWITCH closed a connection, or was seen to be gone from it."""

    seconds: float
    tag: str
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A line that says what was done."""

    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole recorded session."""

    entries: tuple[Block | Closed | Note, ...]

    @property
    def title(self) -> str:
        """The first note: which case this is."""
        return next((entry.text for entry in self.entries if isinstance(entry, Note)), "")

    @property
    def tags(self) -> tuple[str, ...]:
        """The connections, in the order in which they spoke."""
        return tuple(dict.fromkeys(entry.tag for entry in self.entries if isinstance(entry, Block)))

    def blocks(self, tag: str) -> tuple[Block, ...]:
        """What went over one connection."""
        return tuple(entry for entry in self.entries if isinstance(entry, Block) and entry.tag == tag)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of FreeSWITCH: its header block's lines taken apart, values as they stand, and its body."""

    headers: dict[str, str]
    body: bytes = b""
    after: bytes = field(default=b"", repr=False)
    """What of the bytes comes after this message."""

    @property
    def kind(self) -> str:
        """Its Content-Type."""
        return self.headers.get("Content-Type", "")


def read(path: Path) -> Transcript:
    """Read a file. Raises TranscriptError and OSError."""
    return parse(path.read_bytes(), str(path))


def parse(data: bytes, name: str = "transcript") -> Transcript:
    """Take a transcript's bytes apart. Raises TranscriptError."""
    entries: list[Block | Closed | Note] = []
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        if end < 0:
            raise TranscriptError(f"{name}: byte {at}: the last line has no end")
        line = data[at:end]
        at = end + 1
        if match := _block(line):
            size = int(match[4])
            if data[at + size : at + size + 1] != b"\n":
                raise TranscriptError(f"{name}: byte {at}: the block does not end after {size} bytes")
            sender, tag = match[2].decode("ascii"), match[3].decode("utf-8", "replace")
            entries.append(Block(float(match[1]), sender, tag, data[at : at + size]))
            at += size + 1
        elif match := _closed(line):
            entries.append(
                Closed(float(match[1]), match[2].decode("utf-8", "replace"), match[3].decode("utf-8", "replace"))
            )
        elif line.startswith(b"#") and not line.startswith(b"####"):
            entries.append(Note(line[1:].strip().decode("utf-8", "replace")))
        elif line:
            raise TranscriptError(f"{name}: byte {end - len(line)}: neither a block nor a note: {line[:60]!r}")
    return Transcript(tuple(entries))


def messages(data: bytes) -> tuple[Message, ...]:
    """The messages of some bytes of FreeSWITCH. What is no whole message is left out.

    A value of several lines, which getvar puts raw into the header block, is kept with its line breaks.
    """
    found: list[Message] = []
    data = data.lstrip(b"\n")  # one recorded peer sent a byte too few, so that its answer begins with what was left
    while True:
        head, end, rest = data.partition(b"\n\n")
        if not end:
            return tuple(found)
        headers: dict[str, str] = {}
        last = ""
        for line in head.decode("utf-8", "surrogateescape").split("\n"):
            name, colon, value = line.partition(": ")
            if colon and re.fullmatch(r"[\w-]+", name):
                headers[name] = value
                last = name
            elif last:
                headers[last] += "\n" + line
        length = headers.get("Content-Length", "0")
        size = int(length) if length.isdigit() and not head.startswith(b"Event-Name: ") else 0
        if len(rest) < size:
            return tuple(found)
        found.append(Message(headers, rest[:size], rest[size:]))
        data = rest[size:]


def event(message: Message) -> dict[str, str] | None:
    """The event that a message holds, its values decoded; None when it holds none. Arrays become one string."""
    if message.kind == "text/event-json":
        text = message.body.decode("utf-8", "replace")
        return {key: value if isinstance(value, str) else "|".join(value) for key, value in json.loads(text).items()}
    if message.kind == "text/event-plain":
        inner = messages(message.body)
        if inner:
            return {key: unquote_to_bytes(value).decode("utf-8", "replace") for key, value in inner[0].headers.items()}
    return None
