"""A log of an older version is brought to the new form as it was, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ivr_consent import verifier
from ivr_consent.core.decision import canonical
from ivr_consent.core.errors import LedgerError, LedgerUnreadable
from ivr_consent.core.steps import Granted
from ivr_consent.store.chain import CLOSING, ERASED
from ivr_consent.store.erasure import Finder, forget
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place
from ivr_consent.store.reader import LedgerReader
from ivr_consent.store.schema import MIGRATIONS
from tests.faults.disk import CHANGE, DIE, Disk, Fault, Operation, library
from tests.faults.evidence import check
from tests.faults.zygote import Zygote
from tests.store.test_ledger import decision

SCHEMA_1 = Path(__file__).parents[1] / "data" / "log-schema-1.sql"
"""Written by the last version without a chain: calls of every outcome, what followed them, a clock set back; strange
events, and at its end rows by another hand."""

WAIT_S = 20.0
PERSONAL = ("subject_ref", "channel_uniqueid")

Row = tuple[int, str, str, str, str, str | None, bytes | str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of schema 1."""
    target = tmp_path / "decisions.db"
    with closing(sqlite3.connect(target)) as connection:
        connection.executescript(SCHEMA_1.read_text())
    return target


def before() -> list[Row]:
    """The events of the old log."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA_1.read_text())
        return connection.execute("SELECT * FROM events ORDER BY sequence").fetchall()


def parsed(raw: bytes | str) -> Any:
    """The payload of an event that was written by us."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        found = json.loads(raw)
        if isinstance(found, dict) and canonical(found) == raw:
            return found
    return None


def bytes_of(raw: bytes | str) -> bytes:
    return raw.encode() if isinstance(raw, str) else raw


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(library(tmp_path_factory.mktemp("library"))) as server:
        yield server


def is_whole(path: Path) -> None:
    """Nothing of the migration is there."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT * FROM events ORDER BY sequence").fetchall() == before()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type <> 'index'")}
    assert names == {"events", "events_are_never_changed", "events_are_never_deleted"}


def test_everything_is_readable_as_before(path: Path) -> None:
    Ledger(path).close()
    old = before()
    decisions = [row for row in old if row[2] == "decision"]
    with LedgerReader(path) as reader:
        calls = list(reader.calls(limit=None))
        assert [call.call_id for call in calls] == [row[3] for row in reversed(decisions)]
        for row in decisions:
            sequence, at, _, call_id, line, outcome, raw = row
            record = reader.call(call_id)
            assert record is not None
            assert (record.decision.sequence, record.decision.time) == (sequence, at)
            assert (record.line, record.decision.outcome) == (line, outcome)
            assert record.decision.payload == parsed(raw)
            later = [(one[0], one[1], one[2], parsed(one[6])) for one in old if one[3] == call_id and one[0] > sequence]
            assert [(event.sequence, event.time, event.kind, event.payload) for event in record.later] == later
        closed = {row[3] for row in old if row[2] in CLOSING}
        open_ = [row[3] for row in decisions if row[5] == "granted" and row[3] not in closed]
        assert [record.call_id for record in reader.unfinished_grants()] == open_
        assert len(open_) == 2
        gone = {row[3] for row in old if row[2] in ERASED}
        ended = {row[3] for row in old if row[2] == "recording_ended"}
        due = {row[3] for row in decisions if row[3] in ended - gone}
        expired = reader.expired_recordings(datetime(2036, 1, 1, tzinfo=UTC))
        assert {record.call_id for record in expired} == due
        assert reader.expired_recordings(datetime(2026, 3, 1, tzinfo=UTC)) == []


def test_it_is_a_chain_now(path: Path) -> None:
    """Every event with its number, time and bytes; the personal ones beside the chain; nothing is lost of the rest."""
    Ledger(path, seals=True).close()
    old = before()
    report = verifier.verify(path, verifier.read_keys(str(path.with_suffix(".pub"))))
    assert not [finding for finding in report.findings if finding.code not in ("migrated", "clock_ran_backwards")]
    assert report.events == report.sealed == len(old) + 2
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT e.sequence, e.time, e.kind, e.call_id, e.line, e.outcome, e.payload, p.data FROM events e "
            "LEFT JOIN personal p ON p.sequence = e.sequence ORDER BY e.sequence"
        ).fetchall()
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert [row[:6] for row in rows[: len(old)]] == [row[:6] for row in old]
    assert [row[2] for row in rows[len(old) :]] == ["log_migrated", "log_created"]
    assert json.loads(rows[len(old)][6]) == {"schema": 1, "events": len(old)}
    assert "events_unchained" not in tables
    for new, row in zip(rows, old, strict=False):
        payload = parsed(row[6])
        call = payload.get("call") if payload is not None else None
        if payload is None:
            assert json_or_same(new[6], row[6])
        elif isinstance(call, dict) and set(call) & set(PERSONAL):
            assert not set(json.loads(new[6])["call"]) & set(PERSONAL)
            beside = json.loads(new[7])
            assert beside["call"] == {name: call[name] for name in PERSONAL if name in call}
            assert "agent" not in json.loads(new[6])
        else:
            assert (new[6], new[7]) == (row[6], None)


def json_or_same(new: bytes, old: bytes | str) -> bool:
    """A row by another hand: its bytes, or the same JSON in its one form."""
    return new == bytes_of(old) or json.loads(new) == json.loads(old)


def test_nothing_personal_is_left_elsewhere(path: Path) -> None:
    """R24: what is forgotten afterwards is gone from the files, of the old form too."""
    Ledger(path).close()
    old = before()
    call_id = next(row[3] for row in old if row[2] == "decision" and row[5] == "declined")
    payload = next(parsed(row[6]) for row in old if row[3] == call_id)
    channel = payload["call"]["channel_uniqueid"].encode()
    assert path.read_bytes().count(channel) == 1, "it stands beside the chain, and nowhere else"
    log = Ledger(path)
    with Finder(Place(path)) as finder:
        forget(log, finder.of_call(call_id), reason="erasure-request", by=None)
    log.close()
    assert channel not in path.read_bytes()


def test_it_is_done_once(path: Path) -> None:
    """Opened again, nothing changes; what is written goes behind it."""
    Ledger(path).close()
    first = check_decisions(path)
    Ledger(path).close()
    assert check_decisions(path) == first
    log = Ledger(path)
    assert isinstance(log.decide_now(decision(), WAIT_S), Granted)
    log.close()
    assert len(check_decisions(path)) == len(first) + 1


def check_decisions(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        return connection.execute("SELECT sequence, call_id, outcome FROM decisions ORDER BY sequence").fetchall()


def test_a_second_decision_past_us(path: Path) -> None:
    """Somebody removed the index, too: both are carried over, the first stands."""
    call_id = next(row[3] for row in before() if row[5] == "declined")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP INDEX one_decision_per_call")
        connection.execute("CREATE INDEX one_decision_per_call ON events (call_id) WHERE kind = 'decision'")
        connection.execute(
            "INSERT INTO events (time, kind, call_id, line, outcome, payload) "
            "SELECT time, kind, call_id, line, 'granted', payload FROM events WHERE call_id = ?",
            (call_id,),
        )
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(
            "SELECT outcome FROM events WHERE call_id = ? AND kind = 'decision' ORDER BY sequence", (call_id,)
        ).fetchall() == [("declined",), ("granted",)]
        assert connection.execute("SELECT outcome FROM decisions WHERE call_id = ?", (call_id,)).fetchall() == [
            ("declined",)
        ]


def test_who_only_reads_says_what_to_do(path: Path) -> None:
    with pytest.raises(LedgerUnreadable, match="ivr-consent serve"):
        LedgerReader(path)
    is_whole(path)


def test_killed_in_the_middle(path: Path, tmp_path: Path, zygote: Zygote) -> None:
    """At changes of a file and flushes from the first to the last: all of it is there, or nothing."""
    live = tmp_path / "live"
    migrated = []
    for step in itertools.chain(range(0, 40, 4), itertools.count(40, 25)):
        shutil.rmtree(live, ignore_errors=True)
        live.mkdir()
        shutil.copy(path, live / "decisions.db")
        disk = Disk(tmp_path / "control")
        disk.fail(Fault(CHANGE, "", DIE, after=step))
        child = zygote.fork("open", path=str(live / "decisions.db"), control=str(disk.control))
        finished = False
        with contextlib.suppress(EOFError):
            finished = child.answer() == "done"
        child.close()
        disk.close()
        with closing(sqlite3.connect(live / "decisions.db")) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()
        if version == (1,):
            is_whole(live / "decisions.db")
        migrated.append(version != (1,))
        Ledger(live / "decisions.db", seals=True).close()
        assert verifier.verify(live / "decisions.db").events == len(before()) + 2
        if finished:
            break
    assert migrated == sorted(migrated), "it was there, and then it was not"
    assert not migrated[3]
    assert migrated[-1]


@pytest.mark.parametrize("after", [0, 3, 30, 100])
def test_a_full_disk_in_the_middle(path: Path, tmp_path: Path, zygote: Zygote, after: int) -> None:
    """Said, nothing done; done when there is room."""
    disk = Disk(tmp_path / "control")
    disk.fail(Fault(Operation.WRITE, "-wal", errno.ENOSPC, after=after))
    child = zygote.fork("commands", path=str(path), control=str(disk.control))
    assert "full" in child.ask(do="open")["error"]
    assert disk.hits
    disk.heal()
    assert "error" not in child.ask(do="open")
    child.close()
    disk.close()
    Ledger(path, seals=True).close()
    assert verifier.verify(path).events == len(before()) + 2


def test_processes_that_migrate_at_once(path: Path, zygote: Zygote) -> None:
    """One does it, the others wait for it and go on."""
    children = [zygote.fork("commands", path=str(path)) for _ in range(4)]
    for child in children:
        child.send(do="open")
        child.send(do="decide", outcome="granted")
    for child in children:
        assert "error" not in child.answer()
        assert child.answer()["answer"] == "granted"
        child.close()
    with closing(sqlite3.connect(path)) as connection:
        kinds = [kind for (kind,) in connection.execute("SELECT kind FROM events ORDER BY sequence")]
    assert kinds.count("log_migrated") == kinds.count("log_created") == 1
    assert len(kinds) == len(before()) + 2 + 4


def test_a_long_log(tmp_path: Path) -> None:
    """Thirty thousand events: the service starts again within seconds, on any machine."""
    path = tmp_path / "decisions.db"
    template = next(row for row in before() if row[2] == "decision" and row[5] == "declined")
    payload = parsed(template[6])
    with closing(sqlite3.connect(path)) as connection:
        script = SCHEMA_1.read_text()
        connection.executescript(script[: script.index("INSERT INTO")] + "COMMIT;")
        connection.execute("CREATE UNIQUE INDEX one_decision_per_call ON events (call_id) WHERE kind = 'decision'")
        connection.execute("CREATE INDEX events_of_call ON events (call_id, sequence)")
        for kind in ("UPDATE", "DELETE"):
            name = {"UPDATE": "changed", "DELETE": "deleted"}[kind]
            connection.execute(
                f"CREATE TRIGGER events_are_never_{name} BEFORE {kind} ON events "
                "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
            )
        rows = (
            (template[1], "decision", f"{number:032x}", "support", "declined", canonical(payload | {"repeats": number}))
            for number in range(30_000)
        )
        with connection:
            connection.executemany(
                "INSERT INTO events (time, kind, call_id, line, outcome, payload) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
    began = time.thread_time()
    Ledger(path).close()
    assert time.thread_time() - began < 30
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT size FROM log").fetchone() == (30_002,)
        assert connection.execute("SELECT count(*) FROM decisions").fetchone() == (30_000,)
    with LedgerReader(path) as reader:
        record = reader.call(f"{29_999:032x}")
        assert record is not None
        assert record.decision.payload == payload | {"repeats": 29_999}


def test_a_log_of_a_newer_version(path: Path) -> None:
    """Refused, and not touched."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    content = path.read_bytes()
    with pytest.raises(LedgerError, match="newer"):
        Ledger(path)
    assert path.read_bytes()[100:] == content[100:]


def test_the_newest_form_by_both_ways(path: Path, tmp_path: Path) -> None:
    """A log that was migrated has the very tables of one that was made anew."""
    Ledger(path).close()
    Ledger(tmp_path / "new.db").close()
    schemas = []
    for one in (path, tmp_path / "new.db"):
        with closing(sqlite3.connect(one)) as connection:
            schemas.append(
                connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
            )
    assert schemas[0] == schemas[1]
    check(tmp_path / "new.db")
