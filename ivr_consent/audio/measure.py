"""Measuring sound: loudness, peaks, silence at the ends, and the outline of a waveform.

Loudness is the integrated loudness of EBU R 128 (ITU-R BS.1770-4): K-weighted power over blocks of 400 ms, of which
those below -70 LUFS and those more than 10 LU below the rest are left out. What counts is ffmpeg's ``ebur128``
(:func:`loudness`); a :class:`Profile` says beforehand what it is going to find, without starting a program.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ivr_consent.audio import ffmpeg
from ivr_consent.audio.formats import BAND_RATES, FORMATS, RATE
from ivr_consent.core.errors import AudioError

Samples = npt.NDArray[np.int16]
"""16-bit samples of one channel."""

Curve = npt.NDArray[np.float64]

TARGET_LUFS = -20.0
"""Loudness of every prompt.

About that of a person who speaks clearly into a telephone, so that nobody turns the volume up for a prompt and is
shouted at by the agent. The voices of espeak-ng reach it with 3 or 4 dB taken off their highest peaks, which is not
heard; much louder, and the limiter would be.
"""

SILENCE_DBFS = -50.0
"""Mean level of 10 ms below which a telephone's listener hears nothing: 30 dB below speech at our loudness."""

SILENCE_LUFS = -70.0
"""What silence measures: the meter's absolute gate."""

METER = "apad=whole_dur=0.4,ebur128=metadata=1,ametadata=mode=print:key=lavfi.r128.I:file="
"""A chain of ffmpeg's filters that measures; what it writes into the file named after it is for :func:`metered`."""

_FULL_SCALE = 32768.0
_FLOOR_DB = -120.0  # what silence is said to have
_GATE_LU = -10.0
_FINISHED = "finished"  # of a sound that has been through the filters of its band
_RATES = {**BAND_RATES, _FINISHED: RATE}
_PIECE = 1 << 18
_CHUNKS_S = (2, 4)  # what is transformed at once, the shorter where that holds it: megabytes, however long the sound
_EDGES_PER_SECOND = 5  # a whole number of samples at every usual rate


def samples_of(pcm: bytes) -> Samples:
    """16-bit little-endian PCM as an array."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.int16, copy=False)


def decoded(path: Path) -> tuple[Samples, int]:
    """The samples of a file of the store in any of its formats, and their rate in Hz. Raises :class:`AudioError`."""
    form = next((form for form in FORMATS.values() if form.file == path.name), None)
    if form is None:
        raise AudioError(
            f"{path}: is not a file of a prompt. Name one of {', '.join(f.file for f in FORMATS.values())}"
        )
    options = ["-f", form.muxer]
    if form.muxer in ("mulaw", "alaw", "s16le"):
        options += ["-ar", str(form.rate), "-ac", "1"]
    options += ["-i", f"file:{path}", "-f", "s16le", "-ac", "1", *ffmpeg.TO_PIPE]
    return samples_of(ffmpeg.run(options, b"")), form.rate


def loudness(samples: Samples, rate: int, stop: threading.Event | None = None) -> float:
    """Integrated loudness in LUFS as ffmpeg measures it; -70 for silence. Raises :class:`AudioError`."""
    options = [*ffmpeg.pcm_input(rate), "-af", f"{METER}-", "-f", "null", "-"]
    return metered(ffmpeg.run(options, samples.astype("<i2", copy=False).tobytes(), stop=stop).decode())


def metered(text: str) -> float:
    """The loudness in what :data:`METER` wrote: the last value is that of the whole."""
    value = text.rpartition("lavfi.r128.I=")[2].strip()
    try:
        return max(float(value), SILENCE_LUFS)
    except ValueError:
        return SILENCE_LUFS


def integrated(samples: Samples) -> float:
    """Like :func:`loudness`, of a finished sound at 8 kHz, without starting a program; within 0.1 LU of it."""
    return profiles(samples, RATE, [_FINISHED])[_FINISHED].loudness(limited=False)


def peak(samples: Samples) -> float:
    """The highest sample in dBFS; -120 for digital silence."""
    highest = max(int(samples.max(initial=0)), -int(samples.min(initial=0)))
    return 20 * math.log10(highest / _FULL_SCALE) if highest else _FLOOR_DB


def silence_at_ends(samples: Samples, rate: int, *, below: float = SILENCE_DBFS) -> tuple[float, float]:
    """Seconds of silence at the beginning and at the end, in steps of 10 ms; both the whole length when all is silent.

    Silence is what has a mean level under ``below`` dBFS.
    """
    size = rate // 100
    count = max(len(samples) // size, 1)
    # a last piece shorter than 10 ms counts with the one before it
    pieces = np.array_split(samples, count)
    loud = [index for index, piece in enumerate(pieces) if mean_level(piece) > below]
    if not loud:
        return len(samples) / rate, len(samples) / rate
    return loud[0] * size / rate, (len(pieces) - 1 - loud[-1]) * size / rate


def mean_level(samples: Samples) -> float:
    """Mean power in dBFS, of which a full-scale sine has -3; -120 for digital silence."""
    # piece by piece: a long sound is not held once more in floating point
    pieces = (samples[at : at + _PIECE].astype(np.float64) for at in range(0, len(samples), _PIECE))
    power = sum(float(np.sum(piece * piece)) for piece in pieces) / max(len(samples), 1) / _FULL_SCALE**2
    return 10 * math.log10(power) if power > 0 else _FLOOR_DB


def envelope(source: Path | Samples, columns: int) -> list[tuple[int, int]]:
    """Lowest and highest 16-bit sample of each of ``columns`` equal stretches, to draw a waveform.

    Takes a file of the store or samples; a sound shorter than ``columns`` samples gives as many columns as samples.
    """
    samples = decoded(source)[0] if isinstance(source, Path) else source
    count = min(columns, len(samples))
    if count < 1:
        return []
    return [(int(piece.min()), int(piece.max())) for piece in np.array_split(samples, count)]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a sound is going to be in one band of :mod:`~.formats`: by milliseconds, its K-weighted power and its peak.

    From it follows what :func:`loudness` is going to find, at any gain and behind the limiter.
    """

    power: Curve
    peaks: Curve

    @property
    def peak(self) -> float:
        """The highest peak in dBFS; -120 for silence."""
        highest = float(self.peaks.max(initial=0))
        return 20 * math.log10(highest) if highest > 1e-6 else _FLOOR_DB

    def loudness(self, gain: float = 0.0, *, limited: bool = True) -> float:
        """Integrated loudness in LUFS after ``gain`` dB, with peaks limited as the build limits them."""
        factor = 10 ** (gain / 20)
        pressed = factor * _limited(self.peaks * factor) if limited else np.full(len(self.peaks), factor)
        power = self.power * pressed * pressed
        whole = len(power) // 100 * 100
        return _gated(power[:whole].reshape(-1, 100).mean(axis=1))

    def louder_than(self, level: float) -> tuple[int, int] | None:
        """The first and the last millisecond with a peak over ``level`` dBFS; ``None`` when there is none."""
        loud = np.flatnonzero(self.peaks > 10 ** (level / 20))
        return (int(loud[0]), int(loud[-1])) if len(loud) else None


def profiles(samples: Samples, rate: int, bands: Iterable[str]) -> dict[str, Profile]:
    """What a sound is going to be in each band, found in the frequency domain, some seconds at a time."""
    edge = rate // _EDGES_PER_SECOND
    found: dict[str, list[tuple[Curve, Curve]]] = {band: [] for band in bands}
    begin = 0
    while begin < len(samples):
        left = (len(samples) - begin) / rate
        seconds = next((chunk for chunk in _CHUNKS_S if left <= chunk), _CHUNKS_S[-1])
        # more at both ends, where the transform's wrapping round does its harm
        piece = np.zeros(seconds * rate + 2 * edge)
        inner = samples[max(begin - edge, 0) : begin + seconds * rate + edge]
        offset = max(edge - begin, 0)
        piece[offset : offset + len(inner)] = inner
        spectrum = np.fft.rfft(piece)
        for band, curves in found.items():
            curves.append(_curves(spectrum, rate, band, seconds, min(left / seconds, 1.0)))
        begin += seconds * rate
    return {
        band: Profile(np.concatenate([c[0] for c in curves]), np.concatenate([c[1] for c in curves]))
        for band, curves in found.items()
    }


def _curves(
    spectrum: npt.NDArray[np.complex128], rate: int, band: str, seconds: int, share: float
) -> tuple[Curve, Curve]:
    """Power and peaks by milliseconds of a chunk of so many seconds, given as its spectrum; ``share`` is wanted."""
    source = 2 * (len(spectrum) - 1)
    # at the lowest rate that holds the band: shorter transforms, and whole samples in a millisecond
    own = _RATES[band]
    edge = own // _EDGES_PER_SECOND
    count = seconds * own + 2 * edge
    response, weight = _responses(len(spectrum), rate, band)
    part = (spectrum * response)[: count // 2 + 1]  # fewer where the source has less than the band holds
    scale = count / source / _FULL_SCALE
    sound, weighted = (np.fft.irfft(values, count) * scale for values in (part, part * weight[: len(part)]))
    size = own // 1000
    wanted = math.ceil(share * (count - 2 * edge) / size)
    heard = slice(edge, edge + wanted * size)
    peaks = np.abs(sound[heard]).reshape(-1, size).max(axis=1)
    return np.square(weighted[heard]).reshape(-1, size).mean(axis=1), peaks


def _limited(peaks: Curve) -> Curve:
    """The limiter's gain by milliseconds: down within its attack before a peak, up in a line within its release."""
    lost = 1 - np.minimum(1.0, ffmpeg.LIMIT_AT / np.maximum(peaks, 1e-9)).astype(np.float32)
    if lost.max(initial=0.0) <= 0.0:
        return 1.0 - lost.astype(np.float64)
    most, part = lost.copy(), np.empty_like(lost)
    for lag in range(1, ffmpeg.LIMIT_RELEASE_MS):
        share = np.float32(1 - lag / ffmpeg.LIMIT_RELEASE_MS)
        np.maximum(most[lag:], np.multiply(lost[:-lag], share, out=part[lag:]), out=most[lag:])
    for lag in range(1, ffmpeg.LIMIT_DELAY_MS):
        share = np.float32(1 - lag / ffmpeg.LIMIT_DELAY_MS)
        np.maximum(most[:-lag], np.multiply(lost[lag:], share, out=part[lag:]), out=most[:-lag])
    return 1.0 - most.astype(np.float64)


def _gated(powers: Curve) -> float:
    """Integrated loudness of the powers of steps of 100 ms."""
    # one block at least, of which silence is a part if need be
    blocks = np.convolve(np.pad(powers, (0, max(4 - len(powers), 0))), np.full(4, 0.25), "valid")
    blocks = blocks[blocks > 10 ** ((SILENCE_LUFS + 0.691) / 10)]
    if not len(blocks):
        return SILENCE_LUFS
    blocks = blocks[blocks > np.mean(blocks) * 10 ** (_GATE_LU / 10)]
    return -0.691 + 10 * math.log10(float(np.mean(blocks)))


@functools.lru_cache(maxsize=16)
def _responses(count: int, rate: int, band: str) -> tuple[npt.NDArray[np.complex128], Curve]:
    """What a band's filters do by frequency, and the K-weighting's gain, for so many bins from 0 Hz up."""
    hz = np.linspace(0, rate / 2, count)
    return _band_response(hz, band), _k_response(hz, _RATES[band])


def _band_response(hz: Curve, band: str) -> npt.NDArray[np.complex128]:
    if band == "narrow":
        # a Butterworth filter of second order, whose phase makes the peaks higher
        x = hz / 200
        return np.asarray(-(x**2) / (1 - x**2 + 1j * math.sqrt(2) * x) * np.interp(hz, [3320, 3480], [1.0, 0.0]))
    return np.where((hz < 7700) | (band != "wide"), 1.0 + 0j, 0j)


def _k_response(hz: Curve, rate: int) -> Curve:
    """Gain of the K-weighting by frequency, of the two biquads that stand for it at a sampling rate.

    Their analogue prototypes are those that the coefficients in BS.1770 were found to come from (De Man 2014), and
    that meters for rates other than 48 kHz use.
    """
    z = np.exp(-2j * np.pi * np.minimum(hz, rate / 2) / rate)
    k, q = math.tan(math.pi * 1681.974450955533 / rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = (high + band * k / q + k * k + 2 * (k * k - high) * z + (high - band * k / q + k * k) * z**2) / (
        1 + k / q + k * k + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2
    )
    k, q = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    scale = 1 + k / q + k * k
    cut = (1 - 2 * z + z**2) * scale / (scale + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2)
    return np.asarray(np.abs(shelf * cut))
