"""The guard itself: it hears hints, asks the switch what is so, and stops what has no grant.

It remembers nothing that an event could make it forget: each time it asks anew what records on a channel, and by which
grant. What it cannot hear of (a link that was down, a start before its own) it finds in its rounds over all channels.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ivr_consent.core.errors import ConsentError, EventSocketError
from ivr_consent.logs import get_logger
from ivr_consent.pbx.freeswitch import variables, wire
from ivr_consent.pbx.freeswitch.guard.asking import RECORDER, ChannelGone, Leg, Switch, id_of, written_for
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

MAX_WAITING: Final = 5000
"""Hints that wait; more, and the guard asks for everything instead."""

AT_ONCE: Final = 16
"""Hints looked into at the same time."""

BEHIND_S: Final = 2.0
"""A hint that waited so long, or a heartbeat that was not heard of within this time: the guard is behind, so blind."""

HEARTBEAT_S: Final = 1.0
"""How often it sees whether it still hears everything."""

LISTED_S: Final = 0.1
"""How long after RECORD_START a recorder may take to be in its channel's list; no delay was ever seen."""

REMEMBERED: Final = 4096
"""Recordings of which it is remembered that they were told of, or that they began."""

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


Hint = tuple[Kind, str]
"""What it is about, and the channel or the conference."""


@dataclass(slots=True)
class _Turn:
    """Who looks into something, and who waits to."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Guard:
    """Watches one switch through its event socket, until :meth:`stop`.

    ``finished`` is told of a lawful recording that has ended, and whether its file is gone, being empty; ``withdrawn``
    of a withdrawal in a call: its id, and who pressed. Both by events, so as hints: whoever is told looks it up.
    """

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
        self.policy = policy
        self._link, self._switch = link, Switch(link)
        self._standings, self._reports, self._open_for = standings, reports, open_for
        self._finished, self._withdrawn = finished, withdrawn
        self._waiting: OrderedDict[Hint, float] = OrderedDict()
        self._turns: dict[Hint, _Turn] = {}
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._writing: OrderedDict[str, list[str]] = OrderedDict()
        """Files that applications write, by their channels, from RECORD_START to RECORD_STOP: one may run in another,
        and beside media bugs."""
        self._more = asyncio.Event()
        self._everything = asyncio.Event()
        self._seen_all = False
        self._asked = 0
        self._said: str | None = "not_started"
        self._beat = ""
        self._beat_at = self._beat_heard = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self.scope = Scope(self._switch, reports, self._stands, policy.agents)
        link.on_event = self._hear

    # --- whether it sees ---------------------------------------------------------------------------------------------

    @property
    def blind(self) -> str | None:
        """Why it does not see all that records at this moment (:data:`BLIND`); ``None`` when it does."""
        if not self._link.up:
            return "event_socket_down"
        if not self._seen_all or self._link.connections != self._asked:
            return "switch_not_asked_yet"
        now = time.monotonic()
        if self._beat and now - self._beat_at > BEHIND_S:
            return "switch_events_late" if self._beat_heard else "switch_events_missing"
        oldest = next(iter(self._waiting.values()), None)
        return "guard_overloaded" if oldest is not None and now - oldest > BEHIND_S else None

    # --- start and end -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to watch, in the background."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()) for _ in range(AT_ONCE)]
        self._tasks += [loop.create_task(work) for work in (self._watch_link(), self._rounds())]

    async def stop(self) -> None:
        """End; nothing on the switch is changed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- hints -------------------------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        uuid = event.get("Unique-ID")
        known = wire.UUID.fullmatch(uuid) is not None
        match event.name:
            case "RECORD_START" if known:
                self._scope_of(event)
                self._starting(uuid, event.get("Record-File-Path"))
            case "MEDIA_BUG_START" if known and event.get("Media-Bug-Function") == RECORDER:
                self._take((Kind.RECORDER, uuid))
            case "RECORD_STOP":
                self._scope_of(event)
                self._ended(uuid, event.get("Record-File-Path"), event.get("Record-Completion-Cause") == EMPTY)
            case "CUSTOM":
                self._hear_custom(event)
            case _ if event.name in SCOPE_EVENTS:
                self._scope_of(event)

    def _scope_of(self, event: Event) -> None:
        """Who talks with whom may have changed, or whether both have consented."""
        for channel in self.scope.hear(event):
            self._take((Kind.SCOPE, channel))

    def _hear_custom(self, event: Event) -> None:
        match event.get("Event-Subclass"):
            case variables.BEAT_EVENT:
                if self._beat and event.get(variables.BEAT) == self._beat:
                    self._beat, self._beat_heard = "", time.monotonic()
            case "conference::maintenance":
                if event.get("Action") == "start-recording":
                    self._take((Kind.CONFERENCE, event.get("Conference-Name")))
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
        self._take((Kind.RECORDER, uuid))

    def _ended(self, uuid: str, path: str, empty: bool) -> None:
        paths = self._writing.get(uuid, [])
        if path in paths:
            paths.remove(path)  # once: two may write the same file
        self._no_application(uuid, ())
        call_id = id_of(path, self.policy.recordings) if path else None
        if call_id is not None:
            self._finished(call_id, empty)

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

    def _take(self, hint: Hint) -> None:
        if hint in self._waiting:
            return  # it is asked anew anyway
        if len(self._waiting) >= MAX_WAITING:
            self._everything.set()
            return
        self._waiting[hint] = time.monotonic()
        self._more.set()

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            hint, since = self._waiting.popitem(last=False)
            await self._guarded(self._look_into(hint, since, "event"))

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except ChannelGone:
            return
        except EventSocketError:
            self._everything.set()  # asked again, for everything, as soon as the switch answers
        except ConsentError as error:
            log.error("guard_failed", problem=str(error))
            self._everything.set()
        except Exception:  # the root of a task: one channel's trouble must not end the guard
            log.exception("guard_failed")
            self._everything.set()

    async def _look_into(self, hint: Hint, since: float, found: str) -> None:
        """One look at a channel at a time: two would stop, and tell, one thing twice."""
        kind, name = hint
        turn = self._turns.setdefault(hint, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                match kind:
                    case Kind.RECORDER:
                        await self._recorders(name, since, found)
                    case Kind.APPLICATION:
                        await self._application(name, since, found)
                    case Kind.CONFERENCE:
                        await self._conference(name, since, found)
                    case Kind.SCOPE:
                        await self.scope.look(name)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[hint]

    # --- the ways ----------------------------------------------------------------------------------------------------

    async def _recorders(self, uuid: str, since: float, found: str) -> None:
        """``record_session`` and ``uuid_record``, by whatever started them: the channel has a list of them."""
        running = await self._switch.recorders(uuid)
        standings = {path: await self._standing_of(path, uuid) for path in running}
        lawful = [path for path, standing in standings.items() if standing is Standing.OPEN]
        for path in lawful:
            self.scope.follow(uuid, id_of(path, self.policy.recordings) or "", path)
            self._take((Kind.SCOPE, uuid))
        if not lawful:
            self.scope.forget(uuid)
        unlawful = [path for path in running if path not in lawful]
        self._no_application(uuid, running)  # media bugs: the channel's list tells of them from here on
        if found == "event" and uuid in self._writing:
            self._take((Kind.APPLICATION, uuid))
        if not unlawful:
            return
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
                await self._look_into((Kind.APPLICATION, uuid), since, "round")
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
            self._take((Kind.RECORDER, uuid))
            return
        if not paths:
            began = await self._began_before(leg, sure=found != "start")
            if not began:
                return
            paths, self._writing[uuid] = [began], [began]
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
        if not self.policy.enforce:
            await self._watched("", running[name], "conference", since, found)
            return
        stops = await stop_conference(self._switch, name)
        if stops.stopped or stops.problem:
            files = [self._absolute(running[name])] if running[name] else []
            await self._tell("", "conference", stops, since, found, files)

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

    def _once(self, *what: str) -> bool:
        """Whether this was not told yet."""
        key = (what[0], what[1], what[2])
        if key in self._told:
            return False
        self._told[key] = None
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return True

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

    async def _watch_link(self) -> None:
        """Each time the link comes up: what runs? Then a heartbeat, to know that events come."""
        while True:
            try:
                if self._link.up and self._link.connections != self._asked:
                    await self._begin()
                if self._link.up and not self._beat:
                    self._beat, self._beat_at = secrets.token_hex(8), time.monotonic()
                    await self._link.beat(variables.BEAT_EVENT, variables.BEAT, self._beat)
            except EventSocketError as error:
                self._asked = 0
                log.warning("guard_not_answered", problem=str(error))
            except Exception:  # the root of a task: it begins anew
                self._asked = 0
                log.exception("guard_failed")
            self._say_whether_it_sees()
            if self._link.up:
                await asyncio.sleep(HEARTBEAT_S)
            else:
                await self._link.wait_up(HEARTBEAT_S)

    async def _begin(self) -> None:
        """A new connection: events of before it are lost."""
        connection = self._link.connections
        self._seen_all, self._beat, self._beat_heard = False, "", 0.0
        self._writing.clear()  # what ended meanwhile was told to nobody; what goes on is found by the round
        await self._round("start")
        self._asked = connection

    def _say_whether_it_sees(self) -> None:
        blind = self.blind
        if blind != self._said:
            self._said = blind
            if blind is None:
                log.info("guard_watching", mode="enforce" if self.policy.enforce else "watch")
            else:
                log.warning("guard_blind", reason=blind)

    async def _rounds(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self.policy.round_s):
                    await self._everything.wait()
            except TimeoutError:
                pass
            self._everything.clear()
            if self._link.up and self._link.connections == self._asked:
                await self._guarded(self._round("round"))
                await asyncio.sleep(HEARTBEAT_S)  # a flood of hints is not answered by a flood of rounds

    async def _round(self, found: str) -> None:
        """Ask about every channel there is. At the start every recorder without a grant is stopped, heard of or not."""
        channels = await self._switch.channels()
        since = time.monotonic()
        for uuid in set(self.scope.all()) - set(channels):
            with contextlib.suppress(ChannelGone):
                await self._switch.recorders(uuid)
                continue  # too new for the list
            self.scope.forget(uuid)
        waiting = asyncio.Semaphore(AT_ONCE)

        async def one(uuid: str) -> None:
            async with waiting:
                with contextlib.suppress(ChannelGone):
                    await self._look_into((Kind.RECORDER, uuid), since, found)
                    await self._look_into((Kind.APPLICATION, uuid), since, found)
                    if self.policy.enforce:
                        await self._look_into((Kind.SCOPE, uuid), since, found)

        await asyncio.gather(*(one(uuid) for uuid in channels))
        for name in await self._switch.conferences():
            await self._look_into((Kind.CONFERENCE, name), since, found)
        self._seen_all = True
