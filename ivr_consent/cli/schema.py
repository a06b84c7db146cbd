"""``ivr-consent schema``: JSON schemas of the files that administrators write, for completion in their editors."""

from __future__ import annotations

import json as standard_json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ivr_consent.cli import files
from ivr_consent.cli.terminal import Exit, Json, print_json, say


class Kind(StrEnum):
    """Of which files there is a schema."""

    CONFIG = "config"
    NOTICE = "notice"
    SCENARIO = "scenario"


def schema(
    kind: Annotated[
        Kind | None, typer.Argument(help="Of the configuration, of notice or of scenario files; with --write all.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write it there; over a schema that this command wrote, and nothing else."),
    ] = None,
    json: Json = False,
) -> None:
    """Print or write the JSON schema of the configuration, of notice or scenario files, for editors that know TOML."""
    if write is None:
        wanted = schema_of(kind or Kind.CONFIG)[1]
        print_json({"ok": True, "schema": wanted} if json else wanted)
        return
    files.make_directory(write, 0o755)
    done = dict(write_schema(one, write) for one in ([kind] if kind is not None else list(Kind)))
    foreign = "kept" in done.values()
    if json:
        print_json({"ok": not foreign, "files": {str(path): what for path, what in done.items()}})
    else:
        for path, what in done.items():
            why = ": it is not of ours; rename it, or write elsewhere" if what == "kept" else ""
            say(f"{what:<10} {path}{why}")
    raise typer.Exit(Exit.PROBLEMS if foreign else Exit.GOOD)


def schema_of(kind: Kind) -> tuple[str, dict[str, Any]]:
    """The name of a schema's file, and the schema."""
    if kind is Kind.CONFIG:
        from ivr_consent import config_schema

        return config_schema.FILE, config_schema.schema()
    if kind is Kind.SCENARIO:
        from ivr_consent.testing import scenario_schema

        return scenario_schema.FILE, scenario_schema.schema()
    from ivr_consent.core import notice_schema

    return notice_schema.FILE, notice_schema.schema()


def schema_text(kind: Kind) -> tuple[str, str]:
    """The name of a schema's file, and its text."""
    name, document = schema_of(kind)
    return name, standard_json.dumps(document, indent=2) + "\n"


def write_schema(kind: Kind, directory: Path) -> tuple[Path, str]:
    """Write a schema's file, and tell what became of it: ``written``, ``rewritten``, ``unchanged`` or ``kept``."""
    name, text = schema_text(kind)
    path = directory / name
    if files.write_new(path, text, 0o644):
        return path, "written"
    old = files.read(path)
    if old == text:
        return path, "unchanged"
    if not _is_ours(old):
        return path, "kept"
    files.replace(path, text)
    return path, "rewritten"


def _is_ours(text: str) -> bool:
    try:
        document = standard_json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and str(document.get("title", "")).endswith(" of ivr-consent")
