"""A file that each checkpoint is appended to. It may lie on another machine, or where nothing can be taken away."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ivr_consent.anchors.notes import Sealed, notes_in
from ivr_consent.anchors.place import AnchorError, Limit
from ivr_consent.store.files import flush_folder, give_to_owner_of_folder

CHUNK: Final = 1 << 16

_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
"""A pipe in its place must not make us wait for somebody at its other end."""


class FileAnchor:
    """One note after the other, an empty line before each. ``home``: the log's folder, whose owner a new file gets."""

    name = "file"
    every_s = 0.0
    timeout_s = 30.0
    readable = True

    def __init__(self, path: Path, home: Path) -> None:
        self.path, self.where, self._home = path, str(path), home

    def publish(self, sealed: Sealed, _: Limit) -> None:
        """Append, and have it on disk; whoever could read the folder can read it."""
        try:
            descriptor, new = self._open()
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise AnchorError(f"{self.path} is not a plain file; name another one in log.anchors.file")
                # The empty line ends what a write left that a full disk broke off.
                record = f"\n{sealed.note}".encode()
                if os.write(descriptor, record) != len(record):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if new:
                _flush_folder(self.path.parent)
        except OSError as error:
            raise AnchorError(f"{self.path} cannot be written ({error.strerror}); {_remedy(error)}") from None

    def _open(self) -> tuple[int, bool]:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_APPEND | _FLAGS), False
        except FileNotFoundError:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | _FLAGS, 0o644)
        try:
            os.fchmod(descriptor, 0o644)  # whatever the umask: who is to compare it later must be able to read it
            give_to_owner_of_folder(descriptor, self._home)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor, True

    def read(self, limit: Limit) -> Iterator[Sealed]:
        """As :meth:`ivr_consent.anchors.place.Anchor.read`."""
        return notes_in(read_file(self.path, limit))


def read_file(path: Path, limit: Limit) -> Iterator[bytes]:
    """A plain file in pieces. Raises :class:`AnchorError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise AnchorError(f"{path} is not a plain file; name another one")
            while chunk := file.read(CHUNK):
                yield chunk
                if not limit.left():
                    raise AnchorError(f"reading {path} {limit.why()}; see its disk")
    except OSError as error:
        raise AnchorError(f"{path} cannot be read ({error.strerror}); {_remedy(error)}") from None


def _flush_folder(path: Path) -> None:
    try:
        flush_folder(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS):  # a file system that knows no such thing
            raise


def _remedy(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "is it mounted? make its folder, and give it to the service's user"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "give its folder, or the file, to the service's user"
    if error.errno == errno.ENXIO:
        return "it is a pipe; name a plain file"
    return "look for a full, read-only or broken disk"
