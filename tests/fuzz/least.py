"""What an input breaks, and the shortest input that breaks the same."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz.target import ROOT, deadline


@dataclass(frozen=True, slots=True)
class Fault:
    """``kind`` and ``where`` tell one fault from another; ``told`` is what a developer reads first."""

    kind: str
    where: str
    told: str


def fault(one: Callable[[bytes], None], data: bytes) -> Fault | None:
    """What comes of an input; ``None`` when all is well."""
    try:
        with deadline():
            one(data)
    except Exception as error:  # noqa: BLE001 - whatever a reader lets through is a fault of it
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(ROOT))]
        last = frames[-1] if frames else None
        where = f"{last.filename.removeprefix(f'{ROOT}/')}:{last.lineno}" if last is not None else "?"
        kind = type(error).__name__
        # Of what has no end the place is by chance.
        place = "" if kind in ("RecursionError", "MemoryError", "TooSlowError") else where
        return Fault(kind, place, f"{kind} at {where}: {error}"[:500])
    return None


def shortest(one: Callable[[bytes], None], data: bytes, seconds: float) -> bytes:
    """Leave out piece after piece as long as the same breaks, each time in smaller pieces."""
    wanted = fault(one, data)
    if wanted is None:
        return data
    end = time.monotonic() + seconds
    size = max(1, len(data) // 2)
    while size:
        at = 0
        while at < len(data):
            if time.monotonic() > end:
                return data
            less = data[:at] + data[at + size :]
            found = fault(one, less)
            if found is not None and (found.kind, found.where) == (wanted.kind, wanted.where):
                data = less
            else:
                at += size
        size //= 2
    return data
