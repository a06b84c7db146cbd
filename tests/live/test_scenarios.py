"""Every scenario that a telephone can play, on a real Asterisk: the same files as on the simulated switch."""

from __future__ import annotations

import asyncio
import itertools
import re
import time

import pytest

from ivr_consent.core.flow import Plan
from ivr_consent.language import Clues
from ivr_consent.pbx.simulated.caller import Action, During, HangUp, InWindow, Press
from ivr_consent.site import load_site
from ivr_consent.store.reader import CallRecord
from ivr_consent.testing.scenario import Observed, Scenario, differences, load_directory
from tests.live.conftest import SCENARIOS
from tests.live.support import DEADLINE_S, LiveCall, Site, line_names

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL = load_directory(SCENARIOS)
LINES = line_names(ALL)
PORTABLE = [scenario for scenario in ALL if scenario.portable]
FILES = sorted({scenario.name.partition("/")[0] for scenario in PORTABLE})

LONGEST_HOLD_MS = 2800
"""Live prompts are short, the question of 1.7 s the longest: a key held for 15 s over a real notice ends behind it."""

SIDE_BY_SIDE = 16
"""Calls of one file at once: all of them, so that a file takes as long as its longest call."""

CALLS = 4
"""How often a caller tries to act in time."""

UNHEARD_S = 0.1
"""What is done so shortly before the next command begins may not have reached the switch in time."""


@pytest.mark.parametrize("file", FILES)
async def test_scenario(here: Site, file: str) -> None:
    """R1 to R7 for every variant of a scenario, several calls side by side.

    Some files hold a caller who stays silent three times; with their windows of 3 s such a call takes 15 s. A caller
    who was held up by a busy machine, and acted when the place was over, was not the one of the scenario: who calls
    again then.
    """
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(scenario: Scenario) -> list[str]:
        async with room:
            for _ in range(CALLS):
                late: list[str] = []
                wrong = await play(here, scenario, late)
                if not wrong or not late:
                    break
            return [f"{scenario.name}: {what}" for what in (*wrong, *late)] if wrong else []

    mine = [scenario for scenario in PORTABLE if scenario.name.partition("/")[0] == file]
    wrong = list(itertools.chain.from_iterable(await asyncio.gather(*(one(scenario) for scenario in mine))))
    assert not wrong, "\n".join(wrong)


async def play(here: Site, scenario: Scenario, late: list[str]) -> list[str]:
    """One call; how what was seen is not what was expected. ``late`` takes what was done when its place was over."""
    name, _ = LINES[scenario.name]
    plan = load_site(here.settings).plan(name, Clues(channel="en"))
    assert isinstance(plan, Plan), plan
    done: dict[str, tuple[int, float]] = {}
    async with here.call(name) as call:
        actions = [asyncio.create_task(act(call, one, plan, done)) for one in scenario.behaviour().actions]
        try:
            end = asyncio.create_task(ended(call))
            async with asyncio.timeout(DEADLINE_S * 4):
                await end
        finally:
            for task in (*actions, end):
                task.cancel()
            await asyncio.gather(*actions, end, return_exceptions=True)
        record = await call.record()
        if record.decision.outcome == "granted":
            record = await call.record(
                kind=("withdrawn" if call.told and call.told["Reason"] == "no_key_after_grant" else "recording_stopped")
                if revoked(call)
                else "routed"
            )
        files = [path for path in here.recordings.iterdir() if path.name.startswith(record.call_id)]
        outcome, reason = how_it_ended(call, record)
        seen = Observed(
            outcome=outcome,
            reason=reason,
            route=record.route,
            logged=True,
            decision=record.decision.payload,
            events=events(call),
            recorder=recorder(call, record),
            running=len(files),
            files=len(files),
            undone=tuple(str(one) for one in scenario.behaviour().actions if str(one) not in done),
        )
        created = call.created()
    for what, (number, moment) in done.items():
        if number + 1 < len(call.began) and moment > call.began[number + 1] - UNHEARD_S:
            late.append(f"perhaps too late: {what}")
    wrong = list(differences(audible(scenario), seen))
    if record.decision.outcome != "granted" and created:
        wrong.append(f"files were created: {created}")
    return wrong


def audible(scenario: Scenario):  # type: ignore[no-untyped-def]  # pydantic's own type
    """The expectations without events that only the simulated switch can see."""
    expect = scenario.expect
    return expect.model_copy(
        update={"order": [event for event in expect.order if event.startswith(("play", "window"))]}
    )


async def act(call: LiveCall, action: Action, plan: Plan, done: dict[str, tuple[int, float]]) -> None:
    """Act at the place. ``done`` takes when, and the number of the command that is under way there."""
    place, length = action.place, 0
    if isinstance(place, During):
        number = await call.until(f'/{place.prompt}"', place.nth)
        prompts = {prompt.id: prompt for notice in plan.notices for prompt in notice.prompts()}
        length = prompts[place.prompt].duration_ms
        at_ms = (
            min(place.at_ms, length * 0.5) if place.at_ms >= 0 else length + max(min(place.at_ms, -150), -length * 0.7)
        )
    else:
        assert isinstance(place, InWindow)
        number = await call.until_window(place.question, place.nth)
        at_ms = min(place.at_ms, plan.timeout_ms * 0.6) if place.at_ms >= 0 else plan.timeout_ms + place.at_ms
    await asyncio.sleep(at_ms / 1000)  # real time: the prompt plays, or the window is open
    done[str(action)] = number, time.time()
    match action.act:
        case Press(key, hold_ms):
            # Over the end means over the end, also where a live prompt's own is not known to the millisecond.
            needed = (
                600 - at_ms + length if isinstance(place, During) and place.at_ms < 0 and hold_ms > -place.at_ms else 0
            )
            hold_s = max(min(hold_ms, LONGEST_HOLD_MS), needed) / 1000
            await call.phone.press(key, hold_s)
            # In the place it has to end where it is not meant to be held on.
            done[str(action)] = number, time.time() - (hold_s if needed else 0)
        case HangUp():
            await call.phone.hang_up()


async def ended(call: LiveCall) -> None:
    """Until the dialplan has been told, or the caller's channel is gone and the log has the decision."""
    while call.told is None and call.phone.alive:
        call.changed.clear()
        try:
            async with asyncio.timeout(0.2):
                await call.changed.wait()
        except TimeoutError:
            continue  # the phone's own end is not an event of the manager's
    if call.told is None:
        await call.record()
    elif call.told["Result"] == "granted":
        await call.recorded_line()
    else:
        await call.unrecorded_line()


def events(call: LiveCall) -> tuple[str, ...]:
    found: list[str] = []
    question = "?"
    for command in call.executed:
        played = re.search(r'^STREAM FILE ".*/([a-z0-9-]+)"', command)
        if played:
            found.append(f"play {played.group(1)}")
            question = played.group(1).removesuffix("-question")
        elif command.startswith("WAIT FOR DIGIT"):
            found.append(f"window {question}")
        elif "StopMixMonitor" in command:
            found.append("stop")
        elif "MixMonitor" in command and command.startswith("EXEC"):
            found.append("record")
    return tuple(found)


def revoked(call: LiveCall) -> bool:
    """Whether a granted call went on unrecorded: the dialplan was told so, or the caller hung up before it was."""
    return call.told is None or call.told["Result"] != "granted"


def how_it_ended(call: LiveCall, record: CallRecord) -> tuple[str, str]:
    """As the dialplan was told; who hung up before that left the reason in the log."""
    if call.told is not None:
        return call.told["Result"], call.told["Reason"]
    reason = str((record.later[-1] if record.later else record.decision).payload["reason"])
    return ("abandoned" if reason.startswith("hung_up") else record.decision.outcome or ""), reason


def recorder(call: LiveCall, record: CallRecord) -> tuple[str, ...]:
    """Commands to the recorder; a hang-up ends it without one, and the log says whether that was seen."""
    commands = [{"record": "start", "stop": "stop"}[event] for event in events(call) if event in ("record", "stop")]
    ended = any(event.kind == "recording_stopped" and event.payload["stop_confirmed"] for event in record.later)
    return tuple([*commands, "stop"] if ended and "stop" not in commands else commands)
