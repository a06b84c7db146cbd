"""What is audible: tones in linear samples, and the channels of WAV files.

Everything is plain Python on lists of 16-bit samples, because the tests must run where neither numpy nor
``audioop`` (gone in Python 3.13) exists. Powers are in units of full scale squared: a sine as loud as the
format allows has power 0.5, silence has 0.
"""

from __future__ import annotations

import math
import sys
import wave
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FULL_SCALE = 32768.0

WINDOW_SECONDS = 0.1  # short enough to see a beep, long enough to tell 10 Hz apart

_FLOOR = 5e-7  # -60 dB of a full-scale sine: below it is coding noise
_PIECES = 12  # long stretches are sampled in this many windows, so that the cost stays bounded


@lru_cache(maxsize=16)
def _hann(count: int) -> tuple[float, ...]:
    return tuple(0.5 - 0.5 * math.cos(2 * math.pi * (i + 0.5) / count) for i in range(count))


def _goertzel(weighted: Sequence[float], hz: float, rate: int) -> float:
    """Power of the sine of `hz` in samples that were multiplied with a Hann window."""
    step = 2 * math.pi * hz / rate
    factor = 2 * math.cos(step)
    s1 = s2 = 0.0
    for x in weighted:
        s1, s2 = x + factor * s1 - s2, s1
    squared = s1 * s1 + s2 * s2 - factor * s1 * s2
    # the window's mean is 1/2, hence amplitude = 2 |X| / (count / 2)
    amplitude = 4 * math.sqrt(max(squared, 0.0)) / len(weighted) / FULL_SCALE
    return amplitude * amplitude / 2


def tone_power(pcm: Sequence[int], hz: float, rate: int = 8000) -> float:
    """Power of one sine of `hz` hertz in 16-bit samples taken `rate` times a second (0 to about 0.5).

    The resolution is about ``2 * rate / len(pcm)`` hertz. No samples: 0.
    """
    if not pcm:
        return 0.0
    return _goertzel([w * x for w, x in zip(_hann(len(pcm)), pcm, strict=True)], hz, rate)


def level(pcm: Sequence[int]) -> float:
    """Mean power of all that is audible (0 to 1)."""
    return sum(x * x for x in pcm) / len(pcm) / FULL_SCALE**2 if pcm else 0.0


def dominant_tones(
    pcm: Sequence[int],
    rate: int = 8000,
    *,
    share: float = 0.05,
    low: float = 200.0,
    high: float = 3400.0,
) -> list[int]:
    """Frequencies in hertz of the sines heard, the strongest first; ``[]`` for silence.

    Only peaks of at least `share` of the strongest one's power count. A sine comes out within 5 Hz when
    there is at least 0.1 s of it. Stretches longer than a second are sampled, not read in full.
    """
    size = min(len(pcm), round(rate * WINDOW_SECONDS))
    if size < rate // 100:  # 10 ms tell nothing about a frequency
        return []
    count = min(_PIECES, len(pcm) // size)
    stride = (len(pcm) - size) // max(count - 1, 1)
    window = _hann(size)
    pieces = [[w * x for w, x in zip(window, pcm[n * stride : n * stride + size], strict=True)] for n in range(count)]

    def power(hz: float) -> float:
        return sum(_goertzel(piece, hz, rate) for piece in pieces) / count

    grid = rate / size
    powers = [power(low + grid * n) for n in range(int((high - low) / grid) + 1)]
    least = max(share * max(powers), _FLOOR)
    found: list[tuple[float, int]] = []
    for n, here in enumerate(powers):
        left = powers[n - 1] if n else -1.0
        right = powers[n + 1] if n + 1 < len(powers) else -1.0
        if here >= least and here > left and here >= right:
            finer = (low + grid * (n + part / 4) for part in range(-2, 3))
            best = max((power(hz), round(hz)) for hz in finer)
            found.append(best)
    return [hz for _, hz in sorted(found, reverse=True)]


@dataclass(frozen=True, slots=True)
class Window:
    """A tenth of a second of one channel: where it begins (seconds), how loud, which tones in it."""

    start: float
    level: float
    tones: tuple[int, ...]

    def has(self, hz: float, tolerance: float = 15.0) -> bool:
        return any(abs(tone - hz) <= tolerance for tone in self.tones)


def windows(pcm: Sequence[int], rate: int = 8000) -> list[Window]:
    """Tones of `pcm`, window by window; a last window shorter than half of `WINDOW_SECONDS` is left out."""
    size = round(rate * WINDOW_SECONDS)
    result = []
    for start in range(0, len(pcm), size):
        piece = pcm[start : start + size]
        if len(piece) * 2 >= size:
            result.append(Window(start / rate, level(piece), tuple(dominant_tones(piece, rate))))
    return result


@dataclass(frozen=True, slots=True)
class Wav:
    """A WAV file's content: samples per second and one array of 16-bit samples per channel."""

    rate: int
    channels: tuple[array[int], ...]

    @property
    def seconds(self) -> float:
        return len(self.channels[0]) / self.rate

    def windows(self, channel: int = 0) -> list[Window]:
        return windows(self.channels[channel], self.rate)


def read_wav(path: Path) -> Wav:
    """Read a 16-bit PCM file.

    A file that is still being written is read as far as its header says. Raises `ValueError` for any other
    coding and for a file that is no WAV at all.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise ValueError(f"{path}: {8 * file.getsampwidth()}-bit samples, only 16-bit is read")
            rate, count = file.getframerate(), file.getnchannels()
            if not rate:
                raise ValueError(f"{path}: not a PCM WAV file (no samples a second)")
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:  # the last, without a word, for a chunk longer than its file
        raise ValueError(f"{path}: not a PCM WAV file ({error or 'cut short'})") from error
    samples = array("h", raw[: len(raw) // (2 * count) * 2 * count])
    if sys.byteorder == "big":
        samples.byteswap()
    return Wav(rate, tuple(samples[n::count] for n in range(count)))
