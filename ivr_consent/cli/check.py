"""``ivr-consent check``: everything a consented call needs, looked at, each with what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from ivr_consent.cli.terminal import Json, of, print_json, print_table, say


def check(
    context: typer.Context,
    asterisk: Annotated[
        str, typer.Option(metavar="PROGRAM", help="Asterisk's own program, asked where the manager user may not ask.")
    ] = "asterisk",
    json: Json = False,
) -> None:
    """Check configuration, notices, audio, log, recordings and the switch. Changes nothing.

    Exit code 0 without a problem (warnings are none); with problems in one area alone that area's code, else 1.
    """
    settings = of(context).settings()
    from ivr_consent.cli import check_freeswitch, check_host, check_switch
    from ivr_consent.cli.findings import State, exit_of

    findings = [*check_host.findings(settings)]
    if settings.switch == "freeswitch":
        findings += check_freeswitch.findings(settings)
    else:
        findings += check_switch.findings(settings, asterisk)
    code = exit_of(findings)
    if json:
        rows = [
            {"area": f.area, "name": f.name, "state": f.state, "found": f.found, "remedy": f.remedy} for f in findings
        ]
        print_json({"ok": not code, "exit": int(code), "configuration": str(settings.source), "findings": rows})
        raise typer.Exit(code)
    styles = {State.OK.value: "green", State.WARNING.value: "yellow", State.PROBLEM.value: "bold red"}
    print_table(
        ("area", "what", "state", "found", "what to do"),
        [(f.area.value, f.name, f.state.value, f.found, f.remedy) for f in findings],
        styles=styles,
    )
    counts = [(sum(f.state is state for f in findings), state.value) for state in State]
    say(", ".join(f"{number} {name}" for number, name in counts if number))
    raise typer.Exit(code)
