"""A session on any switch: what it needs of the configuration, and how it carries the flow to a channel and the log."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from ivr_consent.core.decision import Reference
from ivr_consent.core.flow import Ending, Plan
from ivr_consent.core.steps import (
    Answer,
    Ask,
    Decide,
    Failed,
    Granted,
    Logged,
    Note,
    Play,
    Record,
    Result,
    Route,
    Step,
    StopRecording,
)
from ivr_consent.language import Clues, Rules

UNKNOWN_LINE: Final = "-"
"""Stands in the log for a line that the dialplan named and the configuration does not know."""


class Lines(Protocol):
    """What a session needs of the configuration in force when it began."""

    @property
    def software(self) -> str:
        """Name and version, for the decision."""
        ...

    @property
    def configuration_sha256(self) -> str:
        """Digest of the configuration file, for the decision."""
        ...

    @property
    def recordings(self) -> Path:
        """Where the switch writes recordings."""
        ...

    def subject(self, number: str | None) -> str | None:
        """A caller's keyed pseudonym; ``None`` for a withheld number."""
        ...

    def reference(self, call_id: str) -> Reference:
        """What the caller can name the consent by."""
        ...

    def plan(self, line: str, clues: Clues) -> Plan | str:
        """How to ask on this line, beginning in the language that the clues choose; or why it cannot be asked."""
        ...

    def damaged(self, line: str) -> bool:
        """Whether what this line plays has been found changed on disk: then no yes counts any more."""
        ...

    def language_by(self, line: str) -> Rules | None:
        """What chooses the language on this line: of the clues, only what it looks at has to be asked for."""
        ...


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of log per session, without personal data."""

    script: str
    line: str
    call_id: str | None
    outcome: str
    reason: str
    route: str
    logged: bool
    quiet: bool = False
    """Not a call, and so no line of log: the command line's own check."""


Observer = Callable[[Step, Result | None], None]
"""Sees every step before it is done (with ``None``) and its result; for a terminal that shows the call."""


ChannelStep = Answer | Play | Ask | Record | StopRecording | Route
"""Steps that a channel performs; the others are the log's."""

Q = TypeVar("Q")
R = TypeVar("R")


def conduct(
    flow: Generator[Step, Result, Ending],
    perform: Callable[[ChannelStep], Generator[Q, R, Result]],
    observe: Observer | None,
) -> Generator[Q | Decide | Note, R | Granted | Logged | Failed, Ending]:
    """Carry steps to the channel or the log, and results back, until the flow ends."""
    result: Result | None = None
    while True:
        try:
            step = next(flow) if result is None else flow.send(result)
        except StopIteration as end:
            ending: Ending = end.value
            return ending
        if observe is not None:
            observe(step, None)
        if isinstance(step, Decide | Note):
            written = yield step
            assert isinstance(written, Granted | Logged | Failed)
            result = written
        else:
            result = yield from perform(step)
        if observe is not None:
            observe(step, result)
