"""The server of the outbound event socket: FreeSWITCH connects once a call (``socket``) and does what we say.

Whatever comes is read at once and kept in a bounded queue, so that the switch's own queue of events never grows.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final

from ivr_consent.pbx.freeswitch import channel as ch
from ivr_consent.pbx.freeswitch import wire
from ivr_consent.pbx.freeswitch.session import is_gate, session
from ivr_consent.pbx.freeswitch.wire import ApiResponse, Disconnect, Event, Reply, Wire
from ivr_consent.pbx.requests import Lost, Seen
from ivr_consent.pbx.serving import Connection, nonce
from ivr_consent.pbx.serving import Server as AnyServer

MAX_EVENTS: Final = 1000
"""Events that wait for a session; a call has some dozens in all."""

VOUCH_DEADLINE_S: Final = 5.0
"""How long the switch may take to vouch for a channel, on its own port."""

Vouches = Callable[[str, str], Coroutine[Any, Any, bool]]
"""Asks the switch itself whether a channel (its id) has a nonce."""


class Server(AnyServer):
    """Accepts calls. ``vouches``: the switch's word on a channel; ``None`` where there is no link to ask it by."""

    def __init__(self, *arguments: Any, vouches: Vouches | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.vouches = vouches

    def connection(self, loop: asyncio.AbstractEventLoop) -> Connection:
        return _Connection(self, loop)


class _Connection(Connection):
    """One call: feeds the wire, sends commands, keeps the events that nobody waits for yet."""

    switch: ClassVar[str] = "freeswitch"
    asks_switch: ClassVar[tuple[type, ...]] = (ch.Send, ch.NextEvent)
    silent: ClassVar[str] = "no_channel_data"

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop)
        self.vouches = server.vouches
        self.wire = Wire()
        self.sent_at = 0.0
        self.replies: list[Reply | ApiResponse] = []
        self.owed = 0
        self.events: deque[ch.Happened] = deque()
        self.vouching: asyncio.Task[bool] | None = None
        self._hung_up = False

    @property
    def hung_up(self) -> bool:
        return self._hung_up

    def admitted(self) -> None:
        assert self.transport is not None
        self.transport.write(wire.connect())  # here it is the server that speaks first
        self.owed = 1

    def read(self, data: bytes) -> None:
        self.wire.receive_data(data)
        while self.lost is None and (message := self.wire.next_message()) is not None:
            match message:
                case Event():
                    self._event(message)
                case Reply() | ApiResponse():
                    self._reply(message)
                case Disconnect():
                    self._hung_up = self._hung_up or message.lingers
                    if not message.lingers:
                        self.lose("connection_lost")
                case _:
                    raise wire.RemoteProtocolError(wire.Reason.NOT_ASKED)

    def _event(self, event: Event) -> None:
        if event.name == "CHANNEL_HANGUP" and event.get("Unique-ID") == self.uniqueid:
            self._hung_up = True
        if len(self.events) >= MAX_EVENTS:
            self.lose("too_many_events")
            return
        self.events.append(ch.Happened(event, time.monotonic()))
        if isinstance(self.awaiting, ch.NextEvent):
            self.resume(self.events.popleft())

    def _reply(self, reply: Reply | ApiResponse) -> None:
        if self.owed == 0:
            raise wire.RemoteProtocolError(wire.Reason.NOT_ASKED)
        self.owed -= 1
        if self.session is None:
            if self.call_id is None:
                self._begin(reply)
            return
        self.replies.append(reply)
        if self.owed == 0 and isinstance(self.awaiting, ch.Send):
            replies, self.replies = tuple(self.replies), []
            self.resume(ch.Heard(replies, self.sent_at, time.monotonic()))

    def _begin(self, reply: Reply | ApiResponse) -> None:
        data = reply.headers if isinstance(reply, Reply) else {}
        uuid = is_gate(data)
        if uuid is None:
            self.lose("not_async_full")
            return
        self.begin(
            uuid,
            lambda call_id: session(
                data,
                uuid,
                self.lines,
                call_id=call_id,
                nonce=nonce,
                observe=self.server.observe,
                closed=self.server.blind(),
            ),
        )

    def ask(self, request: Any, now: float) -> ch.Happened | Lost | Seen | None:
        match request:
            case ch.Send():
                self._send(request, now)
                return None
            case ch.NextEvent():
                self.deadline = max(now, request.until)
                return self.events.popleft() if self.events else None
            case ch.Vouch():
                return self._vouch(request, now)
            case _:
                raise AssertionError("a request that nobody answers")

    def _send(self, request: ch.Send, now: float) -> None:
        assert self.transport is not None
        self.sent_at = now
        self.owed += request.replies
        self.deadline = now + request.deadline_s
        self.transport.write(request.commands)

    def _vouch(self, request: ch.Vouch, now: float) -> Seen | None:
        if self.vouches is None:
            return Seen(True)
        self.deadline = now + VOUCH_DEADLINE_S
        self.vouching = self.loop.create_task(self.vouches(request.uuid, request.nonce))
        self.vouching.add_done_callback(self._vouched)
        return None

    def _vouched(self, task: asyncio.Task[bool]) -> None:
        self.vouching = None
        yes = not task.cancelled() and task.exception() is None and task.result()
        if isinstance(self.awaiting, ch.Vouch):
            self.resume(Seen(yes))

    def overdue(self) -> None:
        if isinstance(self.awaiting, ch.NextEvent) and self.lost is None:
            self.resume(ch.Nothing())
        elif isinstance(self.awaiting, ch.Vouch):
            self.resume(Seen(False))
        else:
            super().overdue()

    def ended(self) -> None:
        self.events.clear()
        if self.vouching is not None:
            self.vouching.cancel()
