"""MixMonitor on a fake Asterisk: files that grow with what both sides say."""

from __future__ import annotations

import math
import os
import wave
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

RATE: Final = 8000
"""Samples a second of a ulaw file, one byte each."""

FORMATS: Final = frozenset({"wav", "raw", "ulaw", "alaw", "gsm", "sln", "sln16"})
"""What a recorder writes."""


@dataclass(slots=True)
class Recorder:
    """One MixMonitor of a channel. ``paths`` are the files that it has opened."""

    handle: str
    filename: str
    options: str
    paths: tuple[Path, ...] = ()
    files: list[IO[bytes]] = field(default_factory=list)

    def close(self) -> None:
        for file in self.files:
            file.close()


def open_file(path: Path) -> IO[bytes]:
    """Create a recorder's file as MixMonitor does: readable by its user alone where the umask says so."""
    file = os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o666), "wb")
    if path.suffix == ".wav":
        with wave.open(file, "wb") as head:
            head.setnchannels(1)
            head.setsampwidth(2)
            head.setframerate(RATE)
        file.flush()
    return file


def record(recorder: Recorder, sides: list[array[int]]) -> None:
    """Write what both sides said: interleaved into one raw file, or a file a side."""
    for path, file in zip(recorder.paths, recorder.files, strict=False):
        if path.suffix == ".raw":
            both = array("h", bytes(4 * len(sides[0])))
            both[0::2], both[1::2] = sides
            file.write(both.tobytes())
        file.flush()


def tone(hz: int, start: int, count: int) -> array[int]:
    """So many samples of a sine."""
    return array("h", (int(6000 * math.sin(2 * math.pi * hz * n / RATE)) for n in range(start, start + count)))
