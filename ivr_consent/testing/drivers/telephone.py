"""A call that a SIP telephone places through a real switch: what its caller does, and where it comes out."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

from ivr_consent.core.errors import ConsentError
from ivr_consent.core.steps import Destination
from ivr_consent.testing.drivers.exchange import CALL_DEADLINE_S, Line
from ivr_consent.testing.phone import Call, Phone
from ivr_consent.testing.scenario import Wire

CALLER_HZ: Final = 400
RECORDED_HZ: Final = 600
UNRECORDED_HZ: Final = 1200
"""The tones of the caller, of the recorded line's agent and of the unrecorded line's."""

DESTINATIONS: Final = {RECORDED_HZ: Destination.RECORDED, UNRECORDED_HZ: Destination.UNRECORDED}

TONE_S: Final = 30.0
"""So long after the dialplan was told an agent must be heard."""


class TelephoneLine(Line):
    """The telephone's part of a call; what the switch does is a subclass's."""

    def __init__(self, phone: Call) -> None:
        self.phone = phone
        self.changed = asyncio.Event()
        self.result: tuple[str, str] | None = None
        """Outcome and reason, as the dialplan was told."""
        self.pressed: list[tuple[int, bool]] = []
        """For each key how much had been heard before it, and whether it was let go in the same place."""
        self._route = ""
        self._one_key = asyncio.Lock()

    async def more(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    async def press(self, key: str, seconds: float, *, inside: bool) -> None:
        async with self._one_key:
            if self.phone.up:
                before = len(self.heard())
                await self.phone.press(key, seconds)
                if self.phone.up:
                    self.pressed.append((before, inside))

    async def hang_up(self) -> None:
        await self.phone.hang_up()

    async def ended(self) -> None:
        over = asyncio.create_task(self._gone())
        try:
            while self.result is None and self.phone.alive:
                await self.more()
        finally:
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)
        if self.phone.alive:
            hz, _ = await self.phone.wait_one_of(tuple(DESTINATIONS), TONE_S)
            self._route = DESTINATIONS[int(hz)].value

    async def _gone(self) -> None:
        await self.phone.wait_hung_up(CALL_DEADLINE_S)
        self.changed.set()

    def told(self) -> tuple[str, str, str] | None:
        return (*self.result, self._route) if self.result is not None and self._route else None

    def cut_off(self) -> bool:
        return not self._route and self.phone.ended_by in ("them", "refusal")


def refused(phone: Call) -> None:
    """Raises :class:`ConsentError` when the switch did not take the call."""
    if phone.ended_by == "refusal":
        raise ConsentError(f"the switch refused a call with SIP status {phone.status}; try fewer at once: --jobs 8")


async def dial(phone: Phone, line: str, caller: Wire) -> Call:
    """Dial a line's name as this caller; returns when the call has been answered or refused, or is on its way."""
    # Escaped as a telephone has to: the switch then has the very characters of the scenario.
    number = quote(caller.number, safe="+*#") or "anonymous"
    shown = caller.display.replace("\\", "\\\\").replace('"', '\\"') or None
    return await phone.call(line, raw_from_user=number, display_name=shown)
