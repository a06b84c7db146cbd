"""What the manager user has to hear and may have to do; nothing more should be given to it. See docs/guard.md."""

from __future__ import annotations

from typing import Final, NamedTuple

from ivr_consent.config import Settings
from ivr_consent.pbx.asterisk.guard.ways import EVENT_FILTERS


class Rights(NamedTuple):
    """Classes as in manager.conf; ``filters``: its ``eventfilter`` lines, so that no more is told than is heard."""

    read: tuple[str, ...]
    write: tuple[str, ...]
    filters: tuple[str, ...] = ()


KEYS_ALONE: Final = Rights(("dtmf",), ())
"""To know when a key press began."""

GUARD: Final = Rights(("call", "dialplan", "agi", "dtmf"), ("call",), ("Event: DTMF(Begin|End)", *EVENT_FILTERS))
"""``call``: recorders' events, and stopping them. ``dialplan``: applications that record. ``agi``: RECORD FILE."""

NEEDED_ACTIONS: Final = frozenset(
    {"Getvar", "Status", "StopMixMonitor", "MixMonitorMute", "Redirect", "Hangup", "Setvar"}
)
"""What its manager user has to be able to do: all of class ``call``."""


def needed(settings: Settings) -> Rights:
    """What this configuration needs."""
    return KEYS_ALONE if settings.guard.mode == "off" else GUARD
