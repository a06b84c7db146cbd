"""A classic AGI program of a fake Asterisk: a process with the session on its standard input and output.

As on a real one: a hang-up is SIGHUP and no line, the program's end is the end of AGI(), and its exit status counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from ivr_consent.testing.fake_asterisk import FakeCall

SAID_BYTES: Final = 64 * 1024
"""Of what a program writes to its standard error the last bytes are kept."""

SIGNAL_S: Final = 0.01
"""So long after the last reply SIGHUP comes; a script that is quick has sent its next command by then."""

_OUT: Final = 1
_ERROR: Final = 2


class Program(asyncio.SubprocessProtocol):
    """The process of one call, which takes a connection's place."""

    def __init__(self, call: FakeCall) -> None:
        self._call = call
        self._said = bytearray()
        self._process: asyncio.SubprocessTransport | None = None
        self._closing = self._lost = False

    @property
    def said(self) -> str:
        """The end of what it wrote to its standard error."""
        return self._said.decode("utf-8", "replace")

    async def start(self, command: tuple[str, ...]) -> None:
        """Start it, in a process group of its own. Raises :class:`OSError`."""
        loop = asyncio.get_running_loop()
        await loop.subprocess_exec(lambda: self, *command, start_new_session=True)

    # --- what a connection does too ----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write to its standard input; nothing where nobody reads any more."""
        pipe = None if self._process is None else self._process.get_pipe_transport(0)
        if pipe is not None and not pipe.is_closing():
            cast(asyncio.WriteTransport, pipe).write(data)

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._closing

    def close(self) -> None:
        """Close its standard input: it ends by itself, or not."""
        self._closing = True
        pipe = None if self._process is None else self._process.get_pipe_transport(0)
        if pipe is not None:
            pipe.close()

    def abort(self) -> None:
        """End it, and all that it has started, which may hold its output open when it has ended itself."""
        self.close()
        if self._process is not None and not self._lost:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.get_pid(), signal.SIGKILL)

    def hang_up(self) -> None:
        """The caller has hung up: the reply to what was under way comes before the signal."""
        asyncio.get_running_loop().call_later(SIGNAL_S, self._signal)

    def _signal(self) -> None:
        if self._process is None or self._process.get_returncode() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGHUP)

    # --- the process -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._process = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _OUT:
            self._call.data_received(data)
        elif fd == _ERROR:
            self._said += data
            del self._said[:-SAID_BYTES]

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended and said all that it says."""
        self._lost = True
        code = None if self._process is None else self._process.get_returncode()
        if self._process is not None:
            self._process.close()
        self._call.program_ended(1 if code is None else code)
