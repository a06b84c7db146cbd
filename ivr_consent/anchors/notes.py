"""Checkpoints as texts: one that was signed, and finding them in whatever they were kept in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ivr_consent.verifier import Checkpoint, NoteError, notes

MAX_LINE: Final = 1000
"""Characters. A line of a note has about a hundred; of a longer one the beginning is looked at."""


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
    for note in notes(lines(chunks)):
        try:
            yield Sealed.parse(note)
        except NoteError:
            continue  # of the form, and not a checkpoint: its key's name is none, say


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
