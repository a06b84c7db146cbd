"""Verdicts for other programs: JUnit's XML, as integration servers read it, and one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from ivr_consent.testing.verdict import Verdict, counts, told


def json_line(verdict: Verdict) -> str:
    """One verdict with its call, in ASCII on one line."""
    return json.dumps(verdict.plain(), ensure_ascii=True) + "\n"


def junit(verdicts: Sequence[Verdict]) -> bytes:
    """The XML of all verdicts: a suite for each scenario file, a case for each scenario."""
    root = Element("testsuites", name="ivr-consent")
    _sums(root, verdicts)
    for file in dict.fromkeys(_file(verdict) for verdict in verdicts):
        mine = [verdict for verdict in verdicts if _file(verdict) == file]
        suite = SubElement(root, "testsuite", name=_plain(file))
        _sums(suite, mine)
        for verdict in mine:
            _case(suite, verdict)
    indent(root)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _file(verdict: Verdict) -> str:
    return f"{verdict.on}.{verdict.scenario.name.partition('/')[0]}"


def _sums(element: Element, verdicts: Sequence[Verdict]) -> None:
    sums = counts(verdicts)
    element.set("tests", str(len(verdicts)))
    element.set("failures", str(sums["failed"]))
    element.set("errors", "0")
    element.set("skipped", str(sums["skipped"]))
    element.set("time", f"{sum(verdict.seconds for verdict in verdicts):.6f}")


def _case(suite: Element, verdict: Verdict) -> None:
    case = SubElement(
        suite,
        "testcase",
        classname=_plain(_file(verdict)),
        name=_plain(verdict.scenario.name),
        time=f"{verdict.seconds:.6f}",
    )
    if verdict.skipped:
        SubElement(case, "skipped", message=_plain(verdict.skipped))
    elif verdict.wrong:
        failure = SubElement(case, "failure", message=_plain("; ".join(verdict.wrong)))
        failure.text = _plain("\n".join(told(verdict)))


def _plain(text: str) -> str:
    """Without the characters that no XML document may hold."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
