"""What every verb shares: exit codes, safe text, JSON, tables, and how an error is told.

Every text goes through :mod:`~ivr_consent.cli.plain`, which escapes what a terminal would act upon.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ivr_consent.cli import plain
from ivr_consent.core.errors import (
    AudioError,
    ConfigurationError,
    ConsentError,
    EventSocketError,
    LedgerError,
    ManagerError,
    NoticeError,
    Problem,
    SignatureError,
    VersionError,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ivr_consent.config import Settings

safe, say = plain.safe, plain.say

PIPE_WIDTH: Final = 200
"""Columns of a table that nobody looks at on a screen: wide enough that a script's grep finds a row on one line."""


class Exit(IntEnum):
    """Exit codes of every verb."""

    GOOD = 0
    PROBLEMS = 1
    USAGE = 2
    CONFIGURATION = 3
    SWITCH = 4
    LOG = 5
    UNKNOWN = 6

    @property
    def meaning(self) -> str:
        """For the help text."""
        return _MEANING[self]


_MEANING: Final = {
    Exit.GOOD: "good",
    Exit.PROBLEMS: "problems were found, or the call did not go as a call should",
    Exit.USAGE: "the command line is wrong",
    Exit.CONFIGURATION: "the configuration, a notice or its audio is wrong",
    Exit.SWITCH: "the switch, or our server for it, is not reachable",
    Exit.LOG: "the log is not usable",
    Exit.UNKNOWN: "the audit found no error, but something that cannot be known from the files",
}

EPILOG: Final = "Exit codes:\n\n" + "\n\n".join(f"{code.value}  {code.meaning}." for code in Exit)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@dataclass(frozen=True, slots=True)
class Globals:
    """The options before the verb."""

    config: Path

    def settings(self) -> Settings:
        """The configuration. Raises :class:`ConfigurationError`."""
        from ivr_consent import config

        return config.load(self.config)


def of(context: typer.Context) -> Globals:
    """The options before the verb."""
    found = context.obj
    assert isinstance(found, Globals)
    return found


def settings_if_any(context: typer.Context) -> Settings | None:
    """The configuration when one was named, or lies where it is looked for: for what does without as well."""
    path = of(context).config
    given = context.find_root().params.get("config") is not None
    return of(context).settings() if given or path.is_file() else None


# --- text and JSON -----------------------------------------------------------------------------------------------


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON object, all in ASCII: what it holds is exact, and harmless to a terminal."""
    text = json.dumps(document, ensure_ascii=True, indent=2)
    sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")


def problems_as_json(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Problems as plain values."""
    return [problem.plain() for problem in problems]


def console() -> Console:
    """A console for tables on standard output; as wide as the screen, or :data:`PIPE_WIDTH` where there is none."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", PIPE_WIDTH))
    return Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, styles: Mapping[str, str] | None = None
) -> None:
    """Print rows under headings. Every cell is made safe; ``styles`` colours a cell by its text."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = [safe(cell) for cell in row]
        table.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in cells))
    console().print(table)


# --- errors ------------------------------------------------------------------------------------------------------


def exit_code(error: ConsentError) -> Exit:
    """The exit code of an error."""
    if isinstance(error, ConfigurationError | NoticeError | AudioError | SignatureError | VersionError):
        return Exit.CONFIGURATION
    if isinstance(error, LedgerError):
        return Exit.LOG
    return Exit.SWITCH if isinstance(error, ManagerError | EventSocketError) else Exit.PROBLEMS


def tell(error: ConsentError, *, as_json: bool) -> Exit:
    """Tell an error: what, where, what to do. On standard error, or as a JSON object on standard output."""
    code = exit_code(error)
    problems = error.problems if isinstance(error, ConfigurationError) else ()
    if as_json:
        told = {"kind": type(error).__name__, "message": str(error), "problems": problems_as_json(problems)}
        print_json({"ok": False, "exit": int(code), "error": told})
        return code
    if not problems:
        say(f"ivr-consent: {error}", error=True)
    for problem in problems:
        say_problem(problem, error=True)
    return code


def say_problem(problem: Problem, *, error: bool = False) -> None:
    """One problem on three lines: what, where, what to do."""
    say(f"ivr-consent: {problem.found}", error=error)
    say(f"  where:      {problem.where}", error=error)
    say(f"  what to do: {problem.remedy}", error=error)
