"""Asterisk's side of the service: the manager link, the guard on a link of its own, and the FastAGI server."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from ivr_consent.config import Settings
from ivr_consent.core.errors import ConsentError
from ivr_consent.guarding import Telling, open_for, policy_of, standings_of, stop_while_blind
from ivr_consent.metrics import Count, uncounted
from ivr_consent.pbx import withdrawing
from ivr_consent.pbx.asterisk.guard.watcher import EVENTS, Guard
from ivr_consent.pbx.asterisk.keys import KeyPresses
from ivr_consent.pbx.asterisk.manager import ManagerLink
from ivr_consent.pbx.asterisk.server import Server
from ivr_consent.pbx.asterisk.stopping import Recorders
from ivr_consent.pbx.conduct import Lines
from ivr_consent.store import withdrawals
from ivr_consent.store.ledger import Ledger

LINK_S: Final = 5.0
"""How long a withdrawal that nobody could be told of waits for the manager link."""

Spawn = Callable[[Coroutine[Any, Any, object], str], object]
"""Runs something beside everything else; the text is the log line of its failure."""


class ManagerPresses:
    """Key presses as the manager tells of them, while its link is up."""

    def __init__(self, link: ManagerLink) -> None:
        self._link = link
        self._presses = KeyPresses()
        self._presses.attach(link)
        self.when = self._presses.when

    def known(self) -> bool:
        return self._link.up


class AsteriskSide:
    """What the service has of Asterisk, from start to stop."""

    def __init__(
        self, settings: Settings, ledger: Ledger, recordings: Path, spawn: Spawn, count: Count = uncounted
    ) -> None:
        self._settings, self._ledger, self._recordings, self._spawn = settings, ledger, recordings, spawn
        self._count = count
        self._link: ManagerLink | None = None
        self._guard: Guard | None = None

    async def start(self) -> None:
        """Connect, as far as the configuration has the manager interface."""
        settings = self._settings
        if settings.manager is None:
            return
        self._link = _manager_link(settings)
        await self._link.start()
        if settings.guard.mode == "off":
            return
        telling = Telling(self._ledger, settings.guard.command, self._spawn, settings.switch, self._count)
        link = _manager_link(settings, EVENTS)  # its own: a storm of events must not hold up key presses
        policy = policy_of(settings, self._ledger)
        standings, files = standings_of(self._ledger), open_for(policy.recordings)
        self._guard = Guard(link, policy, standings, telling, files)
        await self._guard.start()
        if settings.guard.when_blind == "stop":
            self._spawn(stop_while_blind(self._guard, self._ledger, self._recordings), "guard_failed")

    def server(self, lines: Lines, **options: Any) -> Server:
        """The server that calls connect to; ``options`` are those of any switch's."""
        presses = None if self._link is None else ManagerPresses(self._link)
        return Server(lines, self._ledger, presses=presses, **options)

    def blind(self) -> str | None:
        """Why nobody may be asked where the guard is required; the reason for the log."""
        return None if self._guard is not None and self._guard.blind is None else "guard_blind"

    def guarded(self) -> bool:
        """Whether there is a guard at all."""
        return self._guard is not None

    async def withdraw(self, call_id: str, by: str) -> bool:
        """Consent is withdrawn in the call; whether nothing is left."""
        done = await withdrawing.withdraw(self._ledger, self._recordings, self._reached(), call_id, by)
        self._look_at_scopes()
        return done

    async def withdraw_marked(self) -> None:
        """What was pressed while we were away. The first time, the manager link is given a moment to come up."""
        if self._link is not None and not self._link.up and withdrawals.marked(self._recordings):
            await self._link.wait_up(LINK_S)
        if await withdrawing.withdraw_marked(self._ledger, self._recordings, self._reached()):
            self._look_at_scopes()

    def _look_at_scopes(self) -> None:
        """Who has withdrawn may be in the bridge of somebody else's recording, which no event tells."""
        if self._guard is not None:
            self._guard.look_at_scopes()

    async def stop_guard(self) -> None:
        """End the guard."""
        if self._guard is not None:
            await self._guard.stop()

    async def stop(self) -> None:
        """End the rest."""
        if self._link is not None:
            await self._link.close()

    def _reached(self) -> Recorders | None:
        return Recorders(self._link) if self._link is not None and self._link.up else None


def _manager_link(settings: Settings, events: str = "dtmf") -> ManagerLink:
    manager = settings.manager
    assert manager is not None
    path = settings.path(manager.secret_file)
    try:
        secret = path.read_text().strip()
    except OSError as error:
        raise ConsentError(
            f"the manager's secret cannot be read from {path} ({error.strerror}); "
            "write it there, or remove the [manager] table (a guard time then stands in for it)"
        ) from None
    tls = ssl.create_default_context() if manager.tls else None
    return ManagerLink(manager.host, manager.port, manager.username, secret, events=events, tls=tls)
