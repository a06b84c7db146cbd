"""What of a log is over: calls and events whose days have passed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from ivr_consent.config import Retention
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import LedgerError
from ivr_consent.store.chain import ERASED, utc_text
from ivr_consent.store.database import Database
from ivr_consent.store.place import Place, open_for_reading
from ivr_consent.store.search import Search, Wanted
from ivr_consent.verifier import Event

LASTING: Final = frozenset(
    {"log_created", "log_migrated", "key_replaced", "erased", "expired", "restored", "clock_set_back"}
)
"""Kinds of events that are about the log itself: they are never pruned, and end in the trunk."""

OF_CALL: Final = frozenset(
    {
        "asked",
        "decision",
        "routed",
        "recording_confirmed",
        "recording_ended",
        "recording_stopped",
        "recording_not_confirmed",
        "recording_missing",
        "recording_expired",
        "withdrawn",
        "grant_void",
    }
)
"""Kinds of events that a call consists of. Any other event has a time of its own, also where it names a call."""

OF_NOTICES: Final = frozenset({"notice_published", "configuration_published"})
"""Kinds of events that say what callers heard: kept as long as the decision of such a caller."""

PAGE: Final = 60
"""Rows fetched at once."""


class Cuts(NamedTuple):
    """Times as they stand in the log: what is older is over. ``lasting``: the longest of them."""

    granted: str
    refused: str
    service: str
    lasting: str

    @classmethod
    def of(cls, retention: Retention, now: datetime) -> Cuts:
        days = (retention.granted_days, retention.refused_days, retention.service_days)
        return cls(*(utc_text(now - timedelta(days=count)) for count in (*days, max(days))))


@contextlib.contextmanager
def reading(place: Place) -> Iterator[Database]:
    """The log, open for reading. Raises :class:`LedgerError`."""
    database = open_for_reading(place)
    try:
        yield database
    except database.errors as error:
        raise LedgerError(f"the log {place.name} cannot be read ({error}); see: ivr-consent log verify") from None
    finally:
        database.close()


def facets_of(database: Database, wanted: Callable[[str, str], bool]) -> list[int]:
    """The numbers of facets, chosen by kind and outcome."""
    rows = database.execute("SELECT facet, kind, outcome FROM facets ORDER BY facet").fetchall()
    return [facet for facet, kind, outcome in rows if wanted(kind, outcome)]


def older(database: Database, facets: Iterable[int], cut: str) -> Iterator[int]:
    """The numbers of events of facets that are older than a time, nearly in order; what is pruned meanwhile is left
    out by whoever looks at it."""
    spans = list(Search(database).ranges(Wanted(until=cut)))
    for facet in facets:
        for low, high in reversed(spans):
            after = low - 1
            while True:
                page = database.execute(
                    "SELECT sequence FROM facet_events WHERE facet = ? AND sequence > ? AND sequence <= ? "
                    "ORDER BY sequence LIMIT ?",
                    (facet, after, high, PAGE),
                ).fetchall()
                if not page:
                    break
                for (after,) in page:
                    yield after


REFUSED: Final = "refused"
GRANTED: Final = "granted"
"""What a call is kept as."""


def calls(database: Database, cuts: Cuts) -> Iterator[tuple[str, str]]:
    """Calls that may be over, each with what it is kept as: refused ones by their decision, others by the event after
    which no file of a recording was left."""
    granted = Outcome.GRANTED.value
    refusals = facets_of(database, lambda kind, outcome: kind == "decision" and outcome != granted)
    erasures = facets_of(database, lambda kind, _: kind in ERASED)
    for facets, group, cut in ((refusals, REFUSED, cuts.refused), (erasures, GRANTED, cuts.granted)):
        for sequence in older(database, facets, cut):
            row = database.execute("SELECT call_id FROM events WHERE sequence = ?", (sequence,)).fetchone()
            if row is not None and row[0] is not None:
                yield row[0], group


EVENT: Final = "sequence, time, kind, call_id, line, outcome, payload, commitment, previous"


def call_events(database: Database, call_id: str, group: str, cuts: Cuts, sealed: int) -> list[Event]:
    """All events of a call, if it is over; else none."""
    if database.execute("SELECT 1 FROM recordings WHERE call_id = ?", (call_id,)).fetchone() is not None:
        return []
    rows = database.execute(f"SELECT {EVENT} FROM events WHERE call_id = ?", (call_id,)).fetchall()  # noqa: S608 - fixed columns
    events = sorted(Event(*row) for row in rows if row[2] in OF_CALL)
    outcomes = {event.outcome for event in events if event.kind == "decision"}
    if not outcomes or (Outcome.GRANTED.value in outcomes) != (group == GRANTED):
        return []
    cut = cuts.granted if group == GRANTED else cuts.refused
    over = all(event.time < cut and event.sequence <= sealed for event in events)
    return events if over else []


def service(database: Database, cuts: Cuts) -> Iterator[tuple[int, str]]:
    """Events with a time of their own that may be over."""
    first = database.execute("SELECT time FROM decisions ORDER BY sequence LIMIT 1").fetchone()
    notices = min(cuts.service, first[0]) if first is not None else cuts.service
    for cut, kinds in ((notices, True), (cuts.service, False)):

        def wanted(kind: str, _: str, kinds: bool = kinds) -> bool:
            return kind not in OF_CALL and kind not in LASTING and (kind in OF_NOTICES) == kinds

        for sequence in older(database, facets_of(database, wanted), cut):
            yield sequence, cut


def event_alone(database: Database, sequence: int, sealed: int) -> list[Event]:
    """One event with a time of its own, unless it names a call that is still kept."""
    row = database.execute(f"SELECT {EVENT} FROM events WHERE sequence = ?", (sequence,)).fetchone()  # noqa: S608 - fixed columns
    if row is None or sequence > sealed:
        return []
    event = Event(*row)
    if event.call_id is not None:
        kept = database.execute("SELECT 1 FROM decisions WHERE call_id = ?", (event.call_id,)).fetchone()
        if kept is not None:
            return []
    return [event]
