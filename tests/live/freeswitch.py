"""A whole site on a real FreeSWITCH: the rig, our dialplan in it, a configuration, and ``ivr-consent serve``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ivr_consent import config
from ivr_consent.config import Settings
from ivr_consent.pbx.freeswitch.dialplan import render
from ivr_consent.store.reader import CallRecord, LedgerReader
from ivr_consent.testing.eye import DirectoryWatch
from ivr_consent.testing.freeswitch_rig import RECORDED, UNRECORDED, FreeSwitchRig, FreeSwitchUnavailable, RigCall
from tests.live.support import DEADLINE_S, TONE_VOICE, Server, free_port, publish, shared_audio, until_log

LINES = ("support", "support.draft")
"""What can be dialled: the line, and its draft as an administrator's telephone reaches it."""

CONFIGURATION = """
switch = "freeswitch"
[server]
port = {port}
draft_port = {draft_port}
drain_seconds = 20
[event_socket]
port = {event_socket}
[features]
withdraw = "*9"
[guard]
spool = ["{spool}"]
[prompts]
audio = "{audio}"
[prompts.voices.en]
command = ["{python}", "{voice}"]
[facts.default]
controller = "Example"
authority = "Datatilsynet"
recipients = "the agent"
withdrawal_contact = "0123"
rights_contact = "0124"
web_address = "example.org"
[lines.support]
timeout_seconds = 3
repeats = 0
recorded = "{recorded}"
unrecorded = "{unrecorded}"
"""


@dataclass
class Site:
    """One FreeSWITCH with our gate in front of two agents."""

    home: Path
    rig: FreeSwitchRig
    settings: Settings
    server: Server

    @property
    def recordings(self) -> Path:
        return self.home / "recordings"

    def records(self) -> list[CallRecord]:
        with LedgerReader(self.home / "decisions.db") as reader:
            return list(reader.calls(limit=1000))

    async def record(self, call: RigCall, *, kind: str | None = None) -> CallRecord:
        """The call's decision, once it is in the log (and has a later event of this kind)."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for record in self.records():
                    if record.decision.payload["call"]["channel_uniqueid"] == call.leg and (
                        kind is None or any(event.kind == kind for event in record.later)
                    ):
                        return record
                await asyncio.sleep(0.02)  # polling another process's log, with the deadline above

    def watched(self) -> DirectoryWatch:
        """Sees every file that comes to be among the recordings."""
        return DirectoryWatch(self.recordings)

    async def let_gate_ask(self, port: int) -> None:
        """Let the dialplan ask another server."""
        server = self.settings.server.model_copy(update={"port": port})
        await self.rig.take_dialplan(render(self.settings.model_copy(update={"server": server})))

    async def recorders(self, call: RigCall) -> str:
        """What the switch lists as recording on the call."""
        return await self.rig.api(f"uuid_buglist {call.leg}")


@contextlib.asynccontextmanager
async def site(*, serve: bool = True) -> AsyncIterator[Site]:
    """A running site; everything stopped and removed at the end. Skips where there is no FreeSWITCH."""
    rig = FreeSwitchRig(LINES)
    with tempfile.TemporaryDirectory(prefix="ivr-consent-live-") as folder:
        home = Path(folder)
        try:
            await rig.start()
        except FreeSwitchUnavailable as error:
            pytest.skip(f"no FreeSWITCH: {error}")
        server = Server(home / "ivr-consent.toml")
        try:
            settings = _settings(home, rig)
            await rig.take_dialplan(render(settings))
            if serve:
                await server.start()
                await until_log(server, "event_socket_up")
            yield Site(home, rig, settings, server)
        finally:
            server.stop()
            await rig.stop()


def _settings(home: Path, rig: FreeSwitchRig) -> Settings:
    password = home / "event_socket.password"
    password.write_text(rig.password + "\n")
    password.chmod(0o600)
    (home / "recordings").mkdir(mode=0o700)
    with shared_audio() as audio:
        voice = audio / "voice.py"
        voice.write_text(TONE_VOICE)
        path = home / "ivr-consent.toml"
        text = CONFIGURATION.format(
            port=free_port(),
            draft_port=free_port(),
            event_socket=rig.event_socket_port,
            spool=rig.recordings,
            audio=audio,
            python=sys.executable,
            voice=voice,
            recorded=RECORDED,
            unrecorded=UNRECORDED,
        )
        path.write_text(text)
        settings = config.load(path)
        publish(settings)
    return settings
