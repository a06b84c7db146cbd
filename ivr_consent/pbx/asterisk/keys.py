"""When a key press began, as Asterisk's manager tells it.

Asterisk reports a key to the dialplan and to AGI only when it is *released*. So a key held down since
before the notice's end, or leant on by mistake, looks like an answer to it: a grant needs a press that
began after the notice had ended, and only the manager's `DTMFBegin` and `DTMFEnd` events tell that.

Each estimate here errs towards *earlier*, which can cost a caller a second press but never makes a consent.
The events are hints (callers can forge them), so a time from here may refuse a grant; it is not itself
proof that a key was pressed: that is AGI's reply.

All times are seconds on the clock of `time.monotonic()`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from ivr_consent.pbx.asterisk.manager import Event, ManagerLink

MAX_PRESSES: Final = 32  # kept per channel; a question is over after a few
MAX_CHANNELS: Final = 4096  # more calls than one Asterisk carries at a time
MAX_WAITERS: Final = 8192  # two for each channel; above it somebody forgot to cancel
MAX_AGE: Final = 600.0  # seconds; no question stays open as long
MAX_SKEW: Final = 2.0  # seconds between Asterisk's clock and ours; beyond, its Timestamp says nothing to us

_DIGITS: Final = frozenset("0123456789*#ABCD")
_milliseconds = re.compile(r"[0-9]{1,7}").fullmatch  # int() would take other scripts' digits too
_timestamp = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?").fullmatch

Cancel: TypeAlias = Callable[[], None]
"""Calls the waiting off; harmless when it is over already."""


@dataclass(frozen=True, slots=True)
class _Press:
    digit: str
    began: float
    ended: float


@dataclass(slots=True)
class _Channel:
    presses: deque[_Press] = field(default_factory=lambda: deque(maxlen=MAX_PRESSES))
    held: dict[str, float] = field(default_factory=dict)  # digit to when it went down; sixteen at most
    last: float = 0.0


@dataclass(slots=True, eq=False)
class _Waiter:
    digit: str
    not_before: float
    callback: Callable[[float | None], None]
    timer: asyncio.Handle | None = None


class KeyPresses:
    """What the callers press, by channel, as far as the manager has told; for one event loop.

    `clock` and `wall` are `time.monotonic` and `time.time`, or a test's.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._channels: OrderedDict[str, _Channel] = OrderedDict()  # the one heard of longest ago is first
        self._waiters: dict[str, list[_Waiter]] = {}
        self._waiting = 0

    def attach(self, link: ManagerLink) -> None:
        """Listen to a manager link; its event mask must have `dtmf`."""
        link.on("DTMFBegin", self.heard)
        link.on("DTMFEnd", self.heard)

    def heard(self, event: Event) -> None:
        """Take one `DTMFBegin` or `DTMFEnd` event; anything incomplete or repeated in it voids it."""
        headers = event.headers
        uniqueid, digit = headers.one("Uniqueid"), headers.one("Digit")
        # `Sent` is what we or the other party play to the caller.
        if not uniqueid or digit not in _DIGITS or headers.one("Direction") != "Received":
            return
        happened = self._happened(event)
        channel = self._channel(uniqueid)
        if event.name == "DTMFBegin":
            channel.held[digit] = happened
            return
        went_down = channel.held.pop(digit, None)
        duration = headers.one("DurationMs")
        estimates = [] if went_down is None else [went_down]
        if duration is not None and _milliseconds(duration):
            estimates.append(happened - int(duration) / 1000)
        if not estimates:
            return  # nobody knows when it began: as good as no press
        press = _Press(digit, min(estimates), event.arrived)
        channel.presses.append(press)
        for waiter in tuple(self._waiters.get(uniqueid, ())):
            if waiter.digit == digit and press.ended >= waiter.not_before:
                self._finish(uniqueid, waiter, press.began)

    def when(
        self,
        uniqueid: str,
        digit: str,
        not_before: float,
        timeout: float,
        callback: Callable[[float | None], None],
    ) -> Cancel:
        """Call back with the time at which a press began: the latest of `digit` ended at or after `not_before`.

        Calls back once, from the event loop and never from within this call: soon when that press is known
        already, else with its event, and after `timeout` seconds with None. Not at all after `Cancel`.
        """
        loop = asyncio.get_running_loop()
        known = self._latest(uniqueid, digit, not_before)
        if known is not None or self._waiting >= MAX_WAITERS:
            handle = loop.call_soon(callback, known)
            return handle.cancel
        waiter = _Waiter(digit, not_before, callback)
        waiter.timer = loop.call_later(max(timeout, 0.0), self._finish, uniqueid, waiter, None)
        self._waiters.setdefault(uniqueid, []).append(waiter)
        self._waiting += 1

        def cancel() -> None:
            self._cancel(uniqueid, waiter)

        return cancel

    async def began(
        self,
        uniqueid: str,
        digit: str,
        not_before: float,
        timeout: float,  # noqa: ASYNC109  # answers None instead of raising
    ) -> float | None:
        """The time at which the latest press of `digit` began that ended at or after `not_before`.

        Waits for its event at most `timeout` seconds; None when none came, which must count as "no press".
        """
        answer: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()

        def take(began: float | None) -> None:
            if not answer.done():
                answer.set_result(began)

        cancel = self.when(uniqueid, digit, not_before, timeout, take)
        try:
            return await answer
        finally:
            cancel()

    def forget(self, uniqueid: str) -> None:
        """Drop what is known of a channel, because its call is over. Who waits for it gets None in time."""
        self._channels.pop(uniqueid, None)

    # -- inside

    def _happened(self, event: Event) -> float:
        """When it happened: the earlier of its arrival and Asterisk's own time, if the clocks agree."""
        timestamp = event.headers.one("Timestamp")
        if timestamp is None or not _timestamp(timestamp):
            return event.arrived
        # How old it is by the wall clock, now; and how long ago it arrived, by ours.
        age = self._wall() - float(timestamp) - (self._clock() - event.arrived)
        return event.arrived - age if 0 < age <= MAX_SKEW else event.arrived

    def _channel(self, uniqueid: str) -> _Channel:
        now = self._clock()
        while self._channels:
            oldest, channel = next(iter(self._channels.items()))
            if now - channel.last <= MAX_AGE and (len(self._channels) < MAX_CHANNELS or uniqueid in self._channels):
                break
            del self._channels[oldest]
        channel = self._channels.setdefault(uniqueid, _Channel())
        channel.last = now
        self._channels.move_to_end(uniqueid)
        while channel.presses and now - channel.presses[0].ended > MAX_AGE:
            channel.presses.popleft()
        return channel

    def _latest(self, uniqueid: str, digit: str, not_before: float) -> float | None:
        channel = self._channels.get(uniqueid)
        if channel is None:
            return None
        earliest = max(not_before, self._clock() - MAX_AGE)
        for press in reversed(channel.presses):
            if press.digit == digit and press.ended >= earliest:
                return press.began
        return None

    def _finish(self, uniqueid: str, waiter: _Waiter, began: float | None) -> None:
        if self._cancel(uniqueid, waiter):
            # By the loop: an error in one callback must keep neither the others nor the link from theirs.
            waiter.timer = asyncio.get_running_loop().call_soon(waiter.callback, began)

    def _cancel(self, uniqueid: str, waiter: _Waiter) -> bool:
        if waiter.timer is not None:
            waiter.timer.cancel()
        waiters = self._waiters.get(uniqueid, [])
        if waiter not in waiters:
            return False
        waiters.remove(waiter)
        self._waiting -= 1
        if not waiters:
            del self._waiters[uniqueid]
        return True
