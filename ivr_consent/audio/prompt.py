"""One prompt, from its recipe to its files: spoken or decoded, evened, levelled, written, and listened to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from ivr_consent.audio import ffmpeg
from ivr_consent.audio.dtmf import keys_heard
from ivr_consent.audio.formats import FORMATS, RATE
from ivr_consent.audio.phrases import ALIKE_LU, Body, balanced, imbalance, question, single, stretched
from ivr_consent.audio.shape import Shaped, shape
from ivr_consent.audio.speech import Speech, Voice, speak
from ivr_consent.audio.spoken import spoken_form
from ivr_consent.audio.store import PARTS, AudioFile, Mark, PromptAudio, Recipe, digest
from ivr_consent.audio.takes import decode
from ivr_consent.core.errors import AudioError
from ivr_consent.core.notice import text_sha256

_BALANCES = 3
_PACES = (1.0, 0.97, 1.03)  # tried in turn until nothing in a prompt sounds like a key


def make(recipe: Recipe, key: str, made: Path, stop: threading.Event) -> PromptAudio:
    """Make all files of one sound in a folder, which is private to it.

    Blocks for seconds; setting ``stop`` ends it. Raises :class:`AudioError`, :class:`OSError`.
    """
    available = ffmpeg.available_formats()
    formats = tuple(form for form in recipe.formats if form in available)
    if recipe.voice is None:
        assert recipe.take is not None
        body = single(decode(recipe.take, made, stop))
    elif recipe.parts:
        spoken = [_speak(part, recipe.voice, stop) for part in recipe.parts]
        body = question(spoken, recipe.parts, made, stop)
    else:
        body = single(_speak(recipe.text, recipe.voice, stop))
    shaped = _quiet_shaped(body, formats, made, stop)
    return PromptAudio(
        key,
        recipe.language,
        text_sha256(recipe.text),
        shaped.samples,
        round(100 * shaped.loudness),
        round(100 * shaped.peak),
        recipe.made_by(),
        tuple(Mark(name, begin, end) for name, (begin, end) in zip(PARTS, shaped.parts, strict=False)),
        MappingProxyType({form: _measured(made, form, shaped.samples) for form in formats}),
    )


def _quiet_shaped(body: Body, formats: Sequence[str], made: Path, stop: threading.Event) -> Shaped:
    """Shape a prompt in which no detector hears a key."""
    heard = []
    for pace in _PACES:
        shaped = _evenly_shaped(body if pace == 1 else stretched(body, pace, stop), formats, made, stop)
        heard = keys_heard(shaped.master)
        if not heard:
            return shaped
    places = ", ".join(f"{key.key} at {key.begin / RATE:.1f} s" for key in heard[:5])
    raise AudioError(
        f"it sounds like keys being pressed ({places}), so it would answer itself. Remove tones from the recording, "
        "word the text differently, or use another voice"
    )


def _evenly_shaped(body: Body, formats: Sequence[str], made: Path, stop: threading.Event) -> Shaped:
    """Shape a prompt in which yes and no, if it has them, are equally loud by measurement."""
    for _ in range(_BALANCES):
        shaped = shape(body, formats, made, stop)
        difference = imbalance(body, shaped.master, shaped.parts)
        if abs(difference) <= ALIKE_LU:
            return shaped
        body = balanced(body, difference)
    raise AudioError(
        f"yes and no cannot be made equally loud: they differ by {abs(difference):.1f} LU. Word them alike, or use "
        "another voice"
    )


def _speak(text: str, voice: Voice, stop: threading.Event) -> Speech:
    return speak(spoken_form(text, voice.language), voice, stop=stop)


def _measured(made: Path, name: str, samples: int) -> AudioFile:
    """Describe a file just made; its length is checked, not assumed."""
    form = FORMATS[name]
    path = made / form.file
    size = path.stat().st_size
    if size != form.bytes(samples):
        raise AudioError(
            f"ffmpeg wrote {size} bytes of {name} where {form.bytes(samples)} belong. Use the distribution's: "
            "apt-get install ffmpeg"
        )
    return AudioFile(form.file, form.factor * samples, size, digest(str(path)))
