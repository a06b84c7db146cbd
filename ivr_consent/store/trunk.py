"""The trunk: the oldest events, of which nothing is left but the roots of the tree that a checkpoint has sealed."""

from __future__ import annotations

from typing import Final

from ivr_consent.core.errors import ConsentError
from ivr_consent.store.database import Database
from ivr_consent.store.due import EVENT, LASTING
from ivr_consent.verifier import HASH_BYTES, Checkpoint, Event, NoteError, Tree, leaf, leaf_hash

PINNED: Final = frozenset({"key_replaced"})
"""Kinds of events that a verifier needs for as long as there is a log: where the chain of keys has a break. The trunk
ends before them."""

STEP: Final = 500
"""Events that a transaction takes into the trunk, if there is a checkpoint there; else up to the next one."""


class NotWhole(ConsentError):
    """What should become the trunk is not what its checkpoint sealed."""


def next_trunk(database: Database, cut: str) -> tuple[int, Tree, bytes, list[int]] | None:
    """The next trunk: the size of the old one, the tree up to it, its last leaf, and which events of it last.

    ``None`` when there is none yet. Raises :class:`NotWhole`: nothing is taken away that could still tell what is
    wrong.
    """
    row = database.execute("SELECT trunk_size, trunk_peaks, trunk_leaf FROM log").fetchone()
    assert row is not None
    before, peaks, last = row[0], bytes(row[1]), bytes(row[2])
    kinds = sorted(LASTING - PINNED)
    marks = ", ".join("?" * len(kinds))
    blocker = database.execute(
        f"SELECT sequence FROM events WHERE NOT (kind IN ({marks}) AND time < ?) ORDER BY sequence LIMIT 1",  # noqa: S608 - question marks
        (*kinds, cut),
    ).fetchone()
    if blocker is None:
        return None
    checkpoint = _checkpoint(database, before, blocker[0] - 1)
    if checkpoint is None:
        return None
    size, root = checkpoint
    tree = Tree(before, [peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES)])
    query = f"SELECT {EVENT} FROM events WHERE sequence > ? AND sequence <= ?"  # noqa: S608 - fixed columns
    lasting = {row[0]: leaf_hash(leaf(Event(*row))) for row in database.execute(query, (before, size))}
    query = "SELECT sequence, leaf FROM pruned WHERE sequence > ? AND sequence <= ?"
    hashes = {row[0]: bytes(row[1]) for row in database.execute(query, (before, size))} | lasting
    for sequence in range(before + 1, size + 1):
        if sequence not in hashes:
            raise NotWhole(f"event {sequence} is missing")
        last = hashes[sequence]
        tree.append(last)
    if tree.root() != root:
        raise NotWhole(f"events {before + 1} to {size} are not what the checkpoint over {size} events sealed")
    return before, tree, last, sorted(lasting)


def _checkpoint(database: Database, after: int, until: int) -> tuple[int, bytes] | None:
    """Size and root of the checkpoint to go to next."""
    query = "SELECT size, note FROM checkpoints WHERE size > ? AND size <= ? ORDER BY size {} LIMIT 1"
    row = (
        database.execute(query.format("DESC"), (after, min(until, after + STEP))).fetchone()
        or database.execute(query.format("ASC"), (after, until)).fetchone()
    )
    if row is None:
        return None
    try:
        found = Checkpoint.parse(row[1].rpartition("\n\n")[0] + "\n")
    except NoteError as error:
        raise NotWhole(f"the checkpoint over {row[0]} events is none ({error})") from None
    if found.size != row[0]:
        raise NotWhole(f"the checkpoint over {row[0]} events is one over {found.size}")
    return found.size, found.root
