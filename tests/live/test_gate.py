"""The gate on a real Asterisk: who is recorded, who is not, and what the file holds."""

from __future__ import annotations

import asyncio

import pytest

from ivr_consent.testing.wav import read_wav
from tests.live.support import AGENT_HZ, Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLER_HZ = 1000
"""Far from every other tone: a phone that stumbles on a busy machine is heard somewhat beside its own."""


async def test_yes_is_recorded_with_the_sides_apart(here: Site) -> None:
    """R1, R3, R22: after a yes the file has the caller left, the agent right, nothing of the notice; log complete."""
    async with here.call("support") as call:
        call.phone.tone = CALLER_HZ
        await call.prompt("training-question")
        assert call.created() == []
        await call.window()
        assert call.created() == []
        await call.phone.press("1")
        await call.recorded_line()
        await asyncio.sleep(1.0)  # real time: caller and agent talk
        assert call.told is not None
        assert call.told["Result"] == "granted"
        await call.phone.hang_up()
        record = await call.record(kind="recording_ended")
    decision = record.decision.payload
    assert record.call_id == call.told["Call"]
    assert record.route == "recorded"
    assert decision["outcome"] == "granted"
    assert decision["answers"][0]["timing"] == "manager"
    assert decision["answers"][0]["after_ms"] >= 0
    assert all(segment["complete"] for segment in decision["notice"]["segments"])
    assert call.caller not in str(record)
    ended = record.later[-1].payload
    wav = read_wav(here.recordings / ended["file"])
    assert len(wav.channels) == 2
    assert ended["milliseconds"] == pytest.approx(1000, abs=400)
    for windows, own, other in ((wav.windows(0), CALLER_HZ, AGENT_HZ), (wav.windows(1), AGENT_HZ, CALLER_HZ)):
        talking = [window for window in windows if window.has(own)]
        assert len(talking) >= len(windows) - 2
        assert not any(window.has(other) or window.has(440) for window in windows)


@pytest.mark.parametrize("key", ["2", "7", None])
async def test_anything_else_creates_no_file(here: Site, key: str | None) -> None:
    """R1, R3, R6, I4: no, a wrong key and silence reach the unrecorded line; no file was ever created."""
    async with here.call("support") as call:
        for nth in (1, 2):
            await call.window(nth)
            if key is not None:
                await call.phone.press(key)
            if key == "2":
                break
        await call.unrecorded_line()
        record = await call.record()
        assert call.created() == []
    expected = {"2": "declined", "7": "invalid", None: "no_answer"}[key]
    assert (record.decision.outcome, record.route, record.recording) == (expected, "unrecorded", "none")
    assert call.told is not None
    assert call.told["Result"] == expected


async def test_two_calls_at_once_with_opposite_answers(here: Site) -> None:
    """I1, I4: one caller's yes is nobody else's."""

    async def one(key: str) -> tuple[str | None, str]:
        async with here.call("support") as call:
            await call.window()
            await call.phone.press(key)
            await (call.recorded_line() if key == "1" else call.unrecorded_line())
            record = await call.record(kind="routed" if key == "1" else None)
            return record.decision.outcome, record.route

    results = await asyncio.gather(*(one(key) for key in "1212"))
    assert list(results) == [("granted", "recorded"), ("declined", "unrecorded")] * 2


async def test_a_key_held_across_the_end_of_the_question_grants_nothing(here: Site) -> None:
    """R3, I2: the press began before the question ended; the next, proper press is the answer."""
    async with here.call("support") as call:
        await call.prompt("training-question", at=0.1)
        await call.phone.key_down("1")
        await call.until("WAIT FOR DIGIT")
        await asyncio.sleep(0.6)  # real time: the key is held
        await call.phone.key_up()
        await call.window(2)
        assert call.created() == []
        await call.phone.press("1")
        await call.recorded_line()
        record = await call.record(kind="routed")
    answer = record.decision.payload["answers"][0]
    assert (answer["early_keys"], answer["attempts"], answer["answer"]) == (1, 2, "granted")


async def test_without_a_manager_link_a_guard_time_stands_in(guarded: Site) -> None:
    """R3: a key released within the guard time is void; one pressed after it grants."""
    async with guarded.call("support") as call:
        await call.prompt("training-question", at=0.1)
        await call.phone.key_down("1")
        await call.until("WAIT FOR DIGIT")
        await asyncio.sleep(0.2)  # real time: the key is held into the guard time
        await call.phone.key_up()
        await call.prompt("result-early")
        await call.window(3)  # the guard time is a wait too
        assert call.created() == []
        await call.phone.press("1")
        await call.recorded_line()
        record = await call.record(kind="routed")
    answer = record.decision.payload["answers"][0]
    assert (answer["early_keys"], answer["timing"]) == (1, "guard")


async def test_the_include_routes_by_itself(here: Site) -> None:
    """A line with two destinations needs no dialplan of its own: yes and no reach different places."""
    async with here.call("routed") as yes, here.call("routed") as no:
        await asyncio.gather(yes.window(), no.window())
        await asyncio.gather(yes.phone.press("1"), no.phone.press("2"))
        await asyncio.gather(yes.recorded_line(), no.unrecorded_line())


@pytest.mark.parametrize(("number", "reason"), [("nosuchline", "unknown_line"), ("unbuilt", "line_not_ready")])
async def test_a_line_that_cannot_be_asked_is_unrecorded_and_logged(here: Site, number: str, reason: str) -> None:
    """R2, R6, R7."""
    async with here.call(number) as call:
        await call.unrecorded_line()
        record = await call.record()
        assert call.created() == []
    assert (record.decision.outcome, record.decision.payload["reason"]) == ("failed", reason)


async def test_a_second_gate_in_one_call_ends_the_first_recording(here: Site) -> None:
    """R1, R10: the second conversation is nobody's consent yet."""
    async with here.call("twice") as call:
        await call.window()
        await call.phone.press("1")
        await call.recorded_line()
        await call.prompt("controller", nth=2)
        assert await recorders(here) == []
        await call.window(2)
        await call.phone.press("2")
        await call.unrecorded_line()
        assert await recorders(here) == []


async def recorders(here: Site) -> list[str]:
    """What the switch says records now, on channels of callers."""
    channels = [line.split("!")[0] for line in (await here.pbx.cli("core show channels concise")).splitlines()]
    listed = [await here.pbx.cli(f"mixmonitor list {name}") for name in channels if name.startswith("PJSIP/")]
    return [text for text in listed if "0x" in text]


async def test_the_dialplan_ends_a_recording_when_it_goes_on(here: Site) -> None:
    """R10: after the agent, Gosub(ivr-consent-stop,s,1): finished while the caller is still there."""
    async with here.call("goeson") as call:
        await call.window()
        await call.phone.press("1")
        await call.recorded_line()
        await call.unrecorded_line()
        record = await call.record(kind="recording_ended")
        assert await recorders(here) == []
    assert record.later[-1].payload["milliseconds"] == pytest.approx(1000, abs=400)
