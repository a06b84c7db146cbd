"""A configuration in force with prompts of a fraction of a second: real files of silence, no speech.

For tests and benchmarks of the server, which measures how long a prompt plays.
"""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ivr_consent.core.decision import Reference
from ivr_consent.core.flow import Keys, Plan, SpokenNotice
from ivr_consent.core.notice import ELEMENTS, RESULTS, text_sha256
from ivr_consent.core.steps import Prompt
from ivr_consent.language import Clues, Rules
from ivr_consent.pseudonyms import Pseudonyms

SAMPLES_PER_MS: Final = 8


@dataclass(slots=True)
class TinyLines:
    """What a session needs of a site (see ``session.Lines``): plans by the name of their line."""

    recordings: Path
    plans: Mapping[str, Plan]
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms.of_nobody, repr=False)
    software: str = "ivr-consent test"
    configuration_sha256: str = text_sha256("tiny")

    def plan(self, line: str, clues: Clues) -> Plan | str:
        """The line's plan, or why it cannot be asked."""
        return self.plans.get(line, "unknown_line")

    def subject(self, number: str | None) -> str | None:
        """The caller's pseudonym, of this run alone."""
        return self.pseudonyms.subject(number)

    def reference(self, call_id: str) -> Reference:
        """What the caller can name the consent by, of this run alone."""
        return self.pseudonyms.reference(call_id)

    def damaged(self, line: str) -> bool:
        """Nothing is."""
        return False

    def language_by(self, line: str) -> Rules | None:
        """Each line has one language, which nothing chooses."""
        return None


def tiny_prompt(directory: Path, prompt_id: str, samples: int, elements: tuple[int, ...] = ()) -> Prompt:
    """A prompt of so many samples of silence, its files written into ``directory``."""
    audio = b"\xff" * samples
    path = directory / prompt_id
    Path(f"{path}.ulaw").write_bytes(audio)
    with wave.open(f"{path}.wav", "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(2 * samples))
    return Prompt(
        prompt_id,
        f"Prompt {prompt_id}.",
        text_sha256(f"Prompt {prompt_id}."),
        str(path),
        samples // SAMPLES_PER_MS,
        frozenset({samples}),
        hashlib.sha256(audio).hexdigest(),
        elements,
    )


def tiny_plan(
    directory: Path,
    *,
    language: str = "en",
    purposes: Iterable[str] = ("training",),
    segments: int = 1,
    samples: int = 80 * SAMPLES_PER_MS,
    timeout_ms: int = 200,
    guard_ms: int = 40,
    repeats: int = 0,
) -> Plan:
    """A plan of ``segments`` prompts that cover all elements between them; keys 1 yes, 2 no, 3 repeat, 4 long."""
    directory.mkdir(parents=True, exist_ok=True)
    asked = tuple(purposes)
    shares = [tuple(sorted(ELEMENTS))[n::segments] for n in range(segments)]
    notice = SpokenNotice(
        "tiny",
        1,
        language,
        text_sha256("tiny"),
        text_sha256("tiny manifest"),
        tuple(tiny_prompt(directory, f"notice-{n}", samples, share) for n, share in enumerate(shares, 1)),
        MappingProxyType({purpose: tiny_prompt(directory, f"{purpose}-question", samples) for purpose in asked}),
        (tiny_prompt(directory, "long-1", samples),),
        MappingProxyType({name: tiny_prompt(directory, f"result-{name}", samples) for name in RESULTS}),
    )
    return Plan(Keys("1", "2", "3", "4", None), (notice,), asked, timeout_ms, guard_ms, repeats, 30)
