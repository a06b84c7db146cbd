"""One call through a site's dialplan as it was seen: what it executed, the gate, recorders, and where it came to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ivr_consent.pbx.asterisk.audit.recorders import ALWAYS
from ivr_consent.pbx.asterisk.dialplan import LINES_CONTEXT
from ivr_consent.pbx.asterisk.manager import Event
from ivr_consent.pbx.asterisk.variables import CONTEXT, LINE, REASON
from ivr_consent.testing.dialplans.ways import WayIn
from ivr_consent.testing.drivers import said
from ivr_consent.testing.drivers.exchange import Timed

MOST_STEPS: Final = 5_000
"""Steps of one call that are kept: a dialplan may go in circles."""

RIG: Final = "rig-ways"
"""The context in which the rig's own calls begin and its telephones answer: no part of the site."""

OUTSIDE: Final = frozenset({RIG, "none", ""})
"""Contexts of channels that run no dialplan of the site."""

MENUS: Final = frozenset({"background", "waitexten", "read", "readexten", "backgrounddetect"})
"""Applications in which a caller may choose, by the letters of :attr:`Executed.application`."""

SERVING: Final = frozenset({"queue", "dial", "confbridge", "voicemail", "park"})
"""Applications in which a caller comes to somebody, or to something that serves."""

RECORDER_EVENTS: Final = {
    "MixMonitorStart": "MixMonitor",
    "MonitorStart": "Monitor",
    "ConfbridgeRecord": "the conference's recorder",
}
"""What the manager tells of a recorder that begins."""


_TOLD: Final = re.compile(rf'SET VARIABLE "?{REASON}"? "?([a-z_]+)"?')


class Says(StrEnum):
    """What a caller does at the gate; the value is how it is told."""

    NOTHING = "says nothing"
    YES = "says yes"
    NO = "says no"
    HANGS_UP = "hangs up in the notice"
    NO_SERVICE = "calls while ivr-consent is down"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: on which way, with which keys in the site's own menus, and what at the gate."""

    way: WayIn
    keys: str
    says: Says

    @property
    def name(self) -> str:
        """The way in, with the keys in the menus behind it."""
        return self.way.name + (f" then {' '.join(self.keys)}" if self.keys else "")


@dataclass(frozen=True, slots=True)
class Executed:
    """A step of the dialplan as Asterisk told it; ``application`` in small letters, ``written`` as it told it."""

    at: float
    channel: str
    context: str
    extension: str
    priority: int
    application: str
    written: str
    data: str

    @property
    def gate(self) -> bool:
        """Whether it is one of the gate's own."""
        return self.context == CONTEXT or (self.context.startswith(f"{CONTEXT}-") and self.context != LINES_CONTEXT)


@dataclass(slots=True)
class Seen:
    """One call, while it runs and afterwards."""

    caller: Caller
    uniqueid: str
    steps: list[Executed] = field(default_factory=list)
    commands: list[Timed] = field(default_factory=list)
    """AGI commands of our server, each with its time."""
    started: list[tuple[float, str]] = field(default_factory=list)
    """Recorders that the switch told of, whoever started them."""
    partners: list[str] = field(default_factory=list)
    """Channels that the caller was connected to."""
    menus: list[Executed] = field(default_factory=list)
    """Places of the site's own at which the caller could choose."""
    over: float | None = None
    """When its channel was gone."""
    outcome: str = ""
    """What came of the gate, by the log: ``granted``, …; empty when nobody was asked."""
    recorded: bool = False
    """Whether our recorder was started."""
    files: int = 0
    """Recordings of ours that were there for a moment."""
    cut_off: bool = False
    """Whether the switch ended the call."""
    _before: str = ""

    def happened(self, event: Event) -> None:
        """An event of a channel that belongs to the call."""
        headers = event.headers
        uniqueid, channel = headers.get("Uniqueid", ""), headers.get("Channel", "")
        match event.name:
            case "Newexten" if len(self.steps) < MOST_STEPS:
                self._executed(headers.get("Application", ""), event)
            case "AGIExecStart" if uniqueid == self.uniqueid:
                self.commands.append((event.arrived, headers.get("Command", "")))
            case "BridgeEnter":
                if uniqueid != self.uniqueid and channel not in self.partners:
                    self.partners.append(channel)
            case "Hangup" if uniqueid == self.uniqueid:
                self.over = event.arrived
            case name if name in RECORDER_EVENTS:
                self.started.append((event.arrived, RECORDER_EVENTS[name]))

    def _executed(self, written: str, event: Event) -> None:
        headers = event.headers
        priority = headers.get("Priority", "")
        step = Executed(
            event.arrived,
            headers.get("Channel", ""),
            headers.get("Context", ""),
            headers.get("Extension") or headers.get("Exten", ""),
            int(priority) if priority.isdecimal() else 0,
            written.lower(),
            written,
            headers.get("AppData", ""),
        )
        if step.context in OUTSIDE:
            return
        self.steps.append(step)
        if headers.get("Uniqueid") != self.uniqueid:
            return
        # WaitExten behind Background is the same menu: what is pressed in either leads to the same place.
        if step.application in MENUS and not (step.application == "waitexten" and self._before == "background"):
            self.menus.append(step)
        self._before = step.application

    # --- what the call came to ---------------------------------------------------------------------------------------

    @property
    def asked(self) -> bool:
        """Whether it came to the gate."""
        return self.gate_at is not None

    @property
    def gate_at(self) -> float | None:
        """When it came to the gate first."""
        return next((step.at for step in self.steps if step.gate), None)

    @property
    def line(self) -> str:
        """The line that the gate was asked for last."""
        named = [step.data for step in self.steps if step.gate and step.data.startswith(f"{LINE}=")]
        return named[-1].partition("=")[2] if named else ""

    @property
    def reason(self) -> str:
        """Why, as the dialplan was told."""
        found = (match[1] for _, command in reversed(self.commands) if (match := _TOLD.match(command)))
        return next(found, "")

    @property
    def heard(self) -> list[Timed]:
        """Prompts and windows of the gate."""
        return said.by_commands(self.commands)

    def queues(self) -> Iterator[Executed]:
        """Queues that it came to."""
        return (step for step in self.steps if step.application == "queue")

    @staticmethod
    def queue(step: Executed) -> str:
        """The name of the queue."""
        return step.data.partition(",")[0].strip()

    def reached(self) -> list[str]:
        """What it came to, in order: queues, who was dialled, conferences, voice mail."""
        found: dict[str, None] = {}
        for step in self.steps:
            if step.application in SERVING and not step.gate:
                found[f"{step.written}({step.data.partition(',')[0].strip()})"] = None
        return list(found)

    def reached_after_gate(self) -> bool:
        """Whether the gate was followed by somebody or something that serves the caller."""
        since = max((step.at for step in self.steps if step.gate and not step.context.endswith("-ended")), default=0.0)
        return any(step.at >= since and step.application in SERVING for step in self.steps if not step.gate)

    def recorders(self) -> list[tuple[float, str, Executed | None]]:
        """Recorders that are not ours: when, what, and the step that started it where there was one."""
        found: list[tuple[float, str, Executed | None]] = []
        steps = [step for step in self.steps if step.application in ALWAYS and not step.gate]
        found += [(step.at, f"{step.written}({step.data})", step) for step in steps]
        explained = sum(step.application in ("mixmonitor", "monitor") for step in steps) + self.recorded
        found += [(at, what, None) for at, what in self.started[explained:]]
        return found
