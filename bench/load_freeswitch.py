"""The load from a FreeSWITCH that does every application at once; its messages are recorded ones, of their true size.

As ``bench.load``, and by its command line: ``python -m bench.load PORT CALLS AT_ONCE KEY freeswitch``.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ivr_consent.testing import freeswitch_transcripts as transcripts

if TYPE_CHECKING:
    from bench.load import Load

RECORDED = Path(__file__).parents[1] / "tests" / "data" / "freeswitch-transcripts" / "90-consent-yes.txt"
OK = b"Content-Type: command/reply\nReply-Text: +OK\n\n"


@cache
def recorded() -> tuple[bytes, str]:
    """The first reply and an event, each with @U@ and the like where a call has its own."""
    blocks = [one for one in transcripts.read(RECORDED).entries if isinstance(one, transcripts.Block) and one.by_switch]
    first = next(block.data for block in blocks if b"CHANNEL_DATA" in block.data)
    old = next(line.partition(b": ")[2] for line in first.split(b"\n") if line.startswith(b"Unique-ID"))
    lines = [line for line in first.replace(old, b"@U@").split(b"\n") if not line.startswith(b"Caller-Context")]
    first = b"\n".join((b"Caller-Context: ivr-consent", b"variable_ivr_consent_line: support", *lines))
    bodies = [block.data.partition(b"\n\n")[2] for block in blocks]
    event = next(json.loads(body) for body in bodies if b'"FILE PLAYED"' in body)
    event |= {
        "Event-Name": "@N@",
        "Unique-ID": "@U@",
        "Application-UUID": "@A@",
        "variable_playback_terminator_used": "@K@",
        "variable_playback_last_offset_pos": "8",
        "variable_ivr_consent_result": "@R@",
        "Playback-File-Path": "@F@",
        "Playback-Status": "done",
        "Record-File-Path": "@F@",
        "DTMF-Digit": "@K@",
        "DTMF-Duration": "0",
    }
    return first, json.dumps(event)


class FreeSwitchCall(asyncio.Protocol):
    """One call; when its connection ends, the next one is placed."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport
        self.rest = b""
        self.uuid = str(uuid.uuid4())
        self.file = ""
        self.result = "failed"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while b"\n\n" in self.rest:
            command, _, self.rest = self.rest.partition(b"\n\n")
            self.load.commands += 1
            self.transport.write(self.answer(command.decode()))

    def answer(self, command: str) -> bytes:
        """What FreeSWITCH answers, the reply and what it tells of."""
        if command == "connect":
            return recorded()[0].replace(b"@U@", self.uuid.encode())
        if command.startswith("api "):
            body = f"+OK\n<media-bugs><target>{self.file}</target></media-bugs>"
            return f"Content-Type: api/response\nContent-Length: {len(body)}\n\n{body}".encode()
        if not command.startswith("sendmsg"):
            return OK
        lines = dict(line.partition(": ")[::2] for line in command.split("\n"))
        name, argument = lines["execute-app-name"], lines.get("execute-app-arg", "")
        mark, key, more = lines["Event-UUID"], "", b""
        if name == "set" and argument.startswith("ivr_consent_result="):
            self.result = argument.partition("=")[2]
        elif name == "record_session":
            Path(argument).touch()
            self.file = argument
            more = self.event("RECORD_START", file=argument)
        elif name == "playback" and argument.startswith("silence_stream"):
            key = chr(self.load.key)
            more = self.event("DTMF", key=key) + self.event("PLAYBACK_STOP", file=argument)
        elif name == "playback":
            more = self.event("PLAYBACK_STOP", file=argument)
        return OK + more + self.event("CHANNEL_EXECUTE_COMPLETE", mark=mark, key=key)

    def event(self, name: str, *, mark: str = "", key: str = "", file: str = "") -> bytes:
        """An event of this channel."""
        text = recorded()[1]
        for place, value in (("N", name), ("U", self.uuid), ("A", mark), ("K", key), ("R", self.result), ("F", file)):
            text = text.replace(f"@{place}@", value)
        return f"Content-Length: {len(text)}\nContent-Type: text/event-json\n\n{text}".encode()

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.ended(self)
