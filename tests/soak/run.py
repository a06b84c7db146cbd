"""One soak: a real Asterisk, a real service, callers of sipp's, faults in between, and what all of them witnessed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.measure import rss_mib
from ivr_consent.language import Clues
from ivr_consent.site import load_site
from ivr_consent.store import lifecycle
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.eye import DirectoryWatch
from ivr_consent.testing.rig import Version, fetch
from ivr_consent.testing.sipp import TAG_HEADER, Sipp, Way, Who, fetch_sipp, raw_sockets
from tests.faults.disk import Disk, environment, library
from tests.live.support import DEADLINE_S, Site, site
from tests.soak.callers import Notice, draw
from tests.soak.evidence import Evidence, Planned, Sample
from tests.soak.faults import Faults
from tests.soak.reading import decisions, gate_calls, open_files, service_lines

NUMBER: Final = "soak"
DIALPLAN: Final = f"""
[from-sip]
exten => {NUMBER},1,Set(SOAK=${{FILTER(0-9a-z,${{PJSIP_HEADER(read,{TAG_HEADER})}})}})
 same => n,Set(CHANNEL(hangup_handler_push)=soak-over,s,1(${{SOAK}}))
 same => n,Log(NOTICE,SOAK enter ${{SOAK}} ${{UNIQUEID}})
 same => n,Gosub(ivr-consent,s,1(support))
 same => n,Set(TOLD=${{IVR_CONSENT_RESULT}} ${{IVR_CONSENT_REASON}} ${{IVR_CONSENT_ID}})
 same => n,Log(NOTICE,SOAK told ${{SOAK}} ${{UNIQUEID}} ${{TOLD}})
 same => n,GotoIf($["${{IVR_CONSENT_RESULT}}" = "granted"]?recorded,s,1)
 same => n,Goto(unrecorded,s,1)
[soak-over]
exten => s,1,Log(NOTICE,SOAK over ${{ARG1}} ${{UNIQUEID}} ${{IVR_CONSENT_ID}})
 same => n,Return()
"""
"""Asterisk's own log is the witness of who came to the gate, what they were told, and when they were gone."""

AUDIO: Final = frozenset({".wav", ".raw", ".sln", ".gsm", ".ulaw", ".alaw", ".g722", ".WAV"})

PATIENCE_S: Final = 60.0
"""For the last callers to hang up by themselves."""

SETTLE_S: Final = 60.0
QUIET_S: Final = 2.0
"""Without a call, before memory and descriptors are looked at."""

LEAST_GAP_S: Final = 8.0
"""Between two faults: callers who meet none are the ones who show that the line works."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for. ``rate``: new calls a second, on average."""

    minutes: float
    seed: int
    version: Version = "22"
    rate: float = 1.0
    faults: tuple[str, ...] = ()
    """These alone; none: all of them."""

    @property
    def seconds(self) -> float:
        return self.minutes * 60


@dataclass
class Soak:
    """One run. ``stop`` ends it early: what is there then is judged."""

    plan: Plan
    say: Say
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    planned: list[Planned] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    sipps: list[Sipp] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    striking: asyncio.Task[None] | None = None
    site: Site = field(init=False)
    faults: Faults = field(init=False)

    async def run(self, kept: Path) -> Evidence:
        """Play it; the files of the run are copied to ``kept``. Raises :class:`RigUnavailable`."""
        await asyncio.to_thread(fetch, self.plan.version, progress=self.say)
        await asyncio.to_thread(fetch_sipp, progress=self.say)
        async with site(self.plan.version, guard="required = true\n", dialplan=DIALPLAN, features=True) as here:
            self.site = here
            await here.watch.close()
            disk = await self._faulty_disk()
            self.faults = Faults(here, self._chance("faults"), disk)
            with DirectoryWatch(here.recordings) as eye:
                try:
                    before, opened = await self._idle()
                    began = time.time()
                    await self._play()
                    ended = time.time()
                    await self._calls_over()
                    after, still_open = await self._idle()
                    evidence = Evidence(began, ended, idle=(before, after), open_when_idle=(opened, still_open))
                    evidence.left = self._still_running()
                    evidence.stopped = await asyncio.to_thread(here.server.stop)
                except BaseException:
                    await asyncio.to_thread(self._keep, kept)  # a run that broke off is looked into
                    raise
                finally:
                    await asyncio.gather(*(one.stop() for one in self.sipps))
                self.say("settling what is open, and verifying the log")
                await asyncio.to_thread(self._settle)
                evidence.created = list(eye.created)
            await self._gather(evidence, kept)
        return evidence

    async def _faulty_disk(self) -> Disk | None:
        """Start the service anew with a disk that can fail, where there is a compiler."""
        here = self.site
        if shutil.which("cc") is None:
            self.say("no cc: no faults of the disk")
            return None
        control = here.home / "disk.control"
        disk = Disk(control)
        preload = await asyncio.to_thread(library, here.home)
        here.server.environment = environment(preload, control, here.home)
        await asyncio.to_thread(here.server.stop)
        since = here.server.log_path.stat().st_size
        await here.server.start()
        async with asyncio.timeout(DEADLINE_S):
            while b'"guard_watching"' not in here.server.log_path.read_bytes()[since:]:
                await asyncio.sleep(0.05)  # polling another process's output, with the deadline above
        return disk

    def _chance(self, what: str) -> random.Random:
        """Chance of its own for each, so that what one does moves nothing of another's."""
        return random.Random(f"{self.plan.seed} {what}")  # noqa: S311 - to be repeated by its seed

    # --- playing -----------------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        over = asyncio.create_task(self._until_over())
        parts = [asyncio.create_task(part()) for part in (self._call, self._sample)]
        striking = asyncio.create_task(self._strike())  # may have nothing to do before the end
        try:
            await asyncio.wait([over, *parts], return_when=asyncio.FIRST_COMPLETED)
            if striking.done() and striking.exception() is not None:
                raise RuntimeError("a fault could not be made") from striking.exception()
        finally:
            parts.append(striking)
            for task in (over, *parts):
                task.cancel()
            results = await asyncio.gather(over, *parts, return_exceptions=True)
            if self.striking is not None:
                await self.striking  # a switch that is down comes up again
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _until_over(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.plan.seconds):
                await self.stop.wait()

    async def _call(self) -> None:
        """A few callers of one behaviour, then a few of another, all over each other."""
        chance = self._chance("callers")
        notice = _notice(self.site)
        ways: tuple[Way, ...] = ("rfc4733", "info") if raw_sockets() else ("info",)
        while True:
            count = chance.choice((1, 1, 1, 2, 2, 3, 6))
            caller = draw(chance, notice, ways)
            who = []
            for number in range(len(self.planned), len(self.planned) + count):
                who.append(Who(caller.number.format(f"45{number:08}"), caller.name, f"c{number:06}"))
            server = ("127.0.0.1", self.site.pbx.sip_port)
            calls = Sipp(
                server, caller.steps, to=NUMBER, calls=count, rate=chance.choice((1.0, 3.0, 20.0)), who=who,
                way=caller.way, hangs_up=True,
            )  # fmt: skip  # rows that belong together
            self.sipps.append(calls)
            starting = asyncio.create_task(calls.start())
            self.planned += [Planned(one.tag, caller.kind, caller.expected) for one in who]
            await asyncio.shield(starting)  # also where the time is over meanwhile
            await self._forget_ended()
            await asyncio.sleep(chance.uniform(0.2, 1.8) * count / self.plan.rate)  # until the next caller rings

    async def _forget_ended(self) -> None:
        for one in [one for one in self.sipps if not one.running]:
            results = one.results
            if results.exit_code not in (0, 1):  # 1: of some call something else came than was to come
                self.broken.append(f"sipp ended with {results.exit_code}: {results.problems[-500:]}")
            self.failures.update(results.failures)
            self.sipps.remove(one)
            await one.stop()

    async def _strike(self) -> None:
        """Faults in a random order, each kind once before any comes again; none that ends the service in the end."""
        chance = self._chance("when")
        began = time.monotonic()
        gap = max(LEAST_GAP_S, min(self.plan.seconds / 24, 30.0))
        todo: list[str] = []
        await asyncio.sleep(gap)
        while True:
            ending = time.monotonic() - began < 0.45 * self.plan.seconds
            known = self.faults.kinds(ending=ending)
            known = {kind: known[kind] for kind in known if kind in self.plan.faults or not self.plan.faults}
            todo = [kind for kind in todo if kind in known] or chance.sample(list(known), len(known))
            if not todo:
                return
            self.striking = asyncio.create_task(self.faults.strike(todo.pop()))
            await asyncio.shield(self.striking)
            await asyncio.sleep(gap * chance.uniform(0.7, 1.3))  # callers without a fault

    async def _sample(self) -> None:
        every = min(max(self.plan.seconds / 240, 1.0), 5.0)
        told = began = time.monotonic()
        while True:
            if (sample := self._look()) is not None:
                self.samples.append(sample)
            if time.monotonic() - told >= 10:
                told = time.monotonic()
                self._tell(told - began)
            await asyncio.sleep(every)  # until the next sample

    def _tell(self, seconds: float) -> None:
        minutes, rest = divmod(round(seconds), 60)
        last = self.samples[-1] if self.samples else None
        memory = f", worker {last.rss:.1f} MiB, {last.descriptors} descriptors" if last else ""
        fault = f", {self.faults.now}" if self.faults.now else ""
        calls, up = len(self.planned), sum(one.results.up for one in self.sipps)
        self.say(f"{minutes:3}:{rest:02} of {self.plan.minutes:g} min: {calls} calls, {up} up{memory}{fault}")

    def _look(self) -> Sample | None:
        """A sample; ``None`` while there is no worker."""
        server = self.site.server
        if server.process is None:
            return None
        try:
            pid, watcher = server.worker(), server.process.pid
            return Sample(
                time.time(),
                pid,
                rss_mib(pid),
                _count(pid, "fd"),
                _count(pid, "task"),
                rss_mib(watcher),
                _count(watcher, "fd"),
                sum(one.results.up for one in self.sipps),
                len(self.planned),
                sum(path.stat().st_size for path in self.site.home.glob("decisions.db*")),
            )
        except (OSError, IndexError):  # it has just been killed
            return None

    async def _idle(self) -> tuple[Sample, dict[str, int]]:
        """A sample with nobody calling, and what the worker has open then."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                await asyncio.sleep(QUIET_S)
                if (sample := self._look()) is not None:
                    return sample, open_files(sample.pid)

    async def _calls_over(self) -> None:
        """Let the callers hang up; after a while, or when somebody wants an end, the switch does."""
        if not self.stop.is_set():
            self.say("waiting for the last callers")
        deadline = time.monotonic() + PATIENCE_S
        while any(one.running for one in self.sipps) and time.monotonic() < deadline and not self.stop.is_set():
            await asyncio.sleep(0.2)  # polling other processes, with the deadline above
        await self.site.pbx.cli("channel request hangup all")
        async with asyncio.timeout(DEADLINE_S):
            while "0 active channels" not in await self.site.pbx.cli("core show channels count"):
                await asyncio.sleep(0.2)  # polling another process, with the deadline above
        while any(one.running for one in self.sipps) and time.monotonic() < deadline + 5 and not self.stop.is_set():
            await asyncio.sleep(0.2)  # polling other processes, with the deadline above
        await self._forget_ended()

    def _still_running(self) -> list[str]:
        """Callers that never ended."""
        return [] if self.stop.is_set() else [f"sipp: {one.results}" for one in self.sipps if one.running]

    # --- what is there at the end ------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """What the service does an hour later, now: give died calls their decision, and end what was cut off."""
        ledger = Ledger(self.site.home / "decisions.db")
        young = lifecycle.YOUNG_S
        lifecycle.YOUNG_S = 0.0  # type: ignore[misc]  # nobody calls any more, so no grant waits for its recorder
        try:
            later = datetime.now(UTC) + 2 * lifecycle.DIED_AFTER
            lifecycle.decide_died(ledger, frozenset(), later)
            deadline = time.monotonic() + SETTLE_S
            while time.monotonic() < deadline:
                lifecycle.sweep(ledger, self.site.recordings, frozenset())
                with ledger.reader() as reader:
                    if not list(reader.unfinished_grants()):
                        break
                time.sleep(0.5)  # until the switch has closed the last file
            lifecycle.erase_leftovers(ledger, self.site.recordings)
        finally:
            lifecycle.YOUNG_S = young  # type: ignore[misc]  # as it was
            ledger.close()

    async def _gather(self, evidence: Evidence, kept: Path) -> None:
        here = self.site
        evidence.planned, evidence.samples, evidence.windows = self.planned, self.samples, self.faults.windows
        evidence.unhealed = self.faults.unhealed
        evidence.broken, evidence.failures = self.broken, dict(self.failures)
        logs = [path.read_text(errors="replace") for path in self.faults.logs] + [here.pbx.log]
        evidence.calls = [call for text in logs for call in gate_calls(text)]
        evidence.verified = await asyncio.to_thread(self._verify)
        evidence.log_bytes = (here.home / "decisions.db").stat().st_size
        evidence.decided, evidence.events = decisions(here.home / "decisions.db")
        evidence.files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(here.recordings.iterdir())
            if path.is_file()
        }
        spool = here.pbx.directory / "spool"
        stray = [path for path in spool.rglob("*") if path.suffix in AUDIO]
        stray += list((here.home / "quarantine").glob("*"))
        evidence.strays = [str(path) for path in stray]
        evidence.lines = service_lines(here.server.log)
        await asyncio.to_thread(self._keep, kept)

    def _verify(self) -> tuple[int, str]:
        command = [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(self.site.home / "ivr-consent.toml")]
        done = subprocess.run(
            [*command, "log", "verify"], capture_output=True, text=True, errors="replace", timeout=600, check=False
        )
        return done.returncode, (done.stdout + done.stderr).strip()[-1000:]

    def _keep(self, kept: Path) -> None:
        kept.mkdir(parents=True, exist_ok=True)
        for path in self.site.home.iterdir():
            if path.name.startswith(("decisions.", "asterisk-", "serve.log", "ivr-consent.toml")) and path.is_file():
                shutil.copy(path, kept)
        shutil.copytree(self.site.recordings, kept / "recordings", dirs_exist_ok=True)
        (kept / "asterisk.log").write_text(self.site.pbx.log, encoding="utf-8")


def _count(pid: int, what: str) -> int:
    return len(os.listdir(f"/proc/{pid}/{what}"))  # noqa: PTH208 - names alone, each second


def _notice(here: Site) -> Notice:
    """When the question of the line ``support`` has ended, and how long its window is."""
    plan = load_site(here.settings).plan("support", Clues())
    assert not isinstance(plan, str), plan
    notice = plan.notices[0]
    prompts = (*notice.information, *notice.questions.values())
    # Beside its sound each prompt takes a packet or two on its way.
    asked = sum(prompt.duration_ms for prompt in prompts) + 30 * len(prompts)
    return Notice(asked, here.settings.lines["support"].timeout_seconds * 1000)
