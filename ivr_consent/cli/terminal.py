"""What every verb shares: exit codes, safe text, JSON, tables, and how an error is told.

Nothing that comes from a log, a switch or a file reaches the terminal unescaped: a caller's name or a line of the log
may hold the bytes that move the cursor, change a title or fake another line (I6).
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

DEFAULT_CONFIG: Final = Path("/etc/ivr-consent/ivr-consent.toml")
LOCAL_CONFIG: Final = Path("ivr-consent.toml")
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


def config_path(given: Path | None) -> Path:
    """The configuration file to use: the one named, else the one in the current directory, else the system's."""
    if given is not None:
        return given
    return LOCAL_CONFIG if LOCAL_CONFIG.is_file() else DEFAULT_CONFIG


def of(context: typer.Context) -> Globals:
    """The options before the verb."""
    found = context.obj
    assert isinstance(found, Globals)
    return found


# --- text and JSON -----------------------------------------------------------------------------------------------


def safe(value: object) -> str:
    """Any value as one line of text without a character that a terminal would act upon."""
    return "".join(
        character if character.isprintable() else _escaped(character) for character in str(value).expandtabs(4)
    )


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def say(text: object = "", *, error: bool = False) -> None:
    """Print one line, made safe."""
    stream = sys.stderr if error else sys.stdout
    line = safe(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    # A terminal that cannot show a letter of a notice must not end the program.
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


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
