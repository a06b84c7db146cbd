"""The other end of ``ivr-consent run --pbx freeswitch``: a real FreeSWITCH of the machine's, in a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ivr_consent.core.errors import EventSocketError

if TYPE_CHECKING:
    from ivr_consent.config import Settings
    from ivr_consent.service import Service
    from ivr_consent.testing.freeswitch_rig import FreeSwitchRig, RigCall

_TOLD: Final = "there is no FreeSWITCH to be had here: {}; try --pbx simulated"

PASSWORD_FILE: Final = "event_socket.password"  # noqa: S105 - the name of a file


def need() -> None:
    """Raises :class:`EventSocketError` where there is no FreeSWITCH: said before anything is built."""
    from ivr_consent.testing.freeswitch_rig import program

    if program() is None:
        raise EventSocketError(_TOLD.format("there is no program freeswitch on the search path"))


class Stage(Protocol):
    """What is shown and pressed: the part of it that a switch needs."""

    settings: Settings
    line: str
    caller: Any
    gone: asyncio.Event
    show: Any

    def through(self, route: str) -> float:
        """The dialplan has gone on; how long to talk."""
        ...


class Live:
    """A real FreeSWITCH, and a caller that it calls itself with."""

    def __init__(self, stage: Stage, outcome: Callable[[Settings], str], call_s: float) -> None:
        self._stage, self._outcome, self._call_s = stage, outcome, call_s
        self._rig: FreeSwitchRig | None = None

    async def prepare(self, stack: contextlib.AsyncExitStack) -> Settings:
        """Start FreeSWITCH; the settings with its event socket and its destinations."""
        from ivr_consent.config import EventSocket
        from ivr_consent.testing import freeswitch_rig as rig

        settings, show = self._stage.settings, self._stage.show
        show.line("starting FreeSWITCH")
        try:
            self._rig = await stack.enter_async_context(rig.FreeSwitchRig(settings.lines))
        except rig.FreeSwitchUnavailable as error:
            raise EventSocketError(_TOLD.format(error)) from None
        path = settings.source.parent / PASSWORD_FILE
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(self._rig.password)
        stack.callback(path.unlink, missing_ok=True)
        lines = {
            name: line.model_copy(update={"recorded": rig.RECORDED, "unrecorded": rig.UNRECORDED})
            for name, line in settings.lines.items()
        }
        socket = EventSocket(host="127.0.0.1", port=self._rig.event_socket_port, password_file=Path(PASSWORD_FILE))
        guard = settings.guard.model_copy(update={"spool": [str(self._rig.recordings)]})
        return settings.model_copy(
            update={"switch": "freeswitch", "event_socket": socket, "lines": lines, "guard": guard}
        )

    async def started(self, service: Service) -> None:
        """Put our context, with the service's port, into the dialplan."""
        from ivr_consent.pbx.freeswitch.dialplan import render

        assert self._rig is not None
        settings = service.settings
        server = settings.server.model_copy(update={"port": service.server.port})
        await self._rig.take_dialplan(render(settings.model_copy(update={"server": server})))

    async def call(self, stack: contextlib.AsyncExitStack) -> str:
        """Call, talk, hang up; the result, as the log has it."""
        assert self._rig is not None
        stage = self._stage
        call = await self._rig.call(stage.line, wait_s=self._call_s)
        caller = _Caller(call)
        stack.push_async_callback(caller.close)
        stage.caller = caller
        if stage.gone.is_set():
            caller.hang_up()
        through = asyncio.create_task(self._through(call))
        gone = asyncio.create_task(call.ended())
        try:
            await asyncio.wait({through, gone}, return_when=asyncio.FIRST_COMPLETED)
            if call.up and through.done() and through.exception() is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(gone), stage.through(through.result()))
            await call.hang_up()
        finally:
            for task in (through, gone):
                task.cancel()
            await asyncio.gather(through, gone, return_exceptions=True)
        return self._outcome(stage.settings)

    @staticmethod
    async def _through(call: RigCall) -> str:
        """The line that the caller is through to, once both hear each other."""
        route = await call.reached()
        await call.bridged()
        return route


class _Caller:
    """The caller, for the keyboard: what it does takes time, and one key is down at a time."""

    def __init__(self, call: RigCall) -> None:
        self._call = call
        self._tasks: set[asyncio.Task[None]] = set()
        self._one_key = asyncio.Lock()

    def press(self, key: str) -> None:
        self._do(self._press(key))

    def hang_up(self) -> None:
        self._do(self._call.hang_up())

    async def close(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _press(self, key: str) -> None:
        async with self._one_key:
            if self._call.up:
                await self._call.press(key)

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
