"""A site: the configuration with the published versions of its notices, ready to serve calls.

Made whole or not at all and never changed afterwards: a reload makes a new one, and calls under way keep theirs. What
an administrator writes, builds and publishes is in :mod:`ivr_consent.workshop`; a site knows published versions alone.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from ivr_consent import __version__
from ivr_consent.audio.store import PromptAudio
from ivr_consent.config import LanguageBy, Line, Settings
from ivr_consent.core.decision import Reference
from ivr_consent.core.errors import Problem, SignatureError
from ivr_consent.core.flow import Plan, SpokenNotice
from ivr_consent.language import Clues, choose
from ivr_consent.manifest import Checked, Manifest, plan_keys, spoken_notice
from ivr_consent.pseudonyms import Pseudonyms, open_pseudonyms
from ivr_consent.signing import Verifier, verifier
from ivr_consent.versions import Versions


def shipped(name: str) -> Path:
    """A folder that comes with the package (``prompts``, ``dialplan``, ``scenarios``): inside it, or beside it."""
    inside = Path(str(resources.files("ivr_consent"))) / "shipped" / name
    return inside if inside.is_dir() else Path(__file__).resolve().parent.parent / name


@dataclass(frozen=True, slots=True)
class LineState:
    """A line, ready to ask or not: ``plans`` by the language a call begins in; empty when ``problems`` is not.

    ``version`` is the published one in force, ``manifest`` what it is made of, ``folders`` where its sounds are.
    ``damaged``: what was published is not what is on disk, so the line may not go on with what it had either.
    """

    name: str
    plans: Mapping[str, Plan]
    problems: tuple[Problem, ...]
    version: int | None = None
    manifest: Manifest | None = None
    folders: frozenset[Path] = frozenset()
    damaged: bool = False

    @property
    def unpublished(self) -> bool:
        """Whether nothing is wrong but that no version was ever published."""
        return self.version is None and not self.damaged


@dataclass(frozen=True, slots=True)
class Site:
    """Everything a call needs, of one version of the configuration."""

    settings: Settings
    states: Mapping[str, LineState]
    pseudonyms: Pseudonyms
    recordings: Path
    software: str
    configuration_sha256: str

    def plan(self, line: str, clues: Clues) -> Plan | str:
        """How to ask on a line, beginning in the language that the clues choose; or why it cannot be asked."""
        state = self.states.get(line)
        if state is None:
            return "unknown_line"
        if not state.plans:
            return "line_not_ready"
        chosen = choose(self.settings.lines[line].language_by, tuple(state.plans), clues)
        if chosen is None:
            return "no_language"
        return dataclasses.replace(state.plans[chosen.language], language_by=chosen.by)

    def subject(self, number: str | None) -> str | None:
        """A caller's pseudonym; ``None`` for a withheld number."""
        return self.pseudonyms.subject(number)

    def reference(self, call_id: str) -> Reference:
        """What a caller can name a consent by."""
        return self.pseudonyms.reference(call_id)

    def damaged(self, line: str) -> bool:
        """Whether what this line plays has been found changed on disk."""
        state = self.states.get(line)
        return state is not None and state.damaged

    def language_by(self, line: str) -> LanguageBy | None:
        """What chooses the language on a line; ``None`` for an unknown one."""
        configured = self.settings.lines.get(line)
        return None if configured is None else configured.language_by

    def problems(self) -> tuple[Problem, ...]:
        """Why lines cannot be asked on, all of them."""
        return tuple(problem for state in self.states.values() for problem in state.problems)

    def with_states(self, states: Iterable[LineState]) -> Site:
        """The same site with other states of some lines."""
        changed = {state.name: state for state in states}
        return dataclasses.replace(self, states=MappingProxyType({**self.states, **changed}))


def load_site(settings: Settings) -> Site:
    """Make the site of a configuration. Lines with problems are in it, and unrecorded. Reads every sound.

    Raises :class:`ConfigurationError` when the keys of the pseudonyms cannot be read.
    """
    return Site(
        settings,
        MappingProxyType(line_states(settings)),
        open_pseudonyms(settings),
        settings.path(settings.recordings.directory),
        f"ivr-consent {__version__}",
        settings.sha256,
    )


def line_states(settings: Settings, names: Iterable[str] | None = None) -> dict[str, LineState]:
    """The state of the lines named, of all without; each sound is read once."""
    load = _Load(settings)
    return {name: load.state(name, settings.lines[name]) for name in (settings.lines if names is None else names)}


def recheck(settings: Settings, states: Iterable[LineState]) -> list[LineState]:
    """Compare lines that were ready with what is on disk now, byte by byte: the same states, or damaged ones."""
    checked = Checked(settings.path(settings.prompts.audio))
    found = []
    for state in states:
        faults = checked.faults(state.manifest) if state.manifest is not None else ()
        lost = dataclasses.replace(state, plans=MappingProxyType({}), problems=faults, damaged=True)
        found.append(lost if faults else state)
    return found


class _Load:
    """One load of a site: what lines share is read once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = settings.path(settings.prompts.audio)
        self.checked = Checked(self.store)
        self.known: dict[str, PromptAudio] = {}
        self.verifier: Verifier | None = None

    def state(self, name: str, line: Line) -> LineState:
        versions = Versions(self.settings.path(self.settings.prompts.versions), name)
        remedy = "restore it from its copy"
        try:
            if not versions.published_any():
                found = "no version of its notice is published"
                remedy = f"ivr-consent prompts build {name}, listen, and then: ivr-consent prompts publish {name}"
                return LineState(name, MappingProxyType({}), (Problem(f"line {name}", found, remedy),))
            if self.verifier is None:
                self.verifier = verifier(self.settings.path(self.settings.prompts.signing_key_file))
            versions.history(self.verifier)
            remedy += f", or publish anew: ivr-consent prompts publish {name}"  # beside a broken history nobody can
            manifest = versions.in_force(self.verifier, self.known)
        except SignatureError as error:
            return LineState(name, MappingProxyType({}), (Problem(f"line {name}", str(error), remedy),), damaged=True)
        faults = self.checked.faults(manifest)
        folders = frozenset(audio.folder(self.store) for audio in manifest.audio())
        if faults:
            # Published sound that differs is an alarm: building mends the store, and somebody should ask why.
            none: Mapping[str, Plan] = MappingProxyType({})
            return LineState(name, none, faults, manifest.version, manifest, folders, damaged=True)
        problems = disagreements(self.settings, name, line, manifest)
        plans = {} if problems else plans_of(manifest, line, self.store)
        return LineState(name, MappingProxyType(plans), problems, manifest.version, manifest, folders)


def plans_of(manifest: Manifest, line: Line, store: Path) -> dict[str, Plan]:
    """The plans of a manifest, by the language that a call begins in, in the line's order."""
    spoken = {item.language: spoken_notice(manifest, item, store) for item in manifest.languages}
    notices = [spoken[language] for language in line.languages]
    return {
        notice.language: plan_of(manifest, line, (*notices[turn:], *notices[:turn]))
        for turn, notice in enumerate(notices)
    }


def plan_of(manifest: Manifest, line: Line, notices: tuple[SpokenNotice, ...]) -> Plan:
    """How a line asks: what is said comes from the manifest, how patiently from the configuration."""
    return Plan(
        plan_keys(manifest.keys, len(notices)),
        notices,
        manifest.purposes,
        line.timeout_seconds * 1000,
        line.guard_ms,
        line.repeats,
        manifest.retention_days,
    )


def disagreements(settings: Settings, name: str, line: Line, manifest: Manifest) -> tuple[Problem, ...]:
    """Where the configuration is not what the version says to callers: the days, the keys, the facts, the purposes."""
    problems: list[Problem] = []

    def compare(key: str, configured: object, spoken: object) -> None:
        if configured != spoken:
            found = f"the configuration has {_shown(configured)}, version {manifest.version} says {_shown(spoken)}"
            remedy = f"take it back, or: ivr-consent prompts build, listen, ivr-consent prompts publish {name}"
            problems.append(Problem(f"{settings.source}: {key}", found, remedy))

    prefix = f"lines.{name}"
    compare(f"{prefix}.notice", line.notice, manifest.notice)
    compare(f"{prefix}.languages", list(line.languages), [spoken.language for spoken in manifest.languages])
    compare(f"{prefix}.purposes", list(line.purposes), list(manifest.purposes))
    compare(f"{prefix}.retention_days", line.retention_days, manifest.retention_days)
    for function, key in manifest.keys.items():
        compare(f"{prefix}.keys.{function}", getattr(line.keys, function), key)
    for spoken in manifest.languages:
        facts = facts_of(settings, line, spoken.language)
        for fact, value in spoken.facts.items():
            if fact == "retention_days" or fact.startswith("key_"):
                continue  # compared above, once for all languages
            if fact.startswith("code_"):
                compare(f"features.{fact.removeprefix('code_')}", facts.get(fact, ""), value)
                continue
            compare(f"facts.{spoken.language}.{fact}", facts.get(fact, ""), value)
    return tuple(problems)


def facts_of(settings: Settings, line: Line, language: str) -> dict[str, str]:
    """The facts for a line and language, in the one spelling of each letter that is signed (NFC)."""
    facts = settings.facts_for(line, language)
    return {name: unicodedata.normalize("NFC", value) for name, value in facts.items()}


def _shown(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return repr(text if len(text) <= 60 else text[:57] + "...")
