"""The detector of keys: it hears what a switch would take for a key, and nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from ivr_consent.audio.dtmf import COLUMNS, KEYS, ROWS, keys_heard
from ivr_consent.audio.measure import Samples, samples_of
from ivr_consent.audio.speech import espeak_voice, speak
from tests.audio.support import ffmpeg, sine
from tests.tools import need

PAIRS = [(row, column) for row in range(4) for column in range(4)]


def key(
    row: float,
    column: float,
    *,
    level: float = -10.0,
    twist: float = 0.0,
    seconds: float = 0.05,
    rng: np.random.Generator | None = None,
) -> npt.NDArray[np.float64]:
    """A pair of tones: the stronger one's peak in dBFS, and how many dB the row is above the column."""
    times = np.arange(round(8000 * seconds)) / 8000
    phases = rng.uniform(0, 2 * np.pi, 2) if rng is not None else (0.0, 1.0)
    strongest = 10 ** (level / 20) / 2
    low, high = strongest * 10 ** (min(twist, 0) / 20), strongest * 10 ** (-max(twist, 0) / 20)
    return np.asarray(
        low * np.sin(2 * np.pi * row * times + phases[0]) + high * np.sin(2 * np.pi * column * times + phases[1])
    )


def heard(sound: npt.NDArray[np.float64]) -> list[str]:
    padded = np.concatenate((np.zeros(700), sound, np.zeros(900)))
    return [found.key for found in keys_heard(samples(padded))]


def samples(sound: npt.NDArray[np.float64]) -> Samples:
    return np.clip(np.round(sound * 32768), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize(("row", "column"), PAIRS)
def test_every_key_is_heard_loud_and_soft_with_twist_and_noise(row: int, column: int) -> None:
    """R4: what a caller's telephone could take for a key is found in a prompt before a caller hears it."""
    rng = np.random.default_rng(row * 4 + column)
    for level, twist, noise in itertools.product((-30, -20, -10, -3), (-4, 0, 4, 8), (15, 30)):
        sound = key(ROWS[row], COLUMNS[column], level=level, twist=twist, rng=rng)
        sound += rng.normal(0, np.sqrt(np.mean(sound**2) * 10 ** (-noise / 10)), len(sound))
        assert heard(sound) == [KEYS[row][column]], (level, twist, noise)


@pytest.mark.parametrize("off", [-0.015, 0.015])
def test_keys_off_pitch_as_far_as_the_standard_allows(off: float) -> None:
    for row, column in PAIRS:
        assert heard(key(ROWS[row] * (1 + off), COLUMNS[column] * (1 + off))) == [KEYS[row][column]]


def test_where_keys_lie_is_told() -> None:
    gap = np.zeros(800)
    sound = np.concatenate((gap, key(770, 1336), gap, key(941, 1477, seconds=0.2), gap))
    five, hash_key = keys_heard(samples(sound))
    assert (five.key, hash_key.key) == ("5", "#")
    assert abs(five.begin - 800) < 102
    assert abs(five.end - 1200) < 102
    assert abs(hash_key.begin - 2000) < 102
    assert abs(hash_key.end - 3600) < 102


def test_the_same_key_pressed_twice_is_two_keys() -> None:
    sound = np.concatenate((key(697, 1209), np.zeros(400), key(697, 1209)))
    assert heard(sound) == ["1", "1"]


def test_a_key_in_the_middle_of_speech_is_heard() -> None:
    need("espeak-ng", "ffmpeg")
    spoken = speak("This call is not being recorded.", espeak_voice("en"))
    narrow = samples_of(
        ffmpeg(
            "-f",
            "s16le",
            "-ar",
            str(spoken.rate),
            "-ac",
            "1",
            "-i",
            "-",
            "-ar",
            "8000",
            "-f",
            "s16le",
            "-",
            data=spoken.pcm,
        )
    )
    assert keys_heard(narrow) == []
    mixed = narrow.copy()
    mixed[4000:4800] = samples(key(852, 1209, seconds=0.1))
    assert [found.key for found in keys_heard(mixed)] == ["7"]


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.008])
def test_what_is_too_short_for_a_key_is_none(seconds: float) -> None:
    assert heard(key(697, 1209, seconds=seconds)) == []
    assert keys_heard(samples(key(697, 1209, seconds=seconds))) == []


def test_no_key_in_single_tones_and_sweeps() -> None:
    for hz in (*ROWS, *COLUMNS, 425, 440, 1100, 2100):
        assert keys_heard(sine(hz, 8000, 0.3)) == []
    times = np.arange(8000 * 30) / 8000
    for amplitude in (0.02, 0.3, 1.0):
        sweep = amplitude * np.sin(2 * np.pi * (100 * times + 3700 / 60 * times**2))
        assert keys_heard(samples(sweep)) == []


def test_no_key_in_tones_of_the_network() -> None:
    for pair in ((350, 440), (440, 480), (480, 620), (1400, 2060), (697, 770), (1209, 1336)):
        assert heard(key(*pair, seconds=0.4)) == []


def test_no_key_in_a_voice_whose_formants_lie_on_a_pair() -> None:
    """Harmonics of a pitch near 110 Hz, strongest at 770 and 1320 Hz: the overtones give it away."""
    times = np.arange(8000) / 8000
    sound = np.zeros(len(times))
    for number in range(1, 30):
        hz = 110 * number
        strength = np.exp(-(((hz - 770) / 120) ** 2)) + np.exp(-(((hz - 1320) / 150) ** 2)) + 0.1
        sound += 0.1 * strength * np.sin(2 * np.pi * hz * times + number)
    assert keys_heard(samples(sound)) == []


@pytest.mark.parametrize(("row", "column"), PAIRS)
def test_a_pair_with_overtones_is_a_voice(row: int, column: int) -> None:
    """Key pads make pure tones; a voice that hits both has their second harmonics too."""
    pure = key(ROWS[row], COLUMNS[column], seconds=0.1)
    overtone = 10 ** (-10 / 20) / 2 * 0.7 * np.sin(2 * np.pi * 2 * COLUMNS[column] * np.arange(len(pure)) / 8000)
    assert heard(pure) == [KEYS[row][column]]
    assert heard(pure + overtone) == []


def test_no_key_in_noise_music_and_silence() -> None:
    rng = np.random.default_rng(7)
    assert keys_heard(samples(rng.normal(0, 0.2, 8000 * 30))) == []
    assert keys_heard(np.zeros(8000, np.int16)) == []
    chords = [
        sum(0.1 * np.sin(2 * np.pi * hz * np.arange(2400) / 8000) for hz in chord)
        for chord in ((262, 330, 392), (294, 370, 440), (523, 659, 784, 1047), (700, 880, 1047, 1319))
    ]
    assert keys_heard(samples(np.concatenate(chords))) == []
