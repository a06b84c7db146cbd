"""Kill -9 and the power cut, at any moment under load: what was acknowledged is there, and the service goes on.

``KILLS=1000`` kills a thousand times instead of a few dozen; ``CUTS=1000`` cuts the power so often.
"""

from __future__ import annotations

import errno
import os
import random
import select
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path

import pytest

from ivr_consent.core.decision import Outcome
from ivr_consent.core.steps import Granted
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import Place
from tests.faults.disk import Disk, Fault, Operation, Replay, Step, library, read_trace
from tests.faults.evidence import Evidence, check, must_hold
from tests.faults.writer import decision
from tests.faults.zygote import Child, Zygote

KILLS = int(os.environ.get("KILLS", "50"))
CUTS = int(os.environ.get("CUTS", "40"))
LIFE_S = 0.12
OPEN_S = 20.0
"""The longest life: a start takes a tenth of it, so that some die before they have opened the log."""

Acknowledged = list[tuple[str, str, int]]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as server:
        yield server


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(library(tmp_path_factory.mktemp("library"))) as server:
        yield server


def listen(child: Child, seconds: float, after: bytes = b"") -> bytearray:
    """What a child says until its time has come; it begins when ``after`` was heard."""
    heard, until = bytearray(), time.monotonic() + OPEN_S
    while after not in heard and (left := until - time.monotonic()) > 0:
        if select.select([child.link], [], [], left)[0]:
            heard += child.link.recv(1 << 16)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([child.link], [], [], left)[0]:
            heard += child.link.recv(1 << 16)
    return heard


def rest(child: Child) -> bytes:
    """What a dead child had said."""
    heard = bytearray()
    while part := child.link.recv(1 << 16):
        heard += part
    return bytes(heard)


def acknowledgements(heard: bytes) -> tuple[Acknowledged, list[str]]:
    """The acknowledged decisions, and the other things that were said."""
    decisions: Acknowledged = []
    others = []
    for line in heard.decode().splitlines():
        call, _, outcome_and_sequence = line.partition(" ")
        outcome, _, sequence = outcome_and_sequence.partition(" ")
        if len(call) == 32:
            decisions.append((call, outcome, int(sequence)))
        else:
            others.append(call)
    return decisions, others


def found_in(folder: Path) -> Iterator[str]:
    """Where a kill hit, as the files tell."""
    key = folder / "decisions.key"
    if key.exists() and not any(key.read_bytes()):
        yield "while the key was destroyed"
    elif (folder / "decisions.key.next").exists():
        yield "between a checkpoint and the next key"
    if list(folder.glob(".decisions.key*")):
        yield "while a key was written"
    if not (folder / "decisions.pub").exists():
        yield "before there was a log"


def killed(zygote: Zygote, path: Path, seconds: float, seed: int) -> tuple[Acknowledged, list[str]]:
    """One life under load, and its end."""
    child = zygote.fork("load", path=str(path), seed=seed)
    heard = listen(child, seconds, b"open " if seed % 4 else b"")  # most under load, some while the log is opened
    child.kill()
    heard += rest(child)
    child.close()
    return acknowledgements(bytes(heard))


def test_killed_at_random_moments(zygote: Zygote, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """R23: no acknowledged decision is lost, there is no half event, the chain holds, the service goes on by itself.

    One log all the way; events are sealed so often that writing, sealing, the change of the key and opening are hit.
    """
    chance = random.Random()  # noqa: S311 - which moment, no secret
    path = tmp_path / "decisions.db"
    evidence = Evidence(path)
    acknowledged, hits = 0, Counter[str]()
    for number in range(KILLS):
        decisions, others = killed(zygote, path, chance.uniform(0.005, LIFE_S), number)
        assert "refused" not in others, "a log without any fault refused a decision"
        hits.update(found_in(tmp_path))
        hits["before it was open"] += "open" not in others
        if path.with_suffix(".pub").exists():
            evidence.go_on(whole=number % 100 == 99)
            must_hold(evidence, decisions)
        else:
            assert not decisions
        acknowledged += len(decisions)
    sealed = evidence.checkpoints
    log = Ledger(Place(path, checkpoint_events=7), seals=True)
    assert isinstance(log.decide_now(decision("f" * 32, "granted"), 20.0), Granted)
    log.close()
    evidence.go_on()
    assert evidence.checkpoints > sealed, "sealing did not go on"
    with capsys.disabled():
        where = ", ".join(f"{count} {name}" for name, count in sorted(hits.items()))
        print(f"\n{KILLS} kills, {acknowledged} acknowledged, {evidence.tree.size} events: {where}")
    assert acknowledged > KILLS, "the load was no load"


def test_killed_while_the_log_is_made(zygote: Zygote, tmp_path: Path) -> None:
    """The first start of all: whatever is left of it, the next start makes a log of it."""
    chance = random.Random()  # noqa: S311 - which moment, no secret
    for number in range(max(10, KILLS // 4)):
        path = tmp_path / str(number) / "decisions.db"
        path.parent.mkdir()
        decisions, _ = killed(zygote, path, chance.uniform(0.0, 0.03), number)
        Ledger(path).close()
        must_hold(check(path), decisions)
        leftover = [file.name for file in path.parent.iterdir() if file.name.startswith(".decisions.key.")]
        assert len(leftover) <= 1


def test_the_power_is_cut_at_random_moments(preloaded: Zygote, tmp_path: Path) -> None:
    """R23: what was not flushed may be gone, in part, sector by sector, names too; what was acknowledged is not.

    A kill leaves what the kernel has; this takes it away. The disk is made from a trace of every change and flush.
    """
    cut_often(traced(preloaded, tmp_path, [()], checkpoint_events=7), tmp_path)


def test_the_power_is_cut_after_flushes_failed(preloaded: Zygote, tmp_path: Path) -> None:
    """R23: a kernel that could not flush forgets what it had to write, and the next flush succeeds without it.

    What is acknowledged after such an error does not rest on it: not in the process that met it, and not in the next
    one, which finds the write-ahead log whole, since the kernel still has it in memory.
    """
    chance = random.Random()  # noqa: S311 - which moment, no secret
    lives = []
    for _ in range(6):
        flush = Operation.FLUSH
        wal = Fault(flush, "-wal", errno.EIO, after=chance.randint(0, 40), times=chance.randint(1, 4))
        database = Fault(flush, "decisions.db", errno.EIO, after=chance.randint(0, 2), times=chance.randint(0, 2))
        lives.append((wal, database))
    # Few events between two checkpoints of the log make many small transactions.
    cut_often(traced(preloaded, tmp_path, lives, checkpoint_events=50), tmp_path)


@pytest.mark.parametrize("name", ["-wal", "decisions.db", ""], ids=["write-ahead log", "database", "everything"])
@pytest.mark.parametrize("first", [0, 1, None], ids=["when it is made", "then", "under way"])
def test_the_process_after_the_one_whose_flush_failed(
    preloaded: Zygote, tmp_path: Path, name: str, first: int | None
) -> None:
    """It knows of no error: what it builds on is written once more, before anything rests on it."""
    live = tmp_path / "live"
    live.mkdir()
    disk, trace = Disk(tmp_path / "control"), tmp_path / "trace"
    fault = Fault(Operation.FLUSH, name, errno.EIO)
    begins = 0
    for life in range(2):
        child = preloaded.fork("commands", path=str(live / "decisions.db"), control=str(disk.control), trace=str(trace))
        if life == 0 and first is not None:
            disk.fail(replace(fault, after=first))
        opened = child.ask(do="open")
        if life == 0 and first is None:
            child.ask(do="decide", outcome="granted", mark=True)  # the write-ahead log has a beginning
            disk.fail(fault)
        for outcome in ("granted", "declined") if "error" not in opened else ():
            child.ask(do="decide", outcome=outcome, mark=True)
        child.kill()
        child.close()
        disk.heal()
        begins = begins or len(read_trace(trace, live))
    disk.close()
    steps = read_trace(trace, live)
    flushed = Operation.FLUSH | Operation.RENAME  # after these something more is certain
    cuts = {number for number in range(begins, len(steps)) if steps[number].operation in flushed}
    for luck in range(2):
        cut_at(cuts, steps, Replay(random.Random(luck)), tmp_path)  # noqa: S311 - which part is lost


def traced(zygote: Zygote, tmp_path: Path, lives: Sequence[tuple[Fault, ...]], checkpoint_events: int) -> list[Step]:
    """Everything that happens to the disk while processes come, write and are killed, one after the other."""
    live = tmp_path / "live"
    live.mkdir()
    disk, trace = Disk(tmp_path / "control"), tmp_path / "trace"
    for number, faults in enumerate(lives):
        disk.fail(*faults)
        child = zygote.fork(
            "load",
            path=str(live / "decisions.db"),
            control=str(disk.control),
            trace=str(trace),
            threads=4,
            seconds=0.6 / len(lives) + 0.05,
            checkpoint_events=checkpoint_events,
            seed=number,
        )
        if number == len(lives) - 1:
            child.dead()
        else:
            listen(child, 0.6 / len(lives))
        child.close()
    disk.heal()
    disk.close()
    Ledger(live / "decisions.db").close()
    check(live / "decisions.db")
    return read_trace(trace, live)


def cut_often(steps: Sequence[Step], tmp_path: Path) -> None:
    """Cut the power between any two changes of the disk; start the service on what is left each time."""
    chance = random.Random()  # noqa: S311 - which moment, no secret
    changes = [number for number, step in enumerate(steps) if step.operation is not Operation.MARK]
    cut_at(set(chance.sample(changes, min(CUTS, len(changes)))), steps, Replay(chance), tmp_path)


def cut_at(cuts: AbstractSet[int], steps: Sequence[Step], replay: Replay, tmp_path: Path) -> None:
    """Cut the power after each of these steps."""
    folder, whole = tmp_path / "after", True
    for number, step in enumerate(steps):
        replay.step(step)
        whole = whole and step.operation is not Operation.FAILED
        if number not in cuts:
            continue
        replay.cut(folder)
        decisions, _ = acknowledgements("\n".join(replay.marks).encode())
        if whole or (folder / "decisions.pub").exists():
            again(folder, decisions)
        else:  # a disk that failed while the log was being made may have left anything, and nobody was told anything
            assert not decisions


def again(folder: Path, decisions: Acknowledged) -> None:
    """The power is back: the service starts, and everything acknowledged is there."""
    path = folder / "decisions.db"
    log = Ledger(Place(path, checkpoint_events=1), seals=True)
    assert isinstance(log.decide_now(decision("f" * 32, "granted"), 20.0), Granted)
    log.close()
    evidence = check(path)
    must_hold(evidence, decisions)
    assert evidence.decided["f" * 32] == (evidence.decided["f" * 32][0], Outcome.GRANTED.value)
