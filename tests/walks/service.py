"""The whole service on the model of Asterisk: callers at the gate, the flow, the log on a disk that fails, the guard.

As ``tests.walks.asterisk``, but nobody's consent falls from the sky: every call is taken through the flow step by step,
several at once, and its decision is written by the real log, whose disk errs and whose clock is set back.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from unittest import mock

from ivr_consent import verifier
from ivr_consent.core.flow import Ending, Plan, consent_flow
from ivr_consent.core.steps import (
    Answer,
    Answered,
    Ask,
    Decide,
    Destination,
    Failed,
    Gone,
    Granted,
    NotConfirmed,
    Note,
    Play,
    Played,
    Pressed,
    Record,
    Recording,
    Result,
    Route,
    Routed,
    Step,
    Stopped,
    StopRecording,
    TimedOut,
    Timing,
)
from ivr_consent.pbx.asterisk import variables
from ivr_consent.store import recordings
from ivr_consent.store.database import SqliteDatabase
from ivr_consent.store.ledger import COMMIT_DEADLINE_S, Ledger
from ivr_consent.testing.plans import call_context, short_plan
from tests.walks.asterisk import OPEN, OVER, REVOKED, STARTING, Consent, World

PLAN: Final = short_plan(segments=1, repeats=1, purposes=("training", "quality"), languages=("en", "da"))

CHOICES: Final = ("yes", "no", "silence", "other", "early", "language", "hang up", "fails", "unclear")
"""What a caller does, or what goes wrong, at a step; what cannot be done there is ``yes``: the call goes on."""

FAULTS: Final = ("write", "flush", "flushed after all", "full", "slow")
"""Of the disk: it takes nothing; it does not flush; it flushes, and tells an error; it is full; it takes its time."""

TAKEN_BACK: Final = frozenset({"grant_void", "recording_not_confirmed", "recording_stopped", "withdrawn"})
ONCE: Final = ("asked", "recording_confirmed", "recording_not_confirmed", "recording_stopped", "routed")
"""Events of which a call has one at most."""

SLOW_S: Final = 0.3
IMPATIENT_S: Final = 0.1
"""So long a call waits for a slow disk; for any other as long as in service."""


@dataclass(eq=False)
class Disk:
    """Under the log: what is wrong with it just now."""

    fault: str = ""

    @contextmanager
    def under(self) -> Iterator[None]:
        """All logs of this process are on it."""
        begin, commit = SqliteDatabase.begin, SqliteDatabase.commit

        def begins(database: SqliteDatabase) -> None:
            if self.fault == "write":
                raise sqlite3.OperationalError("disk I/O error")
            begin(database)

        def commits(database: SqliteDatabase) -> None:
            if self.fault == "slow":
                time.sleep(SLOW_S)  # what a slow disk is
            if self.fault == "full":
                raise sqlite3.OperationalError("database or disk is full")
            if self.fault == "flush":
                raise sqlite3.OperationalError("disk I/O error")
            commit(database)
            if self.fault == "flushed after all":
                raise sqlite3.OperationalError("disk I/O error")

        with mock.patch.multiple(SqliteDatabase, begin=begins, commit=commits):
            yield


@dataclass(eq=False)
class Gate:
    """One call that is being asked."""

    name: str
    call_id: str
    flow: Generator[Step, Result, Ending]
    step: Step
    connections: int
    gone: bool = False
    consent: Consent | None = None
    decided: list[Result] = field(default_factory=list)

    @property
    def is_decided(self) -> bool:
        """Whether the next step is the decision, or it was."""
        return bool(self.decided) or isinstance(self.step, Decide)


class ServiceWorld(World):
    """A site whose callers are asked. Every action leaves the guard at rest, and calls at the gate where they are."""

    def __init__(self, folder: Path, *, version: int, named: bool) -> None:
        self.disk = Disk()
        self.shift = timedelta()
        self.gates: list[Gate] = []
        self.failed: list[str] = []
        self.endings: dict[str, Ending] = {}
        self.kept: set[str] = set()
        """Calls of which no process that died took along what the disk had refused."""
        self._refused: set[str] = set()
        """Calls that ended since the disk fails."""
        self._under = ExitStack()
        self._under.enter_context(self.disk.under())
        super().__init__(folder, version=version, named=named)

    def log_opened(self) -> Ledger:
        return Ledger(self.folder / "log.db", clock=lambda: datetime.now(UTC) + self.shift)

    @property
    def calls(self) -> list[str]:
        """Callers who are not at the gate."""
        asked = {gate.name for gate in self.gates}
        return [name for name in super().calls if name not in asked]

    @property
    def writes(self) -> bool:
        return self.sighted and self.disk.fault in ("", "slow")

    @property
    def busy(self) -> frozenset[str]:
        return frozenset(gate.call_id for gate in self.gates)

    # --- at the gate -------------------------------------------------------------------------------------------------

    async def comes_to_the_gate(self, name: str) -> None:
        """Somebody rings."""
        await self.rings(name)

    async def rings(self, name: str, plan: Plan = PLAN) -> Gate:
        """A caller comes to the gate, perhaps a second time: what it started before is stopped."""
        await asyncio.to_thread(self._stop_ours, name)
        context = call_context(secrets.token_hex(16), line="support")
        context = replace(context, switch="asterisk", channel_uniqueid=self.switch.channels[name].uniqueid)
        flow = consent_flow(plan, context)
        gate = Gate(name, context.call_id, flow, next(flow), self.switch.connections)
        self.gates.append(gate)
        await self.settle()
        return gate

    async def goes_on(self, gate: Gate, choice: str) -> None:
        """One step of a call."""
        result = await self._performed(gate, gate.step, choice)
        try:
            gate.step = gate.flow.send(result)
        except StopIteration as end:
            self._leaves(gate, end.value)
        await self.settle()

    async def consents_(self, name: str) -> None:
        """The caller says yes to everything, and waits."""
        gate = await self.rings(name)
        while gate in self.gates:
            await self.goes_on(gate, "yes")

    def _leaves(self, gate: Gate, ending: Ending) -> None:
        self.gates.remove(gate)
        self.endings[gate.call_id] = ending
        self.kept.add(gate.call_id)
        if self.disk.fault:
            self._refused.add(gate.call_id)
        recorded = ending.recording_id is not None
        if recorded and not any(isinstance(result, Granted) for result in gate.decided):
            self.failed.append(f"I1: {gate.call_id} is told the recorded line without a grant")
        if recorded and gate.consent is not None and not self.confirmed(gate.consent):
            self.failed.append(
                f"R9: {gate.call_id} is told the recorded line, and the log does not say that it records"
            )
        if recorded != (gate.consent is not None and gate.consent.state == STARTING):
            self.failed.append(f"I4: {gate.call_id} ended {ending}, its recording is {gate.consent}")
        if gate.consent is not None and recorded:
            gate.consent.state = OPEN
        if len(gate.decided) > 1 and not isinstance(gate.decided[0], Failed):
            self.failed.append(f"I3: {gate.call_id} was decided {gate.decided}")

    async def _performed(self, gate: Gate, step: Step, choice: str) -> Result:
        match step:
            case Decide():
                timeout = IMPATIENT_S if self.disk.fault == "slow" else 10 * COMMIT_DEADLINE_S
                written = await asyncio.to_thread(self.ledger.decide_now, step.decision, timeout)
                gate.decided.append(written)
                return written
            case Note():
                details = dict(step.details)
                return await asyncio.to_thread(self.ledger.note_now, gate.call_id, "support", step.kind, details)
            case StopRecording():
                return self._stops(gate, choice)
        if choice == "hang up" and not gate.gone:
            gate.gone = True
            self._gone(gate.name)
        if gate.gone:
            return Gone()
        match step:
            case Answer():
                return Failed("not_answered") if choice == "fails" else Answered()
            case Play():
                return self._played(step, choice)
            case Ask():
                return self._asked(gate, choice)
            case Record():
                return self._records(gate, step, choice)
            case Route():
                recorded = step.destination is Destination.RECORDED
                if recorded and (gate.consent is None or not self.confirmed(gate.consent)):
                    self.failed.append(f"R9: {gate.call_id} is told the recorded line, and the log has no recorder")
                return Failed("dialplan_not_told") if choice == "fails" else Routed()

    @staticmethod
    def _played(step: Play, choice: str) -> Result:
        whole = max(step.prompt.lengths)
        key = {"no": PLAN.keys.no, "language": PLAN.keys.language}.get(choice)
        if key in step.keys and key is not None:
            return Pressed(key, whole // 2)
        return Failed("prompt_missing") if choice == "fails" else Played(whole, 1000)

    def _asked(self, gate: Gate, choice: str) -> Result:
        """When a press began the manager tells; the guard time does where there is none, and nobody after a gap."""
        keys = PLAN.keys
        timing = Timing.MANAGER if self.switch.up else Timing.GUARD
        if self.switch.connections != gate.connections:
            gate.connections, timing = self.switch.connections, Timing.UNPROVEN
        key = {"no": keys.no, "other": "9", "language": keys.language}.get(choice) or keys.yes
        match choice:
            case "silence":
                return TimedOut()
            case "fails":
                return Failed("connection_lost")
            case "early":
                return Pressed(keys.yes, 0, -100, timing)
        return Pressed(key, 0, 500, timing)

    # --- the recorder ------------------------------------------------------------------------------------------------

    def _records(self, gate: Gate, step: Record, choice: str) -> Result:
        """MixMonitor: from here on every second has to have been granted before."""
        if not self.granted_on_disk(step.grant.call_id) or step.grant.call_id != gate.call_id:
            self.failed.append(f"I1: {gate.call_id} is recorded, and no granted decision is on the disk")
        if choice == "fails":
            return NotConfirmed("recording_file_missing", stopped=True)
        channel = self.switch.channels[gate.name]
        known = channel.variables.get(variables.AGENTS, "")
        consent = Consent(gate.call_id, gate.name, f"{self.ours}/{gate.call_id}.raw", STARTING, bool(channel.recorders))
        consent.agents = {one for one in known.split(",") if one}
        self.consents.append(consent)
        gate.consent = consent
        channel.variables |= {variables.CALL_ID: gate.call_id, variables.LINE: "support"}
        self._begins(gate.name, consent.path, handle=f"0x{next(self._numbers):x}")
        return Failed("switch_too_slow") if choice == "unclear" else Recording("0x1", consent.path)

    def _stops(self, gate: Gate, choice: str) -> Result:
        consent = gate.consent
        if consent is None:
            return Stopped()
        if not gate.gone and consent.path in self._recorders(gate.name):
            recorders = self._recorders(gate.name)
            recorders.pop(recorders.index(consent.path))
        recordings.discard(self.ours, consent.id)
        consent.state = REVOKED
        return Failed("stop_not_confirmed") if choice == "unclear" else Stopped()

    def granted_on_disk(self, call_id: str) -> bool:
        """Whether another reader finds it in the log, granted and not taken back."""
        found = dict(self._rows("SELECT kind, payload FROM events WHERE call_id = ?", call_id))
        decision = json.loads(found.get("decision", "{}"))
        return decision.get("outcome") == "granted" and "grant_void" not in found

    def _rows(self, query: str, *values: str) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self.folder / "log.db")) as log:
            return log.execute(query, values).fetchall()

    def confirmed(self, consent: Consent) -> bool:
        """Whether the log has it that the recorder runs; a withdrawal is told to wait until then."""
        query = "SELECT kind, call_id FROM events WHERE call_id = ? AND kind = 'recording_confirmed'"
        return bool(self._rows(query, consent.id))

    def _decided(self) -> dict[str, int]:
        """How many decisions each call has."""
        rows = self._rows("SELECT call_id, count(*) FROM events WHERE kind = 'decision' GROUP BY call_id")
        return {call_id: int(count) for call_id, count in rows}

    # --- faults ------------------------------------------------------------------------------------------------------

    async def disk_becomes(self, fault: str) -> None:
        """From now on; without a fault it has healed, and nobody has to do anything."""
        self.disk.fault = fault
        if not fault:
            self._refused.clear()  # what was kept in memory is written now, or when the log is closed
        await self.settle()

    async def clock_steps(self, hours: int) -> None:
        """Somebody sets the machine's clock."""
        self.shift += timedelta(hours=hours)
        await self.settle()

    async def service_dies(self) -> None:
        """With its calls: the dialplan goes on to the unrecorded line, and stops what runs."""
        for gate in self.gates:
            gate.flow.close()
            if gate.consent is not None and gate.consent.state == STARTING:
                gate.consent.state = OVER
                recorders = self._recorders(gate.name) if not gate.gone else []
                if gate.consent.path in recorders:
                    recorders.pop(recorders.index(gate.consent.path))
        self.gates.clear()
        self.kept -= self._refused
        await super().service_dies()
        await asyncio.to_thread(self.ledger.close)
        self.disk.fault = ""
        self.ledger = await asyncio.to_thread(self.log_opened)

    async def end(self) -> None:
        """All is well again: somebody calls and is recorded. Then the log is what it claims to be."""
        with self._under:
            await self._end()

    async def _end(self) -> None:
        await self.disk_becomes("")
        if not self.switch.up:
            await self.link_returns()
        if self.guard is None:
            await self.service_starts()
        for gate in list(self.gates):
            while gate in self.gates:
                await self.goes_on(gate, "silence")
        await self.arrive()
        name = self.calls[-1]
        await self.consents_(name)
        problems = self.problems()
        await asyncio.to_thread(self.ledger.seal)
        granted = [consent for consent in self.consents if consent.call == name and consent.state == OPEN]
        await super().end()
        assert problems == [], problems
        assert granted, "after all is well again a caller who says yes is not recorded"
        report = verifier.verify(self.folder / "log.db", verifier.read_keys(str(self.folder / "log.pub")))
        assert report.ok, list(verifier.told(report))
        contradictions = self._contradictions()
        assert contradictions == [], contradictions

    def _contradictions(self) -> list[str]:
        """What the log says in the end of a call that was told something else, and what it says twice."""
        decided, found = self._decided(), []
        for call_id in self.kept:
            ending = self.endings[call_id]
            events = self._rows("SELECT kind, coalesce(outcome, '') FROM events WHERE call_id = ?", call_id)
            kinds = Counter(kind for kind, _ in events)
            outcome = next((outcome for kind, outcome in events if kind == "decision"), "")
            if decided.get(call_id) != 1:
                found.append(f"I3: {call_id} ended {ending} and has {decided.get(call_id, 0)} decisions")
            if outcome == "granted" and ending.recording_id is None and not TAKEN_BACK & kinds.keys():
                found.append(f"I3: {call_id} ended {ending}, and in the log its grant stands")
            if kinds["grant_void"] and outcome != "granted":
                found.append(f"I3: {call_id} was {outcome}, and a grant of it is void")
            found += [f"{call_id} has {kinds[kind]} events {kind}" for kind in ONCE if kinds[kind] > 1]
        return found

    # --- what has to be so -------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        return [*self.failed, *super().problems()]

    def _decisions(self) -> list[str]:
        """I3: never two; and what a call was told to be on disk is there. I1: nothing else is recorded."""
        there = self._decided()
        found = [f"I3: {call_id} has {count} decisions" for call_id, count in there.items() if count > 1]
        found += [
            f"I3: {call_id} was told to be logged, and is not"
            for call_id, ending in self.endings.items()
            if ending.logged and call_id not in there
        ]
        running = {path for channel in self.switch.channels.values() for path in channel.recorders}
        found += [
            f"I1: {consent.id} is being recorded without a granted decision on the disk"
            for consent in self.consents
            if consent.path in running and consent.state in (STARTING, OPEN) and not self.granted_on_disk(consent.id)
        ]
        return found
