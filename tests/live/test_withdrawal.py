"""Withdrawal, and consent given late, by a code in the middle of a call, on a real switch.

Caller and agent hear each other all the time (1000 and 600 Hz). The tone that confirms is 820 Hz; two of 350 Hz say
that nothing was recorded, four that it is not known.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from ivr_consent.pbx.asterisk.dialplan import render_include, render_lines
from ivr_consent.store.reader import CallRecord
from ivr_consent.testing.phone import Call
from tests.live.support import DEADLINE_S, LiveCall, Site, at_once, site
from tests.live.support import DIALPLAN as DIALPLAN_OF_SITE

pytestmark = pytest.mark.asyncio(loop_scope="session")

DONE_HZ, NOTHING_HZ = 820, 350
CALLER_HZ = 1000

DIALPLAN = """
[from-sip]
exten => queued,1,Gosub(ivr-consent,s,1(support))
 same => n,Queue(support)
exten => own,1,Set(DYNAMIC_FEATURES=sites-own)
 same => n,Gosub(ivr-consent,s,1(support))
 same => n,Gosub(ivr-consent-stop,s,1)
 same => n,Goto(unrecorded,s,1)
[elsewhere]
exten => agent,1,Dial(Local/agent@rig-agents/n)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["22", "16"])
async def there(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site with feature codes."""
    async with site(request.param, features=True, dialplan=DIALPLAN) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session", params=["22", "16"])
async def own_there(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """The same for one test that breaks it."""
    async with site(request.param, features=True, dialplan=DIALPLAN) as running:
        yield running


async def granted(call: LiveCall, codec_key: Callable[[], Awaitable[None]] | None = None) -> CallRecord:
    """Consent by key, up to the talk with the agent."""
    call.phone.tone = CALLER_HZ
    await call.window()
    await (call.phone.press("1") if codec_key is None else codec_key())
    await call.recorded_line()
    return await call.record(kind="routed")


async def press(phone: Call, code: str, pause: float = 0.05) -> None:
    await phone.press(code[0])
    for key in code[1:]:
        await asyncio.sleep(pause)  # real time: a caller's finger
        await phone.press(key)


async def nothing_left(here: Site, call_id: str) -> None:
    """No file of the recording is left, and no mark."""
    async with asyncio.timeout(DEADLINE_S):
        while list(here.recordings.glob(f"{call_id}*")):
            await asyncio.sleep(0.02)  # polling a directory, with the deadline above


async def recorders(here: Site, call: LiveCall) -> int:
    """How many recorders the switch has on the caller's channel."""
    for line in (await here.pbx.cli("core show channels concise")).splitlines():
        if line.split("!")[-1] == call.uniqueid:
            listed = await here.pbx.cli(f"mixmonitor list {line.split('!')[0]}")
            return sum(one.startswith("0x") for one in listed.splitlines())  # its handle; a path may have 0x in it
    raise AssertionError("the caller's channel is gone")


async def agent_presses(here: Site, call: LiveCall, code: str) -> None:
    """Keys on the agent's own side of the bridge that the caller is in."""
    (agent,) = await agents(here, call)
    for key in code:
        reply = await here.watch.action("PlayDTMF", {"Channel": agent, "Digit": key})
        assert reply.success, reply
        await asyncio.sleep(0.3)  # real time: the key's length


async def agents(here: Site, call: LiveCall) -> list[str]:
    """The far ends of the agents' channels of this call."""
    found = []
    for line in (await here.pbx.cli("core show channels concise")).splitlines():
        name = line.split("!")[0]
        if name.startswith("Local/agent@rig-agents") and name.endswith(";2"):
            linked = await here.watch.action("Getvar", {"Channel": name, "Variable": "CHANNEL(linkedid)"})
            found += [name] if linked.headers.get("Value") == call.uniqueid else []
    return found


async def withdrawn(here: Site, call: LiveCall, press_code: Callable[[], Awaitable[None]], **consent: object) -> None:
    """After the code the caller hears the one tone, nothing records, nothing is left, and the talk goes on."""
    record = await granted(call, **consent)  # type: ignore[arg-type]  # options by name
    assert await recorders(here, call) == 1
    await press_code()
    await call.phone.wait_tone(DONE_HZ, DEADLINE_S)
    assert await recorders(here, call) == 0
    await nothing_left(here, record.call_id)
    later = (await call.record(kind="withdrawn")).later[-1]
    assert later.kind == "withdrawn"
    assert later.payload["by"] == "caller"
    assert later.payload["reason"] == "by_caller"
    assert later.payload["stop_confirmed"] is True
    await call.recorded_line()


async def test_the_caller_withdraws(there: Site) -> None:
    """R13, I5: *9 pressed fast, slowly, by SIP INFO and as tones in the audio; a second time nothing is there."""

    async def by_info(phone: Call) -> None:
        await phone.press_info("*")
        await asyncio.sleep(0.2)  # real time: the key's length
        await phone.press_info("9")

    async def inband(phone: Call) -> None:
        for key in "*9":
            await phone.press_inband(key, 0.15)

    async def one(name: str, how: Callable[[Call], Awaitable[None]], **options: object) -> None:
        async with there.call("support", **options) as call:
            consent = {"codec_key": lambda: call.phone.press_inband("1", 0.15)} if options else {}
            await withdrawn(there, call, lambda: how(call.phone), **consent)
            await how(call.phone)
            await call.phone.wait_tone(NOTHING_HZ, DEADLINE_S)
            await call.recorded_line()
            await call.phone.hang_up()
            record = await call.record()
            assert [event.kind for event in record.later].count("withdrawn") == 1
            assert "recording_ended" not in [event.kind for event in record.later]
            await nothing_left(there, record.call_id)

    await at_once(
        {
            "fast": one("fast", lambda phone: press(phone, "*9")),
            "slow": one("slow", lambda phone: press(phone, "*9", 2.0)),
            "info": one("info", by_info),
            "inband": one("inband", inband, events=False),
        }
    )


async def test_the_agent_withdraws_for_the_caller(there: Site) -> None:
    """R13: *9 by the agent, in a queue and after a blind transfer: the recorder is on the caller's channel."""

    async def pressed(call: LiveCall) -> None:
        record = await granted(call)
        call_id = record.call_id
        if call.phone.number == "support":
            (agent,) = await agents(there, call)
            moved = {"Channel": agent.replace(";2", ";1"), "Context": "elsewhere", "Exten": "agent"}
            assert (await there.watch.action("BlindTransfer", moved)).success
            async with asyncio.timeout(DEADLINE_S):
                while await agents(there, call) in ([], [agent]):
                    await asyncio.sleep(0.05)  # polling the switch, with the deadline above
            await call.recorded_line()
        await agent_presses(there, call, "*9")
        later = (await call.record(kind="withdrawn")).later[-1].payload
        assert (later["by"], later["stop_confirmed"], later["recorders_stopped"]) == ("agent", True, 1)
        assert await recorders(there, call) == 0
        await nothing_left(there, call_id)
        await press(call.phone, "*9")
        await call.phone.wait_tone(NOTHING_HZ, DEADLINE_S)
        await call.recorded_line()

    async with there.call("queued") as one, there.call("support") as other:
        await at_once({"in a queue": pressed(one), "after a transfer": pressed(other)})


async def test_consent_given_late_by_the_caller_alone(there: Site) -> None:
    """R3: after a no, *8 by the agent does nothing; by the caller it asks, and a yes records from then on."""
    async with there.call("own") as call:
        call.phone.tone = CALLER_HZ
        await call.window()
        await call.phone.press("2")
        await call.unrecorded_line()
        first = await call.record()
        (agent,) = [
            line.split("!")[0]
            for line in (await there.pbx.cli("core show channels concise")).splitlines()
            if line.startswith("Local/plain@rig-agents") and ";2" in line
        ]
        await press(call.phone, "*9")
        await call.phone.wait_tone(NOTHING_HZ, DEADLINE_S)
        asked = len(call.executed)
        for key in "*8":
            await there.watch.action("PlayDTMF", {"Channel": agent, "Digit": key})
            await asyncio.sleep(0.3)  # real time: the key's length
        await asyncio.sleep(1.0)  # real time: nothing happens
        assert len(call.executed) == asked
        await call.unrecorded_line()
        await press(call.phone, "*8")
        await call.window(2)
        assert call.created() == []
        await call.phone.press("1")
        await call.unrecorded_line()
        assert await recorders(there, call) == 1
        await call.phone.hang_up()
        decisions = [
            record for record in there.records() if record.decision.payload["call"]["channel_uniqueid"] == call.uniqueid
        ]
        late = next(record for record in decisions if record.call_id != first.call_id)
        assert (first.decision.outcome, late.decision.outcome) == ("declined", "granted")


async def test_withdrawn_while_the_service_is_dead(own_there: Site) -> None:
    """R6, R13, I5: the caller's recorder stops at once; both recordings are erased by the service that comes next."""
    async with own_there.call("support") as caller, own_there.call("support") as other:
        first, second = await asyncio.gather(granted(caller), granted(other))
        own_there.server.kill_group()
        await press(caller.phone, "*9")
        await caller.phone.wait_tone(DONE_HZ, DEADLINE_S)
        assert await recorders(own_there, caller) == 0
        await agent_presses(own_there, other, "*9")
        assert await recorders(own_there, other) == 1
        assert {path.name for path in own_there.recordings.glob("*.withdrawn")} == {
            f"{record.call_id}.withdrawn" for record in (first, second)
        }
        await own_there.server.start()
        ends = await asyncio.gather(caller.record(kind="withdrawn"), other.record(kind="withdrawn"))
        assert [record.later[-1].payload["by"] for record in ends] == ["caller", "agent"]
        assert [record.later[-1].payload["stop_confirmed"] for record in ends] == [True, True]
        await asyncio.gather(*(nothing_left(own_there, record.call_id) for record in (first, second)))
        assert await recorders(own_there, other) == 0
        await asyncio.gather(caller.recorded_line(), other.recorded_line())


async def test_with_the_classic_script(own_there: Site) -> None:
    """R13: no server and no manager link: the caller's recorder stops; the agent's code takes the file away."""
    own_there.server.stop()
    include = render_include(own_there.settings, Path(sys.executable).parent / "ivr-consent-agi")
    await own_there.pbx.reload_dialplan(include + render_lines(own_there.settings) + DIALPLAN_OF_SITE)

    async def one(by: str) -> None:
        async with own_there.call("support") as call:
            await call.window(2)  # the first wait is the guard time
            await call.phone.press("1")
            await call.recorded_line()
            if by == "caller":
                await press(call.phone, "*9")
                await call.phone.wait_tone(DONE_HZ, DEADLINE_S)
            else:
                await agent_presses(own_there, call, "*9")
            later = (await call.record(kind="withdrawn")).later[-1].payload
            assert (later["by"], later["stop_confirmed"], later["erased"]) == (by, by == "caller", True)
            await nothing_left(own_there, call.told["Call"] if call.told is not None else "")
            await call.recorded_line()

    await at_once({by: one(by) for by in ("caller", "agent")})
    assert list(own_there.recordings.iterdir()) == []
