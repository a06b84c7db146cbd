"""Stopping recorders by the manager interface, until the switch itself says that none is left.

One ``StopMixMonitor`` stops one recorder, the newest. It answers ``Success`` where it stopped one, and an error where
none was running or the channel is gone: that error is the read-back, and nobody but Asterisk can write it (the reply
carries our random ActionID). A forged event never ends this early. docs/guard.md has what was seen of it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Final, Protocol

from ivr_consent.core.errors import ManagerError
from ivr_consent.pbx.asterisk.manager import HeaderValue, Reply
from ivr_consent.pbx.asterisk.variables import RESULT, WITHDRAWN_RESULT
from ivr_consent.pbx.policy import Stops

NONE_LEFT: Final = "could not stop monitoring channel"
"""Asterisk's words where a channel has no MixMonitor (16 to 22), in small letters."""

NO_CHANNEL: Final = "no such channel"
"""Where the channel is gone, and every recorder on it."""

MAX_RECORDERS: Final = 50
"""Recorders on one channel that are stopped one after the other; more are being started as fast as we stop them."""

REPLY_S: Final = 2.0
"""How long one reply may take."""

LEAVES_S: Final = 1.0
"""How long a channel may take to leave an application, or to be gone."""

LOOK_S: Final = 0.02
"""Between two looks whether it has."""

_ODD: Final = re.compile(r"[^A-Za-z0-9_-]")
_NO_BRACKET: Final = frozenset("]^\\/")


class Asks(Protocol):
    """What sends actions: :class:`~ivr_consent.pbx.asterisk.manager.ManagerLink`."""

    async def action(
        self,
        name: str,
        headers: Mapping[str, HeaderValue] | None = None,
        *,
        timeout: float = REPLY_S,  # noqa: ASYNC109 - the deadline is part of the action
    ) -> Reply: ...


class Recorders:
    """What a withdrawal does on the switch (:class:`~ivr_consent.pbx.withdrawing.Recorders`)."""

    def __init__(self, link: Asks) -> None:
        self._link = link

    async def stop(self, uniqueid: str, call_id: str) -> Stops:
        """Stop every recorder of a channel; the manager takes its uniqueid in place of its name."""
        return await stop_recorders(self._link, uniqueid)

    async def tell_withdrawn(self, uniqueid: str) -> None:
        """Set the result on the channel. Raises :class:`ManagerError`."""
        await self._link.action("Setvar", {"Channel": uniqueid, "Variable": RESULT, "Value": WITHDRAWN_RESULT})


async def stop_recorders(link: Asks, channel: str) -> Stops:
    """Stop every MixMonitor of a channel.

    Never raises for what the switch says or a link that is down: it is then not confirmed.
    """
    began = time.monotonic()
    stopped = 0
    while stopped < MAX_RECORDERS:
        # Two at once: most often there is one, and the second answer says that none is left.
        first, one = await asyncio.gather(stop_one(link, channel), stop_one(link, channel))
        stopped += first.stopped + one.stopped
        if one.stopped:
            continue
        confirmed = one.gone or one.problem.lower().startswith(NONE_LEFT)
        return Stops(stopped, confirmed, one.gone, time.monotonic() - began, "" if confirmed else one.problem)
    return Stops(stopped, False, False, time.monotonic() - began, "recorders are started as fast as they are stopped")


async def stop_monitor(link: Asks, channel: str) -> Stops:
    """Stop the Monitor of a channel (Asterisk up to 20). There is one at most, and the answer is ``Success`` either
    way: whether one ran has to be known before."""
    began = time.monotonic()
    try:
        reply = await link.action("StopMonitor", {"Channel": channel}, timeout=REPLY_S)
    except ManagerError as error:
        return Stops(0, False, False, time.monotonic() - began, str(error))
    gone = not reply.success and reply.message.strip().lower().startswith(NO_CHANNEL)
    problem = "" if reply.success or gone else reply.message[:100] or "refused"
    return Stops(int(reply.success), not problem, gone, time.monotonic() - began, problem)


async def stop_one(link: Asks, channel: str) -> Stops:
    """Stop the newest MixMonitor of a channel; ``problem`` where none could be stopped."""
    began = time.monotonic()
    try:
        reply = await link.action("StopMixMonitor", {"Channel": channel}, timeout=REPLY_S)
    except ManagerError as error:
        return Stops(0, False, False, time.monotonic() - began, str(error))
    gone = not reply.success and reply.message.strip().lower().startswith(NO_CHANNEL)
    problem = "" if reply.success else reply.message[:100] or "refused"
    return Stops(int(reply.success), reply.success or gone, gone, time.monotonic() - began, problem)


async def stop_conference(link: Asks, conference: str) -> Stops:
    """Stop the recording of a conference, or of all of them (``""``).

    ``ConfbridgeStopRecord`` needs the class ``system``, with which one could do nearly everything. The recorder of a
    conference is a channel of its own, ``CBRec/NAME-…``, which ``Hangup`` finds by a pattern and names in its answer.
    """
    # Letter by letter: a name that a caller has forged must not be a pattern that fits other conferences.
    exact = _ODD.sub(lambda found: "." if found[0] in _NO_BRACKET else f"[{found[0]}]", conference)
    pattern = f"/^CBRec.{exact}-[0-9a-f]+$/" if conference else "/^CBRec/"
    began = time.monotonic()
    stopped = 0
    until = began + LEAVES_S
    try:
        while True:
            reply = await link.action("Hangup", {"Channel": pattern}, timeout=REPLY_S)
            found = sum(event.name == "ChannelHungup" for event in reply.events)
            stopped = max(stopped, found)
            seconds = time.monotonic() - began
            if not found:
                return Stops(stopped, reply.success, False, seconds, "" if reply.success else reply.message[:100])
            if time.monotonic() > until:
                return Stops(stopped, False, False, seconds, "the conference is still being recorded")
            await asyncio.sleep(LOOK_S)
    except ManagerError as error:
        return Stops(stopped, False, False, time.monotonic() - began, str(error))


async def hang_up(link: Asks, channel: str) -> Stops:
    """Hang a channel up, and see that it is gone."""
    began, asked = time.monotonic(), 0
    until = began + LEAVES_S
    try:
        while time.monotonic() < until:
            reply = await link.action("Hangup", {"Channel": channel}, timeout=REPLY_S)
            if not reply.success:
                gone = reply.message.strip().lower().startswith(NO_CHANNEL)
                problem = "" if gone else reply.message[:100]
                return Stops(min(asked, 1), gone, gone, time.monotonic() - began, problem)
            asked += 1
            await asyncio.sleep(LOOK_S)
    except ManagerError as error:
        return Stops(0, False, False, time.monotonic() - began, str(error))
    return Stops(0, False, False, time.monotonic() - began, "the channel did not hang up")
