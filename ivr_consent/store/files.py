"""Small files that must survive: written whole, flushed, named at once."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, data: bytes, mode: int, suffix: str = "new") -> None:
    """Put a file in its place by one rename, flushed before and after. Raises :class:`OSError`.

    It is written under a fixed name beside it (``suffix``), so that what a crash leaves is gone with the next one; two
    that may write at once need two names.
    """
    aside = path.with_name(f".{path.name}.{suffix}")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            give_to_owner_of_folder(descriptor, path.parent)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def give_to_owner_of_folder(descriptor: int, folder: Path) -> None:
    """A file that root made at the command line is for the service of another user. Raises :class:`OSError`."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def flush_folder(path: Path) -> None:
    """Bring a folder's names to disk. Raises :class:`OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
