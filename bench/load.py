"""The load: a switch that answers every command at once, in a process of its own, the same for every server.

    python -m bench.load PORT CALLS AT_ONCE KEY [freeswitch]

Prints one JSON object: seconds, calls, commands, outcomes. KEY is what "the caller" presses.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import cast

from bench.load_freeswitch import FreeSwitchCall
from ivr_consent.testing.fake_asterisk_wire import environment

ENVIRONMENT = environment()
PATIENCE = 300.0


class Call(asyncio.Protocol):
    """One call; when its connection ends, the next one is placed."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport
        self.rest = b""
        self.file = b""
        self.waits = 0
        self.result = "failed"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own
        self.transport.write(ENVIRONMENT)

    def data_received(self, data: bytes) -> None:
        self.rest += data
        if not self.rest.endswith(b"\n"):
            return
        line, self.rest = self.rest[:-1], b""
        self.load.commands += 1
        self.transport.write(self.answer(line))

    def answer(self, line: bytes) -> bytes:
        """What Asterisk answers, as cheaply as it can be had."""
        if line.startswith(b"SET "):
            if line.startswith(b'SET VARIABLE IVR_CONSENT_RESULT "'):
                self.result = line[33:-1].decode()
            return b"200 result=1\n"
        if line.startswith(b"STREAM"):
            return b"200 result=0 endpos=8\n"
        if line.startswith(b"WAIT"):
            self.waits += 1
            return b"200 result=0\n" if self.waits == 1 else b"200 result=%d\n" % self.load.key
        if line.startswith(b"GET FULL"):
            value = self.file if b"MIXMONITOR(" in line else line[19:-1]
            return b"200 result=1 (" + value + b")\n"
        if line.startswith(b"GET VARIABLE"):
            return b"200 result=1 (0x7fbcb000ee90)\n"
        if line.startswith(b"CHANNEL"):
            return b"200 result=6\n"
        if line.startswith(b"EXEC MixMonitor"):
            self.file = line[17:].partition(b",")[0]
            Path(self.file.decode()).touch()
        return b"200 result=0\n"

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.ended(self)


class Load:
    """So many calls, so many of them at once."""

    def __init__(self, port: int, calls: int, at_once: int, key: str, kind: type[Call | FreeSwitchCall]) -> None:
        self.kind = kind
        self.port, self.calls, self.at_once, self.key = port, calls, at_once, ord(key)
        self.placed = self.over = self.commands = 0
        self.outcomes: dict[str, int] = {}
        self.done = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    def place(self) -> None:
        if self.placed < self.calls:
            self.placed += 1
            task = asyncio.get_running_loop().create_task(self.connect())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self.kind(self), "127.0.0.1", self.port)

    def ended(self, call: Call | FreeSwitchCall) -> None:
        self.over += 1
        self.outcomes[call.result] = self.outcomes.get(call.result, 0) + 1
        if self.over == self.calls:
            self.done.set()
        self.place()

    async def run(self) -> dict[str, object]:
        began = time.monotonic()
        for _ in range(self.at_once):
            self.place()
        async with asyncio.timeout(PATIENCE):
            await self.done.wait()
        seconds = time.monotonic() - began
        return {"seconds": seconds, "calls": self.calls, "commands": self.commands, "outcomes": self.outcomes}


async def main() -> None:
    """Place the calls that the command line asks for."""
    port, calls, at_once, key, *switch = sys.argv[1:]
    kind = FreeSwitchCall if switch else Call
    print(json.dumps(await Load(int(port), int(calls), int(at_once), key, kind).run()))


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())
