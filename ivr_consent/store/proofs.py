"""Hashes of the log's tree, for proofs: that an event is in it, that a checkpoint is the beginning of a later one."""

from __future__ import annotations

from typing import Final

from ivr_consent.core.errors import LedgerError
from ivr_consent.store.chain import NODE_LEVELS
from ivr_consent.store.database import Database
from ivr_consent.verifier import (
    HASH_BYTES,
    Event,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf,
    leaf_hash,
    node_hash,
)

_BLOCK: Final = 1 << NODE_LEVELS
"""Leaves under one kept node: so many are read at once."""


class Proofs:
    """Makes proofs from a log that is read. Raises :class:`LedgerError` where a hash is not there.

    It trusts what the log says: whoever gets a proof checks it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        row = database.execute("SELECT size, last_leaf, trunk_size, trunk_peaks FROM log").fetchone()
        if row is None:
            raise self._gone()
        self.size, self._last, self._trunk, peaks = row
        hashes = [bytes(peaks[at : at + HASH_BYTES]) for at in range(0, len(peaks), HASH_BYTES)]
        try:
            self._peaks = dict(zip(_places(self._trunk), Tree(self._trunk, hashes).peaks, strict=True))
        except ValueError:
            raise self._gone() from None
        self._block: tuple[int, list[bytes]] = (-1, [])
        self._kept: dict[tuple[int, int], bytes] = {}

    def inclusion(self, sequence: int, size: int) -> list[bytes]:
        """The proof that an event is in the tree of the first ``size`` events."""
        if not self._trunk < sequence <= size <= self.size:
            raise LedgerError(f"there is no event {sequence} of {size} in the log {self._database.name}")
        return inclusion_proof(sequence - 1, size, self._subtree)

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The proof that the tree of ``first`` events is the beginning of that of ``second``."""
        if not self._trunk <= first <= second <= self.size:
            raise LedgerError(f"there are no {first} and {second} events in the log {self._database.name}")
        return consistency_proof(first, second, self._subtree)

    def _subtree(self, level: int, number: int) -> bytes:
        place = level, number
        found = self._peaks.get(place) or self._kept.get(place)
        if found is not None:
            return found
        if level == 0:
            return self._leaf(number)
        kept = None
        if level % NODE_LEVELS == 0:
            row = self._database.execute("SELECT hash FROM nodes WHERE level = ? AND number = ?", place).fetchone()
            kept = None if row is None else bytes(row[0])
        if kept is None:
            kept = node_hash(self._subtree(level - 1, 2 * number), self._subtree(level - 1, 2 * number + 1))
        if level >= NODE_LEVELS:  # few, and asked for by each further proof
            self._kept[place] = kept
        return kept

    def _leaf(self, index: int) -> bytes:
        begin = index - index % _BLOCK
        if self._block[0] != begin:
            self._block = begin, self._leaves(begin)
        leaves = self._block[1]
        if index - begin >= len(leaves) or not leaves[index - begin]:
            raise self._gone()
        return leaves[index - begin]

    def _leaves(self, begin: int) -> list[bytes]:
        """The hashes of up to 256 leaves: each event holds that of the one before."""
        end = min(begin + _BLOCK, self.size)
        leaves = [b""] * (end - begin)
        for sequence, previous in self._database.execute(
            "SELECT sequence, previous FROM events WHERE sequence > ? AND sequence <= ?", (begin + 1, end + 1)
        ).fetchall():
            leaves[sequence - begin - 2] = bytes(previous)
        for sequence, hashed in self._database.execute(
            "SELECT sequence, leaf FROM pruned WHERE sequence > ? AND sequence <= ?", (begin, end)
        ).fetchall():
            leaves[sequence - begin - 1] = bytes(hashed)
        if end == self.size:
            leaves[-1] = bytes(self._last)
        for at, hashed in enumerate(leaves):
            if not hashed and begin + at >= self._trunk:  # the one behind it is pruned
                leaves[at] = self._hash(begin + at + 1)
        return leaves

    def _hash(self, sequence: int) -> bytes:
        columns = "sequence, time, kind, call_id, line, outcome, payload, commitment, previous"
        row = self._database.execute(f"SELECT {columns} FROM events WHERE sequence = ?", (sequence,)).fetchone()  # noqa: S608 - fixed columns
        try:
            return b"" if row is None else leaf_hash(leaf(Event(*row)))
        except (TypeError, ValueError, AttributeError):
            return b""

    def _gone(self) -> LedgerError:
        return LedgerError(f"the log {self._database.name} has not all hashes of its tree; see: ivr-consent log verify")


def _places(size: int) -> list[tuple[int, int]]:
    """Level and number of the complete subtrees of a tree, the largest first."""
    return [(level, (size >> level) - 1) for level in reversed(range(size.bit_length())) if size >> level & 1]
