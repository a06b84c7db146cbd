"""A site's files as the rig gets them: what would leave the machine, run a program or write elsewhere is cut off.

Trunks do not exist in the rig, so nothing is dialled out; the site's telephones do, and each answers. The audio goes
into the rig's directory, and nothing that the site's files name is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ivr_consent.pbx.asterisk.audit import ael, sections
from ivr_consent.pbx.asterisk.audit.dialplan import Dialplan
from ivr_consent.pbx.asterisk.audit.judge import INSTALLED
from ivr_consent.pbx.asterisk.audit.sections import Section
from ivr_consent.pbx.asterisk.dialplan import INCLUDE_FILE, LINES_FILE
from ivr_consent.pbx.asterisk.variables import CONFIGURATION_ARGUMENT, CONSENT_SCRIPT, ENDED_SCRIPT, WITHDRAW_SCRIPT
from ivr_consent.pbx.audit.findings import Place
from ivr_consent.pbx.audit.library import Library, Text, opened

DIALPLAN_FILES: Final = ("extensions.conf", "extensions.ael")
OTHER_FILES: Final = ("queues.conf", "features.conf", "confbridge.conf", "res_parking.conf", "followme.conf")
"""What is copied, with what it includes. Everything else is the rig's own: accounts, trunks, secrets stay where they
are."""

COPIED_AS: Final = {"extensions.conf": "site-extensions.conf"}
"""The rig has a file of that name, which includes the site's."""

ELSEWHERE: Final = "elsewhere"
"""Directory of the copy for files that the site includes from outside of its own directory."""

NOT_LOADED: Final = (
    "app_system",
    "func_shell",
    "func_curl",
    "app_externalivr",
    "app_audiosocket",
    "app_jack",
    "app_queue",
)
"""Modules that would run programs or speak to others; and the queues, which :data:`LATE` loads."""

LATE: Final = ("pbx_ael", "app_queue")
"""What is loaded when the dialplan is there: before, the queues would take a member Local/… for no place for ever."""

LOADED: Final = (
    "res_ael_share", "app_readexten", "app_authenticate", "app_privacy", "app_sendtext", "app_directory",
    "app_disa", "app_talkdetect", "app_zapateller", "app_agent_pool", "app_amd", "app_waituntil", "app_waitforring",
    "app_morsecode", "app_speech_utils", "app_directed_pickup", "app_test", "app_minivm", "app_signal",
    "app_waitforcond", "func_aes", "func_blacklist", "func_callcompletion", "func_config", "func_devstate",
    "func_dialgroup", "func_enum", "func_export", "func_extstate", "func_iconv", "func_jitterbuffer", "func_json",
    "func_module", "func_pitchshift", "func_pjsip_aor", "func_pjsip_contact", "func_pjsip_endpoint",
    "func_presencestate", "func_sayfiles", "func_scramble", "func_sorcery", "func_srv", "func_sysinfo", "func_uuid",
    "func_version", "func_vmcount",
)  # fmt: skip  # rows that belong together
"""What a dialplan may use beyond what the rig loads anyway."""

_PROGRAMS: Final = re.compile(
    r"(?<![\w-])(?:AGI|EAGI|DeadAGI|AsyncAGI|System|TrySystem|ExternalIVR|AudioSocket|JACK|ICES|Festival|MP3Player"
    r"|NBScat|SMS|SendURL|Stasis|AlarmReceiver|Reload)(?=\s*\()",
    re.IGNORECASE,
)
"""Applications that run a program, or give the call to one: ``NoOp`` stands there in the copy."""

_FUNCTIONS: Final = re.compile(r"\$\{(?:SHELL|CURL|ODBC\w*|REALTIME\w*)\(", re.IGNORECASE)

_OUR_SERVER: Final = re.compile(rf"AGI\(agi://[^/,)]*/({CONSENT_SCRIPT}|{ENDED_SCRIPT}|{WITHDRAW_SCRIPT})(?=,)")
_OUR_SCRIPT: Final = re.compile(r"AGI\(/[^,()]*/ivr-consent-agi,(?:--(ended|withdraw),)?")
_OUR_ARGUMENT: Final = re.compile(rf",{re.escape(CONFIGURATION_ARGUMENT)}[^,)]*(?=\)\s*$)")
_OUR_ECHO: Final = re.compile(r"AGI\(/bin/echo,GOSUB ivr-consent-aside asked 1\)")
_OUR_MARK: Final = re.compile(r"FILE\(/[^,()]*/(?=\$\{id\}\.withdrawn\))")
_KEPT: Final = re.compile("\0(\\d+)\0")
"""Where something of ours stands, which nothing else may change."""

_PATH: Final = re.compile(r'(?:(?<=[(,=|"&>])|(?<=[=>] ))/(?=[\w.$])')
"""Where an absolute path begins: an argument, a value."""

_OLD_CHANNEL: Final = re.compile(r"(?<![\w/])SIP/")
_INCLUDE: Final = re.compile(r'^\s*#(include|tryinclude|exec)\s+["<]?([^"<>]*?)[">]?\s*(?:;.*)?$')
_PHONE_NAME: Final = re.compile(r"[A-Za-z0-9_.+-]{1,60}")
_RESERVED: Final = frozenset({"phone", "udp", "global", "system"})
"""Names in the rig's own pjsip.conf."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What stands in the site's files and is not done in the copy."""

    place: Place
    what: str


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the copy leads instead: the address of our server, the recordings, and a directory for all other paths."""

    address: str
    recordings: Path
    files: Path


@dataclass(slots=True)
class SiteCopy:
    """Files of the copy by their names in the rig's directory, and what was cut off."""

    files: dict[str, str] = field(default_factory=dict)
    cuts: list[Cut] = field(default_factory=list)


def copied(library: Library, ends: Ends, names: Sequence[str]) -> SiteCopy:
    """Files of the site for the rig, with all that they include: :data:`DIALPLAN_FILES` or :data:`OTHER_FILES`."""
    copy = SiteCopy()
    for name in names:
        if (path := library.file(name)) is not None:
            _Copier(library, ends, copy).tree(name, path)
    if names is DIALPLAN_FILES and (path := library.file("extensions.lua")) is not None:
        copy.cuts.append(Cut(Place(library.name(path)), "a dialplan in Lua is a program: its contexts are missing"))
    return copy


class _Copier:
    """One file with all that it includes."""

    def __init__(self, library: Library, ends: Ends, copy: SiteCopy) -> None:
        self.library, self.ends, self.copy = library, ends, copy

    def tree(self, name: str, path: Path) -> None:
        """The file, under the name that the rig is to have it by."""
        reading = opened([self.library.root], self.library.usual)
        reading.installed = self.library.installed
        if path.suffix == ".ael":
            ael.load(reading, path, Dialplan())
        else:
            sections.read(reading, path)
        for read in reading.read:
            text = self.library.open(self.library.root / read)
            if isinstance(text, Text):
                self.copy.files[self._as(read, name)] = self._text(text)

    def _as(self, read: str, name: str) -> str:
        if read == name:
            return COPIED_AS.get(name, name)
        return f"{ELSEWHERE}/{read.strip('/').replace('/', '--')}" if read.startswith("/") else read

    def _text(self, text: Text) -> str:
        lines: list[str] = []
        for number, line in enumerate(text.lines, 1):
            place = Place(text.name, number)
            if found := _INCLUDE.match(line):
                lines += self._includes(found[1], found[2], place)
            else:
                lines.append(self.line(line, place))
        return "\n".join(lines) + "\n"

    def _includes(self, word: str, name: str, place: Place) -> Iterator[str]:
        if word == "exec":
            self.copy.cuts.append(Cut(place, f"#exec {name}: what the program writes is missing"))
            return
        paths = self.library.matching(name)
        if not paths and Path(name).name in (INCLUDE_FILE, LINES_FILE):
            self.copy.cuts.append(Cut(place, f"{name} is not there: the gate of this version stands in for it"))
            yield f'#include "{Path(name).name}"'
        for path in paths:
            yield f'#include "{self._as(self.library.name(path), "")}"'

    def line(self, line: str, place: Place) -> str:
        """One line as the rig may have it."""
        if not line.strip() or line.lstrip().startswith(";"):
            return line
        kept: list[str] = []

        def keep(text: str) -> str:
            kept.append(text)
            return f"\0{len(kept) - 1}\0"

        line = _OUR_SERVER.sub(lambda found: keep(f"AGI({self.ends.address}{found[1]}"), line)
        if _OUR_SCRIPT.search(line):
            line = _OUR_SCRIPT.sub(lambda found: keep(f"AGI({self.ends.address}{found[1] or CONSENT_SCRIPT},"), line)
            line = _OUR_ARGUMENT.sub("", line)
        line = _OUR_ECHO.sub(lambda found: keep(found[0]), line)
        line = _OUR_MARK.sub(lambda _: keep(f"FILE({self.ends.recordings}/"), line)
        done, number = _PROGRAMS.subn("NoOp", line)
        if number or _FUNCTIONS.search(line):
            self.copy.cuts.append(Cut(place, _KEPT.sub("…", line).strip()))
        done = _OLD_CHANNEL.sub("PJSIP/", done)
        done = _PATH.sub(f"{self.ends.files}/", done)
        return _KEPT.sub(lambda found: kept[int(found[1])], done)


_PROMPTS: Final = {"playback": 0, "background": 0, "read": 1, "controlplayback": 0, "backgrounddetect": 0}
"""Applications that play, with the number of the argument that says what."""

_SOUND: Final = re.compile(r"/?[\w][\w./-]{0,200}")


def sounds(dialplan: Dialplan) -> Iterator[str]:
    """Prompts that the site's dialplan names: a menu whose prompt is missing would be over before a key is pressed."""
    found: dict[str, None] = {}
    for context in dialplan.contexts.values():
        for extension in context.extensions.values():
            for step in extension.steps.values():
                at = _PROMPTS.get(step.application)
                given = step.arguments.split(",") if at is not None else []
                if at is not None and len(given) > at:
                    found |= dict.fromkeys(name.strip() for name in given[at].split("&"))
    return (name for name in found if _SOUND.fullmatch(name) and ".." not in name)


# --- telephones ------------------------------------------------------------------------------------------------------


def telephones(library: Library) -> list[str]:
    """Names of the site's own telephones: what registers with the switch. A trunk has an address, or logs in itself."""
    found: dict[str, None] = {}
    for name, look in (("pjsip.conf", _pjsip), ("pjsip_wizard.conf", _wizard), ("sip.conf", _sip)):
        if (path := library.file(name)) is not None:
            found |= dict.fromkeys(look(sections.read(library, path).active()))
    return [name for name in found if is_telephone(name)]


def is_telephone(name: str) -> bool:
    """Whether a telephone of the rig can have this name."""
    return _PHONE_NAME.fullmatch(name) is not None and name.lower() not in _RESERVED


def _pjsip(parts: list[Section]) -> Iterator[str]:
    kinds: dict[str, list[Section]] = {}
    for part in parts:
        kinds.setdefault(part.value("type").lower(), []).append(part)
    trunks = {part.value("endpoint") for kind in ("identify", "registration") for part in kinds.get(kind, [])}
    fixed = {part.name for part in kinds.get("aor", []) if part.last("contact") is not None}
    for part in kinds.get("endpoint", []):
        places = [name.strip() for name in part.value("aors").split(",") if name.strip()]
        if part.name in trunks or part.last("outbound_auth") is not None or not places or fixed & set(places):
            continue
        yield part.name


def _wizard(parts: list[Section]) -> Iterator[str]:
    for part in parts:
        if part.value("type").lower() == "wizard" and part.true("accepts_registrations"):
            yield part.name


def _sip(parts: list[Section]) -> Iterator[str]:
    for part in parts:
        if part.value("type").lower() in ("friend", "peer") and part.value("host").lower() == "dynamic":
            yield part.name


def telephones_config(names: list[str], extension: str) -> str:
    """The same as the rig has them: each is reached at an extension of the rig, which answers."""
    return "".join(
        f"[{name}]\ntype=endpoint\ntransport=udp\ncontext=none\ndisallow=all\nallow=ulaw\naors={name}\n"
        "direct_media=no\nrtp_symmetric=no\nmedia_address=127.0.0.1\nbind_rtp_to_media_address=yes\n"
        f"[{name}]\ntype=aor\ncontact=sip:{extension}@127.0.0.1:{{sip_port}}\n"
        for name in names
    )


def library_of(directory: Path) -> Library:
    """The files of a directory such as /etc/asterisk."""
    return opened([directory], INSTALLED)
