"""What is known of a soak when it is over, each from its own witness, so that they can be held against each other.

Moments are seconds since 1970: Asterisk's log, the service's log and ours are then on one axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Expected(Enum):
    """What may come of a caller."""

    GRANTED = "granted"
    WITHDRAWN = "withdrawn"
    NEVER = "never"
    """Never granted, never a file."""

    ANY = "any"
    """The keys or the moment leave it open; but one decision."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A caller that sipp was told to play."""

    tag: str
    kind: str
    expected: Expected


@dataclass(frozen=True, slots=True)
class GateCall:
    """A call as Asterisk's own log has it. ``result``, ``reason``, ``call_id``: what the dialplan was told, or empty.

    ``asks``: how often it came through the gate: a caller who presses the code for consent later is asked again, under
    another id; ``last_id`` is the one that the channel had in the end.
    ``told``: when; ``over``: ``None`` where Asterisk died before the call had ended.
    """

    tag: str
    uniqueid: str
    entered: float
    result: str = ""
    reason: str = ""
    call_id: str = ""
    last_id: str = ""
    asks: int = 1
    told: float | None = None
    over: float | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision in the log, with the kinds of what followed it. ``file``: the name that the log says is kept."""

    call_id: str
    uniqueid: str
    at: float
    outcome: str
    reason: str
    later: tuple[str, ...] = ()
    file: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A fault, from its beginning until all was well again."""

    kind: str
    began: float
    ended: float

    def meets(self, began: float, ended: float, margin: float = 2.0) -> bool:
        """Whether anything from ``began`` to ``ended`` can have felt it."""
        return began <= self.ended + margin and ended >= self.began - margin


@dataclass(frozen=True, slots=True)
class Sample:
    """The service at a moment. ``pid``: of the worker, which a fault replaces; memory in MiB.

    ``up`` and ``placed``: calls of sipp's, now and so far.
    """

    at: float
    pid: int
    rss: float
    descriptors: int
    threads: int
    watcher_rss: float
    watcher_descriptors: int
    up: int
    placed: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the service's own log. ``event``: empty for one that is no JSON, such as a traceback's."""

    at: float
    level: str
    event: str
    text: str


@dataclass(slots=True)
class Evidence:
    """All of it. ``files``: names left in the recordings' directory, with their SHA-256.

    ``created``: whatever came to be there for a moment. ``strays``: audio elsewhere under the switch's spool.
    ``idle``: samples when nobody calls, before the first call and after the last.
    """

    began: float
    ended: float
    planned: list[Planned] = field(default_factory=list)
    calls: list[GateCall] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    """How many of each kind are in the log."""

    windows: list[Window] = field(default_factory=list)
    unhealed: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    log_bytes: int = 0
    """Of the log's file in the end."""

    idle: tuple[Sample, ...] = ()
    open_when_idle: tuple[dict[str, int], ...] = ()
    """What the worker had open at these two moments, by name."""

    lines: list[Line] = field(default_factory=list)
    verified: tuple[int, str] = (0, "")
    stopped: int = 0
    broken: list[str] = field(default_factory=list)
    """Of the callers themselves: sipp's own troubles."""

    failures: dict[str, int] = field(default_factory=dict)
    """Calls that went otherwise than sipp was told, by its reasons; a call that is cut by a fault is one."""

    left: list[str] = field(default_factory=list)
    """Processes of ours that were still there when all was stopped."""
