"""What holds on both databases, in the same words."""

from __future__ import annotations

import gzip
import itertools
import json
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.core.steps import Failed, Granted, Logged
from ivr_consent.store import ledger as ledger_module
from ivr_consent.store.bundle import Part, write_bundle
from ivr_consent.store.counting import BY
from ivr_consent.store.ledger import Ledger, Ticket, Written
from ivr_consent.store.place import Place, open_for_reading, open_for_writing
from ivr_consent.store.reader import LedgerReader
from ivr_consent.store.search import EVERYTHING, Wanted
from ivr_consent.testing.plans import call_context
from tests.store.chains import check, copy, decision, kinds, rows
from tests.store.test_reader import SINGLES
from tests.store.written import written_log

WAIT_S = 30.0


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger]:
    log = Ledger(place)
    yield log
    log.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test does not wait five seconds for the next attempt."""
    monkeypatch.setattr(ledger_module, "RETRY_S", 0.05)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", Outcome, ids=str)
def test_every_outcome(ledger: Ledger, outcome: Outcome) -> None:
    """I1, R7: what went in comes out; a Grant for a grant alone."""
    made = decision(outcome)
    written = ledger.decide_now(made, WAIT_S)
    assert isinstance(written, Granted) if outcome is Outcome.GRANTED else written == Logged()
    with ledger.reader() as reader:
        record = reader.call(made.call.call_id)
    assert record is not None
    assert record.decision.payload == json.loads(json.dumps(made.payload()))
    assert record.decision.outcome == outcome.value
    assert check(ledger.place).decided == {made.call.call_id: (2, outcome.value)}


def test_many_calls_share_a_few_commits(place: Place) -> None:
    """R23: gapless, each once, sealed as it goes, and recomputed from what is stored."""
    ledger = Ledger(replace(place, checkpoint_events=50), seals=True)
    calls = [decision(Outcome.GRANTED if number % 2 else Outcome.DECLINED) for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda made: ledger.decide_now(made, WAIT_S), calls))
    ledger.close()
    for made, answer in zip(calls, answers, strict=True):
        assert isinstance(answer, Granted if made.outcome is Outcome.GRANTED else Logged)
        if isinstance(answer, Granted):
            assert answer.grant.call_id == made.call.call_id
    evidence = check(place)
    assert evidence.tree.size == 201
    assert evidence.checkpoints == 201


def test_a_second_decision_voids_the_grant(ledger: Ledger) -> None:
    """I3: one decision a call. What follows it says that the grant was not used, and where the call went."""
    call = call_context()
    assert isinstance(ledger.decide_now(decision(call=call)), Granted)
    assert ledger.decide_now(decision(call=call)) == Failed("decided_twice")
    assert ledger.decide_now(decision(Outcome.FAILED, call)) == Logged()
    assert kinds(ledger.place) == ["decision", "grant_void", "grant_void"]
    with ledger.reader() as reader:
        assert reader.unfinished_grants() == []
    check(ledger.place)


def test_one_of_a_batch_does_not_take_the_others_with_it(ledger: Ledger) -> None:
    """Calls share a commit, not their faults."""
    answers: queue.SimpleQueue[Written] = queue.SimpleQueue()
    twice = call_context()
    for one in (decision(), decision(call=twice), decision(Outcome.FAILED, twice), decision()):
        ledger.decide(one, answers.put)
    assert [type(answers.get(timeout=WAIT_S)) for _ in range(4)] == [Granted, Granted, Logged, Granted]


def test_two_logs_of_one_place(ledger: Ledger) -> None:
    """The classic script writes the same log as the service: every event of both is there, none twice."""
    other = Ledger(ledger.place)
    answers: queue.SimpleQueue[Written] = queue.SimpleQueue()
    for _ in range(40):
        ledger.decide(decision(), answers.put)
        other.decide(decision(), answers.put)
    assert {type(answers.get(timeout=WAIT_S)) for _ in range(80)} == {Granted}
    other.close()
    assert check(ledger.place).tree.size == 81


def test_opening_again_keeps_everything(place: Place) -> None:
    made = [decision() for _ in range(3)]
    for one in made:
        log = Ledger(place)
        log.decide_now(one, WAIT_S)
        log.close()
    assert [call for _, _, call, _ in rows(place)] == [one.call.call_id for one in made]


def test_a_clock_that_is_set_back_is_told(place: Place) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    log = Ledger(place, clock=lambda: now)
    log.decide_now(decision(), WAIT_S)
    now -= timedelta(hours=1)
    log.decide_now(decision(), WAIT_S)
    log.close()
    assert kinds(place) == ["decision", "clock_set_back", "decision"]
    check(place)


class Refusing(Ledger):
    """A log of which the database refuses what it is told to refuse, at the worst moment."""

    def __init__(self, place: Place, *, after: bool) -> None:
        self.refuses, self.after = 0, after
        super().__init__(place)

    def _transaction(self, batch: list[Ticket], seals: Any) -> list[Ticket]:
        database, _ = self._opened()
        commit = database.commit

        def refuse() -> None:
            if self.after:
                commit()
            raise database.errors("as the test wants it")

        if self.refuses:
            self.refuses -= 1
            database.commit = refuse  # type: ignore[method-assign]  # the fault itself
        try:
            return super()._transaction(batch, seals)
        finally:
            database.commit = commit  # type: ignore[method-assign]  # the fault's end


@pytest.mark.parametrize("after", [False, True], ids=["not written", "written all the same"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_commit_that_fails(place: Place, soon: None, times: int, after: bool) -> None:
    """I1: a refused grant is not used, whatever of it is in the log; R7: what is owed is written, once."""
    log = Refusing(place, after=after)
    log.decide_now(decision(), WAIT_S)
    log.refuses = times
    grants = [decision() for _ in range(times)]
    asked, refusal = call_context().call_id, decision(Outcome.DECLINED)
    log.note(asked, "support", "asked", {}, None)
    log.decide(refusal, lambda _: None)
    told = []
    for grant in grants:
        told.append(log.decide_now(grant, WAIT_S))
    until(lambda: log.note_now("f" * 32, "support", "after", {}, WAIT_S) == Logged())
    assert isinstance(log.decide_now(decision(), WAIT_S), Granted)
    log.close()
    evidence = check(place)
    assert evidence.decided[refusal.call.call_id][1] == "declined"
    assert evidence.later[asked] == ["asked"]
    for grant, answer in zip(grants, told, strict=True):
        call = grant.call.call_id
        if isinstance(answer, Granted):
            assert call in evidence.decided
            assert call not in evidence.later
        else:
            assert evidence.later.get(call, []) == (["grant_void"] if call in evidence.decided else [])
    assert log.refuses == 0


# --- what is refused --------------------------------------------------------------------------------------------------


def tampered(place: Place, *statements: str) -> None:
    """Change a log past us, as one who may drop triggers."""
    with closing(open_for_writing(place)) as database:
        database.begin()
        if database.kind == "sqlite":
            database.execute("DROP TRIGGER events_are_pruned_only")
        else:
            database.execute("DROP TRIGGER events_are_pruned_only ON events")
        for statement in statements:
            database.execute(statement)
        database.commit()


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM events WHERE sequence = 3", "UPDATE log SET last_leaf = previous FROM events", "DELETE FROM log"],
)
def test_a_log_that_does_not_end_as_it_says_is_not_written(place: Place, statement: str) -> None:
    log = Ledger(place)
    for _ in range(2):
        log.decide_now(decision(), WAIT_S)
    log.close()
    tampered(place, statement)
    with pytest.raises(LedgerError, match=r"does not end with the last|does not say where it ends"):
        Ledger(place)


def test_a_log_that_is_gone_is_not_begun_anew(place: Place) -> None:
    """R23: while its public key is still there, an empty log is a loss."""
    Ledger(place).close()
    if place.url is None:
        for file in place.path.parent.glob("decisions.db*"):
            file.unlink()
    else:
        with closing(open_for_writing(place)) as database:
            database.begin()
            database.execute(f"DROP SCHEMA {place.address().schema} CASCADE")
            database.commit()
    with pytest.raises(LedgerError, match="is gone or empty, while its public key"):
        Ledger(place)
    with pytest.raises(LedgerUnreadable):
        LedgerReader(place)


def test_an_older_copy_is_not_gone_on_with(place: Place) -> None:
    """R23: a log that lost its tail is noticed, by the key and by how many events it had."""
    log = Ledger(place)
    log.decide_now(decision(), WAIT_S)
    log.close()
    mark = log.place.mark()
    mark.set(log._chain.log_id, 1000)
    mark.close()
    with pytest.raises(LedgerError, match="at least 998 events are lost"):
        Ledger(place)


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A log of three days in SQLite."""
    place = written_log(Place(tmp_path_factory.mktemp("written") / "decisions.db")).place
    log = Ledger(place)
    assert log.seal() is not None
    log.close()
    return place


@pytest.fixture
def twin(written: Place, postgresql_place: Place) -> Place:
    """The same log in PostgreSQL."""
    for file in written.path.parent.glob("decisions.*"):
        if file.suffix in (".key", ".pub"):
            (postgresql_place.path.parent / f"{postgresql_place.server}{file.suffix}").write_bytes(file.read_bytes())
    for file in postgresql_place.path.parent.glob(f"{postgresql_place.server}.pub"):
        file.unlink()
    copy(written, postgresql_place)
    return postgresql_place


def test_every_question_has_the_same_answer_on_both(written: Place, twin: Place) -> None:
    """Every filter and every pair of them, calls and events, sums, and all that the service asks."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    with LedgerReader(written) as one, LedgerReader(twin) as other:
        pairs = [one | other for one, other in itertools.combinations(SINGLES, 2) if not set(one) & set(other)]
        for asked in ({}, *SINGLES, *random.Random(6).sample(pairs, 120)):  # noqa: S311 - the same each time
            wanted = Wanted(**asked)
            assert list(one.calls(wanted, limit=20)) == list(other.calls(wanted, limit=20)), asked
            assert list(one.events(wanted, limit=20)) == list(other.events(wanted, limit=20)), asked
        for by, asked in itertools.product(BY, SINGLES):
            whole = all(len(time) > 20 for key, time in asked.items() if key in ("since", "until"))
            if whole and not {"kind", "references"} & set(asked):
                wanted = Wanted(**asked)
                assert one.tally(by, wanted) == other.tally(by, wanted), (by, asked)
        calls = [record.call_id for record in one.calls(EVERYTHING, limit=None)]
        for call in calls[::7]:
            assert one.call(call[:9]) == other.call(call[:9])
            assert one.history(call[:9]) == other.history(call[:9])
        asks: list[Callable[[LedgerReader], object]] = [
            lambda reader: reader.unfinished_grants(),
            lambda reader: reader.expired_recordings(now + timedelta(days=4000)),
            lambda reader: reader.undecided(now),
            lambda reader: reader.notice_versions(),
            lambda reader: reader.size(),
            lambda reader: reader.trunk(),
            lambda reader: reader.after(100),
            lambda reader: reader.seal(17),
        ]
        for ask in asks:
            assert ask(one) == ask(other)


@pytest.mark.parametrize("part", [None, Part(first=20, last=40)], ids=["all", "a part"])
def test_the_evidence_is_the_same_byte_for_byte(written: Place, twin: Place, tmp_path: Path, part: Part | None) -> None:
    """Whoever verifies a bundle need not know where the log was."""
    bundles = []
    for number, place in enumerate((written, twin)):
        path = tmp_path / f"bundle-{number}.gz"
        with gzip.open(path, "wb") as file:
            write_bundle(place, file, part=part)
        with gzip.open(path) as file:
            bundles.append(file.read())
    assert bundles[0] == bundles[1]
    assert bundles[0].count(b"\n") > 20


def test_one_state_of_the_log_for_all_questions(ledger: Ledger) -> None:
    """An export asks many questions, while others write, erase and prune."""
    ledger.decide_now(decision(), WAIT_S)
    with closing(open_for_reading(ledger.place)) as database:
        database.freeze()
        before = database.execute("SELECT count(*) FROM events").fetchone()
        answer = iter(database.execute("SELECT sequence FROM events ORDER BY sequence"))
        first = next(answer)
        ledger.decide_now(decision(), WAIT_S)
        assert database.execute("SELECT count(*) FROM events").fetchone() == before == (2,)
        assert [first, *answer] == [(1,), (2,)]
    with closing(open_for_reading(ledger.place)) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (3,)


def test_a_reader_sees_what_is_written_meanwhile(ledger: Ledger) -> None:
    with ledger.reader() as reader:
        assert list(reader.calls()) == []
        made = decision()
        ledger.decide_now(made, WAIT_S)
        assert [record.call_id for record in reader.calls()] == [made.call.call_id]
        assert not reader.replaced()


def test_readers_do_not_hold_up_writers(ledger: Ledger) -> None:
    """R6: nobody's long question delays a call."""
    for _ in range(30):
        ledger.note("a" * 32, "support", "asked", {}, None)
    ended = threading.Event()

    def read() -> None:
        with ledger.reader() as reader:
            while not ended.is_set():
                list(reader.events(EVERYTHING, limit=None))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    answers = [ledger.decide_now(decision(), WAIT_S) for _ in range(20)]
    ended.set()
    for reader in readers:
        reader.join(WAIT_S)
    assert {type(answer) for answer in answers} == {Granted}
