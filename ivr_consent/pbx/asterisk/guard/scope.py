"""A recording is of caller and agent talking, and of nobody and nothing else (R9, R12).

MixMonitor's option ``b`` leaves out what is before and after a bridge. It does not leave out hold music, a caller who
is parked (in a bridge of its own), or somebody who came into the bridge and never consented. There the recorder is
muted: it writes silence of equal length, and goes on when caller and agent talk again.

Who is in the bridge is asked (``BRIDGEPEER``), each time an event hints that it may have changed. Who hears music is
known by events alone: a forged one makes a recording silent, or lets a caller's own voice on hold be in it.
"""

from __future__ import annotations

import fnmatch
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from ivr_consent.core.errors import ManagerError
from ivr_consent.logs import get_logger
from ivr_consent.pbx.asterisk import variables
from ivr_consent.pbx.asterisk.guard.asking import Running, Switch
from ivr_consent.pbx.asterisk.manager import Event
from ivr_consent.pbx.asterisk.stopping import stop_recorders
from ivr_consent.pbx.incidents import PAUSED, RESUMED
from ivr_consent.pbx.watching import ChannelGone

MAX_HELD: Final = 4096
"""Channels of which it is remembered that they hear music."""

log = get_logger()

MayStand = Callable[[str, str], Awaitable[bool]]
"""Whether the recording of a call (its id, its channel's uniqueid) has a grant that stands."""


class Told(Protocol):
    """Who is told of a pause."""

    def scope(self, call_id: str, kind: str, reason: str, *, confirmed: bool) -> None:
        """A recording was paused or goes on; ``reason``: ``parked``, ``on_hold``, ``party_joined``, ``talking``."""
        ...


@dataclass(slots=True)
class Followed:
    """One lawful recording. ``agents``: devices that the call was connected to first, or that the line names."""

    running: Running
    channel: str
    uniqueid: str
    bridge: str = ""
    peers: tuple[str, ...] = ()
    talked: bool = False
    muted: str = ""
    agents: set[str] = field(default_factory=set)
    optimising: bool = False
    """Whether the agents are Local channels as yet, which Asterisk may replace by what is behind them."""


class Scope:
    """Follows the lawful recordings of a switch."""

    def __init__(
        self, switch: Switch, told: Told, may_stand: MayStand, agents: Callable[[str], tuple[str, ...]]
    ) -> None:
        self._switch, self._told, self._may_stand, self._agents = switch, told, may_stand, agents
        self._followed: dict[str, Followed] = {}
        self._held: OrderedDict[str, None] = OrderedDict()

    def follow(self, channel: str, uniqueid: str, running: Running) -> bool:
        """A lawful recorder runs on a channel; whether that was not known."""
        known = self._followed.get(channel)
        if known is not None and known.running == running:
            return False
        self._followed[channel] = Followed(running, channel, uniqueid)
        return True

    def others(self, channel: str) -> list[str]:
        """The channels followed that are in a bridge with this one."""
        return [one.channel for one in self._followed.values() if channel in one.peers]

    def forget(self, channel: str) -> None:
        """It has ended."""
        self._followed.pop(channel, None)

    def all(self) -> tuple[str, ...]:
        """The channels followed."""
        return tuple(self._followed)

    def files(self) -> frozenset[str]:
        """What the recorders followed write."""
        return frozenset(str(one.running.path) for one in self._followed.values())

    def hear(self, event: Event) -> list[str]:
        """The channels whose recordings an event may concern."""
        channel = event.headers.get("Channel", "") or event.headers.get("ParkeeChannel", "")
        if event.name == "MusicOnHoldStart":
            self._held[channel] = None
            while len(self._held) > MAX_HELD:
                self._held.popitem(last=False)
        elif event.name == "MusicOnHoldStop":
            self._held.pop(channel, None)
        bridge = event.headers.get("BridgeUniqueid", "")
        mine = self._followed.get(channel)
        if mine is not None:
            if event.name == "BridgeEnter":
                mine.bridge = bridge
            return [channel]
        if event.name.startswith("MusicOnHold"):
            return [one.channel for one in self._followed.values() if channel in one.peers]
        return [one.channel for one in self._followed.values() if bridge and one.bridge == bridge]

    async def look(self, channel: str) -> None:
        """Ask who is in the bridge, and mute or not; never two at once for a channel.

        Raises :class:`ChannelGone` and :class:`ManagerError`.
        """
        followed = self._followed.get(channel)
        if followed is None:
            return
        reason = await self._why_not(followed)
        if reason != followed.muted:
            await self._mute(followed, reason)

    async def _why_not(self, followed: Followed) -> str:
        """Why a recording is not to go on; empty when it is."""
        found = await self._switch.variable(followed.channel, "BRIDGEPEER")
        peers = followed.peers = tuple(peer for peer in found.split(",") if peer)
        if not peers:
            followed.optimising = followed.optimising and not followed.talked  # from here on it is a transfer
            if not (followed.talked and followed.bridge) or await self._hangs_up(followed.channel):
                return followed.muted
            return "parked"
        if not followed.talked:
            followed.talked = True
            known = await self._switch.variable(followed.channel, variables.AGENTS)
            if known:  # to whoever watched before: who is there now may be somebody else
                followed.agents = set(known.split(","))
            else:
                followed.optimising = all(peer.startswith("Local/") for peer in peers)
                await self._take_as_agents(followed)
        elif followed.optimising and not any(peer.startswith("Local/") for peer in peers):
            followed.optimising = False
            await self._take_as_agents(followed)
        line = await self._switch.variable(followed.channel, variables.LINE)
        named = self._agents(line)
        for peer in peers:
            if any(fnmatch.fnmatchcase(device(peer), pattern) for pattern in named):
                continue
            if not named and device(peer) in followed.agents:
                continue
            if not await self._has_consented(peer):
                return "party_joined"
        if followed.channel in self._held or any(peer in self._held for peer in peers):
            return "on_hold"
        return ""

    async def _hangs_up(self, channel: str) -> bool:
        """Whether the caller's own telephone has ended the call: it has left its bridge, and is there for a moment."""
        return await self._switch.variable(channel, "CHANNEL(hangupsource)") == channel

    async def _take_as_agents(self, followed: Followed) -> None:
        """Who is in the bridge now is an agent; the channel itself keeps who was."""
        followed.agents |= {device(peer) for peer in followed.peers}
        values = {"Channel": followed.channel, "Variable": variables.AGENTS, "Value": ",".join(sorted(followed.agents))}
        await self._switch.link.action("Setvar", values)

    async def _has_consented(self, channel: str) -> bool:
        """Whether a party came through the gate itself and said yes."""
        try:
            call_id = await self._switch.variable(channel, variables.CALL_ID)
            uniqueid = await self._switch.uniqueid(channel)
        except ChannelGone:
            return True  # it has left
        return bool(call_id) and await self._may_stand(call_id, uniqueid)

    async def _mute(self, followed: Followed, reason: str) -> None:
        values = {"Channel": followed.channel, "Direction": "both", "State": "1" if reason else "0"}
        try:
            reply = await self._switch.link.action("MixMonitorMute", values)
            confirmed = reply.success
        except ManagerError:
            confirmed = False
        if reason and not confirmed:
            # What cannot be made silent is stopped: rather no recording than one of a stranger.
            stops = await stop_recorders(self._switch.link, followed.channel)
            if stops.confirmed and not stops.stopped:
                return  # the call is ending: it has left its bridge, and its recorder had ended before we asked
            log.error("recording_not_paused", reason=reason, stopped=stops.confirmed)
            confirmed = stops.confirmed
        paused_before = bool(followed.muted)
        followed.muted = reason if confirmed or not reason else ""
        if bool(reason) != paused_before or not confirmed:
            kind = PAUSED if reason else RESUMED
            self._told.scope(followed.running.call_id, kind, reason or "talking", confirmed=confirmed)


def device(channel: str) -> str:
    """A channel's name without the number of the call: ``PJSIP/anna-0000001f`` is ``PJSIP/anna``."""
    name, dash, _ = channel.rpartition("-")
    return name if dash else channel
