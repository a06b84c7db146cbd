"""What the fixtures ``switch`` and ``call`` of the pytest plugin are: calls that a test places and waits for.

Two kinds of calls: through the gate of this package on a line (``call(press("1", window=1))``), and through a site's
own AGI script (``call(press("2", during="menu"), agi="agi://127.0.0.1:4573/menu")``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar, overload

from pydantic import ValidationError

from ivr_consent.config import Line
from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.simulated.caller import Action
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing import scenario_writing
from ivr_consent.testing.agi_asterisk import HOST, Agi, AgiSwitch, FakeAgi, RealAgi
from ivr_consent.testing.agi_call import AgiCall, play
from ivr_consent.testing.loop_thread import LoopThread, refuse_in_coroutine
from ivr_consent.testing.scenario import Observed, Wire, observed, simulate
from ivr_consent.testing.verdict import Verdict, told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from ivr_consent.testing.clock import Clock
    from ivr_consent.testing.drivers.exchange import Exchange
    from ivr_consent.testing.fake_asterisk import FakeAsterisk
    from ivr_consent.testing.rig import Version

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

SIMULATED: Final = "simulated"
FAKE_ASTERISK: Final = "fake-asterisk"
FAKE_FREESWITCH: Final = "fake-freeswitch"
ASTERISK: Final = "asterisk"
FREESWITCH: Final = "freeswitch"
SWITCHES: Final = (SIMULATED, FAKE_ASTERISK, FAKE_FREESWITCH, ASTERISK, FREESWITCH)
"""As in ``ivr-consent test --on``."""

DEADLINE_S: Final = 30.0
"""For a script to end, where a test does not say."""

LISTEN_S: Final = 30.0
"""For a server that was launched to listen."""

STOP_S: Final = 5.0
POLL_S: Final = 0.02
SAID_BYTES: Final = 4000

_RATE: Final = 8000
_LISTENS: Final = "0A"

T = TypeVar("T")


class Machinery:
    """What many tests share: a thread with an event loop, and the real Asterisks that were started."""

    def __init__(self) -> None:
        self._thread: LoopThread | None = None
        self._real: dict[str, RealAgi] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the loop, and wait for it."""
        if self._thread is None:
            self._thread = LoopThread()
        return self._thread.run(work)

    def real(self, version: Version) -> RealAgi:
        """The real Asterisk of a version, started when it is asked for first."""
        if version not in self._real:
            self._real[version] = self.run(_started(version))
        return self._real[version]

    def close(self) -> None:
        """End all of it."""
        try:
            for one in self._real.values():
                self.run(one.close())
        finally:
            if self._thread is not None:
                self._thread.stop()


async def _started(version: Version) -> RealAgi:
    made = RealAgi(version)
    try:
        await made.start()
    except BaseException:
        await made.close()
        raise
    return made


class Switch:
    """The switch of one test. ``on`` is its name, as in ``ivr-consent test --on``."""

    def __init__(self, on: str, directory: Path, machinery: Machinery, version: Version = "22") -> None:
        self.on = on
        self.version = version
        """Of a real Asterisk."""
        self._directory, self._machinery = directory, machinery
        self._agi: AgiSwitch | None = None
        self._servers: list[asyncio.Server] = []
        self._processes: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    # --- scripts of a site -------------------------------------------------------------------------------------------

    @property
    def agi(self) -> AgiSwitch:
        """What runs scripts here. Raises :class:`ConsentError` where nothing does."""
        if self._agi is None:
            if self.on == FAKE_ASTERISK:
                (self._directory / "sounds").mkdir(exist_ok=True)
                self._agi = self._machinery.run(self._fake())
            elif self.on == ASTERISK:
                self._agi = self._machinery.real(self.version)
            else:
                raise ConsentError(f"AGI scripts run on an Asterisk, this switch is {self.on}; use {FAKE_ASTERISK}")
        return self._agi

    async def _fake(self) -> FakeAgi:
        return FakeAgi(self._directory / "sounds", self._directory / "monitor")

    @property
    def fake(self) -> FakeAsterisk:
        """The fake Asterisk itself: its ``applications``, ``database``, ``calls``."""
        if not isinstance(self.agi, FakeAgi):
            raise ConsentError(f"this switch is {self.on}, not the fake Asterisk")
        return self.agi.fake

    @property
    def sounds(self) -> Path:
        """The directory of prompts that scripts play."""
        return self.agi.sounds

    def add_sound(self, name: str, seconds: float = 0.5) -> None:
        """Make a prompt of silence; a name may have folders in it."""
        path = self.sounds / f"{name}.ulaw"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff" * int(seconds * _RATE))

    def add_sounds(self, directory: Path) -> None:
        """Take a site's own prompts, by links."""
        for path in sorted(directory.rglob("*")):
            target = self.sounds / path.relative_to(directory)
            if path.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path.resolve())

    def serve(self, handler: Handler) -> str:
        """Serve FastAGI by a coroutine function of reader and writer, until the test is over; ``agi://host:port``."""
        refuse_in_coroutine()
        server = self._machinery.run(_serve(handler))
        self._servers.append(server)
        return f"agi://{HOST}:{server.sockets[0].getsockname()[1]}"

    def launch(self, *command: str | Path, port: int | None = None) -> str:
        """Start a FastAGI server as a program, until the test is over, and wait until it listens; ``agi://host:port``.

        ``{port}`` in an argument becomes a free port, or the one that is given. Raises :class:`ConsentError` when it
        ends or does not listen in time, with what it said.
        """
        chosen = port or _free_port()
        output = (self._directory / f"server-{chosen}.log").open("w+b")
        words = [str(word).replace("{port}", str(chosen)) for word in command]
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        self._processes.append((process, output))
        deadline = time.monotonic() + LISTEN_S
        while not _listens(chosen):  # asked of the kernel: a connection that says nothing stops some servers for ever
            if process.poll() is not None or time.monotonic() > deadline:
                state = "ended" if process.poll() is not None else f"did not listen within {LISTEN_S:.0f} s"
                output.seek(0)
                said = output.read()[-SAID_BYTES:].decode("utf-8", "replace")
                raise ConsentError(f"{words[0]} {state}; it said: {said}")
            time.sleep(POLL_S)
        return f"agi://{HOST}:{chosen}"

    def script(
        self,
        actions: Sequence[Action],
        agi: Agi,
        arguments: Sequence[str],
        wire: Wire,
        deadline_s: float,
    ) -> AgiCall:
        """A call through a script; see :class:`Calls`."""
        switch = self.agi

        async def whole() -> AgiCall:
            line = await switch.call(agi, arguments, wire.number.removeprefix("+"), wire.display)
            return await play(line, actions, deadline_s)

        return self._machinery.run(whole())

    # --- our gate -----------------------------------------------------------------------------------------------------

    def gate(self, actions: Sequence[Action], line: Line, wire: Wire, ledger: Ledger, clock: Clock) -> Verdict:
        """A call through the gate on a line, its log the ledger's; see :class:`Calls`."""
        scenario = scenario_writing.of_call("of-a-test", line, wire, actions)
        if self.on == SIMULATED:
            return Verdict(scenario, self.on, observed(simulate(scenario, ledger)))
        from ivr_consent.testing.drivers import exchange  # noqa: PLC0415 - and below: a test of scripts needs no server

        verdicts: list[Verdict] = []
        exchange.play(
            self._exchange(),
            [scenario],
            verdicts.append,
            1,
            lambda dispatch: Ledger(ledger.place, dispatch=dispatch, clock=clock),
        )
        return verdicts[0]

    def _exchange(self) -> Exchange:
        match self.on:
            case "fake-asterisk":
                from ivr_consent.testing.drivers.fake_asterisk import FakeAsteriskExchange  # noqa: PLC0415 - one switch alone

                return FakeAsteriskExchange()
            case "fake-freeswitch":
                from ivr_consent.testing.drivers.fake_freeswitch import (  # noqa: PLC0415 - one switch alone
                    FakeFreeSwitchExchange,
                )

                return FakeFreeSwitchExchange()
            case "asterisk":
                from ivr_consent.testing.drivers.asterisk import AsteriskExchange  # noqa: PLC0415 - one switch alone

                return AsteriskExchange(self.version)
            case _:
                from ivr_consent.testing.drivers.freeswitch import FreeSwitchExchange  # noqa: PLC0415 - one switch alone

                return FreeSwitchExchange()

    def close(self) -> None:
        """End what the test has started."""
        try:
            if isinstance(self._agi, FakeAgi):
                self._machinery.run(self._agi.close())
            for server in self._servers:
                self._machinery.run(_close(server))
        finally:
            for process, output in self._processes:
                _stop(process)
                output.close()


class Calls:
    """The fixture ``call``: place a call, play its caller, and say what came of it."""

    def __init__(self, switch: Switch, log: Callable[[], tuple[Ledger, Clock]]) -> None:
        self._switch, self._log = switch, log

    @overload
    def __call__(
        self,
        *does: Sequence[Action],
        agi: Agi,
        arguments: Sequence[str] = ...,
        number: str = ...,
        display: str = ...,
        deadline_s: float = ...,
    ) -> AgiCall: ...

    @overload
    def __call__(
        self, *does: Sequence[Action], line: Mapping[str, Any] | None = ..., number: str = ..., display: str = ...
    ) -> Observed: ...

    def __call__(
        self,
        *does: Sequence[Action],
        agi: Agi | None = None,
        arguments: Sequence[str] = (),
        line: Mapping[str, Any] | None = None,
        number: str = "+4512345678",
        display: str = "",
        deadline_s: float = DEADLINE_S,
    ) -> AgiCall | Observed:
        """``does``: what the caller does, of ``press``, ``hang_up`` and ``wait`` in :mod:`ivr_consent.testing.actions`.

        With ``agi`` the call runs that script with its ``arguments``, else it passes the gate on a ``line`` of these
        keys. Raises :class:`AssertionError` with the call's timeline when it does not end in time, or never comes to
        where something is to be done.
        """
        __tracebackhide__ = True  # pytest: what failed is the test's line
        refuse_in_coroutine()
        actions = tuple(action for several in does for action in several)
        wire = Wire(number=number, display=display)
        if agi is not None:
            if line is not None:
                raise ValueError("agi and line: a script, or the gate on a line; give one")
            try:
                return self._switch.script(actions, agi, arguments, wire, deadline_s)
            except AssertionError as error:
                raise AssertionError(str(error)) from None
        try:
            made = Line.model_validate(dict(line or {}))
        except ValidationError as error:
            raise ValueError(f"line: {error}") from None
        verdict = self._switch.gate(actions, made, wire, *self._log())
        if verdict.seen is None or verdict.seen.undone:
            undone = () if verdict.seen is None else verdict.seen.undone
            wrong = (f"the call never came to: {', '.join(undone)}",) if undone else verdict.wrong
            raise AssertionError("\n".join(told(replace(verdict, wrong=wrong))))
        return verdict.seen


async def _serve(handler: Handler) -> asyncio.Server:
    return await asyncio.start_server(handler, HOST, 0)


async def _close(server: asyncio.Server) -> None:
    server.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_S):  # from Python 3.12 on it waits for connections too
            await server.wait_closed()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and all that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
            return
