"""Files of the site, opened with care: regular files only, within bounds, under the names that the site knows."""

from __future__ import annotations

import errno
import glob
import itertools
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ivr_consent.core.errors import ConsentError

MAX_FILE: Final = 32 << 20
"""Bytes of one file."""

MAX_TOTAL: Final = 128 << 20
"""Bytes of all files, each counted as often as it is included."""

MAX_READS: Final = 5_000
"""Files, each counted as often as it is included."""

MAX_MATCHES: Final = 2_000
"""Files that one include's pattern may name."""

MAX_PATTERNS: Final = 3
"""Parts of an include's path that may be patterns: more could mean the whole disk."""


@dataclass(frozen=True, slots=True)
class Text:
    """A file's lines, without their ends; bytes that are not UTF-8 stand as ``\\xff``."""

    name: str
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that was not read, and why."""

    name: str
    why: str


@dataclass(slots=True)
class Library:
    """A site's files: a directory that stands for the switch's own, or some files out of one."""

    root: Path
    given: tuple[Path, ...] = ()
    """Files named one by one; empty when the whole directory is audited."""
    usual: str = ""
    """Where the switch has that directory; included files are named by it."""
    installed: str = ""
    """The same where a file of the site says otherwise."""
    read: dict[str, int] = field(default_factory=dict)
    """How many lines each file had that was read."""
    _bytes: int = 0
    _reads: int = 0

    @property
    def whole(self) -> bool:
        """Whether a file that is not there does not exist for the switch either."""
        return not self.given

    def name(self, path: Path) -> str:
        """A path as findings name it: within the directory without it."""
        try:
            return str(path.relative_to(self.root))
        except ValueError:
            return str(path)

    def path(self, name: str) -> Path:
        """Where an include's name leads: relative to the directory, whose own absolute name is known too."""
        for place in (self.installed, self.usual):
            prefix = place.rstrip("/") + "/"
            if place and name.startswith(prefix):
                return self.root / name[len(prefix) :]
        return self.root / name

    def file(self, name: str) -> Path | None:
        """A file of the site by its plain name; ``None`` when it is not there or was not given."""
        if self.given:
            return next((path for path in self.given if path.name == name), None)
        path = self.root / name
        return path if os.path.lexists(path) else None

    def matching(self, name: str) -> list[Path]:
        """The files that an include names: one, or what a pattern finds, in order of their names."""
        path = str(self.path(name))
        if "\0" in path or len(path) > 4096:
            return []
        found: dict[str, None] = {}
        for single in _braces(path):
            if re.search(r"[*?[]", single):
                # The directory is a place on disk, and not itself a pattern.
                root = str(self.root)
                pattern = glob.escape(root) + single[len(root) :] if single.startswith(root) else single
                pattern = re.sub(r"\*{2,}", "*", pattern)
                if sum(bool(re.search(r"[*?[]", part)) for part in single.split("/")) > MAX_PATTERNS:
                    continue
                matches = itertools.islice(glob.iglob(pattern), MAX_MATCHES)  # noqa: PTH207 - as the switch, by text
                found |= dict.fromkeys(sorted(matches))
            elif os.path.lexists(single):
                found[single] = None
        return [Path(match) for match in found][:MAX_MATCHES]

    def open(self, path: Path) -> Text | Unread:
        """A file's text. Never waits for a pipe, follows no loop of links, and reads no more than the bounds."""
        name = self.name(path)
        self._reads += 1
        if self._reads > MAX_READS:
            return Unread(name, f"more than {MAX_READS} files are included")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            why = "a link that leads to itself" if number == errno.ELOOP else getattr(error, "strerror", None)
            return Unread(name, str(why or "not a name of a file"))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return Unread(name, "not a regular file")
        with os.fdopen(descriptor, "rb") as file:
            if status.st_size > MAX_FILE or self._bytes + status.st_size > MAX_TOTAL:
                return Unread(name, f"larger than {MAX_FILE >> 20} MiB, or {MAX_TOTAL >> 20} MiB with all other files")
            try:
                data = file.read(MAX_FILE + 1)
            except OSError as error:
                return Unread(name, str(error.strerror))
        self._bytes += len(data)
        if len(data) > MAX_FILE:
            return Unread(name, f"larger than {MAX_FILE >> 20} MiB")
        if b"\0" in data:
            return Unread(name, "not a text: it holds zero bytes")
        lines = data.decode("utf-8", "backslashreplace").removeprefix("\ufeff").split("\n")
        if lines and not lines[-1]:
            lines.pop()
        self.read[name] = len(lines)
        return Text(name, lines)


def opened(paths: list[Path], usual: str) -> Library:
    """A directory, or some files. Raises :class:`ConsentError` when a directory is given beside others."""
    if len(paths) == 1 and paths[0].is_dir():
        return Library(paths[0].resolve(), usual=usual)
    for path in paths:
        if path.is_dir():
            raise ConsentError(f"{path} is a directory; give one directory, or files alone")
    given = tuple(path.parent.resolve() / path.name for path in paths)
    return Library(paths[0].resolve().parent, given, usual)


def _braces(pattern: str, depth: int = 0) -> list[str]:
    """``a{b,c}d`` as ``abd`` and ``acd``; bounded."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None or depth > 3 or match[1].count(",") > 50:
        return [pattern]
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [whole for part in match[1].split(",") for whole in _braces(head + part + tail, depth + 1)][:MAX_MATCHES]
