"""``ivr-consent run``: the whole main job on this machine, with a call that a person plays in the terminal.

The service is the real one (its server, SQLite log, recordings). The switch is a fake Asterisk over the real wire, a
real one fetched from Debian's packages and called by a SIP phone, or the FreeSWITCH of this machine, which calls
itself. Without a terminal a scripted caller listens to the notice and presses a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from ivr_consent.cli import run_live
from ivr_consent.cli.terminal import Exit, Json, print_json, safe
from ivr_consent.core.errors import ConfigurationError, ConsentError, Problem

if TYPE_CHECKING:
    from ivr_consent.cli.run_freeswitch import Live as FreeSwitchLive
    from ivr_consent.config import Settings
    from ivr_consent.core.steps import Result, Step
    from ivr_consent.service import Service
    from ivr_consent.store.reader import CallRecord
    from ivr_consent.testing.phone import Call, Phone

CONFIG_NAME: Final = "ivr-consent.toml"
THINKING_S: Final = 0.7
"""How long after a window has opened (and its guard time has passed) the scripted caller presses."""
SCRIPTED_TALK_S: Final = 2.0
TALK_S: Final = 60.0
"""How long a person may talk to the agent before the call is ended."""
CALL_S: Final = 900.0
"""Longest call: every prompt as often as it can be asked for."""
SETTLE_S: Final = 20.0
"""For what follows the call: the decision in the log, the recording in its lasting form."""
CALLER_HZ: Final = 400
AGENT_HZ: Final = 600

EXAMPLE: Final = """\
# Made by `ivr-consent run`: an example to play with. `ivr-consent init` makes a real one.

[log]
path = "decisions.db"
pseudonym_key_file = "pseudonym.key"

[recordings]
directory = "recordings"

[prompts]
audio = "audio"

[facts.default]
controller = "Example Company, Main Street 1, Exampletown"
authority = "the data protection authority"
recipients = "the agent and the team leader"
withdrawal_contact = "telephone 12 34 56 78"
rights_contact = "privacy at example dot com"
web_address = "example dot com slash calls"

[facts.da]
controller = "Eksempelfirmaet, Hovedgaden 1, Eksempelby"
authority = "Datatilsynet"
recipients = "medarbejderen og teamlederen"
withdrawal_contact = "telefon 12 34 56 78"
rights_contact = "privatliv snabel-a eksempel punktum dk"
web_address = "eksempel punktum dk skråstreg opkald"

[lines.support]
notice = "recording"
languages = ["en", "da"]
purposes = ["training"]
retention_days = 30
"""

DIALPLAN: Final = f"""
[from-sip]
exten => _[A-Za-z0-9].,1,Gosub(ivr-consent,s,1(${{EXTEN}}))
 same => n,GotoIf($["${{IVR_CONSENT_RESULT}}" = "granted"]?recorded,s,1)
 same => n,Goto(unrecorded,s,1)
[recorded]
exten => s,1,Dial(Local/agent@rig-agents/n)
 same => n,Hangup()
[unrecorded]
exten => s,1,Dial(Local/agent@rig-agents/n)
 same => n,Hangup()
[rig-agents]
exten => agent,1,Answer()
 same => n,Playtones({AGENT_HZ})
 same => n,Wait(3600)
"""


class Pbx(StrEnum):
    """What stands at the other end of the wire."""

    SIMULATED = "simulated"
    ASTERISK = "asterisk"
    FREESWITCH = "freeswitch"


def run(
    pbx: Annotated[
        Pbx,
        typer.Option(
            help="A simulated switch, or a real Asterisk (fetched once, about 80 MB, into a folder), or the FreeSWITCH "
            "that is on the search path."
        ),
    ] = Pbx.SIMULATED,
    home: Annotated[
        Path, typer.Option(metavar="DIR", help="Where configuration, audio, log and recordings are kept.")
    ] = Path("run"),
    line: Annotated[str, typer.Option(metavar="LINE", help="The line that is called.")] = "support",
    keys: Annotated[
        str | None,
        typer.Option(metavar="KEYS", help='What a scripted caller presses after each question: "3,1"; "-" is silence.'),
    ] = None,
    json: Json = False,
) -> None:
    """Make one call through the real service, and show what came of it.

    In a terminal you are the caller: you read what is heard, and your keys count at once. Without one, or with --keys,
    a scripted caller listens to the whole notice and presses 1; then the exit code is 0 only if the call was granted
    and the log shows it.
    """
    scripted = keys is not None or not (sys.stdin.isatty() and sys.stdout.isatty()) or json
    presses = None if not scripted else ("1" if keys is None else keys).split(",")
    if presses is not None and any(press not in "0123456789*#-" or len(press) != 1 for press in presses):
        raise typer.BadParameter('give keys separated by commas, for example "3,1"; "-" is silence')
    if pbx is Pbx.FREESWITCH:
        from ivr_consent.cli import run_freeswitch

        run_freeswitch.need()
    show = _Screen(sys.stderr if json else sys.stdout)
    settings = _settings(home, line, show)
    if pbx is Pbx.FREESWITCH:
        settings = settings.model_copy(update={"switch": "freeswitch"})  # its sounds are built, and its part serves
    _build(settings, show)
    with _log_into(home / "service.log"):
        document = asyncio.run(_play(settings, pbx, line, presses, show))
    good = _good(document, scripted=scripted)
    if json:
        print_json({"ok": good, **document})
    else:
        _summary(document, settings, home)
    raise typer.Exit(Exit.GOOD if good else Exit.PROBLEMS)


# --- what is needed before the call ------------------------------------------------------------------------------


def _settings(home: Path, line: str, show: _Screen) -> Settings:
    from ivr_consent import config

    path = home / CONFIG_NAME
    if not path.exists():
        try:
            home.mkdir(parents=True, exist_ok=True)
            path.write_text(EXAMPLE, encoding="utf-8")
        except OSError as error:
            raise ConsentError(
                f"{path} cannot be written ({error.strerror}); name a directory of yours: --home"
            ) from None
        show.line(f"wrote an example configuration to {path}")
    settings = config.load(path)
    if line not in settings.lines:
        problem = Problem(f"{path}: lines", f"no line {line!r}", f"name one of: --line {', '.join(settings.lines)}")
        raise ConfigurationError(str(path), (problem,))
    # Any free port: a service that runs on this machine is not disturbed.
    return settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0}), "manager": None})


def _build(settings: Settings, show: _Screen) -> None:
    """Speak the notices and publish them: here nobody but the one who runs this is called. What is there is kept."""
    from ivr_consent.workshop import Workshop

    workshop = Workshop(settings)
    try:
        workshop.build(settings.lines, lambda prompt, done, total: show.progress(f"speaking {prompt}", done, total))
    finally:
        show.end_progress()
    for line in settings.lines:
        workshop.publish(line, "ivr-consent run")


@contextlib.contextmanager
def _log_into(path: Path) -> Iterator[None]:
    """The service's own log lines go into a file: the screen belongs to the call."""
    import structlog

    from ivr_consent.logs import configure_logging

    with path.open("a", encoding="utf-8") as file:
        configure_logging()
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=file))
        try:
            yield
        finally:
            configure_logging()


# --- the call ----------------------------------------------------------------------------------------------------


async def _play(settings: Settings, pbx: Pbx, line: str, presses: list[str] | None, show: _Screen) -> dict[str, Any]:
    from ivr_consent.service import Service

    stage = _Stage(settings, line, presses, show)
    async with contextlib.AsyncExitStack() as stack:
        switch = _switch(pbx, stage)
        settings = await switch.prepare(stack)
        before = _newest(settings)
        service = Service(settings, observe=stage.observe)
        await service.start()
        stack.push_async_callback(service.stop, 1.0)
        await switch.started(service)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stage.hang_up)
            stack.callback(loop.remove_signal_handler, number)
        if presses is None:
            stack.enter_context(_keyboard(stage))
            show.line("Your telephone is ringing through. Keys count as you press them; h hangs up.")
        async with asyncio.timeout(CALL_S):
            result = await switch.call(stack)
        stage.over()
        record = await _record(settings, before, granted=result == "granted")
    return _document(settings, pbx, line, result, record)


def _switch(pbx: Pbx, stage: _Stage) -> _Simulated | _Live | FreeSwitchLive:
    if pbx is Pbx.FREESWITCH:
        from ivr_consent.cli import run_freeswitch

        return run_freeswitch.Live(stage, _outcome, CALL_S)
    return _Live(stage) if pbx is Pbx.ASTERISK else _Simulated(stage)


def _outcome(settings: Settings) -> str:
    """What came of the newest call, as the log has it."""
    decided = _newest(settings)
    return "failed" if decided is None else str(decided.decision.outcome)


class _Stage:
    """What is shown and pressed, step by step."""

    def __init__(self, settings: Settings, line: str, presses: list[str] | None, show: _Screen) -> None:
        self.settings, self.line, self.show = settings, line, show
        self.scripted = presses is not None
        self.caller: run_live.Caller | None = None
        self.gone = asyncio.Event()
        self._presses = list(presses or ())
        self._ticker: asyncio.TimerHandle | None = None

    def observe(self, step: Step, result: Result | None) -> None:
        """The service's observer: what the flow asks for, and what came back."""
        from ivr_consent.core import steps

        if result is not None:
            self._stop_ticking()
            if isinstance(result, steps.Pressed):
                self.show.line(f"    pressed {result.key}", mark="key")
            elif isinstance(result, steps.TimedOut):
                self.show.line("    silence", mark="key")
            elif isinstance(result, steps.Gone):
                self.show.line("    hung up", mark="key")
            elif isinstance(result, steps.Failed | steps.NotConfirmed):
                self.show.line(f"    failed: {result.reason}", mark="key")
            return
        match step:
            case steps.Play():
                self.show.paragraph(step.prompt.text)
                self._tick("playing", step.prompt.duration_ms / 1000)
            case steps.Ask():
                self._tick(self._question(), (step.timeout_ms + step.guard_ms) / 1000)
                self._press_later((step.guard_ms / 1000) + THINKING_S)
            case steps.Decide():
                self.show.line(f"[decision: {step.decision.outcome.value}, written to disk]", mark="step")
            case steps.Record():
                self.show.line("[recorder: started, then asked whether it runs]", mark="step")
            case steps.Route():
                self.show.line(f"[route: the {step.destination.value} line]", mark="step")
            case _:
                pass

    def _question(self) -> str:
        keys = self.settings.lines[self.line].keys
        several = len(self.settings.lines[self.line].languages) > 1
        return (
            f"your answer: {keys.yes} yes, {keys.no} no, {keys.repeat} again, {keys.long} more"
            + (f", {keys.language} language" if several else "")
            + ", h hang up"
        )

    def _press_later(self, seconds: float) -> None:
        key = self._presses.pop(0) if self._presses else "-"
        if self.scripted and key != "-":
            asyncio.get_running_loop().call_later(seconds, self.press, key)

    def press(self, key: str) -> None:
        """The caller presses a key."""
        if self.caller is not None and not self.gone.is_set():
            self.caller.press(key)

    def hang_up(self) -> None:
        """The caller hangs up."""
        if not self.gone.is_set():
            self.gone.set()
            if self.caller is not None:
                self.caller.hang_up()

    def typed(self, text: str) -> None:
        """Characters from the keyboard."""
        for character in text:
            if character in "hH\x03\x04":
                self.hang_up()
            elif character in "0123456789*#":
                self.press(character)

    def through(self, route: str) -> float:
        """The dialplan has gone on; how long to talk."""
        self.show.line(f"You are through to the agent, on the {route} line.")
        if self.scripted:
            return SCRIPTED_TALK_S
        self._tick("talking; h hangs up", TALK_S)
        return TALK_S

    def over(self) -> None:
        """The call is over."""
        self.gone.set()
        self._stop_ticking()

    def _tick(self, what: str, seconds: float) -> None:
        self._stop_ticking()
        began = time.monotonic()
        loop = asyncio.get_running_loop()

        def tick() -> None:
            self.show.bar(what, time.monotonic() - began, seconds)
            self._ticker = loop.call_later(0.1, tick)

        if self.show.alive:
            tick()

    def _stop_ticking(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        self.show.clear_bar()


class _Simulated:
    """The fake Asterisk, over the real wire."""

    def __init__(self, stage: _Stage) -> None:
        self._stage = stage
        self._port = 0

    async def prepare(self, stack: contextlib.AsyncExitStack) -> Settings:
        return self._stage.settings

    async def started(self, service: Service) -> None:
        self._port = service.server.port

    async def call(self, stack: contextlib.AsyncExitStack) -> str:
        """Call, talk, hang up; the result that the dialplan was told."""
        from ivr_consent.testing.fake_asterisk import FakeAsterisk

        stage = self._stage
        switch = await stack.enter_async_context(FakeAsterisk("127.0.0.1", self._port))
        call = await switch.call(stage.line)
        stage.caller = call
        if stage.gone.is_set():
            call.hang_up()
        await call.done.wait()
        if call.alive:
            await call.talk(stage.through(call.route))
            call.hang_up()
        await call.wait(SETTLE_S)
        return call.result


class _Live:
    """A real Asterisk and a SIP phone."""

    def __init__(self, stage: _Stage) -> None:
        from ivr_consent.testing.rig import Instance

        self._stage = stage
        self._instance: type[Instance] = Instance
        self._pbx: Instance | None = None

    async def prepare(self, stack: contextlib.AsyncExitStack) -> Settings:
        """Fetch and start Asterisk; the settings with its manager."""
        from ivr_consent.config import Manager
        from ivr_consent.testing.rig import RigUnavailable, fetch

        settings, show = self._stage.settings, self._stage.show
        try:
            await asyncio.to_thread(fetch, "22", progress=lambda text: show.line(f"Asterisk: {text}"))
        except RigUnavailable as error:
            raise ConsentError(f"there is no Asterisk to be had here: {error}; try --pbx simulated") from None
        from ivr_consent.pbx.asterisk.rights import needed

        secret = secrets.token_urlsafe(32)
        path = settings.source.parent / "manager.secret"
        stack.enter_context(run_live.secret_file(path, secret))
        show.line("starting Asterisk 22")
        pbx = self._pbx = self._instance("22", dialplan=DIALPLAN)
        rights = needed(settings)
        pbx.add_manager("ivr-consent", secret, ",".join(rights.read), ",".join(rights.write), rights.filters)
        await stack.enter_async_context(pbx)
        manager = Manager(host="127.0.0.1", port=pbx.ami_port, username="ivr-consent", secret_file=path.absolute())
        return settings.model_copy(update={"manager": manager})

    async def started(self, service: Service) -> None:
        """Put our include, with the service's port, into the dialplan."""
        from ivr_consent.pbx.asterisk.dialplan import render_include

        assert self._pbx is not None
        settings = service.settings
        server = settings.server.model_copy(update={"port": service.server.port})
        include = render_include(settings.model_copy(update={"server": server}))
        await self._pbx.reload_dialplan(DIALPLAN + include)

    async def call(self, stack: contextlib.AsyncExitStack) -> str:
        """Call by SIP, talk, hang up; the result, as the log has it."""
        from ivr_consent.testing.phone import Phone

        assert self._pbx is not None
        stage = self._stage
        phone: Phone = await stack.enter_async_context(Phone(("127.0.0.1", self._pbx.sip_port), tone=CALLER_HZ))
        call = await phone.call(stage.line)
        await run_live.play(stage, call, self._through(call), call.wait_hung_up(CALL_S))
        return _outcome(stage.settings)

    async def _through(self, call: Call) -> str:
        """The line that the caller is through to, once the agent is heard."""
        await call.wait_tone(AGENT_HZ, CALL_S)
        decided = _newest(self._stage.settings)
        return "unrecorded" if decided is None else decided.route


# --- the keyboard and the screen ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _keyboard(stage: _Stage) -> Iterator[None]:
    """Single keys, as they are pressed; the terminal is as it was on every way out."""
    import termios
    import tty

    loop = asyncio.get_running_loop()
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def read() -> None:
        data = os.read(number, 64)
        if data:
            stage.typed(data.decode("utf-8", "replace"))
        else:
            loop.remove_reader(number)
            stage.hang_up()

    tty.setcbreak(number)
    loop.add_reader(number, read)
    try:
        yield
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)


class _Screen:
    """Lines of text, and one bar that is drawn over and over where there is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream, markup=False, highlight=False, emoji=False)
        self.alive = self._console.is_terminal
        self._stream = stream
        self._drawn = False

    def line(self, text: str, *, mark: str = "") -> None:
        """One line."""
        self.clear_bar()
        self._console.print(safe(text), style={"key": "bold", "step": "dim"}.get(mark, ""))

    def paragraph(self, text: str) -> None:
        """What is heard."""
        self.clear_bar()
        self._console.print()
        self._console.print(f"“{safe(text)}”", style="cyan", soft_wrap=False)

    def bar(self, what: str, done: float, whole: float) -> None:
        """How far something has come, in seconds."""
        if not self.alive:
            return
        width = 24
        filled = width if whole <= 0 else min(width, int(width * done / whole))
        left = max(0.0, whole - done)
        text = f"  [{'#' * filled}{'.' * (width - filled)}] {left:4.1f} s  {what}"
        self._stream.write("\r" + safe(text)[: max(20, self._console.width - 1)] + "\x1b[K")
        self._stream.flush()
        self._drawn = True

    def clear_bar(self) -> None:
        """Take the bar away."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def progress(self, what: str, done: int, total: int) -> None:
        """A step of a long work."""
        if self.alive:
            self.bar(f"{what} ({done} of {total})", done, total)
        elif done == total:
            self.line(f"{what} ({done} of {total})")

    def end_progress(self) -> None:
        self.clear_bar()


# --- what came of it ---------------------------------------------------------------------------------------------


def _newest(settings: Settings) -> CallRecord | None:
    from ivr_consent.core.errors import LedgerError
    from ivr_consent.store.place import place_of
    from ivr_consent.store.reader import LedgerReader

    place = place_of(settings)
    if not place.begun():
        return None
    try:
        with LedgerReader(place) as reader:
            return next(reader.calls(limit=1), None)
    except LedgerError:
        return None


async def _record(settings: Settings, before: CallRecord | None, *, granted: bool) -> CallRecord | None:
    """The call's record, once it is in the log; after a yes, once its recording is in its lasting form."""
    old = before.call_id if before is not None else ""
    until = time.monotonic() + SETTLE_S
    while True:
        record = _newest(settings)
        if record is not None and record.call_id == old:
            record = None
        complete = record is not None and (not granted or record.recording not in ("granted", "confirmed", "routed"))
        if complete or time.monotonic() > until:
            return record
        await asyncio.sleep(0.05)  # the log is written by the service's own thread: look again, until the deadline


def _document(settings: Settings, pbx: Pbx, line: str, result: str, record: CallRecord | None) -> dict[str, Any]:
    directory = settings.path(settings.recordings.directory)
    document: dict[str, Any] = {
        "pbx": pbx.value,
        "line": line,
        "result": result,
        "call_id": None,
        "route": None,
        "decision": None,
        "events": [],
        "recording": None,
        "log": str(settings.path(settings.log.path)),
        "recordings": sorted(path.name for path in directory.iterdir()) if directory.is_dir() else [],
    }
    if record is None:
        return document
    call_id = record.call_id
    document |= {
        "call_id": call_id,
        "route": record.route,
        "decision": dict(record.decision.payload),
        "events": [{"kind": event.kind, **event.payload} for event in record.later],
    }
    path = directory / f"{call_id}.wav"
    if path.is_file():
        document["recording"] = _heard(path)
    return document


def _heard(path: Path) -> dict[str, Any]:
    """Length and tones of a recording: who is on which side."""
    from ivr_consent.testing.wav import dominant_tones, read_wav

    wav = read_wav(path)
    tones = [dominant_tones(channel, wav.rate)[:1] for channel in wav.channels]
    return {"file": str(path), "milliseconds": int(wav.seconds * 1000), "hz": {"left": tones[0], "right": tones[-1]}}


def _good(document: dict[str, Any], *, scripted: bool) -> bool:
    decision = document["decision"]
    if decision is None:
        return False
    if not scripted:
        return bool(decision["outcome"] != "failed")
    granted = document["result"] == decision["outcome"] == "granted" and document["route"] == "recorded"
    return granted and document["recording"] is not None


def _summary(document: dict[str, Any], settings: Settings, home: Path) -> None:
    """The decision with its evidence, the files, and where to look next."""
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    console = Console(markup=False, highlight=False, emoji=False)
    decision = document["decision"]
    if decision is None:
        console.print(f"The log has no decision of this call; what the service said is in {home / 'service.log'}")
        return
    style = "green" if decision["outcome"] == "granted" else "yellow"
    title = f" {safe(decision['outcome'])}: the {safe(document['route'])} line "
    console.print()
    console.print(Panel(Text("\n".join(_evidence(document))), title=Text(title), border_style=style, expand=False))
    recording = document["recording"]
    if recording is not None:
        hz = recording["hz"]
        console.print(f"recording: {recording['file']}")
        console.print(
            f"  {recording['milliseconds'] / 1000:.1f} s; left, the caller: {_tone(hz['left'], CALLER_HZ)}; "
            f"right, the agent: {_tone(hz['right'], AGENT_HZ)}"
        )
    else:
        console.print(f"nothing of this call is in {settings.path(settings.recordings.directory)}")
    from ivr_consent.cli import templates

    config, program = home / CONFIG_NAME, " ".join(templates.program())
    console.print("\nlook at next:")
    console.print(f"  {program} --config {config} log show {document['call_id'][:12]}")
    console.print(f"  {program} --config {config} call {document['line']} --keys 2")
    console.print(f"  {config}, and what the service said: {home / 'service.log'}")


def _tone(found: list[int], expected: int) -> str:
    if not found:
        return "silence"
    return f"{found[0]} Hz" + (" (as sent)" if abs(found[0] - expected) <= 15 else "")


def _evidence(document: dict[str, Any]) -> Iterator[str]:
    decision = document["decision"]
    notice = decision["notice"]
    yield f"call       {safe(document['call_id'])}"
    yield f"reason     {safe(decision['reason'])}"
    if notice is not None:
        heard = sum(segment["complete"] for segment in notice["segments"])
        yield (
            f"notice     {safe(notice['id'])} version {notice['version']} in {safe(notice['language'])}: "
            f"{heard} of {len(notice['segments'])} segments heard to the end"
        )
    for answer in decision["answers"]:
        key = f", key {safe(answer['key'])}" if answer["key"] else ""
        after = f" {answer['after_ms']} ms after the question" if answer["after_ms"] is not None else ""
        timing = f" (known by: {safe(answer['timing'])})" if answer["timing"] else ""
        yield f"{safe(answer['purpose']):10} {safe(answer['answer'])}{key}{after}{timing}"
    for event in document["events"]:
        details = ", ".join(f"{safe(name)} {safe(value)}" for name, value in event.items() if name not in _QUIET)
        yield f"then       {safe(event['kind'])}" + (f": {details}" if details else "")


_QUIET: Final = frozenset({"kind", "sha256", "handle"})
