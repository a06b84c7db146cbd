"""Programs that take checkpoints or give them back: never a shell, a deadline, bounded memory."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import IO, Final

from ivr_consent.anchors.place import AnchorError, Limit
from ivr_consent.audio.speech import CommandError, run_bounded

MAX_SAID: Final = 400
"""Bytes of an error's text that are kept."""

_POLL_S: Final = 0.1
_CHUNK: Final = 1 << 16


def give(words: Sequence[str], data: bytes, limit: Limit, max_output: int, remedy: str) -> bytes:
    """Run a program with ``data`` on its standard input; what it wrote. Raises :class:`AnchorError`."""
    try:
        return run_bounded(list(words), data, timeout_s=limit.left(), max_output=max_output, stop=limit.stop)
    except CommandError as error:
        told = str(error) if limit.left() else f"{PurePath(words[0]).name} {limit.why()}"
        raise AnchorError(f"{told}; {remedy}") from None


def take(words: Sequence[str], limit: Limit, remedy: str) -> Iterator[bytes]:
    """What a program writes, in pieces, however much it is. Raises :class:`AnchorError`."""
    try:
        process = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise AnchorError(f"{words[0]} cannot be started ({reason}); {remedy}") from None
    name = PurePath(words[0]).name
    with process:
        try:
            said = bytearray()
            yield from _pieces(process, said, limit, f"{name} %s; {remedy}")
            code = process.wait(max(limit.left(), _POLL_S))
        except subprocess.TimeoutExpired:
            raise AnchorError(f"{name} {limit.why()}; {remedy}") from None
        finally:
            if process.poll() is None:  # its number is still its own
                os.killpg(process.pid, signal.SIGKILL)
    if code:
        text = " ".join(said.decode("utf-8", "replace").split())
        raise AnchorError(f"{name} failed with exit code {code}{': ' if text else ''}{text}; {remedy}")


def _pieces(process: subprocess.Popen[bytes], said: bytearray, limit: Limit, failed: str) -> Iterator[bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        streams: tuple[IO[bytes], ...] = (process.stdout, process.stderr)
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            if not limit.left():
                raise AnchorError(failed % limit.why())
            for key, _ in selector.select(_POLL_S):
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    yield chunk
                else:
                    said += chunk[: MAX_SAID - len(said)]
