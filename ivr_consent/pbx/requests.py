"""What a session on any switch asks of its driver, beside the switch's own commands, and what it hears back.

A driver is the server of a switch, the classic script, or a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileAppears:
    """Wait until the file exists. Response: Seen."""

    path: Path
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Released:
    """Wait until no process has a file of the recording open for writing. Response: Seen."""

    recording_id: str
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Discard:
    """Remove the files of a recording that must not be. Response: Seen(True) when none is left."""

    recording_id: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The recorded call has ended: bring its recording into its lasting form. Response: Seen(True)."""

    recording_id: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """``caller`` or ``agent`` has withdrawn consent by a code in the call. Response: Seen, whether nothing is left."""

    recording_id: str
    by: str


@dataclass(frozen=True, slots=True)
class Lost:
    """There will be no reply: the connection is closed, out of step, or past its deadline."""

    reason: str
    hung_up: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """Yes or no."""

    yes: bool
