"""The FastAGI server: Asterisk connects once a call and does what we say, one command at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol

from ivr_consent.pbx.asterisk import channel as ch
from ivr_consent.pbx.asterisk.session import session
from ivr_consent.pbx.asterisk.wire import Environment, Hangup, ProtocolError, Reply, Wire
from ivr_consent.pbx.requests import Lost
from ivr_consent.pbx.serving import Connection, nonce
from ivr_consent.pbx.serving import Server as AnyServer

PRESS_MARGIN_S: Final = 1.0
"""Beyond the deadline of a press, which the manager link keeps by itself."""


class Presses(Protocol):
    """What the server needs of the manager link: is it up, and when did a press begin (see keys.KeyPresses)."""

    def known(self) -> bool:
        """Whether presses are told of now."""
        ...

    def when(
        self,
        uniqueid: str,
        digit: str,
        not_before: float,
        timeout: float,
        callback: Callable[[float | None], None],
    ) -> Callable[[], object]:
        """Call back once with the time (``time.monotonic``) at which the press began, or ``None``."""
        ...


class Server(AnyServer):
    """Accepts FastAGI sessions."""

    def __init__(self, *arguments: Any, presses: Presses | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.presses = presses

    def connection(self, loop: asyncio.AbstractEventLoop) -> Connection:
        return _Connection(self, loop)


class _Connection(Connection):
    """One AGI session: feeds the wire, sends one command after the other."""

    switch: ClassVar[str] = "asterisk"
    asks_switch: ClassVar[tuple[type, ...]] = (ch.Send,)

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop)
        self.presses = server.presses
        self.wire = Wire()
        self.sent_at = 0.0
        self.cancel_press: Callable[[], object] | None = None

    @property
    def hung_up(self) -> bool:
        return self.wire.hung_up

    def read(self, data: bytes) -> None:
        self.wire.receive_data(data)
        while self.lost is None and (event := self.wire.next_event()) is not None:
            if isinstance(event, Reply):
                if isinstance(self.awaiting, ch.Send):
                    self.resume(ch.Heard(event, self.sent_at, time.monotonic(), self.wire.hung_up))
            elif isinstance(event, Environment):
                self._begin(event)
            elif not isinstance(event, Hangup):
                self.lose("connection_lost")

    def _begin(self, environment: Environment) -> None:
        presses = self.presses
        self.begin(
            environment.uniqueid,
            lambda call_id: session(
                environment,
                self.lines,
                call_id=call_id,
                nonce=nonce,
                presses_known=presses.known if presses is not None else _never,
                observe=self.server.observe,
                closed=self.server.blind(),
            ),
        )

    def ask(self, request: Any, now: float) -> ch.Began | Lost | None:
        if isinstance(request, ch.Send):
            return self._send(request, now)
        assert isinstance(request, ch.PressBegan)
        if self.presses is None:
            return ch.Began(None)
        self.deadline = now + request.deadline_s + PRESS_MARGIN_S
        self.cancel_press = self.presses.when(
            self.uniqueid, request.key, request.not_before, request.deadline_s, self._press_began
        )
        return None

    def _send(self, request: ch.Send, now: float) -> Lost | None:
        assert self.transport is not None
        try:
            data = self.wire.send(request.command)
        except ProtocolError as error:
            return self.out_of_step(error)
        self.sent_at = now
        self.deadline = now + request.deadline_s
        self.transport.write(data)
        return None

    def _press_began(self, at: float | None) -> None:
        self.cancel_press = None
        if isinstance(self.awaiting, ch.PressBegan):
            self.resume(ch.Began(at))

    def ended(self) -> None:
        if self.cancel_press is not None:
            self.cancel_press()


def _never() -> bool:
    return False
