"""Phrases: what was spoken, without the silence round it, made alike where a choice must not lean, and joined."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr_consent.audio import ffmpeg
from ivr_consent.audio.measure import TARGET_LUFS, Profile, Samples, integrated, profiles, samples_of
from ivr_consent.audio.speech import Speech
from ivr_consent.core.errors import AudioError

with warnings.catch_warnings():
    # pydub as released has invalid escapes in its patterns, and warns when it does not find the ffmpeg
    # that it is never asked to run here
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.silence import detect_leading_silence

PAUSE_MS = 350  # between a question's parts, as long as espeak-ng's own pause between sentences
MIN_SPEECH_S = 0.1
MAX_STRETCH = 0.15  # of a phrase's length: more is heard as hurry or drawl
ALIKE = 0.03  # of the length: nobody hears less
ALIKE_LU = 0.5

_ROUNDS = 4
_LAST_MS = 3000
_SILENCE_DB = 34.0  # so far below the mean level lies silence: what an s leaves in the telephone band is above


@dataclass(frozen=True, slots=True)
class Body:
    """Speech as 16-bit mono PCM, and where in it each part lies, in its own samples."""

    pcm: bytes
    rate: int
    parts: tuple[tuple[int, int], ...]

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2


def single(speech: Speech) -> Body:
    """One stretch of speech without the silence at its ends. Raises :class:`AudioError` when there is none."""
    audio = _trimmed(speech)
    return Body(bytes(audio.raw_data), int(audio.frame_rate), ())


def question(spoken: Sequence[Speech], texts: Sequence[str], work: Path, stop: threading.Event | None = None) -> Body:
    """Join a question's four parts with equal pauses, yes and no brought to the same length and loudness.

    Raises :class:`AudioError` when they differ so much that evening them would be heard.
    """
    parts = [_trimmed(speech) for speech in spoken]
    rate = int(parts[0].frame_rate)
    if any(part.frame_rate != rate for part in parts):
        raise AudioError("the voice spoke at two sampling rates. Use another voice")
    yes, no = _as_long(parts[1], parts[2], texts[1:3], work, stop)
    parts[1:3] = _as_loud([parts[0], yes, no, parts[3]])
    pause = AudioSegment.silent(PAUSE_MS, frame_rate=rate)
    joined, bounds = parts[0], [(0, int(parts[0].frame_count()))]
    for part in parts[1:]:
        joined += pause
        begin = int(joined.frame_count())
        joined += part
        bounds.append((begin, int(joined.frame_count())))
    if joined.duration_seconds > ffmpeg.MAX_PROMPT_S:
        raise AudioError(f"{joined.duration_seconds:.0f} s were spoken. Shorten the question")
    return Body(bytes(joined.raw_data), rate, tuple(bounds))


def imbalance(body: Body, heard: Samples, parts: Sequence[tuple[int, int]]) -> float:
    """How many LU yes is louder than no in a finished sound at 8 kHz; 0 for what is no question."""
    if not body.parts:
        return 0.0
    yes, no = (integrated(heard[begin:end]) for begin, end in parts[1:3])
    return yes - no


def balanced(body: Body, difference: float) -> Body:
    """The same question, yes brought down by so many LU, or no if that is negative."""
    begin, end = body.parts[1 if difference > 0 else 2]
    pcm = bytearray(body.pcm)
    part = AudioSegment(data=bytes(pcm[2 * begin : 2 * end]), sample_width=2, frame_rate=body.rate, channels=1)
    pcm[2 * begin : 2 * end] = (part - abs(difference)).raw_data
    return Body(bytes(pcm), body.rate, body.parts)


def stretched(body: Body, pace: float, stop: threading.Event | None = None) -> Body:
    """The same speech at another pace: 1.03 is 3 % faster, of the same pitch."""
    options = [*ffmpeg.pcm_input(body.rate), "-af", f"atempo={pace}", "-f", "s16le", *ffmpeg.TO_PIPE]
    pcm = ffmpeg.run(options, body.pcm, stop=stop)
    length = len(pcm) // 2
    ratio = length / body.samples
    return Body(pcm, body.rate, tuple((round(a * ratio), min(round(b * ratio), length)) for a, b in body.parts))


def _trimmed(speech: Speech) -> Any:
    """As a mono pydub segment without the silence at both ends."""
    audio = AudioSegment(data=speech.pcm, sample_width=2, frame_rate=speech.rate, channels=speech.channels)
    audio = audio.set_channels(1)
    if audio.max == 0 or audio.dBFS < -70:
        raise AudioError("nothing was said, there is only silence. Write words that the voice speaks, or record again")
    threshold = audio.dBFS - _SILENCE_DB
    begin = detect_leading_silence(audio, threshold)
    # of the last seconds alone, since it is turned round for that: a long recording is not copied once more
    last = audio[max(len(audio) - _LAST_MS, 0) :]
    end = detect_leading_silence(last.reverse(), threshold)
    if end >= len(last):
        end = detect_leading_silence(audio.reverse(), threshold)
    audio = audio[begin : len(audio) - end]
    if audio.duration_seconds < MIN_SPEECH_S:
        raise AudioError(f"only {audio.duration_seconds:.2f} s were spoken. Write words that the voice speaks")
    if audio.duration_seconds > ffmpeg.MAX_PROMPT_S:
        raise AudioError(f"{audio.duration_seconds:.0f} s were spoken. Split the segment")
    return audio


def _as_long(yes: Any, no: Any, texts: Sequence[str], work: Path, stop: threading.Event | None) -> tuple[Any, Any]:
    """Both stretched or pressed to their mean length; the pitch stays."""
    lengths = (int(yes.frame_count()), int(no.frame_count()))
    mean = sum(lengths) / 2
    if abs(lengths[0] - lengths[1]) <= ALIKE * min(lengths) / 2:
        return yes, no
    paces = [length / mean for length in lengths]
    if max(abs(1 / pace - 1) for pace in paces) > MAX_STRETCH:
        seconds = [length / yes.frame_rate for length in lengths]
        raise AudioError(
            f"yes and no are not equally long: {texts[0]!r} takes {seconds[0]:.1f} s, {texts[1]!r} {seconds[1]:.1f} s. "
            "Word them alike, so that neither is easier to choose"
        )
    # both in one run: one comes by the pipe, the other in a file
    graph = (
        f"[0:a]asplit=2[a][b];[a]atrim=end_sample={lengths[0]},atempo={paces[0]:.6f}[yes];"
        f"[b]atrim=start_sample={lengths[0]},asetpts=PTS-STARTPTS,atempo={paces[1]:.6f}[no]"
    )
    options = [*ffmpeg.pcm_input(yes.frame_rate), "-filter_complex", graph]
    options += ["-map", "[yes]", "-f", "s16le", *ffmpeg.TO_PIPE, "-map", "[no]", "-f", "s16le", "file:no"]
    made = ffmpeg.run(options, bytes((yes + no).raw_data), stop=stop, folder=work)
    other = (work / "no").read_bytes()
    (work / "no").unlink()
    if not made or not other or abs(len(made) - len(other)) > ALIKE * min(len(made), len(other)):
        raise AudioError(
            f"{texts[0]!r} and {texts[1]!r} cannot be made equally long. Word them alike, in the same number of words"
        )
    return tuple(AudioSegment(data=pcm, sample_width=2, frame_rate=yes.frame_rate, channels=1) for pcm in (made, other))


def _as_loud(parts: Sequence[Any]) -> tuple[Any, Any]:
    """Yes and no, the louder one brought down to the other: upwards it could clip.

    They are compared as they are going to be, since the limiter takes more from one than from the other.
    """
    yes, no = _profile(parts[1]), _profile(parts[2])
    gain = TARGET_LUFS - _profile(sum(parts[1:], parts[0])).loudness()
    down = [0.0, 0.0]
    for _ in range(_ROUNDS):
        difference = yes.loudness(gain - down[0]) - no.loudness(gain - down[1])
        down[0 if difference > 0 else 1] += abs(difference)
    least = min(down)
    return parts[1] - (down[0] - least), parts[2] - (down[1] - least)


def _profile(audio: Any) -> Profile:
    """What is to come of a stretch of speech in the telephone band."""
    return profiles(samples_of(bytes(audio.raw_data)), int(audio.frame_rate), ["narrow"])["narrow"]
