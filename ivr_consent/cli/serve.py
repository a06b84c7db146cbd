"""``ivr-consent serve``: run the server."""

from __future__ import annotations

import typer

from ivr_consent.cli.terminal import Json, of


def serve(context: typer.Context, json: Json = False) -> None:
    """Answer the switch until SIGTERM; SIGHUP reads the configuration anew.

    Logs go to standard error as JSON, one object a line, with or without --json.
    """
    of(context).settings()  # a wrong configuration is told here, in words or in JSON, before anything starts
    from ivr_consent import service

    raise typer.Exit(service.serve(of(context).config))
