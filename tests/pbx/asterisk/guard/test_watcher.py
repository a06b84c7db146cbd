"""The guard against a switch with a model of recorders: what it stops, what it lets be, when it is blind."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from ivr_consent.pbx import watching
from ivr_consent.pbx.asterisk.guard.watcher import Guard
from ivr_consent.pbx.asterisk.manager import ManagerLink
from ivr_consent.pbx.incidents import Exempted, Incident
from ivr_consent.pbx.policy import Exemption, Policy
from ivr_consent.store.granted import Standing
from ivr_consent.store.quarantine import Quarantine
from tests.pbx.asterisk.guard.switch import Channel, FakeSwitch

DEADLINE_S = 30.0

ID = "0123456789abcdef" * 2
CALLER = "PJSIP/caller-00000001"


@dataclass
class Heard:
    """Who is told."""

    incidents: list[Incident] = field(default_factory=list)
    exempt: list[Exempted] = field(default_factory=list)
    scopes: list[tuple[str, str, bool]] = field(default_factory=list)

    def incident(self, incident: Incident) -> None:
        self.incidents.append(incident)

    def exempted(self, exempted: Exempted) -> None:
        self.exempt.append(exempted)

    def scope(self, call_id: str, kind: str, reason: str, *, confirmed: bool) -> None:
        self.scopes.append((kind, reason, confirmed))


@dataclass
class Bench:
    """A guard, its switch, its log."""

    switch: FakeSwitch
    heard: Heard
    standings: dict[tuple[str, str], Standing]
    recordings: Path
    spool: Path
    open_files: set[str] | None
    policy: Policy
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        async def standings(call_id: str, uniqueid: str) -> Standing:
            return self.standings.get((call_id, uniqueid), Standing.UNKNOWN)

        async def open_for(wanted: frozenset[str]) -> frozenset[str] | None:
            if self.open_files is None:
                return None
            return frozenset(self.open_files if not wanted else wanted & self.open_files)

        link = cast("ManagerLink", self.switch)
        self.guard = Guard(link, self.policy, standings, self.heard, open_for)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Bench]:
        await self.guard.start()
        try:
            await until(lambda: self.guard.blind is None)
            yield self
        finally:
            await self.guard.stop()

    def lawful(self) -> Channel:
        """A call that is recorded with a grant, and connected to an agent."""
        channel = Channel("1.1", peers=["PJSIP/agent-00000002"])
        self.switch.channels[CALLER] = channel
        channel.start(f"{self.recordings}/{ID}.raw", "0x1")
        self.standings[ID, "1.1"] = Standing.OPEN
        return channel

    def begins(self, name: str, channel: Channel) -> None:
        """A recorder begins on a channel, as the switch tells of it."""
        self.switch.happens("VarSet", Channel=name, Variable="MIXMONITOR_FILENAME", Value=channel.recorders[-1])
        self.switch.happens("MixMonitorStart", Channel=name)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await asyncio.sleep(0.005)  # polling, with the deadline above


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.01)

    def made(*, enforce: bool = True, version: int = 22, exemptions: tuple[Exemption, ...] = ()) -> Bench:
        recordings, spool = tmp_path / "recordings", tmp_path / "spool"
        for folder in (recordings, spool, spool / "monitor"):
            folder.mkdir(exist_ok=True)
        quarantine = Quarantine(tmp_path / "quarantine", (spool,), recordings)
        policy = Policy(enforce, recordings, quarantine, False, 600.0, exemptions, lambda line: (), spool)
        return Bench(FakeSwitch(version), Heard(), {}, recordings, spool, set(), policy)

    return made


Make = Callable[..., Bench]


async def test_a_recorder_without_a_grant_is_stopped_until_none_is_left(make: Make) -> None:
    bench = make()
    async with bench.running():
        channel = bench.switch.channels["x"] = Channel("2.2")
        for name in ("a.wav", "b.wav"):
            (bench.spool / "monitor" / name).write_bytes(b"RIFF")
            channel.start(name)
        bench.begins("x", channel)
        await until(lambda: len(bench.heard.incidents) == 1)
    (incident,) = bench.heard.incidents
    assert (incident.way, incident.stopped, incident.confirmed, incident.found) == ("MixMonitor", 2, True, "event")
    assert channel.recorders == []
    assert [kept.fate.value for kept in incident.files] == ["quarantined"]
    assert not (bench.spool / "monitor" / "b.wav").exists()


async def test_what_has_ended_before_it_is_looked_at_leaves_no_file(make: Make) -> None:
    """Told once, whatever a caller forges afterwards; and nothing is said of a file that was not written now."""
    bench = make()
    old, new = (bench.spool / "monitor" / name for name in ("old.wav", "new.wav"))
    for path in (old, new):
        path.write_bytes(b"RIFF")
    os.utime(old, (1, 1))
    async with bench.running():
        for number, path in enumerate((old, new)):
            channel = bench.switch.channels[f"x{number}"] = Channel(f"2.{number}")
            channel.start(path.name)
            channel.recorders.clear()
            for _ in range(3):
                bench.switch.happens("MixMonitorStart", Channel=f"x{number}")
                await until(lambda: not bench.guard._waiting and not bench.guard._turns and not bench.guard._to_tell)
    (incident,) = bench.heard.incidents
    assert (incident.way, incident.found, incident.stopped) == ("MixMonitor", "ended", 0)
    assert (incident.channel_uniqueid, incident.context) == ("2.1", "queues")
    assert [kept.fate.value for kept in incident.files] == ["quarantined"]
    assert old.exists()
    assert not new.exists()


async def test_a_lawful_recorder_is_let_be(make: Make) -> None:
    """At the start, when it begins, and for every forged hint."""
    bench = make()
    channel = bench.lawful()
    async with bench.running():
        for _ in range(50):
            bench.begins(CALLER, channel)
            bench.switch.happens("MonitorStart", Channel=CALLER)
            bench.switch.happens("ConfbridgeRecord", Conference="nowhere")
            bench.switch.happens("Newexten", Channel=CALLER, Application="Record", AppData="x.wav")
            bench.switch.happens("AGIExecStart", Channel=CALLER, Command="RECORD FILE x wav # 1")
            bench.switch.happens("MixMonitorStart", Channel="no such channel")
            await asyncio.sleep(0)
        await until(lambda: not bench.guard._waiting)
    assert len(channel.recorders) == 1
    assert bench.heard.incidents == []
    assert not [name for name, _ in bench.switch.sent if name in ("StopMixMonitor", "Redirect")]


@pytest.mark.parametrize("standing", [Standing.UNKNOWN, Standing.OVER])
async def test_a_recorder_of_ours_whose_grant_does_not_stand_is_stopped(make: Make, standing: Standing) -> None:
    """Withdrawn meanwhile: no incident. Never granted, on this channel: one."""
    bench = make()
    channel = bench.lawful()
    bench.standings[ID, "1.1"] = standing
    async with bench.running():
        assert channel.recorders == []
    assert len(bench.heard.incidents) == (standing is Standing.UNKNOWN)


async def test_a_second_recorder_beside_ours_is_stopped_alone(make: Make) -> None:
    bench = make()
    channel = bench.lawful()
    async with bench.running():
        other = str(bench.spool / "monitor" / "other.wav")
        channel.start(other)
        bench.begins(CALLER, channel)
        await until(lambda: len(bench.heard.incidents) == 1)
        assert channel.recorders == [f"{bench.recordings}/{ID}.raw"]
        assert not bench.heard.incidents[0].lawful_ended
        # A hint that is forged, or late, finds nothing more to stop.
        bench.switch.happens("MixMonitorStart", Channel=CALLER)
        await until(lambda: not bench.guard._waiting and not bench.guard._turns)
        assert channel.recorders == [f"{bench.recordings}/{ID}.raw"]
        # The variable tells again whose the newest is: another one is seen as well.
        channel.start(other)
        bench.begins(CALLER, channel)
        await until(lambda: len(bench.heard.incidents) == 2)
        assert channel.recorders == [f"{bench.recordings}/{ID}.raw"]


async def test_a_name_alone_stops_nothing(make: Make) -> None:
    """The variable is set before the recorder is there: the newest is still ours then."""
    bench = make()
    channel = bench.lawful()
    async with bench.running():
        other = str(bench.spool / "monitor" / "other.wav")
        channel.variables["MIXMONITOR_FILENAME"] = other
        bench.switch.happens("VarSet", Channel=CALLER, Variable="MIXMONITOR_FILENAME", Value=other)
        await until(lambda: not bench.guard._waiting and not bench.guard._turns)
        assert len(channel.recorders) == 1


async def test_one_that_ended_while_nobody_looked_costs_ours_nothing(make: Make) -> None:
    """At the guard's start the variable names another recorder, whose file is closed: ours is the newest."""
    bench = make()
    channel = bench.lawful()
    channel.variables["MIXMONITOR_FILENAME"] = "ended.wav"
    async with bench.running():
        assert len(channel.recorders) == 1
    assert bench.heard.incidents == []


async def test_two_looks_at_once_stop_no_more_than_one(make: Make) -> None:
    """Hints of two kinds for one channel, while a third waits: one after the other."""
    bench = make()
    channel = bench.lawful()
    async with bench.running():
        for number in range(20):
            channel.start(str(bench.spool / "monitor" / f"{number}.wav"))
            bench.begins(CALLER, channel)
            bench.guard._everything.set()
            await until(lambda: len(channel.recorders) == 1 and not bench.guard._turns)
            assert channel.recorders == [f"{bench.recordings}/{ID}.raw"]


async def test_consent_that_is_given_in_a_bridge_counts_for_who_is_in_it(make: Make) -> None:
    """Both ways: a stranger's voice stays out, and another caller's comes in when they too have said yes."""
    bench = make()
    other, other_id = "PJSIP/other-00000003", "f" * 32
    async with bench.running():
        bench.switch.channels[other] = Channel("3.3", peers=[CALLER])
        channel = bench.lawful()
        channel.peers, channel.variables["IVR_CONSENT_AGENTS"] = [other], "PJSIP/agent"
        bench.begins(CALLER, channel)
        await until(lambda: channel.muted)
        bench.switch.channels[other].start(f"{bench.recordings}/{other_id}.raw", "0x2")
        bench.switch.channels[other].variables["IVR_CONSENT_ID"] = other_id
        bench.standings[other_id, "3.3"] = Standing.OPEN
        bench.begins(other, bench.switch.channels[other])
        await until(lambda: not channel.muted)


@pytest.mark.parametrize("like_ours", [False, True])
async def test_several_beside_ours_are_seen_by_the_open_files(make: Make, like_ours: bool) -> None:
    bench = make()
    channel = bench.lawful()
    async with bench.running():
        names = [str(bench.spool / "monitor" / f"{number}.wav") for number in range(3)]
        if like_ours:
            names = [str(bench.recordings / f"{number:032x}.raw") for number in range(3)]
        bench.open_files = set(names)
        stopped: list[str] = []

        class Recorders(list[str]):
            def pop(self, index: int = -1) -> str:  # type: ignore[override]  # the switch closes the file
                name = super().pop(index)
                assert bench.open_files is not None
                bench.open_files.discard(name)
                stopped.append(name)
                return name

        channel.recorders = Recorders(channel.recorders)
        for name in names:
            channel.start(name)
            bench.switch.happens("VarSet", Channel=CALLER, Variable="MIXMONITOR_FILENAME", Value=name)
        bench.switch.happens("MixMonitorStart", Channel=CALLER)
        await until(lambda: len(stopped) == 3)
    assert channel.recorders == [f"{bench.recordings}/{ID}.raw"]


async def test_an_older_recorder_under_ours_ends_both(make: Make) -> None:
    """StopMixMonitor takes the newest: ours goes first. Rather none than an unlawful one; and it is told."""
    bench = make()
    channel = bench.lawful()
    async with bench.running():
        channel.recorders.insert(0, "older.wav")
        channel.variables["MIXMONITOR_FILENAME"] = "older.wav"
        bench.switch.happens("MixMonitorStart", Channel=CALLER)
        await until(lambda: len(bench.heard.incidents) == 1)
    assert channel.recorders == []
    assert bench.heard.incidents[0].lawful_ended


async def test_what_runs_when_it_begins_is_found(make: Make) -> None:
    bench = make(version=16)
    for number in range(5):
        channel = bench.switch.channels[f"x{number}"] = Channel(f"2.{number}")
        channel.start(f"{number}.wav")
        channel.variables.clear()  # somebody has emptied the variable
    bench.switch.channels["m"] = Channel("3.3", monitored=True)
    bench.switch.channels["r"] = Channel("4.4", application="Record", data="x.wav")
    bench.switch.conferences = ["room", "other"]
    async with bench.running():
        pass
    assert sum(incident.stopped for incident in bench.heard.incidents) == 9
    assert {incident.found for incident in bench.heard.incidents} == {"start"}
    assert not any(channel.recorders or channel.monitored for channel in bench.switch.channels.values())


async def test_a_link_that_was_down_is_made_up_for(make: Make) -> None:
    bench = make()
    async with bench.running():
        bench.switch.up = False
        await until(lambda: bench.guard.blind == "manager_link_down")
        channel = bench.switch.channels["x"] = Channel("2.2")
        channel.start("a.wav")
        bench.switch.up = True
        bench.switch.connections += 1
        assert bench.guard.blind is not None  # until all has been asked
        await until(lambda: bench.guard.blind is None)
        assert channel.recorders == []


@pytest.mark.parametrize("action", ["Hangup", "StopMixMonitor"])
async def test_a_link_that_goes_down_in_the_middle_of_a_round_is_no_incident(make: Make, action: str) -> None:
    """A conference is asked for in each round, and a channel keeps the name of what has recorded: neither runs."""
    bench = make()
    bench.switch.channels["x"] = Channel("2.2", variables={"MIXMONITOR_FILENAME": "stopped-long-ago.wav"})
    async with bench.running():
        bench.switch.cut_at = {action}
        bench.guard._everything.set()  # a round, now
        await until(lambda: bench.guard.blind == "manager_link_down")
        bench.switch.up = True
        bench.switch.connections += 1
        await until(lambda: bench.guard.blind is None)
    assert bench.heard.incidents == []


async def test_a_short_break_of_the_link_is_noticed(make: Make) -> None:
    """Down and up again between two looks."""
    bench = make()
    async with bench.running():
        channel = bench.switch.channels["x"] = Channel("2.2")
        channel.start("a.wav")
        bench.switch.connections += 1
        assert bench.guard.blind == "switch_not_asked_yet"
        await until(lambda: bench.guard.blind is None)
        assert channel.recorders == []


async def test_events_that_no_longer_come_make_it_blind(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BEHIND_S", 0.05)
    bench = make()
    async with bench.running():
        bench.switch.deaf = True
        await until(lambda: bench.guard.blind == "manager_events_late")


async def test_without_rights_it_is_blind(make: Make) -> None:
    bench = make()
    bench.switch.missing = {"StopMixMonitor"}
    await bench.guard.start()
    try:
        await until(lambda: bench.guard.blind == "manager_rights_missing")
    finally:
        await bench.guard.stop()


async def test_rights_that_come_with_a_module_are_seen(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """Asterisk, just started, takes the connection before app_mixmonitor is loaded."""
    bench = make()
    bench.switch.missing = {"StopMixMonitor", "MixMonitorMute"}

    async def looked(times: int) -> None:
        asked = len(bench.switch.sent)
        await until(lambda: len(bench.switch.sent) >= asked + times)

    await bench.guard.start()
    try:
        await until(lambda: bench.guard.blind == "manager_rights_missing")
        await looked(3)  # missing for longer than a start takes: told, once
        bench.switch.missing = set()
        await until(lambda: bench.guard.blind is None)
    finally:
        await bench.guard.stop()
    assert capsys.readouterr().err.count("guard_rights_missing") == 1


async def test_rights_that_are_missing_for_a_moment_are_no_error(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = make()
    bench.switch.missing = {"StopMixMonitor"}
    await bench.guard._learn()
    assert bench.guard.blind == "manager_rights_missing"
    bench.switch.missing = set()
    await bench.guard._learn()
    assert bench.guard._unable() is None
    assert "guard_rights_missing" not in capsys.readouterr().err


async def test_a_monitor_of_a_module_that_came_late_is_stopped(make: Make) -> None:
    bench = make(version=16)
    bench.switch.missing = {"StopMonitor"}
    async with bench.running():
        await until(lambda: bench.guard.blind is None)
        bench.switch.missing = set()
        channel = bench.switch.channels["x"] = Channel("2.2")
        channel.monitored = True
        bench.guard._everything.set()
        await until(lambda: len(bench.heard.incidents) == 1)
    assert not channel.monitored


async def test_watching_alone_stops_nothing_and_tells_once(make: Make) -> None:
    bench = make(enforce=False)
    async with bench.running():
        channel = bench.switch.channels["x"] = Channel("2.2")
        channel.start("a.wav")
        for _ in range(5):
            bench.begins("x", channel)
            await until(lambda: not bench.guard._waiting)
        await until(lambda: len(bench.heard.incidents) == 1)
    assert channel.recorders == ["a.wav"]
    assert (bench.heard.incidents[0].mode, bench.heard.incidents[0].stopped) == ("watch", 0)
    assert {name for name, _ in bench.switch.sent} <= {"ListCommands", "Status", "Getvar", "Setvar"}


async def test_an_exemption_is_told_with_its_reason(make: Make) -> None:
    exemption = Exemption("dispatch*", None, None, None, "GDPR 6(1)(c)", "emergency calls")
    bench = make(exemptions=(exemption,))
    async with bench.running():
        for name, context in (("a", "dispatch-1"), ("b", "queues")):
            channel = bench.switch.channels[name] = Channel(f"2.{name}", context=context)
            channel.start(f"{name}.wav")
            bench.begins(name, channel)
        await until(lambda: len(bench.heard.incidents) == 1 and len(bench.heard.exempt) == 1)
    assert bench.switch.channels["a"].recorders == ["a.wav"]
    assert bench.switch.channels["b"].recorders == []
    assert (bench.heard.exempt[0].basis, bench.heard.exempt[0].context) == ("GDPR 6(1)(c)", "dispatch-1")


@pytest.mark.parametrize("forged", ["", ".*", ".....", "sal[e]s", "x|sales", "[a-z]*", "sales-00000000|x"])
async def test_a_forged_conference_stops_no_other(make: Make, forged: str) -> None:
    """A caller names a conference that is exempt, in whatever way but its own name."""
    exemption = Exemption(None, "CBRec/sales", None, "confbridge", "GDPR 6(1)(b)", "contracts by telephone")
    bench = make(exemptions=(exemption,))
    bench.switch.conferences = ["sales", "other"]
    async with bench.running():
        bench.switch.happens("ConfbridgeRecord", Conference=forged)
        await until(lambda: not bench.guard._waiting and not bench.guard._turns)
        assert bench.switch.conferences == ["sales", "other"]
        bench.switch.happens("ConfbridgeRecord", Conference="other")
        bench.switch.happens("ConfbridgeRecord", Conference="sales")
        await until(lambda: len(bench.heard.incidents) == 1 and len(bench.heard.exempt) == 1)
    assert bench.switch.conferences == ["sales"]


async def test_a_call_that_was_dialled_with_privacy_long_ago_is_not_cut_off(make: Make) -> None:
    """The guard begins while they talk: nothing is recorded any more."""
    bench = make()
    channel = bench.switch.channels["x"] = Channel("2.2", application="Dial", data="PJSIP/a,30,P")
    async with bench.running():
        pass
    assert channel.application == "Dial"
    assert bench.heard.incidents == []


@pytest.mark.parametrize(
    ("application", "data", "stopped"),
    [
        ("Record", "x.wav,0,30", True),
        ("VoiceMail", "100", True),
        ("Dictate", "", True),
        ("ChanSpy", "PJSIP,qr(name)", True),
        ("ChanSpy", "PJSIP,q", False),
        ("ChanSpy", "PJSIP/r,q", False),
        ("ExtenSpy", "100@x,r", True),
        ("Dial", "PJSIP/a&PJSIP/b,30,tP(x)", True),
        ("Dial", "PJSIP/P,30,tU(P)", False),
        ("Dial", "Local/a@b/n", False),
        ("FollowMe", "100,a", True),
        ("FollowMe", "100,sn", False),
        ("VoiceMailMain", "100", False),
        ("Wait", "30", False),
    ],
)
async def test_applications_that_record(make: Make, application: str, data: str, stopped: bool) -> None:
    bench = make()
    async with bench.running():
        channel = bench.switch.channels["x"] = Channel("2.2", application=application, data=data)
        bench.switch.happens("Newexten", Channel="x", Application=application, AppData=data)
        await until(lambda: not bench.guard._waiting and (not stopped or bool(bench.heard.incidents)))
    assert len(bench.heard.incidents) == stopped
    if stopped:
        assert "x" not in bench.switch.channels or channel.application == "wait"


async def test_agi_record_file_needs_the_open_files_as_witness(make: Make) -> None:
    bench = make()
    async with bench.running():
        channel = bench.switch.channels["x"] = Channel("2.2", application="AGI", data="script")
        bench.switch.happens("AGIExecStart", Channel="x", Command='RECORD FILE "/var/take" wav "#" 5000')
        await until(lambda: not bench.guard._waiting)
        assert channel.application == "AGI"
        bench.open_files = {"/var/take.wav"}
        bench.switch.happens("AGIExecStart", Channel="x", Command='RECORD FILE "/var/take" wav "#" 5000')
        await until(lambda: len(bench.heard.incidents) == 1)
        assert channel.application == "wait"


async def test_a_flood_of_hints_is_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """More hints than may wait: everything is asked instead, and what really records is found among them."""
    monkeypatch.setattr(watching, "MAX_WAITING", 20)
    bench = make()
    async with bench.running():
        channel = bench.switch.channels["x"] = Channel("2.2")
        for number in range(1000):
            bench.switch.happens("MixMonitorStart", Channel=f"forged-{number}")
        channel.start("a.wav")
        bench.begins("x", channel)  # dropped
        assert len(bench.guard._waiting) <= 20
        await until(lambda: len(bench.heard.incidents) == 1)
    assert channel.recorders == []


async def test_a_stop_that_is_refused_is_told(make: Make) -> None:
    bench = make()
    async with bench.running():
        bench.switch.refused = {"StopMixMonitor"}
        channel = bench.switch.channels["x"] = Channel("2.2")
        channel.start("a.wav")
        bench.begins("x", channel)
        await until(lambda: len(bench.heard.incidents) == 1)
    assert not bench.heard.incidents[0].confirmed
    assert bench.heard.incidents[0].problem == "Permission denied"


async def test_the_scope_of_a_recording(make: Make) -> None:
    """Hold, park, a stranger, and back; each muted in the switch and told."""
    bench = make()
    channel = bench.lawful()
    async with bench.running():
        await until(lambda: CALLER in bench.guard.scope.all())

        async def now(kind: str, reason: str) -> None:
            count = len(bench.heard.scopes)
            await until(lambda: len(bench.heard.scopes) == count + 1)
            assert bench.heard.scopes[-1] == (kind, reason, True)
            assert channel.muted == (kind == "recording_paused")

        bench.switch.happens("BridgeEnter", Channel=CALLER, BridgeUniqueid="b")
        await until(lambda: not bench.guard._waiting)
        bench.switch.happens("MusicOnHoldStart", Channel="PJSIP/agent-00000002")
        await now("recording_paused", "on_hold")
        bench.switch.happens("MusicOnHoldStop", Channel="PJSIP/agent-00000002")
        await now("recording_resumed", "talking")
        channel.peers = []
        bench.switch.happens("BridgeEnter", Channel=CALLER, BridgeUniqueid="park")
        await now("recording_paused", "parked")
        channel.peers = ["PJSIP/agent-00000009"]
        bench.switch.happens("BridgeEnter", Channel=CALLER, BridgeUniqueid="c")
        await now("recording_resumed", "talking")
        channel.peers.append("PJSIP/stranger-00000005")
        bench.switch.channels["PJSIP/stranger-00000005"] = Channel("5.5")
        bench.switch.happens("BridgeEnter", Channel="PJSIP/stranger-00000005", BridgeUniqueid="c")
        await now("recording_paused", "party_joined")
        bench.standings["e" * 32, "5.5"] = Standing.OPEN
        bench.switch.channels["PJSIP/stranger-00000005"].variables["IVR_CONSENT_ID"] = "e" * 32
        bench.switch.happens("BridgeEnter", Channel="PJSIP/stranger-00000005", BridgeUniqueid="c")
        await now("recording_resumed", "talking")


async def test_when_another_in_the_call_withdraws_it_is_silent_at_once(make: Make) -> None:
    """Two callers, each with a consent of their own: no event tells of one that is withdrawn."""
    bench = make()
    channel = bench.lawful()
    other = "PJSIP/caller-00000007"
    channel.peers.append(other)
    channel.variables["IVR_CONSENT_AGENTS"] = "PJSIP/agent"
    bench.switch.channels[other] = Channel("7.7", peers=[CALLER], variables={"IVR_CONSENT_ID": "e" * 32})
    bench.standings["e" * 32, "7.7"] = Standing.OPEN
    async with bench.running():
        await until(lambda: CALLER in bench.guard.scope.all() and not bench.guard._turns)
        assert not channel.muted
        bench.standings["e" * 32, "7.7"] = Standing.OVER
        bench.guard.look_at_scopes()
        await until(lambda: channel.muted)
    assert bench.heard.scopes == [("recording_paused", "party_joined", True)]


@pytest.mark.parametrize("transferred", [False, True])
async def test_what_is_behind_a_local_channel_is_the_agent_until_a_transfer(make: Make, transferred: bool) -> None:
    """Asterisk replaces a Local channel by what is behind it, within the bridge; a transfer leaves the bridge first."""
    bench = make()
    channel = bench.lawful()
    channel.peers = ["Local/100@queue-00000003;1"]
    async with bench.running():

        async def bridged(name: str, *peers: str) -> None:
            channel.peers = list(peers)
            bench.switch.happens(name, Channel=CALLER, BridgeUniqueid="b")
            await until(lambda: not bench.guard._waiting and not bench.guard._turns)

        await bridged("BridgeEnter", "Local/100@queue-00000003;1")
        if transferred:
            await bridged("BridgeLeave")
        bench.switch.channels |= {"PJSIP/other-00000004": Channel("4.4"), "PJSIP/stranger-00000005": Channel("5.5")}
        await bridged("BridgeEnter", "PJSIP/other-00000004")
        assert channel.muted == transferred
        await bridged("BridgeEnter", "PJSIP/other-00000004", "PJSIP/stranger-00000005")
        assert channel.muted


async def test_who_came_while_the_guard_was_dead_is_no_agent(make: Make) -> None:
    """Killed while caller and agent talk, back while a stranger is in the call: silent at once."""
    bench = make()
    channel = bench.lawful()
    async with bench.running():
        await until(lambda: channel.variables.get("IVR_CONSENT_AGENTS") == "PJSIP/agent")
    channel.peers = ["PJSIP/stranger-00000005"]
    bench.switch.channels["PJSIP/stranger-00000005"] = Channel("5.5")
    bench.__post_init__()  # another guard, which knows nothing
    async with bench.running():
        assert channel.muted
        channel.peers = ["PJSIP/agent-00000008"]
        bench.switch.happens("BridgeEnter", Channel=CALLER, BridgeUniqueid="b")
        await until(lambda: not channel.muted)


async def test_a_recorder_that_cannot_be_muted_is_stopped(make: Make) -> None:
    bench = make()
    channel = bench.lawful()
    async with bench.running():
        await until(lambda: CALLER in bench.guard.scope.all())
        bench.switch.refused = {"MixMonitorMute"}
        channel.peers.append("PJSIP/stranger-00000005")
        bench.switch.channels["PJSIP/stranger-00000005"] = Channel("5.5")
        bench.switch.happens("BridgeEnter", Channel=CALLER, BridgeUniqueid="c")
        await until(lambda: channel.recorders == [])


@pytest.mark.parametrize("by", ["caller", "agent"])
async def test_a_call_that_ends_is_not_told_as_paused(make: Make, capsys: pytest.CaptureFixture[str], by: str) -> None:
    """It has left its bridge, and its channel is there for a moment more.

    Where the caller hung up, the channel says so; after the agent did, its recorder ends before it can be made silent.
    """
    bench = make()
    channel = bench.lawful()
    asked = {"caller": "Getvar", "agent": "StopMixMonitor"}[by]
    async with bench.running():
        bench.switch.happens("BridgeEnter", Channel=CALLER, BridgeUniqueid="b")
        await until(lambda: CALLER in bench.guard.scope.all() and not bench.guard._waiting and not bench.guard._turns)
        channel.peers = []
        if by == "caller":
            channel.variables["CHANNEL(hangupsource)"] = CALLER
        else:
            channel.recorders.clear()
        bench.switch.sent.clear()
        bench.switch.happens("BridgeLeave", Channel=CALLER, BridgeUniqueid="b")
        await until(lambda: any(name == asked for name, _ in bench.switch.sent))
        await until(lambda: not bench.guard._waiting and not bench.guard._turns)
    assert bench.heard.scopes == []
    assert not channel.muted
    assert "recording_not_paused" not in capsys.readouterr().err


async def test_a_forged_name_moves_no_file_of_another_call(make: Make) -> None:
    """A file that another call is writing, and one that is old, named by a caller beside a recorder that is real."""
    bench = make()
    async with bench.running():
        victim, old, real = (bench.spool / "monitor" / name for name in ("victim.wav", "old.wav", "real.wav"))
        for path in (victim, old, real):
            path.write_bytes(b"RIFF")
        os.utime(old, (1, 1))
        bench.open_files = {str(victim)}
        channel = bench.switch.channels["x"] = Channel("2.2")
        channel.start("first.wav")
        channel.start(str(real))
        for path in (victim, old):
            bench.switch.happens("VarSet", Channel="x", Variable="MIXMONITOR_FILENAME", Value=str(path))
        bench.begins("x", channel)
        await until(lambda: len(bench.heard.incidents) == 1)
    assert victim.exists()
    assert old.exists()
    assert not real.exists()
