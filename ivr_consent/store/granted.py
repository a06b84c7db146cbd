"""Whether a recording that runs on the switch has a grant, as the log tells."""

from __future__ import annotations

from enum import Enum

from ivr_consent.store.chain import CLOSING
from ivr_consent.store.reader import LedgerReader


class Standing(Enum):
    """What the log says of a recorder that writes the file of a call."""

    OPEN = "open"
    """Granted, on this very channel, and nothing has closed it: lawful."""
    OVER = "over"
    """Granted once; withdrawn, stopped, ended or erased since: it has to stop."""
    UNKNOWN = "unknown"
    """No grant, or another channel's."""


def standing(reader: LedgerReader, call_id: str, uniqueid: str) -> Standing:
    """How a call's recording stands. ``uniqueid``: what the switch calls the channel. Raises :class:`LedgerError`."""
    record = reader.call(call_id)
    if record is None or record.call_id != call_id or record.decision.outcome != "granted":
        return Standing.UNKNOWN
    call = record.decision.payload.get("call")
    if any(event.kind in CLOSING for event in record.later):
        return Standing.OVER
    # Personal data, and so gone when it was erased: then the recording had to be too.
    of_channel = call.get("channel_uniqueid") if isinstance(call, dict) else None
    if of_channel is None:
        return Standing.OVER
    return Standing.OPEN if of_channel == uniqueid else Standing.UNKNOWN
