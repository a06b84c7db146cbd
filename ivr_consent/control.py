"""How the command line talks to the running service: a Unix socket beside the log, one question a connection.

The socket belongs to the service's user and nobody else may write to it (root may). A question is one word on a line,
the answer one line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ivr_consent.config import Settings
from ivr_consent.core.errors import ConsentError
from ivr_consent.logs import get_logger

MAX_QUESTION: Final = 64
MAX_ANSWER: Final = 4 * 1024 * 1024
QUESTION_S: Final = 5.0
ANSWER_S: Final = 60.0
"""A reload reads every sound of the site."""

Answer = Callable[[str], Awaitable[Mapping[str, Any]]]


def socket_path(settings: Settings) -> Path:
    """Where the service's socket is."""
    log = settings.path(settings.log.path)
    return log.with_name(f"{log.name}.control")


class Control:
    """The service's end."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def start(self) -> None:
        """Listen; what an earlier service left behind is replaced. Raises :class:`ConsentError`."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        name = f".control-{os.getpid()}"
        try:
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # An address has 108 bytes: through the open directory and under a short name any path fits.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)
                before = os.umask(0o177)
                try:
                    listener.bind(f"/proc/self/fd/{directory}/{name}")
                finally:
                    os.umask(before)
                self._inode = os.stat(name, dir_fd=directory).st_ino
                os.rename(name, self._path.name, src_dir_fd=directory, dst_dir_fd=directory)
                self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_QUESTION)
            finally:
                os.close(directory)
        except OSError as error:
            listener.close()
            with contextlib.suppress(OSError):
                self._path.with_name(name).unlink()
            raise ConsentError(
                f"{self._path}: the control socket cannot be made ({error.strerror}); see who may write there"
            ) from None

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                if self._path.lstat().st_ino == self._inode:  # not one that has taken our place
                    self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(QUESTION_S):
                question = await reader.readline()
        except (OSError, TimeoutError, ValueError):
            question = b""  # who asks says nothing, or too much
        try:
            if question.endswith(b"\n"):
                answer = await self._answer(question.decode("ascii", "replace").strip())
                writer.write(json.dumps(answer).encode() + b"\n")
                with contextlib.suppress(OSError, TimeoutError):  # who asked does not listen any more
                    async with asyncio.timeout(QUESTION_S):
                        await writer.drain()
        except Exception:  # noqa: BLE001 - the root of a task: who asked is told by the closed connection
            get_logger().exception("question_failed")
        finally:
            writer.close()


def ask(settings: Settings, question: str) -> dict[str, Any]:
    """Ask the running service. Raises :class:`ConsentError` when there is none, or it does not answer."""
    path = socket_path(settings)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with contextlib.closing(link):
        try:
            link.settimeout(QUESTION_S)
            found = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                link.connect(f"/proc/self/fd/{found}")  # an address has 108 bytes
            finally:
                os.close(found)
            link.settimeout(ANSWER_S)
            link.sendall(question.encode() + b"\n")
            with link.makefile("rb") as stream:
                line = stream.readline(MAX_ANSWER)
            answer = json.loads(line)
        except (TimeoutError, BlockingIOError):  # the latter: more are waiting than it lets wait
            raise ConsentError(
                f"the service does not answer on {path}; see its log: journalctl -u ivr-consent"
            ) from None
        except OSError as error:
            raise _not_running(path, error) from None
        except (ValueError, RecursionError):
            raise ConsentError(f"the service closed {path} without an answer; see its log") from None
    if not isinstance(answer, dict):
        raise ConsentError(f"what answers on {path} is not ivr-consent")
    return answer


def _not_running(path: Path, error: OSError) -> ConsentError:
    if isinstance(error, PermissionError):
        return ConsentError(f"{path} may not be used ({error.strerror}); run this as the service's user or as root")
    return ConsentError(
        f"no service runs with this configuration ({path}: {error.strerror}); start it: ivr-consent serve"
    )
