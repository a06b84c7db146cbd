"""Forks processes that have loaded everything already: one that dies a thousand times need not start a thousand times.

    with Zygote(library) as zygote:
        child = zygote.fork("load", {"path": ...})

A child runs a function of ``tests.faults.writer`` with a socket to the test; when that ends, the child is dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

WAIT_S: Final = 60.0


class Child:
    """A forked process and the socket to it."""

    def __init__(self, pid: int, link: socket.socket) -> None:
        self.link = link
        self._process = os.pidfd_open(pid)  # not its number, which is another process's as soon as it is dead
        link.settimeout(WAIT_S)
        self._lines = link.makefile("r", encoding="utf-8")

    def ask(self, **command: Any) -> Any:
        """Send one command, and wait for its answer."""
        self.send(**command)
        return self.answer()

    def send(self, **command: Any) -> None:
        """Send one command."""
        self.link.sendall(json.dumps(command).encode() + b"\n")

    def answer(self) -> Any:
        """The next answer."""
        line = self._lines.readline()
        if not line:
            raise EOFError("the process under test has died")
        return json.loads(line)

    def kill(self) -> None:
        """SIGKILL, and wait until it is dead."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        self.dead()

    def dead(self) -> None:
        """Wait until it is dead: then its locks are gone."""
        if not select.select([self._process], [], [], WAIT_S)[0]:
            raise TimeoutError("the process under test does not end")

    def close(self) -> None:
        """End it, however it is."""
        if self._process >= 0:
            self.kill()
            os.close(self._process)
            self._process = -1
            self._lines.close()
            self.link.close()


class Zygote:
    """The server of processes. ``library`` is preloaded into it, and so into each."""

    def __init__(self, library: Path | None = None) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        environment = dict(os.environ)
        if library is not None:
            environment["LD_PRELOAD"] = str(library)
        command = [sys.executable, "-m", "tests.faults.zygote", str(theirs.fileno())]
        root = Path(__file__).resolve().parents[2]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, cwd=root)
        theirs.close()
        self._link.settimeout(WAIT_S)
        self._children: list[Child] = []

    def fork(self, role: str, **arguments: Any) -> Child:
        """A new process that runs ``writer.ROLES[role](link, **arguments)``."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        request = json.dumps({"role": role, "arguments": arguments}).encode()
        socket.send_fds(self._link, [request], [theirs.fileno()])
        theirs.close()
        child = Child(int(self._link.recv(32)), mine)
        self._children = [*self._children[-8:], child]
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in self._children:
            child.close()
        self._link.close()
        self._process.wait(WAIT_S)


def serve(link: socket.socket) -> None:
    """Fork for each request until nobody asks any more."""
    from tests.faults import writer  # all that a child needs is loaded now

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a child: the kernel buries it
    while True:
        request, descriptors, _, _ = socket.recv_fds(link, 65536, 1)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            link.close()
            _become(writer.ROLES, json.loads(request), descriptors[0])
        os.close(descriptors[0])
        link.sendall(b"%d" % pid)


def _become(roles: Any, request: Any, descriptor: int) -> None:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with socket.socket(fileno=descriptor) as mine:
            roles[request["role"]](mine, **request["arguments"])
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        serve(asked)
