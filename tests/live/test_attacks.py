"""Callers who put other things than a number and a name into their caller id, on a real Asterisk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from ivr_consent.pbx.asterisk.dialplan import render_include, render_lines
from ivr_consent.store.reader import CallRecord
from tests.live.support import DEADLINE_S, DIALPLAN, Site, at_once

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORGED_REPLIES = "55%0a%0a200%20result=0%0a200%20result=0%20endpos=24000%0a200%20result=49%0a"
"""Ends the AGI environment early and plants: answered, prompt played, key 1 pressed."""

FORGED_EVENTS = (
    "55%0d%0a%0d%0aEvent%3a%20DTMFEnd%0d%0aDigit%3a%201%0d%0aDirection%3a%20Received%0d%0aDurationMs%3a%2010%0d%0a"
    "Uniqueid%3a%201%0d%0a%0d%0aEvent%3a%20MixMonitorStop%0d%0a%0d%0a"
)

HOSTILE = {
    "forged replies": {"raw_from_user": FORGED_REPLIES},
    "forged environment": {"raw_from_user": "55%0aagi_arg_1%3a%20routed%0aagi_network_script%3a%20ended%0a"},
    "forged events": {"raw_from_user": FORGED_EVENTS},
    "carriage return": {"raw_from_user": "55%0dAction%3a%20Logoff%0d"},
    "quotes": {"raw_from_user": "a%22b%27c%60d", "display_name": 'O\\"Brien \\\\'},
    "expressions": {
        "raw_from_user": "%24%7bSHELL(touch%20/tmp/ivr-consent-owned)%7d",
        "display_name": "${SHELL(id)}$[1+1]",
    },
    "shell": {"raw_from_user": "x;touch%20/tmp/ivr-consent-owned;%24(id)%7c%26", "display_name": "`id`; $(id) | & ;"},
    "long": {"raw_from_user": "9" * 300, "display_name": "N" * 300},
    "control characters": {"raw_from_user": "55%09%1b%5b31m%7f%01", "display_name": "\x1b[31mred"},
    "not UTF-8": {"raw_from_user": "55%ff%fe%c3", "display_name": "Zo\u00eb"},
}


async def test_a_hostile_caller_id_changes_nothing(here: Site) -> None:
    """I6, R3: the notice is played in full time, silence grants nothing, no file, nothing of it in our log lines.

    All of them call at the same time: a call takes as long as a notice, and one's forgery may not help another either.
    """
    begun = asyncio.Lock()

    async def one(attack: str) -> CallRecord:
        async with contextlib.AsyncExitStack() as stack:
            async with begun:  # whose id is hostile is known by being the next one that begins
                call = await stack.enter_async_context(here.call("support", **HOSTILE[attack]))
                await call.until("ANSWER")
                began = time.monotonic()
            await call.unrecorded_line()
            assert time.monotonic() - began > 8, "the notice and two windows cannot be over yet"
            record = await call.record()
            assert call.created() == []
            assert call.count("MixMonitor") == 0
        return record

    records = await at_once({attack: one(attack) for attack in HOSTILE})
    assert not Path("/tmp/ivr-consent-owned").exists()
    for record in records.values():
        assert (record.decision.outcome, record.decision.payload["reason"]) == ("no_answer", "silence")
        ours = [line for line in here.server.log.splitlines() if record.call_id in line]
        assert len(ours) == 1
        assert ours[0].startswith('{"')
        assert not any(
            word in here.server.log + str(record) for word in ("SHELL", "touch", "\x1b", "NNNN", "9999999999")
        )


async def test_a_forger_who_says_yes_is_asked_like_everyone(here: Site) -> None:
    """R3: the forgery neither helps nor harms: a proper yes grants."""
    begun = asyncio.Lock()

    async def one(attack: str) -> CallRecord:
        async with contextlib.AsyncExitStack() as stack:
            async with begun:
                call = await stack.enter_async_context(here.call("support", **HOSTILE[attack]))
                await call.until("ANSWER")
            await call.window()
            assert call.created() == []
            await call.phone.press("1")
            await call.recorded_line()
            return await call.record(kind="routed")

    records = await at_once(
        {attack: one(attack) for attack in ("forged replies", "forged environment", "forged events")}
    )
    assert {record.decision.outcome for record in records.values()} == {"granted"}


@pytest.mark.parametrize("attack", ["forged replies", "forged environment", "control characters"])
async def test_a_dialplan_that_does_not_filter(own: Site, attack: str) -> None:
    """R3, I6: AGI() called without our include, the caller id as it came: refused, unrecorded, no file."""
    bare = f"""
[bare]
exten => _.,1,Set(IVR_CONSENT_RESULT=failed)
 same => n,AGI(agi://127.0.0.1:{own.settings.server.port}/consent,support)
 same => n,GotoIf($["${{IVR_CONSENT_RESULT}}" = "granted"]?recorded,s,1)
 same => n,Goto(unrecorded,s,1)
"""
    dialplan = DIALPLAN.replace("Goto(gate,${EXTEN},1)", "Goto(bare,${EXTEN},1)")
    await own.pbx.reload_dialplan(render_include(own.settings) + render_lines(own.settings) + dialplan + bare)
    async with own.call("support", **HOSTILE[attack]) as call:
        await call.unrecorded_line()
        assert call.created() == []
        assert call.count("MixMonitor") == 0
        assert not [record for record in own.records() if record.decision.outcome == "granted"]
    async with asyncio.timeout(DEADLINE_S):
        while "connection_closed" not in own.server.log and "out_of_step" not in own.server.log:
            await asyncio.sleep(0.05)  # polling another process's log, with the deadline above
