"""The formats that a prompt is written in: what each file is called, how ffmpeg makes it, and its exact length.

All of a prompt's files last equally long, a multiple of 20 ms. Asterisk counts what it played (``endpos``) in the
units that its format modules count in, and those differ: :attr:`Format.factor` is how many of them one sample at
8 kHz makes. For G.722 these are the samples of its sound, 16 000 a second (seen with 16.28 and 22.10), although
64 kbit/s make 8000 bytes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

RATE = 8000
"""Hz: lengths of prompts are counted in samples at this rate, whatever the format."""

FRAME = 160
"""Samples at :data:`RATE` in 20 ms, one frame of GSM and of most codecs: every prompt has a multiple of it."""

BAND_RATES: Mapping[str, int] = MappingProxyType({"narrow": 8000, "wide": 16000, "full": 48000})
"""The sounds that files are made from, and their rates in Hz."""

WAV_HEADER = 44
"""Bytes: the plain header, all that Asterisk's reader copes with."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format: ``file`` is the file's name in a prompt's folder.

    ``band`` is which of the three sounds of :data:`BAND_RATES` it holds; ``narrow`` is the telephone band. ``encoder``
    and ``muxer`` are ffmpeg's names, ``rate`` the sound's in Hz. A file of n samples at 8 kHz has ``factor`` * n
    of them in the switch's count, and ``header`` + n * ``numerator`` / ``denominator`` bytes. ``gain`` gives
    back in dB what the coding takes.
    """

    file: str
    band: str
    encoder: str
    muxer: str
    rate: int
    factor: int
    numerator: int
    denominator: int = 1
    header: int = 0
    gain: float = 0.0

    def bytes(self, samples: int) -> int:
        """Length of the file of a prompt of so many samples at 8 kHz, a multiple of :data:`FRAME`."""
        return self.header + samples * self.numerator // self.denominator


def _linear(rate: int) -> Format:
    name = "prompt.sln" if rate == RATE else f"prompt.sln{rate // 1000}"
    return Format(name, _band(rate), "pcm_s16le", "s16le", rate, rate // RATE, 2 * rate // RATE)


def _wav(rate: int) -> Format:
    # Asterisk reads .wav at 8 kHz only; FreeSWITCH reads any rate, and is told the name with the rate in it
    name = "prompt.wav" if rate == RATE else f"prompt-{rate}.wav"
    return Format(name, _band(rate), "pcm_s16le", "wav", rate, rate // RATE, 2 * rate // RATE, header=WAV_HEADER)


def _band(rate: int) -> str:
    return "narrow" if rate == 8000 else "wide" if rate == 16000 else "full"


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "ulaw": Format("prompt.ulaw", "narrow", "pcm_mulaw", "mulaw", RATE, 1, 1),
        "alaw": Format("prompt.alaw", "narrow", "pcm_alaw", "alaw", RATE, 1, 1),
        "gsm": Format("prompt.gsm", "narrow", "libgsm", "gsm", RATE, 1, 33, FRAME, gain=0.7),  # it takes 0.8 to 1.2
        "g722": Format("prompt.g722", "wide", "g722", "g722", 16000, 2, 1),
        "sln": _linear(8000),
        "sln16": _linear(16000),
        "sln32": _linear(32000),
        "sln48": _linear(48000),
        "wav": _wav(8000),
        "wav16": _wav(16000),
        "wav32": _wav(32000),
        "wav48": _wav(48000),
    }
)
"""Every format by the name that a configuration gives it."""

STANDARD_FORMATS = ("ulaw", "alaw", "gsm", "g722", "sln16", "wav")
"""What is built unless something else is asked for: what calls on the usual codecs play without transcoding."""

FREESWITCH_FORMATS = ("wav", "wav16", "wav32", "wav48")
"""What FreeSWITCH plays: one file for each rate that a call can have."""

SWITCH_FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"asterisk": STANDARD_FORMATS, "freeswitch": FREESWITCH_FORMATS}
)
"""What is built, by the kind of switch."""

OPTIONAL_FORMATS = frozenset({"gsm"})
"""Left out where this machine's ffmpeg cannot write them: a switch then transcodes another file."""
