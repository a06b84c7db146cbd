"""The driver of the simulated switch: thousands of calls a second, with the real flow and the real log.

Many calls are under way at once and share the log's commits, as callers of one busy line do: a decision is told to its
call only when it has been committed.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import queue
import secrets
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from ivr_consent.config import Line
from ivr_consent.core.errors import ConsentError
from ivr_consent.core.flow import Plan
from ivr_consent.core.steps import Decide, Failed, Granted, Logged, Note
from ivr_consent.pbx.simulated.channel import SimulatedCall, play_call
from ivr_consent.store.ledger import Ledger, Written
from ivr_consent.testing.plans import call_context, plan_without_audio
from ivr_consent.testing.scenario import REFERENCE, Scenario, differences, observed
from ivr_consent.testing.verdict import Verdict

ON: Final = "simulated"

AT_ONCE: Final = 256
"""Calls under way: about as many events as the log takes in one commit."""

COMMIT_DEADLINE_S: Final = 30.0
"""For a log that is thrown away: longer than any disk takes, so that a busy machine fails no scenario."""

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - Linux's memory as a directory; the log is made in one of its own in it
"""Where a log is in memory."""

CHUNK: Final = 2000
"""Scenarios of one log, some 10 MB of memory; and what a process is handed at a time."""

COLLECTED_AFTER: Final = 50_000
"""Objects that are made before Python looks for garbage."""

Done = Callable[[Verdict], None]
_Call = Generator[Decide | Note, Granted | Logged | Failed, SimulatedCall]


@contextlib.contextmanager
def log_aside() -> Iterator[Path]:
    """A place for a log that is thrown away: in memory, where the machine has such a directory."""
    try:
        with tempfile.TemporaryDirectory(prefix="ivr-consent-", dir=MEMORY) as aside:
            yield Path(aside) / "decisions.db"
            return
    except (FileNotFoundError, PermissionError):
        pass
    with tempfile.TemporaryDirectory(prefix="ivr-consent-") as aside:
        yield Path(aside) / "decisions.db"


class Plans:
    """The plans of lines, each made once: lines of scenarios are few, and a plan takes milliseconds."""

    def __init__(self) -> None:
        self._made: dict[str, Plan] = {}

    def of(self, line: Line) -> Plan:
        """The plan of a line. Raises :class:`ConfigurationError` when its notice cannot be spoken."""
        key = line.model_dump_json()
        if key not in self._made:
            self._made[key] = plan_without_audio(line)
        return self._made[key]


@dataclass(slots=True)
class _Running:
    scenario: Scenario
    call: _Call
    began: float


class Player:
    """Plays scenarios on one log."""

    def __init__(
        self, ledger: Ledger, ready: queue.SimpleQueue[list[Callable[[], None]]], plans: Plans, done: Done
    ) -> None:
        self._ledger, self._ready, self._plans, self._done = ledger, ready, plans, done
        self._running = 0
        self._first, self._numbers = secrets.token_hex(8), itertools.count()

    def play(self, scenarios: Iterable[Scenario]) -> None:
        """Play them all; ``done`` gets each verdict as it falls."""
        waiting = iter(scenarios)
        more = True
        while more or self._running:
            while more and self._running < AT_ONCE:
                scenario = next(waiting, None)
                more = scenario is not None
                if scenario is not None:
                    self._begin(scenario)
            if self._running:
                self._told()

    def _told(self) -> None:
        """What the log has written: each call goes on."""
        try:
            callbacks = self._ready.get(timeout=COMMIT_DEADLINE_S)
        except queue.Empty:
            raise ConsentError(f"the log of the scenarios did not answer for {COMMIT_DEADLINE_S:g} s") from None
        for callback in callbacks:
            callback()

    def _begin(self, scenario: Scenario) -> None:
        call = play_call(
            self._plans.of(scenario.line),
            call_context(f"{self._first}{next(self._numbers):016x}", line="scenario"),
            scenario.behaviour(),
            tuple(fault.injection() for fault in scenario.fail),
            REFERENCE,
        )
        self._running += 1
        self._go_on(_Running(scenario, call, time.perf_counter()), None)

    def _go_on(self, running: _Running, written: Written | None) -> None:
        try:
            step = next(running.call) if written is None else running.call.send(written)
        except StopIteration as end:
            seen = observed(end.value)
            self._end(running, Verdict(running.scenario, ON, seen, differences(running.scenario.expect, seen)))
        except (ValueError, RuntimeError) as error:  # a place or a fault that this call cannot have
            self._end(running, Verdict(running.scenario, ON, None, (str(error),)))
        else:
            self._write(step, lambda result: self._go_on(running, result))

    def _write(self, step: Decide | Note, done: Callable[[Written], None]) -> None:
        if isinstance(step, Decide):
            self._ledger.decide(step.decision, done)
        else:
            self._ledger.note(step.call.call_id, step.call.line, step.kind, step.details, done)

    def _end(self, running: _Running, verdict: Verdict) -> None:
        self._running -= 1
        took = time.perf_counter() - running.began
        self._done(Verdict(verdict.scenario, verdict.on, verdict.seen, verdict.wrong, seconds=took))


def play(scenarios: Sequence[Scenario], done: Done, jobs: int = 1) -> None:
    """Play scenarios on the simulated switch, in ``jobs`` processes; ``done`` gets each verdict as it falls."""
    if jobs == 1 or len(scenarios) <= jobs:
        _play_here(scenarios, done)
        return
    size = min(CHUNK, -(-len(scenarios) // jobs))
    chunks = [scenarios[at : at + size] for at in range(0, len(scenarios), size)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for verdicts in pool.map(_verdicts, chunks):
            for verdict in verdicts:
                done(verdict)


def _verdicts(scenarios: Sequence[Scenario]) -> list[Verdict]:
    found: list[Verdict] = []
    _play_here(scenarios, found.append)
    return found


_PLANS: Final = Plans()
"""Of the notices that come with this package: the same for every set that one process plays."""


def _play_here(scenarios: Sequence[Scenario], done: Done) -> None:
    for at in range(0, len(scenarios), CHUNK):
        ready: queue.SimpleQueue[list[Callable[[], None]]] = queue.SimpleQueue()
        with log_aside() as path, _rare_collections():
            ledger = Ledger(path, dispatch=ready.put)
            try:
                Player(ledger, ready, _PLANS, done).play(scenarios[at : at + CHUNK])
            finally:
                ledger.close()


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Hundreds of calls under way are no garbage: to look through them again and again took a sixth of the time."""
    young, *older = gc.get_threshold()
    gc.set_threshold(max(young, COLLECTED_AFTER), *older)
    try:
        yield
    finally:
        gc.set_threshold(young, *older)
