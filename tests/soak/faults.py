"""Faults between calls, each until all is well again: what dies, what hangs, what is cut, what is full."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ivr_consent.pbx.asterisk.dialplan import render_features
from tests.faults.disk import Disk, Fault, Operation
from tests.live.support import DEADLINE_S, Site
from tests.soak.evidence import Window

DISK_NAMES: Final = ("decisions.db", "decisions.db-wal", "decisions.db-journal")


@dataclass
class Faults:
    """What can be done to a site, and when it was done. ``disk``: ``None`` where there is no compiler."""

    site: Site
    chance: random.Random
    disk: Disk | None = None
    windows: list[Window] = field(default_factory=list)
    now: str = ""
    """The fault that lasts, for who watches."""

    unhealed: list[str] = field(default_factory=list)
    """Faults after which all was not well again in time."""

    logs: list[Path] = field(default_factory=list)
    """What Asterisks that were killed have logged."""

    def kinds(self, *, ending: bool) -> dict[str, Callable[[], Awaitable[None]]]:
        """By name. ``ending``: also those that end the service, after which its memory says nothing of before."""
        lasting: dict[str, Callable[[], Awaitable[None]]] = {
            "link cut": self.cut_link,
            "manager reload": self.reload_manager,
            "dialplan reload": self.reload_dialplan,
            "switch killed": self.kill_switch,
            "notices reloaded": self.reload_service,
        }
        if self.disk is not None:
            lasting |= {"disk full": self.fill_disk, "disk slow": self.slow_disk}
        if not ending:
            return lasting
        return lasting | {
            "service killed": self.kill_service,
            "worker killed": lambda: self.end_worker(signal.SIGKILL),
            "worker hangs": lambda: self.end_worker(signal.SIGSTOP),
        }

    async def strike(self, kind: str) -> None:
        """Do it, and wait until the service watches again."""
        began = time.time()
        self.now = kind
        try:
            await self.kinds(ending=True)[kind]()
        except TimeoutError:
            self.unhealed.append(f"{kind}: the service did not watch again within {DEADLINE_S:.0f} s")
        finally:
            self.now = ""
            self.windows.append(Window(kind, began, time.time()))

    async def _said(self, event: str, since: int) -> None:
        """Wait until the service's log says so, from this byte on."""
        async with asyncio.timeout(DEADLINE_S):
            while f'"{event}"'.encode() not in self._log_from(since):
                await asyncio.sleep(0.05)  # polling another process's output, with the deadline above

    def _log_from(self, since: int) -> bytes:
        with self.site.server.log_path.open("rb") as file:
            file.seek(since)
            return file.read()

    def _mark(self) -> int:
        return self.site.server.log_path.stat().st_size

    async def _pause(self, low: float, high: float) -> None:
        await asyncio.sleep(self.chance.uniform(low, high))  # how long a fault lasts

    async def kill_service(self) -> None:
        """SIGKILL for the watcher and the worker; somebody starts it again."""
        self.site.server.kill_group()
        await self._pause(0.5, 3.0)
        since = self._mark()
        await self.site.server.start()
        await self._said("guard_watching", since)

    async def end_worker(self, number: signal.Signals) -> None:
        """The worker dies, or hangs until the watcher kills it; the watcher starts another."""
        since = self._mark()
        os.kill(self.site.server.worker(), number)
        await self._said("listening", since)
        await self._said("guard_watching", since)

    async def cut_link(self) -> None:
        """The manager link is reset, and refused for a while."""
        await self.site.relay.cut()
        await self._pause(1.0, 4.0)
        since = self._mark()
        await self.site.relay.start()
        await self._said("guard_watching", since)

    async def reload_manager(self) -> None:
        """As after every change of a manager account."""
        await self.site.pbx.cli("manager reload")
        await self._pause(0.5, 1.5)

    async def reload_dialplan(self) -> None:
        """Under calls that are in it."""
        await self.site.pbx.cli("dialplan reload")
        await self._pause(0.5, 1.5)

    async def reload_service(self) -> None:
        """SIGHUP: configuration and versions are taken into use anew."""
        since = self._mark()
        assert self.site.server.process is not None
        self.site.server.process.send_signal(signal.SIGHUP)
        await self._said("reloaded", since)

    async def kill_switch(self) -> None:
        """Asterisk dies with all its calls, and is started again."""
        pbx = self.site.pbx
        await pbx.kill()
        kept = self.site.home / f"asterisk-{len(self.logs) + 1}.log"
        kept.write_bytes(pbx.log_path.read_bytes())  # a start removes it
        self.logs.append(kept)
        await self._pause(0.5, 2.0)
        since = self._mark()
        await pbx.start()
        with (pbx.directory / "etc/features.conf").open("a") as file:  # written anew by the start
            file.write(render_features(self.site.settings))
        await pbx.cli("module reload features")
        await self._said("guard_watching", since)

    async def fill_disk(self) -> None:
        """The log's disk takes no byte more."""
        await self._fail(error=errno.ENOSPC)

    async def slow_disk(self) -> None:
        """A flush of the log takes as long as one to a disk that is worn out."""
        await self._fail(delay_ms=self.chance.randint(50, 400))

    async def _fail(self, *, error: int = 0, delay_ms: int = 0) -> None:
        assert self.disk is not None
        what = Operation.WRITE | Operation.TRUNCATE if error else Operation.FLUSH
        with contextlib.ExitStack() as healed:
            healed.callback(self.disk.heal)
            self.disk.fail(*(Fault(what, name, error=error, delay_ms=delay_ms) for name in DISK_NAMES))
            await self._pause(2.0, 6.0)
