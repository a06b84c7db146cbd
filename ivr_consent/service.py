"""``ivr-consent serve``: the FastAGI server, the manager link, the log and the recordings' end, in one process.

Who watches it: systemd where its unit has a watchdog, else a parent process of our own. A worker that hangs is killed
and started anew within seconds; meanwhile the dialplan takes the calls to the unrecorded line.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

from ivr_consent import config, metrics, service_events
from ivr_consent.anchors.gather import anchors_of
from ivr_consent.anchors.publisher import Publisher, keeper
from ivr_consent.config import Settings
from ivr_consent.control import Control, socket_path
from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConfigurationError, ConsentError, LedgerError, Problem
from ivr_consent.logs import configure_logging, get_logger
from ivr_consent.pbx.conduct import Observer, Summary
from ivr_consent.pbx.serving import Server
from ivr_consent.side_asterisk import AsteriskSide
from ivr_consent.side_freeswitch import FreeswitchSide
from ivr_consent.site import LineState, Site, load_site, recheck
from ivr_consent.store import lifecycle, recordings, retention
from ivr_consent.store.anchored import reading
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.place import place_of
from ivr_consent.watch import FolderWatch

HEARTBEAT_S: Final = 1.0
"""The worker's event loop says this often that it turns."""

SILENCE_S: Final = 4.0
"""A worker silent for so long hangs: killed and started anew. Longer than any pause of a busy loop."""

SWEEP_S: Final = 30.0
"""How often recordings whose end nobody reported are looked for."""

EXPIRE_S: Final = 3600.0
"""How often recordings past their days are looked for."""

LAST_RECORDINGS_S: Final = 15.0
"""How long the end of the service waits for recordings that are being finished; the next start finishes the others."""

LAST_EVENT_S: Final = 5.0
"""How long the end of the service waits for its own event to be on disk."""

LAST_ANCHORS_S: Final = 5.0
"""How long it waits for the last checkpoint to be shown outside."""

RESTART_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before restarts in a row."""

DECIDED: Final = frozenset(outcome.value for outcome in Outcome)
"""Sessions that ended so were calls; others report the end of one, or a withdrawal."""

STEADY_S: Final = 60.0
"""A worker that ran this long begins the row anew."""

EXIT_CONFIGURATION: Final = 3
EXIT_LOG: Final = 5

log = get_logger()


class Service:
    """The worker's parts, from start to stop, inside a running event loop."""

    def __init__(self, settings: Settings, *, observe: Observer | None = None) -> None:
        self.settings = settings
        self.site: Site = load_site(settings)
        """As it was loaded; the server's ``lines`` are this site, less what has been found damaged since."""
        self._observe = observe
        self._metrics = metrics.Metrics()
        self._damaged: dict[str, LineState] = {}
        """Lines that were ready and are not asked on: a sound differs, or may differ since its folder changed."""
        self._barred: dict[str, LineState] = {}
        """Lines that the last reload found damaged otherwise: only another reload can tell that they are whole."""
        self._touched: set[Path | None] = set()
        """Folders in which something changed since they were last compared; ``None`` stands for all."""
        self._comparing = False
        self._reloading = asyncio.Lock()
        self._watch: FolderWatch | None = None
        self._control: Control | None = None
        self._ledger: Ledger | None = None
        self._publisher = Publisher(anchors_of(settings))
        self._told_in_force: Mapping[str, Any] | None = None
        """What the log was told last that is in force."""
        self._keeper: retention.Keeper | None = None
        self._side: AsteriskSide | FreeswitchSide | None = None
        self._server: Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._finishing: set[asyncio.Task[None]] = set()

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    async def start(self) -> None:
        """Open the log and the recordings' directory, connect, listen. Raises :class:`ConsentError` with a remedy."""
        loop = asyncio.get_running_loop()
        settings = self.settings
        recordings.prepare(self.site.recordings)

        def dispatch(callbacks: list[Callable[[], None]]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
                loop.call_soon_threadsafe(_call_all, callbacks)

        self._ledger = Ledger(place_of(settings), dispatch=dispatch, seals=True, published=self._publisher.published)
        await asyncio.to_thread(self._begin_log, self._ledger)
        kind = FreeswitchSide if settings.switch == "freeswitch" else AsteriskSide
        self._side = kind(settings, self._ledger, self.site.recordings, self._spawn, self._metrics.count)
        await self._side.start()
        self._server = self._side.server(
            self.site,
            allow=tuple(settings.server.allow),
            max_calls=settings.server.max_calls,
            finish=self._finish,
            withdraw=self._side.withdraw,
            observe=self._observe,
            blind=self._side.blind if settings.guard.required else _sees,
            ended=self._count_call,
        )
        self._watch = FolderWatch(self._changed)
        if self._watch.descriptor >= 0:
            loop.add_reader(self._watch.descriptor, self._watch.read)
        async with self._reloading:
            self._take_up(self.site, await self._once_more(self.site))
        await self._server.start(settings.server.listen, settings.server.port)
        self._ledger.tell(service_events.SERVER_STARTED, service_events.server_started(self._now()))
        self._tell_in_force()
        self._control = Control(socket_path(settings), self._answer)
        await self._control.start()
        self._spawn(self._sweep(), "sweep_failed")
        if settings.metrics is not None:
            path = settings.path(settings.metrics.file)
            self._spawn(metrics.keep(path, settings.metrics.seconds, self._figures), "metrics_not_written")

    def _count_call(self, summary: Summary) -> None:
        if summary.outcome in DECIDED:
            labels = {name: getattr(summary, name) for name in ("line", "outcome", "reason", "route")}
            self._metrics.count(metrics.CALLS, {**labels, "logged": "yes" if summary.logged else "no"})

    def _figures(self) -> str:
        assert self._side is not None
        ready = {name: bool(state.plans) for name, state in self._now().states.items()}
        blind = self._side.blind() is not None if self._side.guarded() else None
        return self._metrics.text(calls=len(self.server.calls), lines=ready, blind=blind)

    # --- what is in force --------------------------------------------------------------------------------------------

    async def reload(self) -> dict[str, Any]:
        """Read the configuration anew, and take the published versions into use, whole or not at all.

        A wrong configuration, and one with which a line that is ready now would not be, leaves the old in force. Calls
        under way keep what they have. The answer is for the command line: ``ok``, ``problems``, ``lines``.
        """
        async with self._reloading:
            self._hear()
            touched, self._touched = self._touched, set()  # all is read below
            before = self.site
            try:
                return await self._reload()
            finally:
                if self.site is before:
                    self._touched |= touched  # still to be compared

    async def _reload(self) -> dict[str, Any]:
        try:
            settings = await asyncio.to_thread(config.load, self.settings.source)
            site = await asyncio.to_thread(load_site, settings)
        except ConsentError as error:
            return self._refuse(error.problems if isinstance(error, ConfigurationError) else (_problem(error),))
        for part in ("switch", "server", "manager", "event_socket", "log", "recordings", "guard", "metrics"):
            if getattr(settings, part) != getattr(self.settings, part):
                remedy = "restart it: systemctl restart ivr-consent"
                return self._refuse((Problem(f"[{part}]", "has changed; that needs a restart", remedy),))
        late = await self._once_more(site)
        states = (site.with_states(late)).states.values()
        damaged = [state for state in states if state.damaged and self._ready(state.name)]
        # What is on disk is not what was published: a line may not go on with what it has in memory either.
        self._barred = {state.name: state for state in damaged if not self._in_force(state)}
        self._damaged |= {state.name: state for state in damaged if self._in_force(state)}
        lost = [state for state in states if state.problems and not state.damaged and self._ready(state.name)]
        if lost or damaged:
            self._show()
            return self._refuse(tuple(problem for state in (*damaged, *lost) for problem in state.problems))
        self._take_up(site, late)
        self._tell_in_force()
        log.info("reloaded", lines=len(site.states), configuration=site.configuration_sha256[:16])
        problems = [problem for state in states for problem in state.problems]
        return {"ok": True, "problems": [problem.plain() for problem in problems], "lines": self._lines()}

    def reload_soon(self) -> None:
        """Reload on a signal: what came of it is in the log."""
        self._spawn(self.reload(), "reload_refused")

    def _ready(self, line: str) -> bool:
        state = self.site.states.get(line)
        return state is not None and bool(state.plans)

    def _in_force(self, state: LineState) -> bool:
        """Whether it is a state of the very version that is in force."""
        now = self.site.states[state.name].manifest
        return state.manifest is not None and now is not None and state.manifest.sha256 == now.sha256

    def _refuse(self, problems: tuple[Problem, ...]) -> dict[str, Any]:
        for problem in problems:
            log.error("reload_refused", problem=str(problem))
        return {"ok": False, "problems": [problem.plain() for problem in problems], "lines": self._lines()}

    def _lines(self) -> dict[str, Any]:
        states = self._now().states
        return {name: {"ready": bool(state.plans), "version": state.version} for name, state in states.items()}

    def _now(self) -> Site:
        """What the next call sees."""
        lines = self.server.lines
        assert isinstance(lines, Site)
        return lines

    async def _once_more(self, site: Site) -> list[LineState]:
        """The lines of a site that have been damaged since it was read.

        Read again now that the kernel tells: a byte may have changed before its folder was watched.
        """
        self._watch_folders(self.site, site)
        ready = [state for state in site.states.values() if state.plans]
        return [state for state in await asyncio.to_thread(recheck, site.settings, ready) if state.damaged]

    def _take_up(self, site: Site, damaged: Iterable[LineState]) -> None:
        """Let a site be in force from the next call on, without the lines that have been damaged since it was read."""
        self._hear()
        self.settings, self.site = site.settings, site
        self._barred = {}
        self._damaged = {state.name: state for state in damaged}
        for folder in tuple(self._touched):
            self._changed(folder)
        self._show()
        for problem in site.problems():
            log.warning("line_not_ready", problem=str(problem))
        for state in self._damaged.values():
            self._say_damaged(state)

    def _show(self) -> None:
        """Let the next call see what is in force."""
        if self._server is not None:
            self._server.lines = self.site.with_states((*self._damaged.values(), *self._barred.values()))

    def _say_damaged(self, state: LineState) -> None:
        for problem in state.problems:
            log.error("line_damaged", line=state.name, problem=str(problem))

    def _watch_folders(self, *sites: Site) -> None:
        if self._watch is not None:
            self._watch.set({folder for site in sites for state in site.states.values() for folder in state.folders})

    def _hear(self) -> None:
        """What the kernel has to tell, now rather than in a moment."""
        if self._watch is not None and self._watch.descriptor >= 0:
            self._watch.read()

    def _changed(self, folder: Path | None) -> None:
        """Something changed where published sounds are: its lines go unrecorded until every byte has been compared."""
        self._touched.add(folder)
        suspects = [
            state
            for state in self.site.states.values()
            if state.plans and state.name not in self._damaged and (folder is None or folder in state.folders)
        ]
        for state in suspects:
            found = "a published sound has changed on disk"
            problem = Problem(f"line {state.name}", found, "see the next lines of this log")
            self._damaged[state.name] = dataclasses.replace(state, plans={}, problems=(problem,), damaged=True)
        if suspects:
            self._show()
        if not self._comparing:  # one that waits its turn looks at this folder too
            self._comparing = True
            self._spawn(self._compare(), "sweep_failed")

    async def _compare(self, *, everything: bool = False) -> None:
        """Compare lines with their manifests, and let go on with what is whole: those that were touched, or all."""
        async with self._reloading:
            site = self.site
            self._comparing = False
            self._watch_folders(site)  # before the comparison: what changes from here on is told of
            touched, self._touched = self._touched, set()
            states = [
                state
                for state in site.states.values()
                if state.plans and (everything or None in touched or not touched.isdisjoint(state.folders))
            ]
            compared = await asyncio.to_thread(recheck, site.settings, states)
            self._hear()  # what has changed meanwhile
            for state in compared:
                before = self._damaged.get(state.name)
                if state.damaged:
                    self._damaged[state.name] = state
                    if before is None or before.problems != state.problems:
                        self._say_damaged(state)
                elif before is not None and None not in self._touched and self._touched.isdisjoint(state.folders):
                    del self._damaged[state.name]
                    log.info("line_whole_again", line=state.name)
            self._show()

    async def _answer(self, question: str) -> dict[str, Any]:
        """What the command line asks of the running service."""
        if question == "reload":
            return await self.reload()
        if question == "status":
            return {"ok": True, "problems": [], "lines": self._lines()}
        unknown = Problem("the service", "does not know this question", "restart it after an update")
        return {"ok": False, "problems": [unknown.plain()]}

    # --- what the log is told of it ----------------------------------------------------------------------------------

    def _begin_log(self, ledger: Ledger) -> None:
        """Blocking. A log that cannot be read just now is no reason to leave callers without the service."""
        try:
            with reading(ledger.place) as diary:
                self._publisher.start(keeper(ledger), diary)
        except LedgerError as error:
            log.error("log_not_read", problem=str(error))
            self._publisher.start(keeper(ledger), None)
        try:
            with ledger.reader() as reader:
                self._told_in_force = service_events.last_in_force(reader)
        except LedgerError as error:
            log.error("log_not_read", problem=str(error))

    def _tell_in_force(self) -> None:
        """Where that has changed since the log was told."""
        assert self._ledger is not None
        details = service_events.configuration_published(self._now())
        if details != self._told_in_force:
            self._ledger.tell(service_events.CONFIGURATION_PUBLISHED, details)
            self._told_in_force = details

    def _end_log(self, ledger: Ledger, reason: str, calls_cut: int) -> None:
        """Blocking, with deadlines: the last event, a checkpoint over it, that one shown outside, and closed."""
        details = service_events.server_stopped(reason, calls_cut)
        ledger.tell_now(service_events.SERVER_STOPPED, details, timeout=LAST_EVENT_S)
        with contextlib.suppress(LedgerError):  # closing the log tries again, and tells
            ledger.seal()
        self._publisher.close(LAST_ANCHORS_S)
        ledger.close()

    # --- the end -----------------------------------------------------------------------------------------------------

    async def stop(self, drain_s: float, reason: str = "stopped") -> None:
        """Let calls under way finish, then close everything. ``reason``: for the log."""
        if self._control is not None:
            await self._control.stop()
        left = await self.server.stop(drain_s)
        if left:
            log.warning("calls_cut_off", count=left, remedy="raise server.drain_seconds")
        if self._keeper is not None:
            self._keeper.stop()
        if self._side is not None:
            await self._side.stop_guard()
        if self._finishing:  # a thread cannot be stopped, and what it writes belongs before the last event
            await asyncio.wait(self._finishing, timeout=LAST_RECORDINGS_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._watch is not None and self._watch.descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._watch.descriptor)
            self._watch.close()
        if self._side is not None:
            await self._side.stop()
        if self._ledger is not None:
            await asyncio.to_thread(self._end_log, self._ledger, reason, left)

    async def _withdraw_marked(self) -> None:
        assert self._side is not None
        try:
            await self._side.withdraw_marked()
        except Exception:  # one round of something that must go on for ever
            log.exception("sweep_failed")

    def _finish(self, recording_id: str, *, empty: bool = False) -> None:
        assert self._ledger is not None
        finishing = asyncio.to_thread(
            lifecycle.finish_ended, self._ledger, self.site.recordings, recording_id, empty=empty
        )
        task = self._spawn(finishing, "recording_not_finished")
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _sweep(self) -> None:
        assert self._ledger is not None
        compared = time.monotonic()
        expired = compared - EXPIRE_S
        self._keeper = retention.Keeper(self._ledger, self.settings.log.retention)
        while True:
            busy = {call.call_id for call in self.server.calls if call.call_id is not None}
            await self._withdraw_marked()
            await self._guarded(lifecycle.sweep, self._ledger, self.site.recordings, busy)
            await self._guarded(lifecycle.erase_leftovers, self._ledger, self.site.recordings)
            if time.monotonic() - expired > EXPIRE_S:
                expired = time.monotonic()
                await self._guarded(lifecycle.expire, self._ledger, self.site.recordings)
            await self._guarded(self._keeper.round, self.site.pseudonyms)
            await asyncio.sleep(SWEEP_S)
            # Where the kernel does not tell of every change, and while a line is out, every round; else in case it
            # could not see one.
            told = self._watch is not None and self._watch.complete and not self._damaged
            if not told or time.monotonic() - compared > EXPIRE_S:
                compared = time.monotonic()
                try:
                    await self._compare(everything=True)
                except Exception:  # as below
                    log.exception("sweep_failed")

    async def _guarded(self, work: Callable[..., object], *arguments: object) -> None:
        """One round of something that must go on for ever: whatever is wrong with it, the next round comes."""
        try:
            await asyncio.to_thread(work, *arguments)
        except Exception:  # the root of a task: a full disk now must not end the retention of years
            log.exception("sweep_failed")

    def _spawn(self, work: Coroutine[Any, Any, object], failed: str) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except Exception:  # the root of a task: the sweep tries again
                log.exception(failed)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            work.close()  # where the task was cancelled before it began

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(done)
        return task


def _problem(error: ConsentError) -> Problem:
    found, _, remedy = str(error).partition("; ")
    return Problem("the configuration", found, remedy or "correct it")


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:  # one call's failure is not another's
            log.exception("callback_failed")


def _sees() -> str | None:
    return None


# --- the worker ----------------------------------------------------------------------------------


async def _work(settings: Settings, heartbeat: int | None, parent: int | None) -> None:
    loop = asyncio.get_running_loop()
    service = Service(settings)
    await service.start()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGHUP, service.reload_soon)
    if parent is not None:
        # The parent's end of this pipe closes when it dies, however it dies: then nobody watches us any more.
        loop.add_reader(parent, os._exit, 1)
    server = settings.server
    log.info("listening", address=server.listen, port=server.port, lines=len(settings.lines))
    notify("READY=1")
    beats = loop.create_task(_beat(heartbeat))
    await stop.wait()
    notify("STOPPING=1")
    log.info("stopping", calls=len(service.server.calls))
    await service.stop(server.drain_seconds, "signal")
    beats.cancel()


async def _beat(heartbeat: int | None) -> None:
    while True:
        notify("WATCHDOG=1")
        if heartbeat is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(heartbeat, b".")
        await asyncio.sleep(HEARTBEAT_S)


def notify(message: str) -> None:
    """Tell systemd, where it asked to be told (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link, contextlib.suppress(OSError):
        link.connect("\0" + address[1:] if address.startswith("@") else address)
        link.send(message.encode())


def work(path: Path, heartbeat: int | None = None, parent: int | None = None) -> int:
    """Run the worker until SIGTERM. Exit code: 0, 3 wrong configuration, 5 log not usable, 1 anything else."""
    configure_logging()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the loop handles it: the configuration is being read anyway
    try:
        settings = config.load(path)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_work(settings, heartbeat, parent))
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"ivr-consent: {problem}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except LedgerError as error:
        print(f"ivr-consent: {error}", file=sys.stderr)
        return EXIT_LOG
    except ConsentError as error:
        print(f"ivr-consent: {error}", file=sys.stderr)
        return 1
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: half the CPU per call."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


# --- the parent ----------------------------------------------------------------------------------


def serve(path: Path) -> int:
    """Run the service until SIGTERM; under systemd's watchdog in this process, else watched by it."""
    return work(path) if "WATCHDOG_USEC" in os.environ else _Watch(path).run()


class _Watch:
    """Keeps one worker alive: restarts it when it dies or goes silent, passes signals on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._ready = False
        self._reload = False
        """Whether a reload was asked for before the worker could hear of it."""

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._pass_on)
        row = 0
        was_ready = False
        while True:
            began = time.monotonic()
            code, ready = self._one_life()
            was_ready = was_ready or ready
            if self._stopping or not was_ready:
                return code
            row = 0 if time.monotonic() - began > STEADY_S else min(row + 1, len(RESTART_S) - 1)
            with contextlib.suppress(OSError):
                print(f"ivr-consent: the worker ended (exit code {code}); restarting", file=sys.stderr)
            time.sleep(RESTART_S[row])

    def _one_life(self) -> tuple[int, bool]:
        """Run one worker; its exit code, and whether it was ever ready."""
        beats, beating = os.pipe()
        watched, watching = os.pipe()
        os.set_blocking(beating, False)
        command = [sys.executable, "-m", "ivr_consent.service", str(self._path), str(beating), str(watched)]
        self._worker = subprocess.Popen(command, pass_fds=(beating, watched))
        os.close(beating)
        os.close(watched)
        ready = self._ready = False
        try:
            if self._stopping:
                self._worker.terminate()
            while True:
                heard, _, _ = select.select([beats], [], [], SILENCE_S if ready else 30.0)
                if heard and os.read(beats, 64):
                    ready = self._ready = True
                    if self._reload:
                        self._reload = False
                        self._worker.send_signal(signal.SIGHUP)
                    continue
                if not heard:
                    self._worker.kill()
                return self._worker.wait(), ready
        finally:
            if self._worker.poll() is None:
                self._worker.kill()
                self._worker.wait()
            os.close(beats)
            os.close(watching)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        if number != signal.SIGHUP:
            self._stopping = True
        elif not self._ready:
            self._reload = True  # it may have read the configuration before that was changed
            return
        if self._worker is not None and self._worker.poll() is None:
            self._worker.send_signal(signal.SIGTERM if number == signal.SIGINT else number)


if __name__ == "__main__":
    raise SystemExit(work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
