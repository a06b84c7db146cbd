"""A FreeSWITCH that is none: it speaks the event socket as the real one does, in real time, without audio.

It plays the part of the channels and of the dialplan, ours or a site's own files: sets the variables, the lease and
socket_resume, connects to the outbound server, obeys it, and goes on afterwards as the dialplan says. Its messages are
those of recorded transcripts of FreeSWITCH 1.10.12, with what is awkward in them: ``+OK`` means that a message was
queued; "FILE PLAYED" is said of prompts cut short; ``record_session`` answers ``_none_`` when it failed; a server that
closes before ``connect`` parks the call for ever; socket_resume left on hangs a call that was transferred.

On request it listens too (``listen``), as the event socket module does, over the same channels. Hundreds of calls fit
into one event loop. It knows nothing of the project's own event socket code, on purpose: it is the other witness.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ivr_consent.testing import fake_freeswitch_api
from ivr_consent.testing.fake_freeswitch_applications import APPLICATIONS
from ivr_consent.testing.fake_freeswitch_call import RATE, FakeCall, spoken
from ivr_consent.testing.fake_freeswitch_channel import Channel, Executed
from ivr_consent.testing.fake_freeswitch_dialplan import CONTEXT, LEASE_S, Action, Dialplan, Place, gate
from ivr_consent.testing.fake_freeswitch_events import head
from ivr_consent.testing.fake_freeswitch_recording import Recording
from ivr_consent.testing.fake_freeswitch_room import Room
from ivr_consent.testing.fake_freeswitch_socket import Command, Event, EventSocket, Inbound

if TYPE_CHECKING:
    from collections.abc import Iterable


_DENIED: Final = "<API Execute Permission Denied>"


@dataclass(slots=True)
class _Waiter:
    call: Channel
    prefix: str
    nth: int
    commands: bool
    future: asyncio.Future[float]


@dataclass(frozen=True, slots=True)
class _Lease:
    number: int
    channel: Channel
    timer: asyncio.TimerHandle


class FakeFreeSwitch:
    """Places calls that the dialplan hands to one outbound server.

    ``sounds`` is where prompts with a relative name are. ``lines`` gives each line's recorded and unrecorded
    destination (``support_recorded XML default``); by default they are named after the line. ``dialplan`` replaces
    the built-in gate: a site's files, read by :class:`Dialplan`. ``password`` and ``acl`` are for who connects to
    :meth:`listen`. ``api_expansion`` lets ``${system(…)}`` in arguments reach :attr:`expanded`; nothing runs in any
    case. ``speed`` shortens prompts and waits, not the lease.

    Use it as an async context manager: on leaving, every call has ended and every connection is closed.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8084,
        *,
        sounds: Path = Path("/nonexistent"),
        lease_s: int = LEASE_S,
        mode: str = "async full",
        resume: bool = True,
        lines: dict[str, tuple[str, str]] | None = None,
        dialplan: Dialplan | None = None,
        password: str = "a password of the fake",  # noqa: S107 - nobody's
        acl: frozenset[str] = frozenset({"127.0.0.1"}),
        api_expansion: bool = False,
        local_host: str | None = None,
        speed: float = 1.0,
    ) -> None:
        self.address = f"{host}:{port}"
        self.sounds, self.speed, self.local_host = sounds, speed, local_host
        self.lines = dict(lines or {})
        self.dialplan = dialplan or Dialplan()
        self.own_dialplan = dialplan is not None
        self.lease_s, self.mode, self.resume = lease_s, mode, resume
        self.clock_speed = 1.0
        """So many times faster do leases and lingering pass; 1 unless a test says otherwise."""
        self.password, self.acl, self.api_expansion = password, acl, api_expansion
        self.channels: dict[str, Channel] = {}
        self.calls: list[FakeCall] = []
        self.rooms: dict[str, Room] = {}
        self.sockets: list[EventSocket] = []
        self.database: dict[str, dict[str, str]] = {}
        """What ``db`` keeps, by realm and key."""
        self.asked: list[str] = []
        """Every api command that came, by whatever way."""
        self.expanded: list[str] = []
        """Every api command that somebody put into ``${…}``; the safe server puts none."""
        self._wide: list[EventSocket] = []
        self._narrow: dict[str, list[EventSocket]] = {}
        self.sessions = itertools.count(1)
        self.began = time.monotonic()
        self.count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._leases: dict[int, _Lease] = {}
        self._numbers = itertools.count(1)
        self._waiters: list[_Waiter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FakeFreeSwitch:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def listen(self, port: int = 0) -> int:
        """Listen for inbound connections; the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Inbound(self), "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def call(
        self,
        line: str = "support",
        *,
        caller: str = "4512345678",
        name: str = "Caller",
        place: str = "",
        rate: int = RATE,
        variables: dict[str, str] | None = None,
    ) -> FakeCall:
        """A caller rings and the dialplan runs, at the line's gate or at another ``place``.

        Caller, name and ``variables`` (of SIP headers, say) are taken as they are given.
        """
        self._know(line)
        call = FakeCall(self, line, Place.of(place or f"{line} XML {CONTEXT}"), number=caller, name=name, rate=rate)
        call.variables |= variables or {}
        self.calls.append(call)
        self.start(call)
        return call

    def _know(self, line: str) -> None:
        recorded, unrecorded = self.lines.setdefault(
            line, (f"{line}_recorded XML default", f"{line}_unrecorded XML default")
        )
        if not self.own_dialplan and not self.dialplan.actions(Place(line, "XML", CONTEXT), lambda _: ""):
            self.dialplan.add(
                gate(line, self.address, recorded, unrecorded, lease_s=self.lease_s, mode=self.mode, resume=self.resume)
            )

    def start(self, channel: Channel) -> None:
        """Let a channel live."""
        self.channels[channel.uuid] = channel
        self.count += 1
        task = asyncio.create_task(channel.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Hang up every call and close every connection."""
        if self._server is not None:
            self._server.close()
        for channel in list(self.channels.values()):
            channel.hang_up("MANAGER_REQUEST")
        async with asyncio.timeout(30):
            while self._tasks:
                await asyncio.gather(*self._tasks)
        for lease in self._leases.values():
            lease.timer.cancel()
        for connection in self.sockets[:]:
            connection.cut()
        for connection in self.sockets[:]:
            await connection.lost.wait()

    # --- what channels and connections ask of it ---------------------------------------------------------------------

    def find(self, uid: str) -> Channel | None:
        """The channel of an id."""
        return self.channels.get(uid)

    def actions(self, channel: Channel, value: Callable[[str], str]) -> list[Action]:
        """What the dialplan says at the channel's place; a destination that it lacks is somewhere to talk."""
        found = self.dialplan.actions(channel.place, value)
        ends = {place for pair in self.lines.values() for place in pair}
        if not found and str(channel.place) in ends:
            return [("answer", ""), ("park", "")]
        return found

    def fire(self, name: str, build: Callable[[], Event], *, uid: str = "", subclass: str = "") -> None:
        """Give an event to who wants it; it is only built for somebody."""
        event: Event | None = None
        for connection in (*self._narrow.get(uid, ()), *self._wide):
            if connection.wants(name, subclass, uid):
                event = event or build()
                connection.deliver(event)

    def add_socket(self, connection: EventSocket) -> None:
        """A connection is there."""
        self.sockets.append(connection)
        self._wide.append(connection)

    def sort_socket(self, connection: EventSocket) -> None:
        """Put a connection where its events come by: a hundred calls' servers each hear of one call."""
        only = connection.only()
        if only and connection in self._wide:
            self._wide.remove(connection)
            self._narrow.setdefault(only, []).append(connection)
        elif not only and connection not in self._wide and connection in self.sockets:
            self._forget(connection)
            self._wide.append(connection)

    def _forget(self, connection: EventSocket) -> None:
        for uid, found in list(self._narrow.items()):
            if connection in found:
                found.remove(connection)
            if not found:
                del self._narrow[uid]

    def drop_socket(self, connection: EventSocket) -> None:
        """A connection has gone."""
        if connection not in self.sockets:
            return
        self.sockets.remove(connection)
        if connection in self._wide:
            self._wide.remove(connection)
        elif connection in self._narrow.get(connection.only(), ()):
            self._narrow[connection.only()].remove(connection)
        else:
            self._forget(connection)

    def fire_plain(self, event: Event, subclass: str = "") -> None:
        """Give a ready event to who wants it."""
        self.fire(event.name, lambda: event, subclass=subclass)

    def api(self, text: str) -> str:
        """Answer an api command."""
        self.asked.append(text)
        return fake_freeswitch_api.answer(self, text)

    def expand_api(self, name: str, arguments: str) -> str:
        """What ``${name(arguments)}`` becomes. Nothing of it runs."""
        self.expanded.append(f"{name} {arguments}")
        return "" if self.api_expansion else _DENIED

    def background_job(self, job: str, text: str) -> None:
        """Run a bgapi command, and tell its outcome by an event."""
        name, _, arguments = text.partition(" ")
        headers = {"Job-UUID": job, "Job-Command": name} | ({"Job-Command-Arg": arguments} if arguments else {})
        body = self.api(text)
        self.fire_plain(Event("BACKGROUND_JOB", head("BACKGROUND_JOB") | headers, body))

    def schedule(self, channel: Channel, when: str, place: Place | None, cause: str = "") -> int:
        """Set a lease of whole seconds, up to half a second early as the real one; its number."""
        now = time.time()
        wanted = float(when) if when.lstrip("+").isdigit() else 0.0
        delay = max(0.0, (wanted if when.startswith("+") else wanted - now) - (now % 1) / 2)
        number = next(self._numbers)

        def fire() -> None:
            self._leases.pop(number, None)
            if place is None:
                channel.hang_up(cause)
            else:
                channel.transfer(place)

        timer = asyncio.get_running_loop().call_later(delay / self.clock_speed, fire)
        self._leases[number] = _Lease(number, channel, timer)
        return number

    def cancel(self, which: str) -> int:
        """Cancel the lease of a number, or all of a channel's; how many."""
        found = [each for each in self._leases.values() if which in (str(each.number), each.channel.uuid)]
        for lease in found:
            lease.timer.cancel()
            del self._leases[lease.number]
        return len(found)

    def leases(self, channel: Channel) -> int:
        """How many leases run for a channel."""
        return sum(each.channel is channel for each in self._leases.values())

    def broadcast(self, channel: Channel, text: str) -> None:
        """Run ``application::data`` on a channel, nested."""
        application, _, data = text.partition("::")
        headers = {"call-command": "execute", "execute-app-name": application, "execute-app-arg": data}
        channel.queue(Command("sendmsg", headers))

    def room(self, name: str) -> Room:
        """The conference of a name, made when there is none."""
        if name not in self.rooms:
            self.rooms[name] = Room(self, name)
        return self.rooms[name]

    def leg(self, place: Place, caller: Channel | None = None) -> Channel:
        """A new outbound leg that answers at once and is silent: an agent."""
        number, name = (caller.number, caller.caller_name) if caller else ("0", "nobody")
        leg = Channel(self, place, number=number, name=name, direction="outbound")
        leg.call_uuid = caller.uuid if caller else leg.uuid
        self._silent(leg)
        return leg

    def _silent(self, leg: Channel) -> None:
        where = Place(f"agent-{leg.uuid}", "XML", "fake")
        leg.place = where
        self.lines.setdefault(where.extension, (str(where), str(where)))
        self.start(leg)

    def connect_legs(self, one: Channel, other: Channel) -> None:
        """Bridge two channels."""
        for channel in (one, other):
            channel.flush(bridged=False)
        one.peer, other.peer = other, one
        one.answer()
        other.answer()
        after = {"Bridge-A-Unique-ID": one.uuid, "Bridge-B-Unique-ID": other.uuid, "Other-Leg-Unique-ID": other.uuid}
        for channel, peer in ((one, other), (other, one)):
            channel.set("bridge_uuid", peer.uuid)
            channel.set("signal_bond", peer.uuid)
        one.fire("CHANNEL_BRIDGE", after=after)

    def part_legs(self, one: Channel) -> None:
        """End a bridge."""
        other = one.peer
        if other is None:
            return
        for channel in (one, other):
            channel.flush(bridged=True)
            channel.peer = None
            channel.set("signal_bond", "")  # bridge_uuid stays as it was
        after = {"Bridge-A-Unique-ID": one.uuid, "Bridge-B-Unique-ID": other.uuid, "Other-Leg-Unique-ID": other.uuid}
        one.fire("CHANNEL_UNBRIDGE", after=after)
        one.wake()
        other.wake()

    # --- what tests wait for -----------------------------------------------------------------------------------------

    def tell_execute(self, channel: Channel, executed: Executed) -> None:
        """An application begins."""
        self._tell(channel, f"{executed.application} {executed.data}", executed.at, commands=False)

    def tell_command(self, channel: Channel) -> Callable[[Command], None]:
        """Who is told of a call's commands."""

        def came(command: Command) -> None:
            self._tell(channel, spoken(command), command.at, commands=True)

        return came

    def _tell(self, channel: Channel, text: str, at: float, *, commands: bool) -> None:
        for waiter in self._waiters[:]:
            if waiter.call is channel and waiter.commands == commands and text.startswith(waiter.prefix):
                waiter.nth -= 1
                if waiter.nth == 0:
                    self._waiters.remove(waiter)
                    if not waiter.future.done():
                        waiter.future.set_result(at)

    async def wait_for(
        self, call: Channel, came: Iterable[tuple[str, float]], prefix: str, nth: int, seconds: float, *, commands: bool
    ) -> float:
        """Wait for the nth of something; see :meth:`FakeCall.wait_execute`."""
        before = [at for text, at in came if text.startswith(prefix)]
        if len(before) >= nth:
            return before[nth - 1]
        waiter = _Waiter(call, prefix, nth - len(before), commands, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        async with asyncio.timeout(seconds):
            return await waiter.future


__all__ = ["APPLICATIONS", "Dialplan", "FakeCall", "FakeFreeSwitch", "Place", "Recording", "gate"]
