"""Building prompts: every sound that a set of recipes needs and the store does not have yet, on all processors."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from ivr_consent.audio.staging import publish, staging
from ivr_consent.audio.store import PromptAudio, Recipe, find_key
from ivr_consent.core.errors import AudioError

# What makes sound (numpy, pydub, num2words) is imported when there is some to make: most builds find everything built.

_WAITING = 1  # worker more than there are processors: one usually waits for the disk to have written

_LOOK_S = 0.2  # a Ctrl-C in the moment before a wait begins is noticed when that ends: so no wait is a long one

Progress = Callable[[str, int, int], None]
"""Called after each prompt with its id, how many are done, and of how many."""


def build_prompts(
    recipes: Sequence[Recipe], store: Path, *, progress: Progress | None = None, jobs: int | None = None
) -> dict[str, PromptAudio]:
    """Have every recipe's sound in the store; returns them by the recipes' keys, in the recipes' order.

    Equal recipes are built once, and what is there and looks intact is kept (see :func:`~.store.find`). ``jobs`` is
    how many are made at once, by default one more than there are processors. Sounds appear whole or not at all;
    nothing in the store is changed or removed, but a damaged sound is moved aside.

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
    workers = min(jobs or len(os.sched_getaffinity(0)) + _WAITING, len(missing))
    with staging(store) as work, _pool(workers, stop) as pool:
        futures: dict[Future[PromptAudio], Recipe] = {
            pool.submit(_build, recipe, key, work, store, stop): recipe for key, recipe in missing.items()
        }
        pending = set(futures)
        while pending:
            done, pending = wait(pending, _LOOK_S, FIRST_COMPLETED)
            for future in done:
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
        from ivr_consent.audio.prompt import make  # noqa: PLC0415 - see above

        return publish(make(recipe, key, made, stop), made, store)
    except AudioError as error:
        raise AudioError(f"prompt {recipe.id!r} ({recipe.language}): {error}") from error
    except OSError as error:
        found = error.strerror or str(error)
        raise AudioError(f"prompt {recipe.id!r} ({recipe.language}): {store}: {found}. Free space there") from error
