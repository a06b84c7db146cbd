"""A watch over the folders of published sounds: a byte changed there is known at once, before the next call.

The kernel tells of it (inotify(7)), also when a folder or link further up is exchanged. Where it cannot,
:attr:`FolderWatch.complete` is false and who uses this must look at the files from time to time instead. What it never
tells of: a file system mounted over a folder, and bytes changed through a memory map or another name of the file.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

IN_MODIFY: Final = 0x2
IN_ATTRIB: Final = 0x4
IN_CLOSE_WRITE: Final = 0x8
IN_MOVED: Final = 0x40 | 0x80
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x01000000
IN_DONT_FOLLOW: Final = 0x02000000

_MASK: Final = (
    IN_MODIFY
    | IN_ATTRIB
    | IN_CLOSE_WRITE
    | IN_MOVED
    | IN_CREATE
    | IN_DELETE
    | IN_DELETE_SELF
    | IN_MOVE_SELF
    | IN_ONLYDIR
)
# Further up only what takes the folders themselves elsewhere: builds make folders there all the time.
_MASK_ABOVE: Final = IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_CHUNK: Final = 65536


class FolderWatch:
    """Calls ``changed`` with every folder in which something changed; ``None`` stands for all of them.

    Make it where an event loop can watch :attr:`descriptor` and call :meth:`read` when it is readable.
    """

    def __init__(self, changed: Callable[[Path | None], None]) -> None:
        self._changed = changed
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._folders: dict[int, Path | None] = {}
        self.descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.complete = self.descriptor >= 0
        """Whether every folder that was asked for is watched."""

    def set(self, folders: Iterable[Path]) -> None:
        """Watch these folders from now on, and no others. One that was replaced is watched anew."""
        if self.descriptor < 0:
            return
        wanted: dict[int, Path | None] = {}
        self.complete = True
        parents: set[Path] = set()
        for folder in folders:
            parents.add(folder.parent)
            number = self._libc.inotify_add_watch(self.descriptor, os.fsencode(folder), _MASK)
            if number < 0:
                self.complete = False  # it is gone, or there are more than fs.inotify.max_user_watches
            else:
                wanted[number] = folder
        for folder in _above(parents):
            number = self._libc.inotify_add_watch(self.descriptor, os.fsencode(folder), _MASK_ABOVE)
            if number >= 0:  # one that may not be looked into is not ours to watch
                wanted.setdefault(number, None)
        for number in self._folders.keys() - wanted.keys():
            self._libc.inotify_rm_watch(self.descriptor, number)
        self._folders = wanted

    def read(self) -> None:
        """Tell of what happened since the last time. Never blocks."""
        changed: set[Path | None] = set()
        while True:
            try:
                data = os.read(self.descriptor, _CHUNK)
            except BlockingIOError:
                break
            at = 0
            while at < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size + length
                if mask & IN_Q_OVERFLOW:
                    changed.add(None)
                elif number in self._folders:
                    changed.add(self._folders[number])
        for folder in changed:
            self._changed(folder)

    def close(self) -> None:
        """Stop watching."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _above(folders: set[Path]) -> set[Path]:
    """These folders, and all folders and links on the way to them."""
    found = set(folders)
    for folder in folders:
        found.update(folder.parents)
        real = folder.resolve()
        found.update((real, *real.parents))
    return found
