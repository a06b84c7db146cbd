"""How long the log keeps what happened, and what is left of it then: hashes, under the checkpoints that sealed them.

In three steps, each of which leaves a log that verifies:

1. The time of a call, or of an event of the service, is over: its rows go, its leaf's hash stays (``pruned``), and an
   event ``expired`` names it. All events of a call go together, never while there is a recording.
2. All events up to a checkpoint are hashes by now, or are themselves about such things and old: they become the
   *trunk*, the roots of the tree up to there. An event ``expired`` names it, and goes only into a later trunk, with
   what it names.
3. A period of pseudonyms that no event is left of loses its key.

Everything is done in transactions of the writer thread, each short enough that no call waits long for it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from ivr_consent.config import Retention
from ivr_consent.core.decision import canonical
from ivr_consent.logs import get_logger
from ivr_consent.pseudonyms import Pseudonyms
from ivr_consent.store import due, erasure
from ivr_consent.store.chain import Chain, Entry, utc_now
from ivr_consent.store.database import Database
from ivr_consent.store.due import Cuts, reading
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place
from ivr_consent.store.trunk import NotWhole, next_trunk
from ivr_consent.verifier import Event, leaf, leaf_hash

EXPIRED: Final = "expired"
"""The event: which events' time was over, by their numbers."""

BATCH: Final = 100
"""Calls that are looked for at once."""

FIRST_TAKEN: Final = 10
"""Calls that the first transaction lets go; how many the next ones do follows from how long it took."""

MOST_TAKEN: Final = 100

GOAL_S: Final = (0.01, 0.025)
"""How long a transaction should take, from, to: calls wait for it, and the disk sets the pace."""

STRAGGLERS: Final = timedelta(days=1)
"""So long after the end of a period its key is not looked at."""

EVERY_S: Final = 3600.0
"""How often the service looks for what is over."""

RUN_S: Final = 10.0
"""How long a run goes on at most, where the service does it: the rest comes with the next."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class Expiry:
    """What a run did. ``events`` pruned of so many ``calls`` and of the service; ``trunk``: events in the trunk now;
    ``keys``: periods whose key was destroyed; ``more``: there was more to do than time."""

    calls: int = 0
    events: int = 0
    trunk: int = 0
    keys: tuple[str, ...] = ()
    more: bool = False


def expire(
    ledger: Ledger,
    retention: Retention,
    pseudonyms: Pseudonyms | None = None,
    *,
    now: datetime | None = None,
    run_s: float = RUN_S,
    stopped: threading.Event | None = None,
) -> Expiry:
    """Let go what is over, for at most so many seconds. Blocking: between two transactions calls have their turn.

    ``stopped`` ends it sooner. Raises :class:`LedgerError`.
    """
    run = _Run(ledger, Cuts.of(retention, now or utc_now()), retention, run_s, stopped or threading.Event())
    run.calls()
    run.service()
    run.personal()
    run.trunk()
    run.clear()
    if run.erased and (ledger.place.url is None or not run.over):
        erasure.forget_in_files(ledger.place)
    keys = () if pseudonyms is None or run.over else _destroy_keys(ledger.place, pseudonyms)
    with reading(ledger.place) as database:
        row = database.execute("SELECT trunk_size FROM log").fetchone()
    return Expiry(run.calls_done, run.events_done, row[0] if row is not None else 0, keys, run.over)


def what_is_due(place: Place, retention: Retention, now: datetime | None = None) -> Expiry:
    """What a run would prune, counted without doing it."""
    cuts = Cuts.of(retention, now or utc_now())
    calls = events = 0
    with reading(place) as database:
        (sealed,) = database.execute("SELECT sealed FROM log").fetchone() or (0,)
        for call_id, group in due.calls(database, cuts):
            rows = due.call_events(database, call_id, group, cuts, sealed)
            calls, events = calls + bool(rows), events + len(rows)
        for sequence, _ in due.service(database, cuts):
            events += bool(due.event_alone(database, sequence, sealed))
        row = database.execute("SELECT trunk_size FROM log").fetchone()
    return Expiry(calls, events, row[0] if row is not None else 0)


# --- letting it go ---------------------------------------------------------------------------------------------------


class _Run:
    """One run: batch after batch until all is done or the time is up."""

    def __init__(
        self, ledger: Ledger, cuts: Cuts, retention: Retention, run_s: float, stopped: threading.Event
    ) -> None:
        self._ledger, self._cuts, self._stopped = ledger, cuts, stopped
        self._days = {
            "granted": retention.granted_days,
            "refused": retention.refused_days,
            "service": retention.service_days,
        }
        self._until = time.monotonic() + run_s
        self._taken = FIRST_TAKEN
        self.calls_done = self.events_done = 0
        self.erased = self.over = False

    def calls(self) -> None:
        """Calls whose time is over."""
        with reading(self._ledger.place) as database:
            for batch in _batches(due.calls(database, self._cuts)):
                self._prune(batch, self._call)

    def service(self) -> None:
        """Events with a time of their own."""
        with reading(self._ledger.place) as database:
            for batch in _batches(due.service(database, self._cuts)):
                self._prune(batch, self._event)

    def _call(self, database: Database, item: tuple[str, str], sealed: int) -> list[Event]:
        events = due.call_events(database, *item, self._cuts, sealed)
        if events:
            database.execute("DELETE FROM decisions WHERE call_id = ?", (item[0],))
            database.execute("DELETE FROM asked WHERE call_id = ?", (item[0],))
        return events

    def _event(self, database: Database, item: tuple[int, str], sealed: int) -> list[Event]:
        return due.event_alone(database, item[0], sealed)

    def _prune(self, items: Sequence[Any], look: Callable[[Database, Any, int], list[Event]]) -> None:
        """Prune what is due of these, in as many transactions as that takes."""
        left = list(items)
        while left and not self._is_over():
            now, left = left[: self._taken], left[self._taken :]

            def work(chain: Chain, database: Database, at: str, now: Sequence[Any] = now) -> tuple[int, int]:
                found = [events for item in now if (events := look(database, item, chain.sealed))]
                self._let_go(chain, database, at, [event for events in found for event in events])
                return len(found), sum(map(len, found))

            items_done, events = self._transact(work)
            self.calls_done += items_done if look == self._call else 0
            self.events_done += events
            self.erased = self.erased or bool(events)

    def _let_go(self, chain: Chain, database: Database, at: str, events: Sequence[Event]) -> None:
        if not events:
            return
        for event in events:
            database.execute("INSERT INTO pruned VALUES (?, ?)", (event.sequence, leaf_hash(leaf(event))))
        numbers = [event.sequence for event in events]
        for first, last in erasure.ranges(numbers):
            database.execute("DELETE FROM events WHERE sequence >= ? AND sequence <= ?", (first, last))
        erasure.overwrite(database, (event.sequence for event in events if event.commitment is not None))
        kinds = Counter(event.kind for event in events)
        self._tell(chain, at, erasure.ranges(numbers), {"kinds": dict(kinds), "days": self._days})

    def _tell(self, chain: Chain, at: str, spans: Sequence[erasure.Range], details: dict[str, Any]) -> None:
        payload = canonical({**details, "events": [list(span) for span in spans], "reason": "retention_over"})
        chain.append(Entry(EXPIRED, None, None, None, payload, None, None), at)

    def personal(self) -> None:
        """Who did what, of events that last: their personal data has a time, too."""
        with reading(self._ledger.place) as database:
            facets = due.facets_of(database, lambda kind, _: kind in due.LASTING)
            query = "SELECT 1 FROM personal WHERE erased = 0 AND sequence = ?"
            old = due.older(database, facets, self._cuts.service)
            for batch in _batches(sequence for sequence in old if database.execute(query, (sequence,)).fetchone()):
                if self._is_over():
                    return

                def work(chain: Chain, database: Database, at: str, batch: Sequence[int] = batch) -> None:
                    erasure.overwrite(database, batch)
                    erasure.tell_erased(chain, at, batch, {"reason": "retention_over"})

                self._transact(work)
                self.erased = True

    def clear(self) -> None:
        """Give back the room of what was overwritten at the beginning of the log."""
        while not self._is_over() and self._transact(lambda _, database, __: erasure.clear_overwritten(database)):
            pass

    def trunk(self) -> None:
        """Take into the trunk what nothing but hashes is left of, checkpoint after checkpoint."""
        while not self._is_over():
            try:
                if not self._transact(self._advance):
                    return
            except NotWhole as problem:
                log.error("log_not_shortened", problem=str(problem), remedy="ivr-consent log verify")
                return

    def _advance(self, chain: Chain, database: Database, at: str) -> bool:
        found = next_trunk(database, self._cuts.lasting)
        if found is None:
            return False
        before, tree, last_leaf, lasting = found
        size = tree.size
        database.execute(
            "UPDATE log SET trunk_size = ?, trunk_peaks = ?, trunk_leaf = ?", (size, b"".join(tree.peaks), last_leaf)
        )
        erasure.overwrite(database, lasting)
        database.execute("DELETE FROM events WHERE sequence <= ?", (size,))
        database.execute("DELETE FROM pruned WHERE sequence <= ?", (size,))
        database.execute("DELETE FROM clock_steps WHERE sequence <= ?", (size,))
        self._tell(chain, at, [(before + 1, size)], {"trunk": size})
        return True

    def _transact(self, work: Callable[[Chain, Database, str], Any]) -> Any:
        """One transaction, and a pause as long as it took: whoever waits for the disk has as much of it as we."""
        began = time.monotonic()
        made = self._ledger.transact(work)
        took = time.monotonic() - began
        if took > GOAL_S[1]:
            self._taken = max(1, self._taken // 2)
        elif took < GOAL_S[0]:
            self._taken = min(self._taken * 2, MOST_TAKEN)
        self._stopped.wait(max(0.0, min(took, self._until - time.monotonic())))
        return made

    def _is_over(self) -> bool:
        self.over = self.over or time.monotonic() > self._until or self._stopped.is_set()
        return self.over


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class Keeper:
    """The service's part, a little with every sweep: what is over goes, once an hour or until nothing is left to do;
    what was erased, by whomever, leaves the files; a period that begins has its key."""

    def __init__(self, ledger: Ledger, retention: Retention) -> None:
        self._ledger, self._retention = ledger, retention
        self._stopped = threading.Event()
        self._next = 0.0
        self._clean = False

    def round(self, pseudonyms: Pseudonyms) -> None:
        """Blocking, for at most :data:`RUN_S` and what the disk takes. Raises :class:`LedgerError`."""
        pseudonyms.refresh()
        if time.monotonic() >= self._next:
            self._clean = self._ledger.place.url is not None  # what others erase in a database, they clear themselves
            done = expire(self._ledger, self._retention, pseudonyms, run_s=RUN_S, stopped=self._stopped)
            self._next = time.monotonic() + (0.0 if done.more else EVERY_S)
            if done.events:
                log.info("log_expired", calls=done.calls, events=done.events, trunk=done.trunk)
        if not self._clean and not self._stopped.is_set():
            self._clean = erasure.forget_in_files(self._ledger.place, deadline_s=0.0)

    def stop(self) -> None:
        """End the round that is under way soon."""
        self._stopped.set()


# --- keys ------------------------------------------------------------------------------------------------------------


def _destroy_keys(place: Place, pseudonyms: Pseudonyms) -> tuple[str, ...]:
    """Destroy the keys of periods that nothing in the log was made with any more."""
    now = utc_now()
    # A call that was being asked when its period ended has a pseudonym of it, and may come into the log now.
    serving = {pseudonyms.period(now), pseudonyms.period(now - STRAGGLERS)}
    unused = [period for period in pseudonyms.periods if period not in serving]
    if not unused:
        return ()
    with reading(place) as database:
        unused = [period for period in unused if not _used(database, period)]
    try:
        destroyed = pseudonyms.destroy(unused)
    except (OSError, ValueError) as error:
        log.error("pseudonym_key_not_destroyed", periods=unused, problem=str(error))
        return ()
    if destroyed:
        log.info("pseudonym_keys_destroyed", periods=list(destroyed))
    return destroyed


def _used(database: Database, period: str) -> bool:
    """Whether a pseudonym or a reference of the period is left."""
    if period:
        values: tuple[Any, ...] = (len(period) + 1, f"{period}-")
        condition = "substr({0}, 1, ?) = ?"
    else:
        values, condition = ("%-%",), "{0} NOT LIKE ?"
    references = f"SELECT 1 FROM decisions WHERE {condition.format('reference')} LIMIT 1"  # noqa: S608 - fixed names
    subjects = f"SELECT 1 FROM personal WHERE {condition.format('subject')} AND erased = 0 LIMIT 1"  # noqa: S608 - fixed names
    return any(database.execute(query, values).fetchone() is not None for query in (references, subjects))
