"""The guard of Asterisk: what its events hint at, how each way of recording is asked about and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from ivr_consent.core.errors import ManagerError
from ivr_consent.logs import get_logger
from ivr_consent.pbx.asterisk import variables
from ivr_consent.pbx.asterisk.guard import ways
from ivr_consent.pbx.asterisk.guard.asking import Running, Switch, id_of
from ivr_consent.pbx.asterisk.guard.moving import move_on
from ivr_consent.pbx.asterisk.guard.scope import Scope
from ivr_consent.pbx.asterisk.guard.ways import Hint, Kind, hint_of
from ivr_consent.pbx.asterisk.manager import Event, ManagerLink
from ivr_consent.pbx.asterisk.rights import NEEDED_ACTIONS
from ivr_consent.pbx.asterisk.stopping import hang_up, stop_conference, stop_monitor, stop_one, stop_recorders
from ivr_consent.pbx.incidents import Exempted, Incident
from ivr_consent.pbx.policy import Exemption, OpenFor, Policy, Reports, Standings, Stops
from ivr_consent.pbx.watching import HEARTBEAT_S, REMEMBERED, ChannelGone, Watch
from ivr_consent.store.granted import Standing

EVENTS: Final = "call,dialplan,agi"
"""Classes of the manager's events that the guard hears."""

TELL_WITHIN_S: Final = 1.0
"""So long the telling of an incident waits for recordings that are still to be stopped."""

TELL_PAUSE_S: Final = 0.005

MAX_FILES: Final = 16
"""Files that the newest recorders of a channel write, remembered for the look at the switch's open files."""

log = get_logger()

SCOPE_EVENTS: Final = ("BridgeEnter", "BridgeLeave", "MusicOnHoldStart", "MusicOnHoldStop")


class Guard(Watch[Hint]):
    """Watches one switch through a manager link of its own, until :meth:`stop`."""

    LINK_DOWN = "manager_link_down"
    EVENTS_MISSING = "manager_events_missing"
    EVENTS_LATE = "manager_events_late"
    UNANSWERED = ManagerError

    _link: ManagerLink
    _switch: Switch
    scope: Scope

    def __init__(
        self, link: ManagerLink, policy: Policy, standings: Standings, reports: Reports, open_for: OpenFor
    ) -> None:
        super().__init__(link, Switch(link), policy)
        self._standings, self._reports, self._open_for = standings, reports, open_for
        self._files: OrderedDict[str, list[str]] = OrderedDict()
        self._to_tell: deque[tuple[float, Callable[[], Awaitable[None]]]] = deque()
        self._more_to_tell = asyncio.Event()
        self._has_monitor = False
        self._rights: frozenset[str] = frozenset()
        """What the manager user may not do, and has to."""
        self._rights_told: frozenset[str] = frozenset()
        self.scope = Scope(self._switch, reports, self._stands, policy.agents)

    async def start(self) -> None:
        """Begin to watch, in the background."""
        for name in ("MixMonitorStart", "MonitorStart", "VarSet", "ConfbridgeRecord", "Newexten", "AGIExecStart"):
            self._link.on(name, self._hear)
        self._link.on("ChanSpyStart", self._hear)
        for name in SCOPE_EVENTS:
            self._link.on(name, self._hear_scope)
        self._link.only(ways.is_wanted)
        self._begin_to_watch(self._tell_later())
        await self._link.start()

    async def stop(self) -> None:
        """End; nothing on the switch is changed."""
        await super().stop()
        while self._to_tell:
            await self._guarded(self._to_tell.popleft()[1]())
        await self._link.close()

    # --- hints -------------------------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        if event.name == "VarSet" and event.headers.get("Variable") == ways.HEARTBEAT:
            self._heard_beat(event.headers.one("Value") or "")
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
            self._take(self._scope_hint(channel))

    def _scope_hint(self, channel: str) -> Hint:
        return Hint(Kind.SCOPE, channel)

    async def _stands(self, call_id: str, uniqueid: str) -> bool:
        return await self._standings(call_id, uniqueid) is Standing.OPEN

    def _remember(self, channel: str, file: str) -> None:
        files = self._files.setdefault(channel, [])
        if file not in files:
            files.append(file)
            del files[:-MAX_FILES]
        self._files.move_to_end(channel)
        while len(self._files) > REMEMBERED:
            self._files.popitem(last=False)

    async def _look(self, hint: Hint, since: float, found: str) -> None:
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
                    self._take(self._scope_hint(one))
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
        named = self._told_to_write(channel, path)
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
        elif path and standing is Standing.UNKNOWN and not stops.gone and found == "event":
            self._tell_later_of(lambda: self._has_recorded(channel, path, since))

    async def _has_recorded(self, channel: str, path: str, since: float) -> None:
        """It began and ended before anybody looked: nothing was left to be stopped. The file alone proves it."""
        files = await self._closed_since(frozenset((self._absolute(path),)), since)
        if not files or not self._once(channel, "ended", path):
            return
        stops = Stops(0, confirmed=True, gone=False, seconds=0.0)
        await self._incident(channel, "", "MixMonitor", stops, time.monotonic() - since, "ended", files, False, None)

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
        if found != "event" and not stops.stopped and not stops.confirmed and not self._link.up:
            return  # nothing is known to have recorded, and nothing to run on: all is asked again when the link is back
        seconds = time.monotonic() - since

        async def tell() -> None:
            await self._incident(channel, uniqueid, way, stops, seconds, found, files, lawful_ended, context)

        self._tell_later_of(tell)

    def _tell_later_of(self, tell: Callable[[], Awaitable[None]]) -> None:
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

    async def _learn(self) -> None:
        # Asterisk takes manager connections before its modules are loaded: what is missing may be there a moment later.
        commands = await self._switch.commands()
        self._has_monitor = "StopMonitor" in commands
        before, self._rights = self._rights, NEEDED_ACTIONS - commands
        if not self._rights:
            self._rights_told = self._rights
        elif self._rights == before and self._rights != self._rights_told:
            self._rights_told = self._rights
            remedy = "write = call in manager.conf (see: ivr-consent check), manager reload, and restart the service"
            log.error("guard_rights_missing", actions=sorted(self._rights), remedy=remedy)

    def _unable(self) -> str | None:
        return "manager_rights_missing" if self._rights else None

    async def _send_beat(self, beat: str) -> None:
        await self._link.action("Setvar", {"Variable": ways.HEARTBEAT, "Value": beat})

    def _hints_of(self, channel: str) -> Iterable[Hint]:
        yield Hint(Kind.MIXMONITOR, channel)
        if self._has_monitor:
            yield Hint(Kind.MONITOR, channel)
        yield Hint(Kind.APPLICATION, channel)

    async def _hints_beside(self) -> Iterable[Hint]:
        """Conferences that record have no list: where all are forbidden, all are stopped."""
        if self.policy.enforce and not any(one.application in (None, "confbridge") for one in self.policy.exemptions):
            return (Hint(Kind.CONFERENCE, ""),)
        return ()


def _written_within(name: str, seconds: float) -> bool:
    try:
        return time.time() - Path(name).lstat().st_mtime <= seconds
    except OSError:
        return False
