"""What the guard says of a recording that had no grant."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from ivr_consent.store.quarantine import Kept

INCIDENT: Final = "incident"
"""The kind of its event in the log."""

EXEMPTED: Final = "recording_exempted"
"""The kind of the event of a recording that the configuration lets be."""

PAUSED: Final = "recording_paused"
RESUMED: Final = "recording_resumed"
"""The kinds of the events of a lawful recording that is silent for a while."""


@dataclass(frozen=True, slots=True)
class Incident:
    """A recording without a grant. ``way``: how it was started, as in docs/guard.md. ``stopped``: recorders that were
    stopped. ``confirmed``: the switch says that nothing records there any more. ``seconds``: from the hint to that.

    ``channel_uniqueid`` leads back to a call, and so to a person: it stands beside the log, erasable.
    """

    way: str
    mode: str
    stopped: int
    confirmed: bool
    seconds: float
    context: str = ""
    channel_uniqueid: str = ""
    files: tuple[Kept, ...] = ()
    problem: str = ""
    found: str = "event"
    """``event``: when it began. ``round``: by asking, later. ``start``: when the guard began to see. ``ended``: it had
    ended before it could be looked at, so there was nothing to be stopped."""
    lawful_ended: bool = False
    """Whether a recording with a grant on the same channel had to end with it."""
    id: str = field(default_factory=lambda: secrets.token_hex(16))

    def details(self) -> dict[str, Any]:
        """The payload of its event in the log."""
        details: dict[str, Any] = {
            "incident": self.id,
            "reason": "recording_without_grant",
            "way": self.way,
            "mode": self.mode,
            "found": self.found,
            "stopped": self.stopped,
            "confirmed": self.confirmed,
            "ms": int(self.seconds * 1000),
            "files": [{"fate": kept.fate.value, "bytes": kept.size, "name": kept.name} for kept in self.files],
        }
        if self.context:
            details["context"] = self.context
        if self.problem:
            details["problem"] = self.problem
        if self.lawful_ended:
            details["lawful_ended"] = True
        if self.channel_uniqueid:
            details["call"] = {"channel_uniqueid": self.channel_uniqueid}
        return details


@dataclass(frozen=True, slots=True)
class Exempted:
    """A recording that the configuration lets be, with the reason that it gives."""

    way: str
    basis: str
    reason: str
    context: str
    channel_uniqueid: str

    def details(self) -> dict[str, Any]:
        """The payload of its event in the log."""
        return {
            "way": self.way,
            "basis": self.basis,
            "reason": self.reason,
            "context": self.context,
            "call": {"channel_uniqueid": self.channel_uniqueid},
        }
