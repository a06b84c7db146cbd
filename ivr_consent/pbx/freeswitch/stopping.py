"""Stopping recorders by API commands, until the switch itself says that none is left.

``+OK`` is no proof and ``-ERR`` no alarm: what counts is the channel's own list of recorders afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from ivr_consent.core.errors import EventSocketError
from ivr_consent.pbx.freeswitch import variables, wire
from ivr_consent.pbx.freeswitch.guard.asking import CONFERENCE, GONE, PLAIN_PATH, Asks, Switch
from ivr_consent.pbx.policy import Stops
from ivr_consent.pbx.watching import ChannelGone

MAX_ROUNDS: Final = 20
"""Rounds of stopping on one channel; more recorders are being started as fast as we stop them."""

LEAVES_S: Final = 1.0
"""How long a channel may take to leave an application that records, a conference to end its recording."""

LOOK_S: Final = 0.02
"""Between two looks whether it has."""

RECORDING_APPLICATIONS: Final = ("record", "voicemail")
"""Applications that record while they are executed, without a media bug; their names in small letters."""


async def stop_recorders(switch: Switch, uuid: str, files: Iterable[str] | None = None) -> Stops:
    """Stop the recorders of a channel that write these files; all of them without. Does not raise."""
    began, stopped = time.monotonic(), 0
    wanted = None if files is None else frozenset(files)

    def result(confirmed: bool, gone: bool, problem: str = "") -> Stops:
        return Stops(stopped, confirmed, gone, time.monotonic() - began, problem)

    try:
        running = await _running(switch, uuid, wanted)
        for _ in range(MAX_ROUNDS):
            if not running:
                return result(True, False)
            for path in sorted(running):
                # A path that cannot stand in a command ends together with all others.
                which = path if PLAIN_PATH.fullmatch(path) else "all"
                await switch.say(f"uuid_record {wire.channel(uuid)} stop {which}")
            left = await _running(switch, uuid, wanted)
            stopped += len(running - left)
            running = left
    except ChannelGone:
        return result(True, True)
    except EventSocketError as error:
        return result(False, False, str(error))
    return result(False, False, "recorders are started as fast as they are stopped")


async def _running(switch: Switch, uuid: str, wanted: frozenset[str] | None) -> frozenset[str]:
    running = frozenset(await switch.recorders(uuid))
    return running if wanted is None else running & wanted


async def leave_application(switch: Switch, uuid: str, records: Callable[[], bool]) -> Stops:
    """Break off an application that records while it is executed; the dialplan goes on behind it.

    ``records``: whether it still does, as the switch's own word on the end of a file tells. A channel goes on naming
    the last application that it ran, so that is no witness.
    """
    began, broken = time.monotonic(), 0
    try:
        while time.monotonic() - began < LEAVES_S:
            if not records():
                return Stops(1, True, False, time.monotonic() - began)
            if broken % 10 == 0:
                told = await switch.say(f"uuid_break {wire.channel(uuid)} all")
                if told.startswith(GONE):
                    return Stops(1, True, True, time.monotonic() - began)
            broken += 1
            await asyncio.sleep(LOOK_S)
    except EventSocketError as error:
        return Stops(0, False, False, time.monotonic() - began, str(error))
    return Stops(0, False, False, time.monotonic() - began, "the channel's application goes on recording")


async def stop_conference(switch: Switch, name: str) -> Stops:
    """Stop the recording of a conference."""
    began = time.monotonic()
    if not CONFERENCE.fullmatch(name):
        return Stops(0, False, False, 0.0, "the conference's name cannot stand in a command; stop it by hand")
    try:
        before = await switch.conferences()
        if name not in before:
            return Stops(0, True, False, time.monotonic() - began)
        while time.monotonic() - began < LEAVES_S:
            await switch.say(f"conference {name} recording stop all")
            await asyncio.sleep(LOOK_S)
            if name not in await switch.conferences():
                return Stops(1, True, False, time.monotonic() - began)
    except EventSocketError as error:
        return Stops(0, False, False, time.monotonic() - began, str(error))
    return Stops(0, False, False, time.monotonic() - began, "the conference is still being recorded")


class Recorders:
    """What a withdrawal does on the switch (:class:`~ivr_consent.pbx.withdrawing.Recorders`)."""

    def __init__(self, link: Asks, recordings: Path) -> None:
        self._switch = Switch(link)
        self._recordings = recordings

    async def stop(self, uniqueid: str, call_id: str) -> Stops:
        """Stop the recorder of this call alone: another one on the channel may have a consent of its own."""
        return await stop_recorders(self._switch, uniqueid, (str(self._recordings / f"{call_id}.raw"),))

    async def tell_withdrawn(self, uniqueid: str) -> None:
        """Set the result on the channel. Raises :class:`EventSocketError`."""
        await self._switch.say(f"uuid_setvar {wire.channel(uniqueid)} {variables.RESULT} withdrawn")
