"""What the witnesses of a soak have written: Asterisk's log, the decisions, the service's log, the kernel."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ivr_consent.store.reader import LedgerReader
from tests.soak.evidence import Decided, Evidence, GateCall, Line

WITNESS: Final = re.compile(
    r"^\[([\d-]+ [\d:.]+)\] NOTICE\[\d+\](\[C-\w+\]) Ext\. \S+: SOAK (enter|told|over) (\w+) (\S+) ?(.*)$", re.M
)
ASKED: Final = re.compile(r"VERBOSE\[\d+\](\[C-\w+\]) pbx\.c: Executing \[s@ivr-consent:1\]")
"""The gate's first line; [C-…] is the call, in whatever bridge and thread it is."""


def gate_calls(log: str) -> list[GateCall]:
    """The calls in one Asterisk's log."""
    found: dict[str, dict[str, Any]] = {}
    asks = Counter(ASKED.findall(log))
    for when, call, what, tag, uniqueid, rest in WITNESS.findall(log):
        at = datetime.strptime(when, "%Y-%m-%d %H:%M:%S.%f").astimezone().timestamp()
        if what == "enter":
            found[uniqueid] = {"tag": tag, "uniqueid": uniqueid, "entered": at, "asks": asks[call]}
        elif uniqueid in found and what == "over":
            found[uniqueid] |= {"over": at, "last_id": rest}
        elif uniqueid in found:
            found[uniqueid]["told"] = at
            words = [*rest.split(" "), "", "", ""]
            found[uniqueid] |= dict(zip(("result", "reason", "call_id"), words, strict=False))
    return [GateCall(**one) for one in found.values()]


def decisions(path: Path) -> tuple[list[Decided], dict[str, int]]:
    """All decisions of a log, and how many events of each kind there are."""
    found = []
    with LedgerReader(path) as reader:
        for record in reader.calls(limit=None):
            ended = next((event.payload for event in record.later if event.kind == "recording_ended"), {})
            kinds = tuple(event.kind for event in record.later)
            erased = "withdrawn" in kinds or "recording_stopped" in kinds
            payload = record.decision.payload
            found.append(
                Decided(
                    record.call_id,
                    str(payload["call"]["channel_uniqueid"]),
                    datetime.fromisoformat(record.decision.time).timestamp(),
                    str(record.decision.outcome),
                    str(payload["reason"]),
                    kinds,
                    None if erased else ended.get("file"),
                    None if erased else ended.get("sha256"),
                )
            )
        return found, dict(Counter(event.kind for event in reader.events(limit=None)))


def service_lines(log: str) -> list[Line]:
    """The service's log; a line that is no JSON has the time of the next that is, for it has none of its own."""
    lines: list[Line] = []
    at = 0.0
    for text in reversed(log.splitlines()):
        try:
            entry = json.loads(text)
            at = datetime.fromisoformat(entry["timestamp"]).timestamp()
            lines.append(Line(at, str(entry.get("level", "")), str(entry.get("event", "")), text))
        except (ValueError, KeyError, TypeError):
            lines.append(Line(at, "error", "", text))
    return lines[::-1]


def open_files(pid: int) -> dict[str, int]:
    """What a process has open, by name without its folder; without numbers, so that two moments can be compared."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found[re.sub(r"\d+", "N", entry.readlink().name.removesuffix(" (deleted)"))] += 1
    return dict(found)


def write_evidence(evidence: Evidence, path: Path) -> None:
    """As JSON, for whoever looks into a finding."""
    path.write_text(json.dumps(asdict(evidence), indent=1, default=lambda one: one.value) + "\n", encoding="utf-8")
