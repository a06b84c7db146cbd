"""The log of decisions: one writer thread, one commit for all that wait, on disk before anyone is told.

This is the only place where a :class:`~ivr_consent.core.decision.Grant` is made (I1): after the commit of a granted
decision has returned from the disk.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, NamedTuple

from ivr_consent.core.decision import Decision, Grant, Outcome, canonical
from ivr_consent.core.errors import LedgerError
from ivr_consent.core.steps import Failed, Granted, Logged
from ivr_consent.logs import get_logger
from ivr_consent.store.chain import Chain, Entry, prepared, utc_now, utc_text
from ivr_consent.store.database import Database
from ivr_consent.store.decided import decision_entry
from ivr_consent.store.personal import split
from ivr_consent.store.place import Place, open_for_writing
from ivr_consent.store.reader import LedgerReader
from ivr_consent.store.sealer import Published, Sealer
from ivr_consent.store.work import WORK_DEADLINE_S, Request, T, Work

COMMIT_DEADLINE_S: Final = 2.0
"""How long a caller waits for the disk before going on unrecorded. A healthy disk answers in milliseconds."""

RETRY_S: Final = 5.0
"""Pause between attempts to write what the disk refused."""

MAX_UNWRITTEN: Final = 10_000
"""Events kept in memory while the disk refuses (about 20 MB); the oldest go first then."""

MAX_BATCH: Final = 512
"""Events in one commit: bounds how long the first of them waits for the last."""

CLOSE_DEADLINE_S: Final = 30.0
"""How long closing waits for the disk."""

MAX_DOUBTS: Final = 16
"""Failed commits of which it is remembered what they may have written; the newest ones can turn out to be there."""

_UNWRITABLE: Final = (TypeError, ValueError, OverflowError)
"""What an event raises that no database takes."""

log = get_logger()

Written = Granted | Logged | Failed
Dispatch = Callable[[list[Callable[[], None]]], None]


class Ticket:
    """One event on its way to disk. ``done`` is called once, unless the ticket is abandoned first."""

    __slots__ = ("abandoned", "decision", "done", "entry", "kind", "prepared", "sequence", "told")

    def __init__(self, entry: Entry, done: Callable[[Written], None] | None, decision: Decision | None = None) -> None:
        self.entry, self.done, self.decision = entry, done, decision
        self.prepared = prepared(entry)  # on the thread of whoever brings it: the writer's is everybody's
        self.kind = entry.kind
        self.abandoned = self.told = False
        self.sequence = 0

    @property
    def grants(self) -> bool:
        return self.decision is not None and self.decision.outcome is Outcome.GRANTED

    def abandon(self) -> bool:
        """Nobody waits any more: no Grant comes of it, and if it was written after all, a grant_void follows.

        False when it is being answered at this moment.
        """
        with _TELLING:
            self.abandoned = not self.told
            return self.abandoned

    def is_told(self) -> bool:
        """Whether somebody still waits and is told now."""
        with _TELLING:
            self.told = not self.abandoned
            return self.told


_TELLING: Final = threading.Lock()
"""A ticket is either told or abandoned. Held for no time worth speaking of."""


class _State(Enum):
    """What is known of the connection: :meth:`Database.settle` has been asked, or not yet, or there is none."""

    CLOSED = auto()
    OPENED = auto()
    SETTLED = auto()


class _Doubt(NamedTuple):
    """A commit that failed may be in the log all the same: then the log has this leaf as its entry ``size``."""

    size: int
    last_leaf: bytes
    batch: tuple[Ticket, ...]


class Ledger:
    """An open log. ``dispatch`` carries finished callbacks to the caller's thread; default: the writer thread.

    ``seals``: whether this process signs checkpoints when they are due, and one at its end; ``published`` is told each.
    A process that writes one call seals only what is due.
    """

    def __init__(
        self,
        place: Place | Path,
        *,
        dispatch: Dispatch | None = None,
        clock: Callable[[], datetime] = utc_now,
        seals: bool = False,
        published: Published | None = None,
    ) -> None:
        self.place = place if isinstance(place, Place) else Place(place)
        self._database: Database = open_for_writing(self.place, clock)
        self._chain = Chain(self._database)
        self._state = _State.OPENED
        self._mark = self.place.mark()
        self._doubts: deque[_Doubt] = deque(maxlen=MAX_DOUBTS)
        self._dispatch = dispatch or _call_here
        self._clock = clock
        self._queue: queue.SimpleQueue[Ticket | Request[Any] | None] = queue.SimpleQueue()
        self._unwritten: deque[Ticket] = deque(maxlen=MAX_UNWRITTEN)
        self._shared: list[Request[Any]] = []
        self._apart_requests: list[Request[Any]] = []
        self.healthy = True
        self._closing = False
        self._thread = threading.Thread(target=self._write_until_closed, name="ledger", daemon=True)
        self._sealer = Sealer(self.place, self._queue.put, published=published, goes_on=seals)
        self._thread.start()

    def reader(self) -> LedgerReader:
        """A reader of this log."""
        return LedgerReader(self.place)

    # --- writing -----------------------------------------------------------------------------------------------------

    def decide(self, decision: Decision, done: Callable[[Written], None]) -> Ticket:
        """Write the one decision of a call. ``done`` gets Granted, Logged or Failed.

        A granted decision is tried once; any other is kept and tried again while the disk refuses.
        """
        ticket = Ticket(decision_entry(decision), done, decision)
        self._queue.put(ticket)
        return ticket

    def note(
        self, call_id: str, line: str, kind: str, details: Mapping[str, Any], done: Callable[[Written], None] | None
    ) -> Ticket:
        """Write a further event of a call."""
        return self._note(call_id, line, kind, details, done)

    def tell(self, kind: str, details: Mapping[str, Any], line: str | None = None) -> Ticket:
        """Write an event of the service, which belongs to no call."""
        return self._note(None, line, kind, details, None)

    def _note(
        self,
        call_id: str | None,
        line: str | None,
        kind: str,
        details: Mapping[str, Any],
        done: Callable[[Written], None] | None,
    ) -> Ticket:
        public, personal = split(details)
        ticket = Ticket(Entry(kind, call_id, line, None, canonical(public), personal, None), done)
        self._queue.put(ticket)
        return ticket

    def void(self, ticket: Ticket) -> None:
        """Say in the log that a grant written too late was not used."""
        details = {"reason": "log_too_slow", "route": "unrecorded"}
        self._note(ticket.entry.call_id, ticket.entry.line, "grant_void", details, None)

    def decide_now(self, decision: Decision, timeout: float = COMMIT_DEADLINE_S) -> Written:
        """Blocking form of :meth:`decide`, seconds; for programs without an event loop."""
        return self._wait(lambda done: self.decide(decision, done), timeout)

    def note_now(
        self, call_id: str, line: str, kind: str, details: Mapping[str, Any], timeout: float = COMMIT_DEADLINE_S
    ) -> Written:
        """Blocking form of :meth:`note`, seconds."""
        return self._wait(lambda done: self.note(call_id, line, kind, details, done), timeout)

    def tell_now(
        self, kind: str, details: Mapping[str, Any], line: str | None = None, timeout: float = COMMIT_DEADLINE_S
    ) -> Written:
        """Blocking form of :meth:`tell`, seconds."""
        return self._wait(lambda done: self._note(None, line, kind, details, done), timeout)

    def _wait(self, submit: Callable[[Callable[[Written], None]], Ticket], timeout: float) -> Written:
        box: queue.SimpleQueue[Written] = queue.SimpleQueue()
        ticket = submit(box.put)
        try:
            return box.get(timeout=timeout)
        except queue.Empty:
            return Failed("log_too_slow") if ticket.abandon() else box.get(timeout=timeout)

    def seal(self) -> str | None:
        """Sign a checkpoint over all that is written, now; the note, or ``None`` when there is nothing new.

        Blocking. Raises :class:`LedgerError` when it cannot be sealed.
        """
        return self._sealer.seal()

    def transact(self, work: Work[T], timeout: float = WORK_DEADLINE_S) -> T:
        """Have work done in a transaction of its own, on the writer thread, and wait for it so many seconds.

        Blocking. Raises what the work raises, when nothing was changed, and :class:`LedgerError` when the log could not
        be written.
        """
        if self._closing:
            raise LedgerError("the log is being closed; run this again")
        request = Request(work, apart=True)
        self._queue.put(request)
        return request.result(timeout)

    def close(self) -> None:
        """Write what is queued, try once more what was refused, seal what is due, and close."""
        self._closing = True
        self._sealer.close()
        self._queue.put(None)
        self._thread.join(timeout=CLOSE_DEADLINE_S)
        if not self._thread.is_alive() and self._state is not _State.CLOSED:  # else the disk does not answer at all
            self._state = _State.CLOSED
            self._database.close()
        self._mark.close()

    # --- the writer thread ------------------------------------------------------------------------------------------

    def _write_until_closed(self) -> None:
        self._begin()
        closing = False
        while not closing:
            batch: list[Ticket] = []
            try:
                first = self._queue.get(timeout=RETRY_S if self._unwritten or self._doubts else None)
                while True:
                    if first is None:
                        closing = True
                    elif isinstance(first, Request):
                        (self._apart_requests if first.apart else self._shared).append(first)
                    else:
                        batch.append(first)
                    if len(batch) >= MAX_BATCH:
                        break
                    first = self._queue.get_nowait()
            except queue.Empty:
                pass
            late = list(self._unwritten)
            self._unwritten.clear()
            batch = [ticket for ticket in late + batch if not (ticket.abandoned and ticket.grants)]
            while batch or self._shared or self._doubts:
                self._dispatch_safely(self._commit(batch[:MAX_BATCH]))
                batch = batch[MAX_BATCH:]
                if not self.healthy:  # what the disk has to say to the rest would be the same
                    self._dispatch_safely([self._refused(ticket) for ticket in batch])
                    break
            while self._apart_requests:
                self._do(self._apart_requests.pop(0))

    def _begin(self) -> None:
        """What an earlier process may have left unfinished is brought to disk before anyone adds to it."""
        try:
            self._opened()
        except Exception as error:  # noqa: BLE001 - said, and tried again with the first batch
            self._give_up(error)

    def _dispatch_safely(self, callbacks: list[Callable[[], None]]) -> None:
        try:
            self._dispatch(callbacks)
        except Exception:  # nobody there to be told (a loop that closed): the log itself goes on
            log.exception("ledger_callbacks_lost", count=len(callbacks))

    def _commit(self, batch: list[Ticket]) -> list[Callable[[], None]]:
        requests, self._shared = self._shared, []
        try:
            written = self._transaction(batch, requests)
        except Exception as error:  # noqa: BLE001 - the writer's root: whatever is wrong, it refuses this batch, goes on
            for request in requests:
                request.finish(written=False)
            self._give_up(error)
            if isinstance(error, _UNWRITABLE):  # not the disk's fault: one ticket's, and it is not the others'
                return self._apart(batch, error)
            return [self._refused(ticket) for ticket in batch]
        for request in requests:
            request.finish(written=True)
        if not self.healthy:
            log.info("log_written_again", path=self.place.name)
        self.healthy = True
        self._doubts.clear()  # what was in doubt and was not found has been written over
        self._mark.set(self._chain.log_id, self._chain.tree.size)
        self._sealer.written(self._chain.tree.size - self._chain.sealed)
        return [self._accepted(ticket) for ticket in written]

    def _do(self, request: Request[Any]) -> None:
        """Work in a transaction of its own: what it refuses or does wrong is told to whoever asked, and nobody else."""
        if request.abandoned:
            return
        if self._doubts:  # the disk refuses just now; events go first
            request.finish(written=False)
            return
        try:
            self._transaction([], [request])
        except Exception as error:  # noqa: BLE001 - the writer's root, as for a batch
            if isinstance(error, (self._database.errors, OSError, LedgerError)):
                self._give_up(error)
                error = LedgerError(f"the log could not be written ({error}); see its disk, and run this again")
            else:
                self._database.rollback()
            request.finish(written=False, error=error)
            return
        self._doubts.clear()
        self._mark.set(self._chain.log_id, self._chain.tree.size)
        self._sealer.written(self._chain.tree.size - self._chain.sealed)
        request.finish(written=True)

    def _transaction(self, batch: list[Ticket], requests: list[Request[Any]]) -> list[Ticket]:
        """Write a batch; those of it that are now in the log. Raises what the database raises."""
        database, chain = self._opened()
        database.begin()
        chain.load()
        time = self._time(chain)
        batch = self._found_after_all(batch, time)
        self._append(batch, time)
        for request in requests:
            request.answer(chain, database, time)
        chain.save()
        self._doubts.append(_Doubt(chain.tree.size, chain.last_leaf, tuple(batch)))
        database.commit()
        if not database.in_place():
            raise LedgerError(f"the log {self.place.name} was moved, removed or replaced while it was being written")
        return batch

    def _opened(self) -> tuple[Database, Chain]:
        """The connection: opened anew after an error, when everything about the log is looked at again."""
        if self._state is not _State.CLOSED and not self._database.alive():
            self._state = _State.CLOSED  # the database server was restarted while nobody wrote
            self._database.close()
        if self._state is _State.CLOSED:
            self._database = open_for_writing(self.place, self._clock)
            self._chain = Chain(self._database)
            self._state = _State.OPENED
        if self._state is _State.OPENED:
            self._database.settle(failed=not self.healthy)
            self._state = _State.SETTLED
        return self._database, self._chain

    def _give_up(self, error: Exception) -> None:
        """End the transaction, and the connection where it may be of no more use."""
        if not isinstance(error, _UNWRITABLE):
            if self.healthy:
                log.error("log_not_written", problem=f"{type(error).__name__}: {error}", path=self.place.name)
            self.healthy = False
        if self._state is _State.CLOSED:
            return
        self._database.rollback()
        if self._database.must_reopen(error):
            self._state = _State.CLOSED
            self._database.close()

    def _apart(self, batch: list[Ticket], error: Exception) -> list[Callable[[], None]]:
        """Write each of a batch alone; one that cannot be written at all is given up, and told as what it is."""
        if len(batch) > 1:
            return [callback for ticket in batch for callback in self._commit([ticket])]
        log.error("event_not_writable", kind=batch[0].entry.kind if batch else "seal", problem=repr(error))
        self.healthy = self.healthy and bool(batch)
        return [self._refused(ticket, again=False) for ticket in batch]

    def _found_after_all(self, batch: list[Ticket], time: str) -> list[Ticket]:
        """What a commit that failed has written all the same is not written again; a grant in it, refused to its
        caller, is voided. The rest of the batch."""
        there = [doubt for doubt in self._doubts if self._chain.has(doubt.size, doubt.last_leaf)]
        if not there:
            return batch
        written = {id(ticket) for doubt in there for ticket in doubt.batch}
        for ticket in there[-1].batch:  # which has voided the grants of those before it
            if ticket.grants and ticket.kind == "decision":
                self._chain.append(_void(ticket.entry, {"reason": "log_not_written"}), time)
        return [ticket for ticket in batch if id(ticket) not in written]

    def _time(self, chain: Chain) -> str:
        """The time of this commit's events. A clock that was set back is told in the log, so that it is no riddle."""
        time = utc_text(self._clock())
        if time < chain.last_time:
            details = {"before": chain.last_time, "after": time}
            chain.append(Entry("clock_set_back", None, None, None, canonical(details), None, None), time)
            chain.last_time = time
        return time

    def _append(self, batch: list[Ticket], time: str) -> None:
        sequences = self._chain.append_all([ticket.prepared for ticket in batch], time)
        for ticket, sequence in zip(batch, sequences, strict=True):
            entry = ticket.entry
            ticket.sequence, ticket.kind = sequence, entry.kind
            if not sequence:
                # A call has one decision (I3). A second one can only follow a grant that came too late: it voids it.
                voids = {"reason": "decided_otherwise", "decision": json.loads(entry.payload)}
                ticket.sequence, ticket.kind = self._chain.append(_void(entry, voids), time), "grant_void"

    def _accepted(self, ticket: Ticket) -> Callable[[], None]:
        def tell() -> None:
            if ticket.done is None:
                return
            if not ticket.is_told():
                if ticket.grants:
                    self.void(ticket)
                return
            if ticket.grants and ticket.kind == "decision":
                assert ticket.decision is not None
                ticket.done(Granted(Grant.minted_by_ledger(ticket.decision, ticket.sequence)))
            elif ticket.grants:
                ticket.done(Failed("decided_twice"))
            else:
                ticket.done(Logged())

        return tell

    def _refused(self, ticket: Ticket, *, again: bool = True) -> Callable[[], None]:
        done, ticket_grants = ticket.done, ticket.grants
        if not ticket_grants and again:
            ticket.done = None  # told once, now; the write itself is tried again
            self._unwritten.append(ticket)

        def tell() -> None:
            if done is not None and ticket.is_told():
                done(Failed("log_not_written") if ticket_grants else Logged(durable=False))

        return tell


def _void(entry: Entry, details: dict[str, Any]) -> Entry:
    """The event that says of a grant in the log that it was not used."""
    payload = canonical({**details, "route": "unrecorded"})
    return Entry("grant_void", entry.call_id, entry.line, None, payload, None, None)


def _call_here(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()
