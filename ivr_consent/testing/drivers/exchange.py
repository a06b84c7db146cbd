"""Scenarios through our real servers and a switch, fake or real: real sockets, real time, short prompts, the real log.

Calls run side by side in one event loop. What a switch differs in from another is an :class:`Exchange`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ivr_consent.core.decision import Outcome
from ivr_consent.core.errors import ConsentError
from ivr_consent.core.steps import Destination
from ivr_consent.pbx.serving import Server
from ivr_consent.pbx.simulated.caller import Action, During, HangUp, InWindow, Press
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.reader import CallRecord
from ivr_consent.testing.drivers.short import Pace, ShortLine, ShortSite, length_ms, when
from ivr_consent.testing.drivers.simulated import log_aside
from ivr_consent.testing.drivers.watch import Seen, Watch
from ivr_consent.testing.eye import DirectoryWatch
from ivr_consent.testing.scenario import Observed, Scenario, differences, in_words
from ivr_consent.testing.verdict import Verdict

HOST: Final = "127.0.0.1"

CALL_DEADLINE_S: Final = 120.0
"""For one call: a caller who tries every key hears the notice many times."""

SETTLE_DEADLINE_S: Final = 30.0
"""For the server's last words after the call: what a session still writes when its peer has gone."""

POLL_S: Final = 0.005

DRAIN_S: Final = 0.2
"""For what the server still has to say when all calls are over."""

LATE_S: Final = 0.05
"""What is done so much later than it was meant may have come when its place was over."""

CALLS: Final = 4
"""How often a caller who was too late calls again."""

Done = Callable[[Verdict], None]
Timed = tuple[float, str]
OpenLog = Callable[[Callable[[list[Callable[[], None]]], None]], Ledger]

NOWHERE: Final = "nowhere"
"""The route of a call that the switch ended."""

AFTER_A_PLACE: Final = ("play", "window", "route")
"""First words of events with which what a caller heard before is over."""


class Line(ABC):
    """One call on a switch, as a driver looks at it and acts in it."""

    uniqueid: str

    @abstractmethod
    def heard(self) -> list[Timed]:
        """Prompts, windows and what the dialplan was told, each with its time (``time.monotonic``)."""

    @abstractmethod
    async def more(self) -> None:
        """Until something more may have been said; returns at once when that was."""

    @abstractmethod
    async def press(self, key: str, seconds: float, *, inside: bool) -> None:
        """The caller presses a key, and lets it go after so long; a real telephone returns then.

        ``inside``: that is in the same place.
        """

    @abstractmethod
    async def hang_up(self) -> None:
        """The caller hangs up; nothing when the call is over."""

    @abstractmethod
    async def ended(self) -> None:
        """Until the dialplan has gone on (and the caller has come to a destination), or the caller is gone."""

    @abstractmethod
    def told(self) -> tuple[str, str, str] | None:
        """Outcome and reason as the dialplan has them, and where it went; ``None`` when the caller was gone before."""

    def cut_off(self) -> bool:
        """Whether the switch has ended the call before it came to a destination."""
        return False

    def keys_lost(self) -> bool:
        """Whether the switch has not heard a key, or when its place was over: no fault of what is tested."""
        return False

    @abstractmethod
    async def running(self) -> int:
        """Recorders that run now."""

    @abstractmethod
    def stops(self) -> int:
        """Commands to stop a recorder that came."""


class Exchange(ABC):
    """A switch with the server that it calls."""

    on: str
    pace = Pace()
    unheard_s = 0.0
    """What is done so shortly before its place is over may have reached the switch too late."""
    apart_s = 0.0
    """Calls begin so far apart: a switch that is called by all at once keeps them all waiting."""

    @abstractmethod
    def open(self, site: ShortSite, ledger: Ledger, watch: Watch) -> AbstractAsyncContextManager[Server]:
        """Start both; the server."""

    @abstractmethod
    async def call(self, line: str, scenario: Scenario) -> Line:
        """A caller rings."""


def play(exchange: Exchange, scenarios: Sequence[Scenario], done: Done, jobs: int, log: OpenLog | None = None) -> None:
    """Play what a caller can do by ear, ``jobs`` calls side by side; the rest is skipped with its reason.

    ``log`` opens the log that the server writes, with what carries its callbacks; without it one is thrown away.
    """
    portable = [scenario for scenario in scenarios if scenario.portable]
    why = "it injects failures, or acts where nothing can be heard: simulated switch only"
    for scenario in scenarios:
        if not scenario.portable:
            done(Verdict(scenario, exchange.on, None, skipped=why))
    if not portable:
        raise ConsentError(f"none of these scenarios can be played on {exchange.on}: {why}; run them there")
    try:
        asyncio.run(_play(exchange, portable, done, jobs, log))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None  # told to end: nothing is left behind then either


async def _play(exchange: Exchange, scenarios: Sequence[Scenario], done: Done, jobs: int, log: OpenLog | None) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    room = asyncio.Semaphore(jobs)

    def dispatch(callbacks: list[Callable[[], None]]) -> None:
        for callback in callbacks:
            loop.call_soon_threadsafe(callback)

    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivr-consent-")))
        site = ShortSite(directory, exchange.pace)
        site.add(scenarios)
        ledger = log(dispatch) if log is not None else Ledger(stack.enter_context(log_aside()), dispatch=dispatch)
        stack.push_async_callback(asyncio.to_thread, ledger.close)
        watch = Watch()
        eye = stack.enter_context(DirectoryWatch(site.lines.recordings))
        server = await stack.enter_async_context(exchange.open(site, ledger, watch))
        driver = _Driver(exchange, site, ledger, watch, server, eye)

        turn = asyncio.Lock()

        async def one(scenario: Scenario) -> None:
            async with room:
                async with turn:
                    await asyncio.sleep(exchange.apart_s)
                done(await driver.play(scenario))

        async with asyncio.TaskGroup() as group:
            for scenario in scenarios:
                group.create_task(one(scenario))


@dataclass(frozen=True, slots=True)
class _Did:
    """One thing that the caller did: in which place, from when till when, and whether it was to end in there."""

    place: Timed
    began: float
    ended: float
    inside: bool


@dataclass(slots=True)
class _Acted:
    """What the caller did: the event, when, and how late it was (seconds)."""

    events: list[Timed] = field(default_factory=list)
    done: dict[int, _Did | None] = field(default_factory=dict)
    late: float = 0.0

    def missed(self, heard: Sequence[Timed], unheard_s: float) -> bool:
        """Whether anything was done when its place was over, or as good as over; or was over before its place, which a
        busy machine had made longer."""
        for one in filter(None, self.done.values()):
            later = (at for at, word in heard if at > one.place[0] and word.split()[0] in AFTER_A_PLACE)
            over = next(later, None)
            if over is not None and (
                one.began > over - unheard_s or (one.ended > over if one.inside else one.ended < over)
            ):
                return True
        return False


class _Driver:
    """Plays one scenario after the other, or many at once."""

    def __init__(
        self, exchange: Exchange, site: ShortSite, ledger: Ledger, watch: Watch, server: Server, eye: DirectoryWatch
    ) -> None:
        self._exchange, self._site, self._ledger, self._watch, self._server = exchange, site, ledger, watch, server
        self._eye = eye

    async def play(self, scenario: Scenario) -> Verdict:
        """One call. A caller whom a busy machine held up was not the one of the scenario: who calls again."""
        began = time.monotonic()
        for number in itertools.count(1):
            acted = _Acted()
            try:
                seen = await self._call(scenario, acted)
                wrong: tuple[str, ...] = differences(scenario.expect, seen)
            except TimeoutError as error:
                why = f"the call did not end in time: {error}".removesuffix(": ")
                return Verdict(scenario, self._exchange.on, None, (why,))
            except (ConsentError, RuntimeError) as error:  # the switch is gone, or takes no keys
                return Verdict(scenario, self._exchange.on, None, (f"the call could not be played: {error}",))
            if not wrong or acted.late < LATE_S or number == CALLS:
                return Verdict(scenario, self._exchange.on, seen, wrong, seconds=time.monotonic() - began)
        raise AssertionError("it returned before")

    async def _call(self, scenario: Scenario, acted: _Acted) -> Observed:
        line = self._site.line(scenario)
        began = time.monotonic()
        call = await self._exchange.call(line.name, scenario)
        actions = scenario.behaviour().actions
        tasks = [asyncio.create_task(self._act(call, n, one, line, acted)) for n, one in enumerate(actions)]
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                await call.ended()
            record = await self._settled(call)
            if acted.missed(call.heard(), self._exchange.unheard_s) or call.keys_lost():
                acted.late = max(acted.late, LATE_S)
            return await self._observed(call, began, record, acted, actions)
        finally:
            for task in tasks:
                task.cancel()
            failed = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(one, Exception)]
            await call.hang_up()
            if failed:
                raise failed[0]

    async def _act(self, call: Line, number: int, action: Action, line: ShortLine, acted: _Acted) -> None:
        at_ms, hold_ms = when(action, line)
        place = await _reached(call, action)
        due = place[0] + at_ms / 1000
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        acted.late = max(acted.late, now - due)
        acted.done[number] = None
        inside = at_ms + hold_ms <= length_ms(action, line.short)
        match action.act:
            case Press(key):
                acted.events.append((now, f"press {key}"))
                await call.press(key, hold_ms / 1000, inside=inside)
            case HangUp():
                acted.events.append((now, "hang up"))
                await call.hang_up()
        # A fake takes a key and how long it is held at once: it is let go when that is over, and no sooner.
        acted.done[number] = _Did(place, now, max(time.monotonic(), now + hold_ms / 1000), inside)

    async def _settled(self, call: Line) -> CallRecord | None:
        """The call in the log, once the server has no more to write of it.

        A session whose peer has gone writes on: from one step to the next it does not wait.
        """
        async with asyncio.timeout(SETTLE_DEADLINE_S):
            while (seen := self._over(call)) is None:  # noqa: ASYNC110 - a server tells nobody that a session is over
                await asyncio.sleep(POLL_S)
        with self._ledger.reader() as reader:
            return reader.call(seen.call_id)

    def _over(self, call: Line) -> Seen | None:
        """What was seen of a call whose session is over; ``None`` while it is not."""
        if any(connection.uniqueid == call.uniqueid for connection in self._server.calls):
            return None
        seen = self._watch.of(call.uniqueid)
        return seen if seen is not None and seen.decided and not seen.pending else None

    async def _observed(
        self, call: Line, began: float, record: CallRecord | None, acted: _Acted, actions: Sequence[Action]
    ) -> Observed:
        seen = self._watch.of(call.uniqueid)
        assert seen is not None
        events = sorted([*call.heard(), *seen.events, *acted.events])
        left = NOWHERE if call.cut_off() else Destination.UNRECORDED.value
        outcome, reason, route = call.told() or (*_by_the_log(record), left)
        files = [path.name for path in self._site.lines.recordings.iterdir()]
        if record is None or record.decision.outcome != Outcome.GRANTED.value:
            files = self._eye.created  # without a grant no file may have been there for a moment
        started = sum(word == "record" for _, word in seen.events)
        # A hang-up ends a recorder without a command: then the server has read back that it did.
        stops = max(call.stops(), int(seen.stopped)) if started else 0
        return Observed(
            outcome,
            reason,
            route,
            logged=seen.logged and record is not None,
            decision=None if record is None else record.decision.payload,
            events=tuple(word for _, word in events),
            recorder=("start",) * started + ("stop",) * stops,
            running=await call.running(),
            files=sum(name.startswith(seen.call_id) for name in files),
            undone=tuple(in_words(one) for number, one in enumerate(actions) if number not in acted.done),
            events_at_ms=tuple(max(0, round((at - began) * 1000)) for at, _ in events),
            elapsed_ms=round((time.monotonic() - began) * 1000),
        )


def _by_the_log(record: CallRecord | None) -> tuple[str, str]:
    """How a call ended whose caller was gone before the dialplan was told."""
    if record is None:
        return "failed", "log_not_written"
    last = record.later[-1] if record.later else record.decision
    payload: dict[str, Any] = dict(last.payload)
    reason = str(payload.get("reason", ""))
    if reason.startswith("hung_up"):
        return "abandoned", reason
    revoked = {"withdrawn": "declined", "recording_stopped": "failed", "recording_not_confirmed": "failed"}
    return revoked.get(last.kind, str(record.decision.outcome)), reason


async def _reached(call: Line, action: Action) -> Timed:
    """The place, as it was said, once the call has come to it."""
    place = action.place
    assert isinstance(place, During | InWindow)
    wanted = f"play {place.prompt}" if isinstance(place, During) else f"window {place.question or ''}".rstrip()
    while True:
        came = [
            said for said in call.heard() if said[1] == wanted or (wanted == "window" and said[1].startswith("window "))
        ]
        if len(came) >= place.nth:
            return came[place.nth - 1]
        await call.more()


@contextlib.asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    """A server that listens on some port, until the calls are over."""
    await server.start(HOST, 0)
    try:
        yield server
    finally:
        await server.stop(DRAIN_S)
