"""Serving calls, whatever the switch: a server that a switch connects to, once a call.

One asyncio protocol object a call drives a session without tasks. Anything else that connects (a port scan, a health
check, a flood, a peer that never reads) meets deadlines and bounds and harms nobody else's call.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from ivr_consent.core.decision import CallContext, Outcome
from ivr_consent.core.errors import ConsentError, ProtocolError
from ivr_consent.core.flow import failed_decision
from ivr_consent.core.steps import Decide, Failed, Note
from ivr_consent.logs import get_logger
from ivr_consent.pbx.conduct import UNKNOWN_LINE, Lines, Observer, Summary
from ivr_consent.pbx.requests import Discard, FileAppears, Finish, Lost, Released, Seen, Withdraw
from ivr_consent.store import recordings
from ivr_consent.store.ledger import COMMIT_DEADLINE_S, Ledger, Ticket, Written

FIRST_WORDS_DEADLINE_S: Final = 5.0
"""For what a switch says first of a call: it comes whole within milliseconds of connecting."""

TICK_S: Final = 0.25
"""Deadlines are looked at this often: one timer for all calls instead of one a command."""

FILE_POLL_S: Final = 0.02
"""How often a recorder's file is looked for."""

BACKLOG: Final = 512
"""Connections that may wait in the kernel: more than calls that can arrive while one batch is written."""

WITHDRAWAL_DEADLINE_S: Final = 20.0
"""For a withdrawal: the manager's reply, the recorder's file being closed, and the log's word."""

MAX_WRITE_BUFFER: Final = 16 * 1024
"""A peer that does not read: a command is small and waits for its reply, so more is never queued."""

log = get_logger()


class Server(ABC):
    """Accepts calls and keeps count of them. Swap ``lines`` to reload: calls under way keep what they began with."""

    def __init__(
        self,
        lines: Lines,
        ledger: Ledger,
        *,
        allow: tuple[str, ...] = ("127.0.0.1/32", "::1/128"),
        max_calls: int = 1000,
        finish: Callable[[str], None] | None = None,
        withdraw: Callable[[str, str], Coroutine[Any, Any, bool]] | None = None,
        observe: Observer | None = None,
        blind: Callable[[], str | None] = lambda: None,
        ended: Callable[[Summary], None] = lambda _: None,
    ) -> None:
        self.lines = lines
        self.blind = blind
        """Why callers are not asked at present; ``None``: they are."""
        self.ended = ended
        """Is told of each session that has ended; it may neither raise nor wait."""
        self.ledger = ledger
        self.finish = finish
        self.withdraw = withdraw
        self.observe = observe
        self.calls: set[Connection] = set()
        self._refused = 0
        self._allow = tuple(ipaddress.ip_network(network) for network in allow)
        self._max_calls = max_calls
        self._listener: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()

    @abstractmethod
    def connection(self, loop: asyncio.AbstractEventLoop) -> Connection:
        """What speaks with one peer."""

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises :class:`ConsentError` with a remedy when the port cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(lambda: self.connection(loop), host, port, backlog=BACKLOG)
        except OSError as error:
            raise ConsentError(
                f"cannot listen on {host} port {port} ({error.strerror}); is another ivr-consent running? "
                "stop it, or set server.port"
            ) from None
        self._tick(loop)

    @property
    def port(self) -> int:
        """The port listened on; useful where 0 was asked for."""
        assert self._listener is not None
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self, drain_s: float) -> int:
        """Stop accepting, let calls under way finish for at most ``drain_s`` seconds, close the rest; their count."""
        if self._listener is not None:
            self._listener.close()
        if self.calls:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), drain_s)
        left = len(self.calls)
        for call in list(self.calls):
            call.abort("server_stopped")
        if self._ticker is not None:
            self._ticker.cancel()
        return left

    def admits(self, address: str) -> str | None:
        """Why a peer is not let in; ``None`` when it is."""
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return "peer_unknown"
        if not any(peer in network for network in self._allow):
            return "peer_not_allowed"
        return "too_many_calls" if len(self.calls) >= self._max_calls else None

    def count_refused(self, reason: str) -> None:
        """Say it at the first, the tenth, the hundredth …: a flood of connections must not become a flood of lines."""
        self._refused += 1
        if str(self._refused).strip("0") == "1":
            log.warning("connection_refused", reason=reason, count=self._refused)

    def forget(self, call: Connection) -> None:
        self.calls.discard(call)
        if not self.calls:
            self._idle.set()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        for call in list(self.calls):
            if now > call.deadline:
                call.overdue()
        self._ticker = loop.call_later(TICK_S, self._tick, loop)


class Connection(asyncio.Protocol, ABC):
    """One connection: drives the session of one call, keeps one deadline. The switch's own part is in a subclass."""

    switch: ClassVar[str]
    """Name of the kind of switch, as decisions have it."""

    asks_switch: ClassVar[tuple[type, ...]]
    """The requests of a session that wait for the switch: once the connection is lost, they are."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server, self.loop = server, loop
        self.deadline = time.monotonic() + FIRST_WORDS_DEADLINE_S
        self.session: Generator[Any, Any, Summary] | None = None
        self.call_id: str | None = None
        self.uniqueid = ""
        self.lines: Lines = server.lines
        self.lost: str | None = None
        self.awaiting: object = None
        self.ticket: Ticket | None = None
        self.withdrawing: asyncio.Task[bool] | None = None
        self.transport: asyncio.Transport | None = None
        self.began_at = time.monotonic()

    @abstractmethod
    def read(self, data: bytes) -> None:
        """What the switch said. Raises :class:`ProtocolError` when it cannot be a switch that says this."""

    @abstractmethod
    def ask(self, request: Any, now: float) -> object:
        """Begin a request of this kind of switch; its response when there already is one, else ``None``."""

    @property
    @abstractmethod
    def hung_up(self) -> bool:
        """Whether the switch has said that the caller is gone."""

    # --- the peer ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class does not derive from it
        self.transport = transport
        peer = transport.get_extra_info("peername")
        refused = self.server.admits(str(peer[0]) if isinstance(peer, tuple) else "")
        if refused is not None:
            self.server.count_refused(refused)
            self.lost = refused
            transport.abort()
            return
        transport.set_write_buffer_limits(high=MAX_WRITE_BUFFER)
        self.server.calls.add(self)
        self.admitted()

    def admitted(self) -> None:
        """The peer is let in. What is said before the switch does is said here."""

    def data_received(self, data: bytes) -> None:
        if self.lost is not None:
            return
        try:
            self.read(data)
        except ProtocolError as error:
            self.lose("protocol_error", slug(error))

    def eof_received(self) -> bool:
        return False  # a half-closed peer is a gone one: close our side too

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose("connection_lost")
        self.server.forget(self)

    # --- the session ---------------------------------------------------------------------------

    def begin(self, uniqueid: str, make: Callable[[str], Generator[Any, Any, Summary]]) -> None:
        """Begin the session of a call; ``make`` takes our id of the call."""
        self.call_id = secrets.token_hex(16)
        self.uniqueid = uniqueid
        self.session = make(self.call_id)
        self._step(None)

    def resume(self, response: object) -> None:
        """Give the session what it waits for."""
        self.awaiting = None
        self._step(response)

    def _step(self, response: object) -> None:
        """Hand the session its response and do what it asks next, until it has to wait."""
        assert self.session is not None
        while True:
            try:
                request = next(self.session) if response is None else self.session.send(response)
                self.awaiting = request
                response = self._do(request)
            except StopIteration as end:
                self._end(end.value)
                return
            except Exception:  # the root of a call: whatever is wrong in it, the caller goes on unrecorded
                log.exception("session_failed", call_id=self.call_id)
                self._log_our_failure()
                self._end(None)
                return
            if response is None:
                return
            self.awaiting = None

    def _log_our_failure(self) -> None:
        """Every call has a decision (I3), also one that our own fault ended; after a grant it voids the grant."""
        if self.call_id is None or not self.uniqueid.isascii():
            return
        call = CallContext(
            self.call_id,
            UNKNOWN_LINE,
            self.switch,
            self.uniqueid,
            None,
            self.lines.software,
            self.lines.configuration_sha256,
        )
        self.server.ledger.decide(failed_decision(call, "internal_error"), _ignore)

    def _do(self, request: object) -> object:
        """Begin a request; its response when there already is one."""
        now = time.monotonic()
        if isinstance(request, self.asks_switch) and self.lost is not None:
            return Lost(self.lost, self.hung_up)
        if isinstance(request, Decide | Note):
            return self._write(request, now)
        if isinstance(request, FileAppears):
            self.deadline = now + request.deadline_s + 1
            self._look_for(request.path, now + request.deadline_s)
            return None
        if isinstance(request, Released):
            self.deadline = now + request.deadline_s + 1
            waiting = self.loop.run_in_executor(
                None, recordings.wait_released, self.lines.recordings, request.recording_id, request.deadline_s
            )
            waiting.add_done_callback(self._released)
            return None
        if isinstance(request, Discard):
            return Seen(recordings.discard(self.lines.recordings, request.recording_id))
        if isinstance(request, Withdraw):
            return self._withdraw(request, now)
        if isinstance(request, Finish):
            if self.server.finish is not None:
                self.server.finish(request.recording_id)
            return Seen(True)
        return self.ask(request, now)

    def _withdraw(self, request: Withdraw, now: float) -> Seen | None:
        if self.server.withdraw is None:
            return Seen(False)
        self.deadline = now + WITHDRAWAL_DEADLINE_S
        self.withdrawing = self.loop.create_task(self.server.withdraw(request.recording_id, request.by))
        self.withdrawing.add_done_callback(self._withdrawn)
        return None

    def _withdrawn(self, task: asyncio.Task[bool]) -> None:
        self.withdrawing = None
        done = not task.cancelled() and task.exception() is None and task.result()
        if not task.cancelled() and task.exception() is not None:
            log.error("withdrawal_failed", exc_info=task.exception())
        if isinstance(self.awaiting, Withdraw):
            self.resume(Seen(done))

    def out_of_step(self, error: ProtocolError) -> Lost:
        """Bytes that nobody asked for, or a command we may not send: nothing here is in step any more."""
        log.warning("session_out_of_step", call_id=self.call_id, reason=slug(error))
        self.lost = "protocol_error"
        assert self.transport is not None
        self.transport.abort()
        return Lost(self.lost, self.hung_up)

    def _write(self, request: Decide | Note, now: float) -> Failed | None:
        self.deadline = now + COMMIT_DEADLINE_S
        ledger = self.server.ledger
        if isinstance(request, Decide):
            decision = request.decision
            # Asked of what is in force now, not when the call began: what was heard since may not be what is named.
            if decision.outcome is Outcome.GRANTED and self.server.lines.damaged(decision.call.line):
                return Failed("line_damaged")
            if decision.outcome is Outcome.GRANTED and (blind := self.server.blind()) is not None:
                return Failed(blind)
            self.ticket = ledger.decide(request.decision, self._written)
        else:
            call = request.call
            self.ticket = ledger.note(call.call_id, call.line, request.kind, request.details, self._written)
        return None

    def _written(self, written: Written) -> None:
        self.ticket = None
        if isinstance(self.awaiting, Decide | Note):
            self.resume(written)

    def _look_for(self, path: Path, until: float) -> None:
        if not isinstance(self.awaiting, FileAppears) or self.awaiting.path != path:
            return
        if path.exists():
            self.resume(Seen(True))
        elif time.monotonic() > until or self.lost is not None:
            self.resume(Seen(False))
        else:
            self.loop.call_later(FILE_POLL_S, self._look_for, path, until)

    def _released(self, waiting: asyncio.Future[bool | None]) -> None:
        if isinstance(self.awaiting, Released):
            self.resume(Seen(waiting.result() is True))

    # --- ends ----------------------------------------------------------------------------------

    def overdue(self) -> None:
        """The deadline of what is awaited has passed."""
        if self.lost is not None and self.transport is not None and self.session is None:
            self.transport.abort()  # a peer that does not take our last bytes
            return
        if isinstance(self.awaiting, Decide | Note) and self.ticket is not None:
            # The disk is too slow for a waiting caller. What is written all the same grants nothing any more.
            self.ticket.abandon()
            self.ticket = None
            self.resume(Failed("log_too_slow"))
        elif self.session is None:
            self.lose(self.silent)
        else:
            self.lose("switch_too_slow")

    silent: ClassVar[str] = "no_environment"
    """Why a peer that says nothing is left."""

    def abort(self, reason: str) -> None:
        """Close the connection now; the dialplan takes the caller to the unrecorded line."""
        self.lose(reason)

    def lose(self, reason: str, detail: str = "") -> None:
        """Nothing more comes or goes on this connection. The session still logs its decision."""
        if self.lost is not None:
            return
        self.lost = reason
        self.deadline = float("inf")
        if self.transport is not None:
            self.transport.abort()
        if self.session is None:
            if self in self.server.calls:
                log.warning("connection_closed", reason=reason, detail=detail)
        elif isinstance(self.awaiting, self.asks_switch):
            self.resume(Lost(reason, self.hung_up))

    def ended(self) -> None:
        """The session is over: what waits for the switch beside it waits no longer."""

    def _end(self, summary: Summary | None) -> None:
        self.awaiting = None
        self.session = None
        self.ended()
        if summary is not None and not summary.quiet:
            self.server.ended(summary)
            log.info(
                "call",
                script=summary.script,
                line=summary.line,
                call_id=summary.call_id,
                outcome=summary.outcome,
                reason=summary.reason,
                route=summary.route,
                logged=summary.logged,
                ms=int((time.monotonic() - self.began_at) * 1000),
            )
        if self.lost is None:
            self.lost = "finished"
            self.deadline = time.monotonic() + FIRST_WORDS_DEADLINE_S
            assert self.transport is not None
            self.transport.close()


def slug(error: ProtocolError) -> str:
    """What was wrong, without the line at fault: a caller may have written it."""
    return str(getattr(error, "reason", type(error).__name__))


def nonce() -> str:
    """Text that nobody can guess."""
    return secrets.token_hex(8)


def _ignore(_: Written) -> None:
    return
