"""Which checkpoints have been shown outside of the log, where, and what came back.

The table is a diary, not evidence: who changes the log can change it too. What stands outside is read there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from ivr_consent.store.database import Database, cannot_read
from ivr_consent.store.place import Place, open_for_reading

MAX_BYTES: Final = 1 << 16
"""A longer note, or proof, is none of ours and is not read."""


class Anchored(NamedTuple):
    """A checkpoint of ``size`` events was shown at ``place`` (``file``, ``journal``, …) at ``time``, UTC as in the log.

    ``proof``: what came back, such as a time-stamp or the id of a mail.
    """

    size: int
    place: str
    time: str
    proof: bytes | None


def add(database: Database, row: Anchored) -> None:
    """Note it, in a transaction; the first time counts where it was shown again."""
    database.execute("INSERT INTO anchors VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)


class AnchoredReader:
    """Reads the diary, and the checkpoints themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self) -> str | None:
        """The newest checkpoint of the log."""
        found = self._rows(
            "SELECT note FROM checkpoints WHERE length(note) <= ? ORDER BY size DESC LIMIT 1", [MAX_BYTES]
        )
        return _text(found[0][0]) if found else None

    def note(self, size: int) -> str | None:
        """The checkpoint of so many events."""
        found = self._rows("SELECT note FROM checkpoints WHERE size = ? AND length(note) <= ?", [size, MAX_BYTES])
        return _text(found[0][0]) if found else None

    def log_id(self) -> str:
        """The log's id."""
        ((found,),) = self._rows("SELECT log_id FROM log", [])
        return str(found)

    def last(self, place: str) -> Anchored | None:
        """The newest checkpoint that was shown at a place; without its proof."""
        query = "SELECT size, place, time, NULL FROM anchors WHERE place = ? ORDER BY size DESC LIMIT 1"
        found = self._rows(query, [place])
        if not found or not isinstance(found[0][0], int) or not isinstance(found[0][2], str):
            return None
        return Anchored(*found[0])

    def proofs(self, place: str) -> Iterator[tuple[Anchored, str | None]]:
        """What came back from a place, oldest first, with the note of the checkpoint that it is about."""
        query = (
            "SELECT a.size, a.place, a.time, a.proof, c.note FROM anchors AS a LEFT JOIN checkpoints AS c "
            "ON c.size = a.size AND length(c.note) <= ? "
            "WHERE a.place = ? AND a.size > ? AND length(a.proof) <= ? ORDER BY a.size LIMIT 50"
        )
        size = -1
        while page := self._rows(query, [MAX_BYTES, place, size, MAX_BYTES]):
            for size, found, time, proof, note in page:
                if isinstance(size, int) and isinstance(proof, bytes | memoryview):
                    yield Anchored(size, str(found), str(time), bytes(proof)), _text(note)

    def _rows(self, query: str, values: list[Any]) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except self._database.errors as error:
            raise cannot_read(self._database.name, error) from None


def _text(value: Any) -> str | None:
    """What somebody else wrote past us may be of any type."""
    return value if isinstance(value, str) else None


@contextmanager
def reading(place: Place) -> Iterator[AnchoredReader]:
    """Read the diary of a log that others may be writing. Raises :class:`LedgerError`."""
    database = open_for_reading(place)
    try:
        yield AnchoredReader(database)
    finally:
        database.close()
