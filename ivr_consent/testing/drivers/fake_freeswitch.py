"""The driver of the fake FreeSWITCH: scenarios through our server of the outbound event socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Final

from ivr_consent.pbx.freeswitch import variables
from ivr_consent.pbx.freeswitch.server import Server
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.drivers import fake
from ivr_consent.testing.drivers.fake import HOST, Exchange, Line, Timed, Watch, serving
from ivr_consent.testing.drivers.short import WINDOW_MS, ShortSite
from ivr_consent.testing.fake_freeswitch import FakeCall, FakeFreeSwitch
from ivr_consent.testing.scenario import Scenario

ON: Final = "fake-freeswitch"

_PROMPT: Final = re.compile(r".*/([^/]+)\.wav")


class _Line(Line):
    def __init__(self, call: FakeCall) -> None:
        self._call = call
        self.uniqueid = call.uuid

    def heard(self) -> list[Timed]:
        found: list[Timed] = []
        question = ""
        gate = False
        for one in self._call.executed:
            if one.application == "playback" and (match := _PROMPT.fullmatch(one.data)):
                found.append((one.at, f"play {match[1]}"))
                question = match[1].removesuffix("-question") if match[1].endswith("-question") else question
            elif one.application == "playback" and one.data == f"silence_stream://{WINDOW_MS}":
                found.append((one.at, f"window {question}"))
            elif one.application == "socket":
                gate = True
            elif one.application == "answer" and gate and not found:
                found.append((one.at, "answer"))
            elif gate and one.application == "set" and one.data.startswith(f"{variables.RESULT}="):
                granted = one.data.endswith("=granted")
                found.append((one.at, f"route {'recorded' if granted else 'unrecorded'}"))
        return found

    async def more(self) -> None:
        await self._call.wait_execute("", len(self._call.executed) + 1, fake.CALL_DEADLINE_S)

    def press(self, key: str, seconds: float) -> None:
        self._call.press(key, seconds)

    def hang_up(self) -> None:
        self._call.caller_hangs_up()

    async def ended(self) -> None:
        await self._call.wait(fake.CALL_DEADLINE_S)

    def told(self) -> tuple[str, str, str] | None:
        call = self._call
        return (call.result, call.reason, call.route) if call.alive and call.route else None

    def running(self) -> int:
        return len(self._call.recordings)

    def stops(self) -> int:
        own = [one for one in self._call.executed if one.application == "stop_record_session"]
        return sum(one.data != "all" for one in own)  # the dialplan says "all", we name the file


class FakeFreeSwitchExchange(Exchange):
    """A fake FreeSWITCH with our server of its outbound event socket."""

    on = ON

    def __init__(self) -> None:
        self._switch: FakeFreeSwitch | None = None

    @contextlib.asynccontextmanager
    async def open(self, site: ShortSite, ledger: Ledger, watch: Watch) -> AsyncIterator[Server]:
        """Start both; the server."""

        async def vouches(uuid: str, nonce: str) -> bool:
            await asyncio.sleep(0)  # as the link to the switch's own port does, it answers later
            return self._switch is not None and self._switch.api(f"uuid_getvar {uuid} {variables.NONCE}") == nonce

        server = Server(site.lines, ledger, observe=watch.observe, vouches=vouches)
        async with serving(server), FakeFreeSwitch(HOST, server.port) as self._switch:
            yield server

    async def call(self, line: str, scenario: Scenario) -> Line:
        """A caller rings."""
        assert self._switch is not None
        caller = scenario.caller
        return _Line(await self._switch.call(line, caller=caller.number, name=caller.display or "Caller"))
