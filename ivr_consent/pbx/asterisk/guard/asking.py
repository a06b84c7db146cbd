"""Asking the switch: a reply to our own action is the truth, an event is a hint.

Only ``Getvar`` is asked about one channel: its reply holds what was asked and nothing that a caller wrote. A ``Status``
names the channels there are; what else stands in it may have been forged in a caller's name, and is not looked at.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ivr_consent.core.errors import ManagerError
from ivr_consent.pbx.asterisk.stopping import NO_CHANNEL, REPLY_S, Asks
from ivr_consent.pbx.watching import ChannelGone

_HANDLE: Final = re.compile(r"0x[0-9a-f]{1,16}")
_ID: Final = re.compile(r"[0-9a-f]{32}")

LIST_S: Final = 10.0
"""How long the list of all channels may take."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the dialplan a channel is."""

    context: str
    extension: str
    priority: int


@dataclass(frozen=True, slots=True)
class Running:
    """A recorder of ours that the switch says is running: the call's id, and the file it writes."""

    call_id: str
    path: Path


class Switch:
    """Questions about channels. Each raises :class:`ManagerError` where the link is down or no reply came."""

    def __init__(self, link: Asks) -> None:
        self.link = link

    async def variable(self, channel: str, name: str) -> str:
        """A variable or function of a channel; empty where it is not set. Raises :class:`ChannelGone`."""
        reply = await self.link.action("Getvar", {"Channel": channel, "Variable": name}, timeout=REPLY_S)
        if reply.success:
            return reply.headers.one("Value") or ""
        if reply.message.strip().lower().startswith(NO_CHANNEL):
            raise ChannelGone
        return ""

    async def variables(self, channel: str, *names: str) -> list[str]:
        """Several variables of a channel, asked at once. Raises :class:`ChannelGone`."""
        return await asyncio.gather(*(self.variable(channel, name) for name in names))

    async def channels(self) -> list[str]:
        """The names of all channels there are."""
        reply = await self.link.action("Status", {}, timeout=LIST_S)
        if not reply.success:
            raise ManagerError(f"the switch does not list its channels ({reply.message[:60]}); see its write rights")
        names = [event.headers.get("Channel", "") for event in reply.events if event.name == "Status"]
        return [name for name in names if name]

    async def application(self, channel: str) -> tuple[str, str]:
        """The application that a channel executes, in small letters, and its arguments."""
        name = await self.variable(channel, "CHANNEL(appname)")
        return name.lower(), await self.variable(channel, "CHANNEL(appdata)")

    async def place(self, channel: str) -> Place | None:
        """Where in the dialplan a channel is; ``None`` where it is nowhere."""
        context, extension, priority = await self.variables(channel, "CONTEXT", "EXTEN", "PRIORITY")
        if not context or not extension or not priority.isdecimal():
            return None
        return Place(context, extension, int(priority))

    async def uniqueid(self, channel: str) -> str:
        """The switch's own id of a channel."""
        return await self.variable(channel, "UNIQUEID")

    async def ours(self, channel: str, handle: str, directory: Path) -> Running | None:
        """The recorder of ours that runs on a channel: its handle (a variable of ours) still knows a file of ours."""
        if not _HANDLE.fullmatch(handle):
            return None
        path = await self.variable(channel, f"MIXMONITOR({handle},filename)")
        call_id = id_of(path, directory)
        return None if call_id is None else Running(call_id, Path(path))

    async def commands(self) -> frozenset[str]:
        """The actions that our account may send."""
        reply = await self.link.action("ListCommands", {}, timeout=REPLY_S)
        return frozenset(reply.headers)


def id_of(path: str, directory: Path) -> str | None:
    """The id of the call whose recording a path is, where it is one of ours."""
    found = Path(path)
    if found.parent != directory or found.suffix not in (".raw", ".wav") or not _ID.fullmatch(found.stem):
        return None
    return found.stem
