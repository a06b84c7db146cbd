"""What can record: by the name of an application, by an option of one, by a function that is set.

Asterisk's events show only some of these (docs/asterisk.md); in a dialplan all of them can be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from ivr_consent.pbx.asterisk.audit.patterns import Pattern
from ivr_consent.pbx.asterisk.audit.texts import nth, options
from ivr_consent.pbx.audit.findings import Place
from ivr_consent.pbx.audit.results import HOLE

_REMOVE: Final = "remove it: on a yes ivr-consent has started the recorder already"


@dataclass(frozen=True, slots=True)
class Recorder:
    """A way to record that stands in a step.

    ``sure`` is false when something else would have to be set, too; ``known`` when it hangs on what is computed.
    """

    what: str
    remedy: str
    module: str = ""
    sure: bool = True
    known: bool = True


@dataclass(slots=True)
class Facts:
    """What the site's other files say about recorders in the dialplan. ``None``: the file was not given."""

    queues: dict[str, Place | None] | None = field(default_factory=dict)
    """Queues, each with the line that makes it record, or without."""
    queues_elsewhere: bool = False
    queue_starts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Where calls go from a queue: contexts, with an extension or none for any, by the queue's name."""
    bridges: dict[str, Place | None] | None = field(default_factory=dict)
    """Bridge profiles of conferences, likewise."""
    touch: bool | None = False
    """Whether some key starts one-touch recording by a mixing recorder; ``None`` when it is not known."""
    old_touch: bool | None = False
    """The same for the old recorder, which Asterisk 22 has no more."""
    unloaded: frozenset[str] = frozenset()
    """Modules that modules.conf does not load."""


_APPLICATIONS: Final = {
    "mixmonitor": ("MixMonitor() starts a recorder", _REMOVE, "app_mixmonitor"),
    "monitor": ("Monitor() starts a recorder (up to Asterisk 20)", _REMOVE, "res_monitor"),
    "record": ("Record() records the caller", "remove it, or put it behind a consent of its own", "app_record"),
    "dictate": ("Dictate() records the caller", "remove it, or do not load app_dictate", "app_dictate"),
    "voicemail": (
        "VoiceMail() records the caller's message",
        "send the caller elsewhere, or allow this line: a comment `; ivr-consent audit: allowed, REASON`",
        "app_voicemail",
    ),
    "voicemailmain": (
        "VoiceMailMain() records greetings and messages",
        "keep it out of the callers' reach, or allow this line with a reason",
        "app_voicemail",
    ),
    "minivmrecord": ("MinivmRecord() records the caller's message", "remove it", "app_minivm"),
    "minivmaccmess": ("MinivmAccMess() records a greeting", "remove it", "app_minivm"),
    "audiosocket": ("AudioSocket() gives the call's audio to another program", "remove it", "app_audiosocket"),
    "jack": ("JACK() gives the call's audio to another program", "remove it", "app_jack"),
    "externalivr": ("ExternalIVR() gives the call to another program", "remove it", "app_externalivr"),
    "eagi": ("EAGI() gives the caller's audio to another program", "use AGI()", "res_agi"),
    "ices": ("ICES() sends the call's audio out as a stream", "remove it", "app_ices"),
}


def _spy(arguments: list[str], facts: Facts) -> Recorder | None:
    given = nth(arguments, 1)
    if "r" not in (letters := options(given)) and HOLE not in letters:
        return None
    return Recorder(
        "ChanSpy() or ExtenSpy() with the option r records the call that it listens to",
        "take the option r away",
        "app_chanspy",
        known="r" in letters,
    )


def _page(arguments: list[str], facts: Facts) -> Recorder | None:
    given = nth(arguments, 1)
    if "r" not in (letters := options(given)) and HOLE not in letters:
        return None
    return Recorder("Page() with the option r records", "take it away", "app_page", known="r" in letters)


def _meetme(arguments: list[str], facts: Facts) -> Recorder | None:
    if "r" not in options(nth(arguments, 1)):
        return None
    return Recorder("MeetMe() with the option r records the conference", "take the option r away", "app_meetme")


def _followme(arguments: list[str], facts: Facts) -> Recorder | None:
    if "a" not in options(nth(arguments, 1)):
        return None
    return Recorder("FollowMe() with the option a records the caller's name", "take it away", "app_followme")


def _touch(name: str, given: str, facts: Facts) -> Recorder | None:
    """One-touch recording that options of Dial, Queue or Bridge let a party start."""
    found = options(given)
    new, old = sorted(set("xX") & set(found)), sorted(set("wW") & set(found))
    if not new and not old:
        return None
    possible = (bool(new) and facts.touch is not False) or (bool(old) and facts.old_touch is not False)
    letters = " and ".join([*new, *old])
    module = "app_mixmonitor" if new else "res_monitor"
    told = "" if possible else "; no file that was read sets a key for it"
    return Recorder(
        f"{name}() with the option {letters} lets a party record by a key during the call{told}",
        f"take the option {letters} away",
        module,
        sure=possible,
    )


def _dial(arguments: list[str], facts: Facts) -> list[Recorder]:
    given = nth(arguments, 2)
    found = [_touch("Dial", given, facts)]
    if set("pP") & set(options(given)):
        what = "Dial() with the option p or P records the caller's name"
        found.append(Recorder(what, "take the option p or P away", "app_dial"))
    if HOLE in options(given):
        what = "Dial() whose options are computed can record by x, X, w, W, p or P"
        found.append(Recorder(what, "write the options out", "app_dial", known=False))
    return [recorder for recorder in found if recorder is not None]


def _queue(arguments: list[str], facts: Facts) -> list[Recorder]:
    name, given = nth(arguments, 0), nth(arguments, 1)
    found = [] if (touch := _touch("Queue", given, facts)) is None else [touch]
    if HOLE in options(given):
        found.append(
            Recorder("Queue() whose options are computed can record", "write them out", "app_queue", known=False)
        )
    for queue, place in (facts.queues or {}).items():
        if place is not None and (queue == name or HOLE in name):
            what = f"Queue() records: monitor-format of the queue {queue} is set at {place}"
            found.append(Recorder(what, "remove monitor-format from the queue", "app_queue", known=HOLE not in name))
    return found


def _confbridge(arguments: list[str], facts: Facts) -> list[Recorder]:
    profile = nth(arguments, 1) or "default_bridge"
    found = []
    for name, place in (facts.bridges or {}).items():
        if place is not None and (name == profile or HOLE in profile):
            what = f"ConfBridge() records: record_conference of the profile {name} is set at {place}"
            remedy = "set record_conference=no in that profile"
            found.append(Recorder(what, remedy, "app_confbridge", known=HOLE not in profile))
    return found


_BY_OPTION: Final = {"chanspy": _spy, "extenspy": _spy, "page": _page, "meetme": _meetme, "followme": _followme}


def in_application(application: str, arguments: list[str], facts: Facts) -> list[Recorder]:
    """What an application with its arguments records; unknown parts of them are holes."""
    if application in _APPLICATIONS:
        what, remedy, module = _APPLICATIONS[application]
        return [Recorder(what, remedy, module)]
    if application in _BY_OPTION:
        found = _BY_OPTION[application](arguments, facts)
        return [] if found is None else [found]
    if application in ("dial", "retrydial"):
        return _dial(arguments if application == "dial" else arguments[3:], facts)
    if application == "queue":
        return _queue(arguments, facts)
    if application == "confbridge":
        return _confbridge(arguments, facts)
    if application == "bridge":
        touch = _touch("Bridge", nth(arguments, 1), facts)
        return [] if touch is None else [touch]
    return []


_SET: Final = (
    (
        re.compile(r"CONFBRIDGE\(bridge,\s*record_conference\)", re.IGNORECASE),
        "sets that the conference which follows is recorded",
        "app_confbridge",
    ),
    (re.compile(r"JACK_HOOK\(", re.IGNORECASE), "gives the call's audio to another program", "app_jack"),
    (re.compile(r"FEATUREMAP\(auto(mix)?mon\)", re.IGNORECASE), "sets a key that records during the call", ""),
)

_OFF: Final = frozenset({"no", "off", "0", "false", "n", "f", ""})


def in_function(name: str, value: str | Pattern) -> Recorder | None:
    """What setting a function records."""
    if "(" not in name or (isinstance(value, str) and value.strip().lower() in _OFF):
        return None
    for function, what, module in _SET:
        if function.match(name):
            return Recorder(f"Set({name}={value}) {what}", "remove it", module)
    return None


def carries(name: str, value: str | Pattern) -> bool:
    """Whether setting a function lets a recorder go along when a channel is replaced by another."""
    off = isinstance(value, str) and value.strip().lower() in _OFF
    return name.upper().startswith("AUDIOHOOK_INHERIT(") and not off


RECORDING_NAMES: Final = frozenset({*_APPLICATIONS, *_BY_OPTION, "queue", "confbridge"})
"""Names to look for where a program cannot be followed."""

ALWAYS: Final = frozenset(_APPLICATIONS)
"""Applications that record whatever their arguments are."""


def words(what: str) -> list[str]:
    """Recorders that a text names, wherever in it."""
    return sorted({word for word in re.findall(r"[a-z]+", what.lower()) if word in ALWAYS})
