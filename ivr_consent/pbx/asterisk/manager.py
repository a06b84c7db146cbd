"""The connection to Asterisk's manager interface (AMI): panoramisk, with its dangers taken out.

panoramisk reads the messages (`Message`) and keeps the callbacks by pattern (`Manager.register_event`).
What it does beyond that is replaced here, because as released it sends unanswered actions again after a
reconnect (a recorder asked for before an outage starts after it, with nobody's consent then), waits for
ever on a dead link, loses letters that two segments share, lets a callback's error or a line break in a
header do harm, and reconnects after it was closed.

What to believe: only the `Reply` to one's own action. Callers can put whole events on this connection
(a line break in a SIP user name), so an `Event` is a hint and never proof. Nobody but Asterisk can write a
reply, because its ActionID is 128 random bits, chosen for each action.

All times are seconds; `Event.arrived` is on the clock of `time.monotonic()`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager
from panoramisk.message import Message

from ivr_consent.core.errors import ManagerError
from ivr_consent.logs import get_logger

if TYPE_CHECKING:
    import ssl

log = get_logger()

GREETING: Final = b"Asterisk Call Manager/"
MAX_GREETING: Final = 256  # bytes; the real one has under 40, the rest is room for vendors' names
MAX_MESSAGE: Final = 1024 * 1024  # bytes; a long `Command` output has some 100 KiB, a message never ended has more
MAX_HEADER_LINE: Final = 1000  # bytes; Asterisk throws 1024 away and reads the line's rest as a new header
MAX_HEADERS: Final = 100  # lines in one action; Asterisk ignores all after the 128th
MAX_PENDING: Final = 1000  # actions without a reply; above it Asterisk is not answering, more would not help
MAX_UNSENT: Final = 1024 * 1024  # bytes the socket would not take; above it Asterisk is not reading
MAX_LIST: Final = 20_000  # events in the answer to one action; more than any switch has channels
MAX_TASKS: Final = 1000  # callbacks' coroutines at the same time; above it events come faster than we work

_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,79}\Z")
_EVENT_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\Z")
_SUCCESS: Final = frozenset({"Success", "Follows", "Goodbye"})
_LIST_ENDS: Final = frozenset({"complete", "cancelled"})
_random = secrets.SystemRandom()


class ManagerGone(ManagerError):  # says what happened, not that it is an error
    """The link is down, or went down before the reply came.

    `sent` tells whether the action had been handed to the socket: when it is true, Asterisk may have done
    what was asked; when false it cannot have. The action is never sent again either way.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class ManagerTimeout(ManagerError):  # says what happened, not that it is an error
    """No reply came in time. Asterisk may or may not have done what was asked."""


class UnsafeHeader(ManagerError, ValueError):  # says what happened, not that it is an error
    """A header could have been read as another header or another action; nothing was sent."""


class _Refused(ManagerError):  # private, and says what happened
    """Asterisk did not accept the login."""


class Headers(Mapping[str, str]):
    """A message's headers: names in any case; of a repeated header the first value, Asterisk's own."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Mapping[str, str | Sequence[str]]) -> None:
        merged: dict[str, tuple[str, list[str]]] = {}
        for name, value in lines.items():
            values = [value] if isinstance(value, str) else list(value)
            merged.setdefault(name.lower(), (name, []))[1].extend(values)
        self._lines = {key: (name, tuple(values)) for key, (name, values) in merged.items() if values}

    def __getitem__(self, name: str) -> str:
        return self._lines[name.lower()][1][0]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._lines

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._lines.values())

    def __len__(self) -> int:
        return len(self._lines)

    def __repr__(self) -> str:
        # Names only: the values are callers' numbers and names, which no log line may hold.
        return f"Headers({', '.join(self)})"

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a header, in the order they came; empty when there is none."""
        return self._lines.get(name.lower(), ("", ()))[1]

    def one(self, name: str) -> str | None:
        """The value of a header that came exactly once; None when it is missing or repeated (forged)."""
        values = self.all(name)
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class Event:
    """Something the manager says has happened. A hint, never proof: callers can forge it."""

    name: str
    headers: Headers
    arrived: float  # seconds, time.monotonic()


@dataclass(frozen=True, slots=True)
class Reply:
    """Asterisk's answer to one of our actions; `events` is filled for actions that answer with a list."""

    success: bool
    message: str
    headers: Headers
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the link retries and how long it waits (seconds)."""

    first_retry: float = 1.0  # a restarting Asterisk listens again within seconds
    slowest_retry: float = 30.0  # an Asterisk that came back must not stay unwatched longer than this
    jitter: float = 0.25  # part of the delay: many servers must not come back in step
    settled: float = 15.0  # up this long, the next outage is a new one and begins at first_retry again
    connect: float = 5.0  # connect, TLS and greeting; and again for the login
    ping_every: float = 10.0  # a dead peer is noticed after ping_every + ping_answer at the latest
    ping_answer: float = 5.0  # Asterisk answers a Ping in milliseconds, even under load


class Backoff:
    """The waits between attempts: doubling from the first to the slowest of a `Pace`, with jitter."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._delay = pace.first_retry

    def next(self, *, slow: bool = False) -> float:
        """Seconds to wait before the next attempt; `slow` goes to the slowest pace at once."""
        slowest = self._pace.slowest_retry
        delay = slowest if slow else self._delay
        self._delay = min(delay * 2, slowest)
        spread = _random.uniform(-self._pace.jitter, self._pace.jitter) * delay
        return min(max(delay + spread, self._pace.first_retry), slowest)

    def reset(self) -> None:
        """Begin at the first wait again."""
        self._delay = self._pace.first_retry


EventCallback = Callable[[Event], object]
HeaderValue = str | Sequence[str]


def encode_action(name: str, action_id: str, headers: Mapping[str, HeaderValue]) -> bytes:
    """Write one action as the bytes to send.

    A sequence as value makes one line of each of its items. Raises `UnsafeHeader` for anything that could
    be read as a different action: a line break or NUL, a line or an action too long, a second `Action` or
    `ActionID`, a name that is no header name.
    """
    lines = [_header_line("Action", name), _header_line("ActionID", action_id)]
    for key, value in headers.items():
        if isinstance(key, str) and key.lower() in {"action", "actionid"}:
            raise UnsafeHeader(f"{key} is written by the link itself; leave it out")
        values = [value] if isinstance(value, str) else value
        lines += [_header_line(key, item) for item in values]
    if len(lines) > MAX_HEADERS:
        raise UnsafeHeader(f"an action has at most {MAX_HEADERS} headers, this one has {len(lines)}")
    return b"".join(lines) + b"\r\n"


def _header_line(name: str, value: str) -> bytes:
    # The messages name the header but never show its value: it may be a secret or a caller's number.
    if not isinstance(name, str) or not _HEADER_NAME.match(name):
        raise UnsafeHeader("a header name has letters, digits, - and _ only, 80 at most")
    if not isinstance(value, str):
        raise UnsafeHeader(f"the value of {name} must be text")
    if any(mark in value for mark in "\r\n\0"):
        raise UnsafeHeader(f"the value of {name} has a line break or NUL in it")
    try:
        line = f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UnsafeHeader(f"the value of {name} is no text that can be sent") from None
    if len(line) > MAX_HEADER_LINE:
        raise UnsafeHeader(f"{name} is longer than {MAX_HEADER_LINE} bytes")
    return line


class _Message(Message):  # type: ignore[misc]  # panoramisk is released without types
    """panoramisk's parser, which as released keeps the last of two spellings of a name.

    A caller's `response: Success` inside a value would hide Asterisk's own `Response: Error`, which
    comes first: `Headers` keeps all values, the first one first.
    """

    def __init__(self, headers: Mapping[str, str | Sequence[str]], content: str = "") -> None:
        super().__init__(headers, content)
        self.lines = Headers(headers)


@dataclass(slots=True)
class _Pending:
    """An action that waits for its reply. The future gets an error as its *result*: see `exchange`."""

    future: asyncio.Future[Reply | ManagerError]
    head: Reply | None = None  # the reply that opened a list
    events: list[Event] = field(default_factory=list)


class _Protocol(AMIProtocol):  # type: ignore[misc]  # panoramisk is released without types
    """One connection, from its greeting to its end. It is never used a second time."""

    def __init__(
        self,
        on_event: Callable[[Event], None],
        on_lost: Callable[[_Protocol], None],
        wanted: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._on_event = on_event
        self._wanted = wanted
        self._on_lost = on_lost
        loop = asyncio.get_running_loop()
        self.greeted: asyncio.Future[bool] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.responses: dict[str, _Pending] = {}
        self.transport: asyncio.Transport | None = None
        self.reason = "closed by Asterisk"
        self.fragments = 0
        self._dropped = False
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer known to hold no end of message

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None and self.reason == "closed by Asterisk":
            self.reason = type(exc).__name__
        if not self.lost.done():
            self.lost.set_result(None)
        if not self.greeted.done():
            self.greeted.set_result(False)
        pending, self.responses = self.responses, {}
        for action in pending.values():
            _resolve(action, ManagerGone("the manager connection was lost before the reply came", sent=True))
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        if not self._is_open():
            return
        self._buffer += data
        if not self.greeted.done() and not self._take_greeting():
            return
        arrived = time.monotonic()
        # Messages are cut out as bytes and decoded whole: a letter that two segments share stays whole.
        start = 0
        while (end := self._buffer.find(b"\r\n\r\n", max(start, self._searched))) >= 0:
            message = bytes(self._buffer[start:end])
            start = end + 4
            if self._is_unwanted(message):
                continue
            text = message.decode("utf-8", "surrogateescape").strip("\r\n")
            if text:
                self.handle_message(text, arrived)
            if not self._is_open():  # a callback may close the link: what came after is for nobody
                return
        del self._buffer[:start]
        self._searched = max(0, len(self._buffer) - 3)
        if len(self._buffer) > MAX_MESSAGE:
            self.drop("a message without end")

    def _is_open(self) -> bool:
        return not self._dropped

    def _is_unwanted(self, message: bytes) -> bool:
        """Whether it is an event that nobody asked for and that nobody looks at: not read any further."""
        if self._wanted is None or not message.startswith(b"Event: ") or b"\r\nActionID: " in message:
            return False
        return not self._wanted(message)

    def _take_greeting(self) -> bool:
        line, end, rest = self._buffer.partition(b"\r\n")
        wanted = GREETING[: len(line)] if not end else GREETING
        if not line.startswith(wanted) or len(line) > MAX_GREETING:
            self.drop("what answers is no manager interface")
            return False
        if not end:
            return False
        self._buffer = rest
        self.greeted.set_result(True)
        return True

    # -- messages

    def handle_message(self, text: str, arrived: float) -> None:
        """Sort one message: the reply to an action of ours, or an event.

        Asterisk begins each message with `Response:` or `Event:`. One that begins otherwise is what is left
        over when a caller's line breaks cut an event in two.
        """
        message = _Message.from_line(text)
        is_response = text.startswith("Response: ")
        if message is None or not (is_response or text.startswith("Event: ")):
            self.fragments += 1
            if self.fragments in {1, 100, 10_000}:  # once, and then rarely: a caller must not fill the log
                log.warning("manager_message_cut", count=self.fragments, remedy="a caller id has line breaks in it")
            return
        headers = message.lines
        pending = self.responses.get(headers.get("ActionID", ""))
        if is_response:
            if pending is not None:
                self._take_response(pending, headers)
            return  # without our ActionID: late, after its deadline; or forged
        event = Event(headers["Event"], headers, arrived)
        if pending is not None and pending.head is not None:
            self._take_list_event(pending, pending.head, event)
        else:
            self._on_event(event)

    def _take_response(self, pending: _Pending, headers: Headers) -> None:
        reply = Reply(headers["Response"] in _SUCCESS, headers.get("Message", ""), headers)
        if headers.get("EventList", "").lower() == "start":
            pending.head = reply
        else:
            _resolve(pending, reply)

    def _take_list_event(self, pending: _Pending, head: Reply, event: Event) -> None:
        pending.events.append(event)
        if event.headers.get("EventList", "").lower() in _LIST_ENDS:
            _resolve(pending, Reply(head.success, head.message, head.headers, tuple(pending.events)))
        elif len(pending.events) >= MAX_LIST:
            _resolve(pending, ManagerError(f"the answer has more than {MAX_LIST} events"))

    # -- actions

    async def exchange(self, data: bytes, action_id: str, timeout: float) -> Reply:  # noqa: ASYNC109  # the deadline is part of the action
        """Send one encoded action and wait for its reply, at most `timeout` seconds."""
        transport = self.transport
        if transport is None or not self._is_open() or transport.is_closing():
            raise ManagerGone("the manager connection is down", sent=False)
        if len(self.responses) >= MAX_PENDING or transport.get_write_buffer_size() > MAX_UNSENT:
            raise ManagerGone("Asterisk leaves too many actions unanswered", sent=False)
        pending = _Pending(asyncio.get_running_loop().create_future())
        self.responses[action_id] = pending
        try:
            transport.write(data)
            async with asyncio.timeout(timeout):
                answer = await pending.future
        except TimeoutError:
            raise ManagerTimeout(f"no reply within {timeout:g} s") from None
        finally:
            self.responses.pop(action_id, None)
        # An error travels as a result and is raised here: a future's own exception that nobody came to
        # fetch, because the waiting task was cancelled meanwhile, would be reported as a fault of ours.
        if isinstance(answer, ManagerError):
            raise answer
        return answer

    def drop(self, reason: str) -> None:
        """End the connection at once, without waiting for a peer that may be dead."""
        if not self._dropped and not self.lost.done():
            self.reason = reason
        self._dropped = True
        if self.transport is not None:
            self.transport.abort()

    def send(self, data: object, as_list: object = None) -> None:
        """Not to be used: panoramisk's own sending has neither deadline nor checks."""
        raise NotImplementedError("actions go through ManagerLink.action")

    def close(self) -> None:
        """End the connection. Nothing is kept to be sent again."""
        self.drop("closed by us")


def _resolve(pending: _Pending, answer: Reply | ManagerError) -> None:
    if not pending.future.done():
        pending.future.set_result(answer)


class _Callbacks(Manager):  # type: ignore[misc]  # panoramisk is released without types
    """panoramisk's registration by pattern, with a dispatch that no callback can break."""

    def __init__(self) -> None:
        super().__init__()
        # panoramisk registers its own callback here, the one that sends old actions again.
        self.callbacks.clear()
        self.patterns.clear()
        self._tasks: set[asyncio.Future[object]] = set()
        self._overrun = 0

    def dispatch(self, event: Event) -> None:
        """Call every callback whose pattern fits; an error in one is logged and hurts nobody else."""
        for pattern, regexp in tuple(self.patterns):
            if regexp.match(event.name) is None:
                continue
            for callback in tuple(self.callbacks[pattern]):
                try:
                    result = callback(event)
                except Exception as error:  # noqa: BLE001  # a root: others' code, and the link must live on
                    _log_failed(callback, event.name, error)
                else:
                    if asyncio.iscoroutine(result):
                        self._spawn(callback, event.name, result)

    def _spawn(self, callback: EventCallback, name: str, work: Coroutine[object, object, object]) -> None:
        if len(self._tasks) >= MAX_TASKS:
            work.close()
            self._overrun += 1
            if self._overrun in {1, 100, 10_000}:
                log.error("manager_callbacks_overrun", event_name=_printable(name), dropped=self._overrun)
            return
        # Kept in a set: the loop itself holds tasks only weakly, and one may vanish half done.
        task = asyncio.ensure_future(work)
        self._tasks.add(task)

        def done(finished: asyncio.Future[object]) -> None:
            self._tasks.discard(finished)
            error = None if finished.cancelled() else finished.exception()
            if error is not None:
                _log_failed(callback, name, error)

        task.add_done_callback(done)

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109  # a bound for closing, not for the caller
        """Cancel the callbacks' coroutines and wait for their ends, at most `timeout` seconds."""
        tasks = {task for task in self._tasks if task is not asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    def connect(self, *_: object, **__: object) -> None:
        """Not to be used: panoramisk's own connecting knows no deadline and no end."""
        raise NotImplementedError("use ManagerLink")

    def send_action(self, *_: object, **__: object) -> None:
        """Not to be used: panoramisk's own sending keeps actions and sends them again."""
        raise NotImplementedError("use ManagerLink.action")


def _printable(event_name: str) -> str:
    # A forged event's name is text of the caller's choosing.
    return event_name if _EVENT_NAME.match(event_name) else "?"


def _log_failed(callback: EventCallback, event_name: str, error: BaseException) -> None:
    # Neither the error's text nor its traceback's values: both can quote callers' numbers and names.
    log.error(
        "manager_callback_failed",
        event_name=_printable(event_name),
        callback=getattr(callback, "__qualname__", type(callback).__name__),
        error=type(error).__name__,
    )


class ManagerLink:
    """One account's connection to one Asterisk's manager interface, kept up until `close()`.

    `events` is the account's event mask (`"off"`, `"on"`, or classes such as `"dtmf,call"`). With `tls` the
    connection is encrypted and the server's certificate checked as the context says.

    Nothing is ever sent twice. An action sent while the link is down fails at once, one whose link drops
    fails then: the caller decides what that means, not the link.
    """

    def __init__(
        self,
        host: str,
        port: int,
        username: str,
        secret: str,
        *,
        events: str = "dtmf,call",
        tls: ssl.SSLContext | None = None,
        pace: Pace = Pace(),  # frozen, so one for all is safe
    ) -> None:
        login = {"Username": username, "Secret": secret, "Events": events}
        encode_action("Login", "", login)  # a line break in the configuration is said now, not at each retry
        self.host = host
        self.port = port
        self._login = login
        self._tls = tls
        self._pace = pace
        self._callbacks = _Callbacks()
        self._protocol: _Protocol | None = None  # the logged-in connection, and only while it lives
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._refusal_said = False
        self._wanted: Callable[[bytes], bool] | None = None
        self.connections = 0
        """How often the link came up: another number, and something may have happened that nobody was told of."""

    def __repr__(self) -> str:
        return f"<ManagerLink {self.host}:{self.port} {'up' if self.up else 'down'}>"

    @property
    def up(self) -> bool:
        """Whether the link is connected and logged in, as far as is known now."""
        return self._protocol is not None

    async def start(self) -> None:
        """Begin to connect, in the background; returns at once. Once only."""
        if self._task is not None or self._closed:
            raise RuntimeError("a ManagerLink is started once")
        if self._tls is None and not _is_loopback(self.host):
            log.warning("manager_in_clear", remedy="use TLS, or an Asterisk on the loopback interface")
        self._task = asyncio.create_task(self._run(), name="manager-link")

    async def wait_up(self, timeout: float) -> bool:  # noqa: ASYNC109  # answers False instead of raising
        """Wait until the link is up, at most `timeout` seconds; tells whether it is."""
        try:
            async with asyncio.timeout(timeout):
                await self._up.wait()
        except TimeoutError:
            return False
        return self.up

    def on(self, pattern: str, callback: EventCallback) -> None:
        """Call `callback(event)` for each event whose name fits the pattern (`"DTMF*"`), from now on.

        A callback may be a coroutine function. What it raises is logged by type and goes no further.
        """
        self._callbacks.register_event(pattern, callback)

    def only(self, wanted: Callable[[bytes], bool]) -> None:
        """Skip every event that `wanted` says no to, before it is read; asked of its bytes, from the next link on."""
        self._wanted = wanted

    async def action(
        self,
        name: str,
        headers: Mapping[str, HeaderValue] | None = None,
        *,
        timeout: float = 2.0,  # noqa: ASYNC109  # the deadline is part of the action
    ) -> Reply:
        """Send one action, once, and wait for Asterisk's reply, at most `timeout` seconds.

        Raises `UnsafeHeader` (nothing was sent), `ManagerGone` (the link is down, or dropped meanwhile) or
        `ManagerTimeout`. A reply that says `Error` is a `Reply` with `success` false, not an exception.
        """
        action_id = secrets.token_hex(16)
        data = encode_action(name, action_id, headers or {})
        if self._protocol is None:
            raise ManagerGone("the manager connection is down", sent=False)
        return await self._protocol.exchange(data, action_id, timeout)

    async def close(self) -> None:
        """End the link for good: no reconnect, pending actions fail, callbacks' coroutines are cancelled."""
        self._closed = True
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=self._pace.connect)
        await self._callbacks.stop(self._pace.connect)

    # -- the one task that connects, so there are never two connections

    async def _run(self) -> None:
        retry = Backoff(self._pace)
        while True:
            began = time.monotonic()
            refused = False
            try:
                reason = await self._one_connection()
                if time.monotonic() - began >= self._pace.settled:
                    retry.reset()
            except _Refused as error:
                reason, refused = str(error), True
                self._say_refused()
            except ManagerError as error:
                reason = str(error)
            except OSError as error:  # TimeoutError and ssl.SSLError are some
                reason = type(error).__name__
            except Exception as error:  # noqa: BLE001  # the task's root: a host name of nonsense must not end it
                reason = type(error).__name__
            wait = retry.next(slow=refused)
            if not refused:
                log.warning("manager_down", reason=reason, retry_in=round(wait, 1))
            await asyncio.sleep(wait)

    async def _one_connection(self) -> str:
        """Connect, log in and stay until the connection ends; returns why it ended."""
        protocol = _Protocol(self._callbacks.dispatch, self._lost, self._wanted)
        try:
            async with asyncio.timeout(self._pace.connect):
                await asyncio.get_running_loop().create_connection(
                    lambda: protocol, self.host, self.port, ssl=self._tls
                )
                greeted = await protocol.greeted
            if not greeted:
                raise ManagerGone(protocol.reason, sent=False)
            await self._log_in(protocol)
            self._protocol = protocol
            self.connections += 1
            self._up.set()
            self._refusal_said = False
            log.info("manager_up")
            await self._watch(protocol)
            return protocol.reason
        finally:
            protocol.close()
            self._lost(protocol)
            if protocol.transport is not None:
                await _ended(protocol, self._pace.connect)

    async def _log_in(self, protocol: _Protocol) -> None:
        action_id = secrets.token_hex(16)
        data = encode_action("Login", action_id, self._login)
        reply = await protocol.exchange(data, action_id, self._pace.connect)
        if not reply.success:
            raise _Refused("login refused")

    async def _watch(self, protocol: _Protocol) -> None:
        """Stay while Asterisk answers. A half-open connection is known by a Ping without an answer only."""
        while not await _ended(protocol, self._pace.ping_every):
            action_id = secrets.token_hex(16)
            try:
                await protocol.exchange(encode_action("Ping", action_id, {}), action_id, self._pace.ping_answer)
            except ManagerTimeout:
                protocol.drop("no answer to a Ping")
            except ManagerGone as gone:
                protocol.drop(str(gone))

    def _lost(self, protocol: _Protocol) -> None:
        if self._protocol is protocol:
            self._protocol = None
            self._up.clear()

    def _say_refused(self) -> None:
        if not self._refusal_said:
            self._refusal_said = True
            log.error(
                "manager_login_refused",
                retry_every=self._pace.slowest_retry,
                remedy="compare user name, secret and permit/deny with manager.conf, then `manager reload`",
            )


async def _ended(protocol: _Protocol, timeout: float) -> bool:  # noqa: ASYNC109  # answers False instead of raising
    await asyncio.wait({protocol.lost}, timeout=timeout)
    return protocol.lost.done()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
