"""A site in directories of its own, and command lines against it."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from ivr_consent.cli.app import app


@dataclass(frozen=True)
class Place:
    """Where one site's files are."""

    root: Path

    @property
    def etc(self) -> Path:
        return self.root / "etc"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def asterisk(self) -> Path:
        return self.root / "asterisk"

    @property
    def config(self) -> Path:
        return self.etc / "ivr-consent.toml"

    @property
    def log(self) -> Path:
        return self.state / "decisions.db"

    def init(self, *options: str) -> list[str]:
        """The words of an init into this place."""
        directories = ["--dir", self.etc, "--state", self.state, "--asterisk-etc", self.asterisk]
        return ["init", *map(str, directories), *options]

    def edit(self, old: str, new: str) -> None:
        """Replace a text of the configuration that stands there exactly once."""
        text = self.config.read_text()
        assert text.count(old) == 1, old
        self.config.write_text(text.replace(old, new))

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


def run(*words: str | Path, **env: str) -> Result:
    """One command line, with nothing of the tester's own environment; an unforeseen error fails the test."""
    environment: dict[str, str | None] = {"IVR_CONSENT_CONFIG": None, "COLUMNS": None, **env}
    return CliRunner().invoke(app, [str(word) for word in words], env=environment, catch_exceptions=False)


def run_json(*words: str | Path) -> tuple[int, dict[str, Any]]:
    """One command line with --json: its exit code and its object, which is all of its standard output."""
    result = run(*words, "--json")
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    assert document["ok"] is (result.exit_code == 0)
    return result.exit_code, document


class _Manager(socketserver.StreamRequestHandler):
    """One connection of :func:`fake_manager`."""

    timeout = 10  # seconds; a test that went wrong must not leave a thread behind

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _ManagerServer)
        self.wfile.write(server.greeting)
        action: dict[str, str] = {}
        for raw in self.rfile:
            line = raw.decode().rstrip("\r\n")
            if line:
                name, _, value = line.partition(": ")
                action[name] = value
                continue
            server.actions.append(action["Action"])
            answer = server.answers.get(action["Action"], "Response: Error\r\nMessage: Permission denied")
            head, _, rest = answer.partition("\r\n")
            if action["Action"] == "Login" and action["Secret"] != server.secret:
                head, rest = "Response: Error", "Message: Authentication failed"
            self.wfile.write(f"{head}\r\nActionID: {action['ActionID']}\r\n{rest}\r\n\r\n".encode())
            if action["Action"] == "Setvar":
                told = f"Event: VarSet\r\nChannel: none\r\nVariable: {action['Variable']}\r\nValue: \r\n\r\n"
                self.wfile.write(told.encode() * server.told)
            action = {}


class _ManagerServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, secret: str, answers: Mapping[str, str], greeting: bytes, told: int) -> None:
        super().__init__(("127.0.0.1", 0), _Manager)
        self.secret, self.answers, self.greeting, self.told = secret, answers, greeting, told
        self.actions: list[str] = []


NOTHING = """Response: Success\r\nBridgeList: Get a list of bridges in the system.  (Priv: <none>)\r\n\
Ping: Keepalive command.  (Priv: <none>)"""
LEAST = NOTHING + "".join(
    f"\r\n{name}: Something.  (Priv: {rights})"
    for name, rights in {
        "Getvar": "call,reporting,all",
        "Status": "system,call,reporting,all",
        "StopMixMonitor": "call,all",
        "MixMonitorMute": "system,call,all",
        "Redirect": "call,all",
        "Hangup": "system,call,all",
        "Setvar": "call,all",
    }.items()
)
"""What a user with write = call may send, as far as it matters."""
MORE = LEAST + "\r\nOriginate: Originate a call.  (Priv: originate,all)"


@contextmanager
def fake_manager(
    secret: str, listed: str = LEAST, greeting: bytes = b"Asterisk Call Manager/11.0.0\r\n", told: int = 0
) -> Iterator[_ManagerServer]:
    """A manager interface with one user; answers as Asterisk 22 does. ``told``: events for each variable set."""
    done = dict.fromkeys(("Events", "Setvar", "Ping"), "Response: Success\r\nMessage: Done")
    answers = {"Login": "Response: Success\r\nMessage: Authentication accepted", "ListCommands": listed, **done}
    with _ManagerServer(secret, answers, greeting, told) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
