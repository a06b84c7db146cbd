"""The prompt workshop: what administrators write, checked against the configuration, built, and published.

A draft is what the files say now. Callers hear published versions alone (:mod:`ivr_consent.site`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ivr_consent import __version__, unchanged, wording
from ivr_consent import manifest as mf
from ivr_consent.audio import formats, speech
from ivr_consent.audio.build import Progress, build_prompts
from ivr_consent.audio.store import PromptAudio, Recipe, find
from ivr_consent.audio.takes import Take, open_take
from ivr_consent.config import CODECS, FACTS, Line, Settings
from ivr_consent.core.errors import AudioError, ConfigurationError, Problem, SignatureError, VersionError
from ivr_consent.core.flow import Keys, Plan, SpokenNotice
from ivr_consent.core.notice import Notice, Script, Segment, compose, placeholders, plays, text_sha256
from ivr_consent.core.notice_file import parse_notice
from ivr_consent.core.steps import Prompt
from ivr_consent.manifest import Manifest, Spoken, SpokenPrompt
from ivr_consent.pseudonyms import Pseudonyms
from ivr_consent.signing import Signer, Verifier, create_keys, key_pair, public_path, read_plain
from ivr_consent.site import LineState, Site, facts_of, plans_of, shipped
from ivr_consent.toml_lines import TomlLines
from ivr_consent.versions import MAX_NOTICE_BYTES, Versions, make_folders, now

MAX_DOTS: Final = 500
"""In one line of a notice; a text has at most 2000 characters."""

DRAFTS: Final = "drafts"
"""In the store: the signed manifest of what was built last, by line."""

MS_PER_CHARACTER: Final = 60
"""About 16 characters a second: how long a text takes to be said when there is no sound to measure."""

NO_SOUND: Final = "not built"
"""Stands for the digest of a manifest or sound that there is not."""


@dataclass(frozen=True, slots=True)
class Source:
    """One notice file as it was read."""

    path: Path
    data: bytes
    notice: Notice

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Draft:
    """What a line would say by the files as they are: ``scripts`` and ``recipes`` by language.

    ``errors`` keep the line from being built and published, ``advice`` does not.
    """

    line: str
    scripts: Mapping[str, Script]
    sources: Mapping[str, Source]
    recipes: Mapping[str, tuple[Recipe, ...]]
    errors: tuple[Problem, ...]
    advice: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Said:
    """What a line says in one language, and what is wrong with it."""

    script: Script | None
    recipes: tuple[Recipe, ...]
    errors: tuple[Problem, ...]
    advice: tuple[Problem, ...]


class Workshop:
    """The drafts of a configuration. Each notice file is read once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = settings.path(settings.prompts.audio)
        self._sources: dict[tuple[str, str], tuple[Source | None, tuple[Problem, ...]]] = {}
        self._takes: dict[tuple[str, str], Take | AudioError] = {}
        self._drafts: dict[str, Draft] = {}
        self._voices: dict[tuple[str, str | None], speech.Voice] = {}
        self._made: dict[tuple[object, ...], Recipe] = {}
        self._known: dict[tuple[object, ...], _Said] = {}
        self._length: dict[int, int | None] = {}

    # --- reading and checking ----------------------------------------------------------------------------------------

    def folder(self) -> Path:
        """Where the notices are: the site's own, or the shipped ones."""
        directory = self.settings.prompts.directory
        return self.settings.path(directory) if directory is not None else shipped("prompts")

    def source(self, notice: str, language: str) -> tuple[Source | None, tuple[Problem, ...]]:
        """One notice file; ``None`` with the problems when it is missing or wrong."""
        known = self._sources.get((notice, language))
        if known is None:
            known = self._sources[notice, language] = self._read(notice, language)
        return known

    def _read(self, notice: str, language: str) -> tuple[Source | None, tuple[Problem, ...]]:
        path = self.folder() / language / f"{notice}.toml"
        try:
            raw, _ = read_plain(path, MAX_NOTICE_BYTES + 1)
            if len(raw) > MAX_NOTICE_BYTES:
                found = f"larger than {MAX_NOTICE_BYTES // 1024} KiB"
                return None, (Problem(str(path), found, "is it the right file?"),)
            # One spelling of each letter, as in what is signed: else the same text would have two digests.
            text = unicodedata.normalize("NFC", raw.decode("utf-8-sig"))
            crowded = next((n for n, line in enumerate(text.splitlines(), 1) if line.count(".") > MAX_DOTS), None)
            if crowded is not None:  # the reader takes minutes for a key of so many parts
                found = f"more than {MAX_DOTS} full stops in one line"
                return None, (Problem(f"{path}:{crowded}", found, "write the text in several segments"),)
            document = tomllib.loads(text)
        except OSError as error:
            have = sorted(other.parent.name for other in path.parent.parent.glob(f"*/{notice}.toml"))
            remedy = f"write it, or name another language or notice; this notice is there in: {', '.join(have) or '-'}"
            return None, (Problem(str(path), f"cannot be read ({error.strerror})", remedy),)
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            return None, (Problem(f"{path}:{line}", "not UTF-8", "save the file as UTF-8"),)
        except (ValueError, RecursionError) as error:
            return None, (Problem(str(path), f"not TOML: {error}", "correct that place"),)
        parsed, problems = parse_notice(document, str(path), TomlLines(text).line)
        if parsed is None:
            return None, problems
        if (parsed.id, parsed.language) != (notice, language):
            found = f"says notice = {parsed.id!r}, language = {parsed.language!r}"
            return None, (Problem(str(path), found, f"a notice stands in LANGUAGE/NOTICE.toml: {language}/{notice}"),)
        return Source(path, raw, parsed), ()

    def draft(self, name: str) -> Draft:
        """What a line would say now, with all that is wrong with it."""
        known = self._drafts.get(name)
        if known is None:
            known = self._drafts[name] = self._draft(name, self.settings.lines[name])
        return known

    def _draft(self, name: str, line: Line) -> Draft:
        errors: list[Problem] = []
        advice: list[Problem] = []
        scripts: dict[str, Script] = {}
        sources: dict[str, Source] = {}
        recipes: dict[str, tuple[Recipe, ...]] = {}
        for language in line.languages:
            source, wrong = self.source(line.notice, language)
            errors += wrong
            if source is None:
                continue
            said = self._said(line, source)
            errors += said.errors
            advice += said.advice
            if said.script is not None:
                scripts[language], sources[language], recipes[language] = said.script, source, said.recipes
        # lines and languages share texts: what is wrong with one is told once
        return Draft(name, scripts, sources, recipes, tuple(dict.fromkeys(errors)), tuple(dict.fromkeys(advice)))

    def _said(self, line: Line, source: Source) -> _Said:
        """What a line says in one language. Most lines say the same as another: that is looked at once."""
        facts = self.settings.facts_for(line, source.notice.language)
        key = (
            source.path,
            tuple(line.purposes),
            len(line.languages),
            tuple(line.next_menu),
            tuple(line.codecs),
            tuple(sorted(facts.items())),
        )
        known = self._known.get(key)
        if known is None:
            script, errors = self._script(line, source.notice)
            if script is None:
                known = _Said(None, (), errors, ())
            else:
                recipes, wrong = self._recipes(line, source, script)
                rules, lengths = self._rules(line, script.language), self._lengths(recipes)
                worse, advice = wording.wording(source.notice, script, rules, lengths)
                known = _Said(script, recipes, (*errors, *worse, *wrong), advice)
            self._known[key] = known
        return known

    def _script(self, line: Line, notice: Notice) -> tuple[Script | None, tuple[Problem, ...]]:
        facts = facts_of(self.settings, line, notice.language)
        missing = _missing_facts(notice, line, facts)
        problems = [self._missing_fact(notice, fact) for fact in missing]
        # Each missing fact is told above, once: here it stands for itself, so that all else that is wrong is told too.
        facts |= dict.fromkeys(missing, "-")
        script, lacking = compose(notice, tuple(line.purposes), facts, several_languages=len(line.languages) > 1)
        problems += lacking
        return (script if not missing else None), tuple(problems)

    def _missing_fact(self, notice: Notice, name: str) -> Problem:
        source = self.settings.source
        return Problem(
            f"{source}: facts.default.{name}",
            f"not given, and the notice {notice.id!r} says it in {notice.language!r}",
            f"set {name} in [facts.default] (or [facts.{notice.language}]) of {source}",
        )

    def _lengths(self, recipes: Iterable[Recipe]) -> dict[str, int]:
        """Milliseconds of the prompts that are built already, by id."""
        lengths: dict[str, int] = {}
        with contextlib.suppress(AudioError):  # no voice here: then nothing is known, and nothing is wrong either
            for recipe in recipes:
                known = id(recipe)  # one object for all lines, and kept: see _made
                if known not in self._length:
                    audio = find(recipe, self.store)
                    self._length[known] = None if audio is None else audio.samples // mf.SAMPLES_PER_MS
                length = self._length[known]
                if length is not None:
                    lengths[recipe.id] = length
        return lengths

    def _rules(self, line: Line, language: str) -> wording.LineRules:
        keys = line.keys.model_dump()
        authority = facts_of(self.settings, line, language).get("authority", "")
        return wording.LineRules(
            keys,
            len(line.languages),
            line.retention_days,
            authority,
            frozenset(line.next_menu),
            tuple(self.settings.prompts.authorities),
        )

    def _recipes(self, line: Line, source: Source, script: Script) -> tuple[tuple[Recipe, ...], tuple[Problem, ...]]:
        recipes: list[Recipe] = []
        problems: list[Problem] = []
        extra = dict.fromkeys(form for codec in line.codecs for form in CODECS[codec])
        wanted = (*formats.SWITCH_FORMATS[self.settings.switch], *extra)
        for segment in script.segments():
            try:
                take = self._take(source, segment, problems)
                voice = None if take is not None else self.voice(script.language, source.notice.voices.get(segment.id))
                parts = segment.parts if take is None else ()
                # lines share most prompts
                said = (segment.id, script.language, segment.text, voice, take, parts, wanted)
                if said not in self._made:
                    self._made[said] = Recipe(*said)
                recipes.append(self._made[said])
            except (AudioError, KeyError) as error:
                where = source.notice.place(segment.id)
                if isinstance(error, KeyError):
                    found, have = f"a voice {error} that is not configured", ", ".join(self.settings.prompts.voices)
                    problems.append(Problem(where, found, f"write [prompts.voices.NAME]; there are: {have or 'none'}"))
                else:
                    problems.append(Problem(where, *_split(str(error))))
        return tuple(recipes), tuple(problems)

    def _take(self, source: Source, segment: Segment, problems: list[Problem]) -> Take | None:
        """The studio take of a prompt, where the notice names one. One that says other words is a problem."""
        takes = [take for take in source.notice.takes if take.prompt == segment.id]
        for take in takes:
            if take.says != segment.text:
                continue
            known = self._takes.get((str(source.path.parent), take.file))
            if known is None:
                try:
                    known = open_take(take.file, source.path.parent)
                except AudioError as error:
                    known = error
                self._takes[str(source.path.parent), take.file] = known
            if isinstance(known, AudioError):
                raise known
            return known
        if takes:
            said, written = _difference(takes[-1].says, segment.text)
            found = f"its take {takes[-1].file!r} says {said!r} where the notice now says {written!r}"
            remedy = "record it anew and add the take (ivr-consent prompts take), or remove the take"
            problems.append(Problem(source.notice.place(segment.id), found, remedy))
        return None

    def voice(self, language: str, name: str | None = None) -> speech.Voice:
        """The configured voice of a language, or the one of that name. Raises :class:`KeyError`."""
        known = self._voices.get((language, name))
        if known is None:
            known = self._voices[language, name] = self._voice(language, name)
        return known

    def _voice(self, language: str, name: str | None) -> speech.Voice:
        default = speech.espeak_voice(language)
        voices = self.settings.prompts.voices
        configured = voices.get(language) if name is None else voices[name]
        if configured is None:
            return default
        spoken_by, speed = configured.voice or default.name, configured.speed or default.speed
        timeout = float(configured.timeout_seconds)
        if configured.command is None:
            return speech.Voice(spoken_by, language, speed, timeout_s=timeout)
        # a command of the site's: named as it is, or as its table is, never as a voice of espeak-ng's
        called = configured.voice or name or language
        return speech.Voice(called, language, speed, tuple(configured.command), version_argv=(), timeout_s=timeout)

    # --- building ----------------------------------------------------------------------------------------------------

    def build(self, names: Iterable[str], progress: Progress | None = None) -> dict[str, Manifest]:
        """Make every sound that the lines lack, and sign what there is then; the manifests by line.

        Only what changed is built. Raises :class:`ConfigurationError` for a line with errors, :class:`AudioError`.
        """
        names = list(names)
        for name in names:
            self._refuse(self.draft(name))
        recipes = [recipe for name in names for made in self.draft(name).recipes.values() for recipe in made]
        try:
            audio = build_prompts(recipes, self.store, progress=progress)
        except AudioError as error:
            raise AudioError(f"{error}. What was built before is untouched") from None
        private = self.settings.path(self.settings.prompts.signing_key_file)
        create_keys(private)
        by, check = key_pair(private)
        drafts = self.store / DRAFTS
        _make_folder(drafts)
        built = {}
        for name in names:
            made = self._manifest(self.draft(name), audio)
            before = self.built(name, check)
            same = before is not None and before.said() == made.said()
            built[name] = before if same and before is not None else mf.write(made, drafts / name, by)
        if names == list(self.settings.lines):
            self._remember(built, audio, check)
        return built

    def _remember(self, built: Mapping[str, Manifest], audio: Mapping[str, PromptAudio], check: Verifier) -> None:
        """Leave a record of all lines as they are built now: while nothing changes, there is nothing to build."""
        drafts = [self.draft(name) for name in built]
        recipes = {recipe.key(): recipe for draft in drafts for made in draft.recipes.values() for recipe in made}
        sources = [source for draft in drafts for source in draft.sources.values()]
        files = {str(source.path): source.sha256 for source in sources}
        private = self.settings.path(self.settings.prompts.signing_key_file)
        try:
            for path in (private, public_path(private), *(self.store / DRAFTS / name for name in built)):
                files[str(path)] = unchanged.file_digest(path)
            # what was hashed is what we went by: another build may have come between
            if not check.good(b"", key_pair(private)[0].sign(b"")) or any(
                mf.digest_of(self.store / DRAFTS / name) != manifest.sha256 for name, manifest in built.items()
            ):
                return
        except (OSError, SignatureError):
            return
        unchanged.remember(
            unchanged.Built(
                self.settings.source,
                self.settings.sha256,
                self.store,
                len(built),
                len(recipes),
                files,
                sorted({(str(recipe.take.folder), recipe.take.file) for recipe in recipes.values() if recipe.take}),
                [recipe.voice for recipe in recipes.values() if recipe.voice],
                sorted(f"{recipe.language}/{key}" for key, recipe in recipes.items()),
            ),
            lambda: all(find(recipe, self.store) == audio[key] for key, recipe in recipes.items()),
        )

    def built(self, name: str, check: Verifier) -> Manifest | None:
        """The manifest of a line's last build; ``None`` when there is none that is whole."""
        try:
            return mf.read(self.store / DRAFTS / name, check)
        except SignatureError:
            return None

    def _refuse(self, draft: Draft) -> None:
        if draft.errors:
            raise ConfigurationError(f"line {draft.line}", draft.errors)

    def _manifest(self, draft: Draft, audio: Mapping[str, PromptAudio]) -> Manifest:
        line = self.settings.lines[draft.line]
        return Manifest(
            draft.line,
            mf.DRAFT,
            line.notice,
            tuple(line.purposes),
            line.retention_days,
            MappingProxyType(line.keys.model_dump()),
            tuple(self._spoken(draft, language, audio) for language in line.languages),
            f"ivr-consent {__version__}",
            now(),
        )

    def _spoken(self, draft: Draft, language: str, audio: Mapping[str, PromptAudio]) -> Spoken:
        script, source = draft.scripts[language], draft.sources[language]
        sounds = {recipe.id: audio[recipe.key()] for recipe in draft.recipes[language]}
        line = self.settings.lines[draft.line]
        facts = facts_of(self.settings, line, language)

        def prompt(segment: Segment) -> SpokenPrompt:
            return SpokenPrompt(segment.id, segment.text, segment.elements, sounds[segment.id])

        return Spoken(
            language,
            source.sha256,
            MappingProxyType({name: facts[name] for name in sorted(_said(source.notice, line, facts))}),
            tuple(prompt(segment) for segment in script.information),
            MappingProxyType({purpose: prompt(segment) for purpose, segment in script.questions.items()}),
            tuple(prompt(segment) for segment in script.long),
            MappingProxyType({name: prompt(segment) for name, segment in script.results.items()}),
        )

    # --- drafts to be heard ------------------------------------------------------------------------------------------

    def draft_manifest(self, name: str) -> Manifest:
        """A line's draft with its sounds. Raises :class:`ConfigurationError`, :class:`VersionError` (not built)."""
        draft = self.draft(name)
        self._refuse(draft)
        audio: dict[str, PromptAudio] = {}
        for recipes in draft.recipes.values():
            for recipe in recipes:
                found = find(recipe, self.store)
                if found is None:
                    raise VersionError(
                        f"line {name}: {recipe.id!r} in {recipe.language!r} is not built as it is written now; "
                        "build it: ivr-consent prompts build"
                    )
                audio[found.key] = found
        return self._manifest(draft, audio)

    def draft_plans(self, name: str, *, with_sound: bool = True) -> dict[str, Plan]:
        """How a line would ask by its draft, as a trial: such a plan logs nothing and records nothing.

        Without sound, prompts last as long as it takes to say them. Raises as :meth:`draft_manifest`.
        """
        line = self.settings.lines[name]
        if with_sound:
            plans = plans_of(self.draft_manifest(name), line, self.store)
        else:
            draft = self.draft(name)
            self._refuse(draft)
            plans = silent_plans(draft, line)
        return {language: dataclasses.replace(plan, trial=True) for language, plan in plans.items()}

    def draft_site(self, name: str, *, with_sound: bool = True) -> Site:
        """A site with this one line, as its draft is. Raises as :meth:`draft_manifest`."""
        plans = MappingProxyType(self.draft_plans(name, with_sound=with_sound))
        return Site(
            self.settings,
            MappingProxyType({name: LineState(name, plans, ())}),
            Pseudonyms.of_nobody(),
            self.settings.path(self.settings.recordings.directory),
            f"ivr-consent {__version__}",
            self.settings.sha256,
        )

    # --- publishing --------------------------------------------------------------------------------------------------

    def publish(self, name: str, approved_by: str) -> tuple[Manifest, bool]:
        """Freeze a line's draft as its next version, in force from the next reload; and whether it is a new one.

        A draft that says what the version in force says stays that version. Raises :class:`ConfigurationError`,
        :class:`VersionError`, :class:`AudioError`, :class:`SignatureError`.
        """
        draft = self.publishable(name)
        by, check = self.keys()
        sources = {language: source.data for language, source in self.draft(name).sources.items()}
        return self.versions(name).publish(draft, sources, approved_by, by, check)

    def publishable(self, name: str) -> Manifest:
        """A line's draft, which nothing keeps from being published: no error, no damaged sound, key, or history.

        Raises as :meth:`publish`.
        """
        draft = self.draft_manifest(name)
        self._whole(draft)
        self.versions(name).history(self.keys()[1])
        return draft

    def _whole(self, manifest: Manifest) -> None:
        faults = mf.Checked(self.store).faults(manifest)
        if faults:
            raise ConfigurationError(f"line {manifest.line}", faults)

    def rollback(self, name: str, to: int | None, approved_by: str) -> Manifest:
        """Bring an older version of a line back into force, if its sounds are whole. Raises as :meth:`publish`."""
        by, check = self.keys()
        return self.versions(name).rollback(to, approved_by, by, check, self._whole)

    def versions(self, name: str) -> Versions:
        """The published versions of a line."""
        return Versions(self.settings.path(self.settings.prompts.versions), name)

    def keys(self) -> tuple[Signer, Verifier]:
        """The site's keys. Raises :class:`SignatureError`."""
        return key_pair(self.settings.path(self.settings.prompts.signing_key_file))


def silent_plans(draft: Draft, line: Line) -> dict[str, Plan]:
    """The plans of a draft that has no sound: prompts last as long as it takes to say them."""
    notices = [_silent(draft.scripts[language]) for language in line.languages]
    keys = line.keys
    return {
        notice.language: Plan(
            Keys(keys.yes, keys.no, keys.repeat, keys.long, keys.language if len(notices) > 1 else None),
            (*notices[turn:], *notices[:turn]),
            tuple(line.purposes),
            line.timeout_seconds * 1000,
            line.guard_ms,
            line.repeats,
            line.retention_days,
        )
        for turn, notice in enumerate(notices)
    }


def _silent(script: Script) -> SpokenNotice:
    def prompt(segment: Segment) -> Prompt:
        duration = max(MS_PER_CHARACTER * len(segment.text), 1)
        samples = duration * mf.SAMPLES_PER_MS
        digest = text_sha256(segment.text)
        return Prompt(
            segment.id,
            segment.text,
            digest,
            NO_SOUND,
            duration,
            frozenset({samples}),
            text_sha256(NO_SOUND),
            segment.elements,
        )

    return SpokenNotice(
        script.notice,
        mf.DRAFT,
        script.language,
        script.text_sha256(),
        text_sha256(NO_SOUND),
        tuple(prompt(segment) for segment in script.information),
        MappingProxyType({purpose: prompt(segment) for purpose, segment in script.questions.items()}),
        tuple(prompt(segment) for segment in script.long),
        MappingProxyType({name: prompt(segment) for name, segment in script.results.items()}),
    )


def _texts(notice: Notice, line: Line, facts: Mapping[str, str]) -> list[str]:
    """All that the notice says on this line, with its placeholders."""
    several = len(line.languages) > 1
    purposes = [notice.purposes[purpose] for purpose in line.purposes if purpose in notice.purposes]
    texts = [segment.text for segment in notice.segments if plays(segment, facts, several_languages=several)]
    texts += [text for purpose in purposes for text in (purpose.statement, purpose.question)]
    texts += [notice.choice.yes, notice.choice.no, notice.choice.otherwise]
    return [*texts, *(segment.text for segment in notice.long), *notice.results.values()]


def _said(notice: Notice, line: Line, facts: Mapping[str, str]) -> frozenset[str]:
    """Placeholders of all that the notice says on this line."""
    return frozenset[str]().union(*map(placeholders, _texts(notice, line, facts)))


def _missing_facts(notice: Notice, line: Line, facts: Mapping[str, str]) -> list[str]:
    """Facts that the notice says on this line and that nobody gives, in the configuration's order."""
    said = _said(notice, line, facts)
    return [name for name in FACTS if name in said and not facts.get(name, "").strip()]


def _difference(old: str, new: str) -> tuple[str, str]:
    """The words round the first difference of two texts."""
    before, after = old.split(), new.split()
    first = next(
        (n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    begin = max(first - 2, 0)
    return " ".join(before[begin : first + 4]), " ".join(after[begin : first + 4])


def _split(message: str) -> tuple[str, str]:
    """What was found and what to do, of a message of ours."""
    found, _, remedy = message.partition(". ")
    return found, remedy or "correct it"


def _make_folder(folder: Path) -> None:
    try:
        make_folders(folder)
    except OSError as error:
        raise AudioError(f"{folder}: cannot be made ({error.strerror}). Choose a folder you may write to") from None
