"""An Asterisk that is none: it speaks AGI to a FastAGI server as the real one does, in real time, without audio.

It plays the part of the channel and of our dialplan include: sets the result to ``failed``, connects, obeys commands,
and does afterwards what the include does. Its replies are those of the recorded transcripts, with what is awkward in
them: a key is reported when it is released and dropped when nobody waits for it; a command sent while a prompt plays
cuts the prompt off and takes its reply's place; ``200 result=0`` of a recorder proves nothing; a caller's line breaks
reach the environment as they are.

Hundreds of calls fit into one event loop: a call is a protocol object with at most three timers.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import re
import time
import wave
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, cast

from ivr_consent.pbx.asterisk import variables

RATE: Final = 8000
"""Samples a second of a ulaw file, one byte each."""

FRAME: Final = 160
"""Samples in 20 ms: positions are told in whole frames."""

LEASE_S: Final = 15.0
"""TIMEOUT(absolute) that the include sets before AGI()."""

TALK_HZ: Final = (400, 600)
"""What caller and agent "say" in :meth:`FakeCall.talk`."""

VERSION_22: Final = "22.10.1+dfsg+~cs6.17.60671434-1"
VERSION_16: Final = "16.28.0~dfsg-0+deb11u4"

_DEAD: Final = "511 Command Not Permitted on a dead channel or intercept routine"
_UNKNOWN: Final = "510 Invalid or unknown command"
_USAGE: Final = ("520-Invalid command syntax.  Proper usage follows:", "520 End of proper usage.")
_MAX_VALUE: Final = 1024  # characters of a value in a reply
_MAX_LINE: Final = 64 * 1024
_KEYS: Final = frozenset("0123456789*#ABCD")
_FORMATS: Final = frozenset({"wav", "raw", "ulaw", "alaw", "gsm", "sln", "sln16"})
_variable = re.compile(r"\$\{([^${}]*)\}")
_option = re.compile(r"([A-Za-z])(?:\(([^()]*)\))?")


@dataclass(frozen=True, slots=True)
class Command:
    """A line that the server sent, and when (``time.monotonic``)."""

    at: float
    text: str


@dataclass(slots=True)
class Recorder:
    """One MixMonitor of a channel. ``paths`` are the files that it has opened."""

    handle: str
    filename: str
    options: str
    paths: tuple[Path, ...] = ()
    files: list[IO[bytes]] = field(default_factory=list)

    def close(self) -> None:
        for file in self.files:
            file.close()


@dataclass(slots=True)
class _Waiter:
    prefix: str
    nth: int
    future: asyncio.Future[float]


class FakeAsterisk:
    """Places calls to one FastAGI server.

    ``sounds`` is where prompts with a relative path are, ``monitor`` where recordings with one go. ``exit_on_hangup``
    is what our include sets (AGIEXITONHANGUP=yes): when the caller hangs up, Asterisk leaves AGI; without it, the
    session goes on with a dead channel. ``lease_s`` is the absolute timeout round AGI(), ``local_host`` the address to
    connect from. ``speed`` shortens prompts and waits; our server takes a prompt that is faster than it lasts for a
    forgery.

    Use it as an async context manager: on leaving, every caller has hung up and every connection is closed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sounds: Path = Path("/nonexistent"),
        monitor: Path = Path("/nonexistent"),
        exit_on_hangup: bool = True,
        lease_s: float = LEASE_S,
        local_host: str | None = None,
        speed: float = 1.0,
    ) -> None:
        self.host, self.port = host, port
        self.rate = RATE * speed
        self.speed = speed
        self.sounds, self.monitor = sounds, monitor
        self.exit_on_hangup = exit_on_hangup
        self.lease_s = lease_s
        self.local_host = local_host
        self.calls: list[FakeCall] = []
        self.presses = FakePresses(self)
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> FakeAsterisk:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(
        self,
        line: str = "support",
        *,
        caller: str = "4512345678",
        name: str = "unknown",
        language: str = "en",
        version: str = VERSION_22,
        script: str = variables.CONSENT_SCRIPT,
        arguments: tuple[str, ...] | None = None,
        context: str = variables.CONTEXT,
    ) -> FakeCall:
        """A caller rings and the dialplan runs AGI(). Caller and name go into the environment as given.

        ``arguments`` stand for the line's name when they are given.
        """
        words = (line,) if arguments is None else arguments
        call = FakeCall(self, next(self._numbers), caller, name, language, version, context)
        self.calls.append(call)
        await call.connect(script, words)
        return call

    async def close(self) -> None:
        """Hang up every call and close every connection."""
        for call in self.calls:
            call.hang_up()
        for call in self.calls:
            call.cut()
            await call.wait()


class FakeCall(asyncio.Protocol):
    """One call through the gate; see :class:`FakeAsterisk`."""

    def __init__(
        self, switch: FakeAsterisk, number: int, caller: str, name: str, language: str, version: str, context: str
    ) -> None:
        self.switch = switch
        self.uniqueid = f"{int(time.time())}.{number}"
        self.channel = f"PJSIP/phone-{number:08x}"
        self.caller, self.name, self.language, self.version, self.context = caller, name, language, version, context
        self.commands: list[Command] = []
        self.replies: list[str] = []
        self.variables: dict[str, str] = {
            variables.RESULT: "failed",
            variables.REASON: "server_failed",
            variables.CALL_ID: "",
            variables.MIXMONITOR: "",
        }
        self.recorders: list[Recorder] = []
        self.started: list[Recorder] = []
        """Every recorder that ever ran; ``recorders`` are those that run."""
        self.up = False
        self.alive = True
        self.status = ""
        """AGISTATUS, once AGI() has ended."""
        self.done = asyncio.Event()
        """AGI() has ended, and the dialplan has gone on or hung up."""
        self.ended: FakeCall | None = None
        """The hang-up handler's own AGI session, where there was one."""
        self.pressed: list[tuple[str, float, float]] = []
        """Keys, each with the moments at which it went down and up."""
        self.on_end: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._dead = False
        self._failed = False
        self._handles = itertools.count(0x7F0000001000, 0x40)
        self._running: Callable[[str, str], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lease: asyncio.TimerHandle | None = None
        self._lease_until = 0.0
        self._keys: set[asyncio.TimerHandle] = set()
        self._waiters: list[_Waiter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what the caller does ----------------------------------------------------------------------------------------

    def press(self, key: str, duration: float = 0.1) -> None:
        """Press a key and let it go after so many seconds: only then does Asterisk hear it."""
        if key not in _KEYS:
            raise ValueError(f"{key!r} is not a key")
        began = time.monotonic()
        handle: asyncio.TimerHandle | None = None

        def released() -> None:
            if handle is not None:
                self._keys.discard(handle)
            ended = time.monotonic()
            self.pressed.append((key, began, ended))
            self.switch.presses.tell(self, key, began, ended)
            if self._running is not None and self.alive:
                self._running("key", key)  # else dropped, as Asterisk drops it

        handle = self._loop.call_later(duration, released)
        self._keys.add(handle)

    def hang_up(self) -> None:
        """The caller hangs up. A recorded call's hang-up handler runs then."""
        if not self.alive:
            return
        self.alive = False
        for handle in self._keys:
            handle.cancel()
        if self.done.is_set():
            self._run_handler()
        else:
            self._hung_up()

    async def talk(self, seconds: float) -> None:
        """Be bridged with the agent for so long: a recorder that waits for it writes both sides' tones."""
        if not self.done.is_set() or not self.alive:
            raise RuntimeError("the call is not past the gate")
        step = 0.1
        for number in range(math.ceil(seconds / step)):
            if self.hung_up:
                return
            sides = [_tone(hz, int(number * step * RATE), int(step * RATE)) for hz in TALK_HZ]
            for recorder in self.recorders:
                _record(recorder, sides)
            await asyncio.sleep(step)

    # --- what a test looks at ----------------------------------------------------------------------------------------

    @property
    def hung_up(self) -> bool:
        """The caller has gone."""
        return not self.alive

    @property
    def result(self) -> str:
        """The variable on which the dialplan branches."""
        return self.variables[variables.RESULT]

    @property
    def reason(self) -> str:
        """Why, as the dialplan was told."""
        return self.variables[variables.REASON]

    @property
    def call_id(self) -> str:
        """Our id of the call, as the dialplan was told."""
        return self.variables[variables.CALL_ID]

    @property
    def route(self) -> str:
        """Where the dialplan went: ``recorded``, ``unrecorded``, or empty while AGI() runs."""
        if not self.done.is_set():
            return ""
        return "recorded" if self.result == "granted" and self.status != "HANGUP" else "unrecorded"

    async def wait(self, timeout: float = 30.0) -> str:  # noqa: ASYNC109 - the tests' vocabulary, as in the phone
        """Wait until the dialplan has gone on (and the hang-up handler has ended, if it runs); the result."""
        async with asyncio.timeout(timeout):
            await self.done.wait()
            if self._tasks:
                await asyncio.gather(*self._tasks)
            if self.ended is not None:
                await self.ended.done.wait()
        return self.result

    async def wait_command(self, prefix: str, nth: int = 1, timeout: float = 30.0) -> float:  # noqa: ASYNC109 - likewise
        """Wait for the nth command that begins so (``STREAM FILE "/a/b"``); the moment at which it came."""
        came = [command.at for command in self.commands if command.text.startswith(prefix)]
        if len(came) >= nth:
            return came[nth - 1]
        waiter = _Waiter(prefix, nth - len(came), self._loop.create_future())
        self._waiters.append(waiter)
        async with asyncio.timeout(timeout):
            return await waiter.future

    # --- the connection ----------------------------------------------------------------------------------------------

    async def connect(self, script: str, arguments: tuple[str, ...]) -> None:
        """Connect and send the environment."""
        switch = self.switch
        local = (switch.local_host, 0) if switch.local_host is not None else None
        try:
            await self._loop.create_connection(lambda: self, switch.host, switch.port, local_addr=local)
        except OSError:
            self._leave("FAILURE")
            return
        assert self._transport is not None
        if self.done.is_set():
            return
        self._set_lease(switch.lease_s)
        self._transport.write(
            environment(
                script,
                arguments,
                address=f"{switch.host}:{switch.port}",
                channel=self.channel,
                uniqueid=self.uniqueid,
                language=self.language,
                version=self.version,
                caller=self.caller,
                name=self.name,
                context=self.context,
            )
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            asyncio.Transport, transport
        )  # uvloop's is none by its class, and has all of its methods

    def data_received(self, data: bytes) -> None:
        at = time.monotonic()
        self._buffer += data
        while b"\n" in self._buffer and not self.done.is_set():
            line, _, self._buffer = self._buffer.partition(b"\n")
            if self._running is not None:
                self._running("command", "")
            text = line.decode("utf-8", "surrogateescape")
            self.commands.append(Command(at, text))
            for waiter in [waiter for waiter in self._waiters if text.startswith(waiter.prefix)]:
                waiter.nth -= 1
                if waiter.nth == 0:
                    self._waiters.remove(waiter)
                    if not waiter.future.done():
                        waiter.future.set_result(at)
            self._obey(text)
            if b"\n" in self._buffer:
                self._buffer = self._buffer.rpartition(b"\n")[2]  # a second command of one segment is never read
        if len(self._buffer) > _MAX_LINE:
            self.cut()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        # The server has closed: Asterisk notices at once, also in the middle of a prompt, and calls it a success.
        self._leave("HANGUP" if not self.alive else "FAILURE" if self._failed else "SUCCESS")

    def cut(self) -> None:
        """Close the connection now, as an Asterisk that is killed does."""
        if self._transport is not None:
            self._transport.abort()

    def _set_lease(self, seconds: float) -> None:
        if self._lease is not None:
            self._lease.cancel()
        self._lease, self._lease_until = None, 0.0
        if seconds > 0:
            self._lease_until = time.monotonic() + seconds
            self._lease = self._loop.call_later(seconds, self._leased_out)

    def _leased_out(self) -> None:
        """The absolute timeout: with AGIEXITONHANGUP the dialplan goes on in its extension T, and the caller stays."""
        if not self.switch.exit_on_hangup or self.done.is_set():
            return  # without it a server that hangs holds the call for ever
        self._finish_running("hangup")
        self.variables[variables.RESULT] = "failed"
        self.variables[variables.REASON] = "server_hangs"
        self._write_raw("HANGUP\nHANGUP\n")
        self._leave("HANGUP", goes_on=True)

    def _hung_up(self) -> None:
        self._finish_running("hangup")
        self._dead = True
        for recorder in self.recorders:
            recorder.close()
        self.recorders.clear()
        if self.switch.exit_on_hangup:
            self._write_raw("HANGUP\nHANGUP\n")
            self._leave("HANGUP")
        else:
            self._write_raw("HANGUP\n")

    def _leave(self, status: str, *, goes_on: bool = False) -> None:
        """AGI() has ended: what the include does next."""
        if self.done.is_set():
            return
        self.status = status
        for timer in (self._timer, self._lease):
            if timer is not None:
                timer.cancel()
        self._running = None
        if self._transport is not None:
            self._transport.close()
        if (self.alive or goes_on) and self.result != "granted":
            for recorder in self.recorders:
                recorder.close()
            self.recorders.clear()
        self.done.set()
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_exception(ConnectionResetError(f"no {waiter.prefix!r}: AGI has ended"))
        self._waiters.clear()
        if self.on_end is not None:
            self.on_end()
        if not self.alive:
            self._run_handler()

    def _run_handler(self) -> None:
        for recorder in self.recorders:
            recorder.close()
        self.recorders.clear()
        if self.result != "granted" or self.ended is not None:
            return
        arguments = (re.sub("[^0-9a-f]", "", self.call_id),)
        handler = FakeCall(self.switch, 0, self.caller, self.name, self.language, self.version, "ivr-consent-ended")
        handler.channel, handler.uniqueid, handler._dead = self.channel, self.uniqueid, True
        self.ended = handler
        task = self._loop.create_task(handler.connect(variables.ENDED_SCRIPT, arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- commands ----------------------------------------------------------------------------------------------------

    def _reply(self, text: str) -> None:
        self.replies.append(text)
        self._write_raw(text + "\n")

    def _write_raw(self, text: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(text.encode("utf-8", "surrogateescape"))

    def _finish_running(self, why: str) -> None:
        if self._running is not None:
            self._running(why, "")

    def _obey(self, line: str) -> None:
        words = _words(line)
        verb = " ".join(words[:3]).upper()
        if verb.startswith("GET FULL VARIABLE"):
            self._usage() if len(words) < 4 else self._reply(f"200 result=1 ({self._evaluate(words[3])[:_MAX_VALUE]})")
        elif verb.startswith("WAIT FOR DIGIT"):
            self._wait_for_digit(words)
        elif verb.startswith("GET VARIABLE"):
            self._get_variable(words)
        elif verb.startswith("SET VARIABLE"):
            self._set_variable(words)
        elif verb.startswith("STREAM FILE"):
            self._stream_file(words)
        elif verb.startswith("CHANNEL STATUS"):
            self._channel_status(words)
        elif words and words[0].upper() == "EXEC":
            self._exec(words)
        elif verb == "ANSWER" or verb.startswith("ANSWER "):
            if self._permitted():
                self.up = True
                self._reply("200 result=0")
        elif verb == "HANGUP" or verb.startswith("HANGUP "):
            if self._permitted():
                self._failed = True
                self._reply("200 result=1")
                self.alive = False
                self._hung_up()
        elif words and words[0].upper() == "NOOP" and not line.endswith("\r"):
            self._reply("200 result=0")
        elif words and words[0].upper() == "VERBOSE":
            self._usage() if len(words) < 2 else self._reply("200 result=1")
        else:
            self._reply(_UNKNOWN)

    def _permitted(self) -> bool:
        if self._dead:
            self._reply(_DEAD)
        return not self._dead

    def _usage(self) -> None:
        self._failed = True
        first, last = _USAGE
        self._reply(f"{first}\nSee the documentation of this command.\n{last}")

    def _channel_status(self, words: list[str]) -> None:
        if not self._permitted():
            return
        other = len(words) > 2 and words[2] != self.channel
        self._reply("200 result=-1" if other else f"200 result={6 if self.up else 4}")

    def _get_variable(self, words: list[str]) -> None:
        if len(words) != 3:
            self._usage()
            return
        value = self._value(words[2])
        self._reply("200 result=0" if value is None else f"200 result=1 ({value[:_MAX_VALUE]})")

    def _set_variable(self, words: list[str]) -> None:
        if len(words) < 4:
            self._usage()
            return
        if words[2].upper() == "TIMEOUT(ABSOLUTE)":
            with contextlib.suppress(ValueError):
                self._set_lease(float(words[3]))
        else:
            self.variables[words[2]] = words[3]
        self._reply("200 result=1")

    def _value(self, name: str) -> str | None:
        if name == "CHANNEL":
            return self.channel
        if name == "CHANNEL(state)":
            return "Up" if self.up else "Ring"
        if name == "CALLERID(num)":
            return self.caller
        if name == "CALLERID(name)":
            return self.name
        if name.upper() == "TIMEOUT(ABSOLUTE)":
            left = self._lease_until - time.monotonic()
            return f"{left:.3f}" if left > 0 else "0.000"
        if name.startswith("MIXMONITOR("):
            handle, _, what = name.removeprefix("MIXMONITOR(").removesuffix(")").partition(",")
            found = [recorder.filename for recorder in self.recorders if recorder.handle == handle]
            return found[0] if found and what == "filename" else ""
        return self.variables.get(name)

    def _evaluate(self, text: str) -> str:
        return _variable.sub(lambda match: self._value(match[1]) or "", text)

    def _stream_file(self, words: list[str]) -> None:
        if not self._permitted():
            return
        if not 4 <= len(words) <= 5:
            self._usage()
            return
        try:
            total = (self.switch.sounds / f"{words[2]}.ulaw").stat().st_size
        except OSError:
            self._reply("200 result=-1 endpos=0")
            return
        offset = min(int(words[4]) if len(words) > 4 else 0, total)
        self._play(words[3], offset, total)

    def _play(self, escape: str, offset: int, total: int) -> None:
        began = time.monotonic()

        def happens(what: str, key: str) -> None:
            if what == "key" and key not in escape:
                return
            position = offset + int((time.monotonic() - began) * self.switch.rate) // FRAME * FRAME
            position = min(position, total)
            self._stop_running()
            if what == "end":
                self._reply(f"200 result=0 endpos={total}")
            elif what == "key":
                self._reply(f"200 result={ord(key)} endpos={position}")
            elif what == "hangup":
                self._reply(f"200 result=-1 endpos={position}")
            # A new command takes the reply's place: this one has none.

        self._start_running(happens, (total - offset) / RATE)

    def _wait_for_digit(self, words: list[str]) -> None:
        if not self._permitted():
            return
        if len(words) != 4 or not re.fullmatch("-?[0-9]{1,9}", words[3]):
            self._usage()
            return

        def happens(what: str, key: str) -> None:
            self._stop_running()
            result = {"end": 0, "hangup": -1, "command": 1}.get(what)
            self._reply(f"200 result={ord(key) if result is None else result}")

        ms = int(words[3])
        self._start_running(happens, None if ms < 0 else ms / 1000)

    def _start_running(self, happens: Callable[[str, str], None], seconds: float | None) -> None:
        self._running = happens
        if seconds is not None and seconds <= 0:
            happens("end", "")
        elif seconds is not None:
            self._timer = self._loop.call_later(seconds / self.switch.speed, happens, "end", "")

    def _stop_running(self) -> None:
        self._running = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _exec(self, words: list[str]) -> None:
        if len(words) < 2:
            self._usage()
            return
        application, arguments = words[1].lower(), words[2] if len(words) > 2 else ""
        if application == "mixmonitor":
            self._reply(f"200 result={self._mix_monitor(arguments)}")
        elif application == "stopmixmonitor":
            self._stop_mix_monitor(arguments)
            self._reply("200 result=0")
        else:
            self._reply(f"200 result={0 if application == 'noop' else -2}")

    def _mix_monitor(self, arguments: str) -> int:
        """Start a recorder; -1 only for missing arguments. What cannot be written is not told to anyone."""
        filename, _, rest = arguments.partition(",")
        if not filename:
            return -1
        options = dict(_option.findall(rest.partition(",")[0]))
        filename = str(self.switch.monitor / filename)
        recorder = Recorder(hex(next(self._handles)), filename, rest)
        self.variables["MIXMONITOR_FILENAME"] = filename
        if options.get("i"):
            self.variables[options["i"]] = recorder.handle
        recorder.paths = tuple(Path(path) for path in (filename, options.get("r"), options.get("t")) if path)
        for path in recorder.paths:
            if path.suffix.removeprefix(".") in _FORMATS and not (self._dead and path.suffix != ".wav"):
                with contextlib.suppress(OSError):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    recorder.files.append(_open(path))
        if self._dead:
            recorder.close()
            return 0
        self.recorders.append(recorder)
        self.started.append(recorder)
        return 0

    def _stop_mix_monitor(self, handle: str) -> None:
        """Stop the recorder of this handle, or the newest; told alike whether one ran."""
        for recorder in reversed(self.recorders):
            if handle in ("", recorder.handle):
                recorder.close()
                self.recorders.remove(recorder)
                return


class FakePresses:
    """When presses began, as a manager link would tell the server in the same process (``Server(presses=...)``)."""

    def __init__(self, switch: FakeAsterisk) -> None:
        self.up = True
        self._switch = switch
        self._waiting: list[tuple[str, str, float, Callable[[float | None], None], asyncio.TimerHandle]] = []

    def known(self) -> bool:
        """Whether the link is up."""
        return self.up

    def when(
        self, uniqueid: str, digit: str, not_before: float, timeout: float, callback: Callable[[float | None], None]
    ) -> Callable[[], object]:
        """See ``keys.KeyPresses.when``."""
        loop = asyncio.get_running_loop()
        for call in self._switch.calls:
            for key, began, ended in call.pressed:
                if call.uniqueid == uniqueid and key == digit and ended >= not_before:
                    return loop.call_soon(callback, began).cancel
        timer = loop.call_later(timeout, callback, None)
        self._waiting.append((uniqueid, digit, not_before, callback, timer))
        return timer.cancel

    def tell(self, call: FakeCall, key: str, began: float, ended: float) -> None:
        """A key was released."""
        for waiter in self._waiting[:]:
            uniqueid, digit, not_before, callback, timer = waiter
            if (uniqueid, digit) == (call.uniqueid, key) and ended >= not_before:
                self._waiting.remove(waiter)
                if not timer.cancelled():
                    timer.cancel()
                    callback(began)


# --- parts ------------------------------------------------------------------------------------------------------------


def environment(
    script: str = variables.CONSENT_SCRIPT,
    arguments: tuple[str, ...] = ("support",),
    *,
    address: str = "127.0.0.1:4573",
    channel: str = "PJSIP/phone-00000001",
    uniqueid: str = "1795300754.9",
    language: str = "en",
    version: str = VERSION_22,
    caller: str = "4512345678",
    name: str = "unknown",
    context: str = variables.CONTEXT,
) -> bytes:
    """The environment block of a call, as Asterisk writes it: nothing in a value is escaped."""
    lines = {
        "network": "yes",
        "network_script": script,
        "request": f"agi://{address}/{script}",
        "channel": channel,
        "language": language,
        "type": "PJSIP",
        "uniqueid": uniqueid,
        "version": version,
        "callerid": caller or "unknown",
        "calleridname": name or "unknown",
        "callingpres": "0",
        "callingani2": "0",
        "callington": "0",
        "callingtns": "0",
        "dnid": "unknown",
        "rdnis": "unknown",
        "context": context,
        "extension": "s",
        "priority": "15",
        "enhanced": "0.0",
        "accountcode": "",
        "threadid": "140448194393792",
        **{f"arg_{number}": word for number, word in enumerate(arguments, 1)},
    }
    if not script:
        del lines["network_script"]
    text = "".join(f"agi_{key}: {value}\n" for key, value in lines.items())
    return (text + "\n").encode("utf-8", "surrogateescape")


def _words(line: str) -> list[str]:
    """Split a command as Asterisk does: quotation marks keep white space, a backslash takes the next as it is."""
    words: list[str] = []
    quoted = escaped = False
    between = True
    for character in line:
        if not escaped:
            if character == "\\":
                escaped = True
                continue
            if character == '"':
                quoted = not quoted
                if quoted and between:
                    words.append("")
                    between = False
                continue
            if character in " \t" and not quoted:
                between = True
                continue
        if between:
            words.append("")
            between = False
        words[-1] += character
        escaped = False
    return words


def _open(path: Path) -> IO[bytes]:
    """Create a recorder's file as MixMonitor does: readable by its user alone where the umask says so."""
    file = os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o666), "wb")
    if path.suffix == ".wav":
        with wave.open(file, "wb") as head:
            head.setnchannels(1)
            head.setsampwidth(2)
            head.setframerate(RATE)
        file.flush()
    return file


def _record(recorder: Recorder, sides: list[array[int]]) -> None:
    """Write what both sides said: interleaved into one raw file, or a file a side."""
    for path, file in zip(recorder.paths, recorder.files, strict=False):
        if path.suffix == ".raw":
            both = array("h", bytes(4 * len(sides[0])))
            both[0::2], both[1::2] = sides
            file.write(both.tobytes())
        file.flush()


def _tone(hz: int, start: int, count: int) -> array[int]:
    return array("h", (int(6000 * math.sin(2 * math.pi * hz * n / RATE)) for n in range(start, start + count)))
