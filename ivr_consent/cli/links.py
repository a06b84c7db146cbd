"""Connections of ``ivr-consent check``: every step has a deadline, every answer a bound. And who listens on a port."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ivr_consent.core.errors import ManagerError

DEADLINE_S: Final = 2.0
"""For every step on a network and every question to a program."""


class Link:
    """A connection on which nothing takes longer than its deadline. Closes itself as a context."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._received = b""
        self._socket = socket.create_connection((host, port), timeout=DEADLINE_S)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.settimeout(DEADLINE_S)
        self._socket.sendall(data)

    def until(self, end: bytes, limit: int) -> bytes:
        """Bytes up to and with ``end``. Raises :class:`TimeoutError`, and :class:`ConnectionResetError` at the end."""
        deadline = time.monotonic() + DEADLINE_S
        while end not in self._received:
            if len(self._received) > limit:
                raise ManagerError("what answers says too much")
            self._received += self.more(deadline)
        text, found, self._received = self._received.partition(end)
        return text + found

    def more(self, deadline: float) -> bytes:
        """Bytes, at least one. Raises as :meth:`until` does."""
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = self._socket.recv(65536)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, "it closes the connection")
        return chunk


def listeners(port: int) -> list[tuple[str, int]]:
    """Address and user of each who listens on a TCP port of this machine, as the kernel tells it."""
    found = []
    for name in ("tcp", "tcp6"):
        try:
            rows = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            address, _, number = words[1].rpartition(":")
            if words[3] == "0A" and int(number, 16) == port:
                found.append((_address(address), int(words[7])))
    return found


def _address(text: str) -> str:
    """An address as /proc/net has it: words of four bytes, each in the order of this machine's processor."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    found = ipaddress.ip_address(b"".join(words))
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine's own loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
