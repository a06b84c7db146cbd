"""The driver of the fake FreeSWITCH: scenarios through our server of the outbound event socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from ivr_consent.pbx.freeswitch import variables
from ivr_consent.pbx.freeswitch.server import Server
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.drivers import said
from ivr_consent.testing.drivers.exchange import CALL_DEADLINE_S, HOST, Exchange, Line, Timed, serving
from ivr_consent.testing.drivers.short import ShortSite
from ivr_consent.testing.drivers.watch import Watch
from ivr_consent.testing.fake_freeswitch import FakeCall, FakeFreeSwitch
from ivr_consent.testing.scenario import Scenario

ON: Final = "fake-freeswitch"


class _Line(Line):
    def __init__(self, call: FakeCall, window_ms: int) -> None:
        self._call, self._window_ms = call, window_ms
        self.uniqueid = call.uuid

    def heard(self) -> list[Timed]:
        executed = ((one.at, one.application, one.data) for one in self._call.executed)
        return said.by_applications(executed, self._window_ms)

    async def more(self) -> None:
        await self._call.wait_execute("", len(self._call.executed) + 1, CALL_DEADLINE_S)

    async def press(self, key: str, seconds: float, *, inside: bool) -> None:
        self._call.press(key, seconds)

    async def hang_up(self) -> None:
        self._call.caller_hangs_up()

    async def ended(self) -> None:
        await self._call.wait(CALL_DEADLINE_S)

    def told(self) -> tuple[str, str, str] | None:
        call = self._call
        return (call.result, call.reason, call.route) if call.alive and call.route else None

    async def running(self) -> int:
        return len(self._call.recordings)

    def stops(self) -> int:
        return said.stops_by_applications((one.application, one.data) for one in self._call.executed)


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
        call = await self._switch.call(line, caller=caller.number, name=caller.display or "Caller")
        return _Line(call, self.pace.window_ms)
