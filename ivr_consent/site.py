"""A site: the configuration with its notices and their audio, ready to serve calls.

Made whole or not at all and never changed afterwards: a reload makes a new one, and calls under way keep theirs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ivr_consent import __version__
from ivr_consent.audio.build import Manifest, Progress, build_prompts, load_manifest, verify_manifest
from ivr_consent.audio.speech import Voice, espeak_voice
from ivr_consent.config import FACTS, Line, Settings
from ivr_consent.core.errors import AudioError, ConfigurationError, Problem
from ivr_consent.core.flow import Keys, Plan, SpokenNotice
from ivr_consent.core.notice import SEVERAL_LANGUAGES, Notice, Script, Segment, compose, parse_notice, placeholders
from ivr_consent.core.steps import Prompt

MAX_NOTICE_BYTES: Final = 256 * 1024
"""A notice file is a few kilobytes; more is a wrong file."""

MANIFEST: Final = "manifest.json"
"""Beside the audio files of a script."""

KEY_BYTES: Final = 32
"""Of the pseudonyms' key: as long as the digest it is used with."""

SAMPLES_PER_MS: Final = 8
"""Lengths in a manifest are counted at 8 kHz."""


def shipped(name: str) -> Path:
    """A folder that comes with the package (``prompts``, ``dialplan``): inside it, or beside it in a checkout."""
    inside = Path(str(resources.files("ivr_consent"))) / "shipped" / name
    return inside if inside.is_dir() else Path(__file__).resolve().parent.parent / name


@dataclass(frozen=True, slots=True)
class LineState:
    """A line, ready to ask or not: ``plans`` by the language a call begins in; empty when ``problems`` is not."""

    name: str
    plans: Mapping[str, Plan]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """Everything a call needs, of one version of the configuration."""

    settings: Settings
    states: Mapping[str, LineState]
    pseudonym_key: bytes
    recordings: Path
    software: str
    configuration_sha256: str

    def plan(self, line: str, language: str) -> Plan | str:
        """How to ask on a line, beginning in the language closest to ``language``; or why it cannot be asked."""
        state = self.states.get(line)
        if state is None:
            return "unknown_line"
        if not state.plans:
            return "line_not_ready"
        plans = state.plans
        return (
            plans.get(language) or plans.get(language.replace("_", "-").partition("-")[0]) or next(iter(plans.values()))
        )

    def problems(self) -> tuple[Problem, ...]:
        """Why lines cannot be asked on, all of them."""
        return tuple(problem for state in self.states.values() for problem in state.problems)


def load_site(settings: Settings) -> Site:
    """Make the site of a configuration. Lines with problems are in it, and unrecorded.

    Raises :class:`ConfigurationError` when the key of the pseudonyms cannot be read.
    """
    states = {name: _line_state(settings, name, line) for name, line in settings.lines.items()}
    return Site(
        settings,
        MappingProxyType(states),
        pseudonym_key(settings),
        settings.path(settings.recordings.directory),
        f"ivr-consent {__version__}",
        settings.sha256,
    )


def scripts(settings: Settings, line: Line) -> tuple[dict[str, Script], tuple[Problem, ...]]:
    """What is spoken on a line, by language, with every problem that keeps it from being spoken."""
    found: dict[str, Script] = {}
    problems: list[Problem] = []
    for language in line.languages:
        notice, wrong = read_notice(settings, line.notice, language)
        problems += wrong
        if notice is None:
            continue
        facts = settings.facts_for(line, language)
        missing = _missing_facts(notice, line, facts)
        problems += [_missing_fact(settings, notice, name) for name in missing]
        # Each missing fact is told above, once: here it stands for itself, so that all else that is wrong is told too.
        facts |= dict.fromkeys(missing, "-")
        script, lacking = compose(notice, tuple(line.purposes), facts, several_languages=len(line.languages) > 1)
        problems += lacking
        if script is not None and not missing:
            found[language] = script
    return found, tuple(problems)


def _missing_facts(notice: Notice, line: Line, facts: Mapping[str, str]) -> list[str]:
    """Facts that the notice says on this line and that nobody gives, in the configuration's order."""
    several = len(line.languages) > 1
    purposes = [notice.purposes[purpose] for purpose in line.purposes if purpose in notice.purposes]
    texts = [segment.text for segment in notice.segments if several or segment.only_if != SEVERAL_LANGUAGES]
    texts += [text for purpose in purposes for text in (purpose.statement, purpose.question)]
    texts += [*(segment.text for segment in notice.long), *notice.results.values()]
    said = frozenset[str]().union(*map(placeholders, texts))
    return [name for name in FACTS if name in said and not facts.get(name, "").strip()]


def _missing_fact(settings: Settings, notice: Notice, name: str) -> Problem:
    return Problem(
        f"{settings.source}: facts.default.{name}",
        f"not given, and the notice {notice.id!r} says it in {notice.language!r}",
        f"set {name} in [facts.default] (or [facts.{notice.language}]) of {settings.source}",
    )


def read_notice(settings: Settings, notice: str, language: str) -> tuple[Notice | None, tuple[Problem, ...]]:
    """Read one notice file; ``None`` with the problems when it is missing or wrong."""
    directory = settings.prompts.directory
    path = (settings.path(directory) if directory is not None else shipped("prompts")) / language / f"{notice}.toml"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_NOTICE_BYTES + 1)
        document = tomllib.loads(raw[:MAX_NOTICE_BYTES].decode())
    except OSError as error:
        have = sorted(other.parent.name for other in path.parent.parent.glob(f"*/{notice}.toml"))
        remedy = f"write it, or name another language or notice; this notice is there in: {', '.join(have) or 'none'}"
        return None, (Problem(str(path), f"cannot be read ({error.strerror})", remedy),)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return None, (Problem(str(path), f"not TOML in UTF-8: {error}", "correct that place"),)
    parsed, problems = parse_notice(document, str(path))
    if parsed is not None and (parsed.id, parsed.language) != (notice, language):
        found = f"says notice = {parsed.id!r}, language = {parsed.language!r}"
        return None, (Problem(str(path), found, f"a notice stands in LANGUAGE/NOTICE.toml: {language}/{notice}"),)
    return parsed, problems


def audio_directory(settings: Settings, script: Script) -> Path:
    """Where the audio of a script is: a folder named by its texts and voice.

    So other words or another voice never overwrite what a running server plays.
    """
    spoken_by = voice(settings, script.language)
    parts = [f"{s.id}\0{s.text}" for s in script.segments()]
    parts += [spoken_by.name, str(spoken_by.speed), *spoken_by.argv]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return settings.path(settings.prompts.audio) / script.notice / script.language / digest


def voice(settings: Settings, language: str) -> Voice:
    """The configured voice of a language."""
    default = espeak_voice(language)
    configured = settings.prompts.voices.get(language)
    if configured is None:
        return default
    name, speed = configured.voice or default.name, configured.speed or default.speed
    if configured.command is None:
        return Voice(name, language, speed)
    return Voice(name, language, speed, tuple(configured.command), version_argv=())


def build(settings: Settings, progress: Progress | None = None) -> list[tuple[str, str, Manifest]]:
    """Speak every script of every line that lacks audio; line, language and manifest of each.

    ``progress`` gets a prompt's name, how many of its script are done, and of how many. Raises
    :class:`ConfigurationError`, :class:`AudioError`.
    """
    built = []
    for name, line in settings.lines.items():
        spoken, problems = scripts(settings, line)
        if problems:
            raise ConfigurationError(f"line {name}", problems)
        for language, script in spoken.items():
            texts = {segment.id: segment.text for segment in script.segments()}
            directory = audio_directory(settings, script)
            tell = None if progress is None else _prefixed(progress, f"{name} {language}")
            manifest = build_prompts(texts, language, directory, voice=voice(settings, language), progress=tell)
            built.append((name, language, manifest))
    return built


def _prefixed(progress: Progress, prefix: str) -> Progress:
    return lambda prompt, done, total: progress(f"{prefix}: {prompt}", done, total)


def pseudonym_key(settings: Settings) -> bytes:
    """The key of callers' pseudonyms, readable by its owner alone.

    Made with the log: where there is a log already, a missing key is an error, since a new one would make every caller
    of before unrecognisable. Raises :class:`ConfigurationError`.
    """
    path = settings.path(settings.log.pseudonym_key_file)
    try:
        if not settings.path(settings.log.path).exists():
            create_pseudonym_key(path)
        return _key_of(path.read_text())
    except (OSError, ValueError) as error:
        problem = Problem(
            f"{settings.source}: log.pseudonym_key_file",
            f"{path} cannot be used ({error})",
            "it holds 64 hexadecimal digits; restore it from its copy (a new key makes callers unrecognisable)",
        )
        raise ConfigurationError(str(settings.source), (problem,)) from None


def _key_of(text: str) -> bytes:
    key = bytes.fromhex(text.strip())
    if len(key) < KEY_BYTES:
        raise ValueError("too short")
    return key


def create_pseudonym_key(path: Path) -> None:
    """Make the key where there is none. Raises :class:`OSError`."""
    with (
        contextlib.suppress(FileExistsError),
        os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file,
    ):
        file.write(secrets.token_hex(KEY_BYTES) + "\n")


def _line_state(settings: Settings, name: str, line: Line) -> LineState:
    spoken, problems = scripts(settings, line)
    notices: list[SpokenNotice] = []
    wrong = list(problems)
    for language, script in spoken.items():
        directory = audio_directory(settings, script)
        try:
            manifest = load_manifest(directory / MANIFEST)
        except AudioError as error:
            found = f"no audio in {language!r} ({error})"
            wrong.append(Problem(f"line {name}", found, "build it: ivr-consent prompts build"))
            continue
        faults = verify_manifest(manifest, directory)
        wrong += faults
        if not faults:
            notices.append(_spoken(script, manifest, directory))
    if wrong:
        return LineState(name, MappingProxyType({}), tuple(wrong))
    plans = {}
    for turn, notice in enumerate(notices):
        plans[notice.language] = _plan(line, (*notices[turn:], *notices[:turn]))
    return LineState(name, MappingProxyType(plans), ())


def _plan(line: Line, notices: tuple[SpokenNotice, ...]) -> Plan:
    keys = line.keys
    language = keys.language if len(notices) > 1 else None
    return Plan(
        Keys(keys.yes, keys.no, keys.repeat, keys.long, language),
        notices,
        tuple(line.purposes),
        line.timeout_seconds * 1000,
        line.guard_ms,
        line.repeats,
        line.retention_days,
    )


def _spoken(script: Script, manifest: Manifest, directory: Path) -> SpokenNotice:
    def prompt(segment: Segment) -> Prompt:
        audio = manifest.prompts[segment.id]
        return Prompt(
            segment.id,
            segment.text,
            audio.text_sha256,
            str(directory / segment.id),
            audio.samples // SAMPLES_PER_MS,
            frozenset(form.samples for form in audio.files.values()),
            audio.sha256,
            segment.elements,
        )

    return SpokenNotice(
        script.notice,
        script.version,
        script.language,
        script.text_sha256(),
        tuple(prompt(segment) for segment in script.information),
        MappingProxyType({purpose: prompt(segment) for purpose, segment in script.questions.items()}),
        tuple(prompt(segment) for segment in script.long),
        MappingProxyType({name: prompt(segment) for name, segment in script.results.items()}),
    )
