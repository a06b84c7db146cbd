"""Which files other processes of this host have open for writing: what the switch really writes, whoever says what."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path


class OpenFiles:
    """One look at the processes of some users (``owners``: their numbers). Iterate once; then :attr:`blind` is known.

    Yields the path of each file that is open for writing, as the kernel tells it; of ``wanted`` alone, where given.
    """

    def __init__(self, owners: Collection[int], wanted: Collection[str] | None = None) -> None:
        self._owners, self._wanted = owners, wanted
        self.blind = False
        """Whether there was something that could not be seen: then a file that was not found proves nothing."""

    def __iter__(self) -> Iterator[str]:
        others = False
        # Plain strings: pathlib makes this walk over every process six times as dear, and each recorded call needs one.
        for process in os.listdir("/proc"):
            if not process.isdigit():
                continue
            folder = f"/proc/{process}/fd"
            try:
                if os.stat(folder).st_uid not in self._owners:
                    continue
                others = others or int(process) != os.getpid()
                descriptors = os.listdir(folder)
            except PermissionError:
                self.blind = self.blind or not _is_zombie(process)
                continue
            except OSError:
                continue  # the process went away while we looked
            for descriptor in descriptors:
                try:
                    path = os.readlink(f"{folder}/{descriptor}")
                    wanted = path.startswith("/") if self._wanted is None else path in self._wanted
                    if wanted and _is_open_for_writing(process, descriptor):
                        yield path
                except OSError:
                    continue  # closed while we looked, or a special file that nobody may look at
        # The switch itself is a process of that user: who sees none but himself (a container) sees nothing.
        self.blind = self.blind or not others


def _is_zombie(process: str) -> bool:
    """A dead process waiting for its parent: it has no files, and nobody may look at them."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return True  # gone by now


def _is_open_for_writing(process: str, descriptor: str) -> bool:
    text = Path(f"/proc/{process}/fdinfo/{descriptor}").read_text(encoding="ascii")
    flags = next((line.split()[1] for line in text.splitlines() if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
