"""A recording is of caller and agent talking, and of nobody and nothing else (R9, R12).

``RECORD_BRIDGE_REQ`` leaves out what is before and after a bridge: the queue, an IVR, a place to park. It does not
leave out what is said on hold, nor somebody who came into the bridge and never consented. There the recorder is masked:
it writes silence of equal length, and goes on when caller and agent talk again. It is masked between two bridges as
well, so that of who comes next nothing is heard before it is known who that is.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from ivr_consent.logs import get_logger
from ivr_consent.pbx.freeswitch import variables, wire
from ivr_consent.pbx.freeswitch.guard.asking import Leg, Switch, device
from ivr_consent.pbx.freeswitch.stopping import stop_recorders
from ivr_consent.pbx.freeswitch.wire import Event
from ivr_consent.pbx.incidents import PAUSED, RESUMED
from ivr_consent.pbx.policy import Reports
from ivr_consent.pbx.watching import ChannelGone

EVENTS: Final = ("CHANNEL_BRIDGE", "CHANNEL_UNBRIDGE", "CHANNEL_HOLD", "CHANNEL_UNHOLD")
"""What hints that a recording's scope may have changed."""

WAITING: Final = "waiting"
"""Masked, because the call is in no bridge: no pause that anybody has to be told of."""

log = get_logger()

MayStand = Callable[[str, str], Awaitable[bool]]
"""Whether the recording of a call (its id, its channel) has a grant that stands, and runs. Raises `ChannelGone`."""


@dataclass(slots=True)
class Followed:
    """One lawful recording. ``agents``: whom the call was connected to first, where the line names none."""

    uuid: str
    call_id: str
    path: str
    peer: str = ""
    masked: str = "unknown"
    """Why it is masked; nothing tells whether it was before the guard's own start."""
    told: str = ""
    """The pause that was told of and goes on."""
    agents: list[str] = field(default_factory=list)


class Scope:
    """Follows the lawful recordings of a switch."""

    def __init__(
        self, switch: Switch, reports: Reports, may_stand: MayStand, agents: Callable[[str], tuple[str, ...]]
    ) -> None:
        self._switch, self._reports, self._may_stand, self._agents = switch, reports, may_stand, agents
        self._followed: dict[str, Followed] = {}

    def follow(self, uuid: str, call_id: str, path: str) -> None:
        """A lawful recorder runs on a channel."""
        known = self._followed.get(uuid)
        if known is None or known.path != path:
            self._followed[uuid] = Followed(uuid, call_id, path)

    def forget(self, uuid: str) -> None:
        """It has ended."""
        self._followed.pop(uuid, None)

    def all(self) -> tuple[str, ...]:
        """The channels followed."""
        return tuple(self._followed)

    def hear(self, event: Event) -> list[str]:
        """The channels whose recordings an event may concern."""
        legs = {event.get("Unique-ID"), event.get("Other-Leg-Unique-ID"), event.variable("bridge_uuid")}
        legs |= {event.get("Bridge-A-Unique-ID"), event.get("Bridge-B-Unique-ID")}
        return [one.uuid for one in self._followed.values() if one.uuid in legs or (one.peer and one.peer in legs)]

    async def look(self, uuid: str) -> None:
        """Ask who is in the bridge, and mask or not; never two at once for a channel.

        Raises :class:`ChannelGone` and :class:`EventSocketError`.
        """
        followed = self._followed.get(uuid)
        if followed is None:
            return
        reason = await self._why_not(followed)
        if reason != followed.masked:
            await self._mask(followed, reason)

    async def _why_not(self, followed: Followed) -> str:
        """Why a recording is not to go on; empty when it is."""
        leg = await self._switch.leg(followed.uuid)
        followed.peer = leg.peer
        if not leg.peer:
            return WAITING
        if leg.held:
            return "on_hold"
        try:
            peer = await self._switch.leg(leg.peer)
        except ChannelGone:
            return WAITING
        if peer.bond != leg.uuid:
            return WAITING  # it has gone on to somebody else
        if peer.held or peer.peer not in ("", followed.uuid):
            return "on_hold"  # or they talk to somebody else meanwhile: an attended transfer
        if await self._is_agent(followed, leg, peer) or await self._consented(peer):
            return ""
        return "party_joined"

    async def _is_agent(self, followed: Followed, leg: Leg, peer: Leg) -> bool:
        named = self._agents(leg.line)
        name = device(peer.name)
        if named:
            return any(fnmatch.fnmatchcase(name, pattern) for pattern in named)
        if not followed.agents:
            followed.agents = list(leg.agents)
        if not followed.agents and name:
            followed.agents = [name]
            # On the channel, since the guard may be restarted meanwhile.
            told = f"uuid_setvar {wire.channel(followed.uuid)} {variables.AGENTS} {name}"
            await self._switch.say(told)
        return name in followed.agents

    async def _consented(self, peer: Leg) -> bool:
        """Whether the other side has consented by a call of its own, which is being recorded too."""
        try:
            return bool(peer.call_id) and await self._may_stand(peer.call_id, peer.uuid)
        except ChannelGone:
            return False

    async def _mask(self, followed: Followed, reason: str) -> None:
        what = "mask" if reason else "unmask"
        told = await self._switch.say(f"uuid_record {wire.channel(followed.uuid)} {what} {followed.path}")
        done = told.startswith("+OK")
        if reason and not done:
            # Better ended than with somebody in it who never consented.
            stops = await stop_recorders(self._switch, followed.uuid, (followed.path,))
            log.error("recording_not_paused", call_id=followed.call_id, reason=reason, stopped=stops.confirmed)
            done = stops.confirmed
        elif not done:
            return  # it stays silent; the next look tries again
        followed.masked = reason
        if reason == WAITING or bool(reason) == bool(followed.told):
            return
        followed.told = reason
        kind = PAUSED if reason else RESUMED
        self._reports.scope(followed.call_id, kind, reason or "talking", confirmed=done)
