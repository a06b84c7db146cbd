"""What is asked of the writer thread beside events: work that is done inside a transaction of the log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar, cast

from ivr_consent.core.errors import LedgerError
from ivr_consent.store.chain import Chain
from ivr_consent.store.database import Database

WORK_DEADLINE_S: Final = 30.0
"""How long whoever asked waits; calls go first."""

T = TypeVar("T")

Work = Callable[[Chain, Database, str], T]
"""Is given the log's end, the connection, and the time (as it stands in the log) of all that is appended."""


class Request(Generic[T]):
    """Work on its way to the writer thread.

    ``apart``: done in a transaction of its own, so that what goes wrong in it goes wrong for nobody else. Else it
    shares the commit of whatever waits.
    """

    def __init__(self, work: Work[T], *, apart: bool) -> None:
        self._work, self.apart = work, apart
        self._done = threading.Event()
        self._made: T | None = None
        self._error: Exception | None = None
        self._written = False
        self.abandoned = False

    def answer(self, chain: Chain, database: Database, time: str) -> None:
        """In the transaction, on the writer thread."""
        self._made = self._work(chain, database, time)

    def finish(self, *, written: bool, error: Exception | None = None) -> None:
        """After the transaction: whether it is on disk, and what ended it if it is not."""
        self._written, self._error = written, error
        self._done.set()

    def finished(self, timeout: float) -> T | None:
        """What the work made, when it is on disk; ``None`` when it is not, or not within so many seconds."""
        return self._made if self._done.wait(timeout) and self._written else None

    def result(self, timeout: float) -> T:
        """What the work made. Raises what the work raised, and :class:`LedgerError` when it was not written in time."""
        if not self._done.wait(timeout):
            self.abandoned = True
            raise LedgerError("the log is too slow to be changed now; see what was done and run this again")
        if not self._written:
            raise self._error or LedgerError("the log could not be written; make room, and run this again")
        return cast("T", self._made)  # which may be None itself
