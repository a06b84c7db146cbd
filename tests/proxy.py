"""A connection to PostgreSQL that is cut, or goes dumb, at a chosen message; between two Unix sockets."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final

SOCKET: Final = ".s.PGSQL.5432"
STOP_S: Final = 10.0


class Way(Enum):
    """Which way a message goes."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class Fate(Enum):
    """What happens from the chosen message on, that message included."""

    CUT = "cut"
    SILENCE = "silence"


class Proxy:
    """Passes everything on until it is told otherwise."""

    def __init__(self, upstream: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="px", dir="/tmp"))
        self._upstream = str(upstream / SOCKET)
        self._lock = threading.Lock()
        self._plan: tuple[Way, int, Fate] | None = None
        self._silent = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._half_ended: set[tuple[socket.socket, socket.socket]] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.directory / SOCKET))
        self._listener.listen(16)
        self._begin(self._accept)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut_all()
        for thread in self._threads:
            thread.join(STOP_S)
        self._listener.close()
        shutil.rmtree(self.directory)

    def plan(self, way: Way, message: int, fate: Fate = Fate.CUT) -> None:
        """Let ``message`` - 1 further messages pass that way, on whatever connection."""
        with self._lock:
            self._plan = way, message, fate

    @property
    def planned(self) -> bool:
        """Whether what was planned has not come yet."""
        with self._lock:
            return self._plan is not None

    def speak_again(self) -> None:
        """End the silence, for new connections."""
        with self._lock:
            self._silent = False

    def cut_all(self) -> None:
        """Cut every connection."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _begin(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]  # callables
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._upstream)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            self._begin(self._pump, client, server, Way.TO_SERVER)
            self._begin(self._pump, server, client, Way.TO_CLIENT)

    def _pump(self, source: socket.socket, target: socket.socket, way: Way) -> None:
        """Message by message. The server always gets to hear what had been sent before the cut."""
        with contextlib.suppress(OSError):
            for message in _messages(source, first=way is Way.TO_SERVER):
                fate = self._fate(way)
                if fate is Fate.CUT:
                    break
                if fate is None:
                    target.sendall(message)
        client, server = (source, target) if way is Way.TO_SERVER else (target, source)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)
        if way is Way.TO_CLIENT:  # what the server says now is heard by nobody, and does not stop it
            with contextlib.suppress(OSError):
                while source.recv(1 << 16):
                    pass
        with self._lock:
            ended = (client, server) in self._half_ended
            (self._half_ended.discard if ended else self._half_ended.add)((client, server))
            if ended:
                self._pairs.remove((client, server))
        if ended:
            client.close()
            server.close()

    def _fate(self, way: Way) -> Fate | None:
        with self._lock:
            if self._silent:
                return Fate.SILENCE
            if self._plan is None or self._plan[0] is not way:
                return None
            _, left, fate = self._plan
            self._plan = (way, left - 1, fate) if left > 1 else None
            if left > 1:
                return None
            self._silent = fate is Fate.SILENCE
            return fate


def _messages(source: socket.socket, *, first: bool) -> Iterator[bytes]:
    """A stream as messages: a letter and a length; the client's first one has no letter."""
    held = b""
    head = 0 if first else 1
    while True:
        while len(held) >= head + 4:
            (length,) = struct.unpack_from("!I", held, head)
            if len(held) < head + length:
                break
            yield held[: head + length]
            held, head = held[head + length :], 1
        received = source.recv(1 << 16)
        if not received:
            return
        held += received
