"""Verdicts for other programs: JUnit's XML, as integration servers read it, and one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from ivr_consent.testing.verdict import Verdict, told


def json_line(verdict: Verdict) -> str:
    """One verdict with its call, in ASCII on one line."""
    return json.dumps(verdict.plain(), ensure_ascii=True) + "\n"


@dataclass(frozen=True, slots=True)
class Case:
    """What a JUnit report says of one case: its suite and name, seconds, what is wrong, and more of a failure."""

    suite: str
    name: str
    seconds: float
    wrong: tuple[str, ...]
    told: tuple[str, ...]
    skipped: str = ""


def junit(verdicts: Sequence[Verdict]) -> bytes:
    """The XML of all verdicts: a suite for each scenario file, a case for each scenario."""
    return junit_of(
        [
            Case(
                f"{verdict.on}.{verdict.scenario.name.partition('/')[0]}",
                verdict.scenario.name,
                verdict.seconds,
                verdict.wrong,
                tuple(told(verdict)) if verdict.wrong else (),
                verdict.skipped,
            )
            for verdict in verdicts
        ]
    )


def junit_of(cases: Sequence[Case]) -> bytes:
    """The XML of cases, by their suites."""
    root = Element("testsuites", name="ivr-consent")
    _sums(root, cases)
    for name in dict.fromkeys(case.suite for case in cases):
        mine = [case for case in cases if case.suite == name]
        suite = SubElement(root, "testsuite", name=_plain(name))
        _sums(suite, mine)
        for case in mine:
            _case(suite, case)
    indent(root)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _sums(element: Element, cases: Sequence[Case]) -> None:
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(bool(case.wrong) and not case.skipped for case in cases)))
    element.set("errors", "0")
    element.set("skipped", str(sum(bool(case.skipped) for case in cases)))
    element.set("time", f"{sum(case.seconds for case in cases):.6f}")


def _case(suite: Element, case: Case) -> None:
    element = SubElement(
        suite, "testcase", classname=_plain(case.suite), name=_plain(case.name), time=f"{case.seconds:.6f}"
    )
    if case.skipped:
        SubElement(element, "skipped", message=_plain(case.skipped))
    elif case.wrong:
        failure = SubElement(element, "failure", message=_plain("; ".join(case.wrong)))
        failure.text = _plain("\n".join(case.told))


def _plain(text: str) -> str:
    """Without the characters that no XML document may hold."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
