"""A caller's call through the gate of the fake FreeSWITCH, for tests to drive and to look at."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ivr_consent.testing.fake_freeswitch_channel import Channel
from ivr_consent.testing.fake_freeswitch_dialplan import Place
from ivr_consent.testing.fake_freeswitch_socket import Command

if TYPE_CHECKING:
    from ivr_consent.testing.fake_freeswitch import FakeFreeSwitch

RESULT: Final = "ivr_consent_result"
REASON: Final = "ivr_consent_reason"
CALL_ID: Final = "ivr_consent_id"
RATE: Final = 8000

_KEYS: Final = frozenset("0123456789*#ABCD")


class FakeCall(Channel):
    """A caller's call through the gate; see :class:`FakeFreeSwitch`. ``place`` is where the dialplan has it now."""

    def __init__(self, switch: FakeFreeSwitch, line: str, place: Place, *, number: str, name: str, rate: int) -> None:
        super().__init__(switch, place, number=number, name=name, rate=rate)
        self.line = line
        self.pressed: list[tuple[str, float, float]] = []
        """Keys, each with the moments at which it went down and up."""
        self._keys: set[asyncio.TimerHandle] = set()
        self._agents: list[Channel] = []

    # --- what people do ----------------------------------------------------------------------------------------------

    def press(self, key: str, duration: float = 0.26) -> None:
        """Press a key and let it go after so many seconds: only then does FreeSWITCH queue it."""
        if key not in _KEYS:
            raise ValueError(f"{key!r} is not a key")
        began = time.monotonic()
        handle: asyncio.TimerHandle | None = None

        def released() -> None:
            if handle is not None:
                self._keys.discard(handle)
            ended = time.monotonic()
            self.pressed.append((key, began, ended))
            if self.alive:
                self.digit(key, round((ended - began) * RATE))  # how long it was down, not how long it was to be

        handle = asyncio.get_running_loop().call_later(duration, released)
        self._keys.add(handle)

    def hang_up(self, cause: str = "NORMAL_CLEARING", *, by_caller: bool = False) -> None:
        """End the call: the caller does when ``by_caller``."""
        for handle in self._keys:
            handle.cancel()
        super().hang_up(cause, by_caller=by_caller)

    def caller_hangs_up(self) -> None:
        """The caller hangs up."""
        self.hang_up(by_caller=True)

    def bridge(self, agent: str = "7100") -> Channel:
        """Connect it with an agent, as the site's queue or dialplan does; the agent's leg."""
        leg = self.switch.leg(Place(agent), caller=self)
        self._agents.append(leg)
        self.switch.connect_legs(self, leg)
        return leg

    def unbridge(self) -> None:
        """Part it from its agent, who hangs up."""
        leg = self.peer
        self.switch.part_legs(self)
        if leg is not None:
            leg.hang_up()

    def hold(self, *, on: bool = True) -> None:
        """The agent holds the caller, or takes them back: seen on the agent's leg."""
        leg = self.peer or self
        leg.held = on
        leg.fire("CHANNEL_HOLD" if on else "CHANNEL_UNHOLD")

    def move(self, place: str) -> None:
        """Somebody transfers the call (uuid_transfer)."""
        self.transfer(Place.of(place))

    async def talk(self, seconds: float) -> None:
        """Be bridged with an agent for so long: what records writes both sides' tones."""
        if not self.bridged:
            self.bridge()
        step = 0.1
        for number in range(math.ceil(seconds / step)):
            if self.cause or not self.bridged:
                return
            for channel in (self, self.peer):
                for recording in channel.recordings if channel is not None else ():
                    recording.talk(int(number * step * RATE), int(step * RATE))
            await asyncio.sleep(step)

    def uuid_record(self, path: Path | str) -> str:
        """Somebody else records it with the api; the answer."""
        return self.switch.api(f"uuid_record {self.uuid} start {path}")

    def broadcast(self, application: str, data: str = "") -> None:
        """Somebody runs an application on it: record_session, record, conference."""
        self.switch.broadcast(self, f"{application}::{data}")

    # --- what a test looks at ----------------------------------------------------------------------------------------

    @property
    def hung_up(self) -> bool:
        """The call has ended."""
        return not self.alive

    @property
    def result(self) -> str:
        """The variable on which the dialplan branches."""
        return self.variables.get(RESULT, "")

    @property
    def reason(self) -> str:
        """Why, as the dialplan was told."""
        return self.variables.get(REASON, "")

    @property
    def call_id(self) -> str:
        """Our id of the call, as the dialplan was told."""
        return self.variables.get(CALL_ID, "")

    @property
    def route(self) -> str:
        """Where the dialplan went: ``recorded``, ``unrecorded``, or empty while the gate has it."""
        recorded, unrecorded = self.switch.lines[self.line]
        return {recorded: "recorded", unrecorded: "unrecorded"}.get(str(self.place), "")

    @property
    def commands(self) -> list[Command]:
        """What the server sent on this call's connection."""
        return self.controller.commands if self.controller is not None else []

    @property
    def parked(self) -> bool:
        """It is in the socket application, or a park."""
        return self.application in ("socket", "park") and self.alive

    def cut(self) -> None:
        """Close the outbound connection now, as a FreeSWITCH that is killed does."""
        if self.controller is not None:
            self.controller.cut()

    async def wait(self, timeout: float = 30.0) -> str:  # noqa: ASYNC109 - the tests' vocabulary, as in the phone
        """Wait until the dialplan has left the gate, or the call has ended; the result."""
        async with asyncio.timeout(timeout):
            while not self.route and not self.done.is_set():
                await self.moved.wait()
        return self.result

    async def wait_done(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - the tests' word
        """Wait until the call has ended and everything has been told."""
        async with asyncio.timeout(timeout):
            await self.done.wait()

    async def wait_execute(self, prefix: str, nth: int = 1, timeout: float = 30.0) -> float:  # noqa: ASYNC109 - the tests' word
        """Wait for the nth application that begins so (``playback /a/b``); the moment at which it began."""
        came = [(f"{each.application} {each.data}", each.at) for each in self.executed]
        return await self.switch.wait_for(self, came, prefix, nth, timeout, commands=False)

    async def wait_command(self, prefix: str, nth: int = 1, timeout: float = 30.0) -> float:  # noqa: ASYNC109 - the tests' word
        """Wait for the nth command that begins so: ``api uuid_``, or ``playback /a/b`` for one in a sendmsg."""
        came = [(spoken(command), command.at) for command in self.commands]
        return await self.switch.wait_for(self, came, prefix, nth, timeout, commands=True)


def spoken(command: Command) -> str:
    """A command in one line: a sendmsg by its application."""
    if not command.text.startswith("sendmsg"):
        return command.text
    name = command.headers.get("execute-app-name", command.headers.get("call-command", ""))
    return f"{name} {command.headers.get('execute-app-arg', command.body)}"
