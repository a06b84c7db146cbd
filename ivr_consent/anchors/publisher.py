"""Shows each new checkpoint at every place, each place on a thread of its own.

One that hangs or fails hinders neither the others nor a call. It is tried again, with longer and longer pauses, and
always with the newest checkpoint: that vouches for all before it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from ivr_consent.anchors.notes import Sealed
from ivr_consent.anchors.place import Anchor, Limit
from ivr_consent.core.errors import ConsentError
from ivr_consent.logs import get_logger
from ivr_consent.store.anchored import Anchored, AnchoredReader, add
from ivr_consent.store.chain import utc_text
from ivr_consent.store.ledger import Ledger
from ivr_consent.verifier import NoteError

PAUSES_S: Final = (5.0, 15.0, 60.0, 300.0, 900.0)
"""After the first, second, … failure in a row; then always the last."""

HANGS_S: Final = 60.0
"""An attempt that goes on for so much longer than it may is told: nothing ends a write to a dead network disk."""

STOPPED_S: Final = 0.5
"""How long the places have for ending once they are told to stop."""

Keep = Callable[[Anchored], None]
"""Notes in the log what was shown. Raises :class:`ConsentError`."""

log = get_logger()


def keeper(ledger: Ledger) -> Keep:
    """Notes it through a log that is open."""

    def keep(row: Anchored) -> None:
        ledger.transact(lambda _, database, __: add(database, row))

    return keep


class Publisher:
    """Made before the log is opened, which is given :meth:`published`; started once it is open."""

    def __init__(self, anchors: Sequence[Anchor]) -> None:
        self._anchors = tuple(anchors)
        self._keepers: tuple[_Keeper, ...] = ()
        self._newest: Sealed | None = None

    def start(self, keep: Keep, diary: AnchoredReader | None) -> None:
        """Begin, with the newest checkpoint where a place has not seen it. Raises :class:`LedgerError`.

        Without a ``diary`` with the next one there is, and whenever that is.
        """
        newest = None if diary is None else diary.newest()
        seen = [None if diary is None else diary.last(anchor.name) for anchor in self._anchors]
        self._keepers = tuple(_Keeper(anchor, keep, last) for anchor, last in zip(self._anchors, seen, strict=True))
        if newest is not None:
            self.published(newest)
        if self._newest is not None:
            self.published(self._newest.note)
        for keeper in self._keepers:
            keeper.start()

    def published(self, note: str) -> None:
        """A checkpoint is on disk. Returns at once."""
        try:
            sealed = Sealed.parse(note)
        except NoteError as error:  # the log was changed under us
            log.error("checkpoint_not_anchored", place="all", problem=str(error))
            return
        if self._newest is None or sealed.size > self._newest.size:
            self._newest = sealed
        for keeper in self._keepers:
            keeper.offer(sealed)

    def close(self, patience_s: float) -> None:
        """Give every place that is due and does not fail one more chance, and end within so many seconds."""
        end = time.monotonic() + patience_s
        for keeper in self._keepers:
            keeper.end()
        for keeper in self._keepers:
            keeper.join(max(end - time.monotonic(), 0.0))
        late = [keeper for keeper in self._keepers if keeper.is_alive()]
        for keeper in late:
            keeper.stop.set()
        end = time.monotonic() + STOPPED_S
        for keeper in late:
            keeper.join(max(end - time.monotonic(), 0.0))
            log.warning("anchor_cut_off", place=keeper.anchor.name, where=keeper.anchor.where)


class _Keeper(threading.Thread):
    """Shows the newest checkpoint at one place, whenever it is due."""

    def __init__(self, anchor: Anchor, keep: Keep, last: Anchored | None) -> None:
        super().__init__(name=f"anchor-{anchor.name}", daemon=True)
        self.anchor, self._keep = anchor, keep
        self.stop = threading.Event()
        self._changed = threading.Condition()
        self._newest: Sealed | None = None
        self._shown = -1 if last is None else last.size
        self._due = time.monotonic() + (0.0 if last is None else _left(anchor.every_s, last.time))
        self._closing = False
        self._failures = 0
        self._began: float | None = None
        self._hang_told = self._keep_failed = False

    def offer(self, sealed: Sealed) -> None:
        """There is a new checkpoint."""
        with self._changed:
            if self._newest is None or sealed.size > self._newest.size:
                self._newest = sealed
                self._changed.notify()
            late = self._began is not None and time.monotonic() - self._began > self.anchor.timeout_s + HANGS_S
            tell = late and not self._hang_told
            self._hang_told = late
        if tell:
            log.error(
                "anchor_hangs", place=self.anchor.name, where=self.anchor.where, remedy="see its disk, or network"
            )

    def end(self) -> None:
        """Do what is due, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def run(self) -> None:
        """Until :meth:`end`."""
        while (sealed := self._next()) is not None:
            self._attempt(sealed)

    def _next(self) -> Sealed | None:
        with self._changed:
            while True:
                behind = self._newest is not None and self._newest.size > self._shown
                left = self._due - time.monotonic()
                if behind and left <= 0:
                    self._began = time.monotonic()
                    return self._newest
                if self._closing:
                    return None
                self._changed.wait(left if behind else None)

    def _attempt(self, sealed: Sealed) -> None:
        anchor = self.anchor
        try:
            proof = anchor.publish(sealed, Limit(anchor.timeout_s, self.stop))
        except Exception as error:  # noqa: BLE001 - the root of a thread: whatever is wrong, the next attempt comes
            self._failed(error)
        else:
            self._succeeded(sealed, proof)

    def _failed(self, error: Exception) -> None:
        problem = str(error) if isinstance(error, ConsentError) else f"{type(error).__name__}: {error}"
        if not self._failures and not self.stop.is_set():
            log.error("checkpoint_not_anchored", place=self.anchor.name, problem=problem)
        pause = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        with self._changed:
            self._failures += 1
            self._due = time.monotonic() + pause
            self._began = None

    def _succeeded(self, sealed: Sealed, proof: bytes | None) -> None:
        if self._failures:
            log.info("checkpoint_anchored_again", place=self.anchor.name, failures=self._failures)
        with self._changed:
            self._failures = 0
            self._shown = sealed.size
            self._due = time.monotonic() + self.anchor.every_s
            self._began = None
        try:
            self._keep(anchored(self.anchor, sealed, proof))
            self._keep_failed = False
        except ConsentError as error:
            # It is shown, which is what counts; the next start may show it there once more.
            if not self._keep_failed:
                log.warning("anchor_not_noted", place=self.anchor.name, problem=str(error))
            self._keep_failed = True


def anchored(anchor: Anchor, sealed: Sealed, proof: bytes | None) -> Anchored:
    """What is noted of a checkpoint that was shown at a place just now."""
    return Anchored(sealed.size, anchor.name, utc_text(datetime.now(UTC)), proof)


def _left(every_s: float, last: str) -> float:
    """Seconds until a place is due that was served last at that time (UTC, as in the log)."""
    try:
        passed = (datetime.now(UTC) - datetime.fromisoformat(last)).total_seconds()
    except (ValueError, TypeError):
        return 0.0  # not a time of ours
    return min(max(every_s - passed, 0.0), every_s)
