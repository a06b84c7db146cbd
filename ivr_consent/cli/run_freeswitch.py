"""The other end of ``ivr-consent run --pbx freeswitch``: a real FreeSWITCH of the machine's, in a folder of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ivr_consent.cli import run_live
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


class Live:
    """A real FreeSWITCH, and a caller that it calls itself with."""

    def __init__(self, stage: run_live.Stage, outcome: Callable[[Settings], str], call_s: float) -> None:
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
        stack.enter_context(run_live.secret_file(settings.source.parent / PASSWORD_FILE, self._rig.password))
        lines = {
            name: line.model_copy(update={"recorded": rig.RECORDED, "unrecorded": rig.UNRECORDED})
            for name, line in settings.lines.items()
        }
        socket = EventSocket(host="127.0.0.1", port=self._rig.event_socket_port, password_file=Path(PASSWORD_FILE))
        guard = settings.guard.model_copy(update={"spool": [str(self._rig.recordings)]})
        return settings.model_copy(update={"event_socket": socket, "lines": lines, "guard": guard})

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
        await run_live.play(stage, call, self._through(call), call.ended())
        return self._outcome(stage.settings)

    @staticmethod
    async def _through(call: RigCall) -> str:
        """The line that the caller is through to, once both hear each other."""
        route = await call.reached()
        await call.bridged()
        return route
