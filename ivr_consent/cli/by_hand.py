"""``ivr-consent test --record``: a call played by hand, place by place, becomes a scenario file.

The call is on the simulated switch, whose time is virtual: at every place that a caller can hear it waits for the one
who plays. What is done there is added to the caller, and the call is played again up to the next place: it is the same
up to there, because nothing that comes later can change it.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ivr_consent.cli.terminal import Exit, print_json, say
from ivr_consent.config import Line
from ivr_consent.core.errors import ConfigurationError, ConsentError, Problem
from ivr_consent.core.steps import Ask, Play
from ivr_consent.pbx.simulated.caller import KEYS, Action, During, HangUp, InWindow, Press

if TYPE_CHECKING:
    from ivr_consent.pbx.simulated.channel import SimulatedCall
    from ivr_consent.store.ledger import Ledger
    from ivr_consent.testing.scenario import Scenario

THINKING_MS: Final = 1000
"""So long into its place something is done that names no time, or in its middle where it is shorter."""

LONGEST_LINE: Final = 200
"""Characters of what is typed at one place."""

LONGEST_SUMMARY: Final = 140
"""Characters of it that say what the caller did."""

OF_THE_SITE: Final = ("recorded", "unrecorded", "agents", "codecs", "next_menu")
"""Keys of a line that a scenario has no use for: its call has destinations of its own."""

_TYPED: Final = re.compile(r"(?P<what>[0-9*#A-Dh])(?:@(?P<ms>-?[0-9]{1,7}))?")
_TOLD: Final = ("play", "window", "press", "hang", "decide", "record", "stop", "route")
"""First words of the events that every switch tells of."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A place of a call: a prompt, or a choice window."""

    at_ms: int
    lasts_ms: int
    text: str
    prompt: str = ""
    nth: int = 1

    def action(self, typed: str) -> Action:
        """What is done here, as it was typed. Raises :class:`ValueError` for no key, or a time that is not in it."""
        match = _TYPED.fullmatch(typed)
        if match is None:
            raise ValueError(f'not a key ({" ".join(sorted(KEYS))}), "h", "e" or nothing')
        at_ms = int(match["ms"]) if match["ms"] is not None else min(THINKING_MS, self.lasts_ms // 2)
        if abs(at_ms) > self.lasts_ms:
            raise ValueError(f"this lasts {self.lasts_ms} ms; write a time in it")
        place = During(self.prompt, self.nth, at_ms) if self.prompt else InWindow(nth=self.nth, at_ms=at_ms)
        return Action(place, HangUp() if match["what"] == "h" else Press(match["what"]))


def record(path: Path, line: Line, *, json: bool) -> Exit:
    """Play a call by hand, and write it. Raises :class:`ConsentError` when the file is there, or cannot be written."""
    from ivr_consent.store.ledger import Ledger
    from ivr_consent.testing.drivers.simulated import log_aside

    _free(path)
    line = line.model_copy(update={name: Line.model_fields[name].get_default() for name in OF_THE_SITE})
    with log_aside() as log:
        ledger = Ledger(log)
        try:
            actions, call = _played(line, ledger, quiet=json)
            text, scenario = _scenario(path, line, actions, call)
            _checked(scenario, ledger)
        finally:
            ledger.close()
    _write(path, text)
    outcome, reason = scenario.expect.outcome.value, scenario.expect.reason
    if json:
        print_json({"ok": True, "file": str(path), "summary": scenario.summary, "outcome": outcome, "reason": reason})
    else:
        say()
        say(f"{outcome} ({reason}); written to {path}, play it again: ivr-consent test {path}")
    return Exit.GOOD


def _free(path: Path) -> None:
    if path.suffix != ".toml":
        problem = Problem(str(path), "not a scenario's name", "call it NAME.toml: a scenario is named by its file")
        raise ConfigurationError("--record", (problem,))
    if path.exists() or path.is_symlink():
        raise ConsentError(f"{path} is there already, and is not written over; name another file, or move it away")
    if not path.parent.is_dir():
        raise ConsentError(f"{path.parent} is no directory; make it, or name another place")


def _write(path: Path, text: str) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(file, "w", encoding="utf-8") as target:
            target.write(text)
    except OSError as error:
        raise ConsentError(f"{path} cannot be written ({error.strerror}); name another place") from None


# --- the call ---------------------------------------------------------------------------------------------------------


def _played(line: Line, ledger: Ledger, *, quiet: bool) -> tuple[list[Action], SimulatedCall]:
    """Ask at every place what is done there; the whole call then."""
    if not quiet:
        say("You are the caller. At each place: Enter to listen on, a key to press it, h to hang up; e: listen to the")
        say("end. A time behind it is in milliseconds: 1@200, or 1@-200 before the end of the place.")
    actions: list[Action] = []
    number = 0
    call = _call(line, actions, ledger)
    asking = True
    while number < len(places := list(_places(call))):
        place = places[number]
        if not quiet:
            say(f"{place.at_ms / 1000:8.1f}  {place.text}")
        if asking:
            done = _asked(place, quiet=quiet)
            asking = done is not None
            if done:
                actions.append(done[0])
                call = _call(line, actions, ledger)
        number += 1
    return actions, call


def _call(line: Line, actions: list[Action], ledger: Ledger) -> SimulatedCall:
    from ivr_consent.testing.scenario import Wire, simulate
    from ivr_consent.testing.scenario_writing import of_call

    return simulate(of_call("by-hand", line, Wire(), actions), ledger)


def _places(call: SimulatedCall) -> Iterator[Heard]:
    times: dict[str, int] = {}
    for entry in call.journal:
        step = entry.step
        if isinstance(step, Play):
            times[step.prompt.id] = nth = times.get(step.prompt.id, 0) + 1
            text = f"[{step.prompt.id}] {step.prompt.text}"
            yield Heard(entry.began_ms, step.prompt.duration_ms, text, step.prompt.id, nth)
        elif isinstance(step, Ask):
            times[""] = nth = times.get("", 0) + 1
            text = f"... you may choose, for {step.timeout_ms / 1000:g} s"
            yield Heard(entry.began_ms, step.timeout_ms, text, nth=nth)


def _asked(place: Heard, *, quiet: bool) -> list[Action] | None:
    """What is done at a place: nothing or one thing; ``None`` when nothing more will be done."""
    while True:
        if not quiet:
            sys.stdout.write("          > ")
            sys.stdout.flush()
        typed = sys.stdin.readline(LONGEST_LINE)
        if not quiet and not sys.stdin.isatty():
            say(typed.strip())  # what was not typed on this screen
        if not typed or typed.strip() == "e":
            return None
        if not typed.strip():
            return []
        try:
            return [place.action(typed.strip())]
        except ValueError as error:
            if not sys.stdin.isatty():
                found = f"{typed.strip()!r:.60}: {error}"
                problem = Problem("standard input", found, 'write a line a place: nothing, "1", "1@200", "h" or "e"')
                raise ConfigurationError("--record", (problem,)) from None
            say(f"          {error}", error=True)


# --- the file ---------------------------------------------------------------------------------------------------------


def _scenario(path: Path, line: Line, actions: list[Action], call: SimulatedCall) -> tuple[str, Scenario]:
    """The file's text, and the scenario as it is read again."""
    from ivr_consent.testing.scenario import Wire, in_words, observed, parse_scenarios
    from ivr_consent.testing.scenario_writing import as_toml

    seen = observed(call)
    told = [event for event in seen.events if event.partition(" ")[0] in _TOLD]
    summary = ", ".join(in_words(action) for action in actions) or "the caller listens, and does nothing"
    summary = f"{summary[:LONGEST_SUMMARY]}: {seen.outcome} ({seen.reason})"
    text = as_toml(summary, line, Wire(), actions, replace(seen, events=tuple(told), events_at_ms=()))
    (scenario,) = parse_scenarios(tomllib.loads(text), str(path))
    return text, scenario


def _checked(scenario: Scenario, ledger: Ledger) -> None:
    """The file says of its own call what came of it. Raises :class:`ConsentError` when it does not."""
    from ivr_consent.testing.scenario import differences, observed, simulate

    wrong = differences(scenario.expect, observed(simulate(scenario, ledger)))
    if wrong:
        raise ConsentError(
            f"the call is not the same when it is played again ({'; '.join(wrong)}); nothing was written"
        )
