"""A whole site for live tests: a real Asterisk, our dialplan, a configuration, and ``ivr-consent serve`` as a process.

Prompts are spoken once for all test processes. Calls come from a SIP phone of our own; what Asterisk does with them is
watched through its manager, so that a test can act in the middle of a prompt without guessing times.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import tomlkit

from ivr_consent import config
from ivr_consent.config import Line, Settings
from ivr_consent.core.steps import Prompt
from ivr_consent.language import Clues
from ivr_consent.pbx.asterisk.dialplan import render_features, render_include, render_lines
from ivr_consent.pbx.asterisk.manager import Event, ManagerLink
from ivr_consent.pbx.asterisk.rights import GUARD
from ivr_consent.site import line_states, load_site
from ivr_consent.store.reader import CallRecord, LedgerReader
from ivr_consent.testing.eye import DirectoryWatch
from ivr_consent.testing.phone import Call, Phone
from ivr_consent.testing.rig import Instance, RigUnavailable, Version, skip_or_fail
from ivr_consent.workshop import Workshop

DEADLINE_S = 60.0
"""For anything a test waits for; on an idle machine it takes milliseconds, on a slow and busy one many seconds."""

LONG_CALL_S = 180.0
"""For a place in a call: a caller who tries every key hears the notice many times."""

AGENT_HZ, UNRECORDED_HZ = 600, 1200
"""The tones of the recorded line's agent and of the unrecorded line's."""

CONFIGURATION = """
[server]
port = {port}
drain_seconds = 20
{manager}
[guard]
spool = ["{spool}"]
{guard}
[prompts]
audio = "{audio}"
{voices}
[facts.default]
controller = "Example"
authority = "Datatilsynet"
recipients = "the agent"
withdrawal_contact = "0123"
rights_contact = "0124"
web_address = "example.org"
[lines.support]
timeout_seconds = 3
repeats = 1
[lines.routed]
timeout_seconds = 3
repeats = 0
recorded = "recorded,s,1"
unrecorded = "unrecorded,s,1"
[lines.unbuilt]
languages = ["sv"]
{lines}
"""

VOICE = """
[prompts.voices.{language}]
command = ["{python}", "{program}"]
"""

# A voice for tests: whatever the text, an eighth of a second of a 440 Hz tone. The notice takes five seconds then.
TONE_VOICE = """
import math, struct, sys, wave
sys.stdin.buffer.read()
samples = [int(9000 * math.sin(2 * math.pi * 440 * n / 16000)) for n in range(2000)]
with wave.open(sys.stdout.buffer, "wb") as out:
    out.setnchannels(1)
    out.setsampwidth(2)
    out.setframerate(16000)
    out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
"""

MANAGER = """
[manager]
host = "127.0.0.1"
port = {port}
username = "ivr-consent"
secret_file = "manager.secret"
"""

FEATURES = """
[features]
withdraw = "*9"
consent = "*8"
"""

DIALPLAN = """
[from-sip]
exten => routed,1,Goto(ivr-consent-line,routed,1)
exten => _[a-z].,1,Goto(gate,${EXTEN},1)
exten => twice,1,Gosub(ivr-consent,s,1(support))
 same => n,Dial(Local/short@rig-agents/n,,g)
 same => n,Gosub(ivr-consent,s,1(support))
 same => n,Goto(unrecorded,s,1)
exten => goeson,1,Gosub(ivr-consent,s,1(support))
 same => n,Dial(Local/short@rig-agents/n,,g)
 same => n,Gosub(ivr-consent-stop,s,1)
 same => n,Goto(unrecorded,s,1)
[gate]
exten => _[a-z].,1,Gosub(ivr-consent,s,1(${EXTEN}))
 same => n,UserEvent(Told,Result: ${IVR_CONSENT_RESULT},Reason: ${IVR_CONSENT_REASON},Call: ${IVR_CONSENT_ID})
 same => n,GotoIf($["${IVR_CONSENT_RESULT}" = "granted"]?recorded,s,1)
 same => n,Goto(unrecorded,s,1)
[recorded]
exten => s,1,Dial(Local/agent@rig-agents/n)
 same => n,Hangup()
[unrecorded]
exten => s,1,Dial(Local/plain@rig-agents/n)
 same => n,Hangup()
[rig-agents]
exten => agent,1,Answer()
 same => n,Playtones(AGENT)
 same => n,Wait(60)
exten => short,1,Answer()
 same => n,Playtones(AGENT)
 same => n,Wait(1)
exten => plain,1,Answer()
 same => n,Playtones(UNRECORDED)
 same => n,Wait(60)
""".replace("AGENT)", f"{AGENT_HZ})").replace("UNRECORDED)", f"{UNRECORDED_HZ})")

T = TypeVar("T")

_numbers = itertools.count(1)


@dataclass
class Site:
    """One Asterisk with our gate in front of two agents."""

    version: Version
    home: Path
    pbx: Instance
    settings: Settings
    watch: ManagerLink
    server: Server
    relay: Relay
    calls: list[LiveCall] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)
    """Every channel that our commands were executed on: a call that begins is on another one."""

    @functools.cached_property
    def sounds(self) -> dict[str, str]:
        """The ids of prompts by the folder that their sound is in."""
        return {
            str(prompt.audio.folder(Path())): prompt.id
            for state in line_states(self.settings).values()
            if state.manifest is not None
            for spoken in state.manifest.languages
            for prompt in spoken.prompts()
        }

    def named(self, command: str) -> str:
        """A command with the prompt's id in place of the folder of its sound."""
        match = re.search(r"([a-z]+/[0-9a-f]{32})/prompt", command)
        return command.replace(match[0], self.sounds.get(match[1], match[0])) if match else command

    @property
    def recordings(self) -> Path:
        return self.home / "recordings"

    def happened(self, event: Event) -> None:
        for call in self.calls:
            call.happened(event)
        if event.name == "AGIExecStart":
            self.channels.add(event.headers.get("Uniqueid", ""))

    @contextlib.asynccontextmanager
    async def call(self, number: str = "support", **options: Any) -> AsyncIterator[LiveCall]:
        """A call that has been placed; hung up at the end of the block."""
        hostile = "raw_from_user" in options or "display_name" in options
        caller = options.pop("from_user", None) or f"45{os.getpid() % 10000:04d}{next(_numbers):04d}"
        async with Phone(("127.0.0.1", self.pbx.sip_port)) as phone:
            live = LiveCall(self, caller, hostile)
            self.calls.append(live)
            with DirectoryWatch(self.recordings) as eye:
                live.eye = eye
                try:
                    options = {"from_user": caller} | options
                    live.phone = await phone.call(number, **options)
                    yield live
                finally:
                    self.calls.remove(live)

    def records(self) -> list[CallRecord]:
        with LedgerReader(self.home / "decisions.db") as reader:
            return list(reader.calls(limit=1000))

    def prompt(self, prompt_id: str, line: str = "support", language: str = "en") -> Prompt:
        plan = load_site(self.settings).plan(line, Clues(channel=language))
        assert not isinstance(plan, str)
        return next(prompt for prompt in plan.notices[0].prompts() if prompt.id == prompt_id)


@dataclass
class LiveCall:
    """A call under way: what Asterisk executes for it, and what the phone hears."""

    site: Site
    caller: str
    hostile: bool = False
    """Whether the caller id is not what we chose: then the call is the next one that begins."""
    executed: list[str] = field(default_factory=list)
    told: dict[str, str] | None = None
    uniqueid: str | None = None
    phone: Call = field(init=False)
    eye: DirectoryWatch = field(init=False)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def happened(self, event: Event) -> None:
        # A hostile caller id breaks the events themselves, until the dialplan has cleaned it before AGI().
        if self.hostile:
            begins = event.name == "AGIExecStart" and event.headers.one("Uniqueid") not in self.site.channels
            # The end of a recording is reported on a channel of its own, perhaps late, of a call before.
            begins = begins and "@ivr-consent-report" not in event.headers.get("Channel", "")
        else:
            begins = event.headers.one("CallerIDNum") == self.caller
        if self.uniqueid is None and begins:
            self.uniqueid = event.headers.one("Uniqueid")
        if event.headers.one("Uniqueid") != self.uniqueid:
            return
        if event.name == "AGIExecStart":
            self.executed.append(self.site.named(event.headers.get("Command", "")))
        elif event.name == "UserEvent" and event.headers.get("UserEvent") == "Told":
            self.told = {name: event.headers.get(name, "") for name in ("Result", "Reason", "Call")}
        self.changed.set()

    def created(self) -> list[str]:
        """Every file that came to be since this call began, but for those of other calls that were granted."""
        others = {
            record.call_id
            for record in self.site.records()
            if record.decision.outcome == "granted"
            and record.decision.payload["call"]["channel_uniqueid"] != self.uniqueid
        }
        return [name for name in self.eye.created if name[:32] not in others]

    def count(self, what: str) -> int:
        """How often a command that contains this has begun."""
        return sum(what in command for command in self.executed)

    async def until(self, what: str, nth: int = 1) -> int:
        """Wait until the n-th command that contains this begins; its place in what was executed."""
        async with asyncio.timeout(LONG_CALL_S):
            while self.count(what) < nth:
                self.changed.clear()
                await self.changed.wait()
        return [number for number, command in enumerate(self.executed) if what in command][nth - 1]

    async def prompt(self, prompt_id: str, nth: int = 1, at: float = 0.15) -> None:
        """Wait until this far (seconds) into the n-th playing of a prompt."""
        await self.until(f"/{prompt_id}", nth)
        await asyncio.sleep(at)  # real time: the prompt plays

    async def window(self, nth: int = 1, at: float = 0.2) -> None:
        """Wait until this far (seconds) into the n-th choice window."""
        await self.until("WAIT FOR DIGIT", nth)
        await asyncio.sleep(at)  # real time: the window is open

    async def recorded_line(self) -> None:
        await self.phone.wait_tone(AGENT_HZ, DEADLINE_S)

    async def unrecorded_line(self) -> None:
        await self.phone.wait_tone(UNRECORDED_HZ, DEADLINE_S)

    async def record(self, *, kind: str | None = None) -> CallRecord:
        """The call's decision, once it is in the log (and has a later event of this kind)."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for record in self.site.records():
                    if record.decision.payload["call"]["channel_uniqueid"] == self.uniqueid and (
                        kind is None or any(event.kind == kind for event in record.later)
                    ):
                        return record
                await asyncio.sleep(0.02)  # polling another process's log, with the deadline above


class Relay:
    """Stands between the service and the manager's port, so that a test can cut the link and let it come back."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = free_port()

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._link, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Close every link and refuse new ones until the next start."""
        assert self._listener is not None
        self._listener.close()
        for writer in list(self._links):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, answer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the switch is down
            writer.close()
            return
        self._links |= {writer, answer}
        for source, sink in ((reader, answer), (there, writer)):
            task = asyncio.get_running_loop().create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()
        self._links.discard(sink)


@dataclass
class Server:
    """``ivr-consent serve`` as a process of its own."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    undertaker: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.path.parent / "serve.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    async def start(self, *, wait: bool = True) -> None:
        if self.process is not None:
            self.process.wait(DEADLINE_S)  # the one before has been stopped or killed
        with self.log_path.open("ab") as log:
            began = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ivr_consent.cli.main", "--config", str(self.path), "serve"],
                stderr=log,
                stdout=log,
                stdin=subprocess.DEVNULL,
                env=os.environ | self.environment,
                start_new_session=True,
            )
        self.dismiss()
        # As the rig's: a test process that is killed leaves no service behind. The pipe ends without a line then.
        script = 'read -r _ || kill -s KILL -- "-$0"'
        self.undertaker = subprocess.Popen(
            ["sh", "-c", script, str(self.process.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if wait:
            await self.listening(began)

    def dismiss(self) -> None:
        """Let the undertaker go: what it watched over is no more, or is ended in an orderly way."""
        if self.undertaker is not None:
            self.undertaker.communicate(b"\n")
            self.undertaker = None

    async def listening(self, since: int = 0, times: int = 1) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.log_path.read_bytes()[since:].count(b'"listening"') < times:
                assert self.process is not None
                assert self.process.poll() is None, self.log
                await asyncio.sleep(0.02)  # polling another process's output, with the deadline above

    def worker(self) -> int:
        """Process id of the worker that serves the calls (the child of the one that watches it)."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def kill_group(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the watcher and the worker."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def stop(self) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.kill_group(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill_group()
        self.dismiss()
        return self.process.wait()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def shared_audio() -> Iterator[Path]:
    """A folder of built prompts that all test processes use; its builder holds the lock."""
    folder = Path(tempfile.gettempdir()) / f"ivr-consent-test-audio-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def write_site(
    home: Path, port: int, ami_port: int | None, lines: Mapping[str, Line], spool: Path, guard: str = ""
) -> Settings:
    """A site's files: voice, configuration, manager secret. The shipped notice, spoken as tones."""
    manager = "" if ami_port is None else MANAGER.format(port=ami_port)
    (home / "manager.secret").write_text("least-rights\n")
    with shared_audio() as audio:
        program = audio / "voice.py"
        program.write_text(TONE_VOICE)
        voices = "".join(
            VOICE.format(language=language, python=sys.executable, program=program) for language in ("en", "da", "de")
        )
        more = "\n".join(
            tomlkit.dumps({"lines": {name: line.model_dump(exclude_none=True)}}) for name, line in lines.items()
        )
        path = home / "ivr-consent.toml"
        path.write_text(
            CONFIGURATION.format(
                port=port, manager=manager, audio=audio, voices=voices, lines=more, spool=spool, guard=guard
            )
        )
        settings = config.load(path)
        publish(settings)
    return settings


def publish(settings: Settings) -> None:
    """Build and publish every line but the one that tests want without a version."""
    workshop = Workshop(settings)
    ready = [name for name in settings.lines if name != "unbuilt"]
    workshop.build(ready)
    for name in ready:
        workshop.publish(name, "the tests")


@contextlib.asynccontextmanager
async def site(
    version: Version,
    *,
    manager: bool = True,
    lines: Mapping[str, Line] = MappingProxyType({}),
    guard: str = "",
    dialplan: str = "",
    features: bool = False,
) -> AsyncIterator[Site]:
    """A running site; everything stopped and removed at the end. ``guard``: more of its table; ``dialplan``: more.

    SIP_PORT in the dialplan is Asterisk's own. With ``features`` the codes *9 and *8 are there, and keys are heard in
    the audio of a phone that offers no telephone events.
    """
    port = free_port()
    pbx = Instance(version, dtmf_mode="auto" if features else "rfc4733")
    pbx.add_manager("admin", "admin")
    pbx.add_manager("ivr-consent", "least-rights", ",".join(GUARD.read), ",".join(GUARD.write), GUARD.filters)
    pbx.add_manager("watch", "watch", read="agi,call,user,dialplan", write="call,command,system,reporting")
    with tempfile.TemporaryDirectory(prefix="ivr-consent-live-") as folder:
        home = Path(folder)
        try:
            # Ports are known once Asterisk runs; the dialplan follows.
            await pbx.start()
        except RigUnavailable as error:
            skip_or_fail(str(error))
        relay = Relay(pbx.ami_port)
        await relay.start()
        guard += FEATURES if features else ""
        settings = write_site(home, port, relay.port if manager else None, lines, pbx.directory / "spool", guard)
        more = DIALPLAN + dialplan.replace("SIP_PORT", str(pbx.sip_port))
        await pbx.reload_dialplan(render_include(settings) + render_lines(settings) + more)
        if features:
            with (pbx.directory / "etc/features.conf").open("a") as file:
                file.write(render_features(settings))
            await pbx.cli("module reload features")
        server = Server(home / "ivr-consent.toml")
        watch = ManagerLink("127.0.0.1", pbx.ami_port, "watch", "watch", events="agi,user,call")
        here = Site(version, home, pbx, settings, watch, server, relay)
        for pattern in ("AGIExecStart", "UserEvent", "Newchannel"):
            watch.on(pattern, here.happened)
        try:
            await watch.start()
            assert await watch.wait_up(DEADLINE_S)
            await server.start()
            if manager:
                await until_log(server, "manager_up")
            yield here
        finally:
            server.stop()
            await watch.close()
            await relay.cut()
            await pbx.stop()


async def at_once(calls: Mapping[str, Awaitable[T]]) -> dict[str, T]:
    """Several calls at the same time, by name; what each came to. A failure says whose it is."""
    results = await asyncio.gather(*calls.values(), return_exceptions=True)
    wrong: list[BaseException] = []
    for name, result in zip(calls, results, strict=True):
        if isinstance(result, BaseException):
            result.add_note(f"this was: {name}")
            wrong.append(result)
    if wrong:
        raise BaseExceptionGroup(f"{len(wrong)} of {len(results)} calls", wrong)
    return dict(zip(calls, cast("list[T]", results), strict=True))


async def until_log(server: Server, text: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while text not in server.log:
            await asyncio.sleep(0.02)  # polling another process's output, with the deadline above
