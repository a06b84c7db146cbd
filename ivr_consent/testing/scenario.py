"""Scenario files: a call as data, to be played on the simulated switch or by a phone on a real one.

A file says who calls (``[caller]``), on which line (``[line]``, the keys of a line in ``ivr-consent.toml``), what the
caller does (``[[does]]``), what goes wrong (``[[fail]]``, simulated switch only) and what must come of it
(``[expect]``)::

    summary = "Yes in the window: recorded"

    [[does]]
    question = "training"   # in the window after this question; or: window = 2, during = "retention", step = "record"
    nth = 1                 # the first time it opens
    at_ms = 1500            # so long into it; negative: before its end
    press = "1"             # or: hang_up = true, wait = true
    hold_ms = 120

    [expect]
    outcome = "granted"
    reason = "yes_key"
    route = "recorded"
    order = ["play controller", "window training", "press 1", "decide granted", "record", "route recorded"]

``[[variants]]`` make one file a table: each has a ``name`` and replaces what it gives (``expect`` and ``line`` key by
key). Places are prompts and windows, never a time of the call, so that a driver of any switch can act at the same one.

A driver performs a :class:`Scenario`, makes an :class:`Observed` of what it saw, and :func:`differences` judges.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ivr_consent.config import Line
from ivr_consent.config_problems import shown
from ivr_consent.core.decision import Decision, Outcome, Reference
from ivr_consent.core.errors import ConfigurationError, Problem
from ivr_consent.core.notice import IDENTIFIER
from ivr_consent.core.steps import Destination
from ivr_consent.pbx.simulated.caller import (
    HOLD_MS,
    KEYS,
    Act,
    Action,
    AtStep,
    Caller,
    During,
    HangUp,
    InWindow,
    Place,
    Press,
    StepKind,
    Wait,
)
from ivr_consent.pbx.simulated.channel import DecisionLog, Fault, Injection, SimulatedCall, run_call
from ivr_consent.testing.plans import call_context, plan_without_audio

MAX_SCENARIO_BYTES: Final = 64 * 1024
"""A scenario is a page of text; more is a wrong file."""

AT_MS: Final = 500
"""When an action says no ``at_ms``: a quick human answer."""

Identifier = Annotated[str, Field(pattern=rf"^{IDENTIFIER.pattern}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Where(_Table):
    """A place, by exactly one of four keys."""

    during: Identifier | None = None
    window: int | None = Field(None, ge=1)
    question: Identifier | None = None
    step: StepKind | None = Field(None, strict=False)
    nth: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [name for name in ("during", "window", "question", "step") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"{len(given)} places ({', '.join(given) or 'none'}); "
                "give one of: during (a prompt), window (a number), question (a purpose), step"
            )
        if self.window is not None and self.nth != 1:
            raise ValueError("window and nth; a window's number counts all openings: leave nth out")
        return self

    def place(self, at_ms: int = 0) -> Place:
        if self.during is not None:
            return During(self.during, self.nth, at_ms)
        if self.step is not None:
            return AtStep(self.step, self.nth)
        return InWindow(self.question, self.window or self.nth, at_ms)


class Does(_Where):
    """One action of the caller."""

    at_ms: int = AT_MS
    press: str | None = None
    hold_ms: int = Field(HOLD_MS, ge=1, le=60_000)
    hang_up: bool = False
    wait: bool = False

    @model_validator(mode="after")
    def _one_act(self) -> Self:
        if (self.press is not None) + self.hang_up + self.wait != 1:
            raise ValueError('not one act; give one of: press = "1", hang_up = true, wait = true')
        if self.press is not None and self.press not in KEYS:
            raise ValueError(f"press = {self.press!r}; one key of: {' '.join(sorted(KEYS))}")
        if self.hold_ms != HOLD_MS and self.press is None:
            raise ValueError("hold_ms without press; only a key is held")
        if self.step is not None and self.press is not None:
            raise ValueError("press at a step; keys are pressed during a prompt or in a window")
        return self

    def action(self) -> Action:
        act: Act = HangUp() if self.hang_up else Wait() if self.wait else Press(self.press or "", self.hold_ms)
        return Action(self.place(self.at_ms), act)


class Fails(_Where):
    """One thing that goes wrong."""

    fault: Fault = Field(strict=False)

    def injection(self) -> Injection:
        return Injection(self.place(), self.fault)


class Wire(_Table):
    """What the caller's telephone sends about itself; attacks put other things than a number there."""

    number: str = Field("+4512345678", max_length=1000)
    display: str = Field("", max_length=1000)


class Expect(_Table):
    """What must come of the call. What is left out is not looked at.

    ``outcome``, ``reason``, ``route``: as the dialplan is told. ``decided``: the decision on disk, where a later event
    changed it. ``answers``, ``attempts``: by purpose. ``heard``: how often a prompt began. ``order``: events that
    happen in this order, others may stand between. ``never``: events that do not happen (or begin so: ``"play"``).
    ``recorder``: commands sent to the recorder.
    """

    outcome: Outcome = Field(strict=False)
    reason: str = Field(min_length=1)
    route: Destination = Field(strict=False)
    logged: bool | None = None
    recorded: bool | None = None
    decided: Outcome | None = Field(None, strict=False)
    language: str | None = None
    answers: dict[str, str] | None = None
    attempts: dict[str, int] | None = None
    early_keys: int | None = None
    heard: dict[str, int] = {}
    order: list[str] = []
    never: list[str] = []
    recorder: list[Literal["start", "stop"]] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.outcome is Outcome.GRANTED) != (self.route is Destination.RECORDED):
            raise ValueError("outcome and route contradict each other; only granted goes to recorded")
        if self.recorded is not None and self.recorded != (self.route is Destination.RECORDED):
            raise ValueError("recorded and route contradict each other; only the recorded route is recorded")
        return self


class Scenario(_Table):
    """One call to play; ``name`` is the file's, with the variant's behind a slash."""

    name: str
    summary: str = Field(min_length=1, max_length=200)
    line: Line = Line()
    caller: Wire = Wire()
    does: list[Does] = []
    fail: list[Fails] = []
    expect: Expect

    @property
    def portable(self) -> bool:
        """Whether a phone on a real switch can play it: nothing injected, every place one that can be heard."""
        told = any((action.during or "").startswith("digit-") for action in self.does)  # whose code differs by call
        return not self.fail and not told and all(action.step is None for action in self.does)

    def behaviour(self) -> Caller:
        """The caller, for the simulated switch."""
        return Caller(tuple(action.action() for action in self.does))


# --- files ------------------------------------------------------------------------------------------------------------


def load_scenarios(path: Path) -> tuple[Scenario, ...]:
    """The scenarios of a file, one a variant. Raises :class:`ConfigurationError` with every problem in it."""
    source = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SCENARIO_BYTES + 1)
        if len(raw) > MAX_SCENARIO_BYTES:
            raise ConfigurationError(source, (Problem(source, "larger than 64 KiB", "is it the right file?"),))
        document = tomllib.loads(raw.decode())
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise ConfigurationError(source, (Problem(source, found, "name a scenario file"),)) from None
    except (ValueError, RecursionError) as error:
        found = f"not TOML in UTF-8: {error}"
        raise ConfigurationError(source, (Problem(source, found, "correct that place"),)) from None
    return parse_scenarios(document, source)


def load_directory(directory: Path) -> tuple[Scenario, ...]:
    """Every scenario of a directory, by file name."""
    return tuple(scenario for path in sorted(directory.glob("*.toml")) for scenario in load_scenarios(path))


def parse_scenarios(document: Mapping[str, Any], source: str) -> tuple[Scenario, ...]:
    """The scenarios of a parsed document; ``source`` names the file in problems."""
    problems: list[Problem] = []
    scenarios: list[Scenario] = []
    for key, name, one in _variants(document, source, problems):
        try:
            scenarios.append(Scenario.model_validate({**one, "name": name}))
        except ValidationError as error:
            problems += [_problem(source, key, item) for item in error.errors()]
    if problems:
        raise ConfigurationError(source, tuple(dict.fromkeys(problems)))
    return tuple(scenarios)


def _variants(
    document: Mapping[str, Any], source: str, problems: list[Problem]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each variant's place in the file, its name, and its document merged with the file's own."""
    stem = Path(source).stem
    base = {name: value for name, value in document.items() if name != "variants"}
    variants = document.get("variants")
    if "name" in base:
        problems.append(Problem(f"{source}: name", "unknown key", "remove it: a scenario is named by its file"))
        del base["name"]
    if variants is None:
        yield "", stem, base
        return
    if not isinstance(variants, list) or not variants or not all(isinstance(item, dict) for item in variants):
        problems.append(Problem(f"{source}: variants", f"found {shown(variants)}", "write [[variants]] tables"))
        return
    names: set[str] = set()
    for number, variant in enumerate(variants, 1):
        key = f"variants[{number}]."
        name = variant.get("name")
        if not isinstance(name, str) or not IDENTIFIER.fullmatch(name) or name in names:
            remedy = "name every variant, each by its own small letters, digits and hyphens"
            problems.append(Problem(f"{source}: {key}name", f"found {shown(name)}", remedy))
            continue
        names.add(name)
        merged = base | {part: value for part, value in variant.items() if part != "name"}
        for part in ("expect", "line"):
            if isinstance(base.get(part), dict) and isinstance(variant.get(part), dict):
                merged[part] = base[part] | variant[part]
        if "summary" not in variant and isinstance(base.get("summary"), str):
            merged["summary"] = f"{base['summary']} ({name})"
        yield key, f"{stem}/{name}", merged


def _problem(source: str, prefix: str, error: Any) -> Problem:
    parts = [f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in error["loc"]]
    where = f"{source}: {prefix}{''.join(parts).removeprefix('.')}".rstrip(".: ")
    found = f"found {shown(error.get('input'))}"
    if error["type"] == "extra_forbidden":
        return Problem(where, "unknown key", f"remove it, or correct its name; allowed here: {_allowed(error['loc'])}")
    if error["type"] == "missing":
        return Problem(where, "missing", "add it")
    if error["type"] == "value_error":
        wrong, _, remedy = str(error["ctx"]["error"]).partition("; ")
        return Problem(where, wrong, remedy or "correct it")
    return Problem(where, found, f"allowed: {error['msg'][:1].lower()}{error['msg'][1:]}")


_TABLES: Final[Mapping[str, type[BaseModel]]] = {
    "line": Line,
    "caller": Wire,
    "does": Does,
    "fail": Fails,
    "expect": Expect,
}


def _allowed(location: tuple[str | int, ...]) -> str:
    table = _TABLES.get(str(location[0])) if len(location) > 1 else None
    fields = Scenario.model_fields if table is None else table.model_fields
    names = [name for name in fields if not (table is None and name == "name")]
    return ", ".join(names if table is not None else [*names, "variants"])


# --- judging ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observed:
    """What a driver saw of a call.

    ``decision`` is the payload of the decision on disk, ``events`` as of
    :class:`~ivr_consent.pbx.simulated.channel.SimulatedCall`, ``recorder`` the commands sent to it, ``running`` the
    number of recorders that run (and ``files`` of files that exist) once the dialplan goes on, ``undone`` what the
    caller came to no place to do. ``events_at_ms`` (when each event came) and ``elapsed_ms`` count from the call's
    beginning.
    """

    outcome: str
    reason: str
    route: str
    logged: bool
    decision: Mapping[str, Any] | None
    events: tuple[str, ...]
    recorder: tuple[str, ...]
    running: int
    files: int
    undone: tuple[str, ...] = ()
    events_at_ms: tuple[int, ...] = ()
    elapsed_ms: int = 0


def differences(expect: Expect, seen: Observed) -> tuple[str, ...]:
    """How what was seen is not what was expected; empty when it is."""
    decision: Mapping[str, Any] = seen.decision or {}
    answers = {answer["purpose"]: answer for answer in decision.get("answers", ())}
    recorded = seen.route == Destination.RECORDED.value and seen.running > 0 and seen.files > 0
    compared: list[tuple[str, object, object]] = [
        ("outcome", expect.outcome.value, seen.outcome),
        ("reason", expect.reason, seen.reason),
        ("route", expect.route.value, seen.route),
        ("logged", expect.logged, seen.logged),
        ("recorded", expect.recorded, recorded),
        ("decided", expect.decided and expect.decided.value, decision.get("outcome")),
        ("language", expect.language, (decision.get("notice") or {}).get("language")),
        ("answers", expect.answers, {purpose: answer["answer"] for purpose, answer in answers.items()}),
        ("attempts", expect.attempts, {purpose: answer["attempts"] for purpose, answer in answers.items()}),
        ("early_keys", expect.early_keys, sum(answer["early_keys"] for answer in answers.values())),
        ("recorder", None if expect.recorder is None else tuple(expect.recorder), seen.recorder),
        *((f"heard {prompt}", times, seen.events.count(f"play {prompt}")) for prompt, times in expect.heard.items()),
    ]
    found = [f"{what}: expected {want!r}, was {was!r}" for what, want, was in compared if want not in (None, was)]
    rest = iter(seen.events)
    found += [f"order: {event!r} does not come where expected" for event in expect.order if event not in rest][:1]
    found += [f"never: {event!r} came" for event in seen.events for one in expect.never if _is(event, one)]
    if seen.running and seen.route != Destination.RECORDED.value:
        found.append("a recorder runs on the unrecorded line")
    if seen.files and seen.route != Destination.RECORDED.value:
        found.append("there is a file of a call that is not recorded")
    found += [f"the call never came to: {action}" for action in seen.undone]
    return tuple(found)


def _is(event: str, pattern: str) -> bool:
    return event == pattern or event.startswith(f"{pattern} ")


# --- the driver of the simulated switch -------------------------------------------------------------------------------


def observed(call: SimulatedCall) -> Observed:
    """What is to be judged of a simulated call."""
    decisions = call.decisions
    return Observed(
        call.ending.outcome.value,
        call.ending.reason,
        call.destination.value,
        call.ending.logged,
        _judged(decisions[0]) if decisions else None,
        call.events,
        tuple(command.command for command in call.commands),
        len(call.running),
        len(call.files),
        tuple(in_words(item) for item in call.undone),
        call.events_at_ms,
        call.elapsed_ms,
    )


def in_words(item: Action | Injection) -> str:
    """An action or a fault with its place, as one would say it: ``press 1 in window 2``."""
    match item.place:
        case During(prompt, nth):
            where = f"during {prompt}" + (f", time {nth}" if nth > 1 else "")
        case InWindow(None, nth):
            where = f"in window {nth}"
        case InWindow(question, nth):
            where = f"in the window after the question of {question}" + (f", time {nth}" if nth > 1 else "")
        case AtStep(step, nth):
            where = f"at the step {step.value}" + (f", time {nth}" if nth > 1 else "")
    if isinstance(item, Injection):
        return f"{item.fault.value} {where}"
    match item.act:
        case Press(key):
            return f"press {key} {where}"
        case HangUp():
            return f"hang up {where}"
        case Wait():
            return f"wait {where}"


def _judged(decision: Decision) -> dict[str, Any]:
    """What is looked at of a decision's payload: all of it takes as long to make as the call to play."""
    answers = [
        {"purpose": one.purpose, "answer": one.answer, "attempts": one.attempts, "early_keys": one.early_keys}
        for one in decision.answers
    ]
    notice = decision.notice and {"language": decision.notice.language}
    return {"outcome": decision.outcome.value, "answers": answers, "notice": notice}


REFERENCE: Final = Reference("1234567894", "simulated")
"""What callers of scenarios are told on request."""


def simulate(scenario: Scenario, ledger: DecisionLog) -> SimulatedCall:
    """Play a scenario on the simulated switch, with the shipped notice texts."""
    return run_call(
        plan_without_audio(scenario.line),
        call_context(line="scenario"),
        scenario.behaviour(),
        ledger,
        tuple(fault.injection() for fault in scenario.fail),
        REFERENCE,
    )


def check(scenario: Scenario, ledger: DecisionLog) -> SimulatedCall:
    """Play a scenario on the simulated switch. Raises :class:`AssertionError` that shows the whole call."""
    call = simulate(scenario, ledger)
    wrong = differences(scenario.expect, observed(call))
    if wrong:
        lines = [f"{scenario.name}: {scenario.summary}", *(f"  - {one}" for one in wrong), "  the call:"]
        lines += [f"    {event}" for event in call.events]
        raise AssertionError("\n".join(lines))
    return call
