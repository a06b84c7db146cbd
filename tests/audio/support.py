"""What the audio tests share: the programs they need, tones, voices that are a few lines of Python, and decoders."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ivr_consent.audio.formats import FORMATS
from ivr_consent.audio.measure import Samples
from ivr_consent.audio.speech import Voice

LANGUAGES = ("da", "de", "en", "es", "fi", "fr", "nl", "no", "pl", "sv")


def sine(hz: float, rate: int, seconds: float, amplitude: float = 12000) -> Samples:
    times = np.arange(round(rate * seconds)) / rate
    return np.round(amplitude * np.sin(2 * np.pi * hz * times)).astype(np.int16)


def power(samples: Samples, hz: float, rate: int = 8000) -> float:
    """Power of one sine in samples, in units of full scale squared: 0.5 at most."""
    window = np.hanning(len(samples))
    turns = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / rate)
    amplitude = 2 * abs(np.sum(samples / 32768 * window * turns)) / np.sum(window)
    return float(amplitude**2 / 2)


def dbfs(samples: npt.NDArray[np.int16]) -> float:
    return 10 * math.log10(float(np.mean(np.square(samples.astype(float)))) / 32768**2 + 1e-12)


def tone_voice(
    hz: float,
    *,
    rate: int = 8000,
    channels: int = 1,
    seconds: float = 0.8,
    amplitude: float = 3000,
    language: str = "en",
) -> Voice:
    """An engine that answers every text with a tone."""
    code = (
        "import array, math, sys, wave; sys.stdin.read();"
        "hz, rate, channels, seconds, amplitude = (float(x) for x in sys.argv[1:]);"
        "a = array.array('h', (round(amplitude * math.sin(2 * math.pi * hz * (n // int(channels)) / rate))"
        " for n in range(int(rate * seconds) * int(channels))));"
        "w = wave.open('/dev/stdout', 'wb'); w.setparams((int(channels), 2, int(rate), len(a) // int(channels),"
        " 'NONE', '')); w.writeframesraw(a.tobytes()); w.close()"
    )
    argv = (sys.executable, "-c", code, *(str(x) for x in (hz, rate, channels, seconds, amplitude)))
    return Voice("tone", language, argv=argv, version_argv=())


def playing_voice(folder: Path, wavs: dict[str, bytes], *, language: str = "en") -> Voice:
    """An engine that answers each text with the WAV file that is given for it."""
    for number, (text, wav) in enumerate(wavs.items()):
        (folder / f"{number}.wav").write_bytes(wav)
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; text = sys.stdin.read().strip();"
        "found = next(p for p in Path(sys.argv[1]).glob('*.txt') if p.read_text(encoding='utf-8').strip() == text);"
        "sys.stdout.buffer.write(found.with_suffix('.wav').read_bytes())"
    )
    return Voice("played", language, argv=(sys.executable, "-c", code, str(folder)), version_argv=())


def wav(samples: Samples, rate: int) -> bytes:
    data = samples.astype("<i2").tobytes()
    header = b"WAVEfmt " + (16).to_bytes(4, "little") + (1).to_bytes(2, "little") + (1).to_bytes(2, "little")
    header += rate.to_bytes(4, "little") + (2 * rate).to_bytes(4, "little") + b"\x02\x00\x10\x00"
    body = header + b"data" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def ffmpeg(*options: str | Path, data: bytes = b"") -> bytes:
    """Run the program itself, past our own wrapper, as an administrator would."""
    argv = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *map(str, options)]
    return subprocess.run(argv, input=data, capture_output=True, check=True, timeout=60).stdout


def played(path: Path) -> tuple[Samples, int]:
    """A file of the store as it sounds: G.722 and GSM decoded by ffmpeg, the others by their tables."""
    form = next(form for form in FORMATS.values() if form.file == path.name)
    if form.encoder == "pcm_s16le":
        return np.frombuffer(path.read_bytes()[form.header :], "<i2"), form.rate
    if form.muxer in ("mulaw", "alaw"):
        values, _ = mulaw() if form.muxer == "mulaw" else alaw()
        return values[np.fromfile(path, np.uint8)].astype(np.int16), form.rate
    return np.frombuffer(ffmpeg("-f", form.muxer, "-i", path, "-f", "s16le", "-"), "<i2"), form.rate


def lufs(samples: Samples, rate: int) -> float:
    """Integrated loudness from the summary that ffmpeg prints, in which it has one decimal."""
    argv = ["ffmpeg", "-hide_banner", "-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", "-", "-af", "ebur128"]
    said = subprocess.run(
        [*argv, "-f", "null", "-"], input=samples.tobytes(), capture_output=True, check=True, timeout=25
    )
    return float(said.stderr.decode().rpartition("Integrated loudness:")[2].split("I:")[1].split()[0])


def mulaw() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Linear value of every mu-law code (G.711), and the size of the step that it stands for."""
    codes = ~np.arange(256) & 0xFF
    segment = codes >> 4 & 7
    values = ((((codes & 15) << 3) + 0x84) << segment) - 0x84
    return np.where(codes & 0x80, -values, values), np.left_shift(8, segment)


def alaw() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    codes = np.arange(256) ^ 0x55
    segment = codes >> 4 & 7
    values = (codes & 15) << 4
    values = np.where(segment == 0, values + 8, (values + 0x108) << np.maximum(segment - 1, 0))
    return np.where(codes & 0x80, values, -values), np.left_shift(16, np.maximum(segment - 1, 0))
