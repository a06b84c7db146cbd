"""Findings as SARIF 2.1.0, the form in which build servers and editors show findings beside the lines."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ivr_consent import __version__
from ivr_consent.pbx.audit.findings import Finding, Level, Place, Rule
from ivr_consent.pbx.audit.report import Report

_LEVELS: Final = {
    Level.ERROR: "error",
    Level.WARNING: "warning",
    Level.UNKNOWN: "warning",  # SARIF's own "open" has no level, and would be left out by what only looks at levels
    Level.NOTE: "note",
}

ROOT: Final = "SITE"
"""The name of the directory that files are relative to."""


def sarif(report: Report) -> dict[str, Any]:
    """A report as one SARIF document."""
    rules = list(Rule)
    return {
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "ivr-consent",
                        "semanticVersion": __version__,
                        "rules": [{"id": rule.value, "shortDescription": {"text": rule.meaning}} for rule in rules],
                    }
                },
                "originalUriBaseIds": {ROOT: {"uri": report.root.as_uri() + "/"}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, rules) for finding in report.findings],
            }
        ],
    }


def _result(finding: Finding, rules: list[Rule]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule.value,
        "ruleIndex": rules.index(finding.rule),
        "level": _LEVELS[finding.level],
        "message": {"text": _text(f"{finding.found}. To do: {finding.remedy}.")},
        "locations": [_location(finding.place)],
        "partialFingerprints": {"finding/v1": _fingerprint(finding)},
        "properties": {"auditLevel": finding.level.value},
    }
    if finding.way:
        stops = [
            {"location": {**_location(stop.place), "message": {"text": _text(f"{stop.at}  {stop.what}")}}}
            for stop in finding.way
        ]
        result["codeFlows"] = [{"threadFlows": [{"locations": stops}]}]
    return result


def _location(place: Place) -> dict[str, Any]:
    uri: dict[str, Any] = (
        {"uri": Path(place.file).as_uri()}
        if place.file.startswith("/")
        else {"uri": quote(place.file), "uriBaseId": ROOT}
    )
    physical: dict[str, Any] = {"artifactLocation": uri}
    if place.line:
        physical["region"] = {"startLine": place.line}
    return {"physicalLocation": physical}


def _text(text: str) -> str:
    """Without characters that a viewer might act upon."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def _fingerprint(finding: Finding) -> str:
    """The same finding has the same one when lines above it were added or removed."""
    parts = (finding.rule.value, finding.place.file, finding.found, finding.way[-1].at if finding.way else "")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:32]
