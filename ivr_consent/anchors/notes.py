"""Checkpoints as texts: one that was signed, and finding them in whatever they were kept in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ivr_consent.store.sealing import NAME
from ivr_consent.verifier import Checkpoint, NoteError

MAX_LINE: Final = 1000
"""Characters. A line of a note has about a hundred; a longer one is no line of a note."""

MAX_SIGNATURES: Final = 32
"""The log's own, and those of witnesses; more are left away."""

_SHAPE: Final = (
    re.compile(rf"{NAME}/[0-9a-f]{{1,64}}"),
    re.compile(r"0|[1-9][0-9]{0,17}"),
    re.compile(r"[A-Za-z0-9+/]{43}="),
    re.compile(r"time [0-9T:.+-]{10,40}"),
    re.compile(r"next [!-~]{1,300}"),
    re.compile(r""),
)
"""The lines of a checkpoint before its signatures: origin, size, root, time, next key, an empty one."""

_SIGNATURE: Final = re.compile("\u2014 [!-*,-~]{1,200} [A-Za-z0-9+/]{6,300}={0,2}")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A signed checkpoint: the note as it is shown, and what it says. Its signature is for the verifier to judge."""

    note: str
    checkpoint: Checkpoint

    @classmethod
    def parse(cls, note: str) -> Sealed:
        """Raises :class:`~ivr_consent.verifier.NoteError`."""
        text, gap, _ = note.rpartition("\n\n")
        if not gap:
            raise NoteError("not a signed note")
        return cls(note, Checkpoint.parse(f"{text}\n"))

    @property
    def size(self) -> int:
        """How many events it is about."""
        return self.checkpoint.size

    @property
    def log_id(self) -> str:
        """Which log it is of."""
        return self.checkpoint.origin.partition("/")[2]


def notes_in(chunks: Iterable[bytes]) -> Iterator[Sealed]:
    """Every signed checkpoint in a text, in its order; what stands around them is passed over.

    The text may be of any length and hold anything: a line at a time is kept, and one note.
    """
    found: list[str] = []
    for line in lines(chunks):
        shape = _SHAPE[len(found)] if len(found) < len(_SHAPE) else _SIGNATURE
        if shape.fullmatch(line):
            if len(found) < len(_SHAPE) + MAX_SIGNATURES:
                found.append(line)
            continue
        yield from _whole(found)
        found = [line] if _SHAPE[0].fullmatch(line) else []
    yield from _whole(found)


def _whole(found: list[str]) -> Iterator[Sealed]:
    if len(found) > len(_SHAPE):
        try:
            yield Sealed.parse("".join(f"{line}\n" for line in found))
        except NoteError:
            return


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """The lines of a text that comes in pieces, without their ends. One that is too long is given as nothing but its
    beginning."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield _text(line)
        rest = rest[: 4 * MAX_LINE]
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r")[: 4 * MAX_LINE].decode("utf-8", "replace")[:MAX_LINE]
