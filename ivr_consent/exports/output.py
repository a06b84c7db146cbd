"""Where an export goes: a file that appears when it is whole, or standard output."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from ivr_consent.core.errors import ConsentError

STANDARD_OUTPUT: Final = Path("-")
BUFFER: Final = 1 << 18
MODE: Final = 0o600
"""An export has pseudonyms: its owner alone reads it, and gives it on knowingly."""


class Output:
    """Takes the bytes of an export; counts them, and makes their digest on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add some."""
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """Digest of all so far, hexadecimal."""
        return self._digest.hexdigest()


def _is_stream(path: Path) -> bool:
    """A pipe or a device: it is written to, and never replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def check(path: Path, *, force: bool) -> None:
    """Refuse what could not be written later on. Raises :class:`ConsentError`."""
    if path == STANDARD_OUTPUT or _is_stream(path):
        return
    if os.path.lexists(path) and not force:
        raise ConsentError(f"{path} is there already; name another file, or replace it with --force")
    if path.is_dir():
        raise ConsentError(f"{path} is a directory; name a file in it")
    if not path.parent.is_dir():
        raise ConsentError(f"{path.parent} is not a directory; make it first: mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConsentError(f"{path.parent} cannot be written; name a file in a directory of yours")


@contextlib.contextmanager
def opened(path: Path, *, force: bool) -> Iterator[Output]:
    """An export's output. The file has its name when all of it is on disk, and not before; whatever ends this early
    (also Ctrl-C) leaves nothing. Raises :class:`ConsentError`.
    """
    if path == STANDARD_OUTPUT:
        try:
            yield Output(sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except OSError as error:
            with contextlib.suppress(OSError, ValueError):  # what is still buffered has nowhere to go
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise ConsentError(f"standard output cannot be written ({error.strerror})") from None
        return
    if _is_stream(path):
        try:
            with path.open("wb", buffering=BUFFER) as file:
                yield Output(file)
        except OSError as error:
            raise ConsentError(f"{path} cannot be written ({error.strerror})") from None
        return
    check(path, force=force)
    if force and path.is_symlink():
        path = path.resolve()  # so that it stays a link
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE), "wb", buffering=BUFFER) as file:
            yield Output(file)
            file.flush()
            os.fsync(file.fileno())
        _put(part, path, force=force)
    except OSError as error:
        raise ConsentError(
            f"{path} cannot be written ({error.strerror}); make room, or name a file in a directory of yours"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _put(part: Path, path: Path, *, force: bool) -> None:
    try:
        if not force:
            os.link(part, path)  # unlike a rename, this never replaces what somebody made meanwhile
    except FileExistsError:
        raise ConsentError(f"{path} has been made by somebody else meanwhile; name another file") from None
    except OSError:
        force = True  # a file system without links, such as that of a memory stick
    if force:
        part.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
