"""The Asterisks that run somebody's own AGI script: a fake one, and a real one of the rig called by a telephone."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.asterisk.manager import Event, ManagerLink
from ivr_consent.testing.agi_call import AgiLine
from ivr_consent.testing.fake_asterisk import Command, FakeAsterisk, FakeCall
from ivr_consent.testing.phone import Call, Phone
from ivr_consent.testing.rig import Instance, Version

HOST: Final = "127.0.0.1"

LINK_S: Final = 30.0
"""For the manager link to come up on a busy machine."""

Agi = str | Path | Sequence[str | Path]
"""``agi://host:port/script``, a program, or a program with what stands before its arguments."""


class AgiSwitch(ABC):
    """An Asterisk that runs scripts for callers."""

    sounds: Path
    """Where prompts are."""

    @abstractmethod
    async def call(self, agi: Agi, arguments: Sequence[str], number: str, display: str) -> AgiLine:
        """A caller rings, and the dialplan says AGI(agi,arguments…)."""

    @abstractmethod
    async def close(self) -> None:
        """Hang up every call, and end."""


class _FakeLine(AgiLine):
    def __init__(self, call: FakeCall) -> None:
        self._call = call
        self.commands = call.commands

    async def more(self) -> None:
        await self._call.wait_command("", len(self.commands) + 1, 3600.0)

    async def press(self, key: str, seconds: float) -> None:
        self._call.press(key, seconds)

    async def hang_up(self) -> None:
        self._call.hang_up()

    async def ended(self) -> None:
        await self._call.done.wait()
        self.status = self._call.status

    def replies(self) -> Sequence[str]:
        return self._call.replies

    def said(self) -> str:
        return self._call.said


class FakeAgi(AgiSwitch):
    """The fake Asterisk. ``fake`` is it: give it ``applications`` or a ``database``, or make it quicker."""

    def __init__(self, sounds: Path, monitor: Path) -> None:
        self.sounds = sounds
        self.fake = FakeAsterisk(HOST, 0, sounds=sounds, monitor=monitor, exit_on_hangup=False, lease_s=0.0)

    async def call(self, agi: Agi, arguments: Sequence[str], number: str, display: str) -> AgiLine:
        return _FakeLine(await self.fake.run(agi, tuple(arguments), caller=number, name=display or "unknown"))

    async def close(self) -> None:
        await self.fake.close()


class _RealLine(AgiLine):
    def __init__(self, phone: Call) -> None:
        self.commands = []
        self.phone = phone
        self._changed = asyncio.Event()
        self._over = asyncio.Event()
        self._one_key = asyncio.Lock()

    def happened(self, event: Event) -> None:
        """An event of this call's channel."""
        if event.name == "AGIExecStart":
            self.commands.append(Command(event.arrived, event.headers.get("Command", "")))
        elif event.headers.get("UserEvent") == "Ended":
            self.status = self.status or event.headers.get("Status", "")
            self._over.set()
        self._changed.set()

    async def more(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def press(self, key: str, seconds: float) -> None:
        async with self._one_key:
            if self.phone.up:
                await self.phone.press(key, seconds)

    async def hang_up(self) -> None:
        await self.phone.hang_up()

    async def ended(self) -> None:
        await self._over.wait()


class RealAgi(AgiSwitch):
    """A real Asterisk of this version. Its prompts lie among Asterisk's own.

    Raises on :meth:`start`: :class:`~ivr_consent.testing.rig.RigUnavailable` where none is to be had.
    """

    def __init__(self, version: Version) -> None:
        self._pbx = Instance(version)
        self.sounds = self._pbx.sounds
        self._secret = secrets.token_hex(16)
        self._pbx.add_manager("watch", self._secret, read="agi,user", write="call")
        self._stack = contextlib.AsyncExitStack()
        self._numbers = itertools.count(1000)
        self._phone: Phone | None = None
        self._dialled: dict[str, _RealLine] = {}
        """Calls whose channel is not known yet, by the number that was dialled."""
        self._lines: dict[str, _RealLine] = {}

    async def start(self) -> None:
        """Fetch it if need be, and start it."""
        await self._stack.enter_async_context(self._pbx)
        link = ManagerLink(HOST, self._pbx.ami_port, "watch", self._secret, events="agi,user")
        self._stack.push_async_callback(link.close)
        for pattern in ("AGIExecStart", "UserEvent"):
            link.on(pattern, self._happened)
        await link.start()
        if not await link.wait_up(LINK_S):
            raise ConsentError(
                f"the manager of Asterisk did not answer within {LINK_S:.0f} s; is the machine too busy?"
            )
        self._phone = await self._stack.enter_async_context(Phone((HOST, self._pbx.sip_port)))

    async def call(self, agi: Agi, arguments: Sequence[str], number: str, display: str) -> AgiLine:
        assert self._phone is not None
        dialled = str(next(self._numbers))
        words = [str(agi)] if isinstance(agi, str | Path) else [str(word) for word in agi]
        await self._pbx.reload_dialplan(_dialplan(dialled, [*words, *arguments]))
        phone = await self._phone.call(dialled, from_user=number, display_name=display or None)
        line = self._dialled[dialled] = _RealLine(phone)
        return line

    def _happened(self, event: Event) -> None:
        uniqueid = event.headers.get("Uniqueid", "")
        if event.headers.get("UserEvent") == "Began":
            self._lines[uniqueid] = self._dialled[event.headers.get("Dialled", "")]
        elif uniqueid in self._lines:
            self._lines[uniqueid].happened(event)

    async def close(self) -> None:
        await self._stack.aclose()


def _dialplan(dialled: str, words: Sequence[str]) -> str:
    """One extension that runs a script. Raises :class:`ValueError` for what a dialplan takes for something else."""
    for word in words:
        if re.search(r"[\r\n,;$\"\\()]", word):
            raise ValueError(f"{word!r} cannot be written as an argument of AGI() in a dialplan")
    return f"""\
[from-sip]
exten => {dialled},1,UserEvent(Began,Dialled: {dialled})
 same => n,AGI({",".join(words)})
 same => n,UserEvent(Ended,Status: ${{AGISTATUS}})
 same => n,Hangup()
exten => h,1,UserEvent(Ended,Status: ${{AGISTATUS}})
"""
