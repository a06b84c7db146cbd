"""The system's journal: each checkpoint is an entry of its own, with fields (systemd's native protocol)."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ivr_consent.anchors.notes import Sealed, notes_in
from ivr_consent.anchors.place import AnchorError, Limit
from ivr_consent.anchors.programs import take

SOCKET: Final = Path("/run/systemd/journal/socket")

IDENTIFIER: Final = "ivr-consent-checkpoint"
"""By this the entries are found: ``journalctl -t ivr-consent-checkpoint``."""

MESSAGE_ID: Final = "a9f7b1c4d7e84c0f9a3d51c64c0f3b68"
"""Random, the same in every version: by this too."""

NOTICE: Final = 5
"""syslog's priority: normal, and worth to be kept."""

READ: Final = ("journalctl", "--quiet", "--no-pager", "--output=cat", f"--identifier={IDENTIFIER}")


class JournalAnchor:
    """The journal of this machine, from which it may go to others."""

    name = "journal"
    every_s = 0.0
    timeout_s = 10.0
    readable = True

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path
        self.where = f"journalctl -t {IDENTIFIER}"

    def publish(self, sealed: Sealed, limit: Limit) -> None:
        """Hand it over; the journal takes it whole or not at all."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                link.settimeout(max(limit.left(), 0.01))
                link.connect(str(self._path))
                link.send(entry(sealed))
        except (FileNotFoundError, ConnectionRefusedError):
            raise AnchorError(
                f"there is no journal on this system ({self._path}); set log.anchors.journal to false"
            ) from None
        except OSError as error:
            raise AnchorError(
                f"the system's journal does not take anything ({error.strerror or error}); "
                "see: systemctl status systemd-journald"
            ) from None

    def read(self, limit: Limit) -> Iterator[Sealed]:
        """As :meth:`ivr_consent.anchors.place.Anchor.read`."""
        remedy = "run this as root, or add the user to the group systemd-journal"
        return notes_in(take(READ, limit, remedy))


def entry(sealed: Sealed) -> bytes:
    """A datagram of the journal's native protocol: ``NAME=VALUE`` lines; a value with line feeds with its length."""
    fields = {
        "PRIORITY": str(NOTICE),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "MESSAGE_ID": MESSAGE_ID,
        "IVR_CONSENT_LOG": sealed.log_id,
        "IVR_CONSENT_SIZE": str(sealed.size),
    }
    lines = "".join(f"{name}={value}\n" for name, value in fields.items()).encode()
    note = sealed.note.encode()
    return lines + b"MESSAGE\n" + struct.pack("<Q", len(note)) + note + b"\n"


def is_there() -> bool:
    """Whether this system has a journal."""
    with contextlib.suppress(OSError):
        return SOCKET.is_socket()
    return False
