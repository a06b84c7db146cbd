"""Connections that end when their time is over, whatever the other side does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Final

from ivr_consent.anchors.place import Limit

_POLL_S: Final = 0.1


def connect(host: str, port: int, limit: Limit) -> socket.socket:
    """Connect to the first of a machine's addresses that answers. Raises :class:`OSError`."""
    refused: OSError = TimeoutError(f"{host} {limit.why()}")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        left = limit.left()
        if not left:
            break
        link = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        try:
            link.settimeout(left)
            link.connect(address)
        except OSError as error:
            link.close()
            refused = error
        else:
            return link
    raise refused


@contextlib.contextmanager
def cut_off(link: socket.socket, limit: Limit) -> Iterator[None]:
    """Shut a connection down when its time is over: a deadline for all of it, where a socket has one for each byte.

    Raises :class:`TimeoutError` where that looked like the end of what the other side had to say.
    """
    end = link.dup()  # the connection itself, whatever TLS is put around ``link``
    over, cut = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(min(limit.left(), _POLL_S)):
            if not limit.left():
                cut.set()
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                return

    watcher = threading.Thread(target=watch, name="anchor-deadline", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        end.close()
    if cut.is_set():
        raise TimeoutError(limit.why())
