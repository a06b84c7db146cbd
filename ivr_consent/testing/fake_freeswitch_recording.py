"""The recorders of the fake FreeSWITCH: which files they open, what they write, what their events say.

Sound is written as the real one does it, in time: silence until now, tones while caller and agent talk. A recorder
with RECORD_BRIDGE_REQ writes only while the channel is bridged.
"""

from __future__ import annotations

import contextlib
import math
import struct
import time
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

FORMATS: Final = frozenset({"wav", "raw", "au", "r8", "r16", "sln", "gsm", "ul", "al", "PCMU", "PCMA", ""})
"""Extensions that a file can be written in; only .wav and .raw are written as the real one writes them."""

TALK_HZ: Final = (400, 600)
"""What caller and agent "say"."""

_MAX_SILENCE_S: Final = 600.0


def true(value: str | None) -> bool:
    """A variable's value as FreeSWITCH reads it (switch_true)."""
    return (value or "").lower() in ("yes", "on", "true", "t", "enabled", "active", "allow") or (
        (value or "").lstrip("-").isdigit() and int(value or "0") != 0
    )


class Recording:
    """One recorder of a channel, or of a conference.

    ``bug`` says whether it is a media bug (``record_session``, ``uuid_record``), or the application ``record``, which
    none of FreeSWITCH's lists shows. ``start`` is false where the real one fails: nothing is written, nobody is told.
    """

    def __init__(self, path: str, variables: Mapping[str, str], *, bug: bool = True, speed: float = 1.0) -> None:
        self.path, self.bug = path, bug
        self.stereo = true(variables.get("RECORD_STEREO")) and bug
        rate = variables.get("record_sample_rate", "")
        self.rate = int(rate) if rate.isdigit() and int(rate) else 8000
        self.bridge_only = true(variables.get("RECORD_BRIDGE_REQ")) and bug
        self.answer_only = true(variables.get("RECORD_ANSWER_REQ")) and bug
        self.paths: tuple[Path, ...] = ()
        self.samples = 0
        self.running = False
        self.paused = self.masked = False
        self.bridged = False
        self._speed = speed
        self._files: list[IO[bytes]] = []
        self._last = 0.0

    @property
    def form(self) -> str:
        """The file's extension."""
        return Path(self.path).suffix.removeprefix(".")

    def start(self) -> bool:
        """Create the file, and folders on the way to it; false when that fails."""
        if self.form not in FORMATS or not Path(self.path).is_absolute():
            return False
        names = [self.path] if self.form else [f"{self.path}-in.PCMU", f"{self.path}-out.PCMU"]
        try:
            Path(self.path).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._files = [Path(name).open("wb") for name in names]  # noqa: SIM115 - open as long as the recorder runs
        except OSError:
            return False
        self.paths = tuple(Path(name) for name in names)
        self.running = True
        self._last = time.monotonic()
        self._head()
        return True

    def _head(self) -> None:
        """Write a wav file's header, with the length that it has now."""
        if self.form != "wav":
            return
        file = self._files[0]
        size = self.samples * 2 * (2 if self.stereo else 1)
        channels = 2 if self.stereo else 1
        about = (16, 1, channels, self.rate, self.rate * 2 * channels, 2 * channels, 16)
        head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<IHHIIHH", *about)
        with contextlib.suppress(OSError, ValueError):
            at = file.tell()
            file.seek(0)
            file.write(head + b"data" + struct.pack("<I", size))
            file.seek(max(at, 44))
            file.flush()

    def flush(self, *, bridged: bool, answered: bool) -> None:
        """Write the silence since the last time, as far as this recorder is one that listens now."""
        now = time.monotonic()
        passed = min(max(0.0, now - self._last), _MAX_SILENCE_S) * self._speed
        self._last = max(now, self._last)
        if (self.bridge_only and not bridged) or (self.answer_only and not answered):
            return
        frames = int(passed / 0.02) * (self.rate // 50)
        self._write([array("h", bytes(2 * frames))] * 2)

    def talk(self, start: int, count: int) -> None:
        """Write what both sides say in so many samples of 8000 a second."""
        self._last = time.monotonic() + count / 8000  # it is written at the beginning of the time that it takes
        factor = self.rate // 8000 or 1
        self._write([_tone(hz, self.rate, start * factor, count * factor) for hz in TALK_HZ])

    def _write(self, sides: list[array[int]]) -> None:
        if not self.running or self.paused or not self._files:
            return
        self.samples += len(sides[0])
        if self.masked:
            sides = [array("h", bytes(2 * len(side))) for side in sides]
        if not self.form:
            for file, side in zip(self._files, sides, strict=True):
                file.write(bytes(len(side)))
        elif self.stereo:
            both = array("h", bytes(4 * len(sides[0])))
            both[0::2], both[1::2] = sides
            self._files[0].write(both.tobytes())
        else:
            self._files[0].write(array("h", ((a + b) // 2 for a, b in zip(*sides, strict=True))).tobytes())
        for file in self._files:
            file.flush()

    def stop(self) -> dict[str, str]:
        """Close the file; the variables that FreeSWITCH sets then."""
        self.running = False
        self._head()
        size = 0
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()
        for path in self.paths:
            with contextlib.suppress(OSError):
                size = path.stat().st_size
        return {
            "record_file_size": str(size),
            "record_samples": str(self.samples),
            "record_seconds": str(self.samples // self.rate),
            "record_ms": str(self.samples * 1000 // self.rate),
        }


def _tone(hz: int, rate: int, start: int, count: int) -> array[int]:
    return array("h", (int(6000 * math.sin(2 * math.pi * hz * n / rate)) for n in range(start, start + count)))
