"""Made-up dialplans: what a small interpreter of the dialplan records without a yes, the audit has to report."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from ivr_consent.core.decision import Outcome
from ivr_consent.pbx.audit.findings import Level
from ivr_consent.pbx.freeswitch.audit.judge import audit
from ivr_consent.pbx.freeswitch.dialplan import FILE
from tests.freeswitch_audits import PROFILE, public, settings, site

RESULT = "ivr_consent_result"
OUTCOMES = [outcome.value for outcome in Outcome]
CONTEXTS = ("public", "queues", "rooms")
NUMBERS = ("1", "2", "31", "32", "support", "support_recorded")
VARIABLES = ("a", "b", RESULT)


# --- a small interpreter ---------------------------------------------------------------------------------------------


class _HangUp(Exception):
    """The call is over."""


class _Transfer(Exception):
    """The call goes to another destination."""


@dataclass
class Run:
    """One call: what it knows, and in which lines something recorded it without a yes."""

    rng: random.Random
    contexts: dict[str, Any]
    variables: dict[str, str] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    steps: int = 0

    def call(self, number: str, context: str) -> None:
        while True:
            try:
                self.go(number, context)
            except _Transfer as transfer:
                number, context = transfer.args
                continue
            except _HangUp:
                pass
            return

    def go(self, number: str, context: str) -> None:
        rows = self.hunt(number, context)
        for application, data in rows:
            self.steps += 1
            if self.steps > 60:
                raise _HangUp
            self.perform(application, self.expand(data, number), number, context)

    def expand(self, text: str, number: str) -> str:
        known = {**self.variables, "destination_number": number}
        return re.sub(r"\$\{(\w+)\}", lambda found: known.get(found[1], ""), text)

    def perform(self, application: str, data: str, number: str, context: str) -> None:
        words = data.split(" ")
        if application == "record_session":
            if self.variables.get(RESULT, "") != "granted":
                self.recorded.add(words[0])
        elif application == "set":
            name, _, value = data.partition("=")
            self.variables[name] = value
        elif application == "unset":
            self.variables.pop(data, None)
        elif application == "socket":
            self.variables[RESULT] = self.rng.choice(OUTCOMES)
        elif application == "hangup":
            raise _HangUp
        elif application == "transfer":
            raise _Transfer(words[0], words[2] if len(words) > 2 else context)
        elif application == "execute_extension":
            self.go(words[0], words[2] if len(words) > 2 else context)

    def hunt(self, number: str, context: str) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        for extension in self.contexts.get(context, ()):
            if self.conditions(extension, number, rows, 0) and extension.get("continue") != "true":
                break
        return rows

    def conditions(self, holder: Any, number: str, rows: list[tuple[str, str]], depth: int) -> bool:
        proceed = False
        for condition in holder.findall("condition"):
            anti, field_ = True, condition.get("field")
            captures = None
            if condition.get("wday"):
                proceed = self.rng.random() < 0.5
                anti = not proceed
            if condition.get("regex"):
                anti, proceed = self.rule(condition, number)
            elif field_ is not None:
                found = self.matches(condition, number)
                proceed = found is not None
                if found is not None:
                    anti, captures = False, found
            elif not condition.get("wday"):
                anti, proceed = False, True
            for action in condition.findall("anti-action" if anti else "action"):
                data = action.get("data", "")
                if captures is not None and "(" in condition.get("expression", ""):
                    data = self.substituted(data, captures)
                if action.get("inline") == "true":
                    self.perform(action.get("application"), self.expand(data, number), number, "")
                else:
                    rows.append((action.get("application"), data))
            if anti and condition.findall("anti-action"):
                proceed = True
            breaks = condition.get("break", "on-false")
            if breaks in ("always", "on-false" if anti else "on-true"):
                break
            if proceed and condition.findall("condition"):
                proceed = self.conditions(condition, number, rows, depth + 1)
                if not proceed and breaks != "never":
                    break
        return proceed or (depth > 0 and holder.get("require-nested") == "false")

    @staticmethod
    def substituted(data: str, captures: re.Match[str]) -> str:
        def group(one: re.Match[str]) -> str:
            number = int(one[1])
            return (captures[number] or "") if number <= captures.re.groups else ""

        return re.sub(r"\$(\d)", group, data)

    def matches(self, condition: Any, number: str) -> re.Match[str] | None:
        name = condition.get("field")
        text = number if name == "destination_number" else self.expand(name, number)
        if name == "caller_id_number":
            text = self.rng.choice(("1", "5"))
        return re.search(self.expand(condition.get("expression"), number), text)

    def rule(self, condition: Any, number: str) -> tuple[bool, bool]:
        kind = condition.get("regex")
        passes = fails = 0
        proceed = False
        for one in condition.findall("regex"):
            proceed = self.matches(one, number) is not None
            passes, fails = passes + proceed, fails + (not proceed)
            if (proceed and kind == "any") or (not proceed and kind == "all"):
                break
        taken = passes == 1 if kind == "xor" else (not fails if kind == "all" else passes > 0)
        return not taken, proceed


# --- made-up dialplans -----------------------------------------------------------------------------------------------


class Maker:
    """Writes dialplans at random; every recorder has a file name of its own."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.recorders = 0

    def target(self, captures: bool) -> str:
        number = self.rng.choice([*NUMBERS, "${a}", "${destination_number}", "3$1" if captures else "31"])
        return f"{number} XML {self.rng.choice(CONTEXTS)}"

    def action(self, tag: str, captures: bool) -> str:
        kind = self.rng.random()
        inline = ""
        if kind < 0.25:
            self.recorders += 1
            text = ("record_session", f"r{self.recorders}")
        elif kind < 0.45:
            value = self.rng.choice(["1", "2", "${b}", "${ivr_consent_result}", "granted"])
            text = ("set", f"{self.rng.choice(VARIABLES[:2])}={value}")
            inline = ' inline="true"' if self.rng.random() < 0.5 else ""
        elif kind < 0.55:
            text = ("transfer", "support XML ivr-consent")
        elif kind < 0.7:
            text = ("transfer", self.target(captures))
        elif kind < 0.85:
            text = ("execute_extension", self.target(captures))
        elif kind < 0.9:
            text = ("unset", self.rng.choice(VARIABLES[:2]))
        else:
            text = ("answer", "")
        return f'<{tag} application="{text[0]}" data="{text[1]}"{inline}/>\n'

    def test(self) -> str:
        kind = self.rng.random()
        if kind < 0.4:
            number = self.rng.choice(["^1$", "^3(.)$", "^(.*)$", "^[123]", "support", "^(31|32)$", "t_rec"])
            return f'field="destination_number" expression="{number}"'
        if kind < 0.75:
            name = self.rng.choice(VARIABLES)
            value = self.rng.choice(["^granted$", "^1$", "granted|declined", "^$", "declined", "^${b}$"])
            return f'field="${{{name}}}" expression="{value}"'
        return 'field="caller_id_number" expression="^1$"'

    def condition(self, depth: int = 0) -> str:
        attributes, inside, captures = "", "", False
        kind = self.rng.random()
        if kind < 0.2:
            attributes = f'regex="{self.rng.choice(("all", "any", "xor"))}"'
            inside = "".join(f"<regex {self.test()}/>" for _ in range(self.rng.randint(1, 3)))
            captures = False
            inside = inside.replace("(", "(?:")
        elif kind < 0.85:
            attributes = self.test()
            captures = "(" in attributes
        if self.rng.random() < 0.1 and "$1" not in inside:
            attributes += ' wday="2-6"'
            captures = False
        if self.rng.random() < 0.4:
            attributes += f' break="{self.rng.choice(("on-true", "on-false", "always", "never"))}"'
        if self.rng.random() < 0.2:
            attributes += ' require-nested="false"'
        for _ in range(self.rng.randint(0, 2)):
            inside += self.action("action", captures)
        if self.rng.random() < 0.3:
            inside += self.action("anti-action", False)
        if depth < 2 and self.rng.random() < 0.25:
            inside += self.condition(depth + 1)
        return f"<condition {attributes}>{inside}</condition>\n"

    def dialplan(self) -> str:
        contexts = []
        for name in CONTEXTS:
            extensions = ""
            for number in range(self.rng.randint(1, 4)):
                going = ' continue="true"' if self.rng.random() < 0.4 else ""
                conditions = "".join(self.condition() for _ in range(self.rng.randint(1, 3)))
                extensions += f'<extension name="e{number}"{going}>{conditions}</extension>\n'
            contexts.append(f'<context name="{name}">\n{extensions}</context>\n')
        return "".join(contexts)


def parsed(*texts: str) -> dict[str, Any]:
    """Contexts as the interpreter takes them."""
    joined = "".join(text.replace("<include>", "").replace("</include>", "") for text in texts)
    root = ET.fromstring(f"<a>{joined}</a>")  # noqa: S314 - written by this test itself
    return {context.get("name", ""): context.findall("extension") for context in root.findall("context")}


@pytest.mark.parametrize("seed", range(12))
def test_what_records_without_a_yes_is_reported(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - the same dialplans each time
    ran = 0
    for number in range(15):
        maker = Maker(rng)
        dialplan = maker.dialplan()
        folder = site(tmp_path / str(number), dialplan)
        (folder / "dialplan" / "queues.xml").unlink()
        report = audit([folder])
        told = {
            f"r{found}"
            for finding in report.findings
            if finding.level in (Level.ERROR, Level.UNKNOWN) and finding.way
            for found in re.findall(r"record_session r(\d+)$", finding.way[-1].what)
        }
        contexts = parsed(dialplan, (folder / "dialplan" / FILE).read_text())
        for _ in range(60):
            run = Run(rng, contexts)
            run.call(rng.choice(NUMBERS), "public")
            ran += len(run.recorded)
            assert run.recorded <= told, f"{run.recorded - told} of {dialplan}"
    assert ran > 20  # else nothing was tried


# --- size ------------------------------------------------------------------------------------------------------------


def test_a_dialplan_of_fifty_thousand_lines(tmp_path: Path) -> None:
    """Departments that ask, telephones, and one recorder before the gate on the last line."""
    lines = ['<context name="public">']
    for number in range(5_000):
        lines += [
            f'<extension name="did {number}">',
            f'<condition field="destination_number" expression="^0{number:05}$">',
            '<action application="answer"/>',
            f'<action application="set" data="department={number}"/>',
            f'<action application="transfer" data="menu-{number} XML menus"/>',
            "</condition>",
            "</extension>",
        ]
    lines += ["</context>", '<context name="menus">']
    for number in range(1_900):
        lines += [
            f'<extension name="menu {number}">',
            f'<condition field="destination_number" expression="^(menu-{number}|m{number}[0-9])$">',
            '<action application="set" data="ringback=${us-ring}"/>',
            '<action application="playback" data="menu.wav"/>',
            '<action application="transfer" data="support XML ivr-consent"/>',
            "</condition>",
            "</extension>",
        ]
    last = '<action application="record_session" data="/x.wav"/>'
    lines += [f'<extension name="last"><condition field="destination_number" expression="^menu-4999$">{last}']
    lines += ["</condition></extension>", "</context>"]
    assert len(lines) > 48_000
    folder = site(tmp_path, "\n".join(lines), settings())
    (folder / "autoload_configs" / "sofia.conf.xml").write_text(PROFILE)
    began = time.monotonic()
    report = audit([folder])
    took = time.monotonic() - began
    (finding,) = report.findings
    assert (finding.level, finding.place.line) == (Level.ERROR, len(lines) - 2)
    assert [stop.at for stop in finding.way] == ["public", "public,did 4999", "menus,last"]
    assert took < 25, f"{took:.1f} s"


def test_rows_that_part_and_meet_again(tmp_path: Path) -> None:
    """Every condition may be true or not: two to the power of a thousand rows, in no time."""
    one = '<extension name="c" continue="true"><condition field="caller_id_number" expression="^{}">{}</condition>\n'
    actions = public(("record_session", "/x"))
    text = "".join(
        one.format(number, f'<action application="set" data="v{number % 7}={number}"/>') + "</extension>"
        for number in range(1_000)
    )
    folder = site(tmp_path, actions.replace("<extension", text + "<extension", 1))
    began = time.monotonic()
    report = audit([folder])
    assert [finding.level for finding in report.findings] == [Level.ERROR]
    assert time.monotonic() - began < 25


@pytest.mark.parametrize("expression", ["^(a+)+$", "^(a|a)*b", "((((a{1,900}){1,900})))", "(.*)(.*)(.*)(.*)(.*)x$"])
def test_expressions_that_were_written_to_take_long(tmp_path: Path, expression: str) -> None:
    text = public(("transfer", "a" * 1_500 + "! XML rooms"))
    rooms = text.replace("public", "rooms").replace("^100$", expression)
    began = time.monotonic()
    audit([site(tmp_path, text + rooms)])
    assert time.monotonic() - began < 20
