"""``ivr-consent dialplan``: print or write what the switch's dialplan includes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ivr_consent.cli import files
from ivr_consent.cli.terminal import Exit, Json, of, print_json, say

if TYPE_CHECKING:
    from ivr_consent.config import Settings

RELOAD: Final = {
    "asterisk": "asterisk -rx 'dialplan reload'; asterisk -rx 'module reload features'",
    "freeswitch": "fs_cli -x reloadxml",
}
"""How a changed dialplan is taken into use, by the kind of switch."""

_SCRIPT = re.compile(r"(?m)^ same => n,AGI\((/[^,()\s]+),")
"""The gate's call of a program of this machine; the server's has an ``agi://`` address there."""


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
            help="For a site without the server: the absolute path of ivr-consent-agi, which the gate runs instead. "
            "A gate in DIR that runs one already keeps it.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print the dialplan of the configuration, or write it into files."""
    settings = of(context).settings()
    kept_script = None
    if settings.switch == "freeswitch":
        if script is not None:
            raise typer.BadParameter("FreeSWITCH has no such scripts; the server serves it", param_hint="--script")
        rendered = rendered_files(settings)
    else:
        from ivr_consent.pbx.asterisk.dialplan import INCLUDE_FILE

        if write is not None and script is None:
            script = kept_script = script_in(write / INCLUDE_FILE)
        rendered = rendered_files(settings, script)
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
        written = {str(write / name): what for name, what in done.items()}
        print_json({"ok": not foreign, "files": written, "script": str(script) if script is not None else None})
    else:
        for name, what in done.items():
            why = ": it is not of ours; rename it, or write elsewhere" if what == "kept" else ""
            say(f"{what:<10} {write / name}{why}")
        if kept_script is not None:
            say(f"the gate runs the classic script as before: {kept_script}")
            say(f"to go over to the server, remove {write / INCLUDE_FILE} first, then write it anew")
        say(f"take it into use with: {RELOAD[settings.switch]}")
    raise typer.Exit(Exit.PROBLEMS if foreign else Exit.GOOD)


def rendered_files(settings: Settings, script: Path | None = None) -> dict[str, str]:
    """Every file of ours for the configuration of its switch, by its name."""
    if settings.switch == "freeswitch":
        from ivr_consent.pbx.freeswitch import dialplan as freeswitch

        return freeswitch.render_files(settings)
    from ivr_consent.pbx.asterisk.dialplan import render_files

    return render_files(settings, script)


def script_in(path: Path) -> Path | None:
    """The classic script that a gate of ours runs in place of the server; ``None`` when it runs none."""
    from ivr_consent.pbx.asterisk.dialplan import is_ours

    text = files.read(path) if files.exists(path) else ""
    found = _SCRIPT.search(text) if is_ours(text) else None
    return Path(found[1]) if found is not None else None


def write_files(rendered: dict[str, str], directory: Path) -> dict[str, str]:
    """Write each file; what became of it by name: ``written``, ``rewritten``, ``unchanged`` or ``kept``."""
    from ivr_consent.pbx.asterisk.dialplan import is_ours
    from ivr_consent.pbx.freeswitch.dialplan import is_ours as is_ours_too

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
        elif is_ours(old) or is_ours_too(old):
            files.replace(path, text)
            done[name] = "rewritten"
        else:
            done[name] = "kept"
    return done
