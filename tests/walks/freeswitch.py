"""A site on the fake FreeSWITCH for walks: what people, dialplans and faults do to it, and what then has to be so.

It keeps its own account of who consented and who talks with whom, so that what the guard did is compared with what
happened, and not with what the guard believes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ivr_consent import config
from ivr_consent.core.decision import Outcome
from ivr_consent.core.steps import Granted
from ivr_consent.pbx.freeswitch import variables
from ivr_consent.pbx.freeswitch.dialplan import render
from ivr_consent.pbx.freeswitch.wire import Event
from ivr_consent.side_freeswitch import FreeswitchSide
from ivr_consent.store import lifecycle, recordings
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.fake_freeswitch import Dialplan, FakeCall, FakeFreeSwitch, Place
from ivr_consent.testing.fake_freeswitch_channel import Channel, Meta
from ivr_consent.testing.fake_freeswitch_events import head
from ivr_consent.testing.fake_freeswitch_recording import Recording
from ivr_consent.testing.fake_freeswitch_socket import Event as FakeEvent
from tests.granted import granted_decision

PATIENCE_S: Final = 25.0
"""So long may the guard take to come to rest."""

AGENTS: Final = ("7100", "7101")
STRANGER: Final = "7999"

CONFIGURATION: Final = """
switch = "freeswitch"
[event_socket]
port = {port}
password_file = "password"
[features]
withdraw = "*9"
[guard]
spool = ["{spool}"]
round_seconds = 600
[recordings]
directory = "recordings"
[facts.default]
controller = "Example"
authority = "Datatilsynet"
recipients = "the agent"
withdrawal_contact = "0123"
rights_contact = "0124"
web_address = "example.org"
[lines.support]
recorded = "support_recorded XML default"
unrecorded = "support_unrecorded XML default"
{agents}
"""

PLACES: Final = """<include><context name="default">
  <extension name="waits"><condition field="destination_number" expression="^9000$">
    <action application="answer"/><action application="park"/>
  </condition></extension>
  <extension name="room"><condition field="destination_number" expression="^9100$">
    <action application="answer"/><action application="conference" data="sales@default"/>
  </condition></extension>
</context></include>"""

OPEN, OVER, PRESSED, WITHDRAWN = "open", "over", "pressed", "withdrawn"
"""How a recording with a grant stands: runs; ended lawfully; withdrawn, the service not told yet; withdrawn."""


@dataclass(eq=False)
class Consent:
    """One recording with a grant. ``odd``: a recorder beside it could only be stopped together with it."""

    id: str
    call: FakeCall
    path: Path
    state: str = OPEN
    odd: bool = False
    agents: list[str] = field(default_factory=list)
    """Whom the guard has seen it connected to first, where the line names no agents."""


class World:
    """One switch, one log, one service, and the people. Every method that is an action leaves the guard at rest."""

    def __init__(self, folder: Path, switch: FakeFreeSwitch, ledger: Ledger, settings: config.Settings) -> None:
        self.folder, self.switch, self.ledger, self.settings = folder, switch, ledger, settings
        self.ours, self.spool = folder / "recordings", folder / "spool"
        self.calls: list[FakeCall] = []
        self.consents: list[Consent] = []
        self.decided = 0
        self.side: FreeswitchSide | None = None
        self.link_down = False
        self.unseen: set[Path] = set()
        """Files of recorders that began and ended while nobody watched."""
        self.failed: list[str] = []
        """What went wrong beside everything else."""
        self.lost = 0
        """So many commands that stop a recorder are answered with ``+OK`` and do nothing."""
        self._legs: set[Channel] = set()
        self._of_rooms: list[Recording] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._heard: set[str] = set()
        self._hints = self._rounds = self._rounds_run = 0
        self._threads: ThreadPoolExecutor | None = None
        self._numbers = itertools.count(1)

    @classmethod
    async def begin(cls, folder: Path, *, named: bool) -> World:
        """A site with its guard. ``named``: whether the line names its agents."""
        (folder / "spool").mkdir(parents=True)
        recordings.prepare(folder / "recordings")
        switch = FakeFreeSwitch(dialplan=Dialplan(PLACES), speed=20)
        port = await switch.listen()
        (folder / "password").write_text(switch.password)
        path = folder / "ivr-consent.toml"
        agents = 'agents = ["sofia/internal/71*"]' if named else ""
        path.write_text(CONFIGURATION.format(port=port, spool=folder / "spool", agents=agents))
        settings = config.load(path)
        switch.dialplan.add(render(settings))
        world = cls(folder, switch, await asyncio.to_thread(Ledger, folder / "log.db"), settings)
        api = switch.api

        def loses(text: str) -> str:
            if world.lost and text.startswith("uuid_record ") and " stop " in text:
                world.lost -= 1
                return "+OK Success\n"
            return api(text)

        switch.api = loses  # type: ignore[method-assign] # a switch on which +OK is no proof
        await world.service_starts()
        return world

    async def end(self) -> None:
        """Everything stops."""
        await self.service_dies()
        await self.switch.close()
        await asyncio.to_thread(self.ledger.close)

    # --- the service -------------------------------------------------------------------------------------------------

    @property
    def sighted(self) -> bool:
        """Whether the guard can see."""
        return self.side is not None and not self.link_down

    async def service_starts(self) -> None:
        """Start the service (again), on the same switch and the same log."""
        if self.side is not None:
            return
        self._threads = ThreadPoolExecutor(8)
        asyncio.get_running_loop().set_default_executor(self._threads)
        side = self.side = FreeswitchSide(self.settings, self.ledger, self.ours, self._spawn)
        side._finish = self._finish
        await side.start()
        guard, link = side._guard, side._guard_link
        assert guard is not None
        assert link is not None
        hear, round_ = guard._hear, guard._round

        def heard(event: Event) -> None:
            mark = event.get(variables.BEAT)
            self._heard.add(mark)
            self._hints += not mark
            hear(event)

        async def round_of(found: str) -> None:
            self._rounds += 1
            try:
                await round_(found)
            finally:
                self._rounds -= 1
                self._rounds_run += 1

        link.on_event = heard
        guard._round = round_of  # type: ignore[method-assign] # to know whether one is under way
        await self.settle()

    async def service_dies(self) -> None:
        """The service is killed: nothing more is sent, whatever it was about to do."""
        side, self.side = self.side, None
        if side is None:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await side.stop_guard()
        await side.stop()
        assert self._threads is not None
        await asyncio.get_running_loop().run_in_executor(None, bool)
        self._threads.shutdown(wait=True)  # what a thread does is done at once, so it is done before the death
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))

    async def link_falls(self) -> None:
        """The connections to the switch are lost, and none comes about."""
        self.link_down = True
        self.switch.acl = frozenset()
        self._cut()
        await self.settle()

    async def link_returns(self) -> None:
        """They come about again."""
        self.link_down = False
        self.switch.acl = frozenset({"127.0.0.1"})
        await self.settle()

    async def link_is_cut(self) -> None:
        """They are lost and come about again at once."""
        self._cut()
        await self.settle()

    def _cut(self) -> None:
        for socket in self.switch.sockets[:]:
            socket.cut()

    def _spawn(self, work: Coroutine[Any, Any, object], _: str) -> object:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failed.append(repr(task.exception()))

    def _finish(self, call_id: str, /, *, empty: bool = False) -> None:
        self._spawn(asyncio.to_thread(lifecycle.finish_ended, self.ledger, self.ours, call_id, empty=empty), "")

    async def _sweep(self) -> None:
        """What the service does at its start and from time to time."""
        assert self.side is not None
        await self.side.withdraw_marked()
        await asyncio.to_thread(lifecycle.sweep, self.ledger, self.ours, frozenset())
        await asyncio.to_thread(lifecycle.erase_leftovers, self.ledger, self.ours)

    # --- calls -------------------------------------------------------------------------------------------------------

    async def arrive(self) -> None:
        """A caller calls."""
        call = await self.switch.call("support", place="9000 XML default", caller=f"45{next(self._numbers):06d}")
        await call.wait_execute("park")
        self.calls.append(call)
        await self.settle()

    async def consents_(self, call: FakeCall) -> None:
        """The caller says yes, perhaps a second time: as the gate does it."""
        call.stop_recording("all")
        for consent in self._open(call):
            consent.state = OVER
        consent = Consent(secrets.token_hex(16), call, self.ours)
        consent.path = self.ours / f"{consent.id}.raw"
        await self._decides(consent.id, call, granted=True)
        call.variables |= {
            "RECORD_STEREO": "true",
            "RECORD_BRIDGE_REQ": "true",
            variables.LINE: "support",
            variables.CALL_ID: consent.id,
            variables.RESULT: "granted",
        }
        before = call.variables.get(variables.AGENTS, "")
        consent.agents = [name for name in before.split(",") if name]
        self.consents.append(consent)
        assert call.record(str(consent.path))
        await asyncio.to_thread(self.ledger.note_now, consent.id, "support", "recording_confirmed", {"reason": "walk"})
        await asyncio.to_thread(self.ledger.note_now, consent.id, "support", "routed", {"route": "recorded"})
        call.metas["9"] = Meta("execute_extension", f"withdraw.caller XML {variables.CONTEXT}", "s")
        await self.settle()

    async def refuses(self, call: FakeCall) -> None:
        """The caller says no."""
        await self._decides(secrets.token_hex(16), call, granted=False)
        await self.settle()

    async def _decides(self, call_id: str, call: FakeCall, *, granted: bool) -> None:
        decision = granted_decision(call_id, uniqueid=call.uuid)
        if not granted:
            decision = replace(
                decision, outcome=Outcome.DECLINED, route="unrecorded", purposes_granted=(), recording_id=None
            )
        written = await asyncio.to_thread(self.ledger.decide_now, decision)
        assert isinstance(written, Granted) is granted
        self.decided += 1

    async def talks_to(self, call: FakeCall, number: str, *, old_stays: bool = False) -> None:
        """It is connected, or transferred, to somebody who answers at once."""
        self._part(call, old_stays=old_stays)
        self.switch.connect_legs(call, self.switch.leg(Place(number), caller=call))
        await self.settle()

    async def talks_to_call(self, call: FakeCall, other: FakeCall) -> None:
        """Two callers are connected with each other."""
        self._part(call)
        self._part(other)
        self.switch.connect_legs(call, other)
        await self.settle()

    async def parts(self, call: FakeCall, *, stays: bool = False) -> None:
        """The bridge ends; the other side hangs up, or ``stays`` on the switch."""
        self._part(call, old_stays=stays)
        await self.settle()

    def _part(self, call: FakeCall, *, old_stays: bool = False) -> None:
        peer = call.peer
        if peer is None:
            return
        for leg in (call, peer):
            leg.held = False
        self.switch.part_legs(call)
        if not old_stays and not isinstance(peer, FakeCall):
            peer.hang_up()

    async def holds(self, call: FakeCall, *, on: bool, by_agent: bool) -> None:
        """One side puts the other on hold, or takes them back."""
        leg = call.peer if by_agent and call.peer is not None else call
        leg.held = on
        leg.fire("CHANNEL_HOLD" if on else "CHANNEL_UNHOLD")
        await self.settle()

    async def moves(self, call: FakeCall, number: str) -> None:
        """It is transferred: 9000 parks it, 9100 is a conference."""
        self._part(call)
        before = len(call.executed)
        call.move(f"{number} XML default")
        wanted = "park" if number == "9000" else "conference"
        await until(lambda: any(each.application == wanted for each in call.executed[before:]) or not call.alive)
        await self.settle()

    async def hangs_up(self, call: FakeCall) -> None:
        """The caller hangs up."""
        self._part(call)
        call.caller_hangs_up()
        for consent in self._open(call):
            consent.state = OVER
        await self.settle()

    def _open(self, call: Channel) -> list[Consent]:
        return [consent for consent in self.consents if consent.call is call and consent.state == OPEN]

    # --- withdrawal --------------------------------------------------------------------------------------------------

    async def presses(self, call: FakeCall, *, by_agent: bool, killed: bool = False) -> None:
        """The code in the call; ``killed``: the service dies in that moment."""
        before = len(call.executed)
        if by_agent:
            call.broadcast("execute_extension", f"withdraw.agent XML {variables.CONTEXT}")
        else:
            call.digit("*")
            call.digit("9")
        await until(lambda: any(each.application == "playback" for each in call.executed[before:]))
        if killed:
            await self.service_dies()
        current = call.variables.get(variables.CALL_ID)
        for consent in self.consents:
            if consent.call is call and consent.state == OPEN and consent.id != current:
                consent.state = OVER
            elif consent.id == current and consent.state != WITHDRAWN:
                consent.state = PRESSED
        await self.settle()

    async def withdraws_by_administrator(self, consent: Consent) -> None:
        """``ivr-consent withdraw``: it knows nothing of the switch."""
        await asyncio.to_thread(lifecycle.withdraw, self.ledger, self.ours, consent.id)
        consent.state = WITHDRAWN
        if self.side is not None and self.side._guard is not None:
            self.side._guard._everything.set()  # its next round, brought forward
        await self.settle()

    # --- those who may not -------------------------------------------------------------------------------------------

    async def records(
        self, call: FakeCall, ways: list[str], name: str, whose: Consent | None = None, lost: int = 0
    ) -> None:
        """Somebody records without a grant, in these ways at once.

        ``name``: what the files are called. ``lost``: stops that do nothing.
        """
        self.lost = lost
        started: list[tuple[Channel, Callable[[], bool]]] = []
        for way in ways:
            path = self._name(name, whose)
            channel: Channel = call.peer if way == "agent" and call.peer is not None else call
            before = len(channel.executed)
            for consent in self._open(channel):
                consent.odd = consent.odd or name == "odd"
            if way in ("record_session", "record"):
                data = f"{path} 600" if way == "record" else path
                self.switch.broadcast(channel, f"{way}::{data}")
                started.append((channel, _ran(channel, before, way)))
            elif way == "execute_on":
                channel.record(path)
            else:
                self.switch.api(f"uuid_record {channel.uuid} start {path}")
        await until(lambda: all(ran() or not channel.alive for channel, ran in started))
        await self.settle()

    async def records_shortly(self, call: FakeCall, name: str) -> None:
        """Somebody records without a grant, and has ended before anybody can have looked."""
        path = self._name(name, None)
        self.switch.api(f"uuid_record {call.uuid} start {path}")
        self.switch.api(f"uuid_record {call.uuid} stop {path}")
        await self.settle()

    async def records_conference(self) -> None:
        """Somebody records the conference."""
        path = self.spool / f"room-{next(self._numbers)}.wav"
        self.switch.api(f"conference sales record {path}")
        self._of_rooms += self.switch.rooms["sales"].recordings
        await self.settle()

    async def lies(self, call: FakeCall, of: str) -> None:
        """Events tell of what is not so: of an end, a beginning, or a bridge."""
        nothing = {"Record-File-Path": str(self.spool / "nothing.wav")}
        if of == "end":
            for consent in self._open(call):
                call.fire("RECORD_STOP", after={"Record-File-Path": str(consent.path)})
            await self.settle()
            if call.peer is not None:  # and then something that is so
                await self.holds(call, on=True, by_agent=True)
        elif of == "beginning":
            call.fire("RECORD_START", after=nothing)
            call.fire("RECORD_STOP", after=nothing)
        else:
            for name in ("CHANNEL_UNBRIDGE", "CHANNEL_HOLD", "CHANNEL_BRIDGE", "CHANNEL_UNHOLD"):
                call.fire(name)
        await self.settle()

    def _name(self, kind: str, whose: Consent | None) -> str:
        number = next(self._numbers)
        match kind:
            case "odd":
                (self.spool / "a b").mkdir(exist_ok=True)
                return f"{self.spool}/a b/$x;{number}.wav"
            case "deep":
                return f"{self.spool}/{number}/x/theirs.raw"
            case "bare":
                return f"{self.spool}/bare-{number}"
            case "never":
                return f"{self.ours}/{secrets.token_hex(16)}.raw"
            case "elsewhere":
                return f"{self.spool}/{secrets.token_hex(16)}.raw"
            case "known" if whose is not None:
                # What was granted is not moved: the sweep is to judge it.
                self.unseen |= {whose.path} if whose.state == OVER else set()
                return str(whose.path)
            case _:
                return f"{self.spool}/{number}.wav"

    # --- at rest -----------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Until all that happened was heard, and nothing is being done about it any more."""
        self._legs |= {*self.switch.calls, *self.switch.channels.values()}
        self._note_unseen()
        async with asyncio.timeout(PATIENCE_S):
            await self._rest()
            if self.sighted:
                await self._sweep()
                await self._rest()
        self._note_unseen()
        if self.sighted:
            self._account()

    async def _rest(self) -> None:
        last: tuple[int, int] | None = None
        while True:
            if self.sighted:
                await self._all_heard()
            now = (self._hints, self._rounds_run)
            idle = self._idle()
            if idle and now == last:
                return
            last = now if idle else None
            await asyncio.sleep(0.001)

    async def _all_heard(self) -> None:
        """Events come in order: one of our own behind all others."""
        mark = secrets.token_hex(8)
        while mark not in self._heard and self.sighted:
            headers = head("CUSTOM", {"Event-Subclass": variables.BEAT_EVENT}) | {variables.BEAT: mark}
            self.switch.fire_plain(FakeEvent("CUSTOM", headers), variables.BEAT_EVENT)
            for _ in range(20):
                if mark in self._heard:
                    break
                await asyncio.sleep(0.001)

    def _idle(self) -> bool:
        for channel in self.switch.channels.values():
            if channel._messages or channel.moving is not None or not channel.alive:
                return False
        if any(not call.alive and not call.done.is_set() for call in self.switch.calls) or self._tasks:
            return False
        guard = self.side._guard if self.side is not None else None
        if guard is None:
            return True
        if self.link_down:
            return guard.blind is not None and not guard._turns
        busy = guard._waiting or guard._turns or guard._everything.is_set() or self._rounds
        return guard.blind is None and not busy

    def _note_unseen(self) -> None:
        """What ended while nobody watched."""
        if self.sighted:
            return
        for recording in self._all_started():
            if not recording.running:
                self.unseen |= set(recording.paths)

    def _all_started(self) -> list[Recording]:
        return [*self._of_rooms, *(recording for leg in self._legs for recording in leg.started)]

    def _account(self) -> None:
        """What the guard has done by right, now that it has seen."""
        for consent in self.consents:
            if consent.state == PRESSED:
                consent.state = WITHDRAWN
            if consent.state != OPEN:
                continue
            if consent.odd and not _running(consent):
                consent.state = OVER
            peer = consent.call.peer
            if not consent.agents and peer is not None and not consent.call.held and not peer.held:
                consent.agents = [peer.name]

    # --- what has to be so -------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What is not as it has to be; empty when all is well."""
        found = [*self.failed, *self._decisions(), *self._lawful()]
        if self.sighted:
            found += [*self._recorders(), *self._files(), *self._withdrawals(), *self._incidents()]
        return found

    def _decisions(self) -> list[str]:
        """I3."""
        with contextlib.closing(sqlite3.connect(self.folder / "log.db")) as log:
            asked = "SELECT count(*), count(DISTINCT call_id) FROM events WHERE kind = 'decision'"
            counted = log.execute(asked).fetchone()
        return [] if counted == (self.decided, self.decided) else [f"I3: {counted} decisions, {self.decided} made"]

    def _lawful(self) -> list[str]:
        """No lawful recording was stopped; each is silent exactly while it has to be; none runs after a withdrawal."""
        found = []
        for consent in self.consents:
            running = _running(consent)
            if consent.state == OPEN and running is None:
                found.append(f"a lawful recording was stopped: {consent.id}")
            elif consent.state == OPEN and running is not None and self.sighted:
                if running.masked is self._may_be_heard(consent):
                    found.append(f"masked: {running.masked}, {self._told_of(consent)}")
            elif consent.state == PRESSED and running is not None:
                found.append(f"I5: it records after a withdrawal: {consent.id}")
        return found

    def _may_be_heard(self, consent: Consent) -> bool:
        call, peer = consent.call, consent.call.peer
        if peer is None or not peer.alive or call.held or peer.held:
            return False
        if peer.name.startswith("sofia/internal/71") if self._named else peer.name in consent.agents:
            return True
        return bool(self._open(peer))

    @property
    def _named(self) -> bool:
        return bool(self.settings.lines["support"].agents)

    def _told_of(self, consent: Consent) -> str:
        call, peer = consent.call, consent.call.peer
        other = "nobody" if peer is None else f"{peer.name} (held {peer.held}, consented {bool(self._open(peer))})"
        return f"held {call.held}, with {other}, agents {consent.agents}, named {self._named}"

    def _recorders(self) -> list[str]:
        """I1."""
        found = []
        for channel in self.switch.channels.values():
            lawful = {str(consent.path) for consent in self._open(channel)}
            wrong = [one for one in channel.recordings if not one.bug or one.path not in lawful]
            found += [f"I1: {one.path} (bug {one.bug}) records on {channel.name}" for one in wrong]
        rooms = [one.path for room in self.switch.rooms.values() for one in room.recordings]
        return found + [f"I1: a conference is recorded: {rooms}" for _ in rooms[:1]]

    def _files(self) -> list[str]:
        """I4."""
        granted = {consent.id for consent in self.consents if consent.state in (OPEN, OVER)}
        kept = {path for path in self.ours.rglob("*") if path.is_file() and path.name[:32] not in granted} | {
            path for path in self.spool.rglob("*") if path.is_file()
        }
        return [f"I4: a file that nobody consented to: {path}" for path in sorted(kept - self.unseen)]

    def _withdrawals(self) -> list[str]:
        """I5; the files are among those of I4."""
        found = []
        with self.ledger.reader() as reader:
            for consent in self.consents:
                record = reader.call(consent.id)
                assert record is not None
                said = [event for event in record.later if event.kind == "withdrawn"]
                if len(said) != (consent.state == WITHDRAWN):
                    found.append(f"I5: {consent.id} is {consent.state}, and the log says {said}")
                by_code = [event for event in said if "by" in event.payload]
                if any(event.payload["stop_confirmed"] is not True for event in by_code):
                    found.append(f"I5: {consent.id}: the stop is not confirmed: {said}")
        marks = self.switch.database.get(variables.MARKS, {})
        return found + [f"I5: a mark was left: {mark}" for mark in marks]

    def _incidents(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.folder / "log.db")) as log:
            told = [json.loads(row[0]) for row in log.execute("SELECT payload FROM events WHERE kind = 'incident'")]
        return [f"an incident is not confirmed: {incident}" for incident in told if not incident["confirmed"]]


def _ran(channel: Channel, before: int, application: str) -> Callable[[], bool]:
    return lambda: any(each.application == application for each in channel.executed[before:])


def _running(consent: Consent) -> Recording | None:
    found = [one for one in consent.call.recordings if one.bug and one.path == str(consent.path) and one.running]
    return found[0] if found else None


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is about to happen."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)
