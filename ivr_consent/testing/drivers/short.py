"""Scenarios in real time without the waiting: the same notices with prompts of a fraction of a second.

A site of the lines that scenarios name: real plans and real texts, each prompt a short file of silence. And where an
action of a scenario falls in such a call: its place is the same, its milliseconds are squeezed with the place.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ivr_consent.config import Line
from ivr_consent.core.flow import Plan, SpokenNotice
from ivr_consent.core.steps import Prompt
from ivr_consent.pbx.simulated.caller import Action, During, InWindow, Press
from ivr_consent.testing.plans import plan_without_audio
from ivr_consent.testing.scenario import Scenario
from ivr_consent.testing.tiny import SAMPLES_PER_MS, TinyLines, tiny_prompt

PROMPT_MS: Final = 200
"""How long a prompt is: long enough to act in it on a busy machine."""

WINDOW_MS: Final = 1000

KEPT: Final = 0.5
"""The first part of a place, where an action keeps its own milliseconds; what comes later is squeezed behind it."""

LAST: Final = 0.8
"""Where the squeezed rest of a place ends: what is done later might come when the place is over."""

SOONEST_BEFORE_END_MS: Final = 150
"""An action before the end of a prompt is at least so much before it."""

OVER_MS: Final = 80
"""A key that is held across the end of a place is held at least so much longer."""

SHORTEST_HOLD_MS: Final = 40


@dataclass(frozen=True, slots=True)
class ShortLine:
    """A line of scenarios: its name, its plan as it is spoken, and the same with short prompts."""

    name: str
    plan: Plan
    short: Plan


class ShortSite:
    """The lines of all scenarios, in a directory; lines that say the same are one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lines: dict[str, ShortLine] = {}
        self.lines = TinyLines(directory / "recordings", {})
        self.lines.recordings.mkdir()
        (directory / "audio").mkdir()
        self._sound = tiny_prompt(directory / "audio", "sound", PROMPT_MS * SAMPLES_PER_MS)

    def add(self, scenarios: Iterable[Scenario]) -> None:
        """Make the lines of scenarios. Raises :class:`ConfigurationError` when a notice cannot be spoken."""
        for scenario in scenarios:
            key = scenario.line.model_dump_json()
            if key not in self._lines:
                self._lines[key] = self._make(f"scenario{len(self._lines)}", scenario.line)
        self.lines.plans = {line.name: line.short for line in self._lines.values()}

    def line(self, scenario: Scenario) -> ShortLine:
        """The line of a scenario that was added."""
        return self._lines[scenario.line.model_dump_json()]

    def _make(self, name: str, line: Line) -> ShortLine:
        plan = plan_without_audio(line)
        folder = self._directory / "audio" / name
        notices = tuple(self._shortened(notice, folder / notice.language) for notice in plan.notices)
        return ShortLine(name, plan, dataclasses.replace(plan, notices=notices, timeout_ms=WINDOW_MS))

    def _shortened(self, notice: SpokenNotice, folder: Path) -> SpokenNotice:
        folder.mkdir(parents=True)
        made = {prompt.id: self._prompt(prompt, folder) for prompt in notice.prompts()}
        return dataclasses.replace(
            notice,
            information=tuple(made[prompt.id] for prompt in notice.information),
            questions=MappingProxyType({key: made[prompt.id] for key, prompt in notice.questions.items()}),
            long=tuple(made[prompt.id] for prompt in notice.long),
            results=MappingProxyType({key: made[prompt.id] for key, prompt in notice.results.items()}),
        )

    def _prompt(self, prompt: Prompt, folder: Path) -> Prompt:
        path = folder / prompt.id
        for kind in ("ulaw", "wav"):
            Path(f"{path}.{kind}").hardlink_to(f"{self._sound.path}.{kind}")
        return dataclasses.replace(
            prompt,
            path=str(path),
            duration_ms=PROMPT_MS,
            lengths=self._sound.lengths,
            audio_sha256=hashlib.sha256(b"\xff" * PROMPT_MS * SAMPLES_PER_MS).hexdigest(),
        )


def when(action: Action, line: ShortLine) -> tuple[int, int]:
    """Milliseconds into the place at which it is acted on a short line, and how long a key is held there."""
    long, short = _length(action, line.plan), _length(action, line.short)
    assert not isinstance(action.place, InWindow | During) or long > 0
    at_ms = getattr(action.place, "at_ms", 0)
    began = at_ms if at_ms >= 0 else long + at_ms
    at = _squeezed(at_ms, long, short)
    if not isinstance(action.act, Press):
        return at, 0
    over = began + action.act.hold_ms - long
    if over > 0:
        return at, short - at + max(OVER_MS, min(over, PROMPT_MS + WINDOW_MS // 2))
    return at, max(SHORTEST_HOLD_MS, min(action.act.hold_ms, short - at - OVER_MS))


def _length(action: Action, plan: Plan) -> int:
    if isinstance(action.place, InWindow):
        return plan.timeout_ms
    assert isinstance(action.place, During), "only places that can be heard: the scenario is portable"
    name = action.place.prompt
    found = (prompt.duration_ms for notice in plan.notices for prompt in notice.prompts() if prompt.id == name)
    return next(found, PROMPT_MS)


def _squeezed(at_ms: int, long: int, short: int) -> int:
    if at_ms < 0:
        before = max(SOONEST_BEFORE_END_MS, -at_ms)
        return max(int(short * (1 - LAST)), short - before)
    kept = int(short * KEPT)
    if at_ms <= kept or long <= kept:
        return min(at_ms, kept)
    return kept + int((at_ms - kept) / (long - kept) * (LAST - KEPT) * short)
