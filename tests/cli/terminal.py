"""A command line in a process of its own, on a terminal or behind a pipe."""

from __future__ import annotations

import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from types import TracebackType

WAIT_S = 60.0

KEY_S = 1.0
"""So long a key is given before it is pressed again."""


class Process:
    """A command line; ``columns`` puts it on a terminal. What it prints is read as it comes."""

    def __init__(self, *words: str | Path, columns: int | None = None, **env: str) -> None:
        command = [sys.executable, "-m", "ivr_consent.cli.main", *map(str, words)]
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LD_LIBRARY_PATH")}
        environment = {**kept, "LANG": "C.UTF-8", "TERM": "xterm", **env}
        self._errors: int | None = None
        if columns is not None:
            self._output, inner = pty.openpty()
            ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            errors = inner
        else:
            self._output, inner = os.pipe()
            self._errors, errors = os.pipe()
        self._process = subprocess.Popen(
            command, stdin=inner if columns is not None else subprocess.DEVNULL, stdout=inner, stderr=errors,
            env=environment, start_new_session=True,
        )  # fmt: skip  # rows that belong together
        os.close(inner)
        if errors != inner:
            os.close(errors)
        self.printed = ""
        self.said = ""

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(WAIT_S)
        self.stop_reading()
        if self._errors is not None:
            os.close(self._errors)

    def until(self, text: str) -> None:
        """Wait until it has printed something, on standard output or as an error."""
        self._read(lambda: text in self.printed or text in self.said, f"never said {text!r}")

    def exit_code(self) -> int:
        """Read to its end; its exit code."""
        self._read(None, "did not end")
        return self._process.wait(WAIT_S)

    def leave(self, key: str) -> int:
        """Press a key until it has ended, as one does: a pager may throw away what is typed while it draws."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            self.type(key)
            if self._ends_within(KEY_S):
                break
        return self.exit_code()

    def interrupt(self) -> None:
        """Ctrl-C: to the command and to whatever it has started."""
        os.killpg(self._process.pid, signal.SIGINT)

    def has_printed(self) -> bool:
        """Whether a whole line is there by now; waits a moment for it."""
        if "\n" not in self.printed and select.select([self._output], [], [], 0.2)[0]:
            self.printed += os.read(self._output, 65536).decode(errors="replace")
        return "\n" in self.printed

    def whole_lines(self) -> list[str]:
        """The lines that were read whole."""
        return self.printed.split("\n")[:-1]

    def type(self, text: str) -> None:
        """Press keys on the terminal."""
        os.write(self._output, text.encode())

    def stop_reading(self) -> None:
        """Close our end of its output."""
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def _ends_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._output], [], [], left)[0]:
                continue
            try:
                data = os.read(self._output, 65536)
            except OSError:  # the terminal's other end is closed
                return True
            if not data:
                return True
            self.printed += data.decode(errors="replace")
        return False

    def _read(self, enough: Callable[[], bool] | None, failure: str) -> None:
        deadline = time.monotonic() + WAIT_S
        open_ = [end for end in (self._output, self._errors) if end is not None and end >= 0]
        while open_ and not (enough is not None and enough()):
            left = deadline - time.monotonic()
            assert left > 0, f"{failure}; printed: {self.printed!r}, said: {self.said!r}"
            for end in select.select(open_, [], [], left)[0]:
                try:
                    data = os.read(end, 65536)
                except OSError:  # the terminal's other end is closed
                    data = b""
                if not data:
                    open_.remove(end)
                elif end == self._output:
                    self.printed += data.decode(errors="replace")
                else:
                    self.said += data.decode(errors="replace")
        assert enough is None or enough(), f"{failure}; printed: {self.printed!r}, said: {self.said!r}"
