"""What the guard asks the switch. Its answers are believed; events are hints alone.

``show channels`` comes from a database that is written a moment later, so it serves for rounds and never right after
an event; everything else is asked of the channel itself.
"""

from __future__ import annotations

import contextlib
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from ivr_consent.core.errors import EventSocketError
from ivr_consent.pbx.freeswitch import wire
from ivr_consent.pbx.freeswitch.link import REPLY_S
from ivr_consent.pbx.watching import ChannelGone

RECORDER: Final = "session_record"
"""The function of a media bug that writes a file, however it was started."""

CONFERENCE: Final = re.compile(r"[A-Za-z0-9_.@+:-]{1,100}")
"""Names of conferences that may stand in a command; a dialplan may build them from what a caller dialled."""

PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9_./:@+=,-]{1,400}")
"""Paths that may stand in a command: what it is split at, and what it is expanded by, is not among it."""

_ID: Final = re.compile(r"([0-9a-f]{32})\.raw")
_DEVICE: Final = re.compile(r"[A-Za-z0-9_.@+:/-]{1,200}")
GONE: Final = ("-ERR no reply", "-ERR No such channel", "-ERR Cannot locate session")
"""What ``uuid_buglist``, ``uuid_dump`` and ``uuid_record`` answer where there is no such channel."""


class Asks(Protocol):
    """What sends commands: :class:`~ivr_consent.pbx.freeswitch.link.Link`."""

    async def api(self, command: str, *, timeout: float = REPLY_S) -> str: ...  # noqa: ASYNC109 - part of the command


@dataclass(frozen=True, slots=True)
class Leg:
    """What a channel is doing. ``peer``: the channel that it is bridged with, and its name; empty when with none.

    ``bond``: whom it belongs together with, perhaps not yet or no longer in a bridge.
    """

    uuid: str
    name: str
    context: str
    line: str
    call_id: str
    state: str
    peer: str
    peer_name: str
    bond: str
    agents: tuple[str, ...]
    application: str
    application_data: str

    @property
    def held(self) -> bool:
        """Whether it has put the other side on hold, or hears music itself."""
        return self.state == "HELD"


class Switch:
    """Questions to one FreeSWITCH. All raise :class:`EventSocketError` when it does not answer."""

    def __init__(self, link: Asks) -> None:
        self._link = link

    async def say(self, command: str) -> str:
        """An API command, as it stands."""
        return await self._link.api(command)

    async def recorders(self, uuid: str) -> tuple[str, ...]:
        """The files that are being recorded on a channel, by whatever started it. Raises :class:`ChannelGone`."""
        told = await self._link.api(f"uuid_buglist {wire.channel(uuid)}")
        if _gone(told):
            raise ChannelGone
        return recorders_in(told)

    async def leg(self, uuid: str) -> Leg:
        """A channel. Raises :class:`ChannelGone`."""
        told = await self._link.api(f"uuid_dump {wire.channel(uuid)} json")
        if _gone(told) or not told.startswith("{"):
            raise ChannelGone
        fields = _json(told)

        def field(name: str) -> str:
            value = fields.get(name, "")
            value = value[0] if isinstance(value, list) and value else value
            return value if isinstance(value, str) and value != "_undef_" else ""

        return leg_told(uuid, field)

    async def channels(self) -> tuple[str, ...]:
        """The ids of all channels, as of a moment ago."""
        told = _json(await self._link.api("show channels as json"))
        rows = told.get("rows", [])
        found = [row.get("uuid", "") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return tuple(uuid for uuid in found if isinstance(uuid, str) and wire.UUID.fullmatch(uuid))

    async def conferences(self) -> dict[str, str]:
        """The conferences that are being recorded, with the file of each (the first one)."""
        told = await self._link.api("conference json_list")
        if not told.lstrip().startswith("["):
            return {}  # "+OK No active conferences.", or no such module
        try:
            listed = json.loads(told)
        except (ValueError, RecursionError):
            raise EventSocketError("FreeSWITCH's list of conferences cannot be read") from None
        found = {}
        for one in listed if isinstance(listed, list) else ():
            name = one.get("conference_name") if isinstance(one, dict) else None
            nodes = [member for member in one.get("members", ()) if isinstance(member, dict)] if name else []
            files = [str(node.get("record_path", "")) for node in nodes if node.get("type") == "recording_node"]
            if isinstance(name, str) and (files or one.get("recording") is True):
                found[name] = files[0] if files else ""
        return found


def leg_told(uuid: str, field: Callable[[str], str]) -> Leg:
    """A channel, by the fields of its dump, or of an event of it: ``""`` where there is none."""
    # The first of the two goes on naming whom it was bridged with when both live on apart.
    bond = field("variable_signal_bond")
    bridged = field("variable_bridge_uuid") if field("Channel-Call-State") in ("ACTIVE", "HELD") else ""
    bridged = bridged if bridged == bond else ""
    peer = field("Other-Leg-Unique-ID") if bridged else ""
    agents = field("variable_ivr_consent_agents")
    return Leg(
        uuid=uuid,
        name=field("Channel-Name"),
        context=field("Caller-Context"),
        line=field("variable_ivr_consent_line"),
        call_id=field("variable_ivr_consent_id"),
        state=field("Channel-Call-State"),
        peer=peer if peer == bridged and wire.UUID.fullmatch(peer) else bridged if _is_uuid(bridged) else "",
        peer_name=field("Other-Leg-Channel-Name") if bridged else "",
        bond=bond,
        agents=tuple(agent for agent in agents.split(",") if agent),
        application=field("variable_current_application"),
        application_data=field("variable_current_application_data"),
    )


def recorders_in(told: str) -> tuple[str, ...]:
    """The files in the answer of ``uuid_buglist``."""
    begin = told.find("<media-bugs>")
    try:
        tree = ET.fromstring(told[begin:] if begin >= 0 else told)  # noqa: S314 - the switch's own, and it has no DTD
    except ET.ParseError:
        # A path with a character that XML does not take: it was written by hand there, so find it by hand.
        found = re.findall(rf"<function>{RECORDER}</function>\s*<target>(.*?)</target>", told, re.DOTALL)
        return tuple(found)
    bugs = tree.iter("media-bug")
    return tuple(bug.findtext("target") or "" for bug in bugs if bug.findtext("function") == RECORDER)


def id_of(path: str, recordings: Path) -> str | None:
    """The call whose recording a file is, by its name and place; ``None`` for any other file."""
    found = _ID.fullmatch(Path(path).name)
    return found[1] if found is not None and path == str(recordings / found[0]) else None


def written_for(path: str) -> list[str]:
    """The files that a recorder of this path writes, as they are there now. Blocking.

    Without an ending the codec names one: ``record`` writes ``NAME.PCMU``, a media bug ``NAME-in.PCMU`` and
    ``NAME-out.PCMU``.
    """
    named = Path(path)
    if named.suffix or not named.is_absolute() or "\0" in path:
        return [path]
    begin = tuple(f"{named.name}{side}." for side in ("", "-in", "-out"))
    with contextlib.suppress(OSError):
        found = [str(each) for each in named.parent.iterdir() if each.name.startswith(begin)]
        return sorted(found) or [path]
    return [path]


def device(name: str) -> str:
    """A channel's name as an agent is known by it, empty where it has characters that could mislead."""
    return name if _DEVICE.fullmatch(name) else ""


def _is_uuid(text: str) -> bool:
    return bool(text) and wire.UUID.fullmatch(text) is not None


def _gone(told: str) -> bool:
    return told.startswith(GONE)


def _json(told: str) -> dict[str, Any]:
    try:
        found = json.loads(told)
    except (ValueError, RecursionError):
        raise EventSocketError("FreeSWITCH's answer is no JSON") from None
    return found if isinstance(found, dict) else {}
