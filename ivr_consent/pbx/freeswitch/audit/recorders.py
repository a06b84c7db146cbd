"""What records on FreeSWITCH: applications, commands, and variables that run an application or a command later."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from ivr_consent.pbx.audit.findings import Place
from ivr_consent.pbx.audit.results import HOLE
from ivr_consent.pbx.freeswitch.audit.expressions import is_exact
from ivr_consent.pbx.freeswitch.audit.texts import words

_REMOVE: Final = "remove it: on a yes ivr-consent has started the recorder already"
_AUDIO: Final = "remove it: another program gets the call's audio, and may keep it"


@dataclass(frozen=True, slots=True)
class Recorder:
    """Something that records. ``known`` is false where that hangs on what is computed while the call runs, ``sure``
    where somebody has to do more for it."""

    what: str
    remedy: str
    module: str = ""
    known: bool = True
    sure: bool = True


@dataclass(slots=True)
class Facts:
    """What other files say. None: they were not given."""

    conferences: dict[str, Place | None] | None = field(default_factory=dict)
    """Profiles of conferences, with the place that records them."""
    queues: dict[str, Place | None] | None = field(default_factory=dict)
    """Queues of mod_callcenter, likewise."""
    menus: dict[str, list[tuple[Place, str]]] | None = field(default_factory=dict)
    """Menus of the application ivr, with the applications that their keys run."""
    loaded: frozenset[str] | None = None
    """Modules that are loaded."""


_APPLICATIONS: Final = {
    "record_session": ("record_session starts a recorder", _REMOVE, ""),
    "record": ("record records the caller", "remove it, or put it behind a consent of its own", ""),
    "record_fsv": ("record_fsv records picture and sound", "remove it", "mod_fsv"),
    "record_mp4": ("record_mp4 records picture and sound", "remove it", "mod_mp4v2"),
    "record_av": ("record_av records picture and sound", "remove it", "mod_av"),
    "snapshot": ("snapshot keeps the last seconds of the call", "remove it", "mod_snapshot"),
    "oreka_record": ("oreka_record sends the call to a recording server", _AUDIO, "mod_oreka"),
    "record_session_unmask": ("record_session_unmask lets a masked recorder hear again", "remove it", ""),
    "record_session_resume": ("record_session_resume lets a paused recorder go on", "remove it", ""),
    "audio_fork": ("audio_fork gives the call's audio to another program", _AUDIO, "mod_audio_fork"),
    "audio_stream": ("audio_stream gives the call's audio to another program", _AUDIO, "mod_audio_stream"),
    "detect_speech": ("detect_speech gives the caller's audio to a recogniser", _AUDIO, ""),
    "play_and_detect_speech": ("it gives the caller's audio to a recogniser", _AUDIO, ""),
    "unicast": ("unicast sends the call's audio to another address", _AUDIO, ""),
    "voicemail": (
        "voicemail records the caller's message",
        "send the caller elsewhere, or allow this line: a comment `<!-- ivr-consent audit: allowed, REASON -->` in it",
        "mod_voicemail",
    ),
    "voicemail_ivr": (
        "voicemail_ivr records greetings",
        "keep it out of the callers' reach, or allow this line with a reason",
        "mod_voicemail_ivr",
    ),
}

SCRIPTS: Final = {
    "socket": "mod_event_socket", "lua": "mod_lua", "python": "mod_python", "python3": "mod_python3",
    "javascript": "mod_v8", "jsapp": "mod_v8", "js": "mod_v8", "perl": "mod_perl", "java": "mod_java",
    "managed": "mod_managed", "erlang": "mod_erlang_event", "erlang_sendmsg": "mod_erlang_event",
    "httapi": "mod_httapi", "rayo": "mod_rayo", "system": "", "bgsystem": "",
    "kazoo": "mod_kazoo",
}  # fmt: skip  # rows that belong together
"""Applications that give the call to a program, with their modules."""

CHANGES_NOTHING: Final = frozenset({"system", "bgsystem"})
"""Of these, what sets no variable of the call."""

_COMMANDS: Final = {
    "uuid_record": "starts a recorder",
    "uuid_audio_fork": "gives the call's audio to another program",
    "uuid_audio_stream": "gives the call's audio to another program",
    "uuid_snapshot": "keeps the last seconds of the call",
}

SCRIPT_COMMANDS: Final = frozenset({
    "lua", "luarun", "jsrun", "jsapi", "js", "pyrun", "python", "python3", "perl", "perlrun", "system", "bg_system",
    "managed", "managedrun", "erl", "curl", "spawn", "spawn_stream", "bg_spawn",
})  # fmt: skip  # rows that belong together
"""Commands that run a program."""

RUNS_COMMAND: Final = {"bgapi": 0, "expand": 0, "sched_api": 2}
"""Commands that run another command, which stands behind so many words."""

HOOK: Final = re.compile(
    r"^(?:nolocal:|_?export_?)?(?:sip_)?"
    r"(?P<kind>execute_on_|api_on_|api_hangup_hook|api_reporting_hook|api_before_bridge|api_after_bridge"
    r"|record_post_process_exec_app|record_post_process_exec_api|bridge_pre_execute(?:_[ab]leg)?_(?:app|data)"
    r"|exec_after_bridge_(?:app|arg)|transfer_after_bridge|transfer_after_early_bridge|fifo_record_template"
    r"|transfer_fallback_extension|campon_fallback_exten|fifo_orbit_exten|sip_reinvite_app)"
)
"""Variables that run something later."""


def in_application(application: str, data: str, facts: Facts) -> list[Recorder]:
    """What an application records; ``data`` has holes for what is not known."""
    if application == "voicemail" and words(data)[:1] in (["check"], ["auth_only"]):
        if words(data)[0] == "auth_only":
            return []
        remedy = "keep it out of the callers' reach, or allow this line with a reason"
        return [Recorder("voicemail check records greetings and names", remedy, "mod_voicemail")]
    if application in _APPLICATIONS:
        what, remedy, module = _APPLICATIONS[application]
        if application == "detect_speech" and words(data)[:1] in (["stop"], ["pause"]):
            return []
        return [Recorder(what, remedy, module)]
    if application == "conference":
        return _conference(data, facts)
    if application == "callcenter":
        return _callcenter(data, facts)
    return []


def _conference(data: str, facts: Facts) -> list[Recorder]:
    plain = data.partition("+flags{")[0]
    if plain.lower().startswith("bridge:"):
        plain = plain[7:].partition(":")[0]
    plain = plain.partition("+")[0]
    profile = plain.rpartition("@")[2] if "@" in plain else "default"
    sure = is_exact(profile) and (is_exact(plain) or "@" in plain)
    found = []
    for name, place in (facts.conferences or {}).items():
        if place is not None and (name == profile or not sure):
            what = f"conference records: auto-record of the profile {name} is set at {place}"
            found.append(Recorder(what, "take auto-record out of that profile", "mod_conference", known=sure))
    return found


def _callcenter(data: str, facts: Facts) -> list[Recorder]:
    name = (words(data) or [""])[0]
    sure = is_exact(name)
    found = []
    for queue, place in (facts.queues or {}).items():
        if place is not None and (queue == name or not sure):
            what = f"callcenter records: record-template of the queue {queue} is set at {place}"
            found.append(Recorder(what, "take record-template out of that queue", "mod_callcenter", known=sure))
    return found


def in_command(name: str, arguments: str) -> list[Recorder]:
    """What a command of the switch records."""
    given = [word.lower() for word in words(arguments)]
    if name in ("uuid_record", "uuid_audio_fork", "uuid_audio_stream"):
        if len(given) > 1 and given[1] in ("stop", "mask", "pause"):
            return []
        return [Recorder(f"the command {name} {_COMMANDS[name]}", _REMOVE)]
    if name in _COMMANDS:
        return [Recorder(f"the command {name} {_COMMANDS[name]}", _REMOVE)]
    if name == "conference" and len(given) > 1 and (given[1] in ("record", "recording") or HOLE in given[1]):
        if given[1] == "recording" and given[2:3] in (["stop"], ["pause"], ["check"]):
            return []
        known = HOLE not in given[1]
        return [Recorder("the command conference … record records a conference", "remove it", "", known=known)]
    return []


def names_recorder(text: str) -> list[str]:
    """Recorders that a text names, wherever in it."""
    found = set(re.findall(r"[a-z_]+", text.lower()[:100_000]))
    return sorted(found & {*_APPLICATIONS, *_COMMANDS})
