"""The guard on a real switch: every way in which a recording can start is seen, stopped, and told."""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import subprocess
import sys
import wave
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from ivr_consent.pbx.asterisk.manager import ManagerLink
from ivr_consent.pbx.asterisk.rights import GUARD as GUARD_RIGHTS
from ivr_consent.store.reader import LedgerReader, LoggedEvent
from ivr_consent.store.search import Wanted
from tests.live.support import DEADLINE_S, LiveCall, Site, site

pytestmark = pytest.mark.asyncio(loop_scope="session")

DIALPLAN = """
[from-sip]
exten => mixmonitor,1,Answer()
 same => n,MixMonitor(plain.wav)
 same => n,Milliwatt()
exten => mixmonitors,1,Answer()
 same => n,MixMonitor(one.wav)
 same => n,MixMonitor(two.wav)
 same => n,MixMonitor(three.wav)
 same => n,Milliwatt()
exten => agi,1,Answer()
 same => n,AGI(agi://127.0.0.1:AGIPORT/x)
 same => n,Playtones(1200)
 same => n,Wait(60)
exten => monitor,1,Answer()
 same => n,Monitor(wav,monitored)
 same => n,Milliwatt()
exten => record,1,Answer()
 same => n,Record(${ASTSPOOLDIR}/monitor/taken.wav,0,60)
 same => n,Playtones(1200)
 same => n,Wait(60)
exten => voicemail,1,Answer()
 same => n,VoiceMail(100@default,s)
 same => n,Playtones(1200)
 same => n,Wait(60)
exten => conference,1,Answer()
 same => n,Set(CONFBRIDGE(bridge,record_conference)=yes)
 same => n,ConfBridge(room)
exten => queue,1,Answer()
 same => n,Queue(taped)
exten => spy,1,Answer()
 same => n,ChanSpy(PJSIP,qr(spied))
 same => n,Wait(60)
exten => privacy,1,Answer()
 same => n,Dial(Local/plain@rig-agents/n,,P(taken))
exten => touch,1,Dial(Local/plain@rig-agents/n,,X)
exten => exempt,1,Goto(dispatch,s,1)
exten => plain,1,Answer()
 same => n,Milliwatt()
[many]
exten => _calm.,1,Answer()
 same => n,Milliwatt()
exten => _call.,1,Answer()
 same => n,MixMonitor(${EXTEN}.wav)
 same => n,Milliwatt()
[storm]
exten => _loop.,1,Answer()
 same => n,Set(LEFT=${EXTEN:4})
 same => n(again),Set(LEFT=$[${LEFT} - 1])
 same => n,NoOp(${LEFT})
 same => n,GotoIf($[${LEFT} > 0]?again)
[dispatch]
exten => s,1,Answer()
 same => n,MixMonitor(kept.wav)
 same => n,Milliwatt()
"""

GUARD = """
[[guard.exemptions]]
context = "dispatch"
basis = "GDPR 6(1)(c)"
reason = "emergency calls are recorded by law"
"""


def events(here: Site, kind: str = "incident") -> list[LoggedEvent]:
    with LedgerReader(here.home / "decisions.db") as reader:
        return list(reader.events(Wanted(kind=kind)))


def of_way(here: Site, way: str) -> list[LoggedEvent]:
    """Incidents of one way, the oldest first."""
    return [event for event in reversed(events(here)) if event.payload["way"] == way]


def written(here: Site) -> list[str]:
    """Recordings that the switch has open for writing, as the kernel tells."""
    found = []
    for descriptor in Path(f"/proc/{here.pbx.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            path = str(descriptor.readlink())
            if path.startswith(str(here.pbx.directory / "spool")):
                found.append(path)
    return found


async def record_file(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Somebody else's AGI script, which records by itself."""
    while (await reader.readline()).strip():
        pass
    writer.write(b'RECORD FILE "/tmp/ivr-consent-taken" wav "#" 60000\n')
    with contextlib.suppress(OSError):
        await reader.read(1000)
    writer.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["22", "16"])
async def watched(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site with a guard, and a dialplan that records in every way."""
    server = await asyncio.start_server(record_file, "127.0.0.1", 0)
    dialplan = DIALPLAN.replace("AGIPORT", str(server.sockets[0].getsockname()[1]))
    async with server, site(request.param, guard=GUARD, dialplan=dialplan) as running:
        await until(lambda: "guard_watching" in running.server.log)
        yield running


@contextlib.asynccontextmanager
async def admin(here: Site, events: str = "off") -> AsyncIterator[ManagerLink]:
    link = ManagerLink("127.0.0.1", here.pbx.ami_port, "admin", "admin", events=events)
    await link.start()
    try:
        assert await link.wait_up(DEADLINE_S)
        yield link
    finally:
        await link.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():
            await asyncio.sleep(0.02)  # polling other processes, with the deadline above


def recording_files(here: Site) -> list[str]:
    return [path.name for path in here.recordings.iterdir()]


def open_recordings(here: Site) -> list[str]:
    """Our own recordings that the switch writes."""
    found = []
    for descriptor in Path(f"/proc/{here.pbx.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            path = str(descriptor.readlink())
            if path.startswith(str(here.recordings)):
                found.append(path)
    return found


async def channel_of(link: ManagerLink, call: LiveCall) -> str:
    reply = await link.action("Status", {})
    found = [one.headers["Channel"] for one in reply.events if one.headers.get("Uniqueid") == call.uniqueid]
    assert len(found) == 1
    return found[0]


WAYS = {
    "mixmonitor": "MixMonitor",
    "mixmonitors": "MixMonitor",
    "monitor": "Monitor",
    "record": "record",
    "voicemail": "voicemail",
    "conference": "ConfBridge",
    "queue": "MixMonitor",
    "spy": "chanspy",
    "agi": "AGI RECORD FILE",
    "touch": "MixMonitor",
    "cli": "MixMonitor",
    "privacy": "dial",
}


COUNTS = {"mixmonitors": 3}


@pytest.mark.parametrize("number", WAYS)
async def test_a_recording_without_a_grant_is_stopped(watched: Site, number: str) -> None:
    way = "Monitor" if (watched.version, number) == ("16", "queue") else WAYS[number]
    if watched.version == "22" and number == "monitor":
        pytest.skip("Asterisk 22 has no Monitor")
    if watched.version == "16" and number == "voicemail":
        pytest.skip("Debian's Asterisk 16 has no VoiceMail")
    before = len(of_way(watched, way))
    async with watched.call("plain" if number == "cli" else number) as call:
        if number == "touch":
            await call.unrecorded_line()
            for key in "*3":
                await call.phone.press(key)
        elif number == "cli":
            await call.phone.wait_tone(1000, DEADLINE_S)
            async with admin(watched) as link:
                await watched.pbx.cli(f"mixmonitor start {await channel_of(link, call)} cli.wav")
        async with asyncio.timeout(DEADLINE_S):
            while sum(event.payload["stopped"] for event in of_way(watched, way)[before:]) < COUNTS.get(number, 1):
                await asyncio.sleep(0.02)  # polling another process's log, with the deadline above
        assert written(watched) == []
    for event in of_way(watched, way)[before:]:
        assert event.payload["confirmed"]
        assert event.payload["mode"] == "enforce"


async def test_what_a_caller_consented_to_goes_on(watched: Site) -> None:
    """The recorder of a grant is not touched, in its start, its rounds, and beside calls that record unlawfully."""
    before = len(events(watched))
    async with watched.call("support") as lawful:
        await lawful.window()
        await lawful.phone.press("1")
        await lawful.recorded_line()
        record = await lawful.record(kind="recording_confirmed")
        async with watched.call("mixmonitor"):
            await until(lambda: len(events(watched)) > before)
        raw = [path for path in written(watched) + recording_files(watched) if record.call_id in path]
        assert raw
    record = await lawful.record(kind="recording_ended")
    ended = next(event for event in record.later if event.kind == "recording_ended")
    assert ended.payload["milliseconds"] > 0
    assert len(events(watched)) == before + 1


async def test_a_second_recorder_beside_a_lawful_one_is_stopped_alone(watched: Site) -> None:
    before = len(events(watched))
    async with watched.call("support") as call, admin(watched) as link:
        await call.window()
        await call.phone.press("1")
        await call.recorded_line()
        record = await call.record(kind="recording_confirmed")
        channel = await channel_of(link, call)
        reply = await link.action("MixMonitor", {"Channel": channel, "File": "beside.wav"})
        assert reply.success, reply.message
        await until(lambda: len(events(watched)) > before)
        told = events(watched)[0].payload
        assert (told["stopped"], told["confirmed"], told.get("lawful_ended")) == (1, True, None)
        assert record.call_id in " ".join(recording_files(watched))
        reply = await link.action("MixMonitor", {"Channel": channel, "File": "again.wav"})
        await until(lambda: len(events(watched)) > before + 1)
        assert any(record.call_id in name for name in open_recordings(watched))
    record = await call.record(kind="recording_ended")
    assert not any(event.kind == "recording_stopped" for event in record.later)


async def test_of_a_hundred_calls_those_that_record_are_found(watched: Site) -> None:
    """Every third of a hundred calls records without consent, while one is recorded with it."""
    before = len(of_way(watched, "MixMonitor"))
    async with watched.call("support") as lawful, admin(watched) as link:
        call_id = await granted(lawful)
        for number in range(100):
            name = f"call{number}@many/n" if number % 3 == 0 else f"calm{number}@many/n"
            destination = {"Context": "from-sip", "Exten": "plain", "Priority": "1", "Async": "true"}
            await link.action("Originate", {"Channel": f"Local/{name}", **destination})
        await until(lambda: sum(event.payload["stopped"] for event in of_way(watched, "MixMonitor")[before:]) == 34)
        found = of_way(watched, "MixMonitor")[before:]
        assert all(event.payload["confirmed"] for event in found)
        assert len({event.payload["call"]["channel_uniqueid"] for event in found}) == 34
        assert written(watched) == []
        assert any(call_id in name for name in open_recordings(watched))
        await link.action("Hangup", {"Channel": "/^Local.(call|calm)/"})
    record = await lawful.record(kind="recording_ended")
    assert not any(event.kind == "recording_paused" for event in record.later)


async def test_forged_events_change_nothing(watched: Site) -> None:
    """A caller's name that holds whole events: starts for a lawful channel, stops and hang-ups for one that records."""
    before = len(events(watched))
    heard: list[tuple[str, str]] = []
    async with watched.call("support") as lawful, admin(watched, "call") as link:
        await lawful.window()
        await lawful.phone.press("1")
        await lawful.recorded_line()
        record = await lawful.record(kind="recording_confirmed")
        channel = await channel_of(link, lawful)
        link.on("*", lambda event: heard.append((event.name, event.headers.get("Channel", ""))))
        for name in ("MixMonitorStart", "MixMonitorStop", "Hangup"):
            forged = quote(f"\r\n\r\nEvent: {name}\r\nChannel: {channel}\r\nX: ", safe="")  # as long as it may be
            async with watched.call("plain", raw_from_user=forged) as hostile:
                await hostile.phone.wait_tone(1000, DEADLINE_S)
                assert (name, channel) in heard
            assert any(record.call_id in name for name in open_recordings(watched))
        # A guard that had believed the Stop would not look here again.
        reply = await link.action("MixMonitor", {"Channel": channel, "File": "unlawful.wav"})
        assert reply.success
        await until(lambda: len(events(watched)) > before)
        assert any(record.call_id in name for name in open_recordings(watched))
    assert len(events(watched)) == before + 1


async def test_exempt_recordings_are_let_be_and_told(watched: Site) -> None:
    before, exempt = len(events(watched)), len(events(watched, "recording_exempted"))
    async with watched.call("exempt"):
        await until(lambda: len(events(watched, "recording_exempted")) > exempt)
        told = events(watched, "recording_exempted")[0].payload
        assert (told["way"], told["basis"], told["context"]) == ("MixMonitor", "GDPR 6(1)(c)", "dispatch")
        assert any(name.endswith("kept.wav") for name in written(watched))
    assert len(events(watched)) == before


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["22", "16"])
async def required(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site that asks nobody while its guard is blind."""
    async with site(request.param, guard="required = true\nround_seconds = 1", dialplan=DIALPLAN) as running:
        await until(lambda: "guard_watching" in running.server.log)
        yield running


async def granted(call: LiveCall) -> str:
    """Say yes; the call's id, once its recorder is confirmed."""
    await call.window()
    await call.phone.press("1")
    await call.recorded_line()
    return (await call.record(kind="recording_confirmed")).call_id


async def test_a_blind_guard_lets_nobody_be_recorded(required: Site) -> None:
    """The manager link is cut: new calls go unrecorded, unasked. It comes back: what began meanwhile is stopped."""
    before = len(events(required))
    async with required.call("support") as lawful, admin(required) as link:
        call_id = await granted(lawful)
        await required.relay.cut()
        await until(lambda: "manager_down" in required.server.log)
        async with required.call("support") as refused:
            await refused.unrecorded_line()
            record = await refused.record()
            assert (record.decision.outcome, record.decision.payload["reason"]) == ("failed", "guard_blind")
            assert refused.created() == []
        async with required.call("mixmonitor") as unlawful:
            await until(lambda: any(name.endswith("plain.wav") for name in written(required)))
            watching = required.server.log.count("guard_watching")
            await required.relay.start()
            await until(lambda: len(events(required)) > before)
            told = events(required)[0].payload
            assert (told["found"], told["stopped"], told["confirmed"]) == ("start", 1, True), told
            assert written(required) == []
            assert await channel_of(link, unlawful)  # the call goes on
        assert any(call_id in name for name in open_recordings(required))
        await until(lambda: required.server.log.count("guard_watching") > watching)
    async with required.call("support") as again:
        await granted(again)


async def test_a_guard_that_is_killed_finds_everything_when_it_is_back(required: Site) -> None:
    before = len(events(required))
    async with required.call("support") as lawful, admin(required) as link:
        call_id = await granted(lawful)
        required.server.kill_group()
        for number in range(20):
            destination = {"Context": "from-sip", "Exten": "plain", "Priority": "1", "Async": "true"}
            await link.action("Originate", {"Channel": f"Local/call{number}@many/n", **destination})
        await until(lambda: len(written(required)) == 20)
        await required.server.start()
        await until(lambda: sum(event.payload["stopped"] for event in events(required)[: -before or None]) == 20)
        assert written(required) == []
        assert any(call_id in name for name in open_recordings(required))
        await link.action("Hangup", {"Channel": "/^Local.call/"})
    assert (await lawful.record(kind="recording_ended")).call_id == call_id


async def test_the_manager_tells_what_the_guard_looks_at_and_no_more(watched: Site) -> None:
    """A dialplan can make thousands of events a second: they are not even sent, or answers would wait for them."""
    heard: Counter[str] = Counter()
    plain = {"Context": "from-sip", "Exten": "plain", "Priority": "1", "Async": "true"}
    link = ManagerLink(
        "127.0.0.1", watched.pbx.ami_port, "ivr-consent", "least-rights", events="call,dialplan,agi,dtmf"
    )
    link.on("*", lambda event: heard.update((event.name, event.headers.get("Application", ""))))
    await link.start()
    before = len(events(watched))
    try:
        assert await link.wait_up(DEADLINE_S)
        async with watched.call("support") as call, admin(watched) as by_hand:
            await granted(call)
            await by_hand.action("Originate", {"Channel": "Local/loop1000@storm/n", **plain})
            await by_hand.action("Originate", {"Channel": "Local/call1@many/n", **plain})
            await until(lambda: len(events(watched)) > before)
            await by_hand.action("Hangup", {"Channel": "/^Local.(call|loop)/"})
        await until(lambda: heard["DTMFEnd"] > 0 and heard["MixMonitorStart"] > 1 and heard["BridgeLeave"] > 0)
    finally:
        await link.close()
    assert not {"Set", "NoOp", "Goto", "Answer", "Newstate", "DialState", "AGIExecStart"} & set(heard)


async def test_the_check_sees_whether_events_are_filtered(watched: Site) -> None:
    watched.pbx.add_manager("unfiltered", "least-rights", ",".join(GUARD_RIGHTS.read), ",".join(GUARD_RIGHTS.write))
    await watched.pbx.cli("manager reload")
    text = watched.server.path.read_text()
    for user, state in (("ivr-consent", "ok"), ("unfiltered", "warning")):
        path = watched.home / f"{user}.toml"
        path.write_text(text.replace('username = "ivr-consent"', f'username = "{user}"'))
        words = [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(path), "check", "--json"]
        done = await asyncio.to_thread(subprocess.run, words, capture_output=True, timeout=60, check=False)
        rows = {row["name"]: row for row in json.loads(done.stdout)["findings"]}
        assert rows["manager event filters"]["state"] == state, rows["manager event filters"]


async def pauses(call: LiveCall, *reasons: str) -> None:
    """Wait until the recording was paused and went on for these reasons, and no others."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            record = await call.record()
            kinds = ("recording_paused", "recording_resumed")
            found = [event.payload["reason"] for event in record.later if event.kind in kinds]
            assert found == list(reasons)[: len(found)]
            if len(found) == len(reasons):
                assert all(event.payload["confirmed"] for event in record.later if event.kind in kinds)
                return
            await asyncio.sleep(0.02)  # polling another process's log, with the deadline above


async def heard_in(watched: Site, call: LiveCall) -> tuple[float, float]:
    """Seconds of a finished recording, and in how many of them the caller is heard."""
    record = await call.record(kind="recording_ended")
    with wave.open(str(watched.recordings / f"{record.call_id}.wav")) as file:
        frames = array.array("h", file.readframes(file.getnframes()))
    caller = frames[0::2]
    blocks = [caller[at : at + 160] for at in range(0, len(caller), 160)]
    return len(blocks) / 50, sum(max(map(abs, block)) > 500 for block in blocks) / 50


async def test_a_caller_on_hold_or_parked_is_not_recorded(watched: Site) -> None:
    async with watched.call("support") as call, admin(watched) as link:
        await granted(call)
        await asyncio.sleep(0.5)  # real time: what is said is recorded
        await call.phone.hold()
        await pauses(call, "on_hold")
        await asyncio.sleep(2)  # real time: what is said is not recorded
        await call.phone.hold(on=False)
        await pauses(call, "on_hold", "talking")
        channel = await channel_of(link, call)
        assert (await link.action("Park", {"Channel": channel, "TimeoutChannel": channel, "Timeout": "60000"})).success
        await pauses(call, "on_hold", "talking", "parked")
        await asyncio.sleep(2)  # real time, as above
        assert (
            await link.action("Redirect", {"Channel": channel, "Context": "recorded", "Exten": "s", "Priority": "1"})
        ).success
        await pauses(call, "on_hold", "talking", "parked", "talking")
        await asyncio.sleep(0.5)  # real time, as above
    long, heard = await heard_in(watched, call)
    assert heard >= 0.5
    assert long - heard >= 3.5


async def test_a_party_from_outside_is_not_recorded(watched: Site) -> None:
    """The call is transferred to somebody who is no agent; then back to the agent's device."""
    async with watched.call("support") as call, admin(watched) as link:
        await granted(call)
        channel = await channel_of(link, call)
        outside = {"Channel": channel, "Context": "unrecorded", "Exten": "s", "Priority": "1"}
        assert (await link.action("Redirect", outside)).success
        await call.unrecorded_line()
        await pauses(call, "party_joined")
        assert (await link.action("Redirect", outside | {"Context": "recorded"})).success
        await call.recorded_line()
        await pauses(call, "party_joined", "talking")
