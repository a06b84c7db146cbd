"""A real FreeSWITCH in a folder of its own, where there is one on the search path: minimal, on loopback alone.

Nothing of the machine's own FreeSWITCH is read or written: configuration, database, sounds, recordings and ports are
the rig's. FreeSWITCH calls itself: a caller's half is made by ``originate`` and comes in by SIP and RTP, its keys are
sent as telephone events. The dialplan sends whoever dials a line's name through the gate, and has the two destinations,
each an agent with a tone of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from xml.sax.saxutils import quoteattr

from ivr_consent.core.errors import EventSocketError
from ivr_consent.pbx.freeswitch.link import Link
from ivr_consent.pbx.freeswitch.wire import Event
from ivr_consent.testing.rig import Held

RECORDED: Final = "rig_recorded XML rig"
UNRECORDED: Final = "rig_unrecorded XML rig"
"""What a line's destinations have to be."""

CALLER_HZ: Final = 400
AGENT_HZ: Final = 600
UNRECORDED_HZ: Final = 1200
"""The tones of the caller, of the recorded line's agent and of the unrecorded line's."""

START_S: Final = 90.0
"""So long may a start take; on an idle machine it takes four seconds."""

REPLY_S: Final = 30.0
"""For one answer on a busy machine."""

WAIT_S: Final = 60.0
"""For anything that a call is waited for."""

RTP_PORTS: Final = 1000
"""Two for each half of a call, and a call that is through to an agent has four."""

MODULES: Final = (
    "mod_console",
    "mod_logfile",
    "mod_event_socket",
    "mod_commands",
    "mod_dptools",
    "mod_dialplan_xml",
    "mod_db",
    "mod_sndfile",
    "mod_native_file",
    "mod_tone_stream",
    "mod_loopback",
    "mod_conference",
    "mod_sofia",
)
NEEDED: Final = ("mod_dptools", "mod_dialplan_xml", "mod_db", "mod_sndfile", "mod_tone_stream", "mod_sofia")
"""Without one of these there are no calls."""

EVENTS: Final = (
    "CHANNEL_CREATE",
    "CHANNEL_EXECUTE",
    "CHANNEL_HANGUP",
    "PLAYBACK_START",
    "PLAYBACK_STOP",
    "RECORD_START",
    "RECORD_STOP",
    "CHANNEL_BRIDGE",
    "DTMF",
)

_FOLDERS: Final = ("log", "run", "db", "sounds", "recordings", "storage", "cache", "temp", "certs", "scripts")
_numbers = itertools.count(1)


class FreeSwitchUnavailable(Exception):
    """This machine has no FreeSWITCH that can be used; the text says why."""


def program() -> Path | None:
    """FreeSWITCH on the search path."""
    found = shutil.which("freeswitch")
    return Path(found) if found is not None else None


@dataclass(slots=True)
class RigCall:
    """One call: the caller's half, and what the switch does with the half that the gate talks to."""

    rig: FreeSwitchRig
    uuid: str
    """The caller's half."""
    number: str
    """The caller's number, by which the other half is known."""
    leg: str | None = None
    """The half that the gate talks to; its id in the log."""
    events: list[Event] = field(default_factory=list)
    """What happened on that half, in order."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    up: bool = True
    wait_s: float = WAIT_S
    """How long anything is waited for."""

    def happened(self, event: Event) -> None:
        """An event of the switch, of any call."""
        channel = event.get("Unique-ID")
        inbound = event.get("Call-Direction") == "inbound"
        if self.leg is None and inbound and event.get("Caller-Caller-ID-Number") == self.number:
            self.leg = channel
        if channel == self.uuid and event.name == "CHANNEL_HANGUP":
            self.up = False
        if channel in (self.leg, self.uuid):
            if channel == self.leg:
                self.events.append(event)
            self.changed.set()

    async def until(self, true: Callable[[Event], bool], nth: int = 1) -> Event:
        """The nth event of the call for which this is true, once it has happened."""
        async with asyncio.timeout(self.wait_s):
            while len(found := [event for event in self.events if true(event)]) < nth:
                self.changed.clear()
                await self.changed.wait()
        return found[nth - 1]

    async def plays(self, what: str, nth: int = 1) -> Event:
        """Wait until the nth playing of what contains this begins: part of a file's name, or ``silence_stream``."""
        return await self.until(
            lambda event: event.name == "PLAYBACK_START" and what in event.get("Playback-File-Path"), nth
        )

    async def window(self, nth: int = 1) -> None:
        """Wait until the nth choice window is open."""
        await self.plays("silence_stream", nth)

    async def reached(self) -> str:
        """The line that the caller is through to: ``recorded`` or ``unrecorded``."""
        event = await self.until(
            lambda event: event.get("Application") == "set" and event.get("Application-Data").startswith("rig_line=")
        )
        return event.get("Application-Data").partition("=")[2]

    async def bridged(self) -> None:
        """Wait until caller and agent hear each other."""
        await self.until(lambda event: event.name == "CHANNEL_BRIDGE")

    async def ended(self) -> None:
        """Wait until the call is over."""
        async with asyncio.timeout(self.wait_s):
            while self.up:
                self.changed.clear()
                await self.changed.wait()

    async def press(self, key: str) -> None:
        """Press a key, as the caller's telephone would."""
        await self.rig.api(f"uuid_send_dtmf {self.uuid} {key}")

    async def hang_up(self) -> None:
        """The caller hangs up."""
        if self.up:
            await self.rig.api(f"uuid_kill {self.uuid}")


class FreeSwitchRig:
    """One FreeSWITCH. An async context: it runs inside, and is gone with its folder afterwards.

    ``lines`` are the names that are dialled. Raises :class:`FreeSwitchUnavailable` when it cannot be had.
    """

    def __init__(self, lines: Iterable[str] = ("support",)) -> None:
        self.lines = tuple(lines)
        self.password = secrets.token_urlsafe(24)
        self.event_socket_port = 0
        self.sip_port = 0
        self.calls: list[RigCall] = []
        self.listeners: list[Callable[[Event], None]] = []
        """Told of each event, as it comes."""
        self._held: Held | None = None
        self._link: Link | None = None

    @property
    def folder(self) -> Path:
        """Its folder."""
        assert self._held is not None
        return self._held.directory

    @property
    def recordings(self) -> Path:
        """Where it writes recordings by itself."""
        return self.folder / "recordings"

    @property
    def log(self) -> str:
        """What it has said."""
        path = self.folder / "log/freeswitch.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it and wait until it takes calls."""
        binary = program()
        if binary is None:
            raise FreeSwitchUnavailable("there is no program freeswitch on the search path")
        self._held = Held(Path(tempfile.mkdtemp(prefix="ivr-consent-fs-")))
        weakref.finalize(self, Held.discard, self._held)
        try:
            for name in ("conf", *_FOLDERS):
                (self.folder / name).mkdir()
            self.event_socket_port, self.sip_port, rtp = _ports()
            self._write("freeswitch.xml", self._configuration(rtp))
            self._write("gate.xml", "<include/>\n")
            self._run(binary)
            await self._ready()
        except BaseException:
            await self.stop()
            raise

    def _write(self, name: str, text: str) -> None:
        path = self.folder / "conf" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)

    def _run(self, binary: Path) -> None:
        places = [word for name in _FOLDERS for word in (f"-{name}", str(self.folder / name))]
        command = [str(binary), "-nf", "-nc", "-nonat", "-nonatmap", "-np", "-conf", str(self.folder / "conf"), *places]
        with (self.folder / "out").open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        assert self._held is not None
        self._held.watch_over(process)

    async def _ready(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            assert self._held is not None
            assert self._held.process is not None
            if self._held.process.poll() is not None:
                raise FreeSwitchUnavailable(f"FreeSWITCH ended at once: {self._last_words()}")
            if self._link is None and _answers(self.event_socket_port):
                port, password = self.event_socket_port, self.password
                self._link = Link("127.0.0.1", port, password, events=EVENTS, on_event=self._happened)
                await self._link.start()
                await self._link.wait_up(REPLY_S)
            with contextlib.suppress(EventSocketError):
                if "RUNNING" in await self.api("sofia status"):
                    return
                missing = [name for name in NEEDED if await self.api(f"module_exists {name}") != "true"]
                if missing and "ready" in await self.api("status"):
                    raise FreeSwitchUnavailable(f"this FreeSWITCH has no {', '.join(missing)}")
            await asyncio.sleep(0.1)  # polling another process, with the deadline above
        raise FreeSwitchUnavailable(f"FreeSWITCH was not ready within {START_S:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        out = self.folder / "out"
        lines = (self.log + (out.read_text(errors="replace") if out.exists() else "")).strip().splitlines()
        return lines[-1][-300:] if lines else "it said nothing"

    async def stop(self) -> None:
        """End it at once; nothing of it is kept."""
        if self._link is not None:
            await self._link.close()
            self._link = None
        held, self._held = self._held, None
        if held is not None:
            await asyncio.to_thread(held.discard)

    async def api(self, command: str) -> str:
        """What an API command prints."""
        if self._link is None:
            raise EventSocketError("FreeSWITCH does not listen yet")
        return (await self._link.api(command, timeout=REPLY_S)).strip()

    async def take_dialplan(self, text: str) -> None:
        """Have it take our dialplan into use: the whole file as ``ivr-consent dialplan`` writes it."""
        self._write("gate.xml", text)
        await self.api("reloadxml")

    async def call(
        self, line: str = "support", number: str | None = None, *, hz: int = CALLER_HZ, wait_s: float = WAIT_S
    ) -> RigCall:
        """Place a call; what follows is told by its events.

        ``hz``: the caller's tone. ``wait_s``: how long anything of the call is waited for.
        """
        number = number or f"45{os.getpid() % 10000:04d}{next(_numbers):04d}"
        call = RigCall(self, str(uuid.uuid4()), number, wait_s=wait_s)
        self.calls.append(call)
        variables = f"origination_uuid={call.uuid},origination_caller_id_number={number},ignore_early_media=true"
        tone = f"endless_playback(tone_stream://{_steady(hz)})"
        said = await self.api(f"bgapi originate {{{variables}}}sofia/internal/{line}@127.0.0.1:{self.sip_port} &{tone}")
        if "-ERR" in said and "Job" not in said:
            raise FreeSwitchUnavailable(f"a call could not be placed: {said}")
        return call

    def _happened(self, event: Event) -> None:
        for call in self.calls:
            call.happened(event)
        for listener in self.listeners:
            listener(event)

    def _configuration(self, rtp: int) -> str:
        modules = "".join(f'<load module="{name}"/>' for name in MODULES)
        return _CONFIGURATION.format(
            rtp=rtp,
            last=rtp + RTP_PORTS - 1,
            modules=modules,
            log=quoteattr(str(self.folder / "log/freeswitch.log")),
            port=self.event_socket_port,
            password=quoteattr(self.password),
            sip=self.sip_port,
            dialplan=_dialplan(self.lines, self.sip_port),
        )


def _steady(hz: int) -> str:
    """Ten seconds of a tone, which its player begins again: ``loops=-1`` ends with the first ten here."""
    return f"%(10000,0,{hz})"


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _ports() -> tuple[int, int, int]:
    """Two ports that are free, and the first of some for audio."""
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("127.0.0.1", 0))
        rtp = random.randrange(12000, 32000 - RTP_PORTS, RTP_PORTS)  # noqa: S311 - no secret: a place to begin at
        return int(one.getsockname()[1]), int(two.getsockname()[1]), rtp


def _dialplan(lines: Iterable[str], sip: int) -> str:
    """Who dials a line's name goes through its gate; the destinations are agents with tones of their own."""
    parts = [_extension(line, f"^{line}$", f"transfer {line} XML ivr-consent") for line in lines]
    for place, agent in (("recorded", AGENT_HZ), ("unrecorded", UNRECORDED_HZ)):
        steps = (f"set rig_line={place}", "answer", f"bridge sofia/internal/rig_agent_{agent}@127.0.0.1:{sip}")
        parts.append(_extension(place, f"^rig_{place}$", *steps))
        tone = f"endless_playback tone_stream://{_steady(agent)}"
        parts.append(_extension(f"agent {agent}", f"^rig_agent_{agent}$", "answer", tone))
    return "".join(parts)


def _extension(name: str, expression: str, *steps: str) -> str:
    actions = ""
    for step in steps:
        application, _, data = step.partition(" ")
        actions += f"<action application={quoteattr(application)} data={quoteattr(data)}/>"
    condition = f'<condition field="destination_number" expression={quoteattr(expression)}>{actions}</condition>'
    return f"<extension name={quoteattr(name)}>{condition}</extension>\n"


_CONFIGURATION: Final = """\
<?xml version="1.0"?>
<document type="freeswitch/xml">
  <section name="configuration">
    <configuration name="switch.conf"><settings>
      <param name="loglevel" value="notice"/>
      <param name="max-sessions" value="500"/>
      <param name="sessions-per-second" value="200"/>
      <param name="rtp-start-port" value="{rtp}"/>
      <param name="rtp-end-port" value="{last}"/>
      <param name="dump-cores" value="no"/>
      <param name="api-expansion" value="false"/>
    </settings></configuration>
    <configuration name="modules.conf"><modules>{modules}</modules></configuration>
    <configuration name="post_load_modules.conf"><modules/></configuration>
    <configuration name="console.conf"><settings><param name="loglevel" value="warning"/></settings><mappings/>
    </configuration>
    <configuration name="logfile.conf"><settings/><profiles><profile name="default"><settings>
      <param name="logfile" value={log}/></settings>
      <mappings><map name="all" value="notice,warning,err,crit,alert"/></mappings></profile></profiles>
    </configuration>
    <configuration name="acl.conf"><network-lists/></configuration>
    <configuration name="event_socket.conf"><settings>
      <param name="nat-map" value="false"/>
      <param name="listen-ip" value="127.0.0.1"/>
      <param name="listen-port" value="{port}"/>
      <param name="password" value={password}/>
      <param name="apply-inbound-acl" value="loopback.auto"/>
      <param name="stop-on-bind-error" value="true"/>
    </settings></configuration>
    <configuration name="db.conf"><settings/></configuration>
    <configuration name="conference.conf"><profiles><profile name="default">
      <param name="rate" value="8000"/><param name="interval" value="20"/><param name="energy-level" value="0"/>
    </profile></profiles></configuration>
    <configuration name="sofia.conf"><global_settings><param name="log-level" value="0"/></global_settings>
      <profiles><profile name="internal"><settings>
        <param name="context" value="rig"/><param name="dialplan" value="XML"/>
        <param name="sip-ip" value="127.0.0.1"/><param name="sip-port" value="{sip}"/>
        <param name="rtp-ip" value="127.0.0.1"/>
        <param name="dtmf-type" value="rfc2833"/><param name="dtmf-duration" value="2000"/>
        <param name="codec-prefs" value="PCMU,PCMA"/><param name="inbound-codec-negotiation" value="generous"/>
        <param name="auth-calls" value="false"/><param name="manage-presence" value="false"/>
        <param name="rtp-timer-name" value="soft"/><param name="rfc2833-pt" value="101"/>
      </settings></profile></profiles>
    </configuration>
  </section>
  <section name="dialplan">
    <X-PRE-PROCESS cmd="include" data="gate.xml"/>
    <context name="rig">
{dialplan}    </context>
  </section>
  <section name="directory"/>
</document>
"""
