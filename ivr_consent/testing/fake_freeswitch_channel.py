"""A channel of the fake FreeSWITCH: its variables, its events, its place in the dialplan, and what interrupts what.

A channel is one task. Whatever an application waits for, it waits in :meth:`Channel.pause`, which does what FreeSWITCH
does at every media frame: runs messages of the event socket (nested in the application that waits, unless that one
holds the event lock), hands over keys, and ends when the call has gone, moved or been reset.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ivr_consent.testing.fake_freeswitch_dialplan import Action, Place
from ivr_consent.testing.fake_freeswitch_events import ANSWERED, hangup_variables
from ivr_consent.testing.fake_freeswitch_leg import Leg
from ivr_consent.testing.fake_freeswitch_recording import true
from ivr_consent.testing.fake_freeswitch_socket import Command, Outbound

if TYPE_CHECKING:
    from ivr_consent.testing.fake_freeswitch import FakeFreeSwitch

FRAME_S: Final = 0.02
"""A media frame: so late a message of the socket is noticed."""

_MAX_DIGITS: Final = 100  # of a queue that nobody reads

Application = Callable[["Channel", str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Digit:
    """A key as it is in the queue. ``duration`` in samples of 8000 a second, ``source`` RTP or APP."""

    key: str
    duration: int
    source: str = "RTP"


@dataclass(frozen=True, slots=True)
class Executed:
    """An application that ran, or runs, with its data expanded; when (``time.monotonic``); its Application-UUID."""

    at: float
    application: str
    data: str
    uuid: str


@dataclass(frozen=True, slots=True)
class Meta:
    """A key bound by bind_meta_app."""

    application: str
    data: str
    flags: str


class Channel(Leg):
    """A leg that lives; see the module."""

    applications: dict[str, Application]
    """What it can run; given by ``fake_freeswitch_applications``."""

    def __init__(
        self,
        switch: FakeFreeSwitch,
        place: Place,
        *,
        number: str = "4512345678",
        name: str = "Caller",
        direction: str = "inbound",
        rate: int = 8000,
    ) -> None:
        super().__init__(switch, place, number=number, name=name, direction=direction, rate=rate)
        self.executed: list[Executed] = []
        self.metas: dict[str, Meta] = {}
        self.digits: deque[Digit] = deque()
        self.locked = self.broken = self.blocked = False
        self.controller: Outbound | None = None
        self.done = asyncio.Event()
        """The channel has ended."""
        self.moved = asyncio.Event()
        """Set anew at each extension; see ``FakeCall``."""
        self.playing = 0
        self.file_command = ""
        self._messages: deque[Command] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._meta_armed = False

    # --- what happens to it ------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Let what waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def queue(self, message: Command) -> None:
        """A message of the event socket: noticed at the next frame."""
        self._messages.append(message)
        asyncio.get_running_loop().call_later(FRAME_S / self.switch.speed, self.wake)

    def digit(self, key: str, duration: int = 2080, source: str = "RTP") -> None:
        """A key that has been released comes in: to a bound star code, or into the queue."""
        if self._meta_armed or (key == "*" and self.metas):
            armed, self._meta_armed = self._meta_armed, not self._meta_armed
            if armed and key in self.metas:
                self._run_meta(key)
            return  # eaten: no DTMF event
        if len(self.digits) < _MAX_DIGITS:
            self.digits.append(Digit(key, duration, source))
        self.wake()

    def _run_meta(self, key: str) -> None:
        meta = self.metas[key]
        if "1" in meta.flags:
            del self.metas[key]
        headers = {"call-command": "execute", "execute-app-name": meta.application, "execute-app-arg": meta.data}
        self.queue(Command("sendmsg", headers))

    def hang_up(self, cause: str = "NORMAL_CLEARING", *, by_caller: bool = False) -> None:
        """End the call."""
        if self.cause:
            return
        self.cause, self.state = cause, "CS_HANGUP"
        if by_caller:
            self.variables |= {
                "sip_reason": 'Q.850;cause=16;text="NORMAL_CLEARING"',
                "sip_term_status": "200",
                "proto_specific_hangup_cause": "sip:200",
                "sip_term_cause": "16",
                "sip_hangup_disposition": "recv_bye",
            }
        self.fire("CHANNEL_HANGUP")
        self.wake()

    def transfer(self, place: Place) -> None:
        """Send it to another place of the dialplan, as the application, the API and the lease do."""
        if self.cause:
            return
        self._source = f"{int(time.time())}:{uuid.uuid4()}:bl_xfer:{place.extension}/{place.context}/{place.dialplan}"
        self._rdnis = self.place.extension
        self._profile += 1
        self._profile_at = time.time()
        self.set("transfer_history", self._source)
        self.set("transfer_source", self._source)
        self.moving, self.state = place, "CS_ROUTING"
        self.reset = False
        self.wake()

    def socket_lost(self, connection: Outbound) -> None:
        """The outbound connection has ended: with socket_resume the channel is reset, wherever it is by now."""
        if self.controller is connection and not self.cause and true(self.variables.get("socket_resume")):
            self.reset, self.state = True, "CS_RESET"
        self.wake()

    def break_(self) -> None:
        """What uuid_break does."""
        self.broken = True
        self.wake()

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def pause(
        self,
        seconds: float | None,
        *,
        on_digit: Callable[[Digit], bool] | None = None,
        until: Callable[[], bool] | None = None,
        peek: bool = False,
    ) -> tuple[str, float]:
        """Wait so long (None: for ever), as an application that reads frames; why it ended, and how long it was.

        ``end``, ``gone`` (hung up, moved, reset), ``after`` (likewise, while something ran nested), ``break``,
        ``digit`` (``on_digit`` said so, or ``peek``, which leaves it in the queue), ``until``, or ``file`` (an api
        about the file that plays). What ran nested does not count.
        """
        passed = 0.0
        speed = self.switch.speed
        while True:
            if until is not None and until():
                return "until", passed
            if self._gone():
                return "gone", passed
            if self._messages and not self.locked:
                await self._message(self._messages.popleft())
                if self._gone():
                    return "after", passed
            elif self.file_command:
                return "file", passed
            elif self.broken:
                self.broken = False
                return "break", passed
            elif self.digits and not self.blocked:
                if peek or self._dequeue(on_digit):
                    return "digit", passed
            elif seconds is not None and passed >= seconds - 1e-9:
                return "end", passed
            else:
                began = time.monotonic()
                await self.idle(None if seconds is None else (seconds - passed) / speed)
                passed += (time.monotonic() - began) * speed

    def _gone(self) -> bool:
        return not self.ready

    async def idle(self, seconds: float | None = None) -> None:
        """Sleep until something happens, or so long. Does nothing else."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self.wake) if seconds is not None else None
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _dequeue(self, on_digit: Callable[[Digit], bool] | None) -> bool:
        digit = self.digits.popleft()
        after = {"DTMF-Digit": digit.key, "DTMF-Duration": str(digit.duration), "DTMF-Source": digit.source}
        self.fire("DTMF", after=after, variables=False)
        return on_digit is not None and on_digit(digit)

    async def _message(self, message: Command) -> None:
        """Run a message of the event socket in the application that waits."""
        headers = message.headers
        command = headers.get("call-command", "").lower()
        if command == "hangup":
            self.hang_up(headers.get("hangup-cause") or "NORMAL_CLEARING")
        elif command == "execute" and headers.get("execute-app-name"):
            data = headers.get("execute-app-arg", "") or message.body
            lock = true(headers.get("event-lock"))
            self.locked = self.locked or lock
            self.variables |= {"current_loop": "1", "total_loops": headers.get("loops", "1")}
            for _ in range(int(headers.get("loops", "1")) if headers.get("loops", "1").isdigit() else 1):
                if self.ready:
                    await self.execute(headers["execute-app-name"], data, headers.get("event-uuid", ""))
            self.set("current_loop", "")
            self.set("total_loops", "")
            self.locked = self.locked and not lock
        if self.controller is not None and not self.controller.asynchronous:
            self.controller.replied("+OK")
            self.controller.work()

    # --- the dialplan ------------------------------------------------------------------------------------------------

    async def execute(self, application: str, data: str, event_uuid: str = "") -> None:
        """Run one application, with the events before and after it."""
        data = self.expand(data)
        handler = self.applications.get(application)
        if handler is None:
            self.hang_up("DESTINATION_OUT_OF_ORDER")
            return
        uid = event_uuid or str(uuid.uuid4())
        self.set("current_application_response", "")
        self.set("current_application_data", data)
        self.set("current_application", application)
        self.application, self.application_data = application, data
        executed = Executed(time.monotonic(), application, data, uid)
        self.executed.append(executed)
        about = {"Application": application} | ({"Application-Data": data} if data else {})
        self.fire("CHANNEL_EXECUTE", after=about | {"Application-UUID": uid})
        self.switch.tell_execute(self, executed)
        await handler(self, data)
        about["Application-Response"] = self.variables.get("current_application_response", "_none_")
        self.fire("CHANNEL_EXECUTE_COMPLETE", after=about | {"Application-UUID": uid})

    async def run(self) -> None:
        """Live: one extension after the other, until somebody hangs up."""
        try:
            actions = self._route()
            while not self.cause:
                if not actions:
                    self.hang_up("NO_ROUTE_DESTINATION")
                for application, data in actions:
                    if not self.ready:
                        break
                    await self.execute(application, data)
                if self.reset and not self.cause:
                    await self._hang()
                if self.moving is not None and not self.cause:
                    actions = self._arrive(self.moving)
                elif not self.cause:
                    self.hang_up()
        finally:
            self._end()

    async def _hang(self) -> None:
        """CS_RESET outside of the socket application: silence, until somebody hangs up or moves the call."""
        self.running_state = "CS_RESET"
        self.fire("CHANNEL_STATE", variables=False)
        while self.reset and not self.cause and self.moving is None:
            await self.idle()

    def _route(self) -> list[Action]:
        """The actions of the place where it is."""
        self.moved.set()
        self.moved = asyncio.Event()
        value = self._condition
        return self.switch.actions(self, value)

    def _condition(self, field: str) -> str:
        return self.expand(field) if "${" in field else self.variables.get(field) or self.built_in(field)

    def _arrive(self, place: Place) -> list[Action]:
        self.place, self.moving = place, None
        kept, self.call_state, self.running_state = self.call_state, "RINGING", "CS_ROUTING"
        self.fire("CHANNEL_STATE", variables=False)
        self.call_state, self.state, self.running_state = kept, "CS_EXECUTE", "CS_EXECUTE"
        self.fire("CHANNEL_STATE", variables=False)
        return self._route()

    def answer(self) -> None:
        """Answer the call, if nobody has."""
        if self.answered or self.cause:
            return
        self.answered = time.time()
        self.variables |= ANSWERED
        self.fire("CHANNEL_ANSWER")
        self._call_state("ACTIVE", "4")

    def _call_state(self, state: str, number: str) -> None:
        before = {"Original-Channel-Call-State": self.call_state, "Channel-Call-State-Number": number}
        self.call_state = state
        self.fire("CHANNEL_CALLSTATE", before=before, variables=False)

    def _end(self) -> None:
        """The hang-up's second half: reporting, and the goodbye to the server."""
        self.cause = self.cause or "MANAGER_REQUEST"
        self.running_state = "CS_HANGUP"
        self.fire("CHANNEL_STATE", variables=False)
        for recording in self.recordings[:]:
            self.stop(recording, "success-silence")
        self._call_state("HANGUP", "10")
        self.hung_up_at = time.time()
        self.state = self.running_state = "CS_REPORTING"
        self.fire("CHANNEL_STATE", variables=False)
        self.variables |= hangup_variables(self.cause, self.number, self.caller_name, self.created, self.answered)
        self.fire("CHANNEL_HANGUP_COMPLETE", before={"Hangup-Cause": self.cause})
        self.switch.channels.pop(self.uuid, None)
        if self.controller is not None:
            self.controller.channel_down()
        self.done.set()
        self.moved.set()
