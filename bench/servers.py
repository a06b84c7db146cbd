"""The servers to compare, each in a process of its own.

    python -m bench.servers KIND DIRECTORY

Prints its port, serves until standard input closes, then prints one JSON object with its counters.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sqlite3
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ivr_consent.core.flow import Plan
from ivr_consent.logs import configure_logging
from ivr_consent.pbx.asterisk.server import Server
from ivr_consent.pbx.freeswitch.server import Server as FreeswitchServer
from ivr_consent.pbx.serving import Server as AnyServer
from ivr_consent.store.ledger import Ledger, Ticket
from ivr_consent.testing.tiny import TinyLines, tiny_plan

COMMANDS = (
    'GET FULL VARIABLE "0123456789abcdef"',
    'SET VARIABLE IVR_CONSENT_ID "0123456789abcdef0123456789abcdef"',
    "ANSWER",
    'SET VARIABLE TIMEOUT(absolute) "15"',
    'STREAM FILE "/tmp/audio/notice-1" "2"',
    'STREAM FILE "/tmp/audio/notice-2" "2"',
    'STREAM FILE "/tmp/audio/training-question" "2"',
    "WAIT FOR DIGIT 0",
    "WAIT FOR DIGIT 8000",
    'STREAM FILE "/tmp/audio/result-declined" ""',
    'SET VARIABLE IVR_CONSENT_REASON "no_key"',
    'SET VARIABLE IVR_CONSENT_RESULT "declined"',
)
"""What our server says in a call that is declined, for the servers that have no flow."""

Stop = Callable[[], Coroutine[Any, Any, dict[str, int]]]


class CountingLedger(Ledger):
    """Counts what one flush to disk carries."""

    commits = events = 0

    def _commit(self, batch: list[Ticket]) -> list[Callable[[], None]]:
        self.commits += 1
        self.events += len(batch)
        return super()._commit(batch)


def instant_plan(directory: Path) -> Plan:
    """A plan of three prompts that last no time, so that a switch that answers at once is believed."""
    plan = tiny_plan(directory, segments=2, samples=8, timeout_ms=8000, guard_ms=0)
    (notice,) = plan.notices
    return replace(
        plan,
        notices=(
            replace(
                notice,
                information=tuple(replace(prompt, duration_ms=0) for prompt in notice.information),
                questions={name: replace(prompt, duration_ms=0) for name, prompt in notice.questions.items()},
                results={name: replace(prompt, duration_ms=0) for name, prompt in notice.results.items()},
            ),
        ),
    )


async def ours(directory: Path, kind: type[AnyServer] = Server) -> tuple[int, Stop]:
    """Our server as it is: protocol, session, flow, durable log, a line of log a call."""
    loop = asyncio.get_running_loop()
    lines = TinyLines(directory / "recordings", {"support": instant_plan(directory / "audio")})
    lines.recordings.mkdir()

    def run(callbacks: list[Callable[[], None]]) -> None:
        for callback in callbacks:
            callback()

    def dispatch(callbacks: list[Callable[[], None]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(run, callbacks)

    ledger = CountingLedger(directory / "log.db", dispatch=dispatch)
    server = kind(lines, ledger)
    await server.start("127.0.0.1", 0)

    async def stop() -> dict[str, int]:
        await server.stop(5)
        await asyncio.to_thread(ledger.close)
        return {"commits": ledger.commits, "events": ledger.events}

    return server.port, stop


async def panoramisk(directory: Path, *, log: bool) -> tuple[int, Stop]:
    """Stock panoramisk: the same commands, one after the other; with ``log``, one row and one commit a call."""
    from panoramisk.fast_agi import Application, Request  # noqa: PLC0415 - not in the memory of the others

    counts = {"commits": 0, "events": 0}
    connection = sqlite3.connect(directory / "log.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE events (sequence INTEGER PRIMARY KEY, call_id TEXT UNIQUE, payload BLOB)")
    document = {"call": {"line": "support"}, "outcome": "declined", "segments": ["0" * 64] * 16}

    async def handle(request: Request) -> None:
        for number, command in enumerate(COMMANDS):
            await request.send_command(command)
            if log and number == 8:
                payload = json.dumps(document, sort_keys=True)
                connection.execute(
                    "INSERT INTO events (call_id, payload) VALUES (?, ?)", (secrets.token_hex(16), payload)
                )
                counts["commits"] += 1
                counts["events"] += 1

    application = Application(loop=asyncio.get_running_loop())
    application.add_route("consent", handle)
    server = await asyncio.start_server(application.handler, "127.0.0.1", 0, backlog=512)

    async def stop() -> dict[str, int]:
        server.close()
        connection.close()
        return counts

    return server.sockets[0].getsockname()[1], stop


class Bare(asyncio.Protocol):
    """No work at all: the next canned command for every line that comes."""

    LINES = tuple(f"{command}\n".encode() for command in COMMANDS)

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.sent = 0
        self.begun = False
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own

    def data_received(self, data: bytes) -> None:
        if not self.begun:
            self.head += data
            if not self.head.endswith(b"\n\n"):
                return
            self.begun = True
        if self.sent == len(self.LINES):
            self.transport.close()
            return
        self.transport.write(self.LINES[self.sent])
        self.sent += 1


async def bare(directory: Path) -> tuple[int, Stop]:
    """A bare asyncio loop."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Bare, "127.0.0.1", 0, backlog=512)

    async def stop() -> dict[str, int]:
        server.close()
        return {}

    return server.sockets[0].getsockname()[1], stop


async def main(kind: str, directory: Path) -> None:
    """Serve until told to stop."""
    if kind == "ours":
        port, stop = await ours(directory)
    elif kind == "freeswitch":
        port, stop = await ours(directory, FreeswitchServer)
    elif kind == "bare":
        port, stop = await bare(directory)
    else:
        port, stop = await panoramisk(directory, log=kind == "panoramisk-log")
    print(port, flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()
    loop.remove_reader(sys.stdin)
    print(json.dumps(await stop()), flush=True)


if __name__ == "__main__":
    configure_logging()
    wanted, _, loop_name = sys.argv[1].partition("+")
    if loop_name == "uvloop":
        import uvloop

        uvloop.run(main(wanted, Path(sys.argv[2])))
    else:
        asyncio.run(main(wanted, Path(sys.argv[2])))
