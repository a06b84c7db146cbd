"""Each place gets the newest checkpoint on a thread of its own; whatever one does, the others and the calls go on."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog.testing

from ivr_consent.anchors import publisher as module
from ivr_consent.anchors.notes import Sealed
from ivr_consent.anchors.place import AnchorError, Limit
from ivr_consent.anchors.publisher import Publisher
from ivr_consent.core.errors import LedgerError
from ivr_consent.store.anchored import Anchored
from ivr_consent.store.chain import utc_text
from tests.anchors.support import PATIENCE, checkpoint

Logs = list[Any]


class Diary:
    """What the log knows of earlier days."""

    def __init__(self, newest: str | None = None, *rows: Anchored) -> None:
        self._newest, self._rows = newest, rows

    def newest(self) -> str | None:
        return self._newest

    def last(self, place: str) -> Anchored | None:
        return next((row for row in self._rows if row.place == place), None)


class Fake:
    """A place that does as the test says: each attempt takes one of ``acts``, then all succeed."""

    readable = False

    def __init__(self, name: str = "file", *acts: Any, every_s: float = 0.0, timeout_s: float = PATIENCE) -> None:
        self.name = self.where = name
        self.every_s, self.timeout_s = every_s, timeout_s
        self.acts = list(acts)
        self.shown: queue.Queue[int] = queue.Queue()
        self.tried: queue.Queue[int] = queue.Queue()

    def publish(self, sealed: Sealed, limit: Limit) -> bytes | None:
        self.tried.put(sealed.size)
        act = self.acts.pop(0) if self.acts else None
        if callable(act):
            act(limit)
        elif act is not None:
            raise act
        self.shown.put(sealed.size)
        return b"proof"

    def read(self, limit: Limit) -> Iterator[Sealed]:
        raise AssertionError

    def next(self, what: str = "shown") -> int:
        found: queue.Queue[int] = getattr(self, what)
        return found.get(timeout=PATIENCE)

    def nothing(self) -> bool:
        return self.shown.empty() and self.tried.empty()


class Kept:
    """Rows that were written to the log; may fail as the test says."""

    def __init__(self, *errors: Exception) -> None:
        self.rows: queue.Queue[Anchored] = queue.Queue()
        self.errors = list(errors)

    def __call__(self, row: Anchored) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.rows.put(row)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with structlog.testing.capture_logs() as found:
        yield found


def of(logs: Logs, event: str) -> Logs:
    return [entry for entry in logs if entry["event"] == event]


def hanging(limit: Limit) -> None:
    """As something that pays no heed to its limit."""
    threading.Event().wait(PATIENCE)


def heeding(limit: Limit) -> None:
    """As something that ends when it is to stop."""
    limit.stop.wait(PATIENCE)
    raise AnchorError("was stopped")


def started(keep: Kept, *fakes: Fake, diary: Diary | None = None) -> Publisher:
    made = Publisher(fakes)
    made.start(keep, diary or Diary())  # type: ignore[arg-type]  # as much of a reader as it needs
    return made


def test_every_checkpoint_is_shown_and_noted(logs: Logs) -> None:
    keep, place = Kept(), Fake()
    made = started(keep, place)
    for size in (1, 5, 2000):
        made.published(checkpoint(size).note)
        assert place.next() == size
        row = keep.rows.get(timeout=PATIENCE)
        assert (row.size, row.place, row.proof) == (size, "file", b"proof")
        assert abs(datetime.now(UTC) - datetime.fromisoformat(row.time)) < timedelta(minutes=1)
    made.close(PATIENCE)
    assert logs == []


def test_one_that_hangs_hinders_nobody(logs: Logs) -> None:
    """R6: neither the other places, nor the log, nor the end."""
    bad, good = Fake("mail", hanging), Fake("file")
    made = started(Kept(), bad, good)
    began = time.monotonic()
    made.published(checkpoint(1).note)
    assert bad.next("tried") == 1
    for size in range(2, 50):
        made.published(checkpoint(size).note)
    while good.next() != 49:
        pass
    made.close(0.2)
    assert time.monotonic() - began < PATIENCE / 2
    assert [entry["place"] for entry in of(logs, "anchor_cut_off")] == ["mail"]


def test_the_newest_is_tried_again(monkeypatch: pytest.MonkeyPatch, logs: Logs) -> None:
    """Not each one that was missed; a failure is told once for all of a row, and so is its end."""
    monkeypatch.setattr(module, "PAUSES_S", (0.05,))
    failing, place = threading.Event(), Fake("mail")
    gate = threading.Event()

    def fail(_: Limit) -> None:
        if failing.is_set():
            raise AnchorError("the server is away; see log.anchors.mail")
        gate.wait(PATIENCE)

    place.acts = [fail] * 100
    failing.set()
    keep = Kept()
    made = started(keep, place)
    made.published(checkpoint(1).note)
    assert [place.next("tried"), place.next("tried")] == [1, 1]
    made.published(checkpoint(2).note)
    made.published(checkpoint(3).note)
    while place.next("tried") != 3:
        pass
    failing.clear()
    gate.set()
    assert place.next() == 3
    assert keep.rows.get(timeout=PATIENCE).size == 3
    made.close(PATIENCE)
    (told,) = of(logs, "checkpoint_not_anchored")
    assert (told["place"], told["problem"]) == ("mail", "the server is away; see log.anchors.mail")
    (again,) = of(logs, "checkpoint_anchored_again")
    assert again["failures"] >= 3


def test_another_row_of_failures_is_told_again(monkeypatch: pytest.MonkeyPatch, logs: Logs) -> None:
    monkeypatch.setattr(module, "PAUSES_S", (0.01,))
    place = Fake("file", AnchorError("one"), None, AnchorError("two"))
    made = started(Kept(), place)
    for size in (1, 2):
        made.published(checkpoint(size).note)
        assert place.next() == size
    made.close(PATIENCE)
    assert [entry["problem"] for entry in of(logs, "checkpoint_not_anchored")] == ["one", "two"]


def test_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(module.PAUSES_S) == sorted(module.PAUSES_S)
    monkeypatch.setattr(module, "PAUSES_S", (0.01, PATIENCE * 10))
    place = Fake("file", *[AnchorError("x")] * 9)
    made = started(Kept(), place)
    for size in range(1, 20):
        made.published(checkpoint(size).note)
    assert place.next("tried") >= 1
    assert place.next("tried") >= 1
    made.close(0.5)  # the second pause is long, and the end does not wait for it
    assert place.tried.empty()


def test_an_error_that_nobody_foresaw(monkeypatch: pytest.MonkeyPatch, logs: Logs) -> None:
    monkeypatch.setattr(module, "PAUSES_S", (0.01,))
    place = Fake("file", ZeroDivisionError("oh"))
    made = started(Kept(), place)
    made.published(checkpoint(1).note)
    assert place.next() == 1
    made.close(PATIENCE)
    assert of(logs, "checkpoint_not_anchored")[0]["problem"] == "ZeroDivisionError: oh"


def test_at_most_once_in_so_many_hours() -> None:
    """The newest then, however many came in between."""
    place = Fake("mail", every_s=1.0)
    made = started(Kept(), place)
    made.published(checkpoint(1).note)
    assert place.next() == 1
    began = time.monotonic()
    for size in (2, 3, 4):
        made.published(checkpoint(size).note)
    assert place.next() == 4
    assert time.monotonic() - began > 0.5
    made.published(checkpoint(5).note)
    made.close(PATIENCE)
    assert place.shown.empty(), "the end is no reason to send more than was asked for"


@pytest.mark.parametrize(
    ("ago", "due"),
    [(timedelta(hours=23), False), (timedelta(hours=25), True), (timedelta(days=-400), False), (None, True)],
)
def test_it_is_known_over_a_restart(ago: timedelta | None, due: bool) -> None:
    """From the log; a clock that was wrong then does not hinder for longer than it may."""
    when = "not a time" if ago is None else utc_text(datetime.now(UTC) - ago)
    place = Fake("mail", every_s=86400.0)
    made = started(Kept(), place, diary=Diary(checkpoint(9).note, Anchored(5, "mail", when, None)))
    if due:
        assert place.next() == 9
    made.close(PATIENCE)
    assert place.nothing() or due
    assert all(keeper._due <= time.monotonic() + 86400 for keeper in made._keepers)


def test_what_it_has_seen_is_not_shown_again() -> None:
    place, new = Fake("file"), Fake("journal")
    rows = (Anchored(9, "file", utc_text(datetime.now(UTC)), None),)
    made = started(Kept(), place, new, diary=Diary(checkpoint(9).note, *rows))
    assert new.next() == 9
    made.published(checkpoint(9).note)
    made.published(checkpoint(3).note)
    made.close(PATIENCE)
    assert place.nothing()


def test_one_from_before_the_start_is_not_lost() -> None:
    """A log is sealed as it is opened."""
    place = Fake()
    made = Publisher([place])
    made.published(checkpoint(2).note)
    made.start(Kept(), Diary(checkpoint(1).note))  # type: ignore[arg-type]  # stands in for the log's own reader
    made.close(PATIENCE)
    assert place.next() == 2
    assert place.nothing() or place.next("tried") == 2


def test_the_end_gives_everyone_a_chance() -> None:
    """The last checkpoint, of a service that stops, is shown where that is quick."""
    quick, slow, failing = Fake("file"), Fake("mail", heeding), Fake("journal", *[AnchorError("no")] * 9)
    made = started(Kept(), quick, slow, failing)
    made.published(checkpoint(1).note)
    assert (quick.next(), slow.next("tried"), failing.next("tried")) == (1, 1, 1)
    made.published(checkpoint(2).note)
    began = time.monotonic()
    made.close(0.3)
    assert time.monotonic() - began < PATIENCE / 2
    assert quick.next() == 2
    assert failing.tried.empty(), "one that fails is not waited for"
    assert not any(keeper.is_alive() for keeper in made._keepers)


def test_without_places_nothing_happens() -> None:
    made = started(Kept())
    made.published(checkpoint(1).note)
    made.close(0)


def test_a_log_that_takes_no_note_of_it(logs: Logs) -> None:
    """What counts is that it was shown; that is told once, and not shown again because of it."""
    keep, place = Kept(LedgerError("disk full"), LedgerError("disk full")), Fake()
    made = started(keep, place)
    for size in (1, 2, 3):
        made.published(checkpoint(size).note)
        assert place.next() == size
    assert keep.rows.get(timeout=PATIENCE).size == 3
    made.close(PATIENCE)
    (told,) = of(logs, "anchor_not_noted")
    assert told["problem"] == "disk full"
    assert place.shown.empty()


def test_one_that_hangs_is_told_once(monkeypatch: pytest.MonkeyPatch, logs: Logs) -> None:
    monkeypatch.setattr(module, "HANGS_S", 0.0)
    place = Fake("file", hanging, timeout_s=0.0)
    made = started(Kept(), place)
    made.published(checkpoint(1).note)
    assert place.next("tried") == 1
    for size in (2, 3, 4):
        made.published(checkpoint(size).note)
    made.close(0)
    assert len(of(logs, "anchor_hangs")) == 1


def test_a_note_that_is_none(logs: Logs) -> None:
    place = Fake()
    made = started(Kept(), place, diary=Diary("rubbish"))
    made.close(PATIENCE)
    assert place.nothing()
    assert len(of(logs, "checkpoint_not_anchored")) == 1
