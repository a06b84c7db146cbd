"""The guard of FreeSWITCH: what its events hint at, how each way of recording is asked about and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ivr_consent.core.errors import EventSocketError
from ivr_consent.logs import get_logger
from ivr_consent.pbx.freeswitch import variables, wire
from ivr_consent.pbx.freeswitch.guard.asking import RECORDER, Leg, Switch, id_of, leg_told, written_for
from ivr_consent.pbx.freeswitch.guard.scope import EVENTS as SCOPE_EVENTS
from ivr_consent.pbx.freeswitch.guard.scope import Scope
from ivr_consent.pbx.freeswitch.link import Link
from ivr_consent.pbx.freeswitch.stopping import (
    LOOK_S,
    RECORDING_APPLICATIONS,
    leave_application,
    stop_conference,
    stop_recorders,
)
from ivr_consent.pbx.freeswitch.wire import Event
from ivr_consent.pbx.incidents import Exempted, Incident
from ivr_consent.pbx.policy import Exemption, OpenFor, Policy, Reports, Standings, Stops
from ivr_consent.pbx.watching import REMEMBERED, ChannelGone, Watch
from ivr_consent.store.granted import Standing
from ivr_consent.store.quarantine import Kept

EVENTS: Final = (
    "RECORD_START",
    "RECORD_STOP",
    "MEDIA_BUG_START",
    *SCOPE_EVENTS,
    "CUSTOM",
    "conference::maintenance",
    variables.WITHDRAWN_EVENT,
    variables.BEAT_EVENT,
)
"""What the guard hears; behind ``CUSTOM`` stand subclasses."""

LISTED_S: Final = 0.1
"""How long after RECORD_START a recorder may take to be in its channel's list; no delay was ever seen."""

EMPTY: Final = "empty-file"
"""Why a recording ended, where the two never talked: FreeSWITCH has then removed its file."""

MAX_FILES: Final = 16
"""Files that applications write on one channel at the same time, nested."""

BLIND: Final = {
    "event_socket_down": "the event socket is not connected",
    "switch_not_asked_yet": "the switch was not asked yet what records",
    "switch_events_missing": "no event comes",
    "switch_events_late": "events come late",
    "guard_overloaded": "more happens than can be looked into",
}
"""Why the guard does not see, by the reason in the log."""

_CALL_ID: Final = re.compile(r"[0-9a-f]{32}")

log = get_logger()


class Kind(Enum):
    """What a hint is about."""

    RECORDER = "recorder"
    APPLICATION = "application"
    CONFERENCE = "conference"
    SCOPE = "scope"
    ENDED = "ended"
    """Something has recorded."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something may record. ``name``: on which channel, or in which conference.

    Of what has ended also the file, and the channel as it was, which nobody can be asked about any more.
    """

    kind: Kind
    name: str
    path: str = ""
    leg: Leg | None = None

    @property
    def key(self) -> tuple[Kind, str, str]:
        """Two with the same are one."""
        return (self.kind, self.name, self.path)

    @property
    def turn(self) -> tuple[Kind, str]:
        """What is looked into by one at a time."""
        if self.kind is not Kind.ENDED:
            return (self.kind, self.name)
        return (Kind.CONFERENCE if self.leg is None else Kind.RECORDER, self.name)


class Guard(Watch[Hint]):
    """Watches one switch through its event socket, until :meth:`stop`.

    ``finished`` is told of a lawful recording that has ended, and whether its file is gone, being empty; ``withdrawn``
    of a withdrawal in a call: its id, and who pressed. Both by events, so as hints: whoever is told looks it up.
    """

    LINK_DOWN = "event_socket_down"
    EVENTS_MISSING = "switch_events_missing"
    EVENTS_LATE = "switch_events_late"
    UNANSWERED = EventSocketError

    _link: Link
    _switch: Switch
    scope: Scope

    def __init__(
        self,
        link: Link,
        policy: Policy,
        standings: Standings,
        reports: Reports,
        open_for: OpenFor,
        *,
        finished: Callable[[str, bool], None] = lambda _, __: None,
        withdrawn: Callable[[str, str], None] = lambda _, __: None,
    ) -> None:
        super().__init__(link, Switch(link), policy)
        self._standings, self._reports, self._open_for = standings, reports, open_for
        self._finished, self._withdrawn = finished, withdrawn
        self._writing: OrderedDict[str, list[str]] = OrderedDict()
        """Files that applications write, by their channels, from RECORD_START to RECORD_STOP: one may run in another,
        and beside media bugs."""
        self._found: OrderedDict[tuple[str, str], int] = OrderedDict()
        """Recorders without a grant that were found while they ran, by channel or conference and file: how many. Their
        ends are no news."""
        self.scope = Scope(self._switch, reports, self._stands, policy.agents)
        link.on_event = self._hear

    async def start(self) -> None:
        """Begin to watch, in the background."""
        self._begin_to_watch()

    # --- hints -------------------------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        uuid = event.get("Unique-ID")
        known = wire.UUID.fullmatch(uuid) is not None
        match event.name:
            case "RECORD_START" if known:
                self._scope_of(event)
                self._starting(uuid, event.get("Record-File-Path"))
            case "MEDIA_BUG_START" if known and event.get("Media-Bug-Function") == RECORDER:
                self._take(Hint(Kind.RECORDER, uuid))
            case "RECORD_STOP":
                self._scope_of(event)
                self._ended(event, uuid, event.get("Record-File-Path"))
            case "CUSTOM":
                self._hear_custom(event)
            case _ if event.name in SCOPE_EVENTS:
                self._scope_of(event)

    def _scope_of(self, event: Event) -> None:
        """Who talks with whom may have changed, or whether both have consented."""
        for channel in self.scope.hear(event):
            self._take(self._scope_hint(channel))

    def _hear_custom(self, event: Event) -> None:
        match event.get("Event-Subclass"):
            case variables.BEAT_EVENT:
                self._heard_beat(event.get(variables.BEAT))
            case "conference::maintenance":
                name = event.get("Conference-Name")
                if event.get("Action") == "start-recording":
                    self._take(Hint(Kind.CONFERENCE, name))
                elif event.get("Action") == "stop-recording" and not self._was_found(name, event.get("Path")):
                    self._take(Hint(Kind.ENDED, name, event.get("Path")))
            case variables.WITHDRAWN_EVENT:
                call_id, by = event.get(variables.CALL_ID), event.get(variables.BY)
                if _CALL_ID.fullmatch(call_id):
                    self._withdrawn(call_id, "agent" if by == "agent" else "caller")

    def _starting(self, uuid: str, path: str) -> None:
        """Something records: a media bug, which the channel's list has, or an application, which none has."""
        paths = self._writing.setdefault(uuid, [])
        paths.append(path)
        del paths[:-MAX_FILES]
        self._writing.move_to_end(uuid)
        while len(self._writing) > REMEMBERED:
            self._writing.popitem(last=False)
        self._take(Hint(Kind.RECORDER, uuid))

    def _ended(self, event: Event, uuid: str, path: str) -> None:
        paths = self._writing.get(uuid, [])
        if path in paths:
            paths.remove(path)  # once: two may write the same file
        self._no_application(uuid, ())
        if not path:
            return
        if wire.UUID.fullmatch(uuid) and not self._was_found(uuid, path):
            self._take(Hint(Kind.ENDED, uuid, path, leg_told(uuid, event.get)))
        call_id = id_of(path, self.policy.recordings)
        if call_id is not None:
            self._finished(call_id, event.get("Record-Completion-Cause") == EMPTY)

    def _finds(self, name: str, paths: Iterable[str]) -> None:
        """These run without a grant: whatever is done about it, their ends need not be looked into."""
        for path, count in Counter(paths).items():
            self._found[name, path] = max(count, self._found.get((name, path), 0))
            self._found.move_to_end((name, path))
        while len(self._found) > REMEMBERED:
            self._found.popitem(last=False)

    def _was_found(self, name: str, path: str) -> bool:
        """Whether one that ends now was found while it ran."""
        count = self._found.pop((name, path), 0)
        if count > 1:
            self._found[name, path] = count - 1
        return count > 0

    def _no_application(self, uuid: str, paths: Iterable[str]) -> None:
        """These files are written by media bugs."""
        bugs = frozenset(paths)
        left = [path for path in self._writing.pop(uuid, ()) if path not in bugs]
        if left:
            self._writing[uuid] = left

    async def _stands(self, call_id: str, uuid: str) -> bool:
        if not _CALL_ID.fullmatch(call_id) or await self._standings(call_id, uuid) is not Standing.OPEN:
            return False
        # The log is told of a withdrawal a moment after the recorder was stopped.
        return str(self.policy.recordings / f"{call_id}.raw") in await self._switch.recorders(uuid)

    def _scope_hint(self, channel: str) -> Hint:
        return Hint(Kind.SCOPE, channel)

    async def _look(self, hint: Hint, since: float, found: str) -> None:
        match hint.kind:
            case Kind.RECORDER:
                await self._recorders(hint.name, since, found)
            case Kind.APPLICATION:
                await self._application(hint.name, since, found)
            case Kind.CONFERENCE:
                await self._conference(hint.name, since, found)
            case Kind.SCOPE:
                await self.scope.look(hint.name)
            case Kind.ENDED if hint.leg is None:
                await self._has_ended(hint, since)
            case Kind.ENDED:
                async with self._turn((Kind.APPLICATION, hint.name)):  # which may be finding it at this moment
                    await self._has_ended(hint, since)

    # --- the ways ----------------------------------------------------------------------------------------------------

    async def _recorders(self, uuid: str, since: float, found: str) -> None:
        """``record_session`` and ``uuid_record``, by whatever started them: the channel has a list of them."""
        running = await self._switch.recorders(uuid)
        standings = {path: await self._standing_of(path, uuid) for path in running}
        lawful = [path for path, standing in standings.items() if standing is Standing.OPEN]
        for path in lawful:
            self.scope.follow(uuid, id_of(path, self.policy.recordings) or "", path)
            self._take(self._scope_hint(uuid))
        if not lawful:
            self.scope.forget(uuid)
        unlawful = [path for path in running if path not in lawful]
        self._no_application(uuid, running)  # media bugs: the channel's list tells of them from here on
        if found == "event" and uuid in self._writing:
            self._take(Hint(Kind.APPLICATION, uuid))
        if not unlawful:
            return
        self._finds(uuid, unlawful)
        leg = await self._leg(uuid) if self.policy.exemptions else None
        exemption = None if leg is None else self._exemption(leg, "record_session")
        if exemption is not None and leg is not None:
            for path in unlawful:
                self._let_be(exemption, leg, path, "record_session")
            return
        if not self.policy.enforce:
            for path in unlawful:
                await self._watched(uuid, path, "record_session", since, found)
            return
        stops = await stop_recorders(self._switch, uuid, unlawful)
        if not stops.gone:
            # An application may write the very same file, and then one event's path does not tell the two apart.
            with contextlib.suppress(ChannelGone):
                await self._look_into(Hint(Kind.APPLICATION, uuid), since, "round")
        over = all(standings[path] is Standing.OVER for path in unlawful)
        lawful_ended = bool(lawful) and not set(lawful) <= set(await self._left(uuid, stops))
        if over and not stops.problem:
            log.warning("recording_over_stopped", confirmed=stops.confirmed)
            return
        files = [path for path in unlawful if standings[path] is Standing.UNKNOWN]
        await self._tell(uuid, "record_session", stops, since, found, files, lawful_ended=lawful_ended)

    async def _left(self, uuid: str, stops: Stops) -> tuple[str, ...]:
        """What records after a stop; where the channel is gone, nothing was ended by us."""
        if stops.gone:
            return ()
        with contextlib.suppress(ChannelGone):
            return await self._switch.recorders(uuid)
        return ()

    async def _application(self, uuid: str, since: float, found: str) -> None:
        """Applications that record while they are executed, ``record`` and voicemail.

        Their beginning and end are told by events. What began before there were any, the switch's open files tell.
        """
        if uuid in self._writing:
            # A media bug that began since is told of by the same event, and it is not to be broken off.
            self._no_application(uuid, await self._switch.recorders(uuid))
        paths = list(self._writing.get(uuid, ()))
        if not paths and found == "event":
            return
        leg = await self._switch.leg(uuid)
        name = leg.application
        if await self._are_listed_later(uuid, paths, name):
            self._take(Hint(Kind.RECORDER, uuid))
            return
        if paths and set(paths).isdisjoint(self._writing.get(uuid, ())):
            return  # all have ended meanwhile, and what the channel plays now is not to be broken off
        if not paths:
            began = await self._began_before(leg, sure=found != "start")
            if not began:
                return
            paths, self._writing[uuid] = [began], [began]
        self._finds(uuid, paths)
        exemption = self._exemption(leg, name.lower())
        if exemption is not None:
            for path in paths:
                self._let_be(exemption, leg, path, name)
            return
        if not self.policy.enforce:
            for path in paths:
                await self._watched(uuid, path, name, since, found)
            return
        written = frozenset(paths)
        stops = await leave_application(self._switch, uuid, lambda: not written.isdisjoint(self._writing.get(uuid, ())))
        if stops.gone:
            self._writing.pop(uuid, None)
        await self._tell(uuid, name, stops, since, found, paths, leg=leg)

    async def _are_listed_later(self, uuid: str, paths: list[str], application: str) -> bool:
        """Whether these are media bugs after all: RECORD_START is told a moment before the channel's list has them."""
        ours = any(id_of(path, self.policy.recordings) is not None for path in paths)
        if not paths or (not ours and application.lower() in RECORDING_APPLICATIONS):
            return False
        until = time.monotonic() + LISTED_S
        while time.monotonic() < until:
            if not set(paths).isdisjoint(await self._switch.recorders(uuid)):
                return True
            await asyncio.sleep(LOOK_S)
        return False

    async def _began_before(self, leg: Leg, *, sure: bool) -> str:
        """The file that a channel's application has written since before we heard anything; empty when it does not.

        A channel goes on naming the last application that it ran. ``sure``: only what the open files show counts.
        """
        if leg.application.lower() not in RECORDING_APPLICATIONS:
            return ""
        # The argument of ``record`` begins with the file: path, then seconds, parted by spaces.
        named = leg.application_data.split(" ")[0] if leg.application.lower() == "record" else ""
        path = self._absolute(named) if named else ""
        if sure and not path:
            return ""
        wanted = await asyncio.to_thread(written_for, path) if path else []
        writes = await self._open_for(frozenset(wanted))
        if writes is None:
            return "" if sure else path
        return path if path and writes else min(writes, default="")

    async def _conference(self, name: str, since: float, found: str) -> None:
        """A conference records on a member of its own, which is on no channel."""
        exemption = self.policy.exemption(f"conference/{name}", "", "", "conference")
        if exemption is not None:
            if self._once("", "conference", name):
                self._reports.exempted(Exempted("conference", exemption.basis, exemption.reason, "", ""))
            return
        running = await self._switch.conferences()
        if name not in running:
            return
        self._finds(name, [running[name]])
        if not self.policy.enforce:
            await self._watched("", running[name], "conference", since, found)
            return
        stops = await stop_conference(self._switch, name)
        if stops.stopped or stops.problem:
            files = [self._absolute(running[name])] if running[name] else []
            await self._tell("", "conference", stops, since, found, files)

    async def _has_ended(self, hint: Hint, since: float) -> None:
        """It began and ended before anybody looked: nothing is left to be stopped, but its file is there."""
        leg, path = hint.leg, hint.path
        if self._was_found(hint.name, path):
            return
        way, exempt_as = "conference", self.policy.exemption(f"conference/{hint.name}", "", "", "conference")
        if leg is not None:
            if await self._standing_of(path, leg.uuid) is not Standing.UNKNOWN:
                return
            way = leg.application if leg.application.lower() in RECORDING_APPLICATIONS else "record_session"
            exempt_as = self._exemption(leg, way.lower())
        if exempt_as is not None:
            if leg is not None:
                self._let_be(exempt_as, leg, path, way)
            return
        uuid, context = ("", "") if leg is None else (leg.uuid, leg.context)
        if not self.policy.enforce:
            seconds = time.monotonic() - since
            self._reports.incident(Incident(way, "watch", 0, True, seconds, context, uuid, found="ended"))
            return
        written = await asyncio.to_thread(written_for, self._absolute(path))
        open_now = await self._open_for(frozenset(written)) or frozenset()  # others may write it still
        stops = Stops(0, confirmed=True, gone=True, seconds=0.0)
        await self._tell(uuid, way, stops, since, "ended", [file for file in written if file not in open_now], leg=leg)

    # --- what it knows of a recording --------------------------------------------------------------------------------

    async def _standing_of(self, path: str, uuid: str) -> Standing:
        call_id = id_of(path, self.policy.recordings)
        return Standing.UNKNOWN if call_id is None else await self._standings(call_id, uuid)

    def _absolute(self, name: str) -> str:
        return name if name.startswith("/") else str(self.policy.spool / name)

    async def _leg(self, uuid: str) -> Leg | None:
        with contextlib.suppress(ChannelGone):
            return await self._switch.leg(uuid)
        return None

    def _exemption(self, leg: Leg, application: str) -> Exemption | None:
        return self.policy.exemption(leg.name, leg.context, leg.line, application)

    # --- telling -----------------------------------------------------------------------------------------------------

    def _let_be(self, exemption: Exemption, leg: Leg, path: str, way: str) -> None:
        if self._once(leg.uuid, way, path):
            self._reports.exempted(Exempted(way, exemption.basis, exemption.reason, leg.context, leg.uuid))

    async def _watched(self, uuid: str, path: str, way: str, since: float, found: str) -> None:
        """Mode ``watch``: told, once, and let run."""
        if not self._once(uuid, way, path):
            return
        leg = await self._leg(uuid) if uuid else None
        context, seconds = "" if leg is None else leg.context, time.monotonic() - since
        self._reports.incident(Incident(way, "watch", 0, False, seconds, context, uuid, found=found))

    async def _tell(
        self,
        uuid: str,
        way: str,
        stops: Stops,
        since: float,
        found: str,
        files: list[str],
        *,
        leg: Leg | None = None,
        lawful_ended: bool = False,
    ) -> None:
        seconds = time.monotonic() - since
        if leg is None and uuid and not stops.gone:
            with contextlib.suppress(EventSocketError):
                leg = await self._leg(uuid)
        kept = await asyncio.to_thread(self._keep, files) if stops.confirmed else ()
        self._reports.incident(
            Incident(
                way=way,
                mode="enforce",
                stopped=stops.stopped,
                confirmed=stops.confirmed,
                seconds=seconds,
                context="" if leg is None else leg.context,
                channel_uniqueid=uuid,
                files=kept,
                problem=stops.problem,
                found=found,
                lawful_ended=lawful_ended,
            )
        )

    def _keep(self, files: list[str]) -> tuple[Kept, ...]:
        """Blocking."""
        return self.policy.keep([written for file in files for written in written_for(file)])

    # --- everything --------------------------------------------------------------------------------------------------

    async def _connected(self) -> None:
        self._found.clear()
        self._writing.clear()  # what ended meanwhile was told to nobody; what goes on is found by the round

    async def _send_beat(self, beat: str) -> None:
        await self._link.beat(variables.BEAT_EVENT, variables.BEAT, beat)

    def _hints_of(self, channel: str) -> Iterable[Hint]:
        return (Hint(Kind.RECORDER, channel), Hint(Kind.APPLICATION, channel))

    async def _hints_beside(self) -> Iterable[Hint]:
        return [Hint(Kind.CONFERENCE, name) for name in await self._switch.conferences()]

    async def _is_gone(self, channel: str) -> bool:
        """One may be too new for the list."""
        try:
            await self._switch.recorders(channel)
        except ChannelGone:
            return True
        return False
