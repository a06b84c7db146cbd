"""Taking a channel out of an application that records."""

from __future__ import annotations

import asyncio
import time

from ivr_consent.core.errors import ManagerError
from ivr_consent.pbx.asterisk.guard.asking import Switch
from ivr_consent.pbx.asterisk.stopping import LEAVES_S, LOOK_S, REPLY_S, hang_up
from ivr_consent.pbx.policy import Stops
from ivr_consent.pbx.watching import ChannelGone


async def move_on(switch: Switch, channel: str, application: str) -> Stops:
    """Take a channel out of an application that records, to the dialplan's next priority; else hang it up.

    Confirmed when the switch says that it executes something else. The caller goes on as after the application's end.
    """
    began = time.monotonic()
    try:
        place = await switch.place(channel)
        if place is not None:
            target = {"Context": place.context, "Exten": place.extension, "Priority": str(place.priority + 1)}
            reply = await switch.link.action("Redirect", {"Channel": channel, **target}, timeout=REPLY_S)
            if reply.success and await _left(switch, channel, application):
                return Stops(1, True, False, time.monotonic() - began)
        return await hang_up(switch.link, channel)
    except ManagerError as error:
        return Stops(0, False, False, time.monotonic() - began, str(error))
    except ChannelGone:
        return Stops(1, True, True, time.monotonic() - began)


async def _left(switch: Switch, channel: str, application: str) -> bool:
    until = time.monotonic() + LEAVES_S
    while time.monotonic() < until:
        name, _ = await switch.application(channel)
        if name != application:
            return True
        await asyncio.sleep(LOOK_S)
    return False
