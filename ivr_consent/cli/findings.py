"""What ``ivr-consent check`` finds: one row for each thing looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ivr_consent.cli.terminal import Exit


class Area(StrEnum):
    """What a finding is about; a problem in one area alone has that area's exit code."""

    CONFIGURATION = "configuration"
    LOG = "log"
    HOST = "host"
    SWITCH = "switch"


class State(StrEnum):
    """How it stands. UNCHECKED is said, never left out: what was not looked at is not good."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found, and what to do unless it is good."""

    area: Area
    name: str
    state: State
    found: str
    remedy: str = ""


_CODES = {Area.CONFIGURATION: Exit.CONFIGURATION, Area.LOG: Exit.LOG, Area.SWITCH: Exit.SWITCH}


def exit_of(findings: Iterable[Finding]) -> Exit:
    """0 without a problem; the area's code when one area alone has problems; else 1."""
    areas = {finding.area for finding in findings if finding.state is State.PROBLEM}
    if not areas:
        return Exit.GOOD
    return _CODES.get(areas.pop(), Exit.PROBLEMS) if len(areas) == 1 else Exit.PROBLEMS
