"""Some walks on a real FreeSWITCH, where the machine has one: after every step the invariants hold."""

from __future__ import annotations

import asyncio
import time

import pytest

from ivr_consent.store.reader import CallRecord
from ivr_consent.testing.freeswitch_rig import RigCall
from tests.live.freeswitch import Site, site
from tests.live.support import DEADLINE_S, until_log

pytestmark = pytest.mark.asyncio(loop_scope="session")

WALKS = {
    "a stranger records": ("yes", "uuid_record", "record", "record_session", "odd", "uuid_record"),
    "faults": ("yes", "kill", "record", "uuid_record", "start", "record_session", "kill", "start"),
    "withdrawn while nobody is there": ("yes", "record_session", "kill", "withdraw", "uuid_record", "start"),
    "withdrawn": ("yes", "uuid_record", "withdraw", "record_session", "hang_up"),
    "hung up": ("yes", "record_session", "hang_up"),
}
"""Steps, each one a method of :class:`Walk`; found by the walks on the fake one, or like those."""


class Walk:
    """One call on a site, what was done to it, and what has to be so."""

    def __init__(self, there: Site) -> None:
        self.there = there
        self.call: RigCall | None = None
        self.there_is_service, self.lawful, self.withdrawn, self.ended = True, False, False, False
        self.strange: list[str] = []

    @property
    def called(self) -> RigCall:
        assert self.call is not None
        return self.call

    async def yes(self) -> None:
        self.call = await self.there.rig.call()
        await self.call.window()
        await asyncio.sleep(0.5)  # real time: the window is open
        await self.call.press("1")
        assert await self.call.reached() == "recorded"
        await self.call.bridged()
        # The caller's half stays on the line as long as the walk takes.
        await self.there.rig.api(f"uuid_broadcast {self.call.uuid} playback::silence_stream://-1")
        self.lawful = True

    async def uuid_record(self) -> None:
        await self._begun(f"uuid_record {self.called.leg} start", self._path())

    async def record_session(self) -> None:
        await self._begun(f"uuid_broadcast {self.called.leg} record_session::", self._path())

    async def record(self) -> None:
        await self._begun(f"uuid_broadcast {self.called.leg} record::", self._path())

    async def odd(self) -> None:
        """A name without an ending."""
        await self._begun(f"uuid_record {self.called.leg} start", self._path(""))

    async def _begun(self, command: str, path: str) -> None:
        said = await self.there.rig.api(command + ("" if command.endswith(":") else " ") + path)
        assert said.startswith("+OK"), said
        await self._told("RECORD_START", path)

    async def _told(self, name: str, path: str) -> None:
        await self.called.until(lambda event: event.name == name and path in event.get("Record-File-Path"))

    def _path(self, ending: str = ".wav") -> str:
        self.strange.append(str(self.there.rig.recordings / f"theirs-{len(self.strange)}{ending}"))
        return self.strange[-1]

    async def kill(self) -> None:
        self.there.server.kill_group()
        self.there_is_service = False

    async def start(self) -> None:
        await self.there.server.start()
        await until_log(self.there.server, "guard_watching")
        self.there_is_service = True

    async def withdraw(self) -> None:
        for key in "*9":
            await self.called.press(key)
        await self._told("RECORD_STOP", str(self.there.recordings))
        self.withdrawn, self.lawful = True, False

    async def hang_up(self) -> None:
        await self.called.hang_up()
        await self.called.ended()
        self.lawful, self.ended = False, True

    # --- what has to be so -------------------------------------------------------------------------------------------

    async def problems(self) -> list[str]:
        """What is not as it has to be."""
        decided = [record for record in self.there.records() if self._mine(record)]
        if len(decided) != 1:
            return [f"I3: {len(decided)} decisions"]
        record = decided[0]
        own = f"{record.call_id}.raw"
        listed = "" if self.ended else await self.there.recorders(self.called)
        found = []
        if self.lawful and own not in listed:
            found.append(f"a lawful recording was stopped: {listed}")
        if not self.there_is_service:
            return found
        found += [f"I1: {path}" for path in self.strange if path in listed]
        found += [f"I4: {path.name}" for path in self.there.rig.recordings.iterdir()]
        found += [] if not self.withdrawn else [f"I5: {path}" for path in self.there.recordings.glob(f"{own[:32]}*")]
        if self.withdrawn and not any(event.kind == "withdrawn" for event in record.later):
            found.append("I5: the log does not say so")
        return found

    def _mine(self, record: CallRecord) -> bool:
        return bool(record.decision.payload["call"]["channel_uniqueid"] == self.called.leg)

    async def settles(self) -> None:
        """The guard has done what it had to; what it may never do it has not done."""
        until = time.monotonic() + DEADLINE_S
        while problems := await self.problems():
            assert not any("lawful" in problem for problem in problems), problems
            assert time.monotonic() < until, problems
            await asyncio.sleep(0.1)  # polling another process, with the deadline above


@pytest.mark.parametrize("name", WALKS)
async def test_sampled_walks_hold_on_the_real_one(name: str) -> None:
    """I1, I3, I4, I5; the guard killed and started anew among it."""
    async with site() as there:
        await until_log(there.server, "guard_watching")
        walk = Walk(there)
        for step in WALKS[name]:
            await getattr(walk, step)()
            try:
                await walk.settles()
            except AssertionError as error:
                error.add_note(f"at {step!r} of {WALKS[name]}")
                raise
        await walk.called.hang_up()
