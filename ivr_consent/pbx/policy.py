"""What a guard does on any switch, whom it asks, and whom it tells."""

from __future__ import annotations

import fnmatch
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ivr_consent.pbx.incidents import Exempted, Incident
from ivr_consent.store.granted import Standing
from ivr_consent.store.quarantine import Kept, Quarantine

Standings = Callable[[str, str], Awaitable[Standing]]
"""How the recording of a call stands: by its id and the channel's uniqueid. Raises :class:`LedgerError`."""

OpenFor = Callable[[frozenset[str]], Awaitable[frozenset[str] | None]]
"""Which of these files (of all files: an empty set) the switch writes at this moment; ``None``: it cannot be seen."""


@dataclass(frozen=True, slots=True)
class Exemption:
    """A recording that is let be: patterns as of a shell; ``None`` fits all. ``basis``: of law."""

    context: str | None
    channel: str | None
    line: str | None
    application: str | None
    basis: str
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What the guard does. ``recordings``: the directory of our own recordings."""

    enforce: bool
    recordings: Path
    quarantine: Quarantine
    leave_files: bool
    round_s: float
    exemptions: tuple[Exemption, ...]
    agents: Callable[[str], tuple[str, ...]]
    """The agents of a line: patterns of devices; none: whoever the call is connected to first."""
    spool: Path
    """Where Asterisk puts recordings whose names are not absolute, ``monitor`` below it."""

    def exemption(self, channel: str, context: str, line: str, application: str) -> Exemption | None:
        """The first exemption that fits a recording; ``None`` when none does."""
        asked = {"context": context, "channel": channel, "line": line, "application": application}
        for exemption in self.exemptions:
            patterns = ((asked[name], getattr(exemption, name)) for name in asked)
            if all(pattern is None or fnmatch.fnmatchcase(value, pattern) for value, pattern in patterns):
                return exemption
        return None

    def keep(self, files: Iterable[str]) -> tuple[Kept, ...]:
        """Do with the files of recordings that were stopped what is configured. Blocking."""
        return tuple(self.quarantine.take(file, leave=self.leave_files) for file in sorted(files))


@dataclass(frozen=True, slots=True)
class Stops:
    """What came of it. ``stopped``: recorders that ran until now. ``confirmed``: the switch says that none is left.

    ``gone``: there is no such channel. ``seconds``: until that was known. ``problem``: why it is not.
    """

    stopped: int
    confirmed: bool
    gone: bool
    seconds: float
    problem: str = ""


class Reports(Protocol):
    """Who is told. Nothing of it may block."""

    def incident(self, incident: Incident) -> None:
        """A recording without a grant was found."""
        ...

    def exempted(self, exempted: Exempted) -> None:
        """A recording is let be."""
        ...

    def scope(self, call_id: str, kind: str, reason: str, *, confirmed: bool) -> None:
        """A lawful recording was paused, or goes on: see docs/guard.md."""
        ...
