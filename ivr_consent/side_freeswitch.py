"""FreeSWITCH's side of the service: the link to its event socket, the guard, and the server of the outbound socket."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ivr_consent.config import Settings
from ivr_consent.core.errors import ConsentError, EventSocketError
from ivr_consent.pbx.conduct import Lines
from ivr_consent.pbx.freeswitch import variables, wire
from ivr_consent.pbx.freeswitch.link import Link
from ivr_consent.pbx.freeswitch.server import Server
from ivr_consent.store.ledger import Ledger

Spawn = Callable[[Coroutine[Any, Any, object], str], object]


class FreeswitchSide:
    """What the service has of FreeSWITCH, from start to stop."""

    def __init__(self, settings: Settings, ledger: Ledger, recordings: Path, spawn: Spawn) -> None:
        self._settings, self._ledger, self._recordings, self._spawn = settings, ledger, recordings, spawn
        self._link = event_socket_link(settings)

    async def start(self) -> None:
        """Connect."""
        await self._link.start()

    def server(self, lines: Lines, **options: Any) -> Server:
        """The server that calls connect to; ``options`` are those of any switch's."""
        return Server(lines, self._ledger, vouches=self._vouches, **options)

    async def _vouches(self, uuid: str, nonce: str) -> bool:
        """Whether the switch itself says, on its own port, that the channel has this nonce."""
        try:
            return await self._link.api(f"uuid_getvar {wire.channel(uuid)} {variables.NONCE}") == nonce
        except EventSocketError:
            return False

    def blind(self) -> str | None:
        """Why nobody may be asked where the guard is required; the reason for the log."""
        return None if self._link.up else "guard_blind"

    async def withdraw(self, call_id: str, by: str) -> bool:
        """Consent is withdrawn in the call; whether nothing is left."""
        return False

    async def withdraw_marked(self) -> None:
        """What was pressed while we were away."""

    async def stop_guard(self) -> None:
        """End the guard."""

    async def stop(self) -> None:
        """End the rest."""
        await self._link.close()


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
