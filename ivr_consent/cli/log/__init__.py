"""``ivr-consent log``: questions to the log, its evidence, and its copies."""

from __future__ import annotations

import typer

from ivr_consent.cli.log import exports, questions

app = typer.Typer(help="Read, verify and look after the log of decisions.", no_args_is_help=True)
app.command("list")(questions.list_)
app.command("show")(questions.show)
app.command("export")(exports.export)
