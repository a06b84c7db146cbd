"""The classic AGI script on a real Asterisk: no server, one process a call, the same flow and the same log."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from ivr_consent.pbx.asterisk.dialplan import render_include, render_lines
from ivr_consent.testing.wav import read_wav
from tests.live.support import AGENT_HZ, DEADLINE_S, DIALPLAN, Site
from tests.live.test_attacks import HOSTILE

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def without_server(own: Site) -> None:
    own.server.stop()
    script = Path(sys.executable).parent / "ivr-consent-agi"
    include = render_include(own.settings, script)
    assert include.count("agi://") == 1  # of a draft that is tried
    await own.pbx.reload_dialplan(include + render_lines(own.settings) + DIALPLAN)


async def test_yes_is_recorded(own: Site) -> None:
    """R1, R3: as with the server, with a guard time; the recording is finished at the hang-up."""
    await without_server(own)
    async with own.call("support") as call:
        await call.window(2)  # the first wait is the guard time
        assert call.created() == []
        await call.phone.press("1")
        await call.recorded_line()
        await asyncio.sleep(0.8)  # real time: caller and agent talk
        await call.phone.hang_up()
        record = await call.record(kind="recording_ended")
    assert record.decision.payload["answers"][0]["timing"] == "guard"
    wav = read_wav(own.recordings / record.later[-1].payload["file"])
    assert any(window.has(400) for window in wav.windows(0))
    assert any(window.has(AGENT_HZ) for window in wav.windows(1))
    assert not any(window.has(AGENT_HZ) for window in wav.windows(0))


@pytest.mark.parametrize("behaviour", ["no", "hang-up", "silence"])
async def test_anything_else_is_not(own: Site, behaviour: str) -> None:
    """R1, R3, R6, R7."""
    await without_server(own)
    async with own.call("support") as call:
        if behaviour == "no":
            await call.prompt("retention")
            await call.phone.press("2")
            await call.unrecorded_line()
        elif behaviour == "hang-up":
            await call.prompt("retention")
            await call.phone.hang_up()
        else:
            await call.unrecorded_line()
        record = await call.record()
        assert call.created() == []
    assert record.decision.outcome == {"no": "declined", "hang-up": "abandoned", "silence": "no_answer"}[behaviour]


async def test_a_hostile_caller_id(own: Site) -> None:
    """I6: forged replies in the caller id."""
    await without_server(own)
    async with own.call("support", **HOSTILE["forged replies"]) as call:
        await call.prompt("retention")
        await call.phone.press("2")
        await call.unrecorded_line()
        record = await call.record()
    assert record.decision.outcome == "declined"


async def test_a_script_that_cannot_start(own: Site) -> None:
    """R6: a broken configuration, and a script that is not there: unrecorded."""
    await without_server(own)
    (own.home / "ivr-consent.toml").write_text("lines = 7\n")
    async with own.call("support") as call:
        await call.unrecorded_line()
        assert call.created() == []
    include = render_include(own.settings, Path("/nowhere/ivr-consent-agi"))
    await own.pbx.reload_dialplan(include + render_lines(own.settings) + DIALPLAN)
    async with own.call("support") as call:
        async with asyncio.timeout(DEADLINE_S):
            await call.unrecorded_line()
        assert call.created() == []
