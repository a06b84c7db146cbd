"""What an audit read and found, within bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ivr_consent.pbx.audit.findings import Finding, Level, Place, Rule
from ivr_consent.pbx.audit.library import Library

MOST_FINDINGS: Final = 5_000
LONGEST: Final = 800
"""Findings of a report, and characters of what one says."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was read, and what was found, the worst first."""

    switch: str
    """Whose files they are: ``Asterisk`` or ``FreeSWITCH``."""
    root: Path
    read: dict[str, int]
    contexts: int
    steps: tuple[str, int]
    """How many steps the dialplan has, behind the switch's word for them."""
    findings: tuple[Finding, ...]

    def count(self, level: Level) -> int:
        """How many findings of a level."""
        return sum(finding.level is level for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "switch": self.switch,
            "directory": str(self.root),
            "files": [{"file": name, "lines": lines} for name, lines in self.read.items()],
            "contexts": self.contexts,
            self.steps[0]: self.steps[1],
            "counts": {level.value: self.count(level) for level in Level},
            "findings": [finding.plain() for finding in self.findings],
        }


def report(switch: str, library: Library, contexts: int, steps: tuple[str, int], findings: Iterable[Finding]) -> Report:
    """The report of some findings: each once, the worst first, no more than can be read."""
    ordered = sorted(dict.fromkeys(findings), key=lambda finding: finding.order)
    return Report(switch, library.root, library.read, contexts, steps, tuple(_bounded(ordered, library)))


def _bounded(findings: list[Finding], library: Library) -> list[Finding]:
    """The worst findings, each of a length that can be read."""
    kept = [
        replace(finding, found=f"{finding.found[:LONGEST]}...") if len(finding.found) > LONGEST else finding
        for finding in findings[:MOST_FINDINGS]
    ]
    if len(findings) > MOST_FINDINGS:
        why = f"{len(findings) - MOST_FINDINGS} more findings are left out"
        place = Place(library.name(library.root))
        kept.append(Finding(Rule.UNREAD, Level.UNKNOWN, place, why, "mend these, then audit again"))
    return kept
