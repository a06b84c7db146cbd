"""Building prompts: every sound that a set of recipes needs and the store does not have yet, on all processors."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ivr_consent.audio.formats import FORMATS
from ivr_consent.audio.speech import Speech, Voice, speak
from ivr_consent.audio.store import PARTS, AudioFile, Mark, PromptAudio, Recipe, digest, find_key
from ivr_consent.audio.takes import decode
from ivr_consent.audio.workshop import publish, workshop
from ivr_consent.core.errors import AudioError
from ivr_consent.core.notice import text_sha256

if TYPE_CHECKING:
    from ivr_consent.audio.phrases import Body
    from ivr_consent.audio.shape import Shaped

# What makes sound (numpy, pydub, num2words) is imported where it is used: most builds find everything built.

Progress = Callable[[str, int, int], None]
"""Called after each prompt with its id, how many are done, and of how many."""

_PACES = (1.0, 0.97, 1.03)  # tried in turn until nothing in a prompt sounds like a key


def build_prompts(
    recipes: Sequence[Recipe], store: Path, *, progress: Progress | None = None, jobs: int | None = None
) -> dict[str, PromptAudio]:
    """Have every recipe's sound in the store; returns them by the recipes' keys, in the recipes' order.

    Equal recipes are built once, and what is there and looks intact is kept (see :func:`~.store.find`). ``jobs`` is
    how many are made at once, by default as many as there are processors. Sounds appear whole or not at all; nothing in
    the store is changed or removed.

    Blocks. Raises :class:`AudioError`, which names the prompt, on the first failure; then, and on Ctrl-C, running
    programs are ended and nothing half-made stays.
    """
    wanted: dict[str, Recipe] = {}
    for recipe in recipes:
        wanted.setdefault(recipe.key(), recipe)
    store = store.absolute()
    built: dict[str, PromptAudio] = {}
    missing: dict[str, Recipe] = {}
    for key, recipe in wanted.items():
        there = find_key(key, recipe, store)
        if there is None:
            missing[key] = recipe
            continue
        built[key] = there
        if progress is not None:
            progress(recipe.id, len(built), len(wanted))
    if not missing:
        return built
    stop = threading.Event()
    with workshop(store) as work, _pool(min(jobs or len(os.sched_getaffinity(0)), len(missing)), stop) as pool:
        futures: dict[Future[PromptAudio], Recipe] = {
            pool.submit(_build, recipe, key, work, store, stop): recipe for key, recipe in missing.items()
        }
        for future in as_completed(futures):
            audio = future.result()
            built[audio.key] = audio
            if progress is not None:
                progress(futures[future].id, len(built), len(wanted))
    return {key: built[key] for key in wanted}


@contextlib.contextmanager
def _pool(workers: int, stop: threading.Event) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prompt")
    try:
        yield pool
    finally:
        # also on Ctrl-C: running programs are ended, waiting ones never start
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _build(recipe: Recipe, key: str, work: Path, store: Path, stop: threading.Event) -> PromptAudio:
    """Make one sound and put it into the store."""
    made = work / key
    try:
        made.mkdir()
        return publish(_make(recipe, key, made, stop), made, store)
    except AudioError as error:
        raise AudioError(f"prompt {recipe.id!r} ({recipe.language}): {error}") from error
    except OSError as error:
        found = error.strerror or str(error)
        raise AudioError(f"prompt {recipe.id!r} ({recipe.language}): {store}: {found}. Free space there") from error


def _make(recipe: Recipe, key: str, made: Path, stop: threading.Event) -> PromptAudio:
    """Make all files of one sound in a folder."""
    from ivr_consent.audio import ffmpeg, phrases  # noqa: PLC0415 - see above

    available = ffmpeg.available_formats()
    formats = tuple(form for form in recipe.formats if form in available)
    if recipe.voice is None:
        assert recipe.take is not None
        body = phrases.single(decode(recipe.take, made, stop))
    elif recipe.parts:
        spoken = [_speak(part, recipe.voice, stop) for part in recipe.parts]
        body = phrases.question(spoken, recipe.parts, made, stop)
    else:
        body = phrases.single(_speak(recipe.text, recipe.voice, stop))
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
    from ivr_consent.audio.dtmf import RATE, keys_heard  # noqa: PLC0415 - as above
    from ivr_consent.audio.phrases import stretched  # noqa: PLC0415
    from ivr_consent.audio.shape import shape  # noqa: PLC0415

    heard = []
    for pace in _PACES:
        shaped = shape(body if pace == 1 else stretched(body, pace, stop), formats, made, stop)
        heard = keys_heard(shaped.master)
        if not heard:
            return shaped
    places = ", ".join(f"{key.key} at {key.begin / RATE:.1f} s" for key in heard[:5])
    raise AudioError(
        f"it sounds like keys being pressed ({places}), so it would answer itself. Remove tones from the recording, "
        "word the text differently, or use another voice"
    )


def _speak(text: str, voice: Voice, stop: threading.Event) -> Speech:
    from ivr_consent.audio.spoken import spoken_form  # noqa: PLC0415 - as above

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
