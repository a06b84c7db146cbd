"""How a recording can start on Asterisk, and which events hint at it. What was seen of each: docs/guard.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ivr_consent.pbx.asterisk.audit.texts import arguments, nth, options
from ivr_consent.pbx.asterisk.manager import Event


class Kind(Enum):
    """What a hint is about, and so what has to be asked."""

    MIXMONITOR = "MixMonitor"
    MONITOR = "Monitor"
    CONFERENCE = "ConfBridge"
    APPLICATION = "application"
    AGI_FILE = "AGI RECORD FILE"
    SCOPE = "scope"
    """Who is in the bridge of a lawful recording may have changed."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something may record. ``channel``: on which channel (the spying one; the name of a conference).

    ``detail``: what else the event says: a file's name. Callers can write all of it.
    """

    kind: Kind
    channel: str
    detail: str = ""

    @property
    def key(self) -> tuple[Kind, str]:
        """Two with the same are one."""
        return (self.kind, self.channel)

    @property
    def turn(self) -> str:
        """One channel is looked into by one at a time."""
        return self.channel


RECORDING_APPLICATIONS: Final = frozenset(
    {"record", "voicemail", "minivmrecord", "dictate", "externalivr", "audiosocket", "jack", "eagi"}
)
"""Applications that write what a caller says, or hand it to a program; in small letters, as they are compared."""

SPYING_APPLICATIONS: Final = frozenset({"chanspy", "extenspy"})
"""They record with the option ``r`` alone."""

DIALLING_APPLICATIONS: Final = frozenset({"dial", "retrydial", "followme"})
"""They record the caller's name with the option ``P`` (privacy), FollowMe with ``a``."""

WATCHED_APPLICATIONS: Final = RECORDING_APPLICATIONS | SPYING_APPLICATIONS | DIALLING_APPLICATIONS

_OPTIONS_AT: Final = {"chanspy": 1, "extenspy": 1, "dial": 2, "retrydial": 5, "followme": 1}
"""Where among an application's arguments its options are: ``RetryDial(announce,sleep,retries,dial…)`` has Dial's after
its own three."""

_RECORDS: Final = {"chanspy": "r", "extenspy": "r", "dial": "P", "retrydial": "P", "followme": "a"}

_NEWEXTEN_APPLICATION: Final = re.compile(rb"\r\nApplication: ([^\r\n]{1,80})")
_AGI_RECORD: Final = re.compile(rb"\r\nCommand: [Rr][Ee][Cc][Oo][Rr][Dd] ")
_FILE_NAMED: Final = b"\r\nVariable: MIXMONITOR_FILENAME\r\n"
_HEARTBEAT: Final = b"\r\nVariable: IVR_CONSENT_GUARD\r\n"

HEARTBEAT: Final = "IVR_CONSENT_GUARD"
"""A global variable that the guard sets to something random: when it hears of that, it has heard all before it."""

PLAIN_EVENTS: Final = frozenset(
    {
        b"MixMonitorStart",
        b"MonitorStart",
        b"ConfbridgeRecord",
        b"ChanSpyStart",
        b"BridgeEnter",
        b"BridgeLeave",
        b"MusicOnHoldStart",
        b"MusicOnHoldStop",
    }
)
"""Events that are always looked at; the rest of what the manager tells is skipped without being read."""


def _any_case(word: str) -> str:
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word)


EVENT_FILTERS: Final = (
    f"Event: ({'|'.join(sorted(name.decode() for name in PLAIN_EVENTS))})",
    f"Variable: (MIXMONITOR_FILENAME|{HEARTBEAT})",
    f"Command: {_any_case('record')}",
    f"Application: ({'|'.join(_any_case(name) for name in sorted(WATCHED_APPLICATIONS))})",
)
"""What :func:`is_wanted` takes and little more, as ``eventfilter`` of manager.conf: extended regular expressions of
POSIX, of which one has to be found in an event. What Asterisk does not write keeps nothing waiting behind it, neither
the events that matter nor the answers: without filters a busy dialplan alone makes it seconds late.

All of them let in. A caller can write more into an event and so let it in, and keep none out.
"""


def is_wanted(message: bytes) -> bool:
    """Whether an event, as it came, is one that the guard looks at. Cheap: busy switches send thousands a second."""
    end = message.find(b"\r\n")
    name = message[7:end] if end > 0 else message[7:]  # after b"Event: "
    if name in PLAIN_EVENTS:
        return True
    if name == b"VarSet":
        return _FILE_NAMED in message or _HEARTBEAT in message
    if name == b"Newexten":
        found = _NEWEXTEN_APPLICATION.search(message)
        return found is not None and found[1].decode("ascii", "replace").lower() in WATCHED_APPLICATIONS
    return name == b"AGIExecStart" and _AGI_RECORD.search(message) is not None


def hint_of(event: Event) -> Hint | None:
    """What an event hints at; ``None``: nothing that records."""
    made = _HINTS.get(event.name)
    return None if made is None else made(event)


def _mixmonitor(event: Event) -> Hint | None:
    channel = event.headers.get("Channel", "")
    return Hint(Kind.MIXMONITOR, channel) if channel else None


def _monitor(event: Event) -> Hint | None:
    channel = event.headers.get("Channel", "")
    return Hint(Kind.MONITOR, channel) if channel else None


def _file_named(event: Event) -> Hint | None:
    """``MIXMONITOR_FILENAME`` is set just before a MixMonitor begins: a second hint at it, and at its file."""
    channel = event.headers.get("Channel", "")
    if not channel or event.headers.get("Variable") != "MIXMONITOR_FILENAME":
        return None
    return Hint(Kind.MIXMONITOR, channel, event.headers.get("Value", ""))


def _conference(event: Event) -> Hint | None:
    conference = event.headers.get("Conference", "")
    return Hint(Kind.CONFERENCE, conference) if conference else None  # an empty name would stand for all of them


def _application(event: Event) -> Hint | None:
    channel = event.headers.get("Channel", "")
    name = event.headers.get("Application", "").lower()
    if not channel or name not in WATCHED_APPLICATIONS:
        return None
    if name in _RECORDS and not records(name, event.headers.get("AppData", "")):
        return None
    return Hint(Kind.APPLICATION, channel)


def _agi(event: Event) -> Hint | None:
    channel = event.headers.get("Channel", "")
    words = event.headers.get("Command", "").split(maxsplit=2)
    if not channel or len(words) < 3 or words[0].upper() != "RECORD":
        return None
    found = re.match(r'"((?:[^"\\]|\\.)*)"\s+"?([a-z0-9]{1,10})|(\S+)\s+"?([a-z0-9]{1,10})', words[2])
    if found is None:
        return None
    name, form = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    return Hint(Kind.AGI_FILE, channel, f"{name}.{form}")


def _spy(event: Event) -> Hint | None:
    channel = event.headers.get("SpyerChannel", "")
    return Hint(Kind.APPLICATION, channel) if channel else None


_HINTS: Final[dict[str, Callable[[Event], Hint | None]]] = {
    "MixMonitorStart": _mixmonitor,
    "MonitorStart": _monitor,
    "VarSet": _file_named,
    "ConfbridgeRecord": _conference,
    "Newexten": _application,
    "AGIExecStart": _agi,
    "ChanSpyStart": _spy,
}


def records(application: str, data: str) -> bool:
    """Whether an application records with these arguments; its name in small letters."""
    if application in RECORDING_APPLICATIONS:
        return True
    letter = _RECORDS.get(application)
    if letter is None:
        return False
    return letter in options(nth(arguments(data), _OPTIONS_AT[application]))
