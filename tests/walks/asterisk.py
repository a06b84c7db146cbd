"""A site on the model of Asterisk for walks: calls, bridges, recorders with files that are open, and faults.

It keeps its own account of who consented and who talks with whom; see ``tests.walks.freeswitch``.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, cast

from ivr_consent.core.steps import Granted
from ivr_consent.guarding import granted_in, open_for, standings_of
from ivr_consent.pbx import withdrawing
from ivr_consent.pbx.asterisk import variables
from ivr_consent.pbx.asterisk.guard.watcher import Guard
from ivr_consent.pbx.asterisk.manager import HeaderValue, ManagerLink, Reply
from ivr_consent.pbx.asterisk.stopping import Recorders
from ivr_consent.pbx.incidents import Exempted, Incident
from ivr_consent.pbx.policy import Policy
from ivr_consent.store import lifecycle, recordings
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.quarantine import Quarantine
from tests.granted import granted_decision
from tests.pbx.asterisk.guard.switch import Channel, FakeSwitch

PATIENCE_S: Final = 25.0
"""So long may the guard take to come to rest."""

STARTING, OPEN, OVER, PRESSED, WITHDRAWN, REVOKED = "starting", "open", "over", "pressed", "withdrawn", "revoked"
"""How a recording with a grant stands: at the gate; runs; ended lawfully; withdrawn, not told yet; withdrawn; taken
back at the gate."""


class Open(list[str]):
    """The recorders of a channel: each has its file open until it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, IO[bytes]] = {}

    def append(self, name: str) -> None:
        super().append(name)
        file = self._files[name] = Path(name).open("ab")  # noqa: SIM115 - as long as the recorder runs
        file.write(bytes(320))
        file.flush()

    def pop(self, index: int = -1) -> str:  # type: ignore[override]  # the switch closes the file
        name = super().pop(index)
        self._files.pop(name).close()
        return name

    def close(self) -> None:
        """The channel has hung up."""
        while self:
            self.pop()


class Switch(FakeSwitch):
    """The model, with ids in place of names where the manager takes them, and no events while its link is down."""

    def happens(self, name: str, **headers: str) -> None:
        if self.up:
            super().happens(name, **headers)

    def forget_listeners(self) -> None:
        """Whoever listened is dead."""
        self._callbacks.clear()

    async def action(
        self,
        name: str,
        headers: Mapping[str, HeaderValue] | None = None,
        *,
        timeout: float = 2.0,  # noqa: ASYNC109 - as the link's
    ) -> Reply:
        await asyncio.sleep(0)  # an answer takes its time, and others go on meanwhile
        values = dict(headers or {})
        for known, channel in self.channels.items():
            if values.get("Channel") == channel.uniqueid:
                values["Channel"] = known
        return await super().action(name, values, timeout=timeout)


@dataclass(eq=False)
class Consent:
    """One recording with a grant. ``under``: an unlawful recorder began before it, and can only end with it."""

    id: str
    call: str
    path: str
    state: str = OPEN
    under: bool = False
    agents: set[str] = field(default_factory=set)


class World:
    """One switch, one log, one guard, and the people. Every method that is an action leaves the guard at rest."""

    def __init__(self, folder: Path, *, version: int, named: bool) -> None:
        self.folder, self.ours, self.spool = folder, folder / "recordings", folder / "spool"
        (self.spool / "monitor").mkdir(parents=True)
        recordings.prepare(self.ours)
        self.ledger = self.log_opened()
        self.switch = Switch(version)
        self.named = named
        self.consents: list[Consent] = []
        self.decided = 0
        self.guard: Guard | None = None
        self.held: set[str] = set()
        self.incidents: list[Incident] = []
        self.unseen: set[str] = set()
        self._numbers = itertools.count(1)
        self._rounds = 0

    def incident(self, incident: Incident) -> None:
        self.incidents.append(incident)

    def exempted(self, exempted: Exempted) -> None:
        raise AssertionError("nothing is exempted")

    def scope(self, call_id: str, kind: str, reason: str, *, confirmed: bool) -> None:
        pass

    def log_opened(self) -> Ledger:
        """The log, opened to be written."""
        return Ledger(self.folder / "log.db")

    # --- the service -------------------------------------------------------------------------------------------------

    @property
    def sighted(self) -> bool:
        """Whether the guard can see."""
        return self.guard is not None and self.switch.up

    @property
    def writes(self) -> bool:
        """Whether what was found can be carried out: the switch is there, and so is the log."""
        return self.sighted

    @property
    def busy(self) -> frozenset[str]:
        """Calls that are being asked at this moment."""
        return frozenset()

    async def service_starts(self) -> None:
        """A guard begins to watch, on the same switch and the same log."""
        policy = Policy(
            enforce=True,
            recordings=self.ours,
            quarantine=Quarantine(self.folder / "quarantine", (self.spool,), self.ours, granted_in(self.ledger)),
            leave_files=False,
            round_s=600.0,
            exemptions=(),
            agents=lambda _: ("PJSIP/agent*",) if self.named else (),
            spool=self.spool,
        )
        link = cast("ManagerLink", self.switch)
        guard = self.guard = Guard(link, policy, standings_of(self.ledger), self, open_for(self.ours))
        round_ = guard._round

        async def round_of(found: str) -> None:
            self._rounds += 1
            try:
                await round_(found)
            finally:
                self._rounds -= 1

        guard._round = round_of  # type: ignore[method-assign] # to know whether one is under way
        await guard.start()
        await self.settle()

    async def service_dies(self) -> None:
        """It is gone."""
        guard, self.guard = self.guard, None
        assert guard is not None
        self.switch.forget_listeners()
        await guard.stop()

    async def link_falls(self) -> None:
        """No word comes from the switch."""
        self.switch.up = False
        await self.settle()

    async def link_returns(self) -> None:
        """A new connection."""
        self.switch.up = True
        self.switch.connections += 1
        await self.settle()

    async def end(self) -> None:
        """Everything stops."""
        if self.guard is not None:
            await self.service_dies()
        for name in list(self.switch.channels):
            self._gone(name)
        await asyncio.to_thread(self.ledger.close)

    # --- calls -------------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> list[str]:
        """The callers' channels."""
        return [name for name in self.switch.channels if name.startswith("PJSIP/caller")]

    async def arrive(self) -> None:
        """A caller calls."""
        self._channel("caller")
        await self.settle()

    def _channel(self, device: str) -> str:
        number = next(self._numbers)
        name = f"PJSIP/{device}-{number:08x}"
        self.switch.channels[name] = Channel(f"1.{number}", recorders=Open())
        return name

    def _recorders(self, name: str) -> Open:
        return cast("Open", self.switch.channels[name].recorders)

    async def consents_(self, name: str) -> None:
        """The caller says yes, perhaps a second time: the gate stops what it started before."""
        channel = self.switch.channels[name]
        self._stop_ours(name)
        call_id = secrets.token_hex(16)
        decided = await asyncio.to_thread(self.ledger.decide_now, granted_decision(call_id, uniqueid=channel.uniqueid))
        assert isinstance(decided, Granted)
        self.decided += 1
        known = channel.variables.get(variables.AGENTS, "")
        consent = Consent(call_id, name, f"{self.ours}/{call_id}.raw", under=bool(channel.recorders))
        consent.agents = {one for one in known.split(",") if one}
        self.consents.append(consent)
        channel.variables |= {variables.CALL_ID: call_id, variables.LINE: "support"}
        self._begins(name, consent.path, handle=f"0x{next(self._numbers):x}")
        await asyncio.to_thread(self.ledger.note_now, call_id, "support", "recording_confirmed", {"reason": "walk"})
        await asyncio.to_thread(self.ledger.note_now, call_id, "support", "routed", {"route": "recorded"})
        await self.settle()

    def _begins(self, name: str, path: str, handle: str | None = None) -> None:
        self.switch.channels[name].start(path, handle)
        self.switch.happens("VarSet", Channel=name, Variable="MIXMONITOR_FILENAME", Value=path)
        self.switch.happens("MixMonitorStart", Channel=name)

    def _stop_ours(self, name: str) -> None:
        """What the dialplan does: the recorder of this handle alone; its recording is over."""
        recorders = self._recorders(name)
        for consent in self._open(name):
            consent.state = OVER
            if consent.path in recorders:
                recorders.pop(recorders.index(consent.path))
            self.ledger.note_now(consent.id, "support", "recording_ended", {"reason": "walk", "file": None})

    def _open(self, name: str) -> list[Consent]:
        return [consent for consent in self.consents if consent.call == name and consent.state in (STARTING, OPEN)]

    async def talks_to(self, name: str, device: str) -> None:
        """It is connected, or transferred, to somebody who answers at once."""
        self._part(name)
        self._join(name, self._channel(device))
        await self.settle()

    async def talks_to_call(self, name: str, other: str) -> None:
        """Two callers are connected with each other."""
        self._part(name)
        self._part(other)
        self._join(name, other)
        await self.settle()

    def _join(self, *names: str) -> None:
        bridge = secrets.token_hex(8)
        for name in names:
            self.switch.channels[name].peers = [one for one in names if one != name]
        for name in names:
            self.switch.happens("BridgeEnter", Channel=name, BridgeUniqueid=bridge)

    async def third_joins(self, name: str, device: str) -> None:
        """Somebody comes into the bridge beside those who talk."""
        peers = self.switch.channels[name].peers
        self._join(name, *peers, self._channel(device))
        await self.settle()

    async def parts(self, name: str) -> None:
        """The bridge ends."""
        self._part(name)
        await self.settle()

    def _part(self, name: str) -> None:
        peers = self.switch.channels[name].peers
        for one in (name, *peers):
            self._music(one, on=False)
        for one in (name, *peers):
            self.switch.channels[one].peers = []
            self.switch.happens("BridgeLeave", Channel=one, BridgeUniqueid="")
        for one in peers:
            if not one.startswith("PJSIP/caller"):
                self._gone(one)

    def _gone(self, name: str) -> None:
        self._recorders(name).close()
        del self.switch.channels[name]
        self.held.discard(name)

    async def holds(self, name: str, *, on: bool) -> None:
        """It hears music, or no longer."""
        self._music(name, on=on)
        await self.settle()

    def _music(self, name: str, *, on: bool) -> None:
        if on is (name in self.held):
            return
        self.held = self.held | {name} if on else self.held - {name}
        self.switch.happens("MusicOnHoldStart" if on else "MusicOnHoldStop", Channel=name)

    async def hangs_up(self, name: str) -> None:
        """The caller hangs up."""
        self._part(name)
        self._stop_ours(name)
        self._gone(name)
        await self.settle()

    # --- withdrawal --------------------------------------------------------------------------------------------------

    async def presses(self, consent: Consent, *, by_agent: bool) -> None:
        """The code in the call: the caller's is carried out by the dialplan, the agent's by the service."""
        if not by_agent:
            recorders = self._recorders(consent.call)
            if consent.path in recorders:
                recorders.pop(recorders.index(consent.path))
        (self.ours / f"{consent.id}.withdrawn").write_text("agent" if by_agent else "caller")
        consent.state = PRESSED
        await self.settle()

    async def withdraws_by_administrator(self, consent: Consent) -> None:
        """``ivr-consent withdraw``: it knows nothing of the switch."""
        await asyncio.to_thread(lifecycle.withdraw, self.ledger, self.ours, consent.id)
        consent.state = WITHDRAWN
        if self.guard is not None:
            self.guard._everything.set()  # its next round, brought forward
        await self.settle()

    # --- those who may not -------------------------------------------------------------------------------------------

    async def records(self, name: str, kind: str, count: int, whose: Consent | None) -> None:
        """MixMonitors without a grant."""
        for _ in range(count):
            path = str(self.spool / "monitor" / f"{next(self._numbers)}.wav")
            if kind == "never":
                path = f"{self.ours}/{secrets.token_hex(16)}.raw"
            elif kind == "known" and whose is not None:
                path = whose.path
                self.unseen.add(path)
            if path not in self._recorders(name):
                self._begins(name, path)
        await self.settle()

    async def monitors(self, name: str) -> None:
        """``Monitor()``, where there is one."""
        self.switch.channels[name].monitored = True
        self.switch.happens("MonitorStart", Channel=name)
        await self.settle()

    async def runs(self, name: str, application: str) -> None:
        """An application that records."""
        channel = self.switch.channels[name]
        channel.application, channel.data = application, "x.wav"
        self.switch.happens("Newexten", Channel=name, Application=application, AppData="x.wav")
        await self.settle()

    async def records_conference(self) -> None:
        """A conference is recorded."""
        room = f"room{next(self._numbers)}"
        self.switch.conferences.append(room)
        self.switch.happens("ConfbridgeRecord", Conference=room)
        await self.settle()

    async def lies(self, name: str) -> None:
        """Events that a caller has forged."""
        for told in ("MixMonitorStart", "MixMonitorStop", "MonitorStart", "Hangup", "BridgeLeave"):
            self.switch.happens(told, Channel=name, BridgeUniqueid="x")
        self.switch.happens("Newexten", Channel=name, Application="Record", AppData="x.wav")
        self.switch.happens("ConfbridgeRecord", Conference="nowhere")
        self.switch.happens("VarSet", Channel=name, Variable="MIXMONITOR_FILENAME", Value="forged.wav")
        await self.settle()

    # --- at rest -----------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Until nothing is being done about what happened any more."""
        async with asyncio.timeout(PATIENCE_S):
            await self._rest()
            if self.writes:
                switch = Recorders(self.switch)
                if await withdrawing.withdraw_marked(self.ledger, self.ours, switch) and self.guard is not None:
                    self.guard.look_at_scopes()
                await asyncio.to_thread(lifecycle.sweep, self.ledger, self.ours, self.busy)
                await asyncio.to_thread(lifecycle.erase_leftovers, self.ledger, self.ours)
                await self._rest()
        if not self.writes:
            return
        for consent in self.consents:
            running = consent.call in self.switch.channels and consent.path in self._recorders(consent.call)
            if consent.state == PRESSED:
                consent.state = WITHDRAWN
            elif consent.state == OPEN and consent.under and not running:
                consent.state = OVER
            elif consent.state == OPEN and not consent.agents:
                consent.agents = {device(peer) for peer in self.switch.channels[consent.call].peers}

    async def _rest(self) -> None:
        quiet = 0
        while quiet < 3:
            quiet = quiet + 1 if self._idle() else 0
            await asyncio.sleep(0.001)

    def _idle(self) -> bool:
        guard = self.guard
        if guard is None:
            return True
        if not self.switch.up:
            return guard.blind is not None and not guard._turns
        busy = guard._waiting or guard._turns or guard._to_tell or guard._everything.is_set() or self._rounds
        return guard.blind is None and not busy

    # --- what has to be so -------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What is not as it has to be; empty when all is well."""
        found = [*self._decisions(), *self._lawful()]
        return [*found, *self._unlawful(), *self._files(), *self._withdrawals()] if self.writes else found

    def _decisions(self) -> list[str]:
        """I3."""
        with closing(sqlite3.connect(self.folder / "log.db")) as log:
            asked = "SELECT count(*), count(DISTINCT call_id) FROM events WHERE kind = 'decision'"
            counted = log.execute(asked).fetchone()
        return [] if counted == (self.decided, self.decided) else [f"I3: {counted} decisions, {self.decided} made"]

    def _lawful(self) -> list[str]:
        found = []
        for consent in self.consents:
            if consent.state != OPEN:
                continue
            channel = self.switch.channels[consent.call]
            if consent.path not in channel.recorders:
                found += [] if consent.under else [f"a lawful recording was stopped: {consent.id}"]
            elif self.sighted and channel.peers and channel.muted is self._may_be_heard(consent):
                found.append(f"muted: {channel.muted}, with {channel.peers}, agents {consent.agents}, {self.held}")
        return found

    def _may_be_heard(self, consent: Consent) -> bool:
        peers = self.switch.channels[consent.call].peers
        if self.held.intersection((consent.call, *peers)):
            return False
        agents = {device(peer) for peer in peers if peer.startswith("PJSIP/agent")} if self.named else consent.agents
        return all(device(peer) in agents or self._open(peer) for peer in peers)

    def _unlawful(self) -> list[str]:
        """I1."""
        found = []
        for name, channel in self.switch.channels.items():
            lawful = {consent.path for consent in self._open(name)}
            wrong = [path for path in channel.recorders if path not in lawful]
            found += [f"I1: {path} records on {name}" for path in wrong]
            if channel.monitored or channel.application.lower() in ("record", "voicemail"):
                found.append(f"I1: {name} is monitored ({channel.monitored}) or in {channel.application}")
        return found + [f"I1: conferences are recorded: {self.switch.conferences}" for _ in self.switch.conferences[:1]]

    def _files(self) -> list[str]:
        """I4."""
        granted = {consent.id for consent in self.consents if consent.state in (STARTING, OPEN, OVER)}
        kept = {str(path) for path in self.ours.iterdir() if path.name[:32] not in granted}
        return [f"I4: a file that nobody consented to: {path}" for path in sorted(kept - self.unseen)]

    def _withdrawals(self) -> list[str]:
        """I5."""
        found = []
        with self.ledger.reader() as reader:
            for consent in self.consents:
                record = reader.call(consent.id)
                assert record is not None
                said = [event for event in record.later if event.kind == "withdrawn"]
                if consent.state != REVOKED and len(said) != (consent.state == WITHDRAWN):
                    found.append(f"I5: {consent.id} is {consent.state}, and the log says {said}")
                if consent.state in (WITHDRAWN, REVOKED) and recordings.files(self.ours, consent.id):
                    found.append(f"I5: {consent.id} left a file")
        return found


def device(name: str) -> str:
    """A channel's name without the number of the call."""
    return name.rpartition("-")[0]
