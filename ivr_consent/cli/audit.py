"""``ivr-consent audit``: where a site's own files let a recording start, and whether the gate stands before it."""

from __future__ import annotations

import gc
import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ivr_consent.cli.terminal import Exit, Json, print_json, say, settings_if_any

if TYPE_CHECKING:
    from ivr_consent.config import Settings
    from ivr_consent.pbx.audit.findings import Finding, Level
    from ivr_consent.pbx.audit.report import Report


def audit(
    context: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR|FILES",
            exists=True,
            help="A directory such as /etc/asterisk or /etc/freeswitch, or single files; others are not known.",
        ),
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are problems too.")] = False,
    notes: Annotated[bool, typer.Option("--notes", help="Print notes too.")] = False,
    sarif: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write SARIF 2.1.0 there; - is standard output.")
    ] = None,
    json: Json = False,
) -> None:
    """Read the switch's files: where can a recording start, and is the gate before it on every way? Runs nothing.

    Exit code 1 with an error, 6 when there is no error but something that cannot be known, else 0.
    """
    from ivr_consent.core.errors import ConsentError
    from ivr_consent.pbx.audit.findings import Level

    collects = gc.isenabled()
    gc.disable()  # hundreds of thousands of small objects, none of which ends before the report: a third of the time
    try:
        report = _audited(paths, settings_if_any(context))
    except ConsentError as error:
        if type(error) is not ConsentError:
            raise
        raise typer.BadParameter(str(error)) from None
    finally:
        if collects:
            gc.enable()
    code = exit_of(report, strict=strict)
    if sarif is not None:
        _write_sarif(report, sarif)
    if json:
        print_json({"ok": not code, "exit": int(code), **report.plain()})
    elif sarif is None or str(sarif) != "-":
        shown = [finding for finding in report.findings if notes or finding.level is not Level.NOTE]
        for finding in shown:
            _say_finding(finding)
        _say_counts(report)
    raise typer.Exit(code)


def _audited(paths: list[Path], settings: Settings | None) -> Report:
    """Audit as the switch whose files these are: XML is FreeSWITCH's."""
    from ivr_consent.pbx.freeswitch.audit.documents import is_freeswitch

    if is_freeswitch(paths):
        from ivr_consent.pbx.freeswitch.audit.judge import audit as audit_freeswitch

        return audit_freeswitch(paths, settings)
    from ivr_consent.pbx.asterisk.audit.judge import audit as audit_asterisk

    return audit_asterisk(paths, settings)


def exit_of(report: Report, *, strict: bool) -> Exit:
    """1 with an error (or a warning where that counts), 6 with something unknown alone, else 0."""
    from ivr_consent.pbx.audit.findings import Level

    if report.count(Level.ERROR) or (strict and report.count(Level.WARNING)):
        return Exit.PROBLEMS
    return Exit.UNKNOWN if report.count(Level.UNKNOWN) else Exit.GOOD


def _write_sarif(report: Report, path: Path) -> None:
    from ivr_consent.pbx.audit.sarif import sarif

    text = json_module.dumps(sarif(report), ensure_ascii=True, indent=1).replace("\x7f", "\\u007f") + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written ({error.strerror})") from None


def _say_finding(finding: Finding) -> None:
    """A finding in a few lines: where, what, the way there, what to do."""
    say(f"{_mark(finding.level)}{finding.place}: {finding.found}  [{finding.rule.value}]")
    if len(finding.way) > 1:
        for number, stop in enumerate(finding.way):
            say(f"  {'way:' if number == 0 else '    '}  {stop.place}  {stop.at}  {stop.what}")
    say(f"  do:   {finding.remedy}")


def _mark(level: Level) -> str:
    return f"{level.value + ':':<9}"


def _say_counts(report: Report) -> None:
    from ivr_consent.pbx.audit.findings import Level

    counts = ", ".join(f"{report.count(level)} {level.value}" for level in Level)
    lines = sum(report.read.values())
    steps = f"{report.steps[1]} {report.steps[0]}"
    read = f"{len(report.read)} files, {lines} lines, {report.contexts} contexts, {steps}"
    say(f"{report.switch}: {read}: {counts}")
