"""Made-up dialplans against a plain machine that runs them: whatever recorder it comes to, the audit has told.

The machine is written from Asterisk's manual without a line of the audit's: it takes branches that depend on what is
not known by lot, and gets the gate's answers by lot. A recorder that it starts without a yes has to be an error or
unknown at that line; one with a yes has to be told too.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ivr_consent.pbx.asterisk.audit.judge import audit
from ivr_consent.pbx.audit.findings import Level, Rule
from tests.audits import GATE, site

OUTCOMES = ("granted", "declined", "no_answer", "invalid", "abandoned", "failed")
CONTEXTS = ("a", "b", "c")
NAMES = ("1", "2", "12", "_X", "_1X", "_[12].")
DIALLED = ("1", "2", "3", "12", "17", "25")
VARIABLES = ("V", "W")
MOST_STEPS = 60

R = '"${IVR_CONSENT_RESULT}"'

conditions = st.sampled_from([
    f'$[{R} = "granted"]', f'$[{R} != "granted"]', f'$[{R} = "declined"]', f'$[{R} = "granted" & "${{V}}" = "x"]',
    f'$[{R} = "granted" | "${{W}}" = "y"]', '$["${V}" = "x"]', '$["${W}" != "y"]', "$[1]", "0", "${UNKNOWN}",
    f'$[!({R} = "failed")]', '$["${ARG1}" = "x"]', '$["${COPY}" = "granted"]',
])  # fmt: skip  # rows that belong together
places = st.builds(
    ",".join,
    st.one_of(
        st.tuples(st.sampled_from(CONTEXTS), st.sampled_from(DIALLED), st.sampled_from(["1", "2", "here"])),
        st.tuples(st.sampled_from([*DIALLED, "${EXTEN}", "${V}"]), st.sampled_from(["1", "2"])),
        st.tuples(st.sampled_from(["1", "2", "3", "here"])),
    ),
)
simple = st.one_of(
    st.just("MixMonitor(x)"),
    st.just("Gosub(ivr-consent,s,1(support))"),
    st.builds(
        "Set({}={})".format, st.sampled_from(VARIABLES), st.sampled_from(["x", "y", "1", "2", "${UNKNOWN}", "${V}"])
    ),
    st.just("Set(COPY=${IVR_CONSENT_RESULT})"),
    st.builds("Goto({})".format, places),
    st.builds("GotoIf({}?{}:{})".format, conditions, places, places),
    st.builds("GotoIf({}?{})".format, conditions, places),
    st.builds(
        "Gosub({}({}))".format, places.filter(lambda place: place.count(",") == 2), st.sampled_from(["x", "${V}"])
    ),
    st.just("Return()"),
    st.just("Hangup()"),
    st.just("NoOp()"),
)
applications = st.one_of(
    simple,
    simple,
    st.builds("ExecIf({}?{})".format, conditions, simple),
    st.builds("ExecIf({}?{}:{})".format, conditions, simple, simple),
    st.builds("TryExec({})".format, simple),
)
extensions = st.dictionaries(
    st.sampled_from(NAMES), st.lists(applications, min_size=1, max_size=6), min_size=1, max_size=4
)
dialplans = st.fixed_dictionaries(
    {
        "contexts": st.fixed_dictionaries(dict.fromkeys(CONTEXTS, extensions)),
        "includes": st.lists(st.tuples(st.sampled_from(CONTEXTS), st.sampled_from(CONTEXTS)), max_size=2),
    }
)


def written(made: dict[str, object]) -> str:
    """A dialplan as a file. The second priority of every extension is labelled here."""
    lines = [GATE.rstrip()]
    contexts, includes = made["contexts"], made["includes"]
    assert isinstance(contexts, dict)
    assert isinstance(includes, list)
    for context, names in contexts.items():
        lines.append(f"[{context}]")
        lines += [f"include => {other}" for one, other in includes if one == context and other != context]
        for name, steps in names.items():
            for number, step in enumerate(steps, 1):
                lines.append(f"exten => {name},{number}{'(here)' if number == 2 else ''},{step}")
    return "\n".join(lines) + "\n"


# --- the machine -----------------------------------------------------------------------------------------------------


class Over(Exception):
    """The call has ended."""


@dataclass
class Call:
    """One call on the machine."""

    text: str
    lot: random.Random
    context: str
    dialled: str
    priority: int = 1
    variables: dict[str, str | None] = field(default_factory=dict)
    """None: something that the dialplan does not tell."""
    stack: list[tuple[str, str, int, dict[str, str | None]]] = field(default_factory=list)
    granted: bool = False
    recorded: list[tuple[int, bool]] = field(default_factory=list)
    """Lines of recorders that were started, each with whether the gate had granted."""

    def __post_init__(self) -> None:
        self.plan: dict[str, dict[str, dict[int, tuple[str, int]]]] = {}
        self.includes: dict[str, list[str]] = {}
        context = ""
        for number, line in enumerate(self.text.splitlines(), 1):
            if line.startswith("["):
                context = line.strip("[]")
                self.plan[context] = {}
            elif line.startswith("include"):
                self.includes.setdefault(context, []).append(line.split("=> ")[1])
            elif line.startswith("exten"):
                name, priority, step = line.removeprefix("exten => ").split(",", 2)
                self.plan[context].setdefault(name, {})[int(priority[0])] = (step, number)

    def look(self, context: str, dialled: str, priority: int, seen: tuple[str, ...] = ()) -> tuple[str, int] | None:
        """The step of a priority: names before patterns, patterns by how few they take, the context before includes."""
        order = {"_[12].": (2, 0), "_1X": (1, 0), "_X": (10, 0)}
        names = sorted(self.plan[context], key=lambda name: order.get(name, (0, 0)))
        for name in names:
            expression = name.replace("X", "[0-9]").replace(".", ".+").removeprefix("_")
            if re.fullmatch(expression if name[0] == "_" else re.escape(name), dialled):
                step = self.plan[context][name].get(priority)
                if step is not None:
                    return step
        for other in self.includes.get(context, ()):
            if other not in (context, *seen) and (found := self.look(other, dialled, priority, (*seen, context))):
                return found
        return None

    def value(self, text: str) -> str | None:
        """A text with its variables; None when one is not known."""
        parts = re.split(r"\$\{(\w+)\}", text)
        for index in range(1, len(parts), 2):
            known = (
                self.dialled if parts[index] == "EXTEN" else self.variables.get(parts[index], self.unset(parts[index]))
            )
            if known is None:
                return None
            parts[index] = known
        return "".join(parts)

    def unset(self, name: str) -> str | None:
        """A variable that was never set: empty for the gate's; whoever calls may have set the others."""
        return "" if name == "IVR_CONSENT_RESULT" else None

    def true(self, condition: str) -> bool:
        """Whether a condition holds; by lot where something in it is not known."""
        inner = condition.removeprefix("$[").removesuffix("]") if condition.startswith("$[") else condition
        if inner.startswith("!("):
            return not self.true(f"$[{inner[2:-1]}]")
        for operator, combine in ((" | ", any), (" & ", all)):
            if operator in inner:
                return combine([self.true(f"$[{part}]") for part in inner.split(operator)])
        if "=" in inner:
            left, right = re.split(r" !?= ", inner)
            a, b = self.value(left), self.value(right)
            if a is None or b is None:
                return self.lot.random() < 0.5
            return (a == b) == (" != " not in inner)
        known = self.value(inner)
        return self.lot.random() < 0.5 if known is None else known not in ("", "0")

    def jump(self, place: str) -> None:
        """Goto: a label is a priority of its own extension."""
        *where, priority = place.split(",")
        dialled = self.value(where[-1]) if where else self.dialled
        if dialled is None:
            raise Over
        context = where[0] if len(where) == 2 else self.context
        self.context, self.dialled, self.priority = context, dialled, 2 if priority == "here" else int(priority)

    def run(self) -> list[tuple[int, bool]]:
        """Run the call to its end, or for a while."""
        for _ in range(MOST_STEPS):
            step = self.look(self.context, self.dialled, self.priority)
            if step is None:
                break
            self.priority += 1
            try:
                self.do(step[0], step[1])
            except Over:
                break
        return self.recorded

    def do(self, step: str, line: int) -> None:
        """One application."""
        application, _, given = step.partition("(")
        given = given.removesuffix(")")
        if application == "MixMonitor":
            self.recorded.append((line, self.granted))
        elif application == "Set":
            name, _, text = given.partition("=")
            self.variables[name] = self.value(text)
        elif application == "Goto":
            self.jump(given)
        elif application == "GotoIf":
            condition, _, targets = given.partition("?")
            true, _, false = targets.partition(":")
            target = true if self.true(condition) else false
            if target:
                self.jump(target)
        elif application == "Gosub":
            self.gosub(given)
        elif application == "Return":
            if not self.stack:
                raise Over
            self.context, self.dialled, self.priority, arguments = self.stack.pop()
            self.variables |= arguments
        elif application == "ExecIf":
            condition, _, both = given.partition("?")
            true, false = split_applications(both)
            chosen = true if self.true(condition) else false
            if chosen:
                self.do(chosen, line)
        elif application == "TryExec":
            self.do(given, line)
        elif application == "Hangup":
            raise Over

    def gosub(self, given: str) -> None:
        """A subroutine; the gate answers by lot."""
        place, _, argument = given.partition("(")
        if place.startswith("ivr-consent"):
            outcome = self.lot.choice(OUTCOMES)
            self.variables["IVR_CONSENT_RESULT"] = outcome
            self.granted = outcome == "granted"
            return
        kept = {"ARG1": self.variables.get("ARG1")}
        here = (self.context, self.dialled, self.priority, kept)
        first = self.value(argument.removesuffix(")"))
        self.jump(place)
        if self.look(self.context, self.dialled, self.priority) is None:
            raise Over
        self.stack.append(here)
        self.variables["ARG1"] = first


def split_applications(both: str) -> tuple[str, str]:
    """``A(x):B(y)`` at the colon between the two."""
    depth = 0
    for index, character in enumerate(both):
        depth += (character in "([{") - (character in ")]}")
        if character == ":" and depth == 0:
            return both[:index], both[index + 1 :]
    return both, ""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=dialplans, seed=st.integers(0, 2**32))
@example(
    made={
        "contexts": {
            "a": {"_X": ["Gosub(ivr-consent,s,1(support))", f'GotoIf($[{R} = "granted"]?3)', "MixMonitor(x)"]},
            "b": {"1": ["NoOp()"]},
            "c": {"1": ["NoOp()"]},
        },
        "includes": [],
    },
    seed=0,
)  # fmt: skip  # rows that belong together
def test_whatever_records_was_told(tmp_path: Path, made: dict[str, object], seed: int) -> None:
    text = written(made)
    pjsip = "".join(f"[{name}]\ntype = endpoint\ncontext = {name}\n" for name in CONTEXTS)
    report = audit([site(tmp_path, text, pjsip=pjsip)])
    computed = any(finding.rule is Rule.COMPUTED for finding in report.findings)
    told = {finding.place.line for finding in report.findings if computed or finding.rule is not Rule.UNREACHED}
    bad = {finding.place.line for finding in report.findings if finding.level in (Level.ERROR, Level.UNKNOWN)}
    lot = random.Random(seed)  # noqa: S311 - the same lot each time
    for _ in range(40):
        call = Call(text, lot, lot.choice(CONTEXTS), lot.choice(DIALLED))
        for line, granted in call.run():
            assert line in told, (line, text)
            assert granted or line in bad, (line, text)


def test_the_machine_finds_recorders() -> None:
    """The machine itself: it comes to recorders with a yes and without one."""
    text = (
        "[a]\nexten => _X,1,Gosub(ivr-consent,s,1(support))\n"
        'exten => _X,2(here),GotoIf($["${IVR_CONSENT_RESULT}" = "granted"]?3:4)\n'
        "exten => _X,3,MixMonitor(x)\nexten => _X,4,MixMonitor(y)\n"
    )
    lot = random.Random(1)  # noqa: S311 - examples, no secret
    seen = {row for _ in range(50) for row in Call(text, lot, "a", "3").run()}
    assert seen == {(4, True), (5, True), (5, False)}


@pytest.mark.parametrize("result", ["", "granted"])
def test_a_wrong_audit_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: str) -> None:
    """The comparison can fail: an audit that takes every branch for decided is caught by the machine."""
    from ivr_consent.pbx.asterisk.audit.ways import Walk

    def decide(self: Walk, edge: object, condition: str, state: Any) -> tuple[int, int]:
        return (state.results, 0) if result else (0, state.results)

    monkeypatch.setattr(Walk, "decide", decide)
    text = (
        f"{GATE}[a]\nexten => _X,1,GotoIf(${{UNKNOWN}}?2:3)\nexten => _X,2(here),Goto(2)\nexten => _X,3,MixMonitor(x)\n"
    )
    if result == "":
        text = text.replace("?2:3", "?3:2")
    levels = {f.place.line: f.rule.value for f in audit([site(tmp_path, text)]).findings}
    lot = random.Random(2)  # noqa: S311 - examples, no secret
    assert any(Call(text, lot, "a", "3").run() for _ in range(20))
    assert levels == {5: "recording-not-reached"}
