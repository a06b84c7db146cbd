"""The connection to FreeSWITCH's own event socket: API commands with deadlines, events, and a new one when it breaks.

Who is on this connection can run anything on the switch, so the password is sent to the configured address alone, and
nothing that a caller wrote is ever sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ivr_consent.core.errors import EventSocketError, ProtocolError
from ivr_consent.logs import get_logger
from ivr_consent.pbx.freeswitch import wire
from ivr_consent.pbx.freeswitch.wire import ApiResponse, AuthRequest, Disconnect, Event, Rejected, Reply, Wire

CONNECT_S: Final = 3.0
"""How long a connection and its log-in may take."""

REPLY_S: Final = 2.0
"""How long one reply may take; the switch answers within milliseconds."""

ALIVE_S: Final = 2.0
"""After so long without a word the switch is asked whether it is there."""

AGAIN_S: Final = (0.1, 0.3, 1.0, 2.0, 5.0)
"""Pauses between attempts in a row."""

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of an answer: the list of all channels has some hundred for each."""

MAX_WAITING: Final = 2000
"""Commands that may wait for their replies; more means that the switch does not answer."""

log = get_logger()


class Link:
    """One connection that is always being held.

    ``on_event`` gets each event as it is read; it may neither raise nor wait.
    """

    def __init__(
        self,
        host: str,
        port: int,
        password: str,
        *,
        events: tuple[str, ...] = (),
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self._host, self._port, self._password = host, port, password
        self._events = events
        self.on_event = on_event
        self.connections = 0
        """How often it was logged in: another number is another connection, and events between the two are lost."""
        self.problem = "not connected yet"
        """Why it is down, for an administrator; empty while it is up."""
        self._up = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: deque[asyncio.Future[Reply | ApiResponse]] = deque()
        self._heard = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether it is connected and logged in."""
        return self._up.is_set()

    async def start(self) -> None:
        """Begin to hold the connection; it is up some time later."""
        self._task = asyncio.get_running_loop().create_task(self._hold())

    async def wait_up(self, seconds: float) -> bool:
        """Whether it is up within so many seconds."""
        # asyncio.timeout everywhere here: wait_for can swallow a cancellation that comes together with the result.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._up.wait()
        return self.up

    async def close(self) -> None:
        """End it. Commands that wait fail."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def api(self, command: str, *, timeout: float = REPLY_S) -> str:  # noqa: ASYNC109 - part of the command
        """What an API command prints. Raises :class:`EventSocketError` without an answer in time."""
        reply = await self._command(wire.api(command), timeout)
        if not isinstance(reply, ApiResponse):
            raise EventSocketError(f"the event socket answered: {_shown(reply.text)}")
        return reply.body

    async def beat(self, subclass: str, name: str, value: str) -> None:
        """Send an event of our own, which comes back to whoever hears such. Raises :class:`EventSocketError`."""
        await self._command(wire.beat(subclass, name, value), REPLY_S)

    # --- the connection --------------------------------------------------------------------------

    async def _hold(self) -> None:
        row = 0
        while True:
            began = time.monotonic()
            try:
                await self._one_life()
            except (OSError, EventSocketError, ProtocolError, TimeoutError, asyncio.IncompleteReadError) as error:
                told = _why(error)
                if told != self.problem:
                    log.warning("event_socket_down", problem=told)
                self.problem = told
            row = 0 if time.monotonic() - began > AGAIN_S[-1] else min(row + 1, len(AGAIN_S) - 1)
            await asyncio.sleep(AGAIN_S[row])

    async def _one_life(self) -> None:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(self._host, self._port)
        alive: asyncio.Task[None] | None = None
        try:
            received = Wire(max_body=MAX_ANSWER)
            async with asyncio.timeout(CONNECT_S):
                await self._log_in(reader, writer, received)
            self._writer, self._heard, self.problem = writer, time.monotonic(), ""
            self.connections += 1
            self._up.set()
            log.info("event_socket_up")
            alive = asyncio.get_running_loop().create_task(self._see_that_it_lives(writer))
            while True:
                self._take(received)
                data = await reader.read(1 << 16)
                if not data:
                    raise EventSocketError("FreeSWITCH closed the event socket")
                self._heard = time.monotonic()
                received.receive_data(data)
        finally:
            self._up.clear()
            self._writer = None
            if alive is not None:
                alive.cancel()
            writer.transport.abort()
            while self._waiting:
                future = self._waiting.popleft()
                if not future.done():
                    future.set_exception(EventSocketError("the event socket is down"))
                    future.exception()  # whoever waited may have left

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: Wire) -> None:
        if not isinstance(await _next(reader, received), AuthRequest):
            raise EventSocketError("what answers there is no event socket of FreeSWITCH")
        writer.write(wire.auth(self._password))
        reply = await _next(reader, received)
        if not isinstance(reply, Reply) or not reply.ok:
            raise EventSocketError("FreeSWITCH refuses the event socket's password; see event_socket.password_file")
        if self._events:
            writer.write(wire.events(*self._events))
            reply = await _next(reader, received)
            if not isinstance(reply, Reply) or not reply.ok:
                raise EventSocketError("FreeSWITCH does not tell of events")

    def _take(self, received: Wire) -> None:
        """Hand on all that has come whole."""
        while (message := received.next_message()) is not None:
            match message:
                case Event():
                    if self.on_event is not None:
                        self.on_event(message)
                case Reply() | ApiResponse():
                    if not self._waiting:
                        raise wire.RemoteProtocolError(wire.Reason.NOT_ASKED)
                    future = self._waiting.popleft()
                    if not future.done():
                        future.set_result(message)
                case Disconnect():
                    raise EventSocketError("FreeSWITCH ended the event socket")
                case _:
                    raise wire.RemoteProtocolError(wire.Reason.NOT_ASKED)

    async def _command(self, data: bytes, seconds: float) -> Reply | ApiResponse:
        writer = self._writer
        if writer is None:
            raise EventSocketError(f"the event socket is down: {self.problem}")
        if len(self._waiting) >= MAX_WAITING:
            raise EventSocketError("FreeSWITCH does not answer on the event socket")
        future: asyncio.Future[Reply | ApiResponse] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        writer.write(data)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            # Its reply may still come, in its turn: what waits behind it is only late.
            raise EventSocketError(f"FreeSWITCH did not answer within {seconds:.0f} s") from None

    async def _see_that_it_lives(self, writer: asyncio.StreamWriter) -> None:
        """A host that is gone closes nothing: ask, and give the connection up when no word comes."""
        while True:
            await asyncio.sleep(ALIVE_S)
            if time.monotonic() - self._heard < ALIVE_S:
                continue
            try:
                await self._command(wire.api("eval alive"), REPLY_S)
            except EventSocketError:
                self.problem = "FreeSWITCH does not answer on the event socket"
                writer.transport.abort()
                return


async def _next(reader: asyncio.StreamReader, received: Wire) -> wire.Message:
    while (message := received.next_message()) is None:
        data = await reader.read(1 << 16)
        if not data:
            raise EventSocketError("FreeSWITCH closed the event socket")
        received.receive_data(data)
    if isinstance(message, Rejected):
        raise EventSocketError("FreeSWITCH's access list does not let us in; see apply-inbound-acl of the event socket")
    return message


def _why(error: Exception) -> str:
    if isinstance(error, EventSocketError):
        return str(error)
    if isinstance(error, ProtocolError):
        return f"what answers there is no event socket of FreeSWITCH ({error})"
    if isinstance(error, TimeoutError):
        return "nobody answers on the event socket"
    return f"the event socket cannot be reached ({getattr(error, 'strerror', None) or type(error).__name__})"


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:100])
