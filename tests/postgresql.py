"""A PostgreSQL server for tests: Debian's packages in a folder, or what is installed; no root needed, nothing kept.

Which one: ``IVR_CONSENT_POSTGRESQL`` says ``installed``, or a suite of Debian (``bullseye``, ``bookworm``, ``trixie``,
``sid``) whose packages are fetched into the rig's cache. Without it: what is installed, else bookworm's.

PostgreSQL refuses to run as root: started by root, it runs as ``nobody``, from copies that ``nobody`` can reach. It
listens on a Unix socket alone, in a directory of its own. It dies with the process that started it, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from ivr_consent.testing.rig import RigUnavailable, fetch_packages, own_loader

CHOICE: Final = "IVR_CONSENT_POSTGRESQL"
VERSIONS: Final = {"bullseye": 13, "bookworm": 15, "trixie": 17, "sid": 18}
OLDEST: Final = 13

UNUSED: Final = (
    "adduser", "coreutils", "debconf", "dpkg", "libc-l10n", "libllvm", "libperl", "libsemanage", "libz3", "locales",
    "login", "lsb-base", "passwd", "perl", "postgresql-client", "postgresql-common", "ssl-cert", "systemd", "tzdata",
    "ucf", "usrmerge", "util-linux",
)  # fmt: skip  # rows that belong together
"""In the closure by way of maintainer scripts, the just-in-time compiler, and clients that we have no use for."""

START_S: Final = 20.0
STOP_S: Final = 10.0
INITDB_S: Final = 120.0

SETTINGS: Final = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "dynamic_shared_memory_type": "mmap",  # a container's /dev/shm may be small
    "jit": "off",
    "log_line_prefix": "%m [%p] %a ",
}


@dataclass(frozen=True, slots=True)
class Programs:
    """Where ``initdb`` and ``postgres`` are, for the user that runs them."""

    folder: Path
    version: int

    def command(self, name: str, *arguments: str) -> list[str]:
        """A program's command."""
        return [str(self.folder / name), *arguments]


def unprivileged() -> tuple[int, int] | None:
    """User and group that run the server; ``None``: we ourselves."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def installed() -> Programs | None:
    """The newest server that is installed, where Debian puts it or on the path."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if found := shutil.which("postgres"):
        folders.append(Path(found).resolve().parent)
    known = [Programs(folder, version) for folder in folders if (version := _version(folder)) >= OLDEST]
    return max(known, key=lambda programs: programs.version, default=None)


def _version(folder: Path) -> int:
    if not (folder / "initdb").exists():
        return 0
    try:
        done = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, timeout=START_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(found[1]) if found else 0


def programs(aside: Path) -> Programs:
    """The programs to be tested with; what is fetched is laid out in ``aside``. Raises :class:`RigUnavailable`."""
    choice = os.environ.get(CHOICE, "")
    if choice in ("", "installed"):
        found = installed()
        if found is not None:
            return found
        if choice:
            raise RigUnavailable(f"no PostgreSQL {OLDEST} or later is installed")
    suite = choice or "bookworm"
    if suite not in VERSIONS:
        raise RigUnavailable(f"{CHOICE}={suite}: known are installed, {', '.join(VERSIONS)}")
    version = VERSIONS[suite]
    root = fetch_packages(f"postgresql-{suite}", suite, (f"postgresql-{version}",), unused=UNUSED)
    return _laid_out(root, aside, version)


def _laid_out(root: Path, aside: Path, version: int) -> Programs:
    """The unpacked packages where ``nobody`` can reach them, each program started through its own dynamic loader.

    PostgreSQL finds its files from where its program lies, and initdb starts the ``postgres`` beside itself: so a
    wrapper stands there under that name.
    """
    loader, libraries = own_loader(root)
    aside.chmod(0o755)
    tree = aside / "root"
    shutil.copytree(root, tree, symlinks=True, copy_function=_linked)
    folder = tree / "usr/lib/postgresql" / str(version) / "bin"
    paths = ":".join(str(tree / Path(path).relative_to(root)) for path in libraries.split(":"))
    for name in ("initdb", "postgres"):
        real = folder / f"{name}.elf"
        (folder / name).rename(real)
        script = f'#!/bin/sh\nexec "{tree / loader.relative_to(root)}" --library-path "{paths}" "{real}" "$@"\n'
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return Programs(folder, version)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy(source, target)


@dataclass(eq=False)
class PostgresqlServer:
    """One server with a directory of its own; ``pristine`` is a directory made by :func:`initialised`, and is copied.

    ``settings`` go over :data:`SETTINGS`. A server that is forgotten dies with the interpreter.
    """

    programs: Programs
    pristine: Path
    settings: dict[str, str] = field(default_factory=dict)
    directory: Path = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None, repr=False)
    _undertaker: subprocess.Popen[bytes] | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        self.directory = own_directory()
        _as_server(["cp", "-r", str(self.pristine), str(self.data)])
        weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> str:
        """What the server has logged."""
        return (self.directory / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres", user: str = "postgres", more: str = "") -> str:
        """How it is reached."""
        return f"postgresql://{user}@/{database}?host={self.directory}{more}"

    def start(self) -> None:
        """Start, and return when it takes connections. Raises :class:`RuntimeError` with the end of its log."""
        assert self._process is None
        settings = SETTINGS | {"unix_socket_directories": str(self.directory)} | self.settings
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        deadline = time.monotonic() + START_S
        while True:  # after a crash the old shared memory may be in use for a moment
            with (self.directory / "log").open("ab") as log:
                self._process = _spawn(self.programs.command("postgres", "-D", str(self.data), *options), log.fileno())
            while self._process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url(), connect_timeout=2):
                    self._watch_over(self._process)
                    return
                time.sleep(0.02)
            if "in use" not in self.log[-1000:] or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"PostgreSQL did not start: {self.log[-2000:]}")

    def _watch_over(self, process: subprocess.Popen[bytes]) -> None:
        """Let the server die with this process even when that is killed: a shell sees our end of a pipe close."""
        script = 'read -r _ || { kill -s QUIT "$0"; rm -rf "$1"; } 2>/dev/null'
        self._undertaker = subprocess.Popen(
            ["sh", "-c", script, str(process.pid), str(self.directory)], stdin=subprocess.PIPE, start_new_session=True
        )

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT rolls back what runs (``fast``), SIGQUIT is a crash that is tidy (``immediate``)."""
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the postmaster; its processes see that it is gone and end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._undertaker is not None:
            self._undertaker.communicate(b"\n")
            self._undertaker = None

    def restart(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """As ``pg_ctl restart -m immediate``."""
        self.stop(how)
        self.start()

    def discard(self) -> None:
        """Stop, and leave nothing behind."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, statement: str, database: str = "postgres", schema: str = "public") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, in a connection of its own; ``{}`` in it stands for ``schema``."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.replace("{}", schema).encode())
            return cursor.fetchall() if cursor.description else []

    def create_database(self) -> str:
        """A new database, whose texts sort as Danes sort them where the server can; its name."""
        name = f"t{uuid.uuid4().hex[:12]}"
        sorting = "LOCALE_PROVIDER icu ICU_LOCALE 'da-DK'" if self.programs.version >= 15 else ""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            statement = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' " + sorting
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
        return name


def initialised(programs: Programs, directory: Path) -> Path:
    """An initialised data directory in ``directory``, to be copied. Raises :class:`RigUnavailable`."""
    data = directory / "pristine"
    options = ["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--wal-segsize=1"]
    done = _as_server(programs.command("initdb", "-D", str(data), *options))
    if done.returncode:
        raise RigUnavailable(f"initdb failed: {done.stdout[-1000:]}")
    return data


def own_directory() -> Path:
    """A directory with a name short enough for a socket in it, and that the server's user owns."""
    path = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    user = unprivileged()
    if user is not None:
        os.chown(path, *user)
    return path


def _as_server(command: list[str]) -> subprocess.CompletedProcess[str]:
    user = unprivileged()
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=INITDB_S,
        check=False,
        cwd="/",
        env=_environment(),
        user=user[0] if user else None,
        group=user[1] if user else None,
        extra_groups=[] if user else None,
    )


def _spawn(command: list[str], output: int) -> subprocess.Popen[bytes]:
    user = unprivileged()
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=_environment(),
        start_new_session=True,
        user=user[0] if user else None,
        group=user[1] if user else None,
        extra_groups=[] if user else None,
    )


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
