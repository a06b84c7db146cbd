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
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from ivr_consent.pbx.asterisk import variables
from ivr_consent.testing.fake_asterisk_applications import execute
from ivr_consent.testing.fake_asterisk_commands import obey, samples_of, usage_lines
from ivr_consent.testing.fake_asterisk_program import Program
from ivr_consent.testing.fake_asterisk_recorder import FORMATS, RATE, Recorder, open_file, record, tone
from ivr_consent.testing.fake_asterisk_wire import VERSION_22, environment, missing, server_of, words_of

CONNECT_S: Final = 2.0
"""How long Asterisk tries to connect."""


FRAME: Final = 160
"""Samples in 20 ms: positions are told in whole frames."""

LEASE_S: Final = 15.0
"""TIMEOUT(absolute) that the include sets before AGI()."""

_SET_BY_INCLUDE: Final = {
    variables.RESULT: "failed",
    variables.REASON: "server_failed",
    variables.CALL_ID: "",
    variables.MIXMONITOR: "",
}

TALK_HZ: Final = (400, 600)
"""What caller and agent "say" in :meth:`FakeCall.talk`."""

_DEAD: Final = "511 Command Not Permitted on a dead channel or intercept routine"
_UNKNOWN: Final = "510 Invalid or unknown command"
_USAGE: Final = ("520-Invalid command syntax.  Proper usage follows:", "520 End of proper usage.")
_MAX_VALUE: Final = 1024  # characters of a value in a reply
_MAX_LINE: Final = 64 * 1024
_KEYS: Final = frozenset("0123456789*#ABCD")
_variable = re.compile(r"\$\{([^${}]*)\}")
_option = re.compile(r"([A-Za-z])(?:\(([^()]*)\))?")


@dataclass(frozen=True, slots=True)
class Command:
    """A line that the server sent, and when (``time.monotonic``)."""

    at: float
    text: str


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
        self.database: dict[tuple[str, str], str] = {}
        """What ``DATABASE`` keeps, by family and key."""
        self.applications: dict[str, Callable[[FakeCall, str], int]] = {}
        """What ``EXEC`` does besides what the fake knows, by the application's name in small letters: gets the call and
        the arguments, returns the result. Variables such as ``DIALSTATUS`` are set in the call's ``variables``."""
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

    async def run(
        self,
        agi: str | Path | Sequence[str | Path],
        arguments: tuple[str, ...] = (),
        *,
        caller: str = "4512345678",
        name: str = "unknown",
        language: str = "en",
        version: str = VERSION_22,
        context: str = "default",
        extension: str = "100",
    ) -> FakeCall:
        """A caller rings where a dialplan that is not ours says ``AGI(agi,arguments…)``, and nothing of our include.

        ``agi``: a server's address, ``agi://host:port/script``, or a program; a sequence is the program with what
        stands before the arguments. Raises :class:`ValueError` for an address without a host.
        """
        call = FakeCall(self, next(self._numbers), caller, name, language, version, context, extension)
        self.calls.append(call)
        server = None if not isinstance(agi, str) else server_of(agi)
        if server is not None:
            await call.connect(server.script, arguments, (server.host, server.port))
        else:
            words = (agi,) if isinstance(agi, str | Path) else agi
            await call.start(tuple(str(word) for word in words), arguments)
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
        self,
        switch: FakeAsterisk,
        number: int,
        caller: str,
        name: str,
        language: str,
        version: str,
        context: str,
        extension: str = "",
    ) -> None:
        self.switch = switch
        self.uniqueid = f"{int(time.time())}.{number}"
        self.channel = f"PJSIP/phone-{number:08x}"
        self.caller, self.name, self.language, self.version, self.context = caller, name, language, version, context
        self.commands: list[Command] = []
        self.replies: list[str] = []
        self.extension = extension
        """Where a dialplan that is not ours runs AGI(); empty in our include."""
        self.variables: dict[str, str] = {} if extension else dict(_SET_BY_INCLUDE)
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
        self._transport: asyncio.Transport | Program | None = None
        self._program: Program | None = None
        self._auto_hang_up: asyncio.TimerHandle | None = None
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
        self.hang_up_in(0)
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
            sides = [tone(hz, int(number * step * RATE), int(step * RATE)) for hz in TALK_HZ]
            for recorder in self.recorders:
                record(recorder, sides)
            await asyncio.sleep(step)

    # --- what a test looks at ----------------------------------------------------------------------------------------

    @property
    def hung_up(self) -> bool:
        """The caller has gone."""
        return not self.alive

    @property
    def result(self) -> str:
        """The variable on which the dialplan branches."""
        return self.variables.get(variables.RESULT, "")

    @property
    def reason(self) -> str:
        """Why, as the dialplan was told."""
        return self.variables.get(variables.REASON, "")

    @property
    def call_id(self) -> str:
        """Our id of the call, as the dialplan was told."""
        return self.variables.get(variables.CALL_ID, "")

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

    async def wait_command(self, prefix: str, nth: int = 1, timeout: float = 30.0) -> float:  # noqa: ASYNC109 - the tests' word
        """Wait for the nth command that begins so (``STREAM FILE "/a/b"``); the moment at which it came."""
        came = [command.at for command in self.commands if command.text.startswith(prefix)]
        if len(came) >= nth:
            return came[nth - 1]
        waiter = _Waiter(prefix, nth - len(came), self._loop.create_future())
        self._waiters.append(waiter)
        async with asyncio.timeout(timeout):
            return await waiter.future

    # --- the connection ----------------------------------------------------------------------------------------------

    async def connect(self, script: str, arguments: tuple[str, ...], address: tuple[str, int] | None = None) -> None:
        """Connect, to the switch's own server or another one, and send the environment."""
        switch = self.switch
        host, port = address or (switch.host, switch.port)
        local = (switch.local_host, 0) if switch.local_host is not None else None
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._loop.create_connection(lambda: self, host, port, local_addr=local)
        except (OSError, TimeoutError):
            self._leave("FAILURE")
            return
        assert self._transport is not None
        if self.done.is_set():
            return
        self._set_lease(switch.lease_s)
        self._transport.write(self._environment(script, arguments, address=f"{host}:{port}"))

    async def start(self, command: tuple[str, ...], arguments: tuple[str, ...]) -> None:
        """Start a program and send it the environment."""
        if missing(command[0]):
            self._leave("NOTFOUND")
            return
        self._program = program = Program(self)
        self._transport = program
        try:
            await program.start((*command, *arguments))
        except OSError:
            self._leave("FAILURE")
            return
        program.write(self._environment(command[0], (*command[1:], *arguments), network=False))

    def _environment(
        self, script: str, arguments: tuple[str, ...], *, address: str = "", network: bool = True
    ) -> bytes:
        place = {"extension": self.extension, "dnid": self.extension, "priority": "1"} if self.extension else {}
        return environment(
            script,
            arguments,
            address=address,
            channel=self.channel,
            uniqueid=self.uniqueid,
            language=self.language,
            version=self.version,
            caller=self.caller,
            name=self.name,
            context=self.context,
            network=network,
            **place,
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
        # A command that failed before is what AGISTATUS says, also after a hang-up.
        self._leave("FAILURE" if self._failed else "HANGUP" if not self.alive else "SUCCESS")

    def program_ended(self, code: int) -> None:
        """The program has ended: what it returns counts, unless the caller was gone before."""
        failed = self._failed or (code != 0 and self.alive)
        self._leave("FAILURE" if failed else "HANGUP" if not self.alive else "SUCCESS")

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
        if isinstance(self._transport, Program):
            self._transport.hang_up()
            if self.switch.exit_on_hangup:
                self._leave("HANGUP")
        elif self.switch.exit_on_hangup:
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
        if (self.alive or goes_on) and self.result != "granted" and not self.extension:
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

    def reply(self, text: str) -> None:
        self.replies.append(text)
        self._write_raw(text + "\n")

    def _write_raw(self, text: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(text.encode("utf-8", "surrogateescape"))

    def _finish_running(self, why: str) -> None:
        if self._running is not None:
            self._running(why, "")

    def _obey(self, line: str) -> None:
        words = words_of(line)
        verb = " ".join(words[:3]).upper()
        if verb.startswith("GET FULL VARIABLE"):
            self.usage() if len(words) < 4 else self.reply(f"200 result=1 ({self.evaluate(words[3])[:_MAX_VALUE]})")
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
            if self.permitted():
                self.up = True
                self.reply("200 result=0")
        elif verb == "HANGUP" or verb.startswith("HANGUP "):
            if self.permitted() and self._is_this(words):
                self.fail()
                self.reply("200 result=1")
                self.alive = False
                self._hung_up()
        elif words and words[0].upper() == "NOOP" and not line.endswith("\r"):
            self.reply("200 result=0")
        elif words and words[0].upper() == "VERBOSE":
            self.usage() if len(words) < 2 else self.reply("200 result=1")
        elif not obey(self, words):
            self.reply(_UNKNOWN)

    def _is_this(self, words: list[str]) -> bool:
        if len(words) > 1 and words[1] != self.channel:
            self.reply("200 result=-1")
            return False
        return True

    def fail(self) -> None:
        """A command has failed: that is what AGISTATUS says in the end."""
        self._failed = self._failed or self.alive

    @property
    def dead(self) -> bool:
        """The channel has been hung up."""
        return self._dead

    @staticmethod
    def now() -> float:
        """The time by which prompts play (``time.monotonic``)."""
        return time.monotonic()

    def position(self, began: float, total: int | None) -> int:
        """How many samples, in whole frames, have passed since then; no more than there are."""
        position = int((time.monotonic() - began) * self.switch.rate) // FRAME * FRAME
        return position if total is None else min(position, total)

    def hang_up_in(self, seconds: float) -> None:
        """Let Asterisk hang up after so long; 0 takes that back."""
        if self._auto_hang_up is not None:
            self._auto_hang_up.cancel()
        self._auto_hang_up = self._loop.call_later(seconds, self.hang_up) if seconds else None

    @property
    def said(self) -> str:
        """What a program has written to its standard error, the last 64 KiB."""
        return self._program.said if self._program is not None else ""

    def permitted(self) -> bool:
        if self._dead:
            self.reply(_DEAD)
        return not self._dead

    def usage(self) -> None:
        """Answer a command with wrong arguments."""
        self.fail()
        first, last = _USAGE
        text = "\n".join(["See the documentation of this command."] * usage_lines(self.commands[-1].text))
        self.reply(f"{first}\n{text}\n{last}")

    def _channel_status(self, words: list[str]) -> None:
        if not self.permitted():
            return
        other = len(words) > 2 and words[2] != self.channel
        self.reply("200 result=-1" if other else f"200 result={6 if self.up else 4}")

    def _get_variable(self, words: list[str]) -> None:
        if len(words) != 3:
            self.usage()
            return
        value = self.value(words[2])
        self.reply("200 result=0" if value is None else f"200 result=1 ({value[:_MAX_VALUE]})")

    def _set_variable(self, words: list[str]) -> None:
        if len(words) < 4:
            self.usage()
            return
        if words[2].upper() == "TIMEOUT(ABSOLUTE)":
            with contextlib.suppress(ValueError):
                self._set_lease(float(words[3]))
        else:
            self.variables[words[2]] = words[3]
        self.reply("200 result=1")

    def value(self, name: str) -> str | None:
        if name == "CHANNEL":
            return self.channel
        if name == "CHANNEL(state)":
            return "Up" if self.up else "Ring"
        if name == "CALLERID(num)":
            return self.caller
        if name == "CALLERID(name)":
            return "" if self.name == "unknown" else self.name
        if name == "UNIQUEID":
            return self.uniqueid
        if name == "CHANNEL(language)":
            return self.language
        if name in ("CONTEXT", "EXTEN"):
            return self.context if name == "CONTEXT" else self.extension or "s"
        if name.upper() == "TIMEOUT(ABSOLUTE)":
            left = self._lease_until - time.monotonic()
            return f"{left:.3f}" if left > 0 else "0.000"
        if name.startswith("MIXMONITOR("):
            handle, _, what = name.removeprefix("MIXMONITOR(").removesuffix(")").partition(",")
            found = [recorder.filename for recorder in self.recorders if recorder.handle == handle]
            return found[0] if found and what == "filename" else ""
        return self.variables.get(name)

    def evaluate(self, text: str) -> str:
        return _variable.sub(lambda match: self.value(match[1]) or "", text)

    def _stream_file(self, words: list[str]) -> None:
        if not self.permitted():
            return
        if not 4 <= len(words) <= 5:
            self.usage()
            return
        total = samples_of(self.switch.sounds, words[2], self.language)
        self.variables["PLAYBACKSTATUS"] = "FAILED" if total is None else "SUCCESS"
        if total is None:
            self.fail()
            self.reply("200 result=-1 endpos=0")
            return
        offset = min(int(words[4]) if len(words) > 4 else 0, total)
        self._play(words[3], offset, total)

    def _play(self, escape: str, offset: int, total: int) -> None:
        began = time.monotonic()

        def happens(what: str, key: str) -> None:
            if what == "key" and key not in escape:
                return
            position = min(offset + self.position(began, None), total)
            self.stop_running()
            if what == "end":
                self.reply(f"200 result=0 endpos={total}")
            elif what == "key":
                self.reply(f"200 result={ord(key)} endpos={position}")
            elif what == "hangup":
                self.reply(f"200 result=-1 endpos={position}")
            # A new command takes the reply's place: this one has none.

        self.start_running(happens, (total - offset) / RATE)

    def _wait_for_digit(self, words: list[str]) -> None:
        if not self.permitted():
            return
        if len(words) != 4 or not re.fullmatch("-?[0-9]{1,9}", words[3]):
            self.usage()
            return

        def happens(what: str, key: str) -> None:
            self.stop_running()
            result = {"end": 0, "hangup": -1, "command": 1}.get(what)
            self.reply(f"200 result={ord(key) if result is None else result}")

        ms = int(words[3])
        self.start_running(happens, None if ms < 0 else ms / 1000)

    def start_running(self, happens: Callable[[str, str], None], seconds: float | None) -> None:
        self._running = happens
        if seconds is not None and seconds <= 0:
            happens("end", "")
        elif seconds is not None:
            self._timer = self._loop.call_later(seconds / self.switch.speed, happens, "end", "")

    def stop_running(self) -> None:
        self._running = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _exec(self, words: list[str]) -> None:
        if len(words) < 2:
            self.usage()
            return
        application, arguments = words[1].lower(), words[2] if len(words) > 2 else ""
        if application == "mixmonitor":
            self.reply(f"200 result={self._mix_monitor(arguments)}")
        elif application == "stopmixmonitor":
            self._stop_mix_monitor(arguments)
            self.reply("200 result=0")
        else:
            execute(self, application, arguments)

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
            if path.suffix.removeprefix(".") in FORMATS and not (self._dead and path.suffix != ".wav"):
                with contextlib.suppress(OSError):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    recorder.files.append(open_file(path))
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
