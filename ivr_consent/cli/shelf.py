"""The draft and the published versions of one line, to be shown, played and compared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import typer

from ivr_consent.core.errors import AudioError, ConfigurationError, ConsentError, Problem
from ivr_consent.core.notice import Notice, placeholders, text_sha256

if TYPE_CHECKING:
    from ivr_consent.audio.store import PromptAudio, Recipe
    from ivr_consent.config import Settings
    from ivr_consent.manifest import Manifest, Spoken, SpokenPrompt
    from ivr_consent.workshop import Workshop


DRAFT: Final = "draft"
CURRENT: Final = "current"
ALL: Final = "all"
RATE: Final = 8000
"""Hz: lengths of prompts are counted at this rate."""


class Shelf:
    """The draft and the published versions of one line. A prompt that is not built has a sound without files."""

    def __init__(self, settings: Settings, line: str) -> None:
        """Raises :class:`typer.BadParameter` for an unknown line, :class:`SignatureError`."""
        if line not in settings.lines:
            raise typer.BadParameter(f"there is no line {line!r}; the lines are: {', '.join(settings.lines)}")
        from ivr_consent.signing import verifier
        from ivr_consent.workshop import Workshop

        self.name = line
        self.line = settings.lines[line]
        self.settings = settings
        self.workshop: Workshop = Workshop(settings)
        self.versions = self.workshop.versions(line)
        self.published_any = self.versions.published_any()
        if self.published_any:
            self.verifier = verifier(settings.path(settings.prompts.signing_key_file))

    def numbers(self) -> list[int]:
        """The published versions. Raises :class:`SignatureError`."""
        history = self.versions.history(self.verifier) if self.published_any else ()
        return sorted({entry.version for entry in history})

    def in_force(self) -> int | None:
        """The version in force. Raises :class:`SignatureError`."""
        entry = self.versions.current(self.verifier) if self.published_any else None
        return None if entry is None else entry.version

    def manifest(self, which: str, *, guess: bool) -> Manifest:
        """What ``draft``, ``current`` or a number stands for.

        ``guess``: a draft's sounds may be unknown where the voice's program is missing. Raises
        :class:`typer.BadParameter`, :class:`ConfigurationError`, :class:`SignatureError`, :class:`AudioError`.
        """
        if which == DRAFT:
            return self._draft(guess=guess)
        if which == CURRENT and self.published_any:
            return self.versions.in_force(self.verifier)
        numbers = self.numbers()
        if which.isdecimal() and int(which) in numbers:
            return self.versions.published(int(which), self.verifier)
        have = ", ".join([*map(str, numbers), *([CURRENT] if numbers else []), DRAFT])
        found = "no published version" if which == CURRENT else f"no version {which!r}"
        raise typer.BadParameter(f"line {self.name} has {found}; there is: {have}")

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the draft."""
        return self.workshop.draft(self.name).errors

    def _draft(self, *, guess: bool) -> Manifest:
        from ivr_consent import manifest as mf

        draft = self.workshop.draft(self.name)
        if not draft.scripts:
            raise ConfigurationError(f"line {self.name}", draft.errors)
        return mf.Manifest(
            self.name,
            mf.DRAFT,
            self.line.notice,
            tuple(self.line.purposes),
            self.line.retention_days,
            MappingProxyType(self.line.keys.model_dump()),
            tuple(self._spoken(language, guess=guess) for language in self.line.languages if language in draft.scripts),
            "",
            "",
        )

    def _spoken(self, language: str, *, guess: bool) -> Spoken:
        from ivr_consent.manifest import Spoken, SpokenPrompt
        from ivr_consent.site import facts_of

        draft = self.workshop.draft(self.name)
        script, source = draft.scripts[language], draft.sources[language]
        recipes = {recipe.id: recipe for recipe in draft.recipes[language]}
        made = {
            segment.id: SpokenPrompt(
                segment.id,
                segment.text,
                segment.elements,
                _sound(recipes.get(segment.id), language, segment.text, self.workshop.store, guess=guess),
            )
            for segment in script.segments()
        }
        facts = facts_of(self.settings, self.line, language)
        said = frozenset[str]().union(
            *(placeholders(text) for prompt, text in _raw_texts(source.notice).items() if prompt in made)
        )
        return Spoken(
            language,
            source.sha256,
            MappingProxyType({name: facts[name] for name in sorted(said & facts.keys())}),
            tuple(made[segment.id] for segment in script.information),
            MappingProxyType({purpose: made[segment.id] for purpose, segment in script.questions.items()}),
            tuple(made[segment.id] for segment in script.long),
            MappingProxyType({name: made[segment.id] for name, segment in script.results.items()}),
        )


def _sound(recipe: Recipe | None, language: str, text: str, store: Path, *, guess: bool) -> PromptAudio:
    """The sound of a prompt of a draft; one without files, as long as it takes to say it, when it is not built."""
    from ivr_consent.audio.store import PromptAudio, find
    from ivr_consent.workshop import MS_PER_CHARACTER

    key, made_by = "", "nothing yet"
    if recipe is not None:
        try:
            key, made_by = recipe.key(), recipe.made_by()
            built = find(recipe, store)
        except AudioError:
            if not guess:
                raise
            built = None
        if built is not None:
            return built
    samples = max(len(text) * MS_PER_CHARACTER, 1) * RATE // 1000
    return PromptAudio(key, language, text_sha256(text), samples, 0, 0, made_by, (), MappingProxyType({}))


def _raw_texts(notice: Notice) -> dict[str, str]:
    """Texts of a notice with their placeholders, by the prompt that says them."""
    choice = " ".join((notice.choice.yes, notice.choice.no, notice.choice.otherwise))
    texts = {segment.id: segment.text for segment in (*notice.segments, *notice.long)}
    for purpose in notice.purposes.values():
        texts[f"{purpose.id}-statement"] = purpose.statement
        texts[f"{purpose.id}-question"] = f"{purpose.question} {choice}"
    return texts | {f"result-{name}": text for name, text in notice.results.items()}


def chosen(shelf: Shelf, manifest: Manifest, language: str | None) -> tuple[Spoken, ...]:
    """The languages that an option names. Raises :class:`typer.BadParameter`, :class:`ConfigurationError`."""
    if language == ALL:
        return manifest.languages
    wanted = manifest.languages[0].language if language is None else language
    if not manifest.version and language is None:
        wanted = shelf.line.languages[0]
    found = tuple(spoken for spoken in manifest.languages if spoken.language == wanted)
    if not found and not manifest.version and wanted in shelf.line.languages:
        raise ConfigurationError(f"line {shelf.name}", shelf.problems())  # too much is wrong with its file
    if not found:
        have = ", ".join(spoken.language for spoken in manifest.languages)
        raise typer.BadParameter(f"{label(manifest)} has no language {wanted!r}; there is: {have}, {ALL}")
    return found


def label(manifest: Manifest) -> str:
    """What a reader calls it."""
    return f"version {manifest.version}" if manifest.version else "the draft"


def until_choice(spoken: Spoken) -> tuple[SpokenPrompt, ...]:
    """All that every caller hears, in order: the notice and the questions."""
    return (*spoken.information, *spoken.questions.values())


def until_first_choice(spoken: Spoken) -> tuple[SpokenPrompt, ...]:
    """What is heard until a caller may first choose: the notice and the first question."""
    return (*spoken.information, *list(spoken.questions.values())[:1])


def duration(prompts: Iterable[SpokenPrompt]) -> float:
    """How long prompts play, one after another."""
    return sum(prompt.audio.samples for prompt in prompts) / RATE


def times(prompts: Iterable[SpokenPrompt], begin: int = 0) -> Iterator[tuple[float, float, SpokenPrompt]]:
    """When each of the prompts begins and ends, in seconds, as they follow each other."""
    for prompt in prompts:
        end = begin + prompt.audio.samples
        yield begin / RATE, end / RATE, prompt
        begin = end


def opened(settings: Settings, line: str, version: int | None, draft: bool) -> tuple[Shelf, Manifest, str]:
    """What the options name; and what is to be said about it."""
    if draft and version is not None:
        raise typer.BadParameter("--draft and --version name two things; give one of them")
    shelf = Shelf(settings, line)
    which = DRAFT if draft or (version is None and not shelf.published_any) else str(version or CURRENT)
    manifest = shelf.manifest(which, guess=True)
    if manifest.version:
        force = ", in force" if manifest.version == shelf.in_force() else ""
        return shelf, manifest, f"{force}, approved by {manifest.approved_by} at {manifest.approved_at}"
    return shelf, manifest, "" if draft else ", since no version of this line is published"


def output_files(path: Path, spoken: Sequence[Spoken], *, several: bool, force: bool) -> dict[str, Path]:
    """The file of each language. Raises :class:`ConsentError` when one is there and may not be written over."""
    targets = {
        item.language: path.with_name(f"{path.stem}-{item.language}{path.suffix}") if several else path
        for item in spoken
    }
    for target in targets.values():
        if not force and os.path.lexists(target):
            raise ConsentError(f"{target} is there already; name another file, or add --force")
    return targets


def write_file(path: Path, data: bytes, *, force: bool) -> None:
    """Write a file, over another one only by force. Raises :class:`ConsentError`."""
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(data)
    except OSError as error:
        raise ConsentError(f"{path} cannot be written ({error.strerror}); name another file") from None


def described(shelf: Shelf, manifest: Manifest) -> dict[str, Any]:
    """Which line and version, as plain values."""
    return {
        "line": shelf.name,
        "version": manifest.version or None,
        "draft": not manifest.version,
        "approved_by": manifest.approved_by,
        "approved_at": manifest.approved_at,
    }
