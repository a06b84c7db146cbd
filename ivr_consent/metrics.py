"""Figures of the running service for monitoring, as a file in Prometheus' text format.

The file is for the textfile collector of the node exporter: nothing listens on a port, and nobody can ask for more
than is meant to be seen. No figure has a caller's data in it. Source of the format: "Exposition formats", Prometheus.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ivr_consent.logs import get_logger
from ivr_consent.store import files

MAX_SERIES: Final = 2000
"""Sets of labels that are counted apart; what comes beyond that is counted with the label values ``other``."""

MODE: Final = 0o644
"""The collector runs as a user of its own."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class Kind:
    """What is counted: its name, what it says, its labels in their order."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


CALLS: Final = Kind("ivr_consent_calls_total", "Calls decided.", ("line", "outcome", "reason", "route", "logged"))
INCIDENTS: Final = Kind(
    "ivr_consent_incidents_total", "Recordings without a grant that the guard found.", ("way", "mode", "confirmed")
)
EXEMPTED: Final = Kind("ivr_consent_exempted_total", "Recordings that the configuration lets be.", ("way",))
PAUSES: Final = Kind("ivr_consent_recording_pauses_total", "Pauses of lawful recordings.", ("reason", "confirmed"))

Count = Callable[[Kind, Mapping[str, str]], None]
"""Counts one more of a kind, by its labels."""


def uncounted(_: Kind, __: Mapping[str, str]) -> None:
    """Where nobody asks."""


class Metrics:
    """Counts since the start, and what is so at this moment."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Kind, tuple[str, ...]]] = Counter()
        self._began = time.time()

    def count(self, kind: Kind, labels: Mapping[str, str]) -> None:
        """One more."""
        key = (kind, tuple(labels[name] for name in kind.labels))
        if key not in self._counts and len(self._counts) >= MAX_SERIES:
            key = (kind, ("other",) * len(kind.labels))
        self._counts[key] += 1

    def text(self, *, calls: int, lines: Mapping[str, bool], blind: bool | None) -> str:
        """All of it. ``calls``: being asked now. ``lines``: whether each is ready. ``blind``: whether the guard is.

        ``None``: there is no guard. A count that was never reached stands there with 0, so that an alarm can be set on
        its first change.
        """
        found = [_head("ivr_consent_start_time_seconds", "gauge", "When the service started, in Unix time.")]
        found.append(f"ivr_consent_start_time_seconds {self._began:.3f}\n")
        found.append(_head("ivr_consent_calls_in_progress", "gauge", "Calls that are being asked."))
        found.append(f"ivr_consent_calls_in_progress {calls}\n")
        found.append(_head("ivr_consent_line_ready", "gauge", "1: callers are asked; 0: the line goes unrecorded."))
        found += [f"ivr_consent_line_ready{_labels({'line': line})} {int(ready)}\n" for line, ready in lines.items()]
        if blind is not None:
            found.append(_head("ivr_consent_guard_watching", "gauge", "1: the guard sees all that records."))
            found.append(f"ivr_consent_guard_watching {int(not blind)}\n")
        for kind in (CALLS, INCIDENTS, EXEMPTED, PAUSES):
            found.append(_head(kind.name, "counter", kind.help))
            series = sorted(values for each, values in self._counts if each is kind)
            found += [
                f"{kind.name}{_labels(dict(zip(kind.labels, values, strict=True)))} {self._counts[kind, values]}\n"
                for values in series
            ]
            found += [f"{kind.name} 0\n"] if not series else []
        return "".join(found)


async def keep(path: Path, seconds: float, text: Callable[[], str]) -> None:
    """Write the file anew each so many seconds, for ever. What refuses it is said once, until it is over."""
    refused = False
    while True:
        try:
            await asyncio.to_thread(files.write, path, text().encode(), MODE)
            refused = False
        except OSError as error:
            if not refused:
                remedy = "see metrics.file: its folder has to be there, and be the service's to write (ReadWritePaths)"
                log.error("metrics_not_written", problem=f"{path}: {error.strerror}", remedy=remedy)
            refused = True
        await asyncio.sleep(seconds)


def _head(name: str, kind: str, told: str) -> str:
    return f"# HELP {name} {told}\n# TYPE {name} {kind}\n"


def _labels(values: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
