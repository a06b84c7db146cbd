"""What the audit says: a place, what can happen there, the way that leads there, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple


class Level(StrEnum):
    """How bad it is, the worst first. UNKNOWN is what the files do not tell: it never counts as safe."""

    ERROR = "error"
    UNKNOWN = "unknown"
    WARNING = "warning"
    NOTE = "note"


LONGEST_WAY: Final = 60
"""Stops of a way in a finding."""

ALLOWING: Final = re.compile(r"ivr-consent audit: allowed[,:]?\s*(.*)")
"""What a comment says that allows its line, with the reason."""

ORDER: Final = {level: number for number, level in enumerate(Level)}


class Rule(StrEnum):
    """What kind of thing was found. The value is the name that pipelines know it by."""

    UNGATED = "recording-without-gate"
    REFUSED = "recording-after-no"
    GATED = "recording-behind-gate"
    AROUND = "recorded-line-without-gate"
    ENABLED = "recording-enabled-by-file"
    POWER = "recording-by-interface"
    INTERFACE = "interface-open"
    CARRIED = "recording-carried-on"
    FORGED = "result-set-by-dialplan"
    GATE = "gate-not-as-shipped"
    GATE_MISSING = "gate-not-included"
    UNREACHED = "recording-not-reached"
    ALLOWED = "recording-allowed"
    COMPUTED = "computed-target"
    SCRIPT = "foreign-script"
    ELSEWHERE = "dialplan-elsewhere"
    UNREAD = "not-read"
    REFUSED_FILE = "asterisk-refuses-file"
    DROPPED = "freeswitch-leaves-out"
    INACTIVE = "recorder-not-loaded"

    @property
    def meaning(self) -> str:
        """One sentence for the list of rules."""
        return _MEANING[self]


_MEANING: Final = {
    Rule.UNGATED: "A recording can start on a way that does not go through the gate.",
    Rule.REFUSED: "A recording can start behind the gate although its result is not granted.",
    Rule.GATED: "Another recorder than ours stands behind the gate; it has no grant of its own.",
    Rule.AROUND: "A way leads to a line's recorded destination without the gate.",
    Rule.ENABLED: "A configuration file lets a recording start outside of the dialplan.",
    Rule.POWER: "A user of an interface may start a recording.",
    Rule.INTERFACE: "An interface that can start recordings is open to more than it should be.",
    Rule.CARRIED: "A recording is carried over to another channel.",
    Rule.FORGED: "The dialplan sets the gate's result itself.",
    Rule.GATE: "A context of the gate is not as it was shipped.",
    Rule.GATE_MISSING: "The gate is called, and is not in these files.",
    Rule.UNREACHED: "A recording can start, but nothing in these files leads there.",
    Rule.ALLOWED: "A recording that the site has allowed in its file, with its reason.",
    Rule.COMPUTED: "Where a call goes is computed while it runs.",
    Rule.SCRIPT: "A program that is not ours decides what happens to the call.",
    Rule.ELSEWHERE: "A part of the dialplan is not in these files.",
    Rule.UNREAD: "Something could not be read.",
    Rule.REFUSED_FILE: "Asterisk does not load this file, or not all of it.",
    Rule.DROPPED: "FreeSWITCH does not load this part of a file.",
    Rule.INACTIVE: "A recorder whose module is not loaded.",
}


class Place(NamedTuple):
    """A line of a file; ``line`` is 0 for the file as a whole."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Stop:
    """One step of a way: ``at`` is ``context,extension,priority`` or the entry point, ``what`` the application."""

    place: Place
    at: str
    what: str

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"file": self.place.file, "line": self.place.line, "at": self.at, "what": self.what}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``way`` leads from an entry point to the place, and is empty where no way is part of it."""

    rule: Rule
    level: Level
    place: Place
    found: str
    remedy: str
    way: tuple[Stop, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "rule": self.rule.value,
            "level": self.level.value,
            "file": self.place.file,
            "line": self.place.line,
            "found": self.found,
            "remedy": self.remedy,
            "way": [stop.plain() for stop in self.way],
        }

    @property
    def order(self) -> tuple[int, str, int, str]:
        """Worst first, then by file and line."""
        return ORDER[self.level], self.place.file, self.place.line, self.rule.value


def shortened(way: list[Stop]) -> tuple[Stop, ...]:
    """A way from its entry point on, without loops, and without its middle where it is too long to be read."""
    kept = _without_loops(way)
    if len(kept) > LONGEST_WAY:
        half = LONGEST_WAY // 2
        left = Stop(kept[half].place, "...", f"{len(kept) - 2 * half} more")
        kept = [*kept[:half], left, *kept[-half:]]
    return tuple(kept)


def _without_loops(way: list[Stop]) -> list[Stop]:
    """A way that comes to the same step twice, without what lies between."""
    kept: list[Stop] = []
    seen: dict[str, int] = {}
    for stop in way:
        begin = seen.get(stop.at)
        if begin is not None:
            for dropped in kept[begin:]:
                del seen[dropped.at]
            del kept[begin:]
        seen[stop.at] = len(kept)
        kept.append(stop)
    return kept
