"""A withdrawal in the call: the recorder is stopped and read back, the recording erased, and the log told.

The dialplan has stopped the recorder already when the caller pressed the code. When the agent of a call on Asterisk
did, it runs on the caller's channel, and only the manager can reach it there.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final, Protocol

from ivr_consent.core.errors import ConsentError
from ivr_consent.logs import get_logger
from ivr_consent.pbx.policy import Stops
from ivr_consent.store import lifecycle, recordings, withdrawals
from ivr_consent.store.chain import ERASED
from ivr_consent.store.ledger import Ledger

RELEASE_S: Final = 2.0
"""How long the recorder may take to close its file once it is stopped; it needs milliseconds."""

CLOSING_S: Final = 0.5
"""How long the recorder that the dialplan has stopped may take, before the switch is asked to stop it."""

log = get_logger()


class Recorders(Protocol):
    """The switch's recorders, as far as they can be reached at this moment."""

    async def stop(self, uniqueid: str, call_id: str) -> Stops:
        """Stop what records the call on this channel, and read it back. Does not raise."""
        ...

    async def tell_withdrawn(self, uniqueid: str) -> None:
        """Let the channel's own variable tell of it. Raises :class:`ConsentError`."""
        ...


async def withdraw(ledger: Ledger, directory: Path, switch: Recorders | None, call_id: str, by: str) -> bool:
    """Do all of it; True when the recorder is known to have stopped and nothing of the recording is left.

    ``switch``: ``None`` where it cannot be reached: then its open files alone tell whether the recorder has stopped.
    Never raises for what a switch, a disk or a log refuses: it is then logged.
    """
    began = time.monotonic()
    channel = None if switch is None else await asyncio.to_thread(_channel, ledger, call_id)
    stops = None
    # Where its file is closed already, what runs on the channel now is another one, perhaps with a consent of its own.
    closing_s = CLOSING_S if by == "caller" else 0.0
    closed = await asyncio.to_thread(recordings.wait_released, directory, call_id, closing_s)
    if switch is not None and channel is not None and closed is not True:
        stops = await switch.stop(channel, call_id)
    if stops is not None and stops.problem:
        log.warning("withdrawal_stop_unconfirmed", call_id=call_id, problem=stops.problem)
    done = await asyncio.to_thread(_erase, ledger, directory, call_id, by, stops, began)
    if switch is not None and channel is not None and stops is not None and stops.confirmed and not stops.gone:
        await _tell(switch, channel)
    return done


async def withdraw_marked(ledger: Ledger, directory: Path, switch: Recorders | None) -> int:
    """Do what was pressed while nobody could be told: the marks beside recordings tell of it. Answers how often."""
    count = 0
    for call_id in await asyncio.to_thread(withdrawals.marked, directory):
        by = await asyncio.to_thread(withdrawals.mark, directory, call_id)
        # What is of no recording of ours, or of an erased one, is for the sweep to clear away.
        if by is not None and await asyncio.to_thread(_channel, ledger, call_id) is not None:
            await withdraw(ledger, directory, switch, call_id, by)
            count += 1
    return count


def _channel(ledger: Ledger, call_id: str) -> str | None:
    """The uniqueid of the channel that consented, as the switch takes it; else ``None``."""
    with ledger.reader() as reader:
        record = reader.call(call_id)
    if record is None or record.call_id != call_id or record.decision.outcome != "granted":
        return None
    if any(event.kind in ERASED for event in record.later):
        return None
    uniqueid = record.decision.payload["call"].get("channel_uniqueid")
    return uniqueid if isinstance(uniqueid, str) else None


def _erase(ledger: Ledger, directory: Path, call_id: str, by: str, stops: Stops | None, began: float) -> bool:
    """Blocking. Who has the file open is asked even after the switch's word: it is the recording that must end."""
    released = recordings.wait_released(directory, call_id, RELEASE_S)
    confirmed = (stops is not None and stops.confirmed) if released is None else released
    milliseconds = int((time.monotonic() - began) * 1000)
    stop = lifecycle.Stop(confirmed, 0 if stops is None else stops.stopped, milliseconds)
    erased = lifecycle.withdraw_pressed(ledger, directory, call_id, by, stop)
    log.info("withdrawn", call_id=call_id, by=by, erased=erased, stop_confirmed=confirmed, ms=milliseconds)
    return erased and confirmed


async def _tell(switch: Recorders, channel: str) -> None:
    try:
        await switch.tell_withdrawn(channel)
    except ConsentError as error:
        log.info("withdrawal_not_told", problem=str(error))
