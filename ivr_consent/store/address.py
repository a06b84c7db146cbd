"""Where a chain in PostgreSQL is: the URL of the database, and the name of the server that the chain belongs to.

No URL holds a password, and no message of ours shows a URL as it was written.
"""

from __future__ import annotations

import hashlib
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMA_PREFIX: Final = "ivr_consent_"
"""A chain's schema in the database is this and the name of its server."""

APPLICATION: Final = "ivr-consent"
"""By which the server's list of connections shows us."""


@dataclass(frozen=True, slots=True)
class Address:
    """``url`` of the database, name of the chain's ``server``, a file with the password."""

    url: str
    server: str
    password_file: Path | None = None

    @property
    def schema(self) -> str:
        """The chain's schema."""
        return SCHEMA_PREFIX + self.server

    @property
    def name(self) -> str:
        """For messages."""
        return f"{shown(self.url)} (server {self.server})"

    def application(self, key: Path) -> str:
        """What those who write this chain with this key call themselves: at most 63 characters."""
        return f"{APPLICATION}/{self.server}/{_whereabouts(key)}"


def shown(url: str) -> str:
    """A URL fit to be shown: user, host and database; neither password nor other parameters."""
    try:
        parts = urlsplit(url)
        who, at, where = parts.netloc.rpartition("@")
        host = "" if where else dict(parse_qsl(parts.query)).get("host", "")
    except ValueError:
        return "postgresql://..."
    if "@" in parts.path:
        return "postgresql://..."
    text = f"postgresql://{who.partition(':')[0]}{at}{where}{parts.path}" + (f"?host={host}" if host else "")
    return "".join(character if character.isprintable() else "?" for character in text)


def proves_itself(url: str) -> bool:
    """Whether the database's server is on this machine, or has to prove by its certificate that it is the one."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    named = [unquote(host) for host in parts.netloc.rpartition("@")[2].split(",") if host] or [query.get("host", "/")]
    hosts = [_PORT.sub("", host) for host in named]
    return all(host.startswith("/") or host in _HERE for host in hosts) or query.get("sslmode") in _PROVEN


_PORT: Final = re.compile(r":[0-9]*$")
_HERE: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PROVEN: Final = frozenset({"verify-ca", "verify-full"})


def _whereabouts(key: Path) -> str:
    """A short name for this machine, as it runs now, and the folder of a key: whose processes may share a chain.

    A copy of the folder has another one, also on a copy of the machine. Raises :class:`OSError`.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = socket.gethostname()
    folder = key.parent.stat()
    text = f"{boot} {folder.st_dev} {folder.st_ino} {key.name}"
    return hashlib.sha256(text.encode()).hexdigest()[:10]
