"""The guard on FreeSWITCH: every way of recording, against a switch that speaks the real wire."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.core.steps import Granted
from ivr_consent.guarding import granted_in, open_for, standings_of
from ivr_consent.pbx import watching, withdrawing
from ivr_consent.pbx.freeswitch import wire
from ivr_consent.pbx.freeswitch.guard.asking import Leg, id_of, recorders_in
from ivr_consent.pbx.freeswitch.guard.watcher import EVENTS, Guard
from ivr_consent.pbx.freeswitch.link import Link
from ivr_consent.pbx.freeswitch.stopping import Recorders
from ivr_consent.pbx.incidents import Exempted, Incident
from ivr_consent.pbx.policy import Exemption, Policy
from ivr_consent.store import recordings
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.quarantine import Fate, Quarantine
from ivr_consent.testing.fake_freeswitch import Dialplan, FakeCall, FakeFreeSwitch
from tests.granted import granted_decision

PATIENCE = 20.0
ID = "0123456789abcdef" * 2
PARKED = """<include><context name="default">
  <extension name="parked"><condition field="destination_number" expression="^9000$">
    <action application="answer"/><action application="park"/>
  </condition></extension>
</context></include>"""
"""Where a call waits for what a test does with it."""


@dataclass
class Told:
    """Who is told."""

    incidents: list[Incident] = field(default_factory=list)
    exemptions: list[Exempted] = field(default_factory=list)
    scopes: list[tuple[str, str, str, bool]] = field(default_factory=list)
    finished: list[tuple[str, bool]] = field(default_factory=list)
    withdrawn: list[tuple[str, str]] = field(default_factory=list)

    def incident(self, incident: Incident) -> None:
        self.incidents.append(incident)

    def exempted(self, exempted: Exempted) -> None:
        self.exemptions.append(exempted)

    def scope(self, call_id: str, kind: str, reason: str, *, confirmed: bool) -> None:
        self.scopes.append((call_id, kind, reason, confirmed))


class Site:
    """A switch with a guard, a log and folders of recordings."""

    def __init__(self, folder: Path, switch: FakeFreeSwitch, guard: Guard, link: Link, ledger: Ledger) -> None:
        self.folder, self.switch, self.guard, self.link, self.ledger = folder, switch, guard, link, ledger
        self.told = Told()
        self.ours, self.spool = folder / "ours", folder / "spool"

    async def call(self, **options: Any) -> FakeCall:
        """A call on the site's own dialplan, answered."""
        return await waiting(self.switch, **options)

    async def granted(self, call: FakeCall, call_id: str = ID) -> Path:
        """A lawful recording of this call, as ours begins; its file."""
        decided = await asyncio.to_thread(self.ledger.decide_now, granted_decision(call_id, uniqueid=call.uuid))
        assert isinstance(decided, Granted)
        path = self.ours / f"{call_id}.raw"
        call.variables |= {"RECORD_STEREO": "true", "RECORD_BRIDGE_REQ": "true", "ivr_consent_line": "support"}
        assert call.record(str(path))
        return path


async def waiting(switch: FakeFreeSwitch, **options: Any) -> FakeCall:
    call = await switch.call(place="9000 XML default", **options)
    await call.wait_execute("park")
    return call


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def watched(
    folder: Path,
    *,
    enforce: bool = True,
    exemptions: tuple[Exemption, ...] = (),
    agents: tuple[str, ...] = (),
    before: Callable[[FakeFreeSwitch], Any] | None = None,
    round_s: float = 60.0,
) -> AsyncIterator[Site]:
    ours, spool = folder / "ours", folder / "spool"
    recordings.prepare(ours)
    spool.mkdir()
    ledger = Ledger(folder / "log.db")
    async with FakeFreeSwitch(dialplan=Dialplan(PARKED)) as switch:
        port = await switch.listen()
        if before is not None:
            await before(switch)
        link = Link("127.0.0.1", port, switch.password, events=EVENTS)
        policy = Policy(
            enforce=enforce,
            recordings=ours,
            quarantine=Quarantine(folder / "quarantine", (spool,), ours, granted_in(ledger)),
            leave_files=False,
            round_s=round_s,
            exemptions=exemptions,
            agents=lambda _: agents,
            spool=spool,
        )
        told = Told()
        guard = Guard(
            link,
            policy,
            standings_of(ledger),
            told,
            open_for(ours),
            finished=lambda call_id, empty: told.finished.append((call_id, empty)),
            withdrawn=lambda call_id, by: told.withdrawn.append((call_id, by)),
        )
        site = Site(folder, switch, guard, link, ledger)
        site.told = told
        try:
            await guard.start()
            await link.start()
            await until(lambda: guard.blind is None)
            yield site
        finally:
            await guard.stop()
            await link.close()
            await asyncio.to_thread(ledger.close)


# --- every way --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["uuid_record", "record_session", "execute_on"])
async def test_a_recorder_without_a_grant_is_stopped(tmp_path: Path, way: str) -> None:
    async with watched(tmp_path) as site:
        call = await site.call()
        path = site.spool / "theirs.wav"
        if way == "uuid_record":
            assert call.uuid_record(path).startswith("+OK")
        elif way == "record_session":
            call.broadcast("record_session", str(path))
        else:
            assert call.record(str(path))
        await until(lambda: bool(site.told.incidents))
        assert call.recordings == []
        (incident,) = site.told.incidents
        assert (incident.way, incident.stopped, incident.confirmed) == ("record_session", 1, True)
        assert (incident.found, incident.channel_uniqueid) == ("event", call.uuid)
        assert not path.exists()
        assert [kept.fate for kept in incident.files] in ([Fate.QUARANTINED], [Fate.NOT_FOUND])


async def test_the_application_record_is_broken_off(tmp_path: Path) -> None:
    """It has no media bug, and ``uuid_record stop`` knows nothing of it."""
    async with watched(tmp_path) as site:
        call = await site.call()
        call.broadcast("record", f"{site.spool / 'theirs.wav'} 30")
        await until(lambda: bool(site.told.incidents))
        (incident,) = site.told.incidents
        assert (incident.way, incident.stopped, incident.confirmed) == ("record", 1, True)
        assert call.alive, "the call goes on"


async def test_applications_within_each_other_are_all_broken_off(tmp_path: Path) -> None:
    """One break ends the innermost alone; two may write the same file, and a media bug that too."""
    async with watched(tmp_path) as site:
        call = await site.call()
        for name in ("a.wav", "b.wav", "b.wav"):
            call.broadcast("record", f"{site.spool / name} 600")
        call.uuid_record(site.spool / "b.wav")
        call.uuid_record(site.spool / "c.wav")
        await until(lambda: len([one for one in call.started if not one.bug]) == 3 and not call.recordings)
        await until(lambda: not list(site.spool.iterdir()))
        assert all(incident.confirmed for incident in site.told.incidents)
        assert call.alive


async def test_what_an_application_wrote_before_the_link_was_lost_is_forgotten(tmp_path: Path) -> None:
    """Nobody told of its end, and a channel that records nothing is not to be disturbed."""
    async with watched(tmp_path) as site:
        call = await site.call()
        site.guard._writing[call.uuid] = [str(site.spool / "over.wav")]
        site.switch.asked.clear()
        for socket in list(site.switch.sockets):
            socket.cut()
        await until(lambda: site.guard.blind is not None)
        await until(lambda: site.guard.blind is None)
        assert site.told.incidents == []
        assert not [asked for asked in site.switch.asked if asked.startswith("uuid_break")]


@pytest.mark.parametrize("way", ["uuid_record", "record"])
async def test_a_name_without_an_ending_leaves_no_file(tmp_path: Path, way: str) -> None:
    """The switch makes names of its own of it."""
    async with watched(tmp_path) as site:
        call = await site.call()
        path = site.spool / "bare"
        if way == "uuid_record":
            call.uuid_record(path)
        else:
            call.broadcast("record", f"{path} 600")
        await until(lambda: bool(site.told.incidents))
        assert {kept.fate for kept in site.told.incidents[0].files} == {Fate.QUARANTINED}
        assert list(site.spool.iterdir()) == []


async def test_a_conference_is_not_recorded(tmp_path: Path) -> None:
    """No channel has it, and no RECORD_START tells of it."""
    async with watched(tmp_path) as site:
        call = await site.call()
        call.broadcast("conference", "sales@default")
        await until(lambda: "sales" in site.switch.rooms)
        path = site.spool / "room.wav"
        site.switch.api(f"conference sales record {path}")
        await until(lambda: bool(site.told.incidents))
        (incident,) = site.told.incidents
        assert (incident.way, incident.stopped, incident.confirmed) == ("conference", 1, True)
        assert "recording_node" not in str(site.switch.api("conference json_list"))


@pytest.mark.parametrize("hangs_up", [False, True])
@pytest.mark.parametrize("name", ["theirs.wav", "bare"])
async def test_what_has_ended_before_it_is_looked_at_leaves_no_file(tmp_path: Path, name: str, hangs_up: bool) -> None:
    async with watched(tmp_path) as site:
        call = await site.call()
        call.bridge()
        path = site.spool / name
        call.uuid_record(path)
        call.recordings[0].talk(0, 1600)
        if hangs_up:
            call.caller_hangs_up()
        else:
            site.switch.api(f"uuid_record {call.uuid} stop {path}")
            assert call.recordings == []
        assert list(site.spool.iterdir())
        await until(lambda: bool(site.told.incidents))
        await until(lambda: not site.guard._waiting and not site.guard._turns)
        (incident,) = site.told.incidents
        assert (incident.way, incident.found, incident.stopped) == ("record_session", "ended", 0)
        assert (incident.context, incident.channel_uniqueid) == ("default", call.uuid)
        assert {kept.fate for kept in incident.files} == {Fate.QUARANTINED}
        assert list(site.spool.iterdir()) == []


async def test_what_a_channel_plays_is_not_broken_off_for_a_recorder_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends while the guard still waits for it to be listed, as a media bug, or not, as an application."""
    async with watched(tmp_path) as site:
        call = await site.call()
        call.broadcast("playback", "silence_stream://60000")
        await call.wait_execute("playback")
        path = str(site.spool / "theirs.wav")
        recorders, looks = site.guard._switch.recorders, itertools.count(1)

        async def ends_meanwhile(uuid: str) -> tuple[str, ...]:
            await recorders(uuid)
            if next(looks) == 3:  # when it began, as an application's perhaps, and while that is waited for
                site.switch.api(f"uuid_record {call.uuid} stop {path}")
            return ()

        monkeypatch.setattr(site.guard._switch, "recorders", ends_meanwhile)
        call.uuid_record(path)
        await until(lambda: bool(site.told.incidents))
        await until(lambda: not site.guard._waiting and not site.guard._turns)
        assert [one.found for one in site.told.incidents] == ["ended"]
        assert not [asked for asked in site.switch.asked if asked.startswith("uuid_break")]


async def test_a_conference_that_was_recorded_before_anybody_looked(tmp_path: Path) -> None:
    async with watched(tmp_path) as site:
        call = await site.call()
        call.broadcast("conference", "sales@default")
        await until(lambda: "sales" in site.switch.rooms)
        path = site.spool / "room.wav"
        site.switch.api(f"conference sales record {path}")
        site.switch.api("conference sales recording stop all")
        await until(lambda: bool(site.told.incidents))
        (incident,) = site.told.incidents
        assert (incident.way, incident.found, incident.stopped) == ("conference", "ended", 0)
        assert not path.exists()


async def test_the_end_of_what_the_guard_stopped_is_no_second_incident(tmp_path: Path) -> None:
    """Nor that of a lawful recording, however short."""
    async with watched(tmp_path) as site:
        call, other = await site.call(), await site.call()
        site.switch.api(f"uuid_record {other.uuid} stop {await site.granted(other)}")
        call.broadcast("conference", "sales@default")
        await until(lambda: "sales" in site.switch.rooms)
        site.switch.api(f"conference sales record {site.spool / 'room.wav'}")
        second = await site.call()
        second.uuid_record(site.spool / "bug.wav")
        second.broadcast("record", f"{site.spool / 'application.wav'} 600")
        await until(lambda: len(site.told.incidents) >= 3)
        await until(lambda: not site.guard._waiting and not site.guard._turns)
        assert sorted(one.way for one in site.told.incidents) == ["conference", "record", "record_session"]
        assert {one.found for one in site.told.incidents} == {"event"}
        assert site.guard._found == {}, "nothing is remembered of what is over"


@pytest.mark.parametrize("enforce", [True, False])
async def test_what_has_ended_may_be_exempt_and_is_only_told_in_mode_watch(tmp_path: Path, enforce: bool) -> None:
    exempt = Exemption(None, None, "dispatch", None, "GDPR 6(1)(c)", "emergency calls")
    async with watched(tmp_path, enforce=enforce, exemptions=(exempt,)) as site:
        for line in ("dispatch", "support"):
            call = await site.call(variables={"ivr_consent_line": line})
            call.bridge()
            call.uuid_record(site.spool / f"{line}.wav")
            call.recordings[0].talk(0, 1600)
            call.caller_hangs_up()
        await until(lambda: bool(site.told.incidents) and bool(site.told.exemptions))
        await until(lambda: not site.guard._waiting and not site.guard._turns)
        assert [one.mode for one in site.told.incidents] == ["enforce" if enforce else "watch"]
        assert len(site.told.exemptions) == 1
        left = sorted(path.name for path in site.spool.iterdir())
        assert left == (["dispatch.wav"] if enforce else ["dispatch.wav", "support.wav"])


async def test_several_at_once_are_all_stopped(tmp_path: Path) -> None:
    async with watched(tmp_path) as site:
        call = await site.call()
        for number in range(5):
            call.uuid_record(site.spool / f"{number}.wav")
        await until(lambda: call.recordings == [])
        await until(lambda: sum(one.stopped for one in site.told.incidents) == 5)


async def test_a_path_that_cannot_stand_in_a_command_is_stopped_too(tmp_path: Path) -> None:
    """A dialplan may build names of files from what a caller sent."""
    async with watched(tmp_path) as site:
        call = await site.call()
        (site.spool / "a b").mkdir()
        assert call.record(f"{site.spool}/a b/$x;y.wav")
        await until(lambda: call.recordings == [])
        assert all("$x" not in one for one in site.switch.asked)


async def test_a_lawful_recording_is_left_alone(tmp_path: Path) -> None:
    async with watched(tmp_path) as site:
        call = await site.call()
        path = await site.granted(call)
        other = await site.call()
        other.uuid_record(site.spool / "theirs.wav")
        await until(lambda: bool(site.told.incidents))
        assert [recording.path for recording in call.recordings] == [str(path)]
        assert [one.channel_uniqueid for one in site.told.incidents] == [other.uuid]


async def test_a_recorder_that_is_listed_late_is_no_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RECORD_START comes before the list has it: a lawful recording, and the prompt beside it, are not broken off."""
    async with watched(tmp_path) as site:
        recorders, asked = site.guard._switch.recorders, itertools.count()

        async def late(uuid: str) -> tuple[str, ...]:
            return () if next(asked) < 3 else await recorders(uuid)

        monkeypatch.setattr(site.guard._switch, "recorders", late)
        call = await site.call()
        await site.granted(call)
        await until(lambda: site.guard.scope.all() == (call.uuid,))
        assert not any(one.startswith("uuid_break") for one in site.switch.asked)
        assert len(call.recordings) == 1
        assert site.told.incidents == []


async def test_beside_a_lawful_one_only_the_other_is_stopped(tmp_path: Path) -> None:
    async with watched(tmp_path) as site:
        call = await site.call()
        path = await site.granted(call)
        call.uuid_record(site.spool / "theirs.wav")
        await until(lambda: bool(site.told.incidents))
        assert [recording.path for recording in call.recordings] == [str(path)]
        assert site.told.incidents[0].lawful_ended is False


@pytest.mark.parametrize("how", ["another channel's", "never granted", "withdrawn", "elsewhere"])
async def test_a_name_like_ours_is_no_grant(tmp_path: Path, how: str) -> None:
    async with watched(tmp_path) as site:
        call = await site.call()
        owner = await site.call() if how == "another channel's" else call
        call_id = ID if how != "never granted" else "f" * 32
        decided = await asyncio.to_thread(site.ledger.decide_now, granted_decision(ID, uniqueid=owner.uuid))
        assert isinstance(decided, Granted)
        if how == "withdrawn":
            await asyncio.to_thread(site.ledger.note_now, ID, "support", "withdrawn", {"reason": "test"})
        folder = site.spool if how == "elsewhere" else site.ours
        assert call.record(str(folder / f"{call_id}.raw"))
        await until(lambda: call.recordings == [])
        if how == "withdrawn":
            return  # no incident: its consent was there once
        await until(lambda: bool(site.told.incidents))
        (incident,) = site.told.incidents
        # The name of another call's recording may be that of its file: somebody has to look.
        taken = {Fate.REFUSED} if how == "another channel's" else {Fate.QUARANTINED, Fate.NOT_FOUND}
        assert {kept.fate for kept in incident.files} <= taken
        assert (folder / f"{call_id}.raw").exists() == (how == "another channel's")


# --- what it did not hear of ------------------------------------------------------------------------------------------


async def test_what_ran_before_it_is_found_at_its_start(tmp_path: Path) -> None:
    """SIGKILL and a new start while recordings run: the lawful one goes on, the others end."""
    calls: list[FakeCall] = []

    async def before(switch: FakeFreeSwitch) -> None:
        for number in range(4):
            call = await waiting(switch)
            calls.append(call)
            if number < 2:
                assert call.record(str(tmp_path / "spool" / f"{number}.wav"))
        calls[2].broadcast("record", f"{tmp_path}/spool/app.wav 30")
        await until(lambda: calls[2].application == "record")
        with contextlib.closing(Ledger(tmp_path / "log.db")) as ledger:
            assert isinstance(ledger.decide_now(granted_decision(ID, uniqueid=calls[3].uuid)), Granted)
        assert calls[3].record(str(tmp_path / "ours" / f"{ID}.raw"))

    async with watched(tmp_path, before=before) as site:
        assert calls[0].recordings == calls[1].recordings == []
        assert len(calls[3].recordings) == 1
        assert sorted(one.found for one in site.told.incidents) == ["start"] * 3
        assert [one.files[0].fate for one in site.told.incidents] == [Fate.QUARANTINED] * 3
        assert site.guard.scope.all() == (calls[3].uuid,)


async def test_while_the_link_is_down_it_is_blind_and_then_asks_for_everything(tmp_path: Path) -> None:
    async with watched(tmp_path) as site:
        call = await site.call()
        assert site.guard.blind is None
        for socket in list(site.switch.sockets):
            socket.cut()
        await until(lambda: site.guard.blind == "event_socket_down")
        assert call.record(str(site.spool / "meanwhile.wav"))
        await until(lambda: site.guard.blind is None)
        await until(lambda: call.recordings == [])
        assert site.told.incidents[0].found == "start"


async def test_a_round_finds_what_no_event_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(tmp_path, round_s=0.2) as site:
        monkeypatch.setattr(site.link, "on_event", None)
        call = await site.call()
        assert call.record(str(site.spool / "unheard.wav"))
        await until(lambda: call.recordings == [])
        await until(lambda: bool(site.told.incidents))
        assert site.told.incidents[0].found == "round"


async def test_a_round_asks_each_channel_once_and_waits_for_nothing(tmp_path: Path) -> None:
    async with watched(tmp_path) as site:
        for _ in range(20):
            await site.call()
        before = len(site.switch.asked)
        await site.guard._round("round")
        asked = [one.split(" ")[0] for one in site.switch.asked[before:]]
        assert asked.count("uuid_buglist") <= 21  # the heartbeat's look beside it
        assert asked.count("uuid_dump") <= 20


async def test_without_events_it_is_blind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that is up and brings nothing: its own heartbeat does not come back."""
    monkeypatch.setattr(watching, "BEHIND_S", 0.3)
    async with watched(tmp_path) as site:
        monkeypatch.setattr(site.link, "on_event", None)
        await until(lambda: site.guard.blind in ("switch_events_late", "switch_events_missing"))


# --- modes ------------------------------------------------------------------------------------------------------------


async def test_mode_watch_only_tells_and_once(tmp_path: Path) -> None:
    async with watched(tmp_path, enforce=False, round_s=0.1) as site:
        call = await site.call()
        call.uuid_record(site.spool / "theirs.wav")
        await until(lambda: bool(site.told.incidents))
        rounds = sum(one == "show channels as json" for one in site.switch.asked)
        await until(lambda: sum(one == "show channels as json" for one in site.switch.asked) > rounds)
        assert len(call.recordings) == len(site.told.incidents) == 1
        assert (site.told.incidents[0].mode, site.told.incidents[0].stopped) == ("watch", 0)


@pytest.mark.parametrize(
    ("exemption", "spared"),
    [
        ({"context": "default"}, True),
        ({"application": "record_session"}, True),
        ({"channel": "sofia/internal/*"}, True),
        ({"line": "dispatch"}, True),
        ({"context": "other"}, False),
        ({"context": "default", "application": "record"}, False),
    ],
    ids=str,
)
async def test_exemptions(tmp_path: Path, exemption: dict[str, str], spared: bool) -> None:
    values = {"context": None, "channel": None, "line": None, "application": None, **exemption}
    one = Exemption(**values, basis="GDPR 6(1)(c)", reason="emergency calls")
    async with watched(tmp_path, exemptions=(one,)) as site:
        call = await site.call(variables={"ivr_consent_line": "dispatch"})
        call.uuid_record(site.spool / "theirs.wav")
        await until(lambda: bool(site.told.exemptions if spared else site.told.incidents))
        assert len(call.recordings) == spared
        if spared:
            assert site.told.exemptions[0].basis == "GDPR 6(1)(c)"


# --- scope ------------------------------------------------------------------------------------------------------------


def masked(call: FakeCall) -> bool:
    (recording,) = call.recordings
    return recording.masked


async def test_only_caller_and_agent_are_recorded(tmp_path: Path) -> None:
    """R9, R12: silent until it is known who talks, on hold, and while a stranger is there."""
    async with watched(tmp_path) as site:
        call = await site.call()
        await site.granted(call)
        await until(lambda: masked(call))
        agent = call.bridge("7100")
        await until(lambda: not masked(call))
        assert site.told.scopes == []
        call.hold()
        await until(lambda: masked(call))
        call.hold(on=False)
        await until(lambda: not masked(call))
        call.unbridge()
        await until(lambda: masked(call))
        call.bridge("7999")  # nobody's agent: a transfer to a stranger
        await until(lambda: (ID, "recording_paused", "party_joined", True) in site.told.scopes)
        assert masked(call)
        call.unbridge()
        call.bridge("7100")
        await until(lambda: not masked(call) and len(site.told.scopes) == 4)  # told a moment after it is so
        assert [kind for _, kind, _, _ in site.told.scopes] == ["recording_paused", "recording_resumed"] * 2
        assert agent.name in call.variables["ivr_consent_agents"]


async def test_who_lives_on_after_the_bridge_is_there_no_more(tmp_path: Path) -> None:
    """FreeSWITCH goes on naming, on both channels, whom they were bridged with."""
    async with watched(tmp_path) as site:
        call = await site.call()
        await site.granted(call)
        agent = call.bridge("7100")
        await until(lambda: not masked(call))
        site.switch.part_legs(call)
        await until(lambda: masked(call))
        assert agent.alive
        assert call.variables["bridge_uuid"] == agent.uuid


async def test_two_callers_are_heard_while_both_have_consented(tmp_path: Path) -> None:
    """Consent that the other side gives, or takes back, while they talk counts at once."""
    other_id = "f" * 32
    async with watched(tmp_path, agents=("sofia/internal/71*",)) as site:
        call, other = await site.call(), await site.call()
        await site.granted(call)
        site.switch.connect_legs(call, other)
        await until(lambda: (ID, "recording_paused", "party_joined", True) in site.told.scopes)
        other.variables["ivr_consent_id"] = other_id
        await site.granted(other, other_id)
        await until(lambda: not masked(call))
        other.stop_recording("all")  # as the dialplan does for the code, before the log is told
        await until(lambda: masked(call))


async def test_an_agent_who_talks_to_somebody_else_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller waits while the agent asks a third person (an attended transfer); no event of a hold tells of it."""
    async with watched(tmp_path) as site:
        call = await site.call()
        await site.granted(call)
        agent = call.bridge("7100")
        await until(lambda: not masked(call))
        leg = site.guard.scope._switch.leg

        async def consults(uuid: str) -> Leg:
            found = await leg(uuid)
            return dataclasses.replace(found, peer="somebody-else") if uuid == agent.uuid else found

        monkeypatch.setattr(site.guard.scope._switch, "leg", consults)
        agent.fire("CHANNEL_BRIDGE")
        await until(lambda: masked(call))
        monkeypatch.setattr(site.guard.scope._switch, "leg", leg)
        agent.fire("CHANNEL_UNBRIDGE")
        await until(lambda: not masked(call))


async def test_a_line_names_its_agents(tmp_path: Path) -> None:
    async with watched(tmp_path, agents=("sofia/internal/71*",)) as site:
        call = await site.call()
        await site.granted(call)
        call.bridge("7999")
        await until(lambda: bool(site.told.scopes))
        assert site.told.scopes == [(ID, "recording_paused", "party_joined", True)]
        call.unbridge()
        call.bridge("7101")
        await until(lambda: not masked(call))


async def test_a_recording_that_cannot_be_paused_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(tmp_path, agents=("sofia/internal/71*",)) as site:
        call = await site.call()
        say = site.guard.scope._switch.say

        async def refuses(command: str) -> str:
            return "-ERR no" if " mask " in command else await say(command)

        monkeypatch.setattr(site.guard.scope._switch, "say", refuses)
        await site.granted(call)
        call.bridge("7999")
        await until(lambda: call.recordings == [])


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("talked", [True, False])
async def test_the_end_of_a_recording_is_told_on(tmp_path: Path, talked: bool) -> None:
    """Where nobody talked, FreeSWITCH removes the file by itself: nothing is missing then."""
    async with watched(tmp_path) as site:
        call = await site.call()
        await site.granted(call)
        await until(lambda: bool(site.guard.scope.all()))
        if talked:
            await call.talk(0.2)
        call.caller_hangs_up()
        await until(lambda: site.told.finished == [(ID, not talked)])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"ivr_consent_id": ID, "ivr_consent_by": "agent"}, [(ID, "agent")]),
        ({"ivr_consent_id": ID}, [(ID, "caller")]),
        ({"ivr_consent_id": f"../{ID}"}, []),
        ({"ivr_consent_id": "${x}"}, []),
        ({}, []),
    ],
    ids=str,
)
async def test_a_withdrawal_in_the_call_is_told_on(
    tmp_path: Path, fields: dict[str, str], told: list[tuple[str, str]]
) -> None:
    async with watched(tmp_path) as site:
        call = await site.call()
        wanted = "".join(f",{name}={value}" for name, value in fields.items())
        call.broadcast("event", f"Event-Name=CUSTOM,Event-Subclass=ivr_consent::withdrawn{wanted}")
        call.broadcast("record_session", str(site.spool / "later.wav"))  # what comes behind it was heard, so it was
        await until(lambda: bool(site.told.incidents))
        assert site.told.withdrawn == told


async def test_a_withdrawal_stops_the_calls_own_recorder_and_reads_it_back(tmp_path: Path) -> None:
    """I5; another recording of the same channel may have a consent of its own."""
    async with watched(tmp_path) as site:
        call = await site.call()
        await site.granted(call)
        await asyncio.to_thread(site.ledger.note_now, ID, "support", "recording_confirmed", {"reason": "test"})
        later = "f" * 32
        path = await site.granted(call, later)
        await asyncio.to_thread(site.ledger.note_now, ID, "support", "routed", {"route": "recorded"})
        switch = Recorders(site.link, site.ours)
        assert await withdrawing.withdraw(site.ledger, site.ours, switch, ID, "agent")
        assert [recording.path for recording in call.recordings] == [str(path)]
        with site.ledger.reader() as reader:
            record = reader.call(ID)
        assert record is not None
        assert record.later[-1].kind == "withdrawn"
        assert record.later[-1].payload["stop_confirmed"] is True
        assert not (site.ours / f"{ID}.raw").exists()


# --- small parts ------------------------------------------------------------------------------------------------------


def test_the_list_of_recorders_is_read_whatever_stands_in_it() -> None:
    bug = "<media-bug>\n<function>{}</function>\n<target>{}</target>\n</media-bug>"
    told = f"<media-bugs>{bug.format('session_record', '/a/b.wav')}{bug.format('eavesdrop', 'x')}</media-bugs>"
    assert recorders_in(told) == ("/a/b.wav",)
    odd = f"<media-bugs>{bug.format('session_record', '/a/R&D <x>.wav')}</media-bugs>"
    assert recorders_in(odd) == ("/a/R&D <x>.wav",)
    assert recorders_in("<media-bugs>\n</media-bugs>\n") == ()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/r/{ID}.raw", ID),
        (f"/r/{ID}.wav", None),
        (f"/r/x/{ID}.raw", None),
        (f"/r/../r/{ID}.raw", None),
        (f"{ID}.raw", None),
        ("", None),
    ],
)
def test_which_call_a_file_is_of(path: str, expected: str | None) -> None:
    assert id_of(path, Path("/r")) == expected


def test_what_it_hears_of_can_be_asked_for() -> None:
    assert EVENTS.index("CUSTOM") < min(EVENTS.index(name) for name in EVENTS if "::" in name)
    assert wire.events(*EVENTS).count(b"\n\n") == 1
