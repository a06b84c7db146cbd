"""``ivr-consent dialplan``: print or write what Asterisk's dialplan includes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivr_consent.cli import files
from ivr_consent.cli.terminal import Exit, Json, of, print_json, say


def dialplan(
    context: typer.Context,
    write: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the files there; over those that this command wrote, and no others."),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="For a site without the server: the absolute path of ivr-consent-agi, which the gate runs instead.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print the dialplan of the configuration, or write it into files."""
    settings = of(context).settings()
    from ivr_consent.pbx.asterisk.dialplan import render_files  # noqa: PLC0415 - no other verb needs it

    rendered = render_files(settings, script)
    if write is None:
        if json:
            print_json({"ok": True, "files": rendered})
        else:
            for text in rendered.values():
                for line in text.splitlines():
                    say(line)
                say()
        return
    done = write_files(rendered, write)
    foreign = "kept" in done.values()
    if json:
        print_json({"ok": not foreign, "files": {str(write / name): what for name, what in done.items()}})
    else:
        for name, what in done.items():
            why = ": it is not of ours; rename it, or write elsewhere" if what == "kept" else ""
            say(f"{what:<10} {write / name}{why}")
        say("take it into use with: asterisk -rx 'dialplan reload'")
    raise typer.Exit(Exit.PROBLEMS if foreign else Exit.GOOD)


def write_files(rendered: dict[str, str], directory: Path) -> dict[str, str]:
    """Write each file; what became of it by name: ``written``, ``rewritten``, ``unchanged`` or ``kept``."""
    from ivr_consent.pbx.asterisk.dialplan import is_ours  # noqa: PLC0415 - see above

    files.make_directory(directory, 0o755)
    done = {}
    for name, text in rendered.items():
        path = directory / name
        if files.write_new(path, text, 0o644):
            done[name] = "written"
            continue
        old = files.read(path)
        if old == text:
            done[name] = "unchanged"
        elif is_ours(old):
            files.replace(path, text)
            done[name] = "rewritten"
        else:
            done[name] = "kept"
    return done
