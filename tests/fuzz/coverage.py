"""What an input reaches, told without atheris; and of many inputs those few that reach all that any does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final

from tests.fuzz.target import ROOT, Target, deadline

MOST_FILES: Final = 17
MOST_BYTES: Final = 36 * 1024
"""Of one target's corpus. All of them stay below 500 files and 1 MB (test_corpus.py)."""

PACKAGE: Final = str(ROOT / "ivr_consent")

Step = tuple[str, int, int]
"""From which line to which one, in a file of ours. A function begins at line 0."""

Tracer = Callable[[FrameType, str, Any], Any]


def reached(one: Callable[[bytes], None], data: bytes) -> frozenset[Step]:
    """Every step from line to line that an input leads to. Raises what ``one`` raises."""
    steps: set[Step] = set()

    def entered(frame: FrameType, _: str, __: Any) -> Tracer | None:
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE):
            return None
        last = 0

        def stepped(frame: FrameType, event: str, _: Any) -> Tracer:
            nonlocal last
            if event == "line":
                steps.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return stepped

        return stepped

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        one(data)
    finally:
        sys.settrace(before)
    return frozenset(steps)


def measured(target: Target, inputs: Mapping[str, bytes], seconds: float) -> dict[str, frozenset[Step]]:
    """What each of the inputs reaches, as many as there is time for. One that is too slow here is left out."""
    found: dict[str, frozenset[Step]] = {}
    end = time.monotonic() + seconds
    for name, data in inputs.items():
        if time.monotonic() > end:
            break
        try:
            with deadline(5):
                found[name] = reached(target.one, data)
        except Exception:  # noqa: BLE001, S112 - an input that breaks something is kept elsewhere
            continue
    return found


def chosen(inputs: Mapping[str, bytes], reach: Mapping[str, frozenset[Step]], known: frozenset[str]) -> list[str]:
    """Few inputs that reach what all of them do, within the bounds: always the one that adds most, and of equals one
    that is ``known`` already, then the shorter one."""
    left = {name: set(steps) for name, steps in reach.items()}
    names: list[str] = []
    size = 0
    while left and len(names) < MOST_FILES:
        best = max(left, key=lambda name: (len(left[name]), name in known, -len(inputs[name]), name))
        adds = left.pop(best)
        if not adds:
            break
        if size + len(inputs[best]) > MOST_BYTES:
            continue
        names.append(best)
        size += len(inputs[best])
        for steps in left.values():
            steps.difference_update(adds)
    return names
