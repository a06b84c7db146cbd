"""What is done with the file of a recording that nobody consented to: moved aside, or destroyed.

Its name comes from the switch, where a dialplan may have built it from what a caller sent. So only a plain file within
the directories that recordings are written to is touched, never through a link, and never a recording with a grant.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

MAX_NAME: Final = 4096
"""Characters of a path."""

ENDINGS: Final = frozenset(
    {
        *(".wav", ".wav49", ".gsm", ".ulaw", ".ul", ".pcm", ".alaw", ".al", ".raw", ".g722", ".g729", ".ogg", ".mp3"),
        *(".sln", ".slin", ".sln16", ".sln32", ".sln48", ".sln192", ".vox", ".g723", ".g719", ".ilbc", ".siren7"),
        *(".siren14", ".au", ".aiff", ".flac", ".opus", ".speex", ".r8", ".r16", ".r24", ".r32"),
        # What FreeSWITCH writes for a name without an ending: the codec's own.
        *(".pcmu", ".pcma", ".l16", ".amr", ".amr-wb", ".g726-16", ".g726-24", ".g726-32", ".g726-40"),
    }
)
"""What the files of recordings end in; nothing else is touched."""


_OF_A_CALL: Final = re.compile(r"[0-9a-f]{32}(?=[.-])")


class Fate(Enum):
    """What became of a file."""

    QUARANTINED = "quarantined"
    DESTROYED = "destroyed"
    LEFT = "left"
    """As configured."""
    NOT_FOUND = "not_found"
    """There is none, or none that can be seen from here."""
    REFUSED = "refused"
    """It is not within the directories of recordings, or no plain file: somebody has to look."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was done with a file. ``size``: bytes. ``name``: its new name in the quarantine."""

    fate: Fate
    size: int = 0
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Where files are moved to; ``None``: they are destroyed. ``spool``: where recordings are written."""

    directory: Path | None
    spool: tuple[Path, ...]
    ours: Path
    """Where our own recordings are: what has the name of one that was granted is not touched."""
    granted: Callable[[str], bool] = lambda _: True
    """Whether the log has a call, by its id, as granted; where that cannot be told, it has. Blocking."""

    def take(self, name: str, *, leave: bool = False) -> Kept:
        """Do with a file what is configured; its name is absolute. Raises nothing."""
        try:
            return self._take(name, leave=leave)
        except OSError:
            return Kept(Fate.REFUSED)

    def _take(self, name: str, *, leave: bool) -> Kept:
        if not name.startswith("/") or "\0" in name or len(name) > MAX_NAME:
            return Kept(Fate.NOT_FOUND)
        path = Path(name)
        try:
            status = path.lstat()
        except FileNotFoundError:
            return Kept(Fate.NOT_FOUND)
        if leave:
            return Kept(Fate.LEFT, status.st_size)
        folder = path.parent.resolve()
        plain = stat.S_ISREG(status.st_mode) and path.suffix.lower() in ENDINGS
        if not plain or not self._may_take(folder, path.name):
            return Kept(Fate.REFUSED, status.st_size)
        path = folder / path.name
        if self.directory is None:
            path.unlink()
            return Kept(Fate.DESTROYED, status.st_size)
        kept = f"{secrets.token_hex(16)}{path.suffix.lower()}"
        _move(path, self.directory / kept)
        return Kept(Fate.QUARANTINED, status.st_size, kept)

    def _may_take(self, folder: Path, name: str) -> bool:
        ours = self.ours.resolve()
        if folder == ours:
            call_id = _OF_A_CALL.match(name)
            return call_id is None or not self.granted(call_id[0])
        if folder.is_relative_to(ours):
            return False
        return any(folder.is_relative_to(place.resolve()) for place in self.spool)


def prepare(directory: Path) -> None:
    """Make the quarantine, readable by its owner alone. Raises :class:`OSError`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        directory.chmod(0o700)


def _move(path: Path, target: Path) -> None:
    prepare(target.parent)
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as source, target.open("xb") as copy:
            shutil.copyfileobj(source, copy)
            os.fsync(copy.fileno())
        path.unlink()
    with contextlib.suppress(OSError):
        target.chmod(0o600)
