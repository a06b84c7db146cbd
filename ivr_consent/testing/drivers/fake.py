"""Scenarios through our real servers against a fake switch: real sockets, real time, short prompts, the real log.

Calls run side by side in one event loop. What a fake differs in from another is an :class:`Exchange`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ivr_consent.core.errors import ConsentError
from ivr_consent.core.steps import Decide, Granted, Logged, Note, Record, Result, Step, Stopped, StopRecording
from ivr_consent.pbx.serving import Server
from ivr_consent.pbx.simulated.caller import Action, During, HangUp, InWindow, Press
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.reader import CallRecord
from ivr_consent.testing.drivers.short import PROMPT_MS, ShortLine, ShortSite, when
from ivr_consent.testing.drivers.simulated import log_aside
from ivr_consent.testing.scenario import Observed, Scenario, differences, in_words
from ivr_consent.testing.verdict import Verdict

HOST: Final = "127.0.0.1"

CALL_DEADLINE_S: Final = 120.0
"""For one call: a caller who tries every key hears the notice many times."""

SETTLE_DEADLINE_S: Final = 30.0
"""For the server's last words after the call: what a session still writes when its peer has gone."""

POLL_S: Final = 0.005

LATE_S: Final = 0.05
"""What is done so much later than it was meant may have come when its place was over."""

CALLS: Final = 4
"""How often a caller who was too late calls again."""

Done = Callable[[Verdict], None]
Timed = tuple[float, str]


class Line(ABC):
    """One call on a fake switch, as a driver looks at it and acts in it."""

    uniqueid: str

    @abstractmethod
    def heard(self) -> list[Timed]:
        """Prompts, windows and what the dialplan was told, each with its time (``time.monotonic``)."""

    @abstractmethod
    async def more(self) -> None:
        """Until something more may have been said; returns at once when that was."""

    @abstractmethod
    def press(self, key: str, seconds: float) -> None:
        """The caller presses a key and lets it go after so long."""

    @abstractmethod
    def hang_up(self) -> None:
        """The caller hangs up."""

    @abstractmethod
    async def ended(self) -> None:
        """Until the dialplan has gone on, or the caller has."""

    @abstractmethod
    def told(self) -> tuple[str, str, str] | None:
        """Outcome, reason and route, as the dialplan has them; ``None`` when the caller was gone before."""

    @abstractmethod
    def running(self) -> int:
        """Recorders that run now."""

    @abstractmethod
    def stops(self) -> int:
        """Commands to stop a recorder that came."""


class Exchange(ABC):
    """A fake switch with the server that it calls."""

    on: str

    @abstractmethod
    def open(self, site: ShortSite, ledger: Ledger, watch: Watch) -> AbstractAsyncContextManager[Server]:
        """Start both; the server."""

    @abstractmethod
    async def call(self, line: str, scenario: Scenario) -> Line:
        """A caller rings."""


@dataclass(slots=True)
class _Seen:
    """What the server was seen to do in one call."""

    call_id: str
    decided: bool = False
    logged: bool = False
    stopped: bool = False
    pending: int = 0
    """Steps under way."""
    events: list[Timed] = field(default_factory=list)


class Watch:
    """The server's observer: what each call wrote and commanded, by the channel's id."""

    def __init__(self) -> None:
        self._by_call: dict[str, _Seen] = {}
        self._by_channel: dict[str, _Seen] = {}

    def observe(self, step: Step, result: Result | None) -> None:
        """See ``conduct.Observer``."""
        match step:
            case Decide():
                seen = self._of(step.decision.call.call_id)
                self._by_channel[step.decision.call.channel_uniqueid] = seen
                word = f"decide {step.decision.outcome.value}"
                seen.logged = seen.logged or isinstance(result, Granted) or _durable(result)
                seen.decided = seen.decided or result is not None
            case Note():
                seen, word = self._of(step.call.call_id), f"note {step.kind}"
                self._by_channel[step.call.channel_uniqueid] = seen
            case Record():
                seen, word = self._of(step.grant.call_id), "record"
            case StopRecording():
                seen, word = self._of(step.recording_id), "stop"
                seen.stopped = seen.stopped or isinstance(result, Stopped)
            case _:
                return
        seen.pending += 1 if result is None else -1
        if result is None:
            seen.events.append((time.monotonic(), word))

    def _of(self, call_id: str) -> _Seen:
        return self._by_call.setdefault(call_id, _Seen(call_id))

    def of(self, uniqueid: str) -> _Seen | None:
        """What was seen of the call on a channel."""
        return self._by_channel.get(uniqueid)


def _durable(result: Result | None) -> bool:
    return isinstance(result, Logged) and result.durable


def play(exchange: Exchange, scenarios: Sequence[Scenario], done: Done, jobs: int) -> None:
    """Play what a caller can do by ear, ``jobs`` calls side by side; the rest is skipped with its reason."""
    portable = [scenario for scenario in scenarios if scenario.portable]
    why = "it injects failures, or acts where nothing can be heard: simulated switch only"
    for scenario in scenarios:
        if not scenario.portable:
            done(Verdict(scenario, exchange.on, None, skipped=why))
    if not portable:
        raise ConsentError(f"none of these scenarios can be played on {exchange.on}: {why}; run them there")
    asyncio.run(_play(exchange, portable, done, jobs))


async def _play(exchange: Exchange, scenarios: Sequence[Scenario], done: Done, jobs: int) -> None:
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(jobs)

    def dispatch(callbacks: list[Callable[[], None]]) -> None:
        for callback in callbacks:
            loop.call_soon_threadsafe(callback)

    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivr-consent-")))
        site = ShortSite(directory)
        site.add(scenarios)
        ledger = Ledger(stack.enter_context(log_aside()), dispatch=dispatch)
        stack.push_async_callback(asyncio.to_thread, ledger.close)
        watch = Watch()
        server = await stack.enter_async_context(exchange.open(site, ledger, watch))
        driver = _Driver(exchange, site, ledger, watch, server)

        async def one(scenario: Scenario) -> None:
            async with room:
                done(await driver.play(scenario))

        async with asyncio.TaskGroup() as group:
            for scenario in scenarios:
                group.create_task(one(scenario))


@dataclass(slots=True)
class _Acted:
    """What the caller did: the event, when, and how late it was (seconds)."""

    events: list[Timed] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    late: float = 0.0


class _Driver:
    """Plays one scenario after the other, or many at once."""

    def __init__(self, exchange: Exchange, site: ShortSite, ledger: Ledger, watch: Watch, server: Server) -> None:
        self._exchange, self._site, self._ledger, self._watch, self._server = exchange, site, ledger, watch, server

    async def play(self, scenario: Scenario) -> Verdict:
        """One call. A caller whom a busy machine held up was not the one of the scenario: who calls again."""
        for number in itertools.count(1):
            began = time.monotonic()
            acted = _Acted()
            try:
                seen = await self._call(scenario, acted)
                wrong: tuple[str, ...] = differences(scenario.expect, seen)
            except TimeoutError:
                return Verdict(scenario, self._exchange.on, None, ("the call did not end in time",))
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
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        try:
            record = await self._settled(call)
            return self._observed(call, began, record, acted, actions)
        finally:
            call.hang_up()

    async def _act(self, call: Line, number: int, action: Action, line: ShortLine, acted: _Acted) -> None:
        at_ms, hold_ms = when(action, line)
        due = await _reached(call, action) + at_ms / 1000
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        acted.late = max(acted.late, now - due)
        acted.done.add(number)
        match action.act:
            case Press(key):
                acted.events.append((now, f"press {key}"))
                call.press(key, hold_ms / 1000)
            case HangUp():
                acted.events.append((now, "hang up"))
                call.hang_up()

    async def _settled(self, call: Line) -> CallRecord | None:
        """The call in the log, once the server has no more to write of it.

        A session whose peer has gone writes on: from one step to the next it does not wait.
        """
        async with asyncio.timeout(SETTLE_DEADLINE_S):
            while (seen := self._over(call)) is None:  # noqa: ASYNC110 - a server tells nobody that a session is over
                await asyncio.sleep(POLL_S)
        with self._ledger.reader() as reader:
            return reader.call(seen.call_id)

    def _over(self, call: Line) -> _Seen | None:
        """What was seen of a call whose session is over; ``None`` while it is not."""
        if any(connection.uniqueid == call.uniqueid for connection in self._server.calls):
            return None
        seen = self._watch.of(call.uniqueid)
        return seen if seen is not None and seen.decided and not seen.pending else None

    def _observed(
        self, call: Line, began: float, record: CallRecord | None, acted: _Acted, actions: Sequence[Action]
    ) -> Observed:
        seen = self._watch.of(call.uniqueid)
        assert seen is not None
        events = sorted([*call.heard(), *seen.events, *acted.events])
        outcome, reason, route = call.told() or (*_by_the_log(record), "unrecorded")
        files = [path for path in self._site.lines.recordings.iterdir() if path.name.startswith(seen.call_id)]
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
            running=call.running(),
            files=len(files),
            undone=tuple(in_words(one) for number, one in enumerate(actions) if number not in acted.done),
            events_at_ms=tuple(max(0, round((at - began) * 1000)) for at, _ in events),
            elapsed_ms=round((time.monotonic() - began) * 1000),
        )


def _by_the_log(record: CallRecord | None) -> tuple[str, str]:
    """How a call ended whose caller was gone before the dialplan was told."""
    if record is None:
        return "failed", "log_not_written"
    payload: dict[str, Any] = dict((record.later[-1] if record.later else record.decision).payload)
    reason = str(payload.get("reason", ""))
    return ("abandoned" if reason.startswith("hung_up") else str(record.decision.outcome)), reason


async def _reached(call: Line, action: Action) -> float:
    """The moment at which the call comes to a place."""
    place = action.place
    assert isinstance(place, During | InWindow)
    wanted = f"play {place.prompt}" if isinstance(place, During) else f"window {place.question or ''}".rstrip()
    while True:
        came = [
            at for at, word in call.heard() if word == wanted or (wanted == "window" and word.startswith("window "))
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
        await server.stop(PROMPT_MS / 1000)
