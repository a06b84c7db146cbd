"""A connection to a PostgreSQL server: how long we wait for it, and what we ask of it.

Passwords come from ``~/.pgpass`` (or ``PGPASSFILE``), from ``PGPASSWORD``, or from a file of the site's.
"""

from __future__ import annotations

import hashlib
import stat
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
from psycopg import conninfo
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus

from ivr_consent.core.errors import LedgerError
from ivr_consent.store.address import Address, shown
from ivr_consent.store.database import BUSY_TIMEOUT_S

OLDEST: Final = 13
"""The oldest PostgreSQL that we are tested with."""

CONNECT_S: Final = 2
"""How long a connection may take to be made; libpq counts whole seconds, from 2 on."""

STATEMENT_S: Final = BUSY_TIMEOUT_S
"""How long the server works on one statement of a writer, the wait for another writer included."""

PATIENCE_S: Final = BUSY_TIMEOUT_S + 0.5
"""How long we wait for the server's word, before we hold it for lost and cut the connection. The server gives up its
statement a little earlier, and says why."""

IDLE_S: Final = 10.0
"""How long the server keeps a transaction open in which it hears nothing of us: it holds the writers' lock."""

READING_S: Final = 600.0
"""How long one question to the log may take, and one reader may look at its answer."""

_T = TypeVar("_T")


class _Number(Loader):
    """Sums and averages: PostgreSQL gives them as exact decimals, SQLite as integers and floats."""

    def load(self, data: psycopg.abc.Buffer) -> int | float:
        text = bytes(data).decode()
        return float(text) if "." in text or "N" in text else int(text)


class Link(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is not waited for longer than ``patience`` seconds at a time."""

    patience: float = PATIENCE_S
    backend: tuple[int, str] = (0, "")
    """Process id on the server, and since when."""
    silent: bool = False
    """Its answer did not come in time, so nothing more can be said on it."""

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        return super().wait(self._bounded(gen, time.monotonic() + self.patience), *arguments, **options)

    def _bounded(self, gen: Generator[Any, Any, _T], deadline: float) -> Generator[Any, Any, _T]:
        """The same conversation, given up at the deadline; the driver looks round every 0.1 s."""
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self.silent = True
                    raise psycopg.OperationalError(f"no answer for {self.patience:.1f} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: _T = end.value
            return result

    @property
    def lost(self) -> bool:
        """Whether nothing more can be said on it."""
        return self.silent or self.closed or self.pgconn.transaction_status == TransactionStatus.UNKNOWN


def connect(address: Address, application: str, *, writes: bool) -> Link:
    """Connect, ask of the session what we need, and look whether the server keeps its word on durability.

    Raises :class:`psycopg.Error`, and :class:`LedgerError` with a remedy for a server that we do not write to.
    """
    parameters = _parameters(address, application, writes=writes)
    link = Link.connect(**parameters, autocommit=True, cursor_factory=psycopg.RawCursor)
    try:
        link.adapters.register_loader("numeric", _Number)
        _begin_session(link, address, writes=writes)
        if not writes:
            link.patience = READING_S + 1
    except BaseException:
        link.close()
        raise
    return link


def _parameters(address: Address, application: str, *, writes: bool) -> dict[str, Any]:
    try:
        found: dict[str, Any] = conninfo.conninfo_to_dict(address.url)
    except psycopg.Error:  # its message quotes the URL
        raise LedgerError(
            f"log.url ({shown(address.url)}) is not a URL that PostgreSQL understands; write for example "
            "postgresql://ivr_consent@db.example.org/ivr_consent?sslmode=verify-full"
        ) from None
    usual: dict[str, Any] = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    usual |= {"tcp_user_timeout": 5000, "target_session_attrs": "read-write" if writes else "any"}
    forced: dict[str, Any] = {"connect_timeout": CONNECT_S, "client_encoding": "UTF8", "application_name": application}
    if address.password_file is not None:
        forced["password"] = password_of(address.password_file)
    return usual | found | forced


def password_of(path: Path) -> str:
    """The password in a file that its owner alone can read. Raises :class:`LedgerError`."""
    try:
        with path.open() as file:
            mode = path.stat().st_mode
            text = file.read(4096).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise LedgerError(f"log.password_file {path} cannot be read ({reason}); it holds the password alone") from None
    if mode & 0o077:
        raise LedgerError(f"log.password_file {path} can be read by others ({stat.filemode(mode)}); chmod 600 {path}")
    if not text or "\n" in text:
        raise LedgerError(f"log.password_file {path} does not hold one line; write the password into it, nothing else")
    return text


def _begin_session(link: Link, address: Address, *, writes: bool) -> None:
    if link.info.server_version < OLDEST * 10_000:
        raise LedgerError(
            f"the server of {shown(address.url)} is PostgreSQL {link.info.server_version // 10_000}; "
            f"ivr-consent needs {OLDEST} or later"
        )
    milliseconds = {
        "statement_timeout": STATEMENT_S if writes else READING_S,
        "lock_timeout": STATEMENT_S - 0.2,
        "idle_in_transaction_session_timeout": IDLE_S if writes else READING_S,
        "tcp_user_timeout": 5.0,
    }
    settings = {
        "search_path": f'"{address.schema}", pg_temp',  # nothing of ours is ever found elsewhere
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "off" if writes else "on",
        "row_security": "off",  # rows that a policy hides are an error, not a shorter log
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        **{name: f"{seconds * 1000:.0f}ms" for name, seconds in milliseconds.items()},
    }
    if link.info.server_version >= 140_000:
        settings["client_connection_check_interval"] = "1000ms"
    calls = ", ".join(f"set_config(${2 * n + 1}, ${2 * n + 2}, false)" for n in range(len(settings)))
    link.execute(f"SELECT {calls}".encode(), [word for pair in settings.items() for word in pair])
    asked = (
        b"SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('server_encoding'), "
        b"pg_backend_pid(), (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()), "
        b"set_config('synchronous_commit', "
        b"CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)"
    )
    row = link.execute(asked).fetchone()
    assert row is not None
    fsync, full_pages, encoding, pid, since, _ = row
    link.backend = pid, since or ""
    if encoding != "UTF8":
        raise LedgerError(
            f"the database {shown(address.url)} is in {encoding}; make one for the log: "
            "CREATE DATABASE ivr_consent ENCODING 'UTF8' TEMPLATE template0"
        )
    for name, value in (("fsync", fsync), ("full_page_writes", full_pages)):
        if writes and value != "on":
            raise LedgerError(
                f"the server of {shown(address.url)} runs with {name} = {value}: what it says is on disk may be lost "
                f"with the next power cut, so nothing is recorded; set {name} = on in its postgresql.conf and reload it"
            )


def told(error: BaseException) -> str:
    """What the server or libpq says, as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def lock_number(schema: str) -> int:
    """The advisory lock under which a chain is made: PostgreSQL numbers them with 64 signed bits."""
    return int.from_bytes(hashlib.sha256(f"ivr-consent {schema}".encode()).digest()[:8], signed=True)
