"""Files that an administrator keeps: written whole or not at all, and never over one that is there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from ivr_consent.core.errors import ConsentError

Owner = tuple[int, int]
"""User and group as numbers."""

_CHUNK = 1 << 20


def exists(path: Path) -> bool:
    """Whether anything stands there, a dangling link too."""
    return os.path.lexists(path)


def write_new(path: Path, text: str, mode: int, owner: Owner | None = None) -> bool:
    """Write a file that is not there yet; ``False``, and nothing is touched, when it is."""
    if exists(path):
        return False
    with _told(path), _beside(path, [text.encode()], mode, owner) as part:
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


def read_exactly(path: Path) -> str:
    """The text of a file that is to be changed: every byte, with its ends of lines. Raises :class:`ConsentError`."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConsentError(f"{path} cannot be read ({error.strerror}); is it a file, and yours?") from None
    except UnicodeDecodeError as error:
        raise ConsentError(f"{path} is not UTF-8 at byte {error.start}; save the file as UTF-8") from None


def copy_new(source: Path, path: Path, sha256: str, mode: int) -> bool:
    """Copy a file to where there is none, if it still is the one with this digest; ``False`` when there is one."""
    if exists(path):
        return False
    with _told(path), _beside(path, _chunks(source, sha256), mode, None) as part:
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        _sync(path.parent)
    return True


def _chunks(source: Path, sha256: str) -> Iterator[bytes]:
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != sha256:
        raise ConsentError(f"{source} was changed while it was copied; try again")


def replace(path: Path, text: str) -> None:
    """Replace a file that is there, keeping its mode and, where we may, its owner."""
    with _told(path):
        path = path.resolve(strict=True)  # where a link leads, so that it stays one
        old = path.stat()
        owner = (old.st_uid, old.st_gid) if os.geteuid() == 0 else None
        with _beside(path, [text.encode()], old.st_mode & 0o777, owner) as part:
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
def _beside(path: Path, content: Iterable[bytes], mode: int, owner: Owner | None) -> Iterator[Path]:
    """The content in a file beside its place, on disk; what is left of it afterwards is removed."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.writelines(content)
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
