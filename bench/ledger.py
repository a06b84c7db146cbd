"""The log beside raw SQLite: durable decisions a second, and how long each waits, with 1, 16 and 128 calls waiting.

    python -m bench.ledger [--seconds 1.5] [--rounds 5]

One thread places decisions, as the service's loop does, and places the next when one is answered; one thread writes.
The rivals get the same bytes, ready made: SQLite with one table and the same group commit, SQLite with a commit each
(write-ahead log, synchronous=FULL, all of them), and a file to which the bytes are appended and flushed. Ours makes the
bytes from the decision, splits off and commits to what is personal, chains, hashes, keeps what questions are answered
from, and signs checkpoints. All take turns, round after round, on the same disk.
"""

from __future__ import annotations

import argparse
import itertools
import os
import queue
import secrets
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

from bench.measure import bars, keep, summary
from ivr_consent.core.decision import (
    Answer,
    CallContext,
    Decision,
    NoticeEvidence,
    Outcome,
    SegmentEvidence,
    canonical,
)
from ivr_consent.core.steps import Failed
from ivr_consent.store.ledger import MAX_BATCH, Ledger
from ivr_consent.store.place import Place

WAITING: Final = (1, 16, 128)
WARM_UP_S: Final = 0.3
PATIENCE: Final = 30.0

Callbacks = list[Callable[[], None]]
Arrived = queue.SimpleQueue[Callbacks]


def template() -> Decision:
    """A decision as the shipped notice leads to: ten segments heard, one question answered."""
    digest = "5f" * 32
    segments = tuple(
        SegmentEvidence(f"segment-{number}", digest, digest, (number,), 48_000, 48_000, complete=True, times=1)
        for number in range(1, 11)
    )
    notice = NoticeEvidence("support", 3, "en", digest, digest, segments, complete=True, times=1, language_by="first")
    answer = Answer("training", digest, "granted", "1", 1850, "manager", 1, 0)
    call = CallContext("", "support", "asterisk", "pbx-1700000000.42", "k1:" + digest, "22.1", digest)
    purposes = ("training",)
    return Decision(
        call, Outcome.GRANTED, "yes_key", "recorded", notice, (answer,), purposes, 30, 0, ("en",), recording_id=None
    )


def decisions() -> Iterator[Decision]:
    """Calls without end, every second one granted."""
    made = template()
    for number in itertools.count():
        call_id = secrets.token_hex(16)
        call = replace(made.call, call_id=call_id, subject_ref="k1:" + secrets.token_hex(32))
        if number % 2:
            yield replace(made, call=call, recording_id=call_id)
        else:
            yield replace(made, call=call, outcome=Outcome.DECLINED, reason="no_key", purposes_granted=())


class Writer(Protocol):
    """What is measured: it answers on ``arrived``, as many at once as it likes."""

    def prepare(self, count: int) -> None:
        """Make so many inputs ready."""
        ...

    def submit(self, done: Callable[[], None]) -> None:
        """Write the next one; ``done`` when it is on disk."""
        ...

    def close(self) -> None:
        """End."""
        ...


class Ours:
    """The log."""

    def __init__(self, folder: Path, arrived: Arrived) -> None:
        self._ledger = Ledger(Place(folder / "decisions.db"), dispatch=arrived.put, seals=True)
        self._source = decisions()
        self._ready: list[Decision] = []

    def prepare(self, count: int) -> None:
        self._ready = list(itertools.islice(self._source, count))

    def submit(self, done: Callable[[], None]) -> None:
        def told(written: object) -> None:
            assert not isinstance(written, Failed), written
            done()

        self._ledger.decide(self._ready.pop(), told)

    def close(self) -> None:
        self._ledger.close()


class Raw:
    """SQLite: one table, the same bytes, at most ``batch`` rows a commit."""

    def __init__(self, folder: Path, arrived: Arrived, batch: int) -> None:
        self._database = sqlite3.connect(folder / "raw.db", isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA synchronous=FULL",
            "PRAGMA journal_mode=WAL",
            "CREATE TABLE events (sequence INTEGER PRIMARY KEY, payload BLOB NOT NULL)",
        ):
            self._database.execute(statement)
        self._arrived, self._batch = arrived, batch
        self._ready = itertools.cycle(canonical(made.payload()) for made in itertools.islice(decisions(), 500))
        self._queue: queue.SimpleQueue[tuple[bytes, Callable[[], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def prepare(self, count: int) -> None:
        """Nothing: the same bytes again and again."""

    def submit(self, done: Callable[[], None]) -> None:
        self._queue.put((next(self._ready), done))

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            try:
                while len(batch) < self._batch:
                    more = self._queue.get_nowait()
                    if more is None:
                        return
                    batch.append(more)
            except queue.Empty:
                pass
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT INTO events (payload) VALUES (?)", [(row,) for row, _ in batch])
            self._database.execute("COMMIT")
            self._arrived.put([done for _, done in batch])

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._database.close()


class Bare:
    """A file: append, flush, and nothing between."""

    def __init__(self, folder: Path, arrived: Arrived) -> None:
        self._file = os.open(folder / "bare", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._arrived = arrived
        self._ready = itertools.cycle(canonical(made.payload()) for made in itertools.islice(decisions(), 500))

    def prepare(self, count: int) -> None:
        """Nothing: the same bytes again and again."""

    def submit(self, done: Callable[[], None]) -> None:
        os.write(self._file, next(self._ready))
        os.fdatasync(self._file)
        self._arrived.put([done])

    def close(self) -> None:
        os.close(self._file)


@dataclass(slots=True)
class Variant:
    """What is measured, with what came out round by round."""

    label: str
    make: Callable[[Path, Arrived], Writer]
    waiting: int
    rate: list[float] = field(default_factory=list)
    median_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)


def variants() -> list[Variant]:
    """Everything, the rivals next to each other."""
    found = []
    for waiting in WAITING:
        found += [
            Variant(f"ivr-consent, {waiting} waiting", Ours, waiting),
            Variant(f"raw SQLite, group commit, {waiting} waiting", lambda at, to: Raw(at, to, MAX_BATCH), waiting),
            Variant(f"raw SQLite, a commit each, {waiting} waiting", lambda at, to: Raw(at, to, 1), waiting),
        ]
    return [*found, Variant("append and flush, alone", Bare, 1)]


def measure(variant: Variant, folder: Path, seconds: float) -> None:
    """One round: as many wait at any moment as the variant says."""
    arrived: Arrived = queue.SimpleQueue()
    writer = variant.make(folder, arrived)
    try:
        run(writer, arrived, variant.waiting, WARM_UP_S)
        waits, took = run(writer, arrived, variant.waiting, seconds)
    finally:
        writer.close()
    variant.rate.append(len(waits) / took)
    waits.sort()
    variant.median_ms.append(statistics.median(waits) * 1000)
    variant.p99_ms.append(waits[int(len(waits) * 0.99)] * 1000)


def run(writer: Writer, arrived: Arrived, waiting: int, seconds: float) -> tuple[list[float], float]:
    """Keep so many waiting for so long; how long each waited, and how long all of it took, seconds."""
    writer.prepare(int(seconds * 40_000))
    waits: list[float] = []
    under_way = 0
    begin = time.perf_counter()
    until = begin + seconds

    def place() -> None:
        nonlocal under_way
        began = time.perf_counter()
        under_way += 1

        def done() -> None:
            nonlocal under_way
            now = time.perf_counter()
            waits.append(now - began)
            under_way -= 1
            if now < until:
                place()

        writer.submit(done)

    for _ in range(waiting):
        place()
    while under_way:
        for callback in arrived.get(timeout=PATIENCE):
            callback()
    return waits, time.perf_counter() - begin


def report(found: list[Variant], options: argparse.Namespace) -> None:
    """The table, the file, the picture, and how far the aims are met."""
    print(f"\n{options.rounds} rounds of {options.seconds} s; median (smallest to largest)\n")
    print(f"{'':44}{'decisions a second':>26}{'median wait, ms':>26}{'99 of 100 wait less, ms':>26}")
    rows: dict[str, Any] = {}
    for variant in found:
        columns = [summary(values) for values in (variant.rate, variant.median_ms, variant.p99_ms)]
        rows[variant.label] = dict(zip(("decisions_a_second", "median_ms", "p99_ms"), columns, strict=True))
        cells = (f"{one['median']:.4g} ({one['min']:.4g} to {one['max']:.4g})" for one in columns)
        print(f"{variant.label:44}" + "".join(f"{cell:>26}" for cell in cells))

    def median(label: str, figure: str) -> float:
        value: float = rows[label][figure]["median"]
        return value

    ours = median("ivr-consent, 128 waiting", "decisions_a_second")
    raw = median("raw SQLite, group commit, 128 waiting", "decisions_a_second")
    alone = median("ivr-consent, 1 waiting", "median_ms") - median("append and flush, alone", "median_ms")
    aims = {
        "share_of_raw_at_128": ours / raw,
        "p99_ms_at_128": median("ivr-consent, 128 waiting", "p99_ms"),
        "ms_above_a_bare_durable_write_when_alone": alone,
    }
    print(f"\nof raw SQLite at 128 waiting:           {aims['share_of_raw_at_128']:.0%} (aim: 50 % or more)")
    print(f"99 of 100 at 128 waiting within:        {aims['p99_ms_at_128']:.2f} ms (aim: under 5 ms)")
    print(f"alone, above a bare durable write:      {alone:.2f} ms (aim: under 0.5 ms)")
    print(f"\nkept in {keep('ledger', {'options': vars(options), 'variants': rows, 'aims': aims})}")
    picture = {label: row["decisions_a_second"] for label, row in rows.items()}
    print(f"drawn in {bars('ledger', 'Durable decisions', 'decisions a second', picture)}")


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = variants()
    for number in range(options.rounds):
        for variant in found if number % 2 == 0 else reversed(found):
            print(f"round {number + 1} of {options.rounds}: {variant.label}", file=sys.stderr)
            with tempfile.TemporaryDirectory(prefix="bench", dir=os.environ.get("BENCH_DIR")) as folder:
                measure(variant, Path(folder), options.seconds)
    report(found, options)


if __name__ == "__main__":
    main()
