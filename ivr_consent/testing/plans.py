"""Plans without audio files: for tests of the flow, and for scenarios on the simulated switch."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ivr_consent.config import Facts, Line, Settings
from ivr_consent.core.decision import CallContext
from ivr_consent.core.errors import ConfigurationError
from ivr_consent.core.flow import Keys, Plan, SpokenNotice
from ivr_consent.core.notice import ELEMENTS, RESULTS, text_sha256
from ivr_consent.core.steps import Prompt
from ivr_consent.workshop import Workshop, silent_plans

SAMPLES_PER_MS: Final = 8
FACTS: Final = Facts(
    controller="the Example Company",
    authority="the Data Protection Agency",
    recipients="the agent and the team leader",
    withdrawal_contact="70 10 20 30",
    rights_contact="privacy@example.org",
    web_address="example.org/calls",
)
"""What the notices of a scenario say about its site."""


def silent_prompt(
    prompt_id: str, language: str = "en", *, text: str | None = None, ms: int = 1000, elements: tuple[int, ...] = ()
) -> Prompt:
    """A prompt with a length but no file."""
    said = text if text is not None else f"{prompt_id} in {language}"
    samples = ms * SAMPLES_PER_MS
    return Prompt(
        prompt_id,
        said,
        text_sha256(said),
        f"/nowhere/{language}/{prompt_id}",
        ms,
        frozenset({samples, 2 * samples}),
        text_sha256(f"audio of {said}"),
        elements,
    )


def short_notice(language: str, purposes: Iterable[str], *, segments: int = 2, long: int = 1) -> SpokenNotice:
    """A notice of ``segments`` prompts ``notice-1``, ``notice-2``, … that cover the elements between them."""
    shares = [tuple(sorted(ELEMENTS))[n::segments] for n in range(segments)]
    return SpokenNotice(
        "short",
        1,
        language,
        text_sha256(f"short {language}"),
        text_sha256("short manifest"),
        tuple(silent_prompt(f"notice-{n}", language, elements=share) for n, share in enumerate(shares, 1)),
        MappingProxyType({p: silent_prompt(f"{p}-question", language, elements=(11,)) for p in purposes}),
        tuple(silent_prompt(f"long-{n}", language) for n in range(1, long + 1)),
        MappingProxyType({name: silent_prompt(f"result-{name}", language) for name in RESULTS}),
    )


def short_plan(
    *,
    languages: tuple[str, ...] = ("en",),
    purposes: tuple[str, ...] = ("training",),
    repeats: int = 2,
    segments: int = 2,
    long: int = 1,
    timeout_ms: int = 8000,
) -> Plan:
    """A plan of prompts of one second each; keys 1 yes, 2 no, 3 repeat, 4 long, 5 language."""
    return Plan(
        Keys("1", "2", "3", "4", "5" if len(languages) > 1 else None),
        tuple(short_notice(language, purposes, segments=segments, long=long) for language in languages),
        purposes,
        timeout_ms,
        800,
        repeats,
        30,
    )


def call_context(call_id: str | None = None, *, line: str = "support", subject_ref: str | None = None) -> CallContext:
    """A call of its own random id, unless one is given."""
    return CallContext(
        call_id or secrets.token_hex(16),
        line,
        "simulated",
        "1700000000.1",
        subject_ref,
        "ivr-consent test",
        text_sha256("configuration"),
    )


def plan_without_audio(line: Line) -> Plan:
    """The plan of a line with the shipped notice texts, as long as it takes to say them.

    Raises :class:`ConfigurationError` when the line's notice cannot be spoken.
    """
    settings = Settings(lines={"scenario": line}, facts={"default": FACTS}, source=Path("scenario.toml"))
    draft = Workshop(settings).draft("scenario")
    if draft.errors:
        raise ConfigurationError("scenario", draft.errors)
    return silent_plans(draft, line)[line.languages[0]]
