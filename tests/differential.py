"""Random callers, and what must come of them on every switch: what came of them on the simulated one.

A caller is made place by place: at each prompt and window that the call comes to, something is done or nothing, and
the call is played again up to the next. So everything that a caller does is really done. Lines are random too.

What is done keeps away from the edges of its place, where a busy machine decides what comes first: in the first part
of a prompt or window and not within its first 60 ms, nothing again in the same prompt until its middle, and a key that
is held across the end of a prompt is held 100 ms longer (200 ms on a telephone), with nothing else in the next place.
Keys on the edge are for ``scenarios/``.

    IVR_CONSENT_DIFFERENTIAL=500       so many callers, in place of the few of a test run
    IVR_CONSENT_DIFFERENTIAL_SEED=7    other callers
    IVR_CONSENT_DIFFERENTIAL_KEEP=DIR  write callers on whom two switches disagree there, as scenario files
"""

from __future__ import annotations

import os
import random
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from ivr_consent.config import Keys, Line
from ivr_consent.core.steps import Ask, Play
from ivr_consent.pbx.simulated.caller import Act, Action, Caller, During, HangUp, InWindow, Press
from ivr_consent.pbx.simulated.channel import SimulatedCall, run_call
from ivr_consent.store.ledger import Ledger
from ivr_consent.testing.drivers import exchange as exchanges
from ivr_consent.testing.drivers.exchange import Exchange
from ivr_consent.testing.drivers.short import TELEPHONE
from ivr_consent.testing.drivers.simulated import Plans, log_aside
from ivr_consent.testing.plans import call_context
from ivr_consent.testing.scenario import REFERENCE, Observed, Scenario, Wire, observed, parse_scenarios
from ivr_consent.testing.scenario_writing import as_toml
from ivr_consent.testing.verdict import Verdict, told

CALLERS: Final = int(os.environ.get("IVR_CONSENT_DIFFERENTIAL", "48"))
SEED: Final = int(os.environ.get("IVR_CONSENT_DIFFERENTIAL_SEED", "1"))
KEEP: Final = os.environ.get("IVR_CONSENT_DIFFERENTIAL_KEEP")

PLACES: Final = 28
"""Prompts and windows of the longest call, some 17 seconds of a telephone; whose call is longer is not kept."""

PURPOSES: Final = ("training", "quality", "agreement")
LANGUAGES: Final = ("en", "da", "de", "fr", "pl")
KEYS: Final = "123456789*"

TOLD: Final = ("play", "window", "press", "hang", "decide", "record", "stop", "route")
"""First words of the events that every switch tells of."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A prompt or a window that the call has come to, ``lasts_ms`` on the simulated switch."""

    prompt: str
    nth: int
    lasts_ms: int
    keys: frozenset[str]

    def at(self, at_ms: int, act: Act) -> Action:
        where = During(self.prompt, self.nth, at_ms) if self.prompt else InWindow(nth=self.nth, at_ms=at_ms)
        return Action(where, act)


def _places(call: SimulatedCall) -> list[_Place]:
    times: dict[str, int] = {}
    found = []
    for entry in call.journal:
        step = entry.step
        if isinstance(step, Play | Ask):
            name = step.prompt.id if isinstance(step, Play) else ""
            times[name] = times.get(name, 0) + 1
            lasts = step.prompt.duration_ms if isinstance(step, Play) else step.timeout_ms
            found.append(_Place(name, times[name], lasts, step.keys if isinstance(step, Play) else frozenset(KEYS)))
    return found


class _Maker:
    """Makes one caller and line after the other."""

    def __init__(self, chosen: random.Random, ledger: Ledger, plans: Plans) -> None:
        self._chosen, self._ledger, self._plans = chosen, ledger, plans

    def line(self) -> Line:
        chosen = self._chosen
        keys = chosen.sample(KEYS, 5) if chosen.random() < 0.3 else list("12345")
        return Line(
            languages=chosen.sample(LANGUAGES, chosen.choice((1, 1, 2, 3))),
            purposes=chosen.sample(PURPOSES, chosen.choice((1, 1, 2))),
            repeats=chosen.choice((0, 1, 2, 2)),
            keys=Keys(**dict(zip(("yes", "no", "repeat", "long", "language"), keys, strict=True))),
        )

    def caller(self, line: Line) -> tuple[list[Action], SimulatedCall]:
        """What is done at each place; the whole call."""
        actions: list[Action] = []
        call = self._call(line, actions)
        number = 0
        while number < min(PLACES, len(places := _places(call))):
            here = self._here(places[number], places[number + 1 : number + 2], line)
            number += 1
            if here:
                actions += here
                call = self._call(line, actions)
                number += isinstance(here[-1].act, Press) and here[-1].act.hold_ms > HELD_MS  # it ends in the next
        return actions, call

    def _call(self, line: Line, actions: Sequence[Action]) -> SimulatedCall:
        caller = Caller(tuple(actions))
        return run_call(self._plans.of(line), call_context(line="scenario"), caller, self._ledger, (), REFERENCE)

    def _here(self, place: _Place, following: Sequence[_Place], line: Line) -> list[Action]:
        """Nothing, one thing, or a key that is not heard and then another thing."""
        chosen = self._chosen
        if place.prompt.startswith("digit-"):  # which follow a code that each call has of its own
            return []
        if not place.prompt:
            return [] if chosen.random() < 0.25 else [place.at(self._early(place), self._act(line, window=True))]
        if chosen.random() > OFTEN.get(place.prompt.partition("-")[0], SELDOM):
            return []
        held = following and place.prompt not in LAST
        if held and chosen.random() < 0.35:
            at_ms = -chosen.randrange(60, max(61, place.lasts_ms // 3))
            return [place.at(at_ms, Press(self._key(line), -at_ms + OVER_MS))]
        first: list[Action] = []
        at_ms = self._early(place)
        if chosen.random() < 0.2:
            lost = [key for key in KEYS if key not in place.keys]
            first = [place.at(60, Press(chosen.choice(lost), HELD_MS))]
            at_ms = chosen.randrange(place.lasts_ms // 2, place.lasts_ms * 3 // 4)
        return [*first, place.at(at_ms, self._act(line, window=False))]

    def _early(self, place: _Place) -> int:
        return self._chosen.randrange(60, max(61, min(4 * place.lasts_ms // 5, 6000) if self._late() else 400))

    def _late(self) -> bool:
        return self._chosen.random() < 0.3

    def _act(self, line: Line, *, window: bool) -> Act:
        if self._chosen.random() < (0.05 if window else 0.15):
            return HangUp()
        return Press(self._key(line), HELD_MS)

    def _key(self, line: Line) -> str:
        """Keys that mean something more often than others, yes the most."""
        keys = line.keys
        usual = [keys.yes] * 5 + [keys.no, keys.repeat, keys.long, keys.language, keys.language]
        return self._chosen.choice([*usual, self._chosen.choice(KEYS), self._chosen.choice(KEYS)])


HELD_MS: Final = 100
OVER_MS: Final = 100
"""So long beyond the end of its prompt a key is held."""

LAST: Final = ("result-granted", "result-declined", "result-unrecorded")
OFTEN: Final = {"result": 0.3, "training": 0.3, "quality": 0.3, "agreement": 0.3}
SELDOM: Final = 0.08
"""How often something is done during a prompt, by the first word of its name."""


@dataclass(frozen=True, slots=True)
class Random:
    """A caller, its scenario file, and what came of it on the simulated switch."""

    scenario: Scenario
    file: str
    seen: Observed


@cache
def callers(count: int = CALLERS, seed: int = SEED) -> tuple[Random, ...]:
    """So many random callers; the same ones for the same seed."""
    found: list[Random] = []
    plans = Plans()
    with log_aside() as log:
        ledger = Ledger(log)
        try:
            for number in range(100 * count):
                name = f"random-{seed}-{number}"
                maker = _Maker(random.Random(name), ledger, plans)  # noqa: S311 - the same callers again by their seed
                line = maker.line()
                actions, call = maker.caller(line)
                if len(_places(call)) <= PLACES and not call.undone:
                    found.append(_random(name, line, actions, observed(call)))
                if len(found) == count:
                    break
        finally:
            ledger.close()
    return tuple(found)


def _random(name: str, line: Line, actions: Sequence[Action], seen: Observed) -> Random:
    events = (event for event in seen.events if event.partition(" ")[0] in TOLD)
    events = (event for event in events if not event.startswith("play digit-"))  # each call has a code of its own
    told_of = replace(seen, events=tuple(events), events_at_ms=())
    text = as_toml(f"Caller {name}", line, Wire(), actions, told_of)
    (scenario,) = parse_scenarios(tomllib.loads(text), f"{name}.toml")
    return Random(scenario, text, seen)


# --- on another switch ------------------------------------------------------------------------------------------------


def disagreements(made: Exchange, randoms: Sequence[Random], at_once: int) -> list[str]:
    """Play them; each call on which the switch and the simulated one disagree: what about, both timelines, its file."""
    made.pace = TELEPHONE  # on the fakes too: a busy machine has time for what is done
    found: list[Verdict] = []
    exchanges.play(made, [one.scenario for one in randoms], found.append, at_once)
    assert len(found) == len(randoms)
    by_name = {one.scenario.name: one for one in randoms}
    return ["\n".join(_told(verdict, by_name[verdict.scenario.name])) for verdict in found if not verdict.passed]


def _told(verdict: Verdict, random_: Random) -> Iterator[str]:
    yield from told(verdict)
    yield from told(Verdict(random_.scenario, "simulated", random_.seen))
    if KEEP:
        (Path(KEEP) / f"{random_.scenario.name}.toml").write_text(random_.file, encoding="utf-8")
    yield random_.file


def variety(randoms: Sequence[Random]) -> dict[str, int]:
    """How often each outcome with its reason stands in them."""
    found = Counter(f"{one.seen.outcome} {one.seen.reason}" for one in randoms)
    return dict(sorted(found.items()))


def agrees(made: Exchange, at_once: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole test, on one switch. Raises :class:`AssertionError` that shows every disagreement."""
    randoms = callers()
    wrong = disagreements(made, randoms, at_once)
    again = f"IVR_CONSENT_DIFFERENTIAL={CALLERS} IVR_CONSENT_DIFFERENTIAL_SEED={SEED}"
    with capsys.disabled():
        print(f"\n{made.on}: {len(randoms)} random callers, {len(wrong)} disagreements; {again}")
    assert not wrong, "\n\n".join([*wrong, f"{len(wrong)} of {len(randoms)} callers; again: {again}"])
