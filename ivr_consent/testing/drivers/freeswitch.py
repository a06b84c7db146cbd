"""The driver of a real FreeSWITCH: scenarios through our server of its outbound socket, called by a SIP telephone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from ivr_consent.config import EventSocket, Settings
from ivr_consent.config import Line as ConfiguredLine
from ivr_consent.core.errors import EventSocketError
from ivr_consent.pbx.freeswitch import variables, wire
from ivr_consent.pbx.freeswitch.dialplan import render
from ivr_consent.pbx.freeswitch.guard.asking import recorders_in
from ivr_consent.pbx.freeswitch.server import Server
from ivr_consent.pbx.freeswitch.wire import Event
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.drivers import said
from ivr_consent.testing.drivers.exchange import HOST, Exchange, Line, Timed, serving
from ivr_consent.testing.drivers.short import TELEPHONE, ShortSite
from ivr_consent.testing.drivers.telephone import TelephoneLine, dial, refused
from ivr_consent.testing.drivers.watch import Watch
from ivr_consent.testing.freeswitch_rig import (
    CALLER_HZ,
    RECORDED,
    UNRECORDED,
    FreeSwitchRig,
    FreeSwitchUnavailable,
    program,
)
from ivr_consent.testing.phone import Call, Phone
from ivr_consent.testing.scenario import Scenario

ON: Final = "freeswitch"

BEGIN_S: Final = 30.0
"""For a call to come to the switch's dialplan."""

LOOK_S: Final = 0.2
"""How often is looked whether it was refused."""

_TOLD: Final = "there is no FreeSWITCH to be had here: {}; try --on fake-freeswitch"


class _Line(TelephoneLine):
    def __init__(self, phone: Call, rig: FreeSwitchRig, window_ms: int) -> None:
        super().__init__(phone)
        self.uniqueid = ""
        self._rig, self._window_ms = rig, window_ms
        self._executed: list[tuple[float, str, str]] = []
        self._keys: list[int] = []
        """For each key that the switch tells of how much had been heard before it; 0 between two prompts."""
        self._playing = False

    def happened(self, event: Event) -> None:
        """An event of this channel."""
        if event.name == "DTMF":
            self._keys.append(len(self.heard()) if self._playing else 0)
        elif event.name in ("PLAYBACK_START", "PLAYBACK_STOP"):
            self._playing = event.name == "PLAYBACK_START"
        if event.name != "CHANNEL_EXECUTE":
            return
        application, data = event.get("Application"), event.get("Application-Data")
        # By our clock: by the switch's own, what we made it do may have come before we told it to.
        self._executed.append((time.monotonic(), application, data))
        if application == "set" and data.startswith("rig_line="):
            self.result = (event.variable(variables.RESULT), event.variable(variables.REASON))
        self.changed.set()

    def heard(self) -> list[Timed]:
        return said.by_applications(self._executed, self._window_ms)

    async def running(self) -> int:
        """What the switch itself lists."""
        if not self.phone.up:
            return 0
        return len(recorders_in(await self._rig.api(f"uuid_buglist {wire.channel(self.uniqueid)}")))

    def keys_lost(self) -> bool:
        """A switch with too much to do was seen to lose a key, and to hear one late."""
        in_time = all(then == now or not inside for now, (then, inside) in zip(self._keys, self.pressed, strict=False))
        return len(self._keys) < len(self.pressed) or not in_time

    def stops(self) -> int:
        return said.stops_by_applications((application, data) for _, application, data in self._executed)


class FreeSwitchExchange(Exchange):
    """The FreeSWITCH of this machine in a folder of its own, with our server of its outbound event socket.

    Raises :class:`EventSocketError` where there is none.
    """

    on = ON
    pace = TELEPHONE
    unheard_s = 0.06
    apart_s = 0.05

    def __init__(self) -> None:
        if program() is None:
            raise EventSocketError(_TOLD.format("there is no program freeswitch on the search path"))
        self._rig: FreeSwitchRig | None = None
        self._phone: Phone | None = None
        self._ringing: dict[str, _Line] = {}
        """By the id that the telephone has given its call."""
        self._lines: dict[str, _Line] = {}

    @contextlib.asynccontextmanager
    async def open(self, site: ShortSite, ledger: Ledger, watch: Watch) -> AsyncIterator[Server]:
        """Start all; the server. Raises :class:`EventSocketError` where FreeSWITCH does not start."""

        async def vouches(uuid: str, nonce: str) -> bool:
            return await rig.api(f"uuid_getvar {wire.channel(uuid)} {variables.NONCE}") == nonce

        async with contextlib.AsyncExitStack() as stack:
            rig = self._rig = FreeSwitchRig(site.lines.plans)
            try:
                await stack.enter_async_context(rig)
            except FreeSwitchUnavailable as error:
                raise EventSocketError(_TOLD.format(error)) from None
            rig.listeners.append(self._happened)
            server = Server(site.lines, ledger, observe=watch.observe, vouches=vouches)
            await stack.enter_async_context(serving(server))
            await rig.take_dialplan(render(_settings(site, server.port)))
            self._phone = await stack.enter_async_context(Phone((HOST, rig.sip_port), tone=CALLER_HZ))
            yield server

    def _happened(self, event: Event) -> None:
        uuid = event.get("Unique-ID")
        line = self._lines.get(uuid) or self._ringing.pop(event.variable("sip_call_id"), None)
        if line is None:
            return
        if not line.uniqueid:
            line.uniqueid = uuid
            self._lines[uuid] = line
        line.happened(event)

    async def call(self, line: str, scenario: Scenario) -> Line:
        """A caller rings."""
        assert self._phone is not None
        assert self._rig is not None
        phone = await dial(self._phone, line, scenario.caller)
        call = self._ringing[phone.call_id] = _Line(phone, self._rig, self.pace.window_ms)
        async with asyncio.timeout(BEGIN_S):
            while not call.uniqueid:
                refused(phone)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await call.more()
        return call


def _settings(site: ShortSite, port: int) -> Settings:
    """As far as our dialplan has to do with it."""
    line = ConfiguredLine(recorded=RECORDED, unrecorded=UNRECORDED)
    socket = EventSocket(password_file=site.lines.recordings / "unused")
    settings = Settings(lines=dict.fromkeys(site.lines.plans, line), switch="freeswitch", event_socket=socket)
    return settings.model_copy(update={"server": settings.server.model_copy(update={"port": port})})
