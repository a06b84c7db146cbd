"""A scenario written as its file: what a call played by hand becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tomlkit

from ivr_consent.config import Line
from ivr_consent.core.decision import Outcome
from ivr_consent.core.steps import Destination
from ivr_consent.pbx.simulated.caller import HOLD_MS, Action, AtStep, During, HangUp, InWindow, Press
from ivr_consent.testing.scenario import Observed, Scenario, Wire

SCHEMA_LINE = "#:schema scenario.schema.json\n"


def does_table(action: Action) -> dict[str, Any]:
    """An action as a ``[[does]]`` table."""
    found: dict[str, Any] = {}
    match action.place:
        case During(prompt, nth):
            found["during"] = prompt
        case InWindow(None, nth):
            found["window"], nth = nth, 1
        case InWindow(question, nth):
            found["question"] = question
        case AtStep(step, nth):
            found["step"] = step.value
    if nth != 1:
        found["nth"] = nth
    if not isinstance(action.place, AtStep):
        found["at_ms"] = action.place.at_ms
    match action.act:
        case Press(key, hold_ms):
            found["press"] = key
            if hold_ms != HOLD_MS:
                found["hold_ms"] = hold_ms
        case HangUp():
            found["hang_up"] = True
        case _:
            found["wait"] = True
    return found


def expect_table(seen: Observed) -> dict[str, Any]:
    """What came of a call, as what must come of it: all that is judged, but for the place of each event."""
    decision = seen.decision or {}
    found: dict[str, Any] = {
        "outcome": seen.outcome,
        "reason": seen.reason,
        "route": seen.route,
        "logged": seen.logged,
        "recorded": seen.route == Destination.RECORDED.value and seen.running > 0 and seen.files > 0,
        "recorder": list(seen.recorder),
    }
    answers = decision.get("answers", ())
    if answers:
        found["answers"] = {one["purpose"]: one["answer"] for one in answers}
        found["attempts"] = {one["purpose"]: one["attempts"] for one in answers}
        found["early_keys"] = sum(one["early_keys"] for one in answers)
    if decision.get("notice"):
        found["language"] = decision["notice"]["language"]
    found["order"] = list(seen.events)
    if seen.outcome != Outcome.GRANTED.value:
        found["never"] = ["record"] if "record" not in seen.events else []
    return {key: value for key, value in found.items() if value != []} | {"recorder": list(seen.recorder)}


def as_toml(summary: str, line: Line, caller: Wire, actions: Sequence[Action], seen: Observed) -> str:
    """The file of a call: what its caller did, and what came of it."""
    document = tomlkit.document()
    document["summary"] = summary
    for name, table, default in (("line", line, Line()), ("caller", caller, Wire())):
        given = table.model_dump(exclude_none=True, exclude_defaults=True) if table != default else {}
        if given:
            document[name] = given
    if actions:
        does = tomlkit.aot()
        for action in actions:
            made = tomlkit.table()
            made.update(does_table(action))
            does.append(made)
        document["does"] = does
    expect = tomlkit.table()
    for key, value in expect_table(seen).items():
        expect[key] = _lines(value) if key == "order" else value
    document["expect"] = expect
    return SCHEMA_LINE + tomlkit.dumps(document)


def _lines(events: Sequence[str]) -> tomlkit.items.Array:
    """One event a line: it is read and edited by people."""
    made = tomlkit.array()
    made.extend(events)
    return made.multiline(True)


def of_call(name: str, line: Line, caller: Wire, actions: Sequence[Action]) -> Scenario:
    """A scenario that expects nothing yet: its call is to be looked at. ``expect`` is one that no call has."""
    expect = {"outcome": Outcome.FAILED.value, "reason": "not_looked_at", "route": Destination.UNRECORDED.value}
    return Scenario.model_validate(
        {
            "name": name,
            "summary": f"a call {name}",
            "line": line,
            "caller": caller,
            "does": [does_table(action) for action in actions],
            "expect": expect,
        }
    )
