"""Measuring: our estimate agrees with ffmpeg's meter, and what is reported of a sound is in it."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from ivr_consent.audio.ffmpeg import telephone_band
from ivr_consent.audio.measure import (
    SILENCE_LUFS,
    Samples,
    decoded,
    envelope,
    integrated,
    loudness,
    peak,
    profiles,
    samples_of,
    silence_at_ends,
)
from ivr_consent.audio.speech import espeak_voice, speak
from ivr_consent.core.errors import AudioError
from tests.audio.support import lufs, power, sine, wav
from tests.tools import need


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("espeak-ng", "ffmpeg")


def speech(
    language: str = "en", text: str = "Nothing is recorded now. Press one if you agree to it."
) -> tuple[Samples, int]:
    spoken = speak(text, espeak_voice(language))
    return samples_of(spoken.pcm), spoken.rate


def test_a_sine_has_the_loudness_that_the_standard_gives_it() -> None:
    """BS.1770: a full-scale sine of 997 Hz in one channel measures -3.01 LKFS; at 48 kHz, where it is defined."""
    assert loudness(sine(997, 48000, 3, 32767), 48000) == pytest.approx(-3.01, abs=0.05)
    assert loudness(sine(997, 48000, 3, 3276.7), 48000) == pytest.approx(-23.01, abs=0.05)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_loudness_is_what_ffmpeg_prints(rate: int) -> None:
    sound = sine(700, rate, 1.5, 4000)
    assert loudness(sound, rate) == pytest.approx(lufs(sound, rate), abs=0.06)


def test_silence_and_nothing_have_the_loudness_of_silence() -> None:
    assert loudness(np.zeros(16000, np.int16), 8000) == SILENCE_LUFS
    assert loudness(np.zeros(0, np.int16), 8000) == SILENCE_LUFS
    assert integrated(np.zeros(16000, np.int16)) == SILENCE_LUFS


def test_a_finished_sound_is_measured_without_a_program() -> None:
    spoken, rate = speech()
    narrow = samples_of(telephone_band(spoken.tobytes(), rate))
    for begin, end in ((0, len(narrow)), (2000, 9000), (5000, 7000)):
        assert integrated(narrow[begin:end]) == pytest.approx(loudness(narrow[begin:end], 8000), abs=0.1)


@pytest.mark.parametrize("language", ["en", "sv", "fr"])
def test_the_loudness_in_the_telephone_band_is_known_beforehand(language: str) -> None:
    spoken, rate = speech(language)
    spoken = (spoken // 4).astype(np.int16)  # far from the limiter
    narrow = samples_of(telephone_band(spoken.tobytes(), rate))
    profile = profiles(spoken, rate, ["narrow"])["narrow"]
    assert profile.loudness() == pytest.approx(loudness(narrow, 8000), abs=0.25)
    assert profile.peak == pytest.approx(peak(narrow), abs=1.0)
    assert profile.loudness(6) - profile.loudness() == pytest.approx(6, abs=0.01)


def test_what_the_limiter_takes_is_known_beforehand() -> None:
    spoken, rate = speech()
    loud = np.clip(spoken.astype(int) * 2, -32768, 32767).astype(np.int16)
    narrow = samples_of(telephone_band(loud.tobytes(), rate))
    profile = profiles(loud, rate, ["narrow"])["narrow"]
    assert profile.loudness(0, limited=False) - profile.loudness() > 1
    assert profile.loudness() == pytest.approx(loudness(narrow, 8000), abs=0.7)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("seconds", [0.05, 4.0, 9.3])
def test_profiles_fit_every_rate_and_length(rate: int, seconds: float) -> None:
    sound = sine(1000, rate, seconds, 3276.8)
    for band, profile in profiles(sound, rate, ["narrow", "wide", "full"]).items():
        assert abs(len(profile.peaks) - 1000 * seconds) <= 2
        assert len(profile.peaks) == len(profile.power)
        if seconds > 1:
            # above 1 kHz the weighting rises, and at low rates a little otherwise than at 48 kHz
            assert profile.loudness() == pytest.approx(-23.0, abs=0.8), band
            assert profile.peak == pytest.approx(-20, abs=0.7), band


def test_peak() -> None:
    assert peak(np.array([0, -32768, 5], np.int16)) == 0
    assert peak(np.array([16384], np.int16)) == pytest.approx(-6.02, abs=0.01)
    assert peak(np.zeros(9, np.int16)) == peak(np.zeros(0, np.int16)) == -120


def test_silence_at_ends() -> None:
    sound = np.concatenate((np.zeros(800), sine(500, 8000, 0.5), np.zeros(2400))).astype(np.int16)
    assert silence_at_ends(sound, 8000) == (0.1, 0.3)
    assert silence_at_ends(sound[800:-2400], 8000) == (0, 0)
    assert silence_at_ends(np.zeros(8000, np.int16), 8000) == (1, 1)
    assert silence_at_ends(np.zeros(0, np.int16), 8000) == (0, 0)
    soft = np.concatenate((np.full(800, 50), sine(500, 8000, 0.5), np.zeros(80))).astype(np.int16)
    assert silence_at_ends(soft, 8000) == (0.1, 0.01)
    assert silence_at_ends(soft, 8000, below=-70) == (0, 0.01)


def test_envelope() -> None:
    sound = np.array([0, 1, -5, 3, 7, -2, 0, 0], np.int16)
    assert envelope(sound, 4) == [(0, 1), (-5, 3), (-2, 7), (0, 0)]
    assert envelope(sound, 1) == [(-5, 7)]
    assert len(envelope(sound, 100)) == 8
    assert envelope(np.zeros(0, np.int16), 5) == []
    assert envelope(sound, 0) == []
    columns = envelope(sine(300, 8000, 2), 97)
    assert len(columns) == 97
    assert all(-12000 <= low < -11000 and 11000 < high <= 12000 for low, high in columns)


def test_envelope_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "prompt.wav").write_bytes(wav(sine(300, 8000, 1), 8000))
    assert envelope(tmp_path / "prompt.wav", 50) == envelope(sine(300, 8000, 1), 50)


def test_files_are_decoded_by_their_name(tmp_path: Path) -> None:
    sound = sine(1000, 16000, 1)
    (tmp_path / "prompt.sln16").write_bytes(sound.tobytes())
    samples, rate = decoded(tmp_path / "prompt.sln16")
    assert rate == 16000
    assert (samples == sound).all()
    with pytest.raises(AudioError, match=r"is not a file of a prompt. Name one of"):
        decoded(tmp_path / "other.wav")
    with pytest.raises(AudioError, match="ffmpeg"):
        decoded(tmp_path / "prompt.ulaw")


@pytest.mark.parametrize("rate", [11025, 16000, 22050, 44100, 48000])
def test_no_aliasing(rate: int) -> None:
    """A 5 kHz tone must not come back as 3 kHz, nor as anything else above -50 dB."""
    inner = samples_of(telephone_band(sine(5000, rate, 1.0).tobytes(), rate))[800:7200]
    assert power(inner, 3000) < 1e-8
    assert np.abs(inner).max() <= 4  # of 12000: -70 dB


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_speech_band_passes(rate: int) -> None:
    full = 0.5 * (12000 / 32768) ** 2
    for hz in (400, 1000, 3000):
        inner = samples_of(telephone_band(sine(hz, rate, 0.5).tobytes(), rate))[800:3200]
        assert abs(10 * np.log10(power(inner, hz) / full)) < 1.0
    for hz in (50, 3900):
        inner = samples_of(telephone_band(sine(hz, rate, 0.5).tobytes(), rate))[800:3200]
        assert power(inner, hz) < full / 100


def test_our_wav_is_one_that_the_standard_library_reads(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(sine(300, 16000, 1), 16000))
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (16000, 16000)
