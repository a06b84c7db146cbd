"""Work in the log's own transactions: whole or not at all, and nobody's affair but of whoever asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.decision import canonical
from ivr_consent.core.errors import ConsentError, LedgerError
from ivr_consent.core.steps import Logged
from ivr_consent.store.chain import Chain, Entry
from ivr_consent.store.database import Database
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place
from ivr_consent.store.work import Request
from tests.store.chains import check, decision, rows

WAIT_S = 30.0


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger]:
    log = Ledger(place)
    yield log
    log.close()


def appended(chain: Chain, _: Database, at: str) -> int:
    return chain.append(Entry("incident", None, None, None, canonical({"what": "test"}), None, None), at)


def test_work_is_done_and_on_disk_when_it_is_told(ledger: Ledger) -> None:
    assert ledger.transact(appended) == 2
    assert rows(ledger.place) == [(2, "incident", None, None)]
    assert ledger.decide_now(decision(), WAIT_S).__class__.__name__ == "Granted"
    assert ledger.seal() is not None
    check(ledger.place)


def test_work_has_the_time_of_the_log(ledger: Ledger) -> None:
    def told(chain: Chain, _: Database, at: str) -> tuple[str, int]:
        return at, chain.tree.size

    at, size = ledger.transact(told)
    assert datetime.fromisoformat(at).utcoffset() is not None
    assert size == 1


@pytest.mark.parametrize("error", [ConsentError("no; do something else"), ZeroDivisionError(), LedgerError("broken")])
def test_what_fails_changes_nothing_and_is_told_to_who_asked(ledger: Ledger, error: Exception) -> None:
    """The events that others wait for are written all the same, and nothing of the work is there."""

    def fails(chain: Chain, database: Database, at: str) -> None:
        appended(chain, database, at)
        raise error

    with pytest.raises(type(error)):
        ledger.transact(fails)
    assert rows(ledger.place) == []
    assert ledger.tell_now("incident", {}, timeout=WAIT_S) == Logged()
    assert ledger.transact(appended) == 3
    check(ledger.place)


def test_a_statement_that_the_log_refuses_is_told_as_such(ledger: Ledger) -> None:
    """What is in the chain cannot be taken out of it."""
    assert ledger.transact(appended) == 2

    def removes(_: Chain, database: Database, __: str) -> None:
        database.execute("DELETE FROM events WHERE sequence = ?", (2,))

    with pytest.raises(LedgerError, match="append-only"):
        ledger.transact(removes)
    assert ledger.tell_now("incident", {}, timeout=WAIT_S) == Logged()
    assert len(rows(ledger.place)) == 2


def test_nothing_is_done_for_somebody_who_went_away(tmp_path: Path) -> None:
    """The disk was too slow: who asked has been told so, and does not find it done an hour later."""
    ledger = Ledger(tmp_path / "decisions.db")
    entered, let = threading.Event(), threading.Event()

    def stalls(*_: Any) -> None:
        entered.set()
        assert let.wait(WAIT_S)

    thread = threading.Thread(target=ledger.transact, args=(stalls,))
    thread.start()
    try:
        assert entered.wait(WAIT_S)
        with pytest.raises(LedgerError, match="too slow"):
            ledger.transact(appended, timeout=0.01)
    finally:
        let.set()
        thread.join(WAIT_S)
        ledger.close()
    assert rows(ledger.place) == []


def test_a_log_that_is_being_closed_takes_no_work(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "decisions.db")
    ledger.close()
    with pytest.raises(LedgerError, match="being closed"):
        ledger.transact(appended)


def test_what_was_not_written_was_not_made() -> None:
    request = Request(lambda *_: "made", apart=True)
    request.answer(None, None, "")  # type: ignore[arg-type]  # an answer that nobody looks at
    request.finish(written=False)
    assert request.finished(0.0) is None
    with pytest.raises(LedgerError, match="could not be written"):
        request.result(0.0)
    request.finish(written=True)
    assert request.finished(0.0) == "made"
    assert request.result(0.0) == "made"
