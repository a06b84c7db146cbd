"""What switches answer to the guards: it is believed, and callers have had a say in some of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Final

from ivr_consent.core.errors import EventSocketError, ManagerError
from ivr_consent.pbx.asterisk.guard import asking as asterisk
from ivr_consent.pbx.asterisk.manager import Headers, Reply
from ivr_consent.pbx.freeswitch import wire
from ivr_consent.pbx.freeswitch.guard import asking as freeswitch
from ivr_consent.pbx.watching import ChannelGone
from tests.fuzz.target import scratch
from tests.fuzz.wires import _loop

UUID: Final = "2f1c5b7a-90d3-4e64-80b1-d2c3e4f50617"


class _Link:
    """Both switches: every question has the same answer."""

    def __init__(self, told: str) -> None:
        self.told = told

    async def api(self, command: str, *, timeout: float = 0.0) -> str:  # noqa: ASYNC109 - part of the command
        assert command.count("\n") == 0
        return self.told

    async def action(self, name: str, headers: Mapping[str, Any] | None = None, *, timeout: float = 0.0) -> Reply:  # noqa: ASYNC109 - part of the action
        assert name
        return Reply(not self.told.startswith("No such"), self.told, Headers({"Value": self.told, **(headers or {})}))


def answers(data: bytes) -> None:
    """An answer of any kind, to every question."""
    _loop().run_until_complete(_answers(data.decode(errors="replace")))


async def _answers(told: str) -> None:
    link = _Link(told)
    switch = freeswitch.Switch(link)
    with contextlib.suppress(EventSocketError, ChannelGone):
        for path in await switch.recorders(UUID):
            assert path in told or "&" in told or "\r" in told or "<!" in told
    with contextlib.suppress(EventSocketError, ChannelGone):
        leg = await switch.leg(UUID)
        assert leg.uuid == UUID
        assert not leg.peer or wire.UUID.fullmatch(leg.peer)
        assert all(leg.agents)
    with contextlib.suppress(EventSocketError):
        for uuid in await switch.channels():
            wire.channel(uuid)
    with contextlib.suppress(EventSocketError):
        for name, path in (await switch.conferences()).items():
            assert isinstance(name, str)
            assert isinstance(path, str)
    assert freeswitch.device(told) in ("", told)
    other = asterisk.Switch(link)
    with contextlib.suppress(ManagerError, ChannelGone):
        place = await other.place("PJSIP/a-1")
        assert place is None or place.priority >= 0
    with contextlib.suppress(ManagerError, ChannelGone):
        running = await other.ours("PJSIP/a-1", "0x5581d0", scratch())
        assert running is None or running.path.parent == scratch()
