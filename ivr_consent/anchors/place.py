"""What every place has in common where checkpoints are shown outside of the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from ivr_consent.anchors.notes import Sealed
from ivr_consent.core.errors import ConsentError

MAX_PROOF: Final = 1 << 16
"""Bytes of what a place answers that are kept: a time-stamp with its certificates has a few thousand."""

READ_S: Final = 120.0
"""How long reading a place may take, seconds."""


Told = Callable[[str], None]
"""Is given what is wrong with something that is passed over, as a sentence."""


class AnchorError(ConsentError):
    """A checkpoint could not be shown at a place, or a place could not be read; says where and what to do."""


class Limit:
    """How long something may take, and whether it is wanted no longer (``stop``)."""

    def __init__(self, seconds: float, stop: threading.Event | None = None) -> None:
        self.seconds = seconds
        self.stop = stop or threading.Event()
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left; none when it is to stop."""
        return 0.0 if self.stop.is_set() else max(self._end - time.monotonic(), 0.0)

    def why(self) -> str:
        """Why nothing is left, to complete a sentence."""
        return "was stopped" if self.stop.is_set() else f"did not end within {self.seconds:g} s"


class Anchor(Protocol):
    """A place outside of the log."""

    name: str
    """``file``, ``journal``, ``command``, ``mail`` or ``timestamp``: as the log notes it."""

    where: str
    """For messages: which file, whom, what address."""

    every_s: float
    """Seconds that lie between two checkpoints at least."""

    timeout_s: float
    """Seconds that showing one may take."""

    readable: bool
    """Whether it can be read back without a hand."""

    def publish(self, sealed: Sealed, limit: Limit) -> bytes | None:
        """Show a checkpoint; what came back as proof, where something did. Raises :class:`AnchorError`."""
        ...

    def read(self, limit: Limit) -> Iterator[Sealed]:
        """The checkpoints that stand there, in their order, of whatever log. Raises :class:`AnchorError`."""
        ...
