"""pyst2's `AGI` for classic scripts (Asterisk starts a program and talks through its standard streams).

pyst2's convenience methods (`answer`, `stream_file`, `get_variable`, ...) are kept; what lies below them is
replaced by the strict `Wire`. As released a hang-up is a `ValueError`, an end of input inside a usage text
an endless loop, a quotation mark or line break in a value a different command, and all that the caller sends
goes to stderr.

A forged environment is not noticed here before its first command: see `wire`. Begin with an echo of random
text (`get_full_variable`) and believe nothing before it came back.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from asterisk.agi import (
    AGI,
    AGIAppError,
    AGIDBError,
    AGIError,
    AGIHangup,
    AGIInvalidCommand,
    AGIResultHangup,
    AGISIGPIPEHangup,
    AGIUsageError,
)

from ivr_consent.pbx.asterisk.wire import (
    Closed,
    Environment,
    Event,
    LocalProtocolError,
    RemoteProtocolError,
    Reply,
    Wire,
    quote,
)

if TYPE_CHECKING:
    from types import FrameType

DEADLINE: Final = 120.0  # seconds for a reply beyond the command's own timeout; no prompt of ours is longer
ENVIRONMENT_DEADLINE: Final = 5.0  # seconds; Asterisk writes it before it looks at anything else
AFTER_HANGUP: Final = 5.0  # seconds; the reply to the command under way follows HANGUP at once
READ_SIZE: Final = 4096  # bytes at a time

# Where a command has its own timeout in milliseconds among its arguments.
_OWN_TIMEOUT: Final = {
    "WAIT FOR DIGIT": 0,
    "RECEIVE CHAR": 0,
    "GET DATA": 1,
    "GET OPTION": 2,
    "RECORD FILE": 3,
}
_END_OF_INPUT: Final = frozenset({"environment-eof", "reply-eof", "half-line"})

Result = dict[str, tuple[str, str]]


class AGIDeadChannel(AGIHangup):  # type: ignore[misc]  # pyst2 is released without types
    """Asterisk answered 511: the channel is gone, and this command is not for dead channels."""


class AGIReplyTimeout(AGIError):  # type: ignore[misc]  # pyst2 is released without types
    """No reply in time. The session is over, since a late reply would be taken for the next command's."""


class AGIStreamBroken(AGIError):  # type: ignore[misc]  # pyst2 is released without types
    """Asterisk's side broke the protocol, which a caller can bring about. Nothing read is to be believed."""


class AGIUnsafeCommand(AGIUsageError, ValueError):  # type: ignore[misc]  # pyst2 is released without types
    """A command that could be read as another one, or is too long; nothing was sent."""


class HasFileno(Protocol):
    """A file, as far as it is needed here."""

    def fileno(self) -> int:
        """The file descriptor."""
        ...


class _Quoted(str):
    """An argument that is quoted already, so that it is not quoted twice."""

    __slots__ = ()


class ScriptAGI(AGI):  # type: ignore[misc]  # pyst2 is released without types
    """One classic AGI session; reads the environment when it is made.

    `deadline` is how many seconds a reply may take beyond the command's own timeout. Every method raises
    `AGIHangup` when the caller has hung up or Asterisk has closed its side, and nothing else is sent then.
    In the main thread SIGHUP (Asterisk's hang-up signal) is caught until `close()`.
    """

    def __init__(self, stdin: int | HasFileno = 0, stdout: int | HasFileno = 1, *, deadline: float = DEADLINE) -> None:
        # Not pyst2's: it installs a signal handler in any thread and writes the program's arguments to stderr.
        self._in = stdin if isinstance(stdin, int) else stdin.fileno()
        self._out = stdout if isinstance(stdout, int) else stdout.fileno()
        self.deadline = deadline
        self._wire = Wire()
        self._broken: AGIError | None = None
        self._got_sighup = False
        self._hung_up = False
        self._previous: object = None
        self._catches_sighup = threading.current_thread() is threading.main_thread()
        if self._catches_sighup:
            self._previous = signal.signal(signal.SIGHUP, self._handle_sighup)
        self.env: dict[str, str] = {}
        try:
            self._get_agi_env()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give SIGHUP back to whoever had it. The streams stay open: they are the process's."""
        if self._catches_sighup:
            self._catches_sighup = False
            signal.signal(signal.SIGHUP, self._previous)  # type: ignore[arg-type]  # what signal() returned

    # -- what pyst2's methods stand on

    def execute(self, command: str, *args: object) -> Result:
        """Send one command and return its reply as pyst2's dictionary: `{"result": (value, data), ...}`."""
        self.test_hangup()
        own = 0.0
        position = _OWN_TIMEOUT.get(command.strip().upper())
        if position is not None and len(args) > position and isinstance(args[position], int):
            own = max(int(str(args[position])), 0) / 1000
        self.send_command(command, *args)
        return self._result(time.monotonic() + own + self.deadline)

    def send_command(self, command: str, *args: object) -> None:
        """Write one command. Text that is not quoted yet is quoted, so no argument can become another."""
        words = list(args)
        while words and words[-1] == "" and not isinstance(words[-1], _Quoted):
            words.pop()  # pyst2 passes '' for what is left out
        try:
            line = " ".join([command.strip(), *[self._word(word) for word in words]])
            data = self._wire.send(line)
        except LocalProtocolError as error:
            raise AGIUnsafeCommand(str(error)) from None
        except RemoteProtocolError as error:
            self._die(error)
        self._write(data, time.monotonic() + self.deadline)

    def get_result(self, stdin: object = None) -> Result:
        """Read the reply to the command under way, within `deadline` seconds."""
        return self._result(time.monotonic() + self.deadline)

    def ask(self, command: bytes, deadline: float) -> Reply:
        """Send one command made by `wire`'s builders; its reply as it is, also on a dead channel.

        `deadline` is in seconds, for sending and the reply together. Raises `AGIHangup` only when Asterisk has
        closed its side; that the caller is gone is in `hung_up`.
        """
        if self._broken is not None:
            raise self._broken
        until = time.monotonic() + deadline
        try:
            data = self._wire.send(command)
        except RemoteProtocolError as error:
            self._die(error)
        self._write(data, until)
        while not isinstance(event := self._next(until), Reply):
            if isinstance(event, Closed):
                raise AGIHangup("Asterisk closed its side")
        return event

    @property
    def hung_up(self) -> bool:
        """Whether the caller is known to have hung up."""
        return self._hung_up or self._got_sighup or self._wire.hung_up

    def test_hangup(self) -> None:
        """Raise what ended the session, if anything did."""
        super().test_hangup()
        if self._hung_up:
            raise AGIHangup("the channel has hung up")
        if self._broken is not None:
            raise self._broken

    def database_get(self, family: str, key: str) -> str:
        """The value in Asterisk's database; `AGIDBError` if there is none. (pyst2 quotes both twice.)"""
        found, value = self.execute("DATABASE GET", self._quote(family), self._quote(key))["result"]
        if found != "1":
            raise AGIDBError("key not found in the database")
        return value

    def _quote(self, string: object) -> str:
        try:
            return _Quoted(quote(str(string)))
        except LocalProtocolError as error:
            raise AGIUnsafeCommand(str(error)) from None

    def _word(self, value: object) -> str:
        if isinstance(value, (_Quoted, int, float)):
            return str(value)
        return self._quote(value)

    def _get_agi_env(self) -> None:
        event = self._next(time.monotonic() + ENVIRONMENT_DEADLINE)
        if not isinstance(event, Environment):
            self._hung_up = True
            raise AGIHangup("Asterisk closed its side before the environment")
        self.environment = event
        self.env = dict(event.raw)

    # -- reading

    def _result(self, until: float) -> Result:
        while not isinstance(event := self._next(until), Reply):
            self._hung_up = True
            if isinstance(event, Closed):
                raise AGIHangup("Asterisk closed its side")
            # The reply comes all the same, and is read so that nothing later can be taken for it.
            until = min(until, time.monotonic() + AFTER_HANGUP)
        if self._hung_up:
            raise AGIHangup("the channel has hung up")
        return _as_dictionary(event)

    def _next(self, until: float) -> Event:
        """The next event; raises `AGIReplyTimeout` at the monotonic time `until`."""
        try:
            while (event := self._wire.next_event()) is None:
                self._wire.receive_data(self._read(until))
        except RemoteProtocolError as error:
            self._die(error)
        return event

    def _read(self, until: float) -> bytes:
        self._wait(self._in, select.POLLIN, until)
        try:
            return os.read(self._in, READ_SIZE)
        except ConnectionError:
            return b""

    def _write(self, data: bytes, until: float) -> None:
        try:
            while data:
                self._wait(self._out, select.POLLOUT, until)
                data = data[os.write(self._out, data) :]
        except (BrokenPipeError, ConnectionError):
            self._hung_up = True
            raise AGISIGPIPEHangup("Asterisk reads no more") from None

    def _wait(self, fd: int, what: int, until: float) -> None:
        poller = select.poll()  # unlike select() it takes descriptors above 1023
        poller.register(fd, what)
        if not poller.poll(max(until - time.monotonic(), 0.0) * 1000):
            self._broken = AGIReplyTimeout("Asterisk did not answer in time")
            raise AGIHangup("no reply after the hang-up") if self._hung_up else self._broken

    def _die(self, error: RemoteProtocolError) -> NoReturn:
        if error.reason in _END_OF_INPUT:
            self._hung_up = True
            raise AGIHangup("Asterisk closed its side") from None
        self._broken = AGIStreamBroken(error.reason)  # not the excerpt: it can hold what the caller sent
        raise self._broken from None

    def _handle_sighup(self, signum: int, frame: FrameType | None) -> None:
        self._got_sighup = True


def _as_dictionary(reply: Reply) -> Result:
    if reply.code == 510:
        raise AGIInvalidCommand(reply.text)
    if reply.code == 511:
        raise AGIDeadChannel(reply.text)
    if not reply.ok:
        raise AGIUsageError(reply.text)
    if reply.result == "-1":
        # Only here is `(hangup)` Asterisk's word; after another result it is a variable's value.
        failure = AGIResultHangup if reply.data == "hangup" else AGIAppError
        raise failure("Error executing application, or hangup")
    result = {"result": (reply.result, reply.data or "")}
    if reply.endpos is not None:
        result["endpos"] = (str(reply.endpos), "")
    return result
