"""Faults of the disk, the clock, the key and other processes: callers go on unrecorded in time, nothing is corrupted,
and when the fault is over the log goes on by itself."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.errors import LedgerError
from ivr_consent.core.steps import Granted
from ivr_consent.store.ledger import COMMIT_DEADLINE_S, Ledger
from ivr_consent.store.place import Place
from ivr_consent.testing.rig import skip_or_fail
from tests.faults.disk import Disk, Fault, Operation, library
from tests.faults.evidence import Evidence, check
from tests.faults.writer import decision
from tests.faults.zygote import Child, Zygote

IN_TIME_S = COMMIT_DEADLINE_S + 3.0
"""A caller's deadline, and what a busy machine adds."""

WAIT_S = 20.0
LOG, WAL, KEY = "/decisions.db", "/decisions.db-wal", "/decisions.key"
WRITE, FLUSH = Operation.WRITE, Operation.FLUSH


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(library(tmp_path_factory.mktemp("library"))) as server:
        yield server


@dataclass(slots=True)
class Service:
    """A log in a process of its own, on a disk that fails when it is told to."""

    zygote: Zygote
    path: Path
    disk: Disk
    child: Child

    @classmethod
    def start(cls, zygote: Zygote, folder: Path, control: Path) -> Service:
        disk = Disk(control)
        service = cls(zygote, folder / "decisions.db", disk, _fork(zygote, folder / "decisions.db", disk))
        assert "error" not in service.child.ask(do="open")
        assert service.decide("granted")["answer"] == "granted"
        return service

    def ask(self, do: str, **details: Any) -> Any:
        return self.child.ask(do=do, **details)

    def decide(self, outcome: str, **details: Any) -> Any:
        return self.ask("decide", outcome=outcome, **details)

    def restart(self) -> Any:
        """A new process on the same log; what it says when it opens it."""
        self.child.kill()
        self.child.close()
        self.child = _fork(self.zygote, self.path, self.disk)
        return self.ask("open")

    def refuses(self) -> list[Any]:
        """Nobody is granted anything, and nobody waits longer than said; the answers."""
        answers = [self.decide("granted"), self.decide("declined"), self.ask("flow")]
        assert [answer["answer"] for answer in answers] in (
            ["failed", "later", "failed"],
            ["failed", "failed", "failed"],  # too slow even to be told that it will be written later
        )
        assert all(answer["seconds"] < 2 * IN_TIME_S for answer in answers)
        assert answers[0]["seconds"] < IN_TIME_S
        return answers

    def goes_on(self) -> Evidence:
        """The fault is over: the log goes on without a hand, and holds."""
        self.disk.heal()
        assert self.ask("healthy") == {"healthy": True, "seconds": pytest.approx(0, abs=WAIT_S)}
        granted = self.decide("granted")
        assert granted["answer"] == "granted"
        assert self.ask("seal")["note"]
        self.ask("close")
        evidence = check(self.path)
        assert evidence.decided[granted["call"]] == (granted["sequence"], "granted")
        return evidence

    def close(self) -> None:
        self.child.close()
        self.disk.close()


def _fork(zygote: Zygote, path: Path, disk: Disk) -> Child:
    return zygote.fork("commands", path=str(path), control=str(disk.control))


@pytest.fixture
def service(zygote: Zygote, tmp_path: Path) -> Iterator[Service]:
    folder = tmp_path / "log"
    folder.mkdir()
    made = Service.start(zygote, folder, tmp_path / "control")
    yield made
    made.close()


def not_granted(evidence: Evidence, answers: list[Any]) -> None:
    """What was refused to its caller is no grant in the log, or one that the log says was not used."""
    for answer in answers:
        call = answer["call"]
        _, outcome = evidence.decided.get(call, (0, "none"))
        if outcome == "granted":
            assert "grant_void" in evidence.later[call]


# --- the disk ---------------------------------------------------------------------------------------------------------

REFUSALS = {
    "disk full": [Fault(WRITE, WAL, errno.ENOSPC)],
    "disk full when it is flushed": [Fault(FLUSH, WAL, errno.ENOSPC)],
    "quota": [Fault(WRITE, WAL, errno.EDQUOT)],
    "read-only": [Fault(WRITE | Operation.TRUNCATE | Operation.CREATE, "", errno.EROFS)],
    "error on write": [Fault(WRITE, WAL, errno.EIO)],
    "error on flush": [Fault(FLUSH, WAL, errno.EIO)],
    "error on every flush": [Fault(FLUSH, "", errno.EIO)],
    "error after half a write": [
        Fault(WRITE, WAL, half=True, times=1),
        Fault(WRITE, WAL, errno.EIO),
    ],
    "error on everything": [Fault(WRITE | FLUSH | Operation.TRUNCATE | Operation.CREATE, "", errno.EIO)],
    "slow": [Fault(FLUSH, WAL, delay_ms=2300)],
}


@pytest.mark.parametrize("faults", REFUSALS.values(), ids=REFUSALS)
def test_a_disk_that_refuses(service: Service, faults: list[Fault]) -> None:
    """R6, R23: no Grant in all that time; then everything that was owed is written, and no refused grant stands."""
    service.disk.fail(*faults)
    answers = service.refuses()
    assert service.disk.hits
    evidence = service.goes_on()
    not_granted(evidence, answers)
    assert evidence.decided[answers[1]["call"]][1] == "declined"
    flow = answers[2]["call"]
    assert evidence.decided[flow][1] == "failed" or evidence.later[flow][-1] == "grant_void"


@pytest.mark.parametrize("faults", REFUSALS.values(), ids=REFUSALS)
def test_killed_while_the_disk_refuses(service: Service, faults: list[Fault]) -> None:
    """What was refused may be found after a restart, where the disk had it all the same: then nobody closed it, and
    the sweep does."""
    before = service.decide("granted")
    service.disk.fail(*faults)
    answers = [service.decide("granted"), service.decide("granted")]
    assert [answer["answer"] for answer in answers] == ["failed", "failed"]
    service.disk.heal()
    assert "error" not in service.restart()
    evidence = service.goes_on()
    assert evidence.decided[before["call"]][1] == "granted"


def test_a_commit_that_failed_and_is_there(service: Service) -> None:
    """The flush fails, also the one that would clear the write-ahead log: what was written is found again when the log
    is opened anew. The grant was refused to its caller, so the log voids it, at once and by itself; a refusal that was
    to be written later stands there once."""
    service.disk.fail(Fault(FLUSH, WAL, errno.EIO, times=2))
    granted = service.decide("granted")
    assert granted["answer"] == "failed"
    assert service.ask("healthy")["healthy"]
    service.disk.fail(Fault(FLUSH, WAL, errno.EIO, times=2))
    declined = service.decide("declined")
    assert declined["answer"] == "later"
    evidence = service.goes_on()
    assert evidence.decided[granted["call"]][1] == "granted", "the fault did not leave the commit in doubt"
    assert evidence.later[granted["call"]] == ["grant_void"]
    assert evidence.decided[declined["call"]][1] == "declined"
    assert declined["call"] not in evidence.later


def test_a_commit_in_doubt_and_the_failed_decision_of_its_call(service: Service) -> None:
    """The call itself writes its end too: whichever comes first, one decision stands, and it is void."""
    service.disk.fail(Fault(FLUSH, WAL, errno.EIO, times=2))
    flow = service.ask("flow")
    assert flow["answer"] == "failed"
    evidence = service.goes_on()
    assert evidence.decided[flow["call"]][1] == "granted"
    assert set(evidence.later[flow["call"]]) == {"grant_void"}


def test_an_abandoned_grant_in_doubt(service: Service) -> None:
    """Slow first, then it fails: nobody waits any more when the error comes."""
    service.disk.fail(Fault(FLUSH, WAL, errno.EIO, delay_ms=2300, times=2))
    granted = service.decide("granted")
    assert (granted["answer"], granted["reason"]) == ("failed", "log_too_slow")
    evidence = service.goes_on()
    not_granted(evidence, [granted])


def test_short_writes(service: Service) -> None:
    """A kernel may take less than it was given: the rest is written after it."""
    service.disk.fail(Fault(WRITE, "", half=True))
    assert service.decide("granted")["answer"] == "granted"
    assert service.disk.hits
    service.goes_on()


@pytest.mark.parametrize("operation", [WRITE, FLUSH], ids=["write", "flush"])
def test_the_database_cannot_be_written_while_its_log_can(service: Service, operation: Operation) -> None:
    """Decisions are on disk in the write-ahead log; they stay there, through a kill too, until they can be moved."""
    service.disk.fail(Fault(operation, LOG, errno.EIO))
    acknowledged = []
    rounds = 0
    while service.disk.hits < 3:
        rounds += 1
        assert rounds < 200, "the write-ahead log was never moved"
        answers = service.ask("many", count=50)["answers"]
        acknowledged += [(call, outcome) for call, outcome, told in answers if told["answer"] in ("granted", "logged")]
    assert len(acknowledged) == rounds * 50
    service.disk.heal()
    assert "error" not in service.restart()
    evidence = service.goes_on()
    for call, outcome in acknowledged:
        assert evidence.decided[call][1] == outcome


KEY_FILES = {
    "next key, write": Fault(WRITE, ".decisions.key.next.new", errno.ENOSPC),
    "next key, flush": Fault(FLUSH, ".decisions.key.next.new", errno.EIO),
    "next key, its name": Fault(Operation.RENAME, "decisions.key.next", errno.EIO),
    "old key, destroying": Fault(WRITE, KEY, errno.EIO),
    "old key, destroyed but not flushed": Fault(FLUSH, KEY, errno.EIO),
    "key, its name": Fault(Operation.RENAME, KEY, errno.EROFS),
    "no new files": Fault(Operation.CREATE, "", errno.ENOSPC),
    "slow": Fault(FLUSH, ".decisions.key.next.new", delay_ms=2300),
}


@pytest.mark.parametrize("fault", KEY_FILES.values(), ids=KEY_FILES)
def test_key_files(service: Service, fault: Fault) -> None:
    """Sealing waits; calls do not. When the fault is over, sealing goes on; a restart in between changes nothing."""
    assert service.ask("seal")["note"]  # there is a lock file from now on
    for _ in range(2):
        service.disk.fail(fault)
        assert service.decide("granted")["answer"] == "granted"
        sealed = service.ask("seal")
        assert ("error" in sealed) == bool(fault.error), sealed
        assert service.disk.hits
        assert service.decide("granted")["answer"] == "granted"
        service.disk.heal()
        assert "error" not in service.restart()
        assert service.decide("granted")["answer"] == "granted"
        assert service.ask("seal")["note"]
    assert service.goes_on().checkpoints


def test_the_mark_cannot_be_written(service: Service) -> None:
    """It is for noticing what was lost, and holds up nobody."""
    service.disk.fail(Fault(WRITE, ".mark", errno.EIO))
    assert service.decide("granted")["answer"] == "granted"
    service.goes_on()


def test_a_commit_and_its_checkpoint_fail_together(service: Service) -> None:
    """The checkpoint that was in the failed commit may turn out to be there: then the key that it names is too."""
    assert service.decide("declined")["answer"] == "logged"
    service.disk.fail(Fault(FLUSH, WAL, errno.EIO, times=2))
    assert service.ask("seal")["note"] is None
    service.disk.heal()
    assert "error" not in service.restart()
    service.goes_on()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        skip_or_fail("this machine does not let us mount a small file system: no really full or read-only disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def test_a_really_full_disk(zygote: Zygote, small_disk: Path, tmp_path: Path) -> None:
    """R6: with a file system that is full, and has room again."""
    service = Service.start(zygote, small_disk, tmp_path / "control")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    answers: list[Any] = []
    while not answers or answers[-1]["answer"] == "granted":  # room in what the log has already
        answers.append(service.decide("granted"))
    assert answers[-1]["reason"] == "log_not_written"
    answers += service.refuses()
    filler.unlink()
    evidence = service.goes_on()
    not_granted(evidence, [answer for answer in answers if answer["answer"] != "granted"])
    service.close()


def test_a_disk_that_becomes_read_only(zygote: Zygote, small_disk: Path, tmp_path: Path) -> None:
    """R6: as the kernel does it after an error."""
    service = Service.start(zygote, small_disk, tmp_path / "control")
    service.child.kill()  # a mount with open files cannot be changed from outside
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    said = service.restart()
    assert "read-only" in said["error"].lower()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert "error" not in service.restart()
    service.goes_on()
    service.close()


# --- the process ------------------------------------------------------------------------------------------------------


def test_no_descriptors_left(service: Service) -> None:
    """R6: calls have taken them all. What is open stays open; what has to be opened anew waits until it can be."""
    service.ask("descriptors", none=True)
    assert service.decide("granted")["answer"] == "granted"
    assert "error" in service.ask("seal")
    service.disk.fail(Fault(FLUSH, WAL, errno.EIO, times=1))
    service.refuses()
    service.ask("descriptors", none=False)
    service.goes_on()


def test_the_clock_steps_back_and_forth(service: Service) -> None:
    """R23: the order of events is that of their numbers; each step back is told, so that it is no riddle later on."""
    for seconds in (3600, 3600, -7200, -7100, 86_400, 0):
        service.ask("clock", seconds=seconds)
        assert service.decide("granted")["answer"] == "granted"
        assert service.ask("seal")["note"]
    evidence = service.goes_on()
    assert evidence.kinds["clock_set_back"] == 2
    with closing(sqlite3.connect(service.path)) as database:
        told = [
            json.loads(payload)
            for (payload,) in database.execute(
                "SELECT payload FROM events WHERE kind = 'clock_set_back' ORDER BY sequence"
            )
        ]
    assert all(step["after"] < step["before"] for step in told)


# --- other processes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_that_append_at_once(zygote: Zygote, tmp_path: Path, processes: int) -> None:
    """R23: one order of all, nobody waits too long, and all of them seal."""
    path = tmp_path / "decisions.db"
    children = [zygote.fork("commands", path=str(path), checkpoint_events=20) for _ in range(processes)]
    try:
        for child in children:
            child.send(do="open")
        assert all("error" not in child.answer() for child in children)
        for _ in range(4):
            for child in children:
                child.send(do="many", count=60)
                child.send(do="seal")
            for child in children:
                answers = child.answer()["answers"]
                assert {told["answer"] for _, _, told in answers} == {"granted", "logged"}
                child.answer()
        for child in children:
            child.ask(do="close")
    finally:
        for child in children:
            child.close()
    evidence = check(path)
    assert len(evidence.decided) == processes * 4 * 60
    assert evidence.checkpoints


def test_processes_that_make_the_log_at_once(zygote: Zygote, tmp_path: Path) -> None:
    """The first calls after an installation may come at the same moment: one makes the log, the others wait for it."""
    for number in range(6):
        path = tmp_path / str(number) / "decisions.db"
        path.parent.mkdir()
        children = [zygote.fork("commands", path=str(path)) for _ in range(6)]
        for child in children:
            child.send(do="open")
            child.send(do="decide", outcome="granted")
        for child in children:
            assert "error" not in child.answer()
            assert child.answer()["answer"] == "granted"
            child.close()
        assert len(check(path).decided) == 6


def test_one_call_beside_a_busy_server(zygote: Zygote, tmp_path: Path) -> None:
    """The classic script has its turn between two commits of a server under load, within its deadline."""
    path = tmp_path / "decisions.db"
    server = zygote.fork("load", path=str(path), threads=16, checkpoint_events=100)
    server.link.recv(1)
    try:
        for _ in range(5):
            script = zygote.fork("commands", path=str(path))
            assert "error" not in script.ask(do="open")
            granted = script.ask(do="decide", outcome="granted")
            assert granted["answer"] == "granted"
            assert script.ask(do="note", call=granted["call"], kind="recording_confirmed")["answer"] == "logged"
            script.ask(do="close")
            script.close()
            while len(server.link.recv(1 << 20)) == 1 << 20:
                pass  # a server whose words nobody hears would stop writing
    finally:
        server.close()
    Ledger(path).close()
    check(path)


def test_another_process_holds_the_log(service: Service) -> None:
    """R6: longer than anyone waits. When it lets go, everything is as before."""
    with closing(sqlite3.connect(service.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = service.refuses()
        other.execute("ROLLBACK")
    evidence = service.goes_on()
    not_granted(evidence, answers)


# --- somebody's hands -------------------------------------------------------------------------------------------------


def test_the_log_is_deleted(service: Service) -> None:
    """I1: a decision in a file that has no name is in no log. Nobody is granted anything until it is back."""
    copy = service.path.with_name("copy")
    service.path.rename(copy)
    service.refuses()
    assert not service.path.exists(), "another log was begun in its place"
    said = service.restart()
    assert "log restore" in said["error"]
    assert str(service.path) in said["error"]
    copy.rename(service.path)
    assert "error" not in service.restart()
    service.goes_on()


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_file_beside_the_log_is_deleted(service: Service, suffix: str) -> None:
    """What is in the write-ahead log is brought into the log before that is opened anew."""
    before = service.decide("granted")
    service.path.with_name(service.path.name + suffix).unlink()
    during = service.ask("flow")
    evidence = service.goes_on()
    assert evidence.decided[before["call"]][1] == "granted"
    if during["answer"] != "granted":
        not_granted(evidence, [during])


def test_the_log_is_replaced(service: Service, tmp_path: Path) -> None:
    """An older copy is put in its place while the service runs: it is noticed, and nothing is added to it."""
    old = tmp_path / "old"
    with closing(sqlite3.connect(service.path)) as source, closing(sqlite3.connect(old)) as target:
        source.backup(target)
    for _ in range(3):
        assert service.decide("granted")["answer"] == "granted"
    shutil.copy(old, service.path.with_name("copy"))
    for suffix in ("", "-wal", "-shm"):
        service.path.with_name(f"decisions.db{suffix}").rename(tmp_path / f"newest{suffix}")
    service.path.with_name("copy").rename(service.path)
    service.refuses()
    assert "at least 3 events are lost" in service.restart()["error"]
    for suffix in ("", "-wal"):
        (tmp_path / f"newest{suffix}").rename(service.path.with_name(f"decisions.db{suffix}"))
    assert "error" not in service.restart()
    service.goes_on()


def test_the_folder_is_moved_and_comes_back(service: Service) -> None:
    """Say, a mount that is gone for a moment."""
    folder = service.path.parent
    folder.rename(folder.with_name("elsewhere"))
    answers = service.refuses()
    folder.with_name("elsewhere").rename(folder)
    not_granted(service.goes_on(), answers)


def gone(key: Path) -> None:
    key.unlink()


def zeroed(key: Path) -> None:
    key.write_bytes(bytes(32))


def cut(key: Path) -> None:
    key.write_bytes(key.read_bytes()[:7])


def another(key: Path) -> None:
    key.write_bytes(os.urandom(32))


def older(key: Path) -> None:
    key.write_bytes(key.with_name("older").read_bytes())


@pytest.mark.parametrize("harm", [gone, zeroed, cut, another, older], ids=lambda harm: harm.__name__)
def test_the_key_is_lost(service: Service, harm: Any) -> None:
    """Calls go on: what they decide is on disk and in the chain. Sealing says what is wrong; a start refuses, and
    says what to do; with the key back, all is well."""
    key = service.path.with_suffix(".key")
    shutil.copy(key, key.with_name("older"))
    assert service.ask("seal")["note"]
    kept = key.read_bytes()
    harm(key)
    assert service.decide("granted")["answer"] == "granted"
    assert str(key) in service.ask("seal")["error"]
    assert service.decide("granted")["answer"] == "granted"
    said = service.restart()["error"]
    assert str(key) in said
    assert "log restore" in said
    assert "--accept-loss" in said
    key.write_bytes(kept)
    assert "error" not in service.restart()
    service.goes_on()


def test_an_old_copy_is_noticed_by_its_key(tmp_path: Path) -> None:
    """Log without mark: a checkpoint was made after the copy, and its key is gone."""
    path = tmp_path / "decisions.db"
    log = Ledger(path)
    log.decide_now(decision("a" * 32, "granted"))
    log.close()
    copy = path.read_bytes()
    log = Ledger(path, seals=True)
    log.decide_now(decision("b" * 32, "granted"))
    log.close()
    path.write_bytes(copy)
    path.with_name("decisions.key.mark").unlink()
    with pytest.raises(LedgerError, match="at least one checkpoint was made after"):
        Ledger(path)
    assert path.read_bytes() == copy, "something was added to it"


def test_a_copy_is_noticed_between_two_checkpoints(tmp_path: Path) -> None:
    """The mark beside the key says how many events there were, to one event."""
    path = tmp_path / "decisions.db"
    log = Ledger(path)
    log.decide_now(decision("a" * 32, "granted"))
    log.close()
    copy = path.read_bytes()
    log = Ledger(path)
    log.decide_now(decision("b" * 32, "granted"))
    log.close()
    path.write_bytes(copy)
    with pytest.raises(LedgerError, match="ends at event 2 and had 3: at least 1 event is lost"):
        Ledger(path)


def test_a_lost_public_key_is_written_again(tmp_path: Path) -> None:
    """It is the one that the log began with, not the one of today."""
    path = tmp_path / "decisions.db"
    log = Ledger(Place(path), seals=True)
    assert isinstance(log.decide_now(decision("a" * 32, "granted")), Granted)
    log.close()
    before = path.with_suffix(".pub").read_text()
    path.with_suffix(".pub").unlink()
    Ledger(path).close()
    assert path.with_suffix(".pub").read_text() == before
    check(path)


def test_nothing_is_slow(service: Service) -> None:
    """The tests above would show nothing, were every answer late."""
    began = time.monotonic()
    assert service.decide("granted")["seconds"] < COMMIT_DEADLINE_S
    assert time.monotonic() - began < IN_TIME_S
