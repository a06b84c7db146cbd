"""The command ``ivr-consent``: one app, its verbs in the modules beside this one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ivr_consent import __version__
from ivr_consent.cli import log, prompts, recordings
from ivr_consent.cli.audit import audit
from ivr_consent.cli.call import call
from ivr_consent.cli.check import check
from ivr_consent.cli.dialplan import dialplan
from ivr_consent.cli.init import init
from ivr_consent.cli.plain import ENVIRONMENT, config_path
from ivr_consent.cli.reload import reload
from ivr_consent.cli.run import run
from ivr_consent.cli.schema import schema
from ivr_consent.cli.serve import serve
from ivr_consent.cli.terminal import EPILOG, Exit, Globals, print_json, tell
from ivr_consent.cli.test import scenarios
from ivr_consent.core.errors import ConsentError


class Command(TyperGroup):
    """The app's root: errors that are raised on purpose become their message and an exit code, never a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line; see click's own ``main`` for the arguments."""
        given = kwargs.get("args", args[0] if args else None)
        as_json = "--json" in (sys.argv[1:] if given is None else given)
        standalone = kwargs.get("standalone_mode", True)
        try:
            if not (as_json and standalone):
                return super().main(*args, **kwargs)
            code = super().main(*args, **(kwargs | {"standalone_mode": False}))
        except ConsentError as error:
            code = tell(error, as_json=as_json)
        except typer.Abort:
            if not (as_json and standalone):
                raise
            code = Exit.PROBLEMS
        except Exception as error:
            # A wrong command line has a class of the click that typer brings along, which differs by typer's version.
            message = getattr(error, "format_message", None)
            if not as_json or message is None:
                raise
            code = Exit.USAGE
            told = {"kind": "UsageError", "message": message(), "problems": []}
            print_json({"ok": False, "exit": int(code), "error": told})
        if not standalone:
            return code
        sys.exit(code if isinstance(code, int) else Exit.GOOD)


app = typer.Typer(
    name="ivr-consent",
    cls=Command,
    help="A call is recorded only after its caller has said yes by a key.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("init")(init)
app.command("check")(check)
app.command("audit")(audit)
app.command("serve")(serve)
app.command("reload")(reload)
app.command("run")(run)
app.command("call")(call)
app.command("dialplan")(dialplan)
app.command("schema")(schema)
app.command("test")(scenarios)
app.command("withdraw")(recordings.withdraw)
app.command("sweep")(recordings.sweep)
app.add_typer(log.app, name="log")
app.add_typer(prompts.app, name="prompts")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ivr-consent {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="PATH",
            envvar=ENVIRONMENT,
            help="The configuration; else ./ivr-consent.toml where there is one, "
            "else /etc/ivr-consent/ivr-consent.toml.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Options of every verb."""
    context.obj = Globals(config_path(config))
