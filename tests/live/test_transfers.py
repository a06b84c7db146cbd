"""Recordings when telephones move a call: transfers by SIP REFER, blind and attended, and a call that is picked up.

The agent is a telephone of its own here (an endpoint's other call), so what it sends is what a real one sends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ivr_consent.testing.phone import Call, Phone
from tests.live.support import AGENT_HZ, DEADLINE_S, UNRECORDED_HZ, LiveCall, Site, site

pytestmark = pytest.mark.asyncio(loop_scope="session")

DIALPLAN = """
[from-sip]
exten => desk,1,Answer()
 same => n,Set(GLOBAL(DESK)=${CHANNEL})
 same => n,Wait(120)
exten => bridged,1,Gosub(ivr-consent,s,1(support))
 same => n,Bridge(${DESK})
 same => n,Hangup()
exten => rung,1,Gosub(ivr-consent,s,1(support))
 same => n,Dial(Local/ringing@bell/n)
 same => n,Hangup()
exten => rungfar,1,Gosub(ivr-consent,s,1(far))
 same => n,Dial(Local/ringing@bell/n)
 same => n,Hangup()
exten => take,1,PickupChan(Local/ringing@bell,p)
 same => n,Hangup()
exten => stranger,1,Dial(Local/plain@rig-agents/n)
 same => n,Hangup()
[bell]
exten => ringing,1,Ringing()
 same => n,Wait(60)
"""

LINES = """
[lines.far]
agents = ["Local/agent@*"]
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["22", "16"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site whose guard follows recordings, with an agent's telephone."""
    async with site(request.param, guard=LINES, dialplan=DIALPLAN) as running:
        async with asyncio.timeout(DEADLINE_S):
            while "guard_watching" not in running.server.log:
                await asyncio.sleep(0.02)  # polling another process, with the deadline above
        yield running


@contextlib.asynccontextmanager
async def telephone(here: Site) -> AsyncIterator[Phone]:
    async with Phone(("127.0.0.1", here.pbx.sip_port), tone=int(AGENT_HZ)) as phone:
        yield phone


@contextlib.asynccontextmanager
async def agent(here: Site) -> AsyncIterator[tuple[Phone, Call]]:
    """The agent's telephone, waiting at its desk."""
    async with telephone(here) as phone:
        call = await phone.call("desk")
        await call.wait_answered()
        async with asyncio.timeout(DEADLINE_S):
            while "PJSIP" not in await here.pbx.cli("dialplan show globals"):
                await asyncio.sleep(0.02)  # polling the switch, with the deadline above
        yield phone, call
        await here.pbx.cli("dialplan set global DESK nobody")


async def granted(call: LiveCall) -> None:
    await call.window()
    await call.phone.press("1")


async def told(call: LiveCall) -> list[str]:
    """Why the recording was paused or went on, so far."""
    record = await call.record(kind="recording_confirmed")
    kinds = ("recording_paused", "recording_resumed")
    return [event.payload["reason"] for event in record.later if event.kind in kinds]


async def silent(call: LiveCall) -> None:
    """Wait until the recording is silent. Between two bridges a caller is seen to be in none, as one who is parked."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := await told(call)):
            await asyncio.sleep(0.02)  # polling another process's log, with the deadline above
    assert found in (["party_joined"], ["parked"])


async def test_a_blind_transfer_by_the_agents_telephone(desk: Site) -> None:
    """To a stranger: silent from there on, also when the agent has hung up."""
    async with agent(desk) as (_, at_desk), desk.call("bridged") as call:
        await granted(call)
        await call.recorded_line()
        assert await told(call) == []
        await at_desk.transfer("stranger")
        await call.phone.wait_tone(UNRECORDED_HZ, DEADLINE_S)
        await silent(call)
        await at_desk.hang_up()
        await call.phone.wait_tone(UNRECORDED_HZ, DEADLINE_S)
        await silent(call)


async def test_an_attended_transfer_by_the_agents_telephone(desk: Site) -> None:
    """The agent talks to the stranger first, on a second call, and puts the two together."""
    async with agent(desk) as (phone, at_desk), desk.call("bridged") as call:
        await granted(call)
        await call.recorded_line()
        assert await told(call) == []
        consult = await phone.call("stranger")
        await consult.wait_tone(UNRECORDED_HZ, DEADLINE_S)
        await at_desk.transfer(consult)
        await call.phone.wait_tone(UNRECORDED_HZ, DEADLINE_S)
        await silent(call)


async def test_who_transfers_oneself_away_is_not_recorded_on(desk: Site) -> None:
    """The caller's own telephone sends the agent to somebody: the recording was of the caller's part, and ends."""
    async with agent(desk) as (_, at_desk), desk.call("bridged") as call:
        await granted(call)
        await call.recorded_line()
        await call.phone.transfer("stranger")
        await at_desk.wait_tone(UNRECORDED_HZ, DEADLINE_S)
        record = await call.record(kind="recording_ended")
        assert not any(event.kind == "incident" for event in record.later)
        assert await recorders(desk) == []


async def test_who_puts_a_stranger_in_ones_own_place_is_not_recorded_on(desk: Site) -> None:
    """The caller said yes, calls somebody who was never asked, and puts that one through to the agent (attended)."""
    async with agent(desk) as (_, at_desk), desk.call("bridged") as call, telephone(desk) as second:
        await granted(call)
        await call.recorded_line()
        assert await told(call) == []
        stranger = await second.call("stranger")
        await stranger.wait_tone(UNRECORDED_HZ, DEADLINE_S)
        await call.phone.transfer(stranger)
        await at_desk.wait_tone(UNRECORDED_HZ, DEADLINE_S)
        record = await call.record(kind="recording_ended")
        assert record.decision.outcome == "granted"
        assert await recorders(desk) == []


async def recorders(here: Site) -> list[str]:
    """What records on any channel, as the switch itself lists it."""
    lines = (await here.pbx.cli("core show channels concise")).splitlines()
    found = []
    for name in (line.partition("!")[0] for line in lines):
        with contextlib.suppress(RuntimeError):  # it has just gone
            rows = (await here.pbx.cli(f"mixmonitor list {name}")).splitlines()
            found += [row for row in rows if ".wav" in row]
    return found


async def picked_up(here: Site, call: LiveCall, other: Phone) -> Call:
    """The other telephone takes the call while it rings elsewhere."""
    await granted(call)
    async with asyncio.timeout(DEADLINE_S):
        while "Local/ringing" not in await here.pbx.cli("core show channels concise"):
            await asyncio.sleep(0.02)  # polling the switch, with the deadline above
    taken = await other.call("take")
    await taken.wait_answered()
    await call.recorded_line()
    return taken


async def test_a_call_that_is_picked_up(desk: Site) -> None:
    """Who answers for somebody else is who the call is connected to first: an agent, where the line names none."""
    async with desk.call("rung") as call, telephone(desk) as other:
        taken = await picked_up(desk, call, other)
        await asyncio.sleep(0.5)  # real time: the two talk
        await taken.hang_up()
        record = await call.record(kind="recording_ended")
        assert not any(event.kind in ("recording_paused", "incident") for event in record.later)


async def test_a_call_that_is_picked_up_by_who_is_no_agent(desk: Site) -> None:
    async with desk.call("rungfar") as call, telephone(desk) as other:
        await picked_up(desk, call, other)
        await silent(call)
