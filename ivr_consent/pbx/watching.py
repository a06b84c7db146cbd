"""What the guards of all switches have in common: hints that wait, turns, rounds, and whether they see.

A guard hears hints, asks the switch what is so, and stops what has no grant. It remembers nothing that an event could
make it forget: each time it asks anew what records on a channel, and by which grant. What it cannot hear of (a link
that was down, a start before its own) it finds in its rounds over all channels.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Coroutine, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from ivr_consent.core.errors import ConsentError
from ivr_consent.logs import get_logger
from ivr_consent.pbx.policy import Policy

MAX_WAITING: Final = 5000
"""Hints that wait; more, and the guard asks for everything instead."""

AT_ONCE: Final = 16
"""Hints looked into at the same time."""

BEHIND_S: Final = 2.0
"""A hint that waited so long, or a heartbeat that was not heard of within this time: the guard is behind, so blind."""

HEARTBEAT_S: Final = 1.0
"""How often it sees whether it still hears everything."""

REMEMBERED: Final = 4096
"""Recordings, or channels, of which something is remembered."""

log = get_logger()


class ChannelGone(Exception):
    """There is no such channel any more, and so no recorder on it."""


class Link(Protocol):
    """A connection to the switch that is always being held."""

    connections: int
    """How many there were, the present one included."""

    @property
    def up(self) -> bool:
        """Whether it stands."""
        ...

    async def wait_up(self, seconds: float, /) -> bool:
        """Wait so long for it to stand."""
        ...


class Switch(Protocol):
    """Whom the guard asks."""

    async def channels(self) -> Iterable[str]:
        """All channels, as of a moment ago."""
        ...


class Scope(Protocol):
    """What keeps lawful recordings to caller and agent."""

    def all(self) -> tuple[str, ...]:
        """The channels whose recordings are followed."""
        ...

    def forget(self, channel: str, /) -> None:
        """Its recording has ended."""
        ...


class Hint(Protocol):
    """What an event said may be so."""

    @property
    def key(self) -> Hashable:
        """Two with the same are one: what they are about is asked anyway."""
        ...

    @property
    def turn(self) -> Hashable:
        """What is looked into by one at a time."""
        ...


@dataclass(slots=True)
class _Turn:
    """Who looks into something, and who waits to."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


HintT = TypeVar("HintT", bound=Hint)


class Watch(ABC, Generic[HintT]):
    """Watches one switch through a link of its own, until :meth:`stop`.

    A switch's guard says what its hints are about (:meth:`_look`), which of them a round is made of, and how a
    heartbeat is sent; it calls :meth:`_take` for each hint that it hears, and :meth:`_heard_beat`.
    """

    LINK_DOWN: ClassVar[str]
    EVENTS_MISSING: ClassVar[str]
    EVENTS_LATE: ClassVar[str]
    """Why it is blind, for the log."""
    UNANSWERED: ClassVar[type[ConsentError]]
    """What is raised when the switch does not answer."""

    _link: Link
    _switch: Switch
    scope: Scope

    def __init__(self, link: Link, switch: Switch, policy: Policy) -> None:
        self.policy = policy
        self._link, self._switch = link, switch
        self._waiting: OrderedDict[Hashable, tuple[HintT, float]] = OrderedDict()
        self._turns: dict[Hashable, _Turn] = {}
        """Of each thing that is being looked into: never twice at once, or the second would stop one too many."""
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._more = asyncio.Event()
        self._everything = asyncio.Event()
        self._seen_all = False
        self._asked = 0
        """The connection on which everything was asked."""
        self._said: str | None = "not_started"
        self._beat = ""
        self._beat_at = self._beat_heard = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    # --- what a switch's own guard says ------------------------------------------------------------------------------

    @abstractmethod
    async def _look(self, hint: HintT, since: float, found: str) -> None:
        """Ask what is so, and act. ``since``: the hint's moment; ``found``: as in an incident."""

    @abstractmethod
    def _scope_hint(self, channel: str) -> HintT:
        """Who is in the bridge of a recording that is followed may have changed."""

    @abstractmethod
    def _hints_of(self, channel: str) -> Iterable[HintT]:
        """All that is to be asked about a channel in a round, beside its scope."""

    @abstractmethod
    async def _hints_beside(self) -> Iterable[HintT]:
        """What is to be asked in a round that is on no channel."""

    @abstractmethod
    async def _send_beat(self, beat: str) -> None:
        """Have the switch tell us this as an event."""

    async def _connected(self) -> None:
        """A new connection, before everything is asked."""

    async def _learn(self) -> None:
        """What the link may do, and what the switch can: one that has just started can do more by each module."""

    def _unable(self) -> str | None:
        """Why this link cannot watch, for the log; ``None`` when it can."""
        return None

    async def _is_gone(self, channel: str) -> bool:
        """Whether a channel that the switch's list does not have is really gone."""
        return True

    # --- whether it sees ---------------------------------------------------------------------------------------------

    @property
    def blind(self) -> str | None:
        """Why it does not see all that records at this moment; ``None`` when it does."""
        if not self._link.up:
            return self.LINK_DOWN
        unable = self._unable()
        if unable is not None:
            return unable
        if not self._seen_all or self._link.connections != self._asked:
            return "switch_not_asked_yet"
        now = time.monotonic()
        if self._beat and now - self._beat_at > BEHIND_S:
            return self.EVENTS_LATE if self._beat_heard else self.EVENTS_MISSING
        oldest = next(iter(self._waiting.values()), None)
        return "guard_overloaded" if oldest is not None and now - oldest[1] > BEHIND_S else None

    def look_at_scopes(self) -> None:
        """Something outside the switch has changed: a consent was withdrawn."""
        for channel in self.scope.all():
            self._take(self._scope_hint(channel))

    # --- start and end -----------------------------------------------------------------------------------------------

    def _begin_to_watch(self, *more: Coroutine[Any, Any, None]) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()) for _ in range(AT_ONCE)]
        self._tasks += [loop.create_task(work) for work in (self._watch_link(), self._rounds(), *more)]

    async def stop(self) -> None:
        """End; nothing on the switch is changed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- hints -------------------------------------------------------------------------------------------------------

    def _take(self, hint: HintT) -> None:
        if hint.key in self._waiting:
            return  # it is asked anew anyway
        if len(self._waiting) >= MAX_WAITING:
            self._everything.set()
            return
        self._waiting[hint.key] = (hint, time.monotonic())
        self._more.set()

    def _heard_beat(self, beat: str) -> None:
        if self._beat and beat == self._beat:
            self._beat, self._beat_heard = "", time.monotonic()

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            (_, (hint, since)) = self._waiting.popitem(last=False)
            await self._guarded(self._look_into(hint, since, "event"))

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except ChannelGone:
            return
        except self.UNANSWERED:
            self._everything.set()  # asked again, for everything, as soon as the switch answers
        except ConsentError as error:
            log.error("guard_failed", problem=str(error))
            self._everything.set()
        except Exception:  # the root of a task: one channel's trouble must not end the guard
            log.exception("guard_failed")
            self._everything.set()

    async def _look_into(self, hint: HintT, since: float, found: str) -> None:
        async with self._turn(hint.turn):
            await self._look(hint, since, found)

    @contextlib.asynccontextmanager
    async def _turn(self, what: Hashable) -> AsyncIterator[None]:
        """One at a time: two would stop, and tell, one thing twice."""
        turn = self._turns.setdefault(what, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[what]

    def _once(self, channel: str, way: str, file: str) -> bool:
        """Whether this was not told yet."""
        key = (channel, way, file)
        if key in self._told:
            return False
        self._told[key] = None
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return True

    # --- everything --------------------------------------------------------------------------------------------------

    async def _watch_link(self) -> None:
        """Each time the link comes up: what may it do, and what runs? Then a heartbeat, to know that events come."""
        link = self._link
        while True:
            try:
                if link.up and (link.connections != self._asked or self._unable() is not None):
                    await self._begin()
                if link.up and not self._beat:
                    self._beat, self._beat_at = secrets.token_hex(8), time.monotonic()
                    await self._send_beat(self._beat)
            except self.UNANSWERED as error:
                self._asked = 0
                log.warning("guard_not_answered", problem=str(error))
            except Exception:  # the root of a task: it begins anew
                self._asked = 0
                log.exception("guard_failed")
            self._say_whether_it_sees()
            if link.up:
                await asyncio.sleep(HEARTBEAT_S)
            else:
                await link.wait_up(HEARTBEAT_S)

    async def _begin(self) -> None:
        """A new connection: events of before it are lost."""
        connection = self._link.connections
        self._seen_all, self._beat, self._beat_heard = False, "", 0.0
        await self._connected()
        await self._learn()
        if self._unable() is None:
            await self._round("start")
        self._asked = connection

    def _say_whether_it_sees(self) -> None:
        blind = self.blind
        if blind != self._said:
            self._said = blind
            if blind is None:
                log.info("guard_watching", mode="enforce" if self.policy.enforce else "watch")
            else:
                log.warning("guard_blind", reason=blind)

    async def _rounds(self) -> None:
        link = self._link
        while True:
            try:
                async with asyncio.timeout(self.policy.round_s):
                    await self._everything.wait()
            except TimeoutError:
                pass
            self._everything.clear()
            if link.up and link.connections == self._asked and self._unable() is None:
                await self._guarded(self._learn())
                await self._guarded(self._round("round"))
                await asyncio.sleep(HEARTBEAT_S)  # a flood of hints is not answered by a flood of rounds

    async def _round(self, found: str) -> None:
        """Ask about every channel there is. At the start every recorder without a grant is stopped, heard of or not."""
        channels = tuple(await self._switch.channels())
        since = time.monotonic()
        for channel in set(self.scope.all()) - set(channels):
            if await self._is_gone(channel):
                self.scope.forget(channel)
        waiting = asyncio.Semaphore(AT_ONCE)

        async def one(channel: str) -> None:
            async with waiting:
                with contextlib.suppress(ChannelGone):
                    for hint in self._hints_of(channel):
                        await self._look_into(hint, since, found)
                    if self.policy.enforce:
                        await self._look_into(self._scope_hint(channel), since, found)

        await asyncio.gather(*(one(channel) for channel in channels))
        for hint in await self._hints_beside():
            await self._look_into(hint, since, found)
        self._seen_all = True
