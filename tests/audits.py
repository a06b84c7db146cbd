"""Sites for the audit: the fixtures of tests/data/audit with our own files added, and dialplans written in a test."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ivr_consent.config import Settings, parse
from ivr_consent.pbx.asterisk.audit.dialplan import Dialplan
from ivr_consent.pbx.asterisk.audit.judge import audit
from ivr_consent.pbx.asterisk.dialplan import render_files
from ivr_consent.pbx.audit.findings import Finding, Level
from ivr_consent.pbx.audit.report import Report

FIXTURES = Path(__file__).parent / "data" / "audit"

LINES: dict[str, Any] = {
    "support": {"recorded": "queues,support-recorded,1", "unrecorded": "queues,support,1"},
    "sales": {},
}

GATE = "#include ivr-consent/extensions_consent.conf\n"


def settings(lines: dict[str, Any] | None = None) -> Settings:
    """A configuration with lines."""
    return parse({"lines": LINES if lines is None else lines}, Path("/x.toml"), "")


def add_ours(folder: Path, config: Settings | None = None, script: Path | None = None) -> None:
    """Write our own files where a site includes them from."""
    ours = folder / "ivr-consent"
    ours.mkdir(parents=True, exist_ok=True)
    for name, text in render_files(config or settings(), script).items():
        (ours / name).write_text(text)


def fixture(name: str, tmp_path: Path) -> Path:
    """A copy of a fixture with our own files in it."""
    folder = tmp_path / name
    shutil.copytree(FIXTURES / name, folder)
    add_ours(folder)
    return folder


def site(tmp_path: Path, dialplan: str = "", **files: str) -> Path:
    """A site of some files: ``queues="..."`` is queues.conf. The gate is there to be included."""
    folder = tmp_path / "site"
    folder.mkdir(exist_ok=True)
    add_ours(folder)
    (folder / "extensions.conf").write_text(dialplan)
    for name, text in files.items():
        (folder / f"{name}.conf").write_text(text)
    return folder


def found(report: Report, *levels: Level) -> list[tuple[str, int, str]]:
    """Level, line and rule of each finding, of some levels."""
    return [
        (finding.level.value, finding.place.line, finding.rule.value)
        for finding in report.findings
        if not levels or finding.level in levels
    ]


def judged(tmp_path: Path, dialplan: str, **files: str) -> list[tuple[str, int, str]]:
    """What the audit says of a dialplan, but for notes; lines are counted in the dialplan as it is written."""
    return found(audit([site(tmp_path, dialplan, **files)]), Level.ERROR, Level.UNKNOWN, Level.WARNING)


def one(report: Report, line: int) -> Finding:
    """The finding of a line."""
    (finding,) = [finding for finding in report.findings if finding.place.line == line]
    return finding


def steps(dialplan: Dialplan) -> dict[tuple[str, str, str], dict[int, str]]:
    """A dialplan as plain values: ``App(arguments)`` by priority, by context, extension and caller id."""
    return {
        (context.name, extension.name, extension.caller): {
            number: f"{step.written}({step.arguments})" for number, step in sorted(extension.steps.items())
        }
        for context in dialplan.contexts.values()
        for extension in context.extensions.values()
        if extension.steps
    }
