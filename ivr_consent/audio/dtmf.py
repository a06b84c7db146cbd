"""Hearing keys in sound, as the switch does: a prompt in which speech sounds like a key would answer itself.

What is played comes back: through a hybrid's echo, a loudspeaker, a conference. The limits are therefore a little wider
than those of Asterisk's own detector (``main/dsp.c``), which follows ITU-T Q.24: whatever it could take for a key at
any position of its blocks is found here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ivr_consent.audio.measure import Samples

ROWS = (697, 770, 852, 941)  # Hz, ITU-T Q.23
COLUMNS = (1209, 1336, 1477, 1633)
KEYS = ("123A", "456B", "789C", "*0#D")

RATE = 8000

_BLOCK = 102  # samples, of Asterisk's blocks
_HOP = 34  # a third of a block: its blocks may begin anywhere
_THIRDS = _BLOCK // _HOP
_LEAST = 10 ** (-46 / 20)  # amplitude of each tone, of full scale; Asterisk's is -45 dBFS
_SHARE = 0.7  # of all power that both tones have at least; Asterisk's is 0.82
_ROW_OVER_COLUMN = 10 ** (10 / 10)  # twist: Asterisk's is 8 dB
_COLUMN_OVER_ROW = 10 ** (7 / 10)  # Asterisk's is 4 dB, 6 when told to be lenient
_OVER_OTHERS = 10 ** (5 / 10)  # over every other tone of its group; Asterisk's is 8 dB
_HARMONIC = 10 ** (-6 / 10)  # a key has no overtones, a voice does
_CHUNK = 4096  # blocks that are looked at together


@dataclass(frozen=True, slots=True)
class Heard:
    """A key that was heard: ``begin`` and ``end`` in samples at 8 kHz."""

    key: str
    begin: int
    end: int


def keys_heard(samples: Samples) -> list[Heard]:
    """Every key in 16-bit samples at 8 kHz that lasts two of Asterisk's blocks (26 ms), in order."""
    found: list[Heard] = []
    codes = _codes(samples)
    # two blocks, one right after the other, with the same key
    for index in np.flatnonzero((codes[:-_THIRDS] >= 0) & (codes[:-_THIRDS] == codes[_THIRDS:])):
        begin, row, column = int(index) * _HOP, int(codes[index]) // 4, int(codes[index]) % 4
        end = begin + 2 * _BLOCK
        if _has_overtones(samples[begin:end], row, column):
            continue
        key = KEYS[row][column]
        if found and found[-1].key == key and begin <= found[-1].end:
            found[-1] = Heard(key, found[-1].begin, end)
        else:
            found.append(Heard(key, begin, end))
    return found


def _codes(samples: Samples) -> npt.NDArray[np.int8]:
    """The key in each block, a third of a block apart: 4 * row + column, or -1."""
    if len(samples) < _BLOCK:
        return np.full(0, -1, np.int8)
    blocks = np.lib.stride_tricks.sliding_window_view(samples, _BLOCK)[::_HOP]
    return np.concatenate([_codes_of(blocks[at : at + _CHUNK]) for at in range(0, len(blocks), _CHUNK)])


def _codes_of(blocks: npt.NDArray[np.int16]) -> npt.NDArray[np.int8]:
    sound = blocks.astype(np.float32) / np.float32(32768)
    powers = _powers(sound, ROWS + COLUMNS)
    total = np.mean(np.square(sound), axis=1)
    rows, columns = np.sort(powers[:, :4], axis=1), np.sort(powers[:, 4:], axis=1)
    row, column = rows[:, 3], columns[:, 3]
    least = _LEAST**2 / 2
    good = (row > least) & (column > least) & (row + column > _SHARE * total)
    good &= (row < column * _ROW_OVER_COLUMN) & (column < row * _COLUMN_OVER_ROW)
    good &= (row > rows[:, 2] * _OVER_OTHERS) & (column > columns[:, 2] * _OVER_OTHERS)
    codes = 4 * np.argmax(powers[:, :4], axis=1) + np.argmax(powers[:, 4:], axis=1)
    return np.where(good, codes, -1).astype(np.int8)


def _powers(sound: npt.NDArray[np.float32], tones: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Power of a sine of each frequency in each row: what Goertzel's recurrence gives, for all rows at once."""
    length = sound.shape[1]
    turns = 2 * np.pi * np.outer(np.arange(length), tones) / RATE
    # not by a matrix product: the library behind it would start a thread for every processor, and have them spin
    parts = (np.cos(turns).astype(np.float32), np.sin(turns).astype(np.float32))
    amplitudes = [np.einsum("ij,jk->ik", sound, part) for part in parts]
    return np.asarray((np.square(amplitudes[0]) + np.square(amplitudes[1])) * np.float32(2 / length**2))


def _has_overtones(samples: Samples, row: int, column: int) -> bool:
    """Whether either tone has a second harmonic, which a voice has and a key has not."""
    sound = samples.astype(np.float32)[np.newaxis, :] / np.float32(32768)
    tones = (ROWS[row], COLUMNS[column], 2 * ROWS[row], 2 * COLUMNS[column])
    low, high, low_second, high_second = (float(power) for power in _powers(sound, tones)[0])
    # twice a row's frequency lies beside a column's, whose power spills over: it is compared with the stronger tone
    return low_second > _HARMONIC * max(low, high) or high_second > _HARMONIC * high
