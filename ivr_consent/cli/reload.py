"""``ivr-consent reload``: the running service takes the configuration and the published notices into use."""

from __future__ import annotations

import typer

from ivr_consent.cli.terminal import Exit, Json, of, print_json, say, say_problem
from ivr_consent.core.errors import Problem


def reload(context: typer.Context, json: Json = False) -> None:
    """Have the running service read its configuration and the published notices anew.

    All or nothing: with anything wrong, the old stays in force and this says why (exit code 3). Calls under way keep
    the version that they began with.
    """
    settings = of(context).settings()
    from ivr_consent.control import ask

    answer = ask(settings, "reload")
    good = bool(answer.get("ok"))
    if json:
        print_json(answer)
    else:
        for problem in answer.get("problems", ()):
            say_problem(Problem(problem["where"], problem["found"], problem["remedy"]), error=True)
        say("reloaded" if good else "ivr-consent: not reloaded; what was in force stays in force", error=not good)
        for name, line in answer.get("lines", {}).items():
            force = f"version {line['version']}" if line["ready"] else "NOT RECORDED"
            say(f"line {name}: {force}")
    raise typer.Exit(Exit.GOOD if good else Exit.CONFIGURATION)
