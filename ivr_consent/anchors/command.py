"""A program of the site's: it takes each checkpoint on standard input, and may give them back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ivr_consent.anchors.notes import Sealed, notes_in
from ivr_consent.anchors.place import MAX_PROOF, AnchorError, Limit
from ivr_consent.anchors.programs import give, take
from ivr_consent.config_anchors import CommandAnchor as Table

_REMEDY: Final = "see log.anchors.command"


class CommandAnchor:
    """What it writes on standard output is kept as proof: a receipt, a number, an address."""

    name = "command"

    def __init__(self, table: Table) -> None:
        self.where = table.run[0]
        self.every_s, self.timeout_s = table.every_hours * 3600.0, float(table.timeout_seconds)
        self.readable = table.read is not None
        self._run, self._read = table.run, table.read

    def publish(self, sealed: Sealed, limit: Limit) -> bytes | None:
        """As :meth:`ivr_consent.anchors.place.Anchor.publish`; it failed when the exit code is not 0."""
        return give(self._run, sealed.note.encode(), limit, MAX_PROOF, _REMEDY).strip() or None

    def read(self, limit: Limit) -> Iterator[Sealed]:
        """As :meth:`ivr_consent.anchors.place.Anchor.read`."""
        if self._read is None:
            raise AnchorError("the command has no way back; give log.anchors.command.read")
        return notes_in(take(self._read, limit, _REMEDY))
