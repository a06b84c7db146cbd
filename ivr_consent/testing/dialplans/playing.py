"""Calls through a site's own dialplan on an Asterisk of the rig, side by side, on every way in.

On each way somebody calls first who says nothing. Where that call comes to a menu of the site's own, others follow who
choose; where it comes to the gate, others who say yes, say no, hang up in the notice, and call while our server is
down. What is dialled is the site's; the server behind the gate is ours, with prompts of half a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ivr_consent.config import Line, Settings
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConfigurationError, ConsentError
from ivr_consent.core.flow import Plan
from ivr_consent.pbx.asterisk.audit import judge
from ivr_consent.pbx.asterisk.audit.dialplan import Dialplan
from ivr_consent.pbx.asterisk.audit.patterns import pattern
from ivr_consent.pbx.asterisk.audit.site import Site, survey
from ivr_consent.pbx.asterisk.dialplan import INCLUDE_FILE, LINES_FILE, render_include, render_lines
from ivr_consent.pbx.asterisk.manager import Event
from ivr_consent.pbx.asterisk.rights import KEYS_ALONE
from ivr_consent.pbx.asterisk.server import Server
from ivr_consent.pbx.audit.library import Library
from ivr_consent.side_asterisk import ManagerPresses
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.dialplans import copied
from ivr_consent.testing.dialplans.call import RECORDER_EVENTS, RIG, SERVING, Caller, Executed, Says, Seen
from ivr_consent.testing.dialplans.ways import Untried, WayIn, numbers, ways_in
from ivr_consent.testing.drivers.asterisk import LINK_S, answering_channel, include_settings, linked
from ivr_consent.testing.drivers.exchange import HOST, POLL_S, serving
from ivr_consent.testing.drivers.short import TELEPHONE, ShortSite
from ivr_consent.testing.drivers.simulated import log_aside
from ivr_consent.testing.drivers.telephone import CALLER_HZ, RECORDED_HZ, dial
from ivr_consent.testing.drivers.watch import Watch
from ivr_consent.testing.eye import DirectoryWatch
from ivr_consent.testing.phone import Call, Phone
from ivr_consent.testing.rig import Instance, RigUnavailable, Version, fetch
from ivr_consent.testing.scenario import Wire
from ivr_consent.testing.tiny import SAMPLES_PER_MS

ANSWERING: Final = "answering"
"""The extension of the rig at which every telephone of the site answers."""

CALLER: Final = "+4512345678"
TALK_S: Final = 1.0
"""How long a caller talks with whom was reached: a recorder that somebody starts then is seen."""

NOBODY_S: Final = 60.0
UNANSWERED_S: Final = 20.0
"""A caller to whom nothing happens for so long hangs up; in a queue or while it rings, for so long."""

CALL_S: Final = 180.0
"""And after so long in any case."""

EARLY_S: Final = 0.5
"""An event may be told so much before the step that caused it."""

KEY_AFTER_S: Final = 0.3
"""A caller presses so long after a menu has begun."""

PROMPT_MS: Final = 1_000
"""How long a prompt of the site's own is."""

DEPTH: Final = 3
"""Menus behind each other in which callers choose."""

PATIENCE: Final = 3
"""Menus that a caller without a key sits through: what a menu does of itself may lead on too."""

MOST_CALLS: Final = 1_000
"""Calls of one run."""

CLASSES: Final = "dialplan,call,agi,user"
"""Classes of the manager's events that are looked at."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be called: the site's files, and how. ``at`` is a time as ``2026-11-23 10:00``, for GotoIfTime."""

    directory: Path
    version: Version = "22"
    contexts: tuple[str, ...] = ()
    telephones: tuple[str, ...] = ()
    at: str = ""
    jobs: int = 32
    settings: Settings | None = None


@dataclass(slots=True)
class Played:
    """Every call as it was seen, and what the run could not do."""

    dialplan: Dialplan
    ways: list[WayIn]
    calls: list[Seen] = field(default_factory=list)
    cuts: list[copied.Cut] = field(default_factory=list)
    untried: list[Untried] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    """Files that something else than our recorder wrote."""
    failed: list[tuple[Caller, str]] = field(default_factory=list)
    """Calls that could not be placed, and why."""
    moved: str = ""
    """What stands before absolute paths of the site's in the copy."""
    left: int = 0
    """Calls that were not placed because there were too many."""
    without_notice: list[str] = field(default_factory=list)
    """Lines whose own notice could not be used."""


Tell = Callable[[str], None]
Done = Callable[[Seen, int], None]
"""Gets each call as it ends, with how many are still to come."""


def play(wanted: Wanted, tell: Tell, done: Done) -> Played:
    """Call on every way. Raises :class:`ConsentError` where there is no dialplan, or no Asterisk to be had."""
    library = copied.library_of(wanted.directory)
    site = survey(library)
    dialplan, _ = judge.load(library, site)
    ways, untried = ways_in(dialplan, site, wanted.contexts)
    played = Played(dialplan, ways, untried=untried)
    try:
        asyncio.run(_Run(wanted, library, site, played, tell, done).run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None  # told to end: nothing is left behind then either
    return played


class _AnyLine(Mapping[str, Plan]):
    """Plans of the configured lines; without a configuration, of a usual line by whatever name."""

    def __init__(self, plans: Mapping[str, Plan], usual: Plan | None) -> None:
        self._plans, self._usual = plans, usual

    def __getitem__(self, name: str) -> Plan:
        if self._usual is not None:
            return self._plans.get(name, self._usual)
        return self._plans[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plans)

    def __len__(self) -> int:
        return len(self._plans)


class _Run:
    """One run: an Asterisk with the site's dialplan, our server, and the calls."""

    def __init__(self, wanted: Wanted, library: Library, site: Site, played: Played, tell: Tell, done: Done) -> None:
        self.wanted, self.library, self.site, self.played = wanted, library, site, played
        self.tell, self.done = tell, done
        self.calls: dict[str, Seen] = {}
        self.early: dict[str, list[Event]] = {}
        """Events of calls whose caller is not known yet, by the id that all channels of a call share."""
        self.conferences: list[Event] = []
        """Recordings of conferences that began, whoever was in them."""
        self.waiting = self.placed = 0
        self.tried: set[tuple[str, str, int, str, bool]] = set()
        """Keys that were pressed: at which step, and whether behind the gate."""
        self.watch = Watch()

    async def run(self) -> None:
        """Set up, call, take down."""
        async with contextlib.AsyncExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivr-consent-")))
            short = self._lines(directory)
            loop = asyncio.get_running_loop()

            def dispatch(callbacks: list[Callable[[], None]]) -> None:
                for callback in callbacks:
                    loop.call_soon_threadsafe(callback)

            ledger = Ledger(stack.enter_context(log_aside()), dispatch=dispatch)
            stack.push_async_callback(asyncio.to_thread, ledger.close)
            recordings = short.lines.recordings
            eye = stack.enter_context(DirectoryWatch(recordings))
            (directory / "files").mkdir()
            _sounds(self.played.dialplan, directory / "files", absolute=True)
            files = stack.enter_context(DirectoryWatch(directory / "files"))
            pbx = await self._asterisk(stack, copied.Ends("", recordings, directory / "files"))
            _sounds(self.played.dialplan, pbx.sounds, absolute=False)
            spool = stack.enter_context(DirectoryWatch(pbx.directory / "spool"))
            keys = await linked(stack, pbx, "ivr-consent", self.secret, "dtmf")
            self.link = await linked(stack, pbx, "watch", self.secret, CLASSES)
            for name in ("Newexten", "AGIExecStart", "BridgeEnter", "Hangup", *RECORDER_EVENTS):
                self.link.on(name, self._happened)
            server = Server(short.lines, ledger, presses=ManagerPresses(keys), observe=self.watch.observe)
            self.server: Server = server
            async with serving(server):
                await self._load(pbx, short, server.port, directory / "files")
                self.phone = await stack.enter_async_context(Phone((HOST, pbx.sip_port), tone=CALLER_HZ))
                self.short, self.eye = short, eye
                await self._calls([Caller(way, "", Says.NOTHING) for way in self.played.ways])
            # The server is down now: nothing listens at the address that the gate calls.
            asked = [seen.caller for seen in self.played.calls if seen.asked and seen.caller.says is Says.NOTHING]
            await self._calls([Caller(caller.way, caller.keys, Says.NO_SERVICE) for caller in asked])
            self.played.strangers = sorted({*_audio(spool.created), *_audio(files.created)})

    # --- setting up --------------------------------------------------------------------------------------------------

    def _lines(self, directory: Path) -> ShortSite:
        """The lines of the configuration with short prompts."""
        short = ShortSite(directory, TELEPHONE)
        settings = self.wanted.settings
        for name, line in settings.lines.items() if settings is not None else ():
            try:
                short.add_line(name, line)
            except ConfigurationError:
                self.played.without_notice.append(name)
                keys = {"keys": line.keys, "repeats": line.repeats}
                short.add_line(name, Line().model_copy(update=keys))
        plans = short.plans()
        short.lines.plans = _AnyLine(plans, None)
        if settings is None:
            short.add_line("usual", Line())
            short.lines.plans = _AnyLine(plans, short.plans()["usual"])
        return short

    async def _asterisk(self, stack: contextlib.AsyncExitStack, ends: copied.Ends) -> Instance:
        telephones = list(dict.fromkeys([*copied.telephones(self.library), *self.wanted.telephones]))
        for name in telephones:
            if not copied.is_telephone(name):
                raise ConsentError(f"{name!r} cannot be the name of a telephone here; give the endpoint's name alone")
        others = copied.copied(self.library, ends, copied.OTHER_FILES)
        self.played.cuts += others.cuts
        version = self.wanted.version
        try:
            await asyncio.to_thread(fetch, version, progress=self.tell)
            pbx = Instance(
                version,
                context=RIG,
                files=others.files | {"pjsip.conf": copied.telephones_config(telephones, ANSWERING)},
                modules=copied.LOADED,
                without=copied.NOT_LOADED,
            )
            self.secret = secrets.token_hex(16)
            pbx.add_manager("ivr-consent", self.secret, read=",".join(KEYS_ALONE.read), write="")
            pbx.add_manager("watch", self.secret, read=CLASSES, write="command,reporting,call")
            return await stack.enter_async_context(pbx)
        except (RigUnavailable, RuntimeError) as error:
            raise ConsentError(f"there is no Asterisk {version} to be had here: {error}") from None

    async def _load(self, pbx: Instance, short: ShortSite, port: int, files: Path) -> None:
        """The site's dialplan, now that the address of our server is known."""
        ends = copied.Ends(f"agi://{HOST}:{port}/", short.lines.recordings, files)
        copy = copied.copied(self.library, ends, copied.DIALPLAN_FILES)
        self.played.cuts += copy.cuts
        self.played.moved = str(files)
        settings = include_settings(short, port, self.wanted.settings)
        ours = {INCLUDE_FILE: render_include(settings), LINES_FILE: render_lines(settings)}
        for name, text in (ours | copy.files).items():
            pbx.write_config(name, text)
        main = copied.COPIED_AS["extensions.conf"]
        head = f'#include "{main}"\n' if main in copy.files else ""
        await pbx.reload_dialplan(head + self._ingress())
        for module in copied.LATE:
            await pbx.cli(f"module load {module}.so")

    def _ingress(self) -> str:
        """An extension for each way: what the rig does before the site's dialplan begins."""
        at = self.wanted.at.replace("-", "/")
        lines = [f"\n[{RIG}]"]
        for number, way in enumerate(self.played.ways):
            lines.append(f"exten => way{number},1,Set(GLOBAL(SCENARIO_${{CHANNEL(pjsip,call-id)}})=${{UNIQUEID}})")
            lines.append(f" same => n,Set(CALLERID(dnid)={way.dialled})")
            if at:
                lines.append(f" same => n,Set(TESTTIME()={at}:00)")
            lines.append(f" same => n,Goto({way.context},{way.dialled},1)")
        lines += [f"exten => {ANSWERING},1,Answer()", f" same => n,Playtones({RECORDED_HZ})", " same => n,Wait(3600)"]
        return "\n".join(lines) + "\n"

    # --- calling -----------------------------------------------------------------------------------------------------

    async def _calls(self, callers: Sequence[Caller]) -> None:
        """These calls and all that follow from them."""
        room = asyncio.Semaphore(self.wanted.jobs)
        async with asyncio.TaskGroup() as group:

            def place(callers: Iterable[Caller]) -> None:
                for caller in callers:
                    if self.placed >= MOST_CALLS:
                        self.played.left += 1
                        continue
                    self.placed += 1
                    self.waiting += 1
                    group.create_task(one(caller))

            async def one(caller: Caller) -> None:
                async with room:
                    try:
                        seen = await self._call(caller, place)
                    except (ConsentError, TimeoutError, RuntimeError) as error:
                        self.played.failed.append((caller, str(error) or "it did not begin in time"))
                        self.waiting -= 1
                        return
                self.waiting -= 1
                self.played.calls.append(seen)
                self.done(seen, self.waiting)

            place(callers)

    def _following(self, seen: Seen) -> Iterator[list[Caller]]:
        """Who calls next on the same way, as soon as that is known: others at its menu, others at the gate."""
        caller = seen.caller
        if caller.says is not Says.NOTHING:
            return
        chosen = len(caller.keys) == DEPTH
        asked = False
        while not (chosen and asked):
            found: list[Caller] = []
            if not chosen and len(seen.menus) > len(caller.keys):
                chosen = True
                found += [Caller(caller.way, caller.keys + key, Says.NOTHING) for key in self._untried(seen)]
            if not asked and seen.asked:
                asked = True
                found += [Caller(caller.way, caller.keys, says) for says in (Says.YES, Says.NO, Says.HANGS_UP)]
            yield found

    def _untried(self, seen: Seen) -> Iterator[str]:
        """Keys that nobody has pressed yet at the first menu for which this caller had none.

        Whoever was asked before counts for themselves: what a key leads to is judged by that.
        """
        menu = seen.menus[len(seen.caller.keys)]
        asked = seen.gate_at is not None and seen.gate_at < menu.at
        for key in self._choices(menu):
            choice = (menu.context, menu.extension, menu.priority, key, asked)
            if choice not in self.tried:
                self.tried.add(choice)
                yield key

    def _choices(self, menu: Executed) -> str:
        """Keys that lead somewhere from a menu."""
        if menu.application == "read":
            return "1234567890"
        found: set[str] = set()
        for extension in self.played.dialplan.dialled_in(menu.context):
            if len(extension.name) == 1 and extension.name in "0123456789*#":
                found.add(extension.name)
            elif extension.pattern is not None and len(extension.pattern.places) == 1 and not extension.pattern.tail:
                found.update(extension.pattern.places[0] & frozenset("0123456789*#"))
        return "".join(sorted(found))

    async def _call(self, caller: Caller, place: Callable[[Iterable[Caller]], None]) -> Seen:
        """One call, from its first step to what the server writes of it last."""
        number = caller.way.caller
        wanted = pattern(number) if number else None
        if wanted is not None:
            number = next(numbers(wanted), CALLER)
        phone = await dial(self.phone, f"way{self.played.ways.index(caller.way)}", Wire(number=number or CALLER))
        uniqueid = await answering_channel(self.link, phone)
        seen = self.calls[uniqueid] = Seen(caller, uniqueid)
        for event in self.early.pop(uniqueid, []):
            seen.happened(event)
        acting = asyncio.create_task(self._act(seen, phone))
        following = self._following(seen)
        try:
            await self._until_nothing_more(seen, phone, lambda: place(next(following, ())))
        finally:
            acting.cancel()
            failed = await asyncio.gather(acting, return_exceptions=True)
            seen.cut_off = (seen.over is not None or not phone.alive) and phone.ended_by != "us"
            await phone.hang_up()
        for error in failed:
            if isinstance(error, Exception):
                raise ConsentError(f"the caller could not go on: {error}") from None
        await self._settled(seen)
        place(next(following, ()))
        return seen

    async def _until_nothing_more(self, seen: Seen, phone: Call, look: Callable[[], None]) -> None:
        """Until the caller has talked with somebody, or is gone, or nothing happens any more."""
        began = time.monotonic()
        while phone.alive and seen.over is None:
            look()
            last = max((seen.steps[-1].at if seen.steps else began), seen.commands[-1][0] if seen.commands else began)
            talking = seen.partners and time.monotonic() - last > TALK_S
            served = bool(seen.steps) and seen.steps[-1].application in SERVING
            stuck = (
                time.monotonic() - last > (UNANSWERED_S if served else NOBODY_S) or time.monotonic() - began > CALL_S
            )
            circling = len(seen.menus) > len(seen.caller.keys) + PATIENCE
            if talking or stuck or circling:
                return
            await asyncio.sleep(POLL_S * 10)  # a call that goes on is not told of by anything

    async def _act(self, seen: Seen, phone: Call) -> None:
        """What the caller does: a key at each of the site's menus, and at the gate what was chosen."""
        keys = list(seen.caller.keys)
        menus = answered = 0
        while True:
            if menus < len(seen.menus) and keys:
                menus += 1
                await asyncio.sleep(KEY_AFTER_S)  # the caller's own pace
                key = keys.pop(0)
                if not seen.asked:  # or it would be an answer at the gate
                    await phone.press(key)
            heard = seen.heard
            windows = [word for _, word in heard if word.startswith("window")]
            says = seen.caller.says
            if says is Says.HANGS_UP and any(word.startswith("play") for _, word in heard):
                await asyncio.sleep(KEY_AFTER_S)  # likewise: in the middle of the first prompt
                await phone.hang_up()
                return
            if says in (Says.YES, Says.NO) and answered < len(windows) and phone.up:
                answered = len(windows)
                plan = self.short.lines.plans.get(seen.line)
                if plan is not None:
                    await asyncio.sleep(KEY_AFTER_S)  # and well inside of the window
                    await phone.press(plan.keys.yes if says is Says.YES else plan.keys.no)
            await asyncio.sleep(POLL_S * 2)

    async def _settled(self, seen: Seen) -> None:
        """What the server wrote of the call, once it writes no more."""
        async with asyncio.timeout(LINK_S):
            while seen.over is None or self._served(seen):  # noqa: ASYNC110 - a server tells nobody that one is over
                await asyncio.sleep(POLL_S)
        for event in self.conferences:
            here = (step.at for step in seen.steps if step.application == "confbridge")
            names = {step.data.partition(",")[0] for step in seen.steps if step.application == "confbridge"}
            if event.headers.get("Conference") in names and min(here) - EARLY_S <= event.arrived <= seen.over:
                seen.happened(event)
        noted = self.watch.of(seen.uniqueid)
        if noted is None:
            return
        decided = [word.partition(" ")[2] for _, word in noted.events if word.startswith("decide")]
        seen.outcome = decided[-1] if decided else Outcome.FAILED.value
        seen.recorded = any(word == "record" for _, word in noted.events)
        seen.files = sum(name.startswith(noted.call_id) for name in self.eye.created)

    def _served(self, seen: Seen) -> bool:
        return any(one.uniqueid == seen.uniqueid for one in self.server.calls)

    def _happened(self, event: Event) -> None:
        linked = event.headers.get("Linkedid", "")
        if event.name == "ConfbridgeRecord":  # of a conference, and no channel's
            self.conferences.append(event)
            return
        known = self.calls.get(linked)
        if known is not None:
            known.happened(event)
        elif linked:
            self.early.setdefault(linked, []).append(event)


def _sounds(dialplan: Dialplan, directory: Path, *, absolute: bool) -> None:
    """Silence for the prompts of the site's own that the rig does not have."""
    for name in copied.sounds(dialplan):
        path = directory / name.lstrip("/")
        if name.startswith("/") == absolute and not list(path.parent.glob(f"{path.name}.*")):
            path.parent.mkdir(parents=True, exist_ok=True)
            Path(f"{path}.ulaw").write_bytes(b"\xff" * (PROMPT_MS * SAMPLES_PER_MS))


def _audio(created: Sequence[str]) -> list[str]:
    """Files among what was created, by their names; a directory is none, and a mark of ours is none."""
    return [name for name in created if not name.endswith("/")]
