"""Scenarios in real time without the waiting: the same notices with prompts of a fraction of a second.

A site of the lines that scenarios name: real plans and real texts, each prompt a short file of silence. And where an
action of a scenario falls in such a call: its place is the same, its milliseconds are squeezed with the place.
"""

from __future__ import annotations

import dataclasses
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

KEPT: Final = 0.5
"""The first part of a place, where an action keeps its own milliseconds; what comes later is squeezed behind it."""

LAST: Final = 0.8
"""Where the squeezed rest of a place ends: what is done later might come when the place is over."""

SOONEST_BEFORE_END_MS: Final = 150
"""An action before the end of a prompt is at least so much before it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How short: milliseconds, long enough to act in on a busy machine.

    ``over_ms``: a key that is held across the end of a place is held at least so much longer, and what ends in a place
    ends half as much before its end. ``hold_ms``: no key is held for less.
    """

    prompt_ms: int = 200
    window_ms: int = 1000
    over_ms: int = 80
    hold_ms: int = 40


TELEPHONE: Final = Pace(prompt_ms=500, window_ms=1500, over_ms=200, hold_ms=100)
"""For a real switch: a key is a key from 80 ms on, audio comes in frames, and somebody else decides when it is over."""


@dataclass(frozen=True, slots=True)
class ShortLine:
    """A line of scenarios: its name, its plan as it is spoken, and the same with short prompts."""

    name: str
    plan: Plan
    short: Plan
    pace: Pace


class ShortSite:
    """The lines of all scenarios, in a directory; lines that say the same are one."""

    def __init__(self, directory: Path, pace: Pace = Pace()) -> None:
        self._directory, self.pace = directory, pace
        self._lines: dict[str, ShortLine] = {}
        self.lines = TinyLines(directory / "recordings", {})
        self.lines.recordings.mkdir()
        (directory / "audio").mkdir()
        self._sound = tiny_prompt(directory / "audio", "sound", pace.prompt_ms * SAMPLES_PER_MS)

    def add(self, scenarios: Iterable[Scenario]) -> None:
        """Make the lines of scenarios. Raises :class:`ConfigurationError` when a notice cannot be spoken."""
        for scenario in scenarios:
            key = scenario.line.model_dump_json()
            if key not in self._lines:
                self._lines[key] = self._make(f"scenario{len(self._lines)}", scenario.line)
        self.lines.plans = self.plans()

    def add_line(self, name: str, line: Line) -> None:
        """Make a line by its own name. Raises :class:`ConfigurationError` when its notice cannot be spoken."""
        self._lines[name] = self._make(name, line)

    def plans(self) -> dict[str, Plan]:
        """The short plans of all lines by their names."""
        return {line.name: line.short for line in self._lines.values()}

    def line(self, scenario: Scenario) -> ShortLine:
        """The line of a scenario that was added."""
        return self._lines[scenario.line.model_dump_json()]

    def _make(self, name: str, line: Line) -> ShortLine:
        plan = plan_without_audio(line)
        folder = self._directory / "audio" / name
        notices = tuple(self._shortened(notice, folder / notice.language) for notice in plan.notices)
        short = dataclasses.replace(plan, notices=notices, timeout_ms=self.pace.window_ms)
        return ShortLine(name, plan, short, self.pace)

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
            duration_ms=self.pace.prompt_ms,
            lengths=self._sound.lengths,
            audio_sha256=self._sound.audio_sha256,
        )


def when(action: Action, line: ShortLine) -> tuple[int, int]:
    """Milliseconds into the place at which it is acted on a short line, and how long a key is held there."""
    long, short = length_ms(action, line.plan), length_ms(action, line.short)
    assert not isinstance(action.place, InWindow | During) or long > 0
    at_ms = getattr(action.place, "at_ms", 0)
    began = at_ms if at_ms >= 0 else long + at_ms
    at, pace = _squeezed(at_ms, long, short), line.pace
    if not isinstance(action.act, Press):
        return at, 0
    over = began + action.act.hold_ms - long
    if over > 0:
        return at, short - at + max(pace.over_ms, min(over, pace.prompt_ms + pace.window_ms // 2))
    last = short - pace.over_ms // 2  # in this place it is released as well
    at = min(at, last - pace.hold_ms)
    return at, max(pace.hold_ms, min(action.act.hold_ms, last - at))


def length_ms(action: Action, plan: Plan) -> int:
    """How long the place of an action is in this plan."""
    if isinstance(action.place, InWindow):
        return plan.timeout_ms
    assert isinstance(action.place, During), "only places that can be heard: the scenario is portable"
    name = action.place.prompt
    found = (prompt.duration_ms for notice in plan.notices for prompt in notice.prompts() if prompt.id == name)
    return next(found, plan.notices[0].information[0].duration_ms)


def _squeezed(at_ms: int, long: int, short: int) -> int:
    if at_ms < 0:
        before = max(SOONEST_BEFORE_END_MS, -at_ms)
        return max(int(short * (1 - LAST)), short - before)
    kept = int(short * KEPT)
    if at_ms <= kept or long <= kept:
        return min(at_ms, kept)
    return kept + int((at_ms - kept) / (long - kept) * (LAST - KEPT) * short)
