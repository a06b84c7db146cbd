"""FreeSWITCH's side of the service: the link to its event socket, the guard, and the server of the outbound socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Protocol

from ivr_consent.config import Settings
from ivr_consent.core.errors import ConsentError, EventSocketError
from ivr_consent.guarding import Telling, open_for, policy_of, standings_of, stop_while_blind
from ivr_consent.logs import get_logger
from ivr_consent.metrics import Count, uncounted
from ivr_consent.pbx import withdrawing
from ivr_consent.pbx.conduct import Lines
from ivr_consent.pbx.freeswitch import variables, wire
from ivr_consent.pbx.freeswitch.guard.watcher import EVENTS, Guard
from ivr_consent.pbx.freeswitch.link import Link
from ivr_consent.pbx.freeswitch.server import Server
from ivr_consent.pbx.freeswitch.stopping import Recorders
from ivr_consent.store.chain import ERASED
from ivr_consent.store.ledger import Ledger
from ivr_consent.store.withdrawals import BY

LINK_S: Final = 5.0
"""How long what was pressed while we were away waits for the event socket."""

CALL_ID: Final = re.compile(r"[0-9a-f]{32}")

log = get_logger()

Spawn = Callable[[Coroutine[Any, Any, object], str], object]


class Finish(Protocol):
    """What is done when a recording has ended; ``empty``: the switch wrote nothing, and removed the file itself."""

    def __call__(self, call_id: str, /, *, empty: bool = False) -> None: ...


class FreeswitchSide:
    """What the service has of FreeSWITCH, from start to stop."""

    def __init__(
        self, settings: Settings, ledger: Ledger, recordings: Path, spawn: Spawn, count: Count = uncounted
    ) -> None:
        self._settings, self._ledger, self._recordings, self._spawn = settings, ledger, recordings, spawn
        self._count = count
        self._link = event_socket_link(settings)
        self._guard_link: Link | None = None
        self._guard: Guard | None = None
        self._finish: Finish = _nothing

    async def start(self) -> None:
        """Connect, and begin to watch."""
        await self._link.start()
        settings = self._settings
        if settings.guard.mode == "off":
            return
        telling = Telling(self._ledger, settings.guard.command, self._spawn, settings.switch, self._count)
        # Its own connection: a storm of events must not hold up the calls.
        self._guard_link = event_socket_link(settings, events=EVENTS)
        policy = policy_of(settings, self._ledger)
        self._guard = Guard(
            self._guard_link,
            policy,
            standings_of(self._ledger),
            telling,
            open_for(policy.recordings),
            finished=self._finished,
            withdrawn=self._withdrawn,
        )
        await self._guard.start()
        await self._guard_link.start()
        if settings.guard.when_blind == "stop":
            self._spawn(stop_while_blind(self._guard, self._ledger, self._recordings), "guard_failed")

    def server(self, lines: Lines, **options: Any) -> Server:
        """The server that calls connect to; ``options`` are those of any switch's."""
        self._finish = options.get("finish") or _nothing
        return Server(lines, self._ledger, vouches=self._vouches, **options)

    async def _vouches(self, uuid: str, nonce: str) -> bool:
        """Whether the switch itself says, on its own port, that the channel has this nonce."""
        try:
            return await self._link.api(f"uuid_getvar {wire.channel(uuid)} {variables.NONCE}") == nonce
        except EventSocketError as error:
            log.warning("call_not_vouched", problem=str(error))
            return False

    def blind(self) -> str | None:
        """Why nobody may be asked where the guard is required; the reason for the log."""
        return None if self._guard is not None and self._guard.blind is None else "guard_blind"

    def guarded(self) -> bool:
        """Whether there is a guard at all."""
        return self._guard is not None

    def _finished(self, call_id: str, empty: bool) -> None:
        self._finish(call_id, empty=empty)

    # --- withdrawal ----------------------------------------------------------------------------------

    def _withdrawn(self, call_id: str, by: str) -> None:
        """Told by an event: looked up, and done once at a time."""
        self._spawn(self._withdraw_and_unmark(call_id, by), "withdrawal_failed")

    async def withdraw(self, call_id: str, by: str) -> bool:
        """Consent is withdrawn in the call; whether nothing is left."""
        return await withdrawing.withdraw(self._ledger, self._recordings, self._reached(), call_id, by)

    async def withdraw_marked(self) -> None:
        """What was pressed while we were away: the switch keeps marks of it. The first time, the link may be late."""
        if not await self._link.wait_up(LINK_S):
            return
        try:
            listed = await self._link.api(f"db list/{variables.MARKS}")
            for call_id in [name for name in listed.strip().split(",") if CALL_ID.fullmatch(name)]:
                by = (await self._link.api(f"db select/{variables.MARKS}/{call_id}")).strip()
                await self._withdraw_and_unmark(call_id, by if by in BY else BY[0])
        except EventSocketError as error:
            log.warning("withdrawals_not_asked", problem=str(error))

    async def _withdraw_and_unmark(self, call_id: str, by: str) -> None:
        """The mark goes when the recording is erased, or when there is nothing that could be."""
        if await self.withdraw(call_id, by) or not await asyncio.to_thread(self._unfinished, call_id):
            with contextlib.suppress(EventSocketError):
                await self._link.api(f"db delete/{variables.MARKS}/{call_id}")

    def _unfinished(self, call_id: str) -> bool:
        """Whether the log knows the call as granted, and its recording as not erased."""
        with self._ledger.reader() as reader:
            record = reader.call(call_id)
        known = record is not None and record.call_id == call_id and record.decision.outcome == "granted"
        return known and record is not None and not any(event.kind in ERASED for event in record.later)

    def _reached(self) -> Recorders | None:
        return Recorders(self._link, self._recordings) if self._link.up else None

    # --- the end -------------------------------------------------------------------------------------

    async def stop_guard(self) -> None:
        """End the guard."""
        if self._guard is not None:
            await self._guard.stop()
        if self._guard_link is not None:
            await self._guard_link.close()

    async def stop(self) -> None:
        """End the rest."""
        await self._link.close()


def _nothing(_: str, *, empty: bool = False) -> None:
    return


def event_socket_link(settings: Settings, **options: Any) -> Link:
    """The link of a configuration, not yet started. Raises :class:`ConsentError` when the password is not there."""
    socket = settings.event_socket
    assert socket is not None
    path = settings.path(socket.password_file)
    try:
        password = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or "no text"
        raise ConsentError(
            f"the password of the event socket cannot be read from {path} ({told}); write it there"
        ) from None
    return Link(socket.host, socket.port, password, **options)
