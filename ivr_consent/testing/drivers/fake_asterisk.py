"""The driver of the fake Asterisk: scenarios through our FastAGI server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from ivr_consent.pbx.asterisk.server import Server
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.drivers import said
from ivr_consent.testing.drivers.exchange import CALL_DEADLINE_S, HOST, Exchange, Line, Timed, serving
from ivr_consent.testing.drivers.short import ShortSite
from ivr_consent.testing.drivers.watch import Watch
from ivr_consent.testing.fake_asterisk import FakeAsterisk, FakeCall
from ivr_consent.testing.scenario import Scenario

ON: Final = "fake-asterisk"


class _Line(Line):
    def __init__(self, call: FakeCall) -> None:
        self._call = call
        self.uniqueid = call.uniqueid

    def heard(self) -> list[Timed]:
        return said.by_commands((command.at, command.text) for command in self._call.commands)

    async def more(self) -> None:
        try:
            await self._call.wait_command("", len(self._call.commands) + 1, CALL_DEADLINE_S)
        except ConnectionResetError:
            await asyncio.sleep(CALL_DEADLINE_S)  # nothing more is said: until the call is over, when nobody waits

    async def press(self, key: str, seconds: float, *, inside: bool) -> None:
        self._call.press(key, seconds)

    async def hang_up(self) -> None:
        self._call.hang_up()

    async def ended(self) -> None:
        await self._call.done.wait()

    def told(self) -> tuple[str, str, str] | None:
        call = self._call
        return (call.result, call.reason, call.route) if call.alive else None

    async def running(self) -> int:
        return len(self._call.recorders)

    def stops(self) -> int:
        return said.stops_by_commands(command.text for command in self._call.commands)


class FakeAsteriskExchange(Exchange):
    """A fake Asterisk with our FastAGI server, which the fake tells when presses began, as a manager link does."""

    on = ON

    def __init__(self) -> None:
        self._switch = FakeAsterisk(HOST, 0)

    @contextlib.asynccontextmanager
    async def open(self, site: ShortSite, ledger: Ledger, watch: Watch) -> AsyncIterator[Server]:
        """Start both; the server."""
        self._switch.monitor = site.lines.recordings
        server = Server(site.lines, ledger, presses=self._switch.presses, observe=watch.observe)
        async with serving(server):
            self._switch.port = server.port
            async with self._switch:
                yield server

    async def call(self, line: str, scenario: Scenario) -> Line:
        """A caller rings."""
        caller = scenario.caller
        return _Line(await self._switch.call(line, caller=caller.number, name=caller.display or "unknown"))
