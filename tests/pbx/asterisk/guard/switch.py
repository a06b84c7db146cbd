"""A switch that answers the guard's questions as Asterisk does, with a model of its recorders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ivr_consent.pbx.asterisk.manager import Event, EventCallback, Headers, HeaderValue, ManagerGone, Reply


@dataclass
class Channel:
    """One channel: the newest recorder is the last of ``recorders``."""

    uniqueid: str
    context: str = "queues"
    application: str = "dial"
    data: str = ""
    recorders: list[str] = field(default_factory=list)
    """Files; of our own with the handle in ``handles``."""
    handles: dict[str, str] = field(default_factory=dict)
    monitored: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    peers: list[str] = field(default_factory=list)
    muted: bool = False

    def start(self, file: str, handle: str | None = None) -> None:
        """What MixMonitor does."""
        self.recorders.append(file)
        self.variables["MIXMONITOR_FILENAME"] = file
        if handle is not None:
            self.handles[handle] = file
            self.variables["IVR_CONSENT_MIXMONITOR"] = handle

    def value(self, name: str) -> str:
        if name.startswith("EVAL("):
            return re.sub(r"\$\{([^}]*)\}", lambda found: self.value(found[1]), name[len("EVAL(") : -1])
        if name.startswith("MIXMONITOR("):
            file = self.handles.get(name[len("MIXMONITOR(") :].split(",", maxsplit=1)[0], "")
            return file if file in self.recorders else ""
        known = {
            "UNIQUEID": self.uniqueid,
            "CONTEXT": self.context,
            "EXTEN": "s",
            "PRIORITY": "3",
            "CHANNEL(appname)": self.application,
            "CHANNEL(appdata)": self.data,
            "MONITORED": "true" if self.monitored else "",
            "BRIDGEPEER": ",".join(self.peers),
        }
        return known.get(name, self.variables.get(name, ""))


class FakeSwitch:
    """Channels by name; ``sent`` is every action. What is in ``refused`` is answered with an error."""

    def __init__(self, version: int = 22) -> None:
        self.channels: dict[str, Channel] = {}
        self.conferences: list[str] = []
        self.sent: list[tuple[str, dict[str, HeaderValue]]] = []
        self.refused: set[str] = set()
        self.missing: set[str] = set()
        self.cut_at: set[str] = set()
        """Actions at which the link goes down."""
        self.up = True
        self.connections = 1
        self.version = version
        self.deaf = False
        """Whether events no longer come."""
        self._callbacks: dict[str, list[EventCallback]] = {}

    # --- as ManagerLink ----------------------------------------------------------------------------------------------

    def on(self, pattern: str, callback: EventCallback) -> None:
        self._callbacks.setdefault(pattern, []).append(callback)

    def only(self, wanted: object) -> None:
        pass

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def wait_up(self, timeout: float) -> bool:  # noqa: ASYNC109 - as the link's
        import asyncio

        await asyncio.sleep(timeout / 50)
        return self.up

    async def action(
        self,
        name: str,
        headers: Mapping[str, HeaderValue] | None = None,
        *,
        timeout: float = 2.0,  # noqa: ASYNC109 - as the link's
    ) -> Reply:
        values = dict(headers or {})
        self.sent.append((name, values))
        if name in self.cut_at:
            self.cut_at.clear()
            self.up = False
        if not self.up:
            raise ManagerGone("the manager connection is down", sent=False)
        if name in self.refused:
            return reply(False, "Permission denied")
        answer: Reply = getattr(self, f"_{name.lower()}")(values)
        return answer

    # --- what it answers ---------------------------------------------------------------------------------------------

    def _getvar(self, values: dict[str, HeaderValue]) -> Reply:
        channel = self.channels.get(str(values["Channel"]))
        if channel is None:
            return reply(False, "No such channel")
        return reply(True, Value=channel.value(str(values["Variable"])))

    def _setvar(self, values: dict[str, HeaderValue]) -> Reply:
        if "Channel" in values:
            self.channels[str(values["Channel"])].variables[str(values["Variable"])] = str(values["Value"])
        elif not self.deaf:
            self.happens("VarSet", Variable=str(values["Variable"]), Value=str(values["Value"]))
        return reply(True)

    def _status(self, _: dict[str, HeaderValue]) -> Reply:
        events = tuple(event("Status", Channel=name) for name in self.channels)
        return Reply(True, "", Headers({}), events)

    def _listcommands(self, _: dict[str, HeaderValue]) -> Reply:
        names = {"Getvar", "Status", "StopMixMonitor", "MixMonitorMute", "Redirect", "Hangup", "Setvar"} - self.missing
        if self.version < 21:
            names |= {"StopMonitor"} - self.missing
        return Reply(True, "", Headers(dict.fromkeys(names, "x")))

    def _stopmixmonitor(self, values: dict[str, HeaderValue]) -> Reply:
        channel = self.channels.get(str(values["Channel"]))
        if channel is None:
            return reply(False, "No such channel")
        if not channel.recorders:
            return reply(False, "Could not stop monitoring channel")
        channel.recorders.pop()
        return reply(True)

    def _stopmonitor(self, values: dict[str, HeaderValue]) -> Reply:
        channel = self.channels.get(str(values["Channel"]))
        if channel is None:
            return reply(False, "No such channel")
        channel.monitored = False
        return reply(True, "Stopped monitoring channel")

    def _mixmonitormute(self, values: dict[str, HeaderValue]) -> Reply:
        channel = self.channels.get(str(values["Channel"]))
        if channel is None:
            return reply(False, "No such channel")
        if not channel.recorders:
            return reply(False, "Cannot set mute flag")
        channel.muted = values["State"] == "1"
        return reply(True)

    def _redirect(self, values: dict[str, HeaderValue]) -> Reply:
        channel = self.channels[str(values["Channel"])]
        channel.application = "wait"
        return reply(True, "Redirect successful")

    def _hangup(self, values: dict[str, HeaderValue]) -> Reply:
        name = str(values["Channel"])
        if name.startswith("/"):
            gone = [one for one in self.conferences if re.search(name.strip("/"), f"CBRec/{one}-00000000")]
            self.conferences = [one for one in self.conferences if one not in gone]
            events = tuple(event("ChannelHungup", Channel=f"CBRec/{one}-00000000") for one in gone)
            return Reply(True, "Channels hung up will follow", Headers({}), events)
        if self.channels.pop(name, None) is None:
            return reply(False, "No such channel")
        return reply(True, "Channel Hungup")

    # --- what happens on it ------------------------------------------------------------------------------------------

    def happens(self, name: str, **headers: str) -> None:
        """Tell whoever listens."""
        for callback in self._callbacks.get(name, []):
            callback(event(name, **headers))


def event(name: str, **headers: str) -> Event:
    return Event(name, Headers({"Event": name, **headers}), 0.0)


def reply(success: bool, message: str = "", **headers: str) -> Reply:
    return Reply(success, message, Headers(headers))
