"""Marks of a withdrawal in the call: a file beside the recording, written by the dialplan before anybody is told.

So a withdrawal outlives a service that is dead, a lost report and a restart: whoever finds the mark erases the
recording, and removes the mark once the log says so (:mod:`ivr_consent.store.lifecycle`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ENDING: Final = ".withdrawn"
"""After the call's id."""

BY: Final = ("caller", "agent")
"""Who can have pressed the code: what stands in the mark."""

_NAME: Final = re.compile(rf"([0-9a-f]{{32}}){re.escape(ENDING)}")
_READ: Final = 64  # bytes of a mark that are looked at


def mark(directory: Path, call_id: str) -> str | None:
    """Who withdrew this call's consent by a code: ``caller`` or ``agent``; ``None`` when there is no mark.

    Any mark counts, whatever stands in it: an empty one is that of a switch that died while it wrote.
    """
    try:
        with (directory / f"{call_id}{ENDING}").open("rb") as file:
            said = file.read(_READ).decode("ascii", "replace").split()
    except OSError:
        return None
    return said[0] if said and said[0] in BY else BY[0]


def marked(directory: Path) -> list[str]:
    """The ids of all calls with a mark, sorted."""
    names = (_NAME.fullmatch(path.name) for path in directory.iterdir())
    return sorted(name[1] for name in names if name is not None)


def unmark(directory: Path, call_id: str) -> None:
    """Remove the mark, if there is one. Raises :class:`OSError`."""
    (directory / f"{call_id}{ENDING}").unlink(missing_ok=True)
