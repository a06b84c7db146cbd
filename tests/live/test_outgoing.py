"""Outgoing calls: the called person hears the notice and chooses before the two talk. On a real switch.

The agent's telephone is ours; the called person is an extension of the switch itself, reached over SIP, whose keys are
pressed through the manager. The person's tone is 700 Hz: the agent hears it once the two talk.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from typing import cast

import pytest
import pytest_asyncio

from ivr_consent.pbx.asterisk.manager import ManagerLink
from ivr_consent.site import load_site
from ivr_consent.store.reader import CallRecord
from ivr_consent.testing.eye import DirectoryWatch
from ivr_consent.testing.phone import Call
from ivr_consent.testing.wav import read_wav
from tests.live.support import DEADLINE_S, LiveCall, Site, site

pytestmark = pytest.mark.asyncio(loop_scope="session")

PERSON_HZ, CALLER_HZ, DONE_HZ = 700, 1000, 820
TAKEN_BACK_S = 20.0
"""A call goes on within this time when nobody answers the gate."""

DIALPLAN = """
[from-sip]
exten => dials,1,Dial(PJSIP/phone/sip:person@127.0.0.1:SIP_PORT,,U(ivr-consent-called^support^+4570102030))
 same => n,Hangup()
exten => dialsto,1,Dial(PJSIP/phone/sip:moved@127.0.0.1:SIP_PORT,,U(ivr-consent-called^support^4570102031))
 same => n,Hangup()
exten => person,1,Answer()
 same => n,Playtones(700)
 same => n,Wait(60)
exten => moved,1,Transfer(PJSIP/sip:person@127.0.0.1:SIP_PORT)
[click]
exten => s,1,Gosub(ivr-consent,s,1(support,4570102032))
 same => n,Dial(Local/agent@rig-agents/n)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["22", "16"])
async def there(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site with feature codes, and somebody to be called."""
    async with site(request.param, features=True, dialplan=DIALPLAN) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session", params=["22", "16"])
async def own_there(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """The same for one test that breaks it."""
    async with site(request.param, features=True, dialplan=DIALPLAN) as running:
        yield running


@contextlib.asynccontextmanager
async def asked(here: Site, number: str = "") -> AsyncIterator[LiveCall]:
    """What our gate does on a channel that shows this number (a called one shows what was dialled), or on the next."""
    call = LiveCall(here, number, hostile=not number)
    call.phone = cast("Call", None)  # the person's telephone is the switch itself
    here.calls.append(call)
    with DirectoryWatch(here.recordings) as eye:
        call.eye = eye
        try:
            yield call
        finally:
            here.calls.remove(call)


async def person_presses(here: Site, code: str) -> None:
    """Keys on the called person's telephone."""
    rows = [line.split("!") for line in (await here.pbx.cli("core show channels concise")).splitlines()]
    (name,) = [row[0] for row in rows if row[2] == "person"]
    for key in code:
        reply = await here.watch.action("PlayDTMF", {"Channel": name, "Digit": key})
        assert reply.success, reply
        await asyncio.sleep(0.3)  # real time: the key's length


def of_person(here: Site, record: CallRecord, number: str) -> bool:
    return bool(record.decision.payload["call"]["subject_ref"] == load_site(here.settings).subject(number))


async def test_the_called_person_says_yes_or_no(there: Site) -> None:
    """R12: before the two talk; the called person is left, the agent right, and it is that person's consent."""
    async with asked(there, "dials") as person, there.call("dials") as agent:
        await person.window()
        assert person.created() == []
        await person_presses(there, "1")
        agent.phone.tone = CALLER_HZ
        await agent.phone.wait_tone(PERSON_HZ, DEADLINE_S)
        record = await person.record(kind="routed")
        await asyncio.sleep(1.0)  # real time: they talk
        await agent.phone.hang_up()
        record = await person.record(kind="recording_ended")
    assert of_person(there, record, "+4570102030")
    wav = read_wav(there.recordings / record.later[-1].payload["file"])
    for windows, own, other in ((wav.windows(0), PERSON_HZ, CALLER_HZ), (wav.windows(1), CALLER_HZ, PERSON_HZ)):
        talking = [window for window in windows if window.has(own)]
        assert len(talking) >= len(windows) // 2
        assert not any(window.has(other) or window.has(440) for window in windows)
    async with asked(there, "dials") as person, there.call("dials") as agent:
        await person.window()
        await person_presses(there, "2")
        await agent.phone.wait_tone(PERSON_HZ, DEADLINE_S)
        record = await person.record()
        assert record.decision.outcome == "declined"
        assert person.created() == []
        # After the two are connected: by the person's own key alone.
        asked_before = len(person.executed)
        await agent.phone.press("*")
        await agent.phone.press("8")
        await asyncio.sleep(1.0)  # real time: nothing happens
        assert len(person.executed) == asked_before
        await person_presses(there, "*8")
        await person.window(2)
        await person_presses(there, "1")
        await agent.phone.wait_tone(PERSON_HZ, DEADLINE_S)
        async with asyncio.timeout(DEADLINE_S):
            while (late := there.records()[0]).route != "recorded":
                await asyncio.sleep(0.02)  # polling another process's log, with the deadline above
        assert late.decision.outcome == "granted"
        # The agent placed the call, so nothing was inherited from the called channel; *9 withdraws all the same.
        await agent.phone.press("*")
        await agent.phone.press("9")
        await agent.phone.wait_tone(DONE_HZ, DEADLINE_S)
        await agent.phone.wait_tone(PERSON_HZ, DEADLINE_S)
        withdrawn = next(record for record in there.records() if record.call_id == late.call_id).later[-1]
        assert (withdrawn.kind, withdrawn.payload["by"], withdrawn.payload["stop_confirmed"]) == (
            "withdrawn",
            "agent",
            True,
        )
        assert list(there.recordings.glob(f"{late.call_id}*")) == []


async def test_a_call_that_is_forwarded_and_a_click_to_call(there: Site) -> None:
    """R12: who answers is asked, on whatever channel; a call that the switch places itself, as an incoming one."""
    async with asked(there, "dialsto") as person, there.call("dialsto") as agent:
        await person.window()
        await person_presses(there, "1")
        await agent.phone.wait_tone(PERSON_HZ, DEADLINE_S)
        record = await person.record(kind="routed")
        assert of_person(there, record, "4570102031")
        await agent.phone.hang_up()
        await person.record(kind="recording_ended")
    admin = ManagerLink("127.0.0.1", there.pbx.ami_port, "admin", "admin", events="off")
    await admin.start()
    assert await admin.wait_up(DEADLINE_S)
    async with asked(there) as person:
        placed = {"Channel": f"PJSIP/phone/sip:person@127.0.0.1:{there.pbx.sip_port}"}
        placed |= {"Context": "click", "Exten": "s", "Priority": "1", "Async": "true"}
        assert (await admin.action("Originate", placed)).success
        await person.window()
        await person_presses(there, "2")
        record = await person.record()
        assert (record.decision.outcome, person.created()) == ("declined", [])
        assert of_person(there, record, "4570102032")
        assert (await admin.action("Hangup", {"Channel": "/^PJSIP.*/"})).success
    await admin.close()


async def test_nobody_answers_the_gate(own_there: Site) -> None:
    """R6: refused, and frozen whole in the middle of the notice: every call goes on unrecorded, within a lease."""
    async with asked(own_there, "dials") as person, own_there.call("dials") as agent, own_there.call("support") as late:
        await late.window()
        await late.phone.press("2")
        await asyncio.gather(late.unrecorded_line(), person.prompt("withdrawal"))
        own_there.server.kill_group(signal.SIGSTOP)
        frozen = time.monotonic()
        await late.phone.press("*")
        await late.phone.press("8")
        await agent.phone.wait_tone(PERSON_HZ, DEADLINE_S)
        assert time.monotonic() - frozen < TAKEN_BACK_S
        await asyncio.sleep(0.5)  # real time: the code has been heard by now
        await late.unrecorded_line()
        assert time.monotonic() - frozen < TAKEN_BACK_S + 2
        assert person.created() == []
    own_there.server.kill_group(signal.SIGKILL)
    async with own_there.call("dials") as agent:
        began = time.monotonic()
        await agent.phone.wait_tone(PERSON_HZ, DEADLINE_S)
        assert time.monotonic() - began < TAKEN_BACK_S / 4
