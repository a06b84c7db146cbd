"""The log: durable before anyone is told, append-only, and never in the way of a call."""

from __future__ import annotations

import json
import os
import queue
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ivr_consent.core.decision import CallContext, Decision, Outcome
from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.core.steps import Failed, Granted, Logged
from ivr_consent.store import ledger as ledger_module
from ivr_consent.store.database import APPLICATION_ID
from ivr_consent.store.ledger import Ledger, Written
from ivr_consent.store.reader import LedgerReader
from ivr_consent.store.schema import MIGRATIONS
from ivr_consent.testing.plans import call_context

WAIT_S = 20.0


def decision(outcome: Outcome = Outcome.GRANTED, call: CallContext | None = None) -> Decision:
    context = call or call_context()
    granted = outcome is Outcome.GRANTED
    return Decision(
        context,
        outcome,
        "yes_key" if granted else "no_key",
        "recorded" if granted else "unrecorded",
        None,
        (),
        ("training",) if granted else (),
        30,
        0,
        ("en",),
        recording_id=context.call_id if granted else None,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    log = Ledger(path)
    yield log
    log.close()


def rows(path: Path) -> list[tuple[int, str, str, str | None]]:
    """All events but the first, ``log_created``."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT sequence, kind, call_id, outcome FROM events WHERE sequence > 1 ORDER BY sequence"
        return connection.execute(query).fetchall()


class Stalled(Ledger):
    """A log whose disk takes its time: a commit waits until it is let through."""

    def __init__(self, path: Path, dispatch: ledger_module.Dispatch | None = None) -> None:
        self.entered, self.let = threading.Event(), threading.Event()
        self.batches: list[int] = []
        super().__init__(path, dispatch=dispatch)

    def _commit(self, batch: list[ledger_module.Ticket]) -> list[Callable[[], None]]:
        if batch:  # else a checkpoint alone
            self.batches.append(len(batch))
        self.entered.set()
        assert self.let.wait(WAIT_S)
        return super()._commit(batch)


class Watched(Ledger):
    """A log that tells after each commit whether the disk took it."""

    def __init__(self, path: Path) -> None:
        self.took: queue.SimpleQueue[bool] = queue.SimpleQueue()
        super().__init__(path)

    def _commit(self, batch: list[ledger_module.Ticket]) -> list[Callable[[], None]]:
        done = super()._commit(batch)
        self.took.put(self.healthy)
        return done


# --- writing ------------------------------------------------------------------------------------------------------


def test_a_granted_decision_gives_a_grant(ledger: Ledger) -> None:
    """I1: of this call, this row, these purposes."""
    made = decision()
    written = ledger.decide_now(made)
    assert isinstance(written, Granted)
    assert written.grant.call_id == made.call.call_id
    assert written.grant.purposes == ("training",)
    assert rows(ledger.place.path) == [(written.grant.sequence, "decision", made.call.call_id, "granted")]


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.GRANTED], ids=str)
def test_any_other_decision_is_logged_without_a_grant(ledger: Ledger, outcome: Outcome) -> None:
    """R7: a refusal is a row of its own, never just a missing value."""
    made = decision(outcome)
    assert ledger.decide_now(made) == Logged(durable=True)
    with ledger.reader() as reader:
        record = reader.call(made.call.call_id)
    assert record is not None
    assert record.decision.outcome == outcome.value
    assert record.decision.payload == json.loads(json.dumps(made.payload()))
    assert (record.route, record.recording) == ("unrecorded", "none")


def test_the_time_is_the_logs_own(path: Path) -> None:
    log = Ledger(path, clock=lambda: datetime(2026, 1, 2, 3, 4, 5, 678901, UTC))
    made = decision()
    log.decide_now(made)
    log.close()
    with LedgerReader(path) as reader:
        assert [record.decision.time for record in reader.calls()] == ["2026-01-02T03:04:05.678+00:00"]


CHILD = """
import sys
from pathlib import Path
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.plans import call_context
from ivr_consent.core.decision import Decision, Outcome

log = Ledger(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    call = call_context()
    made = Decision(call, Outcome.GRANTED, "yes_key", "recorded", None, (), ("training",), 30, 0, ("en",), call.call_id)
    print(type(log.decide_now(made, 20.0)).__name__, call.call_id, flush=True)
sys.stdin.read()
"""


def child(path: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_what_was_granted_survives_a_kill(path: Path) -> None:
    """R23, I1: kill -9 right after the Grant, and the decision is in the log."""
    with child(path, 1) as process:
        assert process.stdout is not None
        kind, call_id = process.stdout.readline().split()
        process.send_signal(signal.SIGKILL)
        assert process.wait(WAIT_S) == -signal.SIGKILL
    assert kind == "Granted"
    with LedgerReader(path) as reader:
        record = reader.call(call_id)
        assert record is not None
        assert record.decision.outcome == "granted"
        assert [unfinished.call_id for unfinished in reader.unfinished_grants()] == [call_id]
    log = Ledger(path)
    assert isinstance(log.decide_now(decision(), WAIT_S), Granted)
    log.close()


def test_the_disk_is_waited_for(ledger: Ledger) -> None:
    """R23: durable means flushed (FULL) on every commit."""
    made: queue.SimpleQueue[Written] = queue.SimpleQueue()
    ledger.decide(decision(), made.put)
    assert isinstance(made.get(timeout=WAIT_S), Granted)
    connection = ledger._database
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nobody_is_told_before_the_commit(path: Path) -> None:
    """I1: no Grant while the commit is under way."""
    log = Stalled(path)
    made: queue.SimpleQueue[Written] = queue.SimpleQueue()
    log.decide(decision(), made.put)
    assert log.entered.wait(WAIT_S)
    assert made.empty()
    assert rows(path) == []
    log.let.set()
    assert isinstance(made.get(timeout=WAIT_S), Granted)
    log.close()


def test_waiting_calls_share_a_commit(path: Path) -> None:
    """A flush costs milliseconds: calls that come meanwhile go to disk together, each with its own Grant."""
    log = Stalled(path)
    first: queue.SimpleQueue[Written] = queue.SimpleQueue()
    log.decide(decision(), first.put)
    assert log.entered.wait(WAIT_S)
    many: queue.SimpleQueue[Written] = queue.SimpleQueue()
    calls = [decision() for _ in range(40)]
    for made in calls:
        log.decide(made, many.put)
    log.let.set()
    grants = [many.get(timeout=WAIT_S) for _ in calls]
    log.close()
    assert log.batches == [1, 40]
    assert [written.grant.call_id for written in grants if isinstance(written, Granted)] == [
        made.call.call_id for made in calls
    ]


def test_a_commit_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_BATCH", 10)
    log = Stalled(path)
    log.note("a" * 32, "support", "first", {}, None)
    assert log.entered.wait(WAIT_S)
    for number in range(25):
        log.note("a" * 32, "support", "more", {"number": number}, None)
    log.let.set()
    log.close()
    assert log.batches == [1, 10, 10, 5]
    assert len(rows(path)) == 26


def test_a_second_decision_voids_the_grant(ledger: Ledger) -> None:
    """I3: one decision a call. What follows it says that the grant was not used, and where the call went."""
    call = call_context()
    assert isinstance(ledger.decide_now(decision(call=call)), Granted)
    assert ledger.decide_now(decision(Outcome.FAILED, call)) == Logged()
    assert [(kind, outcome) for _, kind, _, outcome in rows(ledger.place.path)] == [
        ("decision", "granted"),
        ("grant_void", None),
    ]
    with ledger.reader() as reader:
        record = reader.call(call.call_id)
        assert record is not None
        assert record.route == "unrecorded"
        assert reader.unfinished_grants() == []


@pytest.mark.parametrize("first", [Outcome.GRANTED, Outcome.DECLINED], ids=str)
def test_a_second_grant_is_refused(ledger: Ledger, first: Outcome) -> None:
    """I1, R5: neither a call that said no nor one that was granted before gets a (second) Grant."""
    call = call_context()
    ledger.decide_now(decision(first, call))
    assert ledger.decide_now(decision(call=call)) == Failed("decided_twice")


def test_a_second_decision_does_not_take_others_with_it(path: Path) -> None:
    """Calls share a commit, not their faults."""
    log = Stalled(path)
    made: queue.SimpleQueue[Written] = queue.SimpleQueue()
    log.note("a" * 32, "support", "first", {}, None)
    assert log.entered.wait(WAIT_S)
    twice = call_context()
    for one in (decision(), decision(call=twice), decision(Outcome.FAILED, twice), decision()):
        log.decide(one, made.put)
    log.let.set()
    answers = [made.get(timeout=WAIT_S) for _ in range(4)]
    log.close()
    assert [type(answer) for answer in answers] == [Granted, Granted, Logged, Granted]


def test_an_abandoned_ticket_that_was_not_written_is_not_written(path: Path) -> None:
    """I1: who gave up waiting gets no Grant later, and the log does not say granted."""
    log = Stalled(path)
    log.note("a" * 32, "support", "first", {}, None)
    assert log.entered.wait(WAIT_S)
    made: list[Written] = []
    log.decide(decision(), made.append).abandon()
    log.let.set()
    log.close()
    assert made == []
    assert [kind for _, kind, _, _ in rows(path)] == ["first"]


def test_an_abandoned_ticket_that_was_written_is_voided(path: Path) -> None:
    """I1: the disk was too slow; the log says that the grant was not used."""
    carried: queue.SimpleQueue[list[Callable[[], None]]] = queue.SimpleQueue()
    log = Stalled(path, carried.put)
    made: list[Written] = []
    call = call_context()
    ticket = log.decide(decision(call=call), made.append)
    assert log.entered.wait(WAIT_S)
    ticket.abandon()
    log.let.set()
    for callback in carried.get(timeout=WAIT_S):
        callback()
    log.close()
    assert made == []
    assert [kind for _, kind, _, _ in rows(path)] == ["decision", "grant_void"]
    with LedgerReader(path) as reader:
        assert reader.unfinished_grants() == []
        record = reader.call(call.call_id)
        assert record is not None
        assert (record.route, record.recording) == ("unrecorded", "grant_void")


def test_a_slow_disk_is_not_waited_for_longer_than_said(path: Path) -> None:
    """R6: the caller goes on."""
    log = Stalled(path)
    assert log.decide_now(decision(), 0.05) == Failed("log_too_slow")
    log.let.set()
    log.close()


def test_an_abandoned_refusal_is_written_all_the_same(path: Path) -> None:
    """R7: it is owed to the log, whoever waits."""
    log = Stalled(path)
    log.note("a" * 32, "support", "first", {}, None)
    assert log.entered.wait(WAIT_S)
    log.decide(decision(Outcome.DECLINED), lambda _: None).abandon()
    log.let.set()
    log.close()
    assert [outcome for *_, outcome in rows(path)] == [None, "declined"]


def test_closing_writes_what_is_queued(path: Path) -> None:
    log = Ledger(path)
    for number in range(100):
        log.note("a" * 32, "support", "more", {"number": number}, None)
    log.close()
    assert [sequence for sequence, *_ in rows(path)] == list(range(2, 102))


def test_callbacks_go_where_they_are_dispatched(path: Path) -> None:
    """An event loop takes them to its own thread."""
    carried: queue.SimpleQueue[list[Callable[[], None]]] = queue.SimpleQueue()
    log = Ledger(path, dispatch=carried.put)
    made: list[Written] = []
    log.decide(decision(), made.append)
    callbacks = carried.get(timeout=WAIT_S)
    assert made == []
    for callback in callbacks:
        callback()
    log.close()
    assert [type(written) for written in made] == [Granted]


def test_many_threads(ledger: Ledger) -> None:
    """Every call gets its own answer, and every row its own number."""
    calls = [decision(Outcome.GRANTED if number % 2 else Outcome.DECLINED) for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda made: ledger.decide_now(made, WAIT_S), calls))
    for made, answer in zip(calls, answers, strict=True):
        if made.outcome is Outcome.GRANTED:
            assert isinstance(answer, Granted)
            assert answer.grant.call_id == made.call.call_id
        else:
            assert answer == Logged()
    assert [sequence for sequence, *_ in rows(ledger.place.path)] == list(range(2, 202))


def test_two_processes(path: Path, ledger: Ledger) -> None:
    """The classic script writes the same log as the service: every row of both is there, none twice."""
    with child(path, 40) as other:
        mine = [ledger.decide_now(decision(), WAIT_S) for _ in range(40)]
        assert other.stdout is not None
        theirs = [other.stdout.readline().split() for _ in range(40)]
        other.communicate(timeout=WAIT_S)
    assert all(isinstance(written, Granted) for written in mine)
    assert {kind for kind, _ in theirs} == {"Granted"}
    written = rows(path)
    assert [sequence for sequence, *_ in written] == list(range(2, 82))
    assert {call_id for _, call_id in theirs} < {call_id for _, _, call_id, _ in written}


def test_processes_that_create_it_at_once(path: Path) -> None:
    """The first calls after an installation may come at the same moment."""
    children = [child(path, 1) for _ in range(4)]
    try:
        for process in children:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Granted")
    finally:
        for process in children:
            process.communicate(timeout=WAIT_S)
    assert len(rows(path)) == 4


# --- a disk that does not take it -------------------------------------------------------------------------------------


def fill(log: Ledger) -> None:
    """The database may not grow any more: what a full disk says, as an error of the same kind."""
    (pages,) = log._database.execute("PRAGMA page_count").fetchone() or (0,)
    log._database.execute(f"PRAGMA max_page_count={pages}")


def make_room(log: Ledger) -> None:
    log._database.execute("PRAGMA max_page_count=1073741823")


def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R6, R7: no Grant; a refusal is kept and written when there is room; nobody is told that it is on disk."""
    monkeypatch.setattr(ledger_module, "RETRY_S", 0.02)
    log = Watched(path)
    fill(log)
    large = {"text": "x" * 100_000}
    assert log.note_now("b" * 32, "support", "large", large, WAIT_S) == Logged(durable=False)
    assert not log.took.get(timeout=WAIT_S)
    granted, declined = decision(), decision(Outcome.DECLINED)
    # In one commit with what does not fit, nothing is granted.
    assert log.decide_now(granted, WAIT_S) == Failed("log_not_written")
    assert log.decide_now(declined, WAIT_S) == Logged(durable=False)
    assert rows(path) == []
    make_room(log)
    while not log.took.get(timeout=WAIT_S):
        pass  # refused attempts of before
    assert len(rows(path)) == 2, "it tries again by itself"
    assert isinstance(log.decide_now(decision(), WAIT_S), Granted)
    log.close()
    assert [(kind, call) for _, kind, call, _ in rows(path)][:2] == [
        ("large", "b" * 32),
        ("decision", declined.call.call_id),
    ]
    assert granted.call.call_id not in {call for _, _, call, _ in rows(path)}, "I1: a grant is tried once"


def test_a_full_disk_of_the_operating_system(path: Path) -> None:
    """R6: the kernel refuses to let the file grow; the answer comes all the same, and it is not a Grant."""
    script = f"""
import resource, signal, sys
from pathlib import Path
from ivr_consent.core.steps import Failed
from ivr_consent.logs import configure_logging
from ivr_consent.store.ledger import Ledger
configure_logging()
log = Ledger(Path({str(path)!r}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
big = {{"text": "x" * 400_000}}
print(log.note_now("b" * 32, "support", "large", big, 20.0))
print(log.healthy)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=WAIT_S, check=True)
    assert done.stdout.splitlines() == ["Logged(durable=False)", "False"]
    assert [kind for _, kind, *_ in rows(path)] == ["large"], "closing tries once more"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_another_writer_that_does_not_let_go(path: Path, ledger: Ledger) -> None:
    """R6: a lock held by someone else is waited for only so long."""
    ledger._database.execute("PRAGMA busy_timeout=50")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert ledger.decide_now(decision(), WAIT_S) == Failed("log_not_written")
        other.execute("ROLLBACK")
    assert isinstance(ledger.decide_now(decision(), WAIT_S), Granted)


def test_what_is_kept_in_memory_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_UNWRITTEN", 5)
    log = Ledger(path)
    fill(log)
    for number in range(8):
        log.note_now("b" * 32, "support", f"kind{number}", {"text": "x" * 50_000}, WAIT_S)
    make_room(log)
    log.close()
    assert [kind for _, kind, *_ in rows(path)] == [f"kind{number}" for number in range(3, 8)]


# --- files that are not it ------------------------------------------------------------------------------------------


def not_a_database(path: Path) -> None:
    path.write_text("I am a letter, and long enough to be looked at as a database header would be. " * 10)


def anothers_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE calls (id)")


def newer(path: Path) -> None:
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (not_a_database, "name another file"),
        (anothers_database, "not a log of ivr-consent; name another file"),
        (newer, "newer ivr-consent"),
    ],
)
@pytest.mark.parametrize("opens", [Ledger, LedgerReader])
def test_a_file_that_is_not_ours(
    path: Path, make: Callable[[Path], None], says: str, opens: type[Ledger] | type[LedgerReader]
) -> None:
    """It is refused with a remedy, and not one byte of it is changed."""
    make(path)
    before = path.read_bytes()
    with pytest.raises(LedgerUnreadable, match=says) as refused:
        opens(path)
    assert str(path) in str(refused.value)
    assert path.read_bytes() == before


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="create its directory"):
        Ledger(tmp_path / "missing" / "decisions.db")


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be written"):
        Ledger(tmp_path)
    with pytest.raises(LedgerUnreadable, match="there is no log"):
        LedgerReader(tmp_path)


def test_no_log_yet(path: Path) -> None:
    """Looking does not create it."""
    with pytest.raises(LedgerUnreadable, match="ivr-consent serve"):
        LedgerReader(path)
    assert not path.exists()


def test_an_empty_file(path: Path) -> None:
    """A reader says so; a writer makes a log of it."""
    path.touch()
    with pytest.raises(LedgerUnreadable, match="empty"):
        LedgerReader(path)
    Ledger(path).close()
    with LedgerReader(path) as reader:
        assert list(reader.calls()) == []


def test_a_log_that_may_not_be_written() -> None:
    """R6: said at the start, with a remedy, to an unprivileged service; root can write everything."""
    directory = Path(tempfile.mkdtemp(prefix="ledger-"))
    try:
        path = directory / "decisions.db"
        Ledger(path).close()
        path.chmod(0o444)
        directory.chmod(0o555)
        script = (
            "import os, sys\nfrom pathlib import Path\nfrom ivr_consent.core.errors import LedgerError\n"
            "from ivr_consent.store.ledger import Ledger\n"
            "os.geteuid() or os.setuid(65534)\n"
            "try:\n    Ledger(Path(sys.argv[1]))\nexcept LedgerError as error:\n    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=WAIT_S, check=True
        )
    finally:
        directory.chmod(0o700)
        shutil.rmtree(directory)
    assert "cannot be written" in done.stdout
    assert "the service's user" in done.stdout


def test_a_damaged_log_is_not_read_as_a_shorter_one(path: Path) -> None:
    log = Ledger(path)
    for _ in range(200):
        log.decide(decision(), lambda _: None)
    log.close()
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 8] = os.urandom(4096 * 5)
    path.write_bytes(data)
    with LedgerReader(path) as reader, pytest.raises(LedgerError, match="newest copy"):
        list(reader.calls(limit=1000))


# --- the file -------------------------------------------------------------------------------------------------------


def test_the_log_is_for_its_owner_alone(path: Path) -> None:
    """R15: and so are the files beside it, whatever the umask."""
    before = os.umask(0)
    try:
        log = Ledger(path)
        log.decide_now(decision())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        log.close()
    finally:
        os.umask(before)
    assert modes == {
        "decisions.db": 0o600,
        "decisions.db-wal": 0o600,
        "decisions.db-shm": 0o600,
        "decisions.db-writers": 0o600,
        "decisions.key": 0o600,
        "decisions.key.mark": 0o600,
        "decisions.pub": 0o644,
    }


def test_it_says_what_it_is(path: Path, ledger: Ledger) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET outcome = 'granted'",
        "UPDATE events SET payload = payload",
        "DELETE FROM events",
        "REPLACE INTO events SELECT * FROM events",
    ],
)
def test_rows_are_never_changed(path: Path, ledger: Ledger, statement: str) -> None:
    """R23: append-only, also for somebody with another program."""
    made = decision(Outcome.DECLINED)
    ledger.decide_now(made)
    before = rows(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA recursive_triggers=ON")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    assert rows(path) == before


def test_opening_again_keeps_everything(path: Path) -> None:
    made = [decision() for _ in range(3)]
    for one in made:
        log = Ledger(path)
        log.decide_now(one)
        log.close()
    assert [call for _, _, call, _ in rows(path)] == [one.call.call_id for one in made]
