"""An eye on a directory that misses no file, however short its life.

Listing a directory from time to time cannot prove that nothing was ever recorded: a file may come and go
between two looks. The kernel's inotify queue records every creation in order, before the creating call
returns, so an empty list here is a proof.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fnmatch
import os
import select
import struct
import threading
import time
from pathlib import Path
from types import TracebackType

_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
_IN_Q_OVERFLOW = 0x4000
_IN_IGNORED = 0x8000
_IN_ONLYDIR = 0x01000000
_IN_ISDIR = 0x40000000
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


class DirectoryWatch:
    """Everything created in, or moved into, a directory and its subdirectories while the watch is open.

    Use it as a context manager. `created` is complete at the moment it is read. Two things stay unseen, and
    both leave a trace or need intent: a file created and deleted inside a *new* subdirectory before the
    watch reaches it (the subdirectory itself is in the list), and unnamed files (``O_TMPFILE``).

    Raises `OSError` when the directory is missing or inotify is unavailable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        self._places: dict[int, str] = {}
        self._names: list[str] = []
        self._overflow = False
        self._lock = threading.Lock()
        self._wake = (-1, -1)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> DirectoryWatch:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Begin to watch; what exists already is not reported."""
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise _errno("inotify_init1")
        try:
            self._add("", report=False)
        except OSError:
            os.close(self._fd)
            self._fd = -1
            raise
        self._wake = os.pipe2(os.O_CLOEXEC)
        # Nobody need look at `created` for subdirectories to be followed at once: hence a thread.
        self._thread = threading.Thread(target=self._follow, name=f"watch {self.path}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching; `created` keeps what was seen until now."""
        if self._fd < 0:
            return
        os.write(self._wake[1], b"x")
        assert self._thread is not None
        self._thread.join()
        with self._lock:
            self._drain()
            for fd in (self._fd, *self._wake):
                os.close(fd)
            self._fd = -1

    @property
    def created(self) -> list[str]:
        """Names relative to the directory, in order of creation; subdirectories end in ``/``.

        Raises `OverflowError` when the kernel's queue overflowed: then nothing is proved.
        """
        with self._lock:
            if self._fd >= 0:
                self._drain()
            if self._overflow:
                raise OverflowError(f"more files were created in {self.path} than the kernel could report")
            return list(self._names)

    async def seen(self, name: str, timeout: float = 30.0) -> str:  # noqa: ASYNC109  (the tests' vocabulary)
        """Wait until a name that matches the shell pattern `name` was created, and return it.

        Raises `TimeoutError` after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            for found in self.created:
                if fnmatch.fnmatchcase(found, name):
                    return found
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no {name} in {self.path} after {timeout} s, only {self.created}")
            await asyncio.sleep(0.005)

    def _follow(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        while all(fd != self._wake[0] for fd, _ in poll.poll()):
            with self._lock:
                self._drain()

    def _drain(self) -> None:
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
                at += length
                if mask & _IN_Q_OVERFLOW:
                    self._overflow = True
                elif mask & _IN_IGNORED:
                    self._places.pop(watch, None)
                elif watch in self._places:
                    self._report(self._places[watch] + name, directory=bool(mask & _IN_ISDIR))

    def _report(self, name: str, *, directory: bool) -> None:
        if not directory:
            self._names.append(name)
            return
        self._names.append(name + "/")
        try:
            self._add(name + "/", report=True)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):  # gone again already
                raise

    def _add(self, place: str, *, report: bool) -> None:
        path = self.path / place
        mask = _IN_CREATE | _IN_MOVED_TO | _IN_ONLYDIR
        watch = self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask)
        if watch < 0:
            raise _errno(str(path))
        known = watch in self._places
        self._places[watch] = place
        if known:
            return
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            below = place + entry.name
            if entry.is_dir(follow_symlinks=False):
                if report and below + "/" not in self._names:
                    self._names.append(below + "/")
                self._add(below + "/", report=report)
            elif report and below not in self._names:
                # It came before the watch did; its own event may still follow, which is harmless.
                self._names.append(below)


def _errno(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
