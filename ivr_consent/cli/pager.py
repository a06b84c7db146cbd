"""Long answers: through the user's pager on a terminal, as git shows them; and ended without a word when it is left."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final, TextIO

import typer

from ivr_consent.cli.terminal import Exit, safe

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as a shell has it."""

FLUSH_S: Final = 0.05
"""The first line goes out at once, and after that what there is this often: nobody waits for a buffer to be full."""

FIRST_PARTS: Final = 2
"""Headings, or the beginning of an object, and the first row."""

PLAIN: Final = {"LESS": "FRX", "LV": "-c"}
"""What pagers are told where the user says nothing, as git does: colours, and no paging of what fits on the screen."""


def pager() -> list[str] | None:
    """The user's pager as a command; ``None`` where there is none, or none is wanted."""
    chosen = os.environ.get("PAGER")
    if chosen is None:
        chosen = next((name for name in ("less", "more") if shutil.which(name)), "")
    try:
        words = shlex.split(chosen)
    except ValueError:
        return None
    return words if words and words != ["cat"] and shutil.which(words[0]) else None


def coloured() -> bool:
    """Whether what is printed may have colours: on a terminal, unless the user wants none."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _Screen(io.TextIOWrapper):
    """The pager's input, which stands for the terminal."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def paged(wanted: bool = True, *, interrupted: int = INTERRUPTED) -> Iterator[None]:
    """What is printed within goes through the pager, where ``wanted`` and on a terminal.

    A reader that has had enough, in the pager or behind a pipe, ends the command well; Ctrl-C ends it with the exit
    code ``interrupted``. Both without a word.
    """
    command = pager() if wanted and sys.stdout.isatty() else None
    with _quietly(interrupted):
        if command is None:
            yield
            return
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**PLAIN, **os.environ})
        except OSError:
            yield
            return
        with _through(process):
            yield


@contextlib.contextmanager
def _through(process: subprocess.Popen[bytes]) -> Iterator[None]:
    terminal = sys.stdout
    assert process.stdin is not None
    screen = _Screen(process.stdin, encoding=terminal.encoding, errors="backslashreplace", write_through=False)
    sys.stdout = screen
    try:
        yield
        screen.flush()
    finally:
        sys.stdout = terminal
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the pager's now
        try:
            _close(screen)
            process.wait()  # for as long as somebody reads
        finally:
            signal.signal(signal.SIGINT, before)


def _close(screen: TextIO) -> None:
    try:
        screen.close()
    except BrokenPipeError:
        with contextlib.suppress(BrokenPipeError):  # what is left in the buffer is nobody's
            screen.buffer.close()


@contextlib.contextmanager
def _quietly(interrupted: int) -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go()
        raise typer.Exit(Exit.GOOD) from None
    except KeyboardInterrupt:
        _let_go()  # what is left may wait for a reader who does not read
        raise typer.Exit(interrupted) from None


def _let_go() -> None:
    """Have nothing more written, also not at the end of the program."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


# --- lines as they come ----------------------------------------------------------------------------------------------


class Lines:
    """Prints lines: the first one at once, none of them late."""

    def __init__(self) -> None:
        self._flushed = 0.0
        self._parts = 0

    def write(self, line: str) -> None:
        """Print a line that is safe already."""
        self.put(line + "\n")

    def put(self, text: str) -> None:
        """Print a part of a line that is safe already."""
        stream = sys.stdout
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        now = time.monotonic()
        self._parts += 1
        if self._parts <= FIRST_PARTS or now - self._flushed > FLUSH_S:
            stream.flush()
            self._flushed = now

    def say(self, text: object = "") -> None:
        """Print any text as one line, made safe."""
        self.write(safe(text))
