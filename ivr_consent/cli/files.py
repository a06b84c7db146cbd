"""Files that an administrator keeps: written whole or not at all, and never over one that is there."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from ivr_consent.core.errors import ConsentError

Owner = tuple[int, int]
"""User and group as numbers."""


def exists(path: Path) -> bool:
    """Whether anything stands there, a dangling link too."""
    return os.path.lexists(path)


def write_new(path: Path, text: str, mode: int, owner: Owner | None = None) -> bool:
    """Write a file that is not there yet; ``False``, and nothing is touched, when it is."""
    if exists(path):
        return False
    with _told(path), _beside(path, text, mode, owner) as part:
        try:
            os.link(part, path)  # unlike a rename, this never replaces what somebody made meanwhile
        except FileExistsError:
            return False
        _sync(path.parent)
    return True


def read(path: Path) -> str:
    """The text of a file; what is not UTF-8 in it is replaced. Raises :class:`ConsentError`."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConsentError(f"{path} cannot be read ({error.strerror}); is it a file, and yours?") from None


def replace(path: Path, text: str) -> None:
    """Replace a file that is there, keeping its mode and, where we may, its owner."""
    with _told(path):
        old = path.stat()
        owner = (old.st_uid, old.st_gid) if os.geteuid() == 0 else None
        with _beside(path, text, old.st_mode & 0o777, owner) as part:
            part.replace(path)
            _sync(path.parent)


def make_directory(path: Path, mode: int, owner: Owner | None = None) -> bool:
    """Make a directory with its parents (those as the system makes them); ``False`` when it is there."""
    if path.is_dir():
        return False
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=mode)
        path.chmod(mode)  # whatever the umask
        if owner is not None:
            os.chown(path, *owner)
    return True


@contextlib.contextmanager
def _beside(path: Path, text: str, mode: int, owner: Owner | None) -> Iterator[Path]:
    """The text in a file beside its place, on disk; what is left of it afterwards is removed."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fsync(file.fileno())
        yield part
    finally:
        part.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConsentError(
            f"{path} cannot be written ({error.strerror}); run this as root, or name directories that you may write to"
        ) from None
