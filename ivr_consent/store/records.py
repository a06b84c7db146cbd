"""What a log is read as: events, calls, and by what each event is held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ivr_consent.core.decision import Outcome


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event as it stands in the log, its personal data put back in their place.

    ``call_id`` and ``line`` are ``None`` for an event of the service. ``erased``: there were personal data, and they
    have been erased. ``problem``: why it cannot be read; the payload is empty then. ``server``: whose log it is in,
    where several are read as one.
    """

    sequence: int
    time: str
    kind: str
    call_id: str | None
    line: str | None
    outcome: str | None
    payload: Mapping[str, Any]
    erased: bool = False
    problem: str | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call's decision with what followed it."""

    decision: LoggedEvent
    later: tuple[LoggedEvent, ...]

    @property
    def call_id(self) -> str:
        """The call's id, which names its recording too."""
        return self.decision.call_id or ""

    @property
    def line(self) -> str:
        """The line that was called."""
        return self.decision.line or ""

    @property
    def route(self) -> str:
        """Where the call went: as decided, unless a later event changed it."""
        for event in reversed(self.later):
            if "route" in event.payload:
                return str(event.payload["route"])
        return str(self.decision.payload.get("route", "unrecorded"))

    @property
    def recording(self) -> str:
        """What became of the recording: ``none``, ``granted`` (not yet started), ``confirmed``, ``ended``, …"""
        if self.decision.outcome != Outcome.GRANTED.value:
            return "none"
        kinds = [event.kind for event in self.later if event.kind in OF_RECORDING]
        return kinds[-1].removeprefix("recording_") if kinds else "granted"

    @property
    def events(self) -> tuple[LoggedEvent, ...]:
        """All of it in order."""
        return (self.decision, *self.later)


OF_RECORDING: Final = frozenset(
    {
        "recording_confirmed",
        "recording_ended",
        "recording_expired",
        "recording_missing",
        "recording_not_confirmed",
        "recording_stopped",
        "withdrawn",
        "grant_void",
    }
)
"""Kinds of events that say what became of a recording."""


@dataclass(frozen=True, slots=True)
class AskedCall:
    """A call that is being asked, or was when its process died."""

    call_id: str
    line: str
    time: str


@dataclass(frozen=True, slots=True)
class Seal:
    """By what one event is held in its log.

    ``leaf``: the hash of its leaf, hexadecimal; ``None`` where its row is none that could have been written.
    ``pruned``: nothing but that hash is left of it. ``personal``: ``none``, ``kept``, ``erased``, ``changed`` (not
    what the log committed to), or ``unknown``. ``checkpoint``: size and time of the first signed checkpoint over it,
    ``None`` while it is not sealed. ``anchors``: where that one was shown, and when; where it was not, the next one
    that was.
    """

    sequence: int
    leaf: str | None
    pruned: bool
    personal: str
    checkpoint: tuple[int, str] | None
    anchors: tuple[Anchor, ...]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A checkpoint of ``size`` events that was shown outside."""

    size: int
    place: str
    time: str
