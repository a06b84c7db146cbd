"""A table whose rows are printed as they come: the first one is on the screen before the last one is read."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ivr_consent.cli.pager import Lines, coloured
from ivr_consent.cli.terminal import safe

GAP: Final = "  "
MAX_CELL: Final = 60
"""Characters of a cell; what is longer is cut, and whole in the JSON."""

LEAST_COLUMNS: Final = 3
_SGR: Final = {"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2"}


@dataclass(frozen=True, slots=True)
class Column:
    """``width``: of its usual contents. ``rank``: the highest is left out first where the terminal is too narrow.

    ``number``: stands at the right.
    """

    title: str
    width: int
    rank: int = 0
    number: bool = False


class Rows:
    """Prints rows under headings. Every cell is made safe; ``styles`` colours a cell by its text."""

    def __init__(self, columns: Sequence[Column], styles: Mapping[str, str], *, lines: Lines | None = None) -> None:
        self._lines = lines or Lines()
        self._styles = styles if coloured() else {}
        self._shown = _fitting(columns)
        self._columns = columns
        self._widths = {n: max(columns[n].width, len(columns[n].title)) for n in self._shown}
        self._begun = False

    def add(self, cells: Sequence[object]) -> None:
        """Print one row, and before the first one the headings."""
        if not self._begun:
            self._begun = True
            self._print([column.title for column in self._columns], "bold" if coloured() else None)
        self._print(cells, None)

    def _print(self, cells: Sequence[object], style: str | None) -> None:
        parts = []
        for n in self._shown:
            text = _cut(cells[n])
            width = _width(text)
            self._widths[n] = max(self._widths[n], width)
            padding = " " * (self._widths[n] - width)
            painted = styled(text, style or self._styles.get(text))
            parts.append(padding + painted if self._columns[n].number else painted + padding)
        self._lines.write(GAP.join(parts).rstrip(" "))


def styled(text: str, style: str | None) -> str:
    """A safe text with its colour."""
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if style is not None else text


def _cut(cell: object) -> str:
    text = str(cell)
    text = safe(text if len(text) <= MAX_CELL else text[:MAX_CELL] + "...")
    return text if len(text) <= 2 * MAX_CELL else text[: 2 * MAX_CELL] + "..."


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _fitting(columns: Sequence[Column]) -> list[int]:
    """Indices of the columns that there is room for."""
    shown = list(range(len(columns)))
    if not sys.stdout.isatty():
        return shown
    room = shutil.get_terminal_size().columns
    while len(shown) > LEAST_COLUMNS:
        taken = sum(max(columns[n].width, len(columns[n].title)) for n in shown) + len(GAP) * (len(shown) - 1)
        least = max(shown, key=lambda n: columns[n].rank)
        if taken <= room or columns[least].rank == 0:
            break
        shown.remove(least)
    return shown
