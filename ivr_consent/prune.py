"""Removes what nobody can need any more: versions that no decision names, and sounds that no version names.

A version is kept while it is in force, while it is the one to go back to, while a running service plays it, and as
long as any decision in the log names it: with the decision, it is the proof of what the caller heard.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ivr_consent.core.errors import VersionError
from ivr_consent.workshop import DRAFTS, Workshop


@dataclass(frozen=True, slots=True)
class Prunable:
    """What could go: folders of versions, and of sounds; ``bytes`` of both."""

    versions: tuple[Path, ...]
    sounds: tuple[Path, ...]
    bytes: int


def prunable(workshop: Workshop, named: Mapping[str, Iterable[int]], played: Mapping[str, int]) -> Prunable:
    """Find what could go. ``named``: versions that decisions name, by line; ``played``: what a service plays now.

    Raises :class:`SignatureError` when a version that stays cannot be read: then nothing can be told.
    """
    settings = workshop.settings
    root = settings.path(settings.prompts.versions)
    lines = sorted({*settings.lines, *(path.name for path in _folders(root))})
    kept_sounds: set[Path] = set()
    going: list[Path] = []
    for line in lines:
        versions = workshop.versions(line)
        if not versions.published_any():
            continue
        _, check = workshop.keys()
        history = versions.history(check)
        keep = {*named.get(line, ()), *([played[line]] if line in played else ())}
        in_order = [entry.version for entry in history]
        keep |= {*in_order[-1:], *[version for version in in_order if version != in_order[-1]][-1:]}
        for entry in history:
            if entry.version in keep and entry.action == "published":
                manifest = versions.manifest(entry, check)
                kept_sounds |= {audio.folder(workshop.store) for audio in manifest.audio()}
        going += [path for path in _folders(versions.folder) if path.name.isdecimal() and int(path.name) not in keep]
    for name in settings.lines:
        for recipes in workshop.draft(name).recipes.values():
            kept_sounds |= {workshop.store / recipe.language / recipe.key() for recipe in recipes}
    sounds = [
        path
        for language in _folders(workshop.store)
        if language.name != DRAFTS and not language.name.startswith(".")
        for path in _folders(language)
        if path not in kept_sounds and not path.name.startswith(".")
    ]
    return Prunable(tuple(going), tuple(sounds), sum(map(_size, (*going, *sounds))))


def prune(found: Prunable) -> None:
    """Remove it. The history of a line keeps naming what was once published. Raises :class:`VersionError`."""
    for path in (*found.versions, *found.sounds):
        try:
            # Out of the way in one step first: a half-removed sound must not be taken for one.
            aside = path.with_name(f".gone-{path.name}")
            path.rename(aside)
            shutil.rmtree(aside)
        except FileNotFoundError:
            continue  # somebody else prunes too
        except OSError as error:
            raise VersionError(f"{path}: cannot be removed ({error.strerror}); see who may write there") from None


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
