"""The driver of a real Asterisk: scenarios through our FastAGI server, called by a SIP telephone."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Final

from ivr_consent.config import Line as ConfiguredLine
from ivr_consent.config import Settings
from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.asterisk.dialplan import render_include
from ivr_consent.pbx.asterisk.manager import Event, ManagerLink
from ivr_consent.pbx.asterisk.rights import KEYS_ALONE
from ivr_consent.pbx.asterisk.server import Server
from ivr_consent.side_asterisk import ManagerPresses
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.drivers import said
from ivr_consent.testing.drivers.exchange import HOST, POLL_S, Exchange, Line, Timed, serving
from ivr_consent.testing.drivers.short import TELEPHONE, ShortSite
from ivr_consent.testing.drivers.telephone import CALLER_HZ, RECORDED_HZ, UNRECORDED_HZ, TelephoneLine, dial, refused
from ivr_consent.testing.drivers.watch import Watch
from ivr_consent.testing.phone import Call, Phone
from ivr_consent.testing.rig import Instance, RigUnavailable, Version, fetch
from ivr_consent.testing.scenario import Scenario

LINK_S: Final = 30.0
"""For the manager link to come up, and for a reply on a busy machine."""

BEGIN_S: Final = 30.0
"""For a call to come to the dialplan."""

DIALPLAN: Final = f"""
[from-sip]
exten => _[a-z].,1,Set(GLOBAL(SCENARIO_${{CHANNEL(pjsip,call-id)}})=${{UNIQUEID}})
 same => n,Gosub(ivr-consent,s,1(${{EXTEN}}))
 same => n,UserEvent(Told,Result: ${{IVR_CONSENT_RESULT}},Reason: ${{IVR_CONSENT_REASON}})
 same => n,GotoIf($["${{IVR_CONSENT_RESULT}}" = "granted"]?recorded,s,1)
 same => n,Goto(unrecorded,s,1)
[recorded]
exten => s,1,Dial(Local/recorded@rig-agents/n)
 same => n,Hangup()
[unrecorded]
exten => s,1,Dial(Local/unrecorded@rig-agents/n)
 same => n,Hangup()
[rig-agents]
exten => recorded,1,Answer()
 same => n,Playtones({RECORDED_HZ})
 same => n,Wait(60)
exten => unrecorded,1,Answer()
 same => n,Playtones({UNRECORDED_HZ})
 same => n,Wait(60)
"""


class _Line(TelephoneLine):
    def __init__(self, phone: Call, uniqueid: str, events: list[Event], link: ManagerLink) -> None:
        super().__init__(phone)
        self.uniqueid = uniqueid
        self._link = link
        self._channel = ""
        self._commands: list[Timed] = []
        for event in events:
            self.happened(event)

    def happened(self, event: Event) -> None:
        """An event of this channel, by the manager."""
        if event.name == "AGIExecStart":
            self._channel = event.headers.get("Channel", "")
            self._commands.append((event.arrived, event.headers.get("Command", "")))
        elif event.headers.get("UserEvent") == "Told":
            self.result = (event.headers.get("Result", ""), event.headers.get("Reason", ""))
        self.changed.set()

    def heard(self) -> list[Timed]:
        return said.by_commands(self._commands)

    async def running(self) -> int:
        """What the switch itself lists."""
        if not self.phone.up:
            return 0
        reply = await self._link.action("Command", {"Command": f"mixmonitor list {self._channel}"}, timeout=LINK_S)
        lines = [line for line in reply.headers.all("Output") if line.strip()]
        return max(0, len([line for line in lines if not line.startswith("=")]) - 1)

    def stops(self) -> int:
        return said.stops_by_commands(command for _, command in self._commands)


class AsteriskExchange(Exchange):
    """A real Asterisk of this version, fetched when it is not there, with our FastAGI server."""

    pace = TELEPHONE
    unheard_s = 0.06
    apart_s = 0.02

    def __init__(self, version: Version = "22", progress: Callable[[str], None] | None = None) -> None:
        self.on = f"asterisk-{version}"
        self._version, self._progress = version, progress
        self._lines: dict[str, _Line] = {}
        self._early: dict[str, list[Event]] = {}
        """Events of channels whose line is not known yet, by the channel's id."""
        self._watching: ManagerLink | None = None
        self._phone: Phone | None = None

    @contextlib.asynccontextmanager
    async def open(self, site: ShortSite, ledger: Ledger, watch: Watch) -> AsyncIterator[Server]:
        """Start all; the server. Raises :class:`ConsentError` where no Asterisk is to be had."""
        async with contextlib.AsyncExitStack() as stack:
            pbx = await self._asterisk(stack)
            keys = await linked(stack, pbx, "ivr-consent", self._secret, "dtmf")
            self._watching = await linked(stack, pbx, "watch", self._secret, "agi,user")
            for pattern in ("AGIExecStart", "UserEvent"):
                self._watching.on(pattern, self._happened)
            server = Server(site.lines, ledger, presses=ManagerPresses(keys), observe=watch.observe)
            await stack.enter_async_context(serving(server))
            await pbx.reload_dialplan(DIALPLAN + render_include(include_settings(site, server.port)))
            self._phone = await stack.enter_async_context(Phone((HOST, pbx.sip_port), tone=CALLER_HZ))
            yield server

    async def _asterisk(self, stack: contextlib.AsyncExitStack) -> Instance:
        try:
            await asyncio.to_thread(fetch, self._version, progress=self._progress)
            pbx = Instance(self._version)
            self._secret = secrets.token_hex(16)
            pbx.add_manager("ivr-consent", self._secret, read=",".join(KEYS_ALONE.read), write="")
            pbx.add_manager("watch", self._secret, read="agi,user", write="command,reporting,call")
            return await stack.enter_async_context(pbx)
        except (RigUnavailable, RuntimeError) as error:
            told = f"there is no Asterisk {self._version} to be had here: {error}; try --on fake-asterisk"
            raise ConsentError(told) from None

    def _happened(self, event: Event) -> None:
        uniqueid = event.headers.get("Uniqueid", "")
        line = self._lines.get(uniqueid)
        if line is not None:
            line.happened(event)
        else:
            self._early.setdefault(uniqueid, []).append(event)

    async def call(self, line: str, scenario: Scenario) -> Line:
        """A caller rings."""
        assert self._phone is not None
        assert self._watching is not None
        phone = await dial(self._phone, line, scenario.caller)
        uniqueid = await answering_channel(self._watching, phone)
        call = self._lines[uniqueid] = _Line(phone, uniqueid, self._early.pop(uniqueid, []), self._watching)
        return call


async def linked(stack: contextlib.AsyncExitStack, pbx: Instance, user: str, secret: str, events: str) -> ManagerLink:
    """A manager link that is up, until the stack is closed. Raises :class:`ConsentError` when it does not come up."""
    link = ManagerLink(HOST, pbx.ami_port, user, secret, events=events)
    stack.push_async_callback(link.close)
    await link.start()
    if not await link.wait_up(LINK_S):
        raise ConsentError(f"the manager of Asterisk did not answer within {LINK_S:.0f} s; is the machine too busy?")
    return link


async def answering_channel(link: ManagerLink, phone: Call) -> str:
    """The id of a telephone's channel, once the dialplan has set ``SCENARIO_`` and the Call-ID to it.

    Raises :class:`ConsentError` when the switch did not take the call, :class:`TimeoutError` when it was too slow.
    """
    async with asyncio.timeout(BEGIN_S):
        while True:
            over = not phone.alive
            reply = await link.action("Getvar", {"Variable": f"SCENARIO_{phone.call_id}"}, timeout=LINK_S)
            if uniqueid := reply.headers.get("Value", ""):
                return uniqueid
            if over:
                refused(phone)
            await asyncio.sleep(POLL_S)  # a channel's own events may hold whatever its caller sent


def include_settings(site: ShortSite, port: int, settings: Settings | None = None) -> Settings:
    """As far as our include has to do with it: a configuration's own, or those of scenarios, at this server."""
    if settings is None:
        settings = Settings(lines={"scenario": ConfiguredLine()}, source=site.lines.recordings / "scenario.toml")
    server = settings.server.model_copy(update={"listen": HOST, "port": port})
    recordings = settings.recordings.model_copy(update={"directory": site.lines.recordings})
    return settings.model_copy(update={"server": server, "recordings": recordings})
