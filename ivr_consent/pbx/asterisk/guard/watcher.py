"""The guard itself: it hears hints, asks the switch what is so, and stops what has no grant.

It remembers nothing that an event could make it forget: each time it asks anew what records on a channel, and by which
grant. What it cannot hear of (a link that was down, a start before its own) it finds in its rounds over all channels.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ivr_consent.core.errors import ConsentError, ManagerError
from ivr_consent.logs import get_logger
from ivr_consent.pbx.asterisk import variables
from ivr_consent.pbx.asterisk.guard import ways
from ivr_consent.pbx.asterisk.guard.asking import ChannelGone, Running, Switch, id_of
from ivr_consent.pbx.asterisk.guard.moving import move_on
from ivr_consent.pbx.asterisk.guard.scope import Scope
from ivr_consent.pbx.asterisk.guard.ways import Hint, Kind, hint_of
from ivr_consent.pbx.asterisk.manager import Event, ManagerLink
from ivr_consent.pbx.asterisk.rights import NEEDED_ACTIONS
from ivr_consent.pbx.asterisk.stopping import hang_up, stop_conference, stop_monitor, stop_one, stop_recorders
from ivr_consent.pbx.incidents import Exempted, Incident
from ivr_consent.pbx.policy import Exemption, OpenFor, Policy, Reports, Standings, Stops
from ivr_consent.store.granted import Standing

MAX_WAITING: Final = 5000
"""Hints that wait; more, and the guard asks for everything instead."""

AT_ONCE: Final = 16
"""Hints looked into at the same time."""

TELL_WITHIN_S: Final = 1.0
"""So long the telling of an incident waits for recordings that are still to be stopped."""

TELL_PAUSE_S: Final = 0.005

BEHIND_S: Final = 2.0
"""A hint that waited so long, or a heartbeat that was not heard of within this time: the guard is behind, so blind."""

HEARTBEAT_S: Final = 1.0
"""How often it sees whether it still hears everything."""

FILES_REMEMBERED: Final = 4096
"""Channels whose newest recorders' files are remembered, for the look at the switch's open files."""

MAX_FILES: Final = 16
"""Such files of one channel."""

log = get_logger()

SCOPE_EVENTS: Final = ("BridgeEnter", "BridgeLeave", "MusicOnHoldStart", "MusicOnHoldStop")


@dataclass(slots=True)
class _Turn:
    """Who looks into a channel, and who waits to."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Guard:
    """Watches one switch through a manager link of its own, until :meth:`stop`."""

    def __init__(
        self, link: ManagerLink, policy: Policy, standings: Standings, reports: Reports, open_for: OpenFor
    ) -> None:
        self.policy = policy
        self._link, self._switch = link, Switch(link)
        self._standings, self._reports, self._open_for = standings, reports, open_for
        self._waiting: OrderedDict[tuple[Kind, str], tuple[Hint, float]] = OrderedDict()
        self._files: OrderedDict[str, list[str]] = OrderedDict()
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._turns: dict[str, _Turn] = {}
        """Of each channel that is being looked into: never twice at once, or the second would stop one too many."""
        self._to_tell: deque[tuple[float, Callable[[], Awaitable[None]]]] = deque()
        self._more_to_tell = asyncio.Event()
        self._more = asyncio.Event()
        self._everything = asyncio.Event()
        self._has_monitor = False
        self._seen_all = False
        self._rights: frozenset[str] = frozenset()
        self._asked = 0
        """The connection on which everything was asked."""
        self._said: str | None = "not_started"
        self._beat = ""
        self._beat_at = self._beat_heard = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self.scope = Scope(self._switch, reports, self._stands, policy.agents)

    # --- whether it sees ---------------------------------------------------------------------------------------------

    @property
    def blind(self) -> str | None:
        """Why it does not see all that records at this moment; ``None`` when it does."""
        if not self._link.up:
            return "manager_link_down"
        if self._rights:
            return "manager_rights_missing"
        if not self._seen_all or self._link.connections != self._asked:
            return "switch_not_asked_yet"
        now = time.monotonic()
        if self._beat and now - self._beat_at > BEHIND_S:
            return "manager_events_missing" if not self._beat_heard else "manager_events_late"
        oldest = next(iter(self._waiting.values()), None)
        if oldest is not None and now - oldest[1] > BEHIND_S:
            return "guard_overloaded"
        return None

    # --- start and end -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to watch, in the background."""
        for name in ("MixMonitorStart", "MonitorStart", "VarSet", "ConfbridgeRecord", "Newexten", "AGIExecStart"):
            self._link.on(name, self._hear)
        self._link.on("ChanSpyStart", self._hear)
        for name in SCOPE_EVENTS:
            self._link.on(name, self._hear_scope)
        self._link.only(ways.is_wanted)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()) for _ in range(AT_ONCE)]
        more = (self._watch_link(), self._rounds(), self._tell_later())
        self._tasks += [loop.create_task(work) for work in more]
        await self._link.start()

    async def stop(self) -> None:
        """End; nothing on the switch is changed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._to_tell:
            await self._guarded(self._to_tell.popleft()[1]())
        await self._link.close()

    # --- hints -------------------------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        if event.name == "VarSet" and event.headers.get("Variable") == ways.HEARTBEAT:
            if self._beat and event.headers.one("Value") == self._beat:
                self._beat, self._beat_heard = "", time.monotonic()
            return
        hint = hint_of(event)
        if hint is not None:
            if event.name == "VarSet":
                # The recorder is not there yet: to stop the newest one now would be to stop the one before it.
                self._remember(hint.channel, hint.detail)
            else:
                self._take(hint)

    def _hear_scope(self, event: Event) -> None:
        for channel in self.scope.hear(event):
            self._take(Hint(Kind.SCOPE, channel))

    async def _stands(self, call_id: str, uniqueid: str) -> bool:
        return await self._standings(call_id, uniqueid) is Standing.OPEN

    def _take(self, hint: Hint) -> None:
        key = (hint.kind, hint.channel)
        if key in self._waiting:
            return  # it is asked anew anyway
        if len(self._waiting) >= MAX_WAITING:
            self._everything.set()
            return
        self._waiting[key] = (hint, time.monotonic())
        self._more.set()

    def _remember(self, channel: str, file: str) -> None:
        files = self._files.setdefault(channel, [])
        if file not in files:
            files.append(file)
            del files[:-MAX_FILES]
        self._files.move_to_end(channel)
        while len(self._files) > FILES_REMEMBERED:
            self._files.popitem(last=False)

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            (_, (hint, since)) = self._waiting.popitem(last=False)
            await self._guarded(self._look_into(hint, since, "event"))

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except ChannelGone:
            return
        except ManagerError:
            self._everything.set()  # asked again, for everything, as soon as the switch answers
        except ConsentError as error:
            log.error("guard_failed", problem=str(error))
            self._everything.set()
        except Exception:  # the root of a task: one channel's trouble must not end the guard
            log.exception("guard_failed")
            self._everything.set()

    async def _look_into(self, hint: Hint, since: float, found: str) -> None:
        turn = self._turns.setdefault(hint.channel, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                match hint.kind:
                    case Kind.MIXMONITOR:
                        await self._mixmonitor(hint.channel, since, found)
                    case Kind.MONITOR:
                        await self._monitor(hint.channel, since, found)
                    case Kind.CONFERENCE:
                        await self._conference(hint.channel, since, found)
                    case Kind.APPLICATION:
                        await self._application(hint.channel, since, found)
                    case Kind.AGI_FILE:
                        await self._agi_file(hint, since, found)
                    case Kind.SCOPE:
                        await self.scope.look(hint.channel)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[hint.channel]

    # --- the ways ----------------------------------------------------------------------------------------------------

    async def _mixmonitor(self, channel: str, since: float, found: str) -> None:
        # No more than is needed before the stop, and all of it at once: each round trip is a part of somebody's voice.
        path, handle = await self._switch.variables(channel, "MIXMONITOR_FILENAME", variables.MIXMONITOR)
        if not path and found == "round":
            return
        standing, ours, uniqueid = Standing.UNKNOWN, None, ""
        if handle or id_of(path, self.policy.recordings) is not None:
            uniqueid = await self._switch.uniqueid(channel)
            standing = await self._standing_of(path, uniqueid)
            ours = await self._switch.ours(channel, handle, self.policy.recordings)
            if ours is not None and await self._standings(ours.call_id, uniqueid) is not Standing.OPEN:
                ours = None
        if ours is not None:
            if self.scope.follow(channel, uniqueid, ours):
                # Consent may be given in a bridge: who is in it was told before.
                for one in (channel, *self.scope.others(channel)):
                    self._take(Hint(Kind.SCOPE, one))
        else:
            self.scope.forget(channel)
        if standing is Standing.OPEN and (ours is None or str(ours.path) == path):
            return  # the newest recorder here is ours, and may run
        exemption = await self._exemption(channel, "mixmonitor")
        if exemption is not None:
            await self._let_be(exemption, channel, await self._switch.uniqueid(channel), path, "MixMonitor")
            return
        if not self.policy.enforce:
            uniqueid = await self._switch.uniqueid(channel)
            await self._watched(channel, uniqueid, path, "MixMonitor", since, found)
            return
        if ours is not None and found != "event" and await self._has_ended(path):
            return  # or it is just about to begin: then its event is on its way, and the next round comes
        named = self._named(channel, path)
        true = frozenset(self._absolute(name) for name in (path,) if path and standing is Standing.UNKNOWN)
        if ours is None:
            stops = await stop_recorders(self._link, channel)
            lawful_ended = False
        else:
            # A name like ours may be of anybody; what a lawful recorder writes is open by right.
            beside = self._told_to_write(channel, path) - self.scope.files()
            stops, lawful_ended = await self._stop_others(channel, ours, handle, beside)
        over = standing is Standing.OVER
        if (stops.stopped and not over) or stops.problem:
            files = true | (await self._closed_since(named, since) if stops.stopped > 1 else frozenset())
            await self._tell(channel, uniqueid, "MixMonitor", stops, since, found, files, lawful_ended)
        elif stops.stopped:
            log.warning("recording_over_stopped", confirmed=stops.confirmed)

    async def _stop_others(self, channel: str, ours: Running, handle: str, named: frozenset[str]) -> tuple[Stops, bool]:
        """Stop the newest recorders until none but ours is left, as far as the switch's open files tell."""
        began, stopped = time.monotonic(), 0
        while True:
            one = await stop_one(self._link, channel)
            stopped += one.stopped
            running = await self._switch.ours(channel, handle, self.policy.recordings)
            seconds = time.monotonic() - began
            if one.problem or running != ours:
                # The one stopped was ours: what was another's is older, or there was none. All of it ends.
                rest = await stop_recorders(self._link, channel)
                stops = Stops(stopped + rest.stopped, rest.confirmed, rest.gone, seconds, rest.problem)
                return stops, running != ours and not rest.gone
            await self._set_newest(channel, ours)
            open_now = await self._open_for(named) if named else frozenset()
            if open_now is None or not open_now:
                return Stops(stopped, True, False, seconds), False

    async def _has_ended(self, path: str) -> bool:
        """Whether nobody writes a recorder's file any more, as far as can be seen."""
        open_now = await self._open_for(frozenset({self._absolute(path)}))
        return open_now is not None and not open_now

    async def _set_newest(self, channel: str, ours: Running) -> None:
        """From here on the variable tells again whether the newest recorder is ours."""
        values = {"Channel": channel, "Variable": "MIXMONITOR_FILENAME", "Value": str(ours.path)}
        await self._link.action("Setvar", values)

    async def _monitor(self, channel: str, since: float, found: str) -> None:
        """Asterisk up to 20: one Monitor on a channel, and its variable says that it runs."""
        if not self._has_monitor:
            return
        uniqueid = await self._switch.uniqueid(channel)
        running = await self._switch.variable(channel, "MONITORED")
        if not running and found == "round":
            return
        exemption = await self._exemption(channel, "monitor")
        if exemption is not None:
            await self._let_be(exemption, channel, uniqueid, "", "Monitor")
            return
        if not self.policy.enforce:
            await self._watched(channel, uniqueid, "", "Monitor", since, found)
            return
        before = await self._open_for(frozenset())
        stops = await stop_monitor(self._link, channel)
        if await self._switch.variable(channel, "MONITORED"):
            stops = dataclasses.replace(stops, confirmed=False, problem="the channel is still being monitored")
        if running or not stops.confirmed:
            after = await self._open_for(frozenset())
            files = frozenset() if before is None or after is None else before - after
            await self._tell(channel, uniqueid, "Monitor", stops, since, found, files, False)

    async def _conference(self, conference: str, since: float, found: str) -> None:
        """ConfBridge records on a channel of its own, ``CBRec/NAME-…``, that no list shows and that can be hung up."""
        exemption = self.policy.exemption(f"CBRec/{conference}", "", "", "confbridge")
        if exemption is not None:
            await self._let_be(exemption, f"CBRec/{conference}", conference, "", "ConfBridge")
            return
        if not self.policy.enforce:
            if found == "event":
                await self._watched(f"CBRec/{conference}", "", "", "ConfBridge", since, found)
            return
        before = await self._open_for(frozenset())
        stops = await stop_conference(self._link, conference)
        if stops.stopped or not stops.confirmed:
            after = await self._open_for(frozenset())
            files = frozenset() if before is None or after is None else before - after
            files = frozenset(file for file in files if Path(file).name.startswith("confbridge-") or len(files) == 1)
            await self._tell("", "", "ConfBridge", stops, since, found, files, False)

    async def _application(self, channel: str, since: float, found: str) -> None:
        """Applications that record while they are executed, and show it by nothing else."""
        name, data = await self._switch.application(channel)
        if not ways.records(name, data):
            return
        if name in ways.DIALLING_APPLICATIONS and found != "event":
            return  # the caller's name was recorded when it began: by now they are talking, and it would cut them off
        uniqueid = await self._switch.uniqueid(channel)
        exemption = await self._exemption(channel, name)
        if exemption is not None:
            await self._let_be(exemption, channel, uniqueid, "", name)
            return
        if not self.policy.enforce:
            await self._watched(channel, uniqueid, "", name, since, found)
            return
        context = await self._switch.variable(channel, "CONTEXT")
        before = await self._open_for(frozenset())
        if name in ways.SPYING_APPLICATIONS:
            stops = await hang_up(self._link, channel)
        else:
            stops = await move_on(self._switch, channel, name)
        after = await self._open_for(frozenset())
        files = frozenset() if before is None or after is None else before - after
        await self._tell(channel, uniqueid, name, stops, since, found, files, False, context)

    async def _agi_file(self, hint: Hint, since: float, found: str) -> None:
        """``RECORD FILE`` cannot be asked for: the switch's open files are the witness."""
        name, _ = await self._switch.application(hint.channel)
        if "agi" not in name:
            return
        files = await self._open_for(frozenset())
        writes = frozenset(file for file in files or () if file.endswith(hint.detail.lstrip("./")))
        uniqueid = await self._switch.uniqueid(hint.channel)
        if files is not None and not writes:
            return  # forged, or over
        exemption = await self._exemption(hint.channel, "agi")
        if exemption is not None:
            await self._let_be(exemption, hint.channel, uniqueid, hint.detail, "AGI RECORD FILE")
            return
        if not self.policy.enforce or files is None:
            await self._watched(hint.channel, uniqueid, "", "AGI RECORD FILE", since, found)
            return
        context = await self._switch.variable(hint.channel, "CONTEXT")
        stops = await move_on(self._switch, hint.channel, name)
        await self._tell(hint.channel, uniqueid, "AGI RECORD FILE", stops, since, found, writes, False, context)

    # --- what it knows of a recording --------------------------------------------------------------------------------

    async def _standing_of(self, path: str, uniqueid: str) -> Standing:
        call_id = id_of(path, self.policy.recordings)
        return Standing.UNKNOWN if call_id is None else await self._standings(call_id, uniqueid)

    def _named(self, channel: str, path: str) -> frozenset[str]:
        """Of the files that recorders of a channel were told to write those that are not named like ours."""
        found = self._told_to_write(channel, path)
        return frozenset(name for name in found if id_of(name, self.policy.recordings) is None)

    def _told_to_write(self, channel: str, path: str) -> frozenset[str]:
        """The files that recorders of a channel were told to write, absolute."""
        return frozenset(self._absolute(name) for name in (*self._files.get(channel, ()), path) if name)

    def _absolute(self, name: str) -> str:
        return name if name.startswith("/") else str(self.policy.spool / "monitor" / name)

    async def _closed_since(self, named: frozenset[str], since: float) -> frozenset[str]:
        """Of files that events named: those that were written just now, and that nobody writes any more.

        A caller may have forged a name: that moves no file that another call writes, and no old one.
        """
        open_now = await self._open_for(named)
        if open_now is None:
            return frozenset()
        age = time.monotonic() - since + HEARTBEAT_S
        return frozenset(name for name in named - open_now if _written_within(name, age))

    async def _exemption(self, channel: str, application: str) -> Exemption | None:
        if not self.policy.exemptions:
            return None
        context = await self._switch.variable(channel, "CONTEXT")
        line = await self._switch.variable(channel, variables.LINE)
        return self.policy.exemption(channel, context, line, application)

    # --- telling -----------------------------------------------------------------------------------------------------

    def _once(self, *what: str) -> bool:
        """Whether this was not told yet."""
        key = (what[0], what[1], what[2])
        if key in self._told:
            return False
        self._told[key] = None
        while len(self._told) > FILES_REMEMBERED:
            self._told.popitem(last=False)
        return True

    async def _let_be(self, exemption: Exemption, channel: str, uniqueid: str, path: str, way: str) -> None:
        if not self._once(uniqueid or channel, way, path):
            return
        context = "" if channel.startswith("CBRec/") else await self._switch.variable(channel, "CONTEXT")
        self._reports.exempted(Exempted(way, exemption.basis, exemption.reason, context, uniqueid))

    async def _watched(self, channel: str, uniqueid: str, path: str, way: str, since: float, found: str) -> None:
        """Mode ``watch``: told, once, and let run. A file that is closed belongs to a recorder that has ended."""
        if path:
            open_now = await self._open_for(frozenset({path}))
            if open_now is not None and not open_now and found != "event":
                return
        if not self._once(uniqueid or channel, way, path):
            return
        context = "" if channel.startswith("CBRec/") else await self._switch.variable(channel, "CONTEXT")
        seconds = time.monotonic() - since
        self._reports.incident(Incident(way, "watch", 0, False, seconds, context, uniqueid, found=found))

    async def _tell(
        self,
        channel: str,
        uniqueid: str,
        way: str,
        stops: Stops,
        since: float,
        found: str,
        files: frozenset[str],
        lawful_ended: bool,
        context: str | None = None,
    ) -> None:
        seconds = time.monotonic() - since

        async def tell() -> None:
            await self._incident(channel, uniqueid, way, stops, seconds, found, files, lawful_ended, context)

        self._to_tell.append((time.monotonic(), tell))
        self._more_to_tell.set()

    async def _tell_later(self) -> None:
        """What was found is told when nothing waits to be stopped: asking more, and moving files, takes its time."""
        while True:
            while not self._to_tell:
                self._more_to_tell.clear()
                await self._more_to_tell.wait()
            since, tell = self._to_tell[0]
            while (self._waiting or self._turns) and time.monotonic() - since < TELL_WITHIN_S:  # noqa: ASYNC110 - bounded
                await asyncio.sleep(TELL_PAUSE_S)
            await self._guarded(tell())
            self._to_tell.popleft()  # not before: one that is cut off here is told by stop()

    async def _incident(
        self,
        channel: str,
        uniqueid: str,
        way: str,
        stops: Stops,
        seconds: float,
        found: str,
        files: frozenset[str],
        lawful_ended: bool,
        context: str | None,
    ) -> None:
        if context is None:
            context = ""
            with contextlib.suppress(ChannelGone, ManagerError):  # it has hung up meanwhile
                uniqueid = uniqueid or (await self._switch.uniqueid(channel) if channel else "")
                context = await self._switch.variable(channel, "CONTEXT") if channel else ""
        kept = await asyncio.to_thread(self.policy.keep, files) if stops.confirmed else ()
        self._reports.incident(
            Incident(
                way=way,
                mode="enforce",
                stopped=stops.stopped,
                confirmed=stops.confirmed,
                seconds=seconds,
                context=context,
                channel_uniqueid=uniqueid,
                files=tuple(kept),
                problem=stops.problem,
                found=found,
                lawful_ended=lawful_ended,
            )
        )

    # --- everything --------------------------------------------------------------------------------------------------

    async def _watch_link(self) -> None:
        """Each time the link comes up: what may it do, and what runs? Then a heartbeat, to know that events come."""
        while True:
            try:
                if self._link.up and self._link.connections != self._asked:
                    await self._begin()
                if self._link.up and not self._beat:
                    self._beat, self._beat_at = secrets.token_hex(8), time.monotonic()
                    await self._link.action("Setvar", {"Variable": ways.HEARTBEAT, "Value": self._beat})
            except ManagerError as error:
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
        commands = await self._switch.commands()
        self._has_monitor = "StopMonitor" in commands
        self._rights = NEEDED_ACTIONS - commands
        if self._rights:
            remedy = "write = call in manager.conf (see: ivr-consent check), manager reload, and restart the service"
            log.error("guard_rights_missing", actions=sorted(self._rights), remedy=remedy)
        else:
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
            if self._link.up and self._link.connections == self._asked and not self._rights:
                await self._guarded(self._round("round"))
                await asyncio.sleep(HEARTBEAT_S)  # a flood of hints is not answered by a flood of rounds

    async def _round(self, found: str) -> None:
        """Ask about every channel there is. At the start every recorder without a grant is stopped, heard of or not."""
        channels = await self._switch.channels()
        since = time.monotonic()
        for gone in set(self.scope.all()) - set(channels):
            self.scope.forget(gone)
        waiting = asyncio.Semaphore(AT_ONCE)

        async def one(channel: str) -> None:
            async with waiting:
                await self._channel(channel, since, found)

        await asyncio.gather(*(one(channel) for channel in channels))
        await self._conference_round(since, found)
        self._seen_all = True

    async def _channel(self, channel: str, since: float, found: str) -> None:
        try:
            await self._look_into(Hint(Kind.MIXMONITOR, channel), since, found)
            if self._has_monitor:
                await self._look_into(Hint(Kind.MONITOR, channel), since, found)
            await self._look_into(Hint(Kind.APPLICATION, channel), since, found)
            if self.policy.enforce:
                await self._look_into(Hint(Kind.SCOPE, channel), since, found)
        except ChannelGone:
            return

    async def _conference_round(self, since: float, found: str) -> None:
        """Conferences that record have no list: where all are forbidden, all are stopped."""
        if self.policy.enforce and not any(one.application in (None, "confbridge") for one in self.policy.exemptions):
            await self._conference("", since, found)


def _written_within(name: str, seconds: float) -> bool:
    try:
        return time.time() - Path(name).lstat().st_mtime <= seconds
    except OSError:
        return False
