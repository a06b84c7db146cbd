"""A site's other files: where calls come in, what records outside of the dialplan, who may start a recording."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ivr_consent.pbx.asterisk.audit.graph import Entry as Way
from ivr_consent.pbx.asterisk.audit.recorders import Facts, in_application
from ivr_consent.pbx.asterisk.audit.sections import Configuration, Entry, read, truth
from ivr_consent.pbx.asterisk.audit.texts import call, parts
from ivr_consent.pbx.audit.findings import Finding, Level, Place, Rule
from ivr_consent.pbx.audit.library import Library

DRIVERS: Final = (
    "sip.conf", "iax.conf", "chan_dahdi.conf", "users.conf", "chan_mobile.conf", "motif.conf", "mgcp.conf",
    "skinny.conf", "sccp.conf", "unistim.conf", "ooh323.conf", "console.conf", "alsa.conf", "misdn.conf",
    "calendar.conf",
)  # fmt: skip  # rows that belong together
"""Files whose ``context`` is where calls come in; pjsip.conf has more to it."""

SEPARATE: Final = (
    "followme.conf", "res_parking.conf", "voicemail.conf",
)  # fmt: skip  # rows that belong together
"""Files whose contexts calls come back to."""

KNOWN_FILES: Final = frozenset({
    *DRIVERS, *SEPARATE, "asterisk.conf", "modules.conf", "pjsip.conf", "pjsip_wizard.conf", "features.conf",
    "queues.conf", "confbridge.conf", "agents.conf", "manager.conf", "ari.conf", "http.conf", "extconfig.conf",
    "sorcery.conf", "cli.conf", "minivm.conf",
})  # fmt: skip  # rows that belong together
"""What is read beside the dialplan."""

_CONTEXTS: Final = re.compile(
    r"\b(?:dialout|callback|exitcontext|context|comebackcontext)\s*=\s*([\w-]+)", re.IGNORECASE
)
_LOCAL: Final = re.compile(r"^\s*local/([^@/,]*)@([^/,@]+)", re.IGNORECASE)
_IN_DATABASE: Final = (
    "extensions", "queue", "features.conf", "confbridge.conf", "pjsip.conf", "sippeers", "iaxpeers", "ps_endpoints",
    "followme", "voicemail",
)  # fmt: skip  # rows that belong together
"""Families of the real-time configuration that matter here."""

_MIGHTY: Final = frozenset({"all", "system", "command"})


@dataclass(slots=True)
class Site:
    """What was found. ``entries`` are where calls come in; without any that are ``named`` it is not known."""

    facts: Facts
    entries: list[Way] = field(default_factory=list)
    named: bool = False
    findings: list[Finding] = field(default_factory=list)
    dynamic: list[tuple[Place, str]] = field(default_factory=list)
    """Feature codes that record, which only count where a channel has DYNAMIC_FEATURES: what to tell of each."""
    features: bool = False
    """Whether some file gives channels DYNAMIC_FEATURES."""


def survey(library: Library) -> Site:
    """Read every file that is there."""
    surveyor = _Surveyor(library)
    for name, look in surveyor.files():
        path = library.file(name)
        if path is not None:
            configuration = read(library, path)
            surveyor.site.findings += configuration.findings
            look(configuration)
        elif not library.whole:
            surveyor.missing(name)
    surveyor.end()
    return surveyor.site


class _Surveyor:
    """Looks at one file after the other."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.site = Site(Facts())
        self.touch_allowed: list[Place] = []
        self.http = False

    def files(self) -> list[tuple[str, Callable[[Configuration], None]]]:
        """Each file with what looks at it, in an order in which later ones can use what earlier ones said."""
        return [
            ("asterisk.conf", self._asterisk),
            ("modules.conf", self._modules),
            ("pjsip.conf", self._pjsip),
            ("pjsip_wizard.conf", self._wizard),
            *((name, self._driver) for name in DRIVERS),
            *((name, self._separate) for name in SEPARATE),
            ("features.conf", self._features),
            ("queues.conf", self._queues),
            ("confbridge.conf", self._confbridge),
            ("agents.conf", self._agents),
            ("manager.conf", self._manager),
            ("http.conf", self._http),
            ("ari.conf", self._ari),
            ("extconfig.conf", self._extconfig),
            ("sorcery.conf", self._sorcery),
            ("cli.conf", self._cli),
        ]

    def missing(self, name: str) -> None:
        """A file that was not given, where only some files were."""
        facts = self.site.facts
        if name == "queues.conf":
            facts.queues = None
        elif name == "confbridge.conf":
            facts.bridges = None
        elif name == "features.conf":
            facts.touch = facts.old_touch = None

    def say(self, rule: Rule, level: Level, place: Place, found: str, remedy: str) -> None:
        """Add a finding."""
        self.site.findings.append(Finding(rule, level, place, found, remedy))

    def enter(self, context: str, place: Place, what: str, *, named: bool = True) -> None:
        """A context that calls come into."""
        if context and not any(known.context == context and not known.value for known in self.site.entries):
            self.site.entries.append(Way(context, place, what))
        self.site.named = self.site.named or (named and bool(context))

    # --- Asterisk itself ---------------------------------------------------------------------------------------------

    def _asterisk(self, configuration: Configuration) -> None:
        directories = configuration.get("directories")
        if directories is not None and (where := directories.value("astetcdir")):
            self.library.installed = where

    def _modules(self, configuration: Configuration) -> None:
        section = configuration.get("modules")
        if section is None:
            return
        left_out = {_module(entry.value) for entry in section.entries if entry.name.lower() == "noload"}
        loaded = {
            _module(entry.value)
            for entry in section.entries
            if entry.name.lower() in ("load", "require", "preload", "preload-require")
        }
        if not section.true("autoload"):
            known = {"app_mixmonitor", "res_monitor", "app_record", "app_dictate", "app_voicemail", "app_minivm"}
            known |= {"app_audiosocket", "app_jack", "app_externalivr", "app_chanspy", "app_page", "app_meetme"}
            known |= {"app_followme", "app_ices", "app_queue", "app_confbridge", "app_dial", "res_agi"}
            left_out |= known - loaded
        self.site.facts.unloaded = frozenset(left_out - loaded)

    def _cli(self, configuration: Configuration) -> None:
        section = configuration.get("startup_commands")
        for entry in section.entries if section is not None else ():
            if truth(entry.value) and re.search(r"dialplan add|mixmonitor|monitor", entry.name.lower()):
                found = f"the command {entry.name!r} runs when Asterisk starts"
                self.say(Rule.ELSEWHERE, Level.UNKNOWN, entry.place, found, "remove it, or read it by hand")

    def _extconfig(self, configuration: Configuration) -> None:
        section = configuration.get("settings")
        for entry in section.entries if section is not None else ():
            name = entry.name.lower()
            if name.startswith(_IN_DATABASE):
                found = f"{entry.name} comes from a database: what stands there was not read"
                self.say(Rule.ELSEWHERE, Level.UNKNOWN, entry.place, found, "read it by hand, or keep it in files")
                self.site.facts.queues_elsewhere |= name.startswith("queue")

    def _sorcery(self, configuration: Configuration) -> None:
        for section in configuration.active():
            for entry in section.entries:
                if entry.name.lower().startswith("endpoint") and entry.value.lower().startswith(("realtime", "astdb")):
                    found = "endpoints come from a database: the contexts that their calls come into were not read"
                    self.say(Rule.ELSEWHERE, Level.UNKNOWN, entry.place, found, "read them by hand")

    # --- where calls come in -----------------------------------------------------------------------------------------

    def _pjsip(self, configuration: Configuration) -> None:
        for section in configuration.active():
            if section.value("type").lower() != "endpoint":
                continue
            found = section.last("context")
            self.enter(
                found.value if found else "default",
                found.place if found else section.place,
                f"calls of the endpoint {section.name}",
            )
            touch = section.last("one_touch_recording")
            if touch is not None and truth(touch.value):
                self._touch(touch.place, section.name)
            self.site.features |= any("DYNAMIC_FEATURES" in entry.value for entry in section.entries)

    def _touch(self, place: Place, name: str) -> None:
        self.touch_allowed.append(place)
        self.site.facts.touch = True
        self.say(
            Rule.ENABLED,
            Level.WARNING,
            place,
            f"one_touch_recording: the telephone {name} may start a recording where Dial or Queue has x or X",
            "set one_touch_recording=no",
        )

    def _wizard(self, configuration: Configuration) -> None:
        for section in configuration.active():
            found = section.last("endpoint/context")
            if found is not None:
                self.enter(found.value, found.place, f"calls of {section.name}")
            touch = section.last("endpoint/one_touch_recording")
            if touch is not None and truth(touch.value):
                self._touch(touch.place, section.name)

    def _driver(self, configuration: Configuration) -> None:
        for section in configuration.active():
            for entry in section.entries:
                if entry.name.lower() == "context":
                    self.enter(entry.value, entry.place, f"calls of {section.name}")
                self.site.features |= "DYNAMIC_FEATURES" in entry.value

    def _separate(self, configuration: Configuration) -> None:
        for section in configuration.active():
            for entry in section.entries:
                for context in _CONTEXTS.findall(f"{entry.name}={entry.value}"):
                    self.enter(context, entry.place, f"calls that come back by {section.name}", named=False)
                if entry.name.lower() == "parkedcallrecording" and entry.value.lower() != "no":
                    found = "parkedcallrecording: a call that is picked up from parking may be recorded by a key"
                    self.say(Rule.ENABLED, Level.WARNING, entry.place, found, "set parkedcallrecording=no")

    # --- what records ------------------------------------------------------------------------------------------------

    def _features(self, configuration: Configuration) -> None:
        section = configuration.get("featuremap")
        for name, which in (("automixmon", "touch"), ("automon", "old_touch")):
            entry = section.last(name) if section is not None else None
            if entry is None or not entry.value:
                continue
            setattr(self.site.facts, which, True)
            found = (
                f"{name}: the key {entry.value} starts a recording during a call where Dial or Queue has x, X, w or W"
            )
            self.say(Rule.ENABLED, Level.WARNING, entry.place, found, f"remove {name}")
        section = configuration.get("applicationmap")
        for entry in section.entries if section is not None else ():
            self._feature(entry)

    def _feature(self, entry: Entry) -> None:
        """``name => digits,who,Application(arguments)`` or with the arguments behind a comma."""
        pieces = parts(entry.value)
        if len(pieces) < 3:
            return
        application, given = call(pieces[2])
        given = given or (pieces[3].strip().strip('"') if len(pieces) > 3 else "")
        what = f"the feature code {pieces[0].strip()} ({entry.name})"
        recorders = in_application(application, [part.strip() for part in parts(given)], self.site.facts)
        if recorders:
            self.site.dynamic.append((entry.place, f"{what}: {recorders[0].what}"))
        elif application in ("gosub", "goto") and given:
            where = [part.strip() for part in parts(given.partition("(")[0])]
            if len(where) == 3:
                self.site.entries.append(Way(where[0], entry.place, what, where[1], where[2]))
        elif application == "macro" and given:
            self.site.entries.append(Way(f"macro-{parts(given)[0]}", entry.place, what, "s"))
        elif application in ("agi", "stasis", "eagi", "system"):
            found = f"{what} runs {application}({given}): a program that can record"
            self.say(Rule.SCRIPT, Level.UNKNOWN, entry.place, found, "read the program by hand, or remove the code")

    def _queues(self, configuration: Configuration) -> None:
        facts = self.site.facts
        assert facts.queues is not None
        for section in configuration.active():
            if section.name.lower() in ("general", "rules"):
                continue
            form = section.last("monitor-format")
            facts.queues[section.name] = form.place if form is not None and form.value else None
            starts = facts.queue_starts.setdefault(section.name, [])
            for entry in section.entries:
                name = entry.name.lower()
                if name == "context":
                    starts.append((entry.value, ""))
                elif name == "membermacro":
                    starts.append((f"macro-{parts(entry.value)[0]}", "s"))
                elif name == "membergosub":
                    starts.append((parts(entry.value)[0], "s"))
                elif name == "member" and (local := _LOCAL.match(entry.value)):
                    starts.append((local[2], local[1] or "s"))
            if form is not None and form.value:
                self.say(
                    Rule.ENABLED,
                    Level.WARNING,
                    form.place,
                    f"monitor-format: the queue {section.name} records every call that is answered",
                    "remove monitor-format",
                )

    def _confbridge(self, configuration: Configuration) -> None:
        facts = self.site.facts
        assert facts.bridges is not None
        for section in configuration.active():
            kind = section.value("type").lower()
            record = section.last("record_conference")
            if kind == "bridge":
                on = record is not None and truth(record.value)
                facts.bridges[section.name] = record.place if record is not None and on else None
                if record is not None and on:
                    found = f"record_conference: conferences of the profile {section.name} are recorded"
                    self.say(Rule.ENABLED, Level.WARNING, record.place, found, "set record_conference=no")
            for entry in section.entries:
                if kind == "user" and entry.name.lower().startswith("announce_join_leave") and truth(entry.value):
                    found = f"{entry.name}: the caller's name is recorded before the conference"
                    self.say(Rule.ENABLED, Level.WARNING, entry.place, found, f"set {entry.name}=no")
                if kind == "menu" and (place := re.search(r"dialplan_exec\(([^,)]+),([^,)]+),([^,)]+)\)", entry.value)):
                    self.site.entries.append(Way(place[1], entry.place, "a key in a conference", place[2], place[3]))

    def _agents(self, configuration: Configuration) -> None:
        for section in configuration.active():
            entry = section.last("recordagentcalls")
            if entry is not None and truth(entry.value):
                found = f"recordagentcalls: every call of the agent {section.name} is recorded"
                self.say(Rule.ENABLED, Level.ERROR, entry.place, found, "set recordagentcalls=no")

    # --- who may start one -------------------------------------------------------------------------------------------

    def _manager(self, configuration: Configuration) -> None:
        general = configuration.get("general")
        if general is None or not general.true("enabled"):
            return
        for section in configuration.active():
            if section.name.lower() == "general":
                continue
            write = {word.strip().lower() for word in section.value("write").split(",")} - {""}
            place = (section.last("write") or Entry("", "", section.place)).place
            if mighty := sorted(_MIGHTY & write):
                rights = " and ".join(mighty)
                found = f"the manager user {section.name} may start recordings (write = {rights})"
                self.say(Rule.POWER, Level.WARNING, place, found, "give it no more rights than it uses")
            elif "originate" in write:
                found = (
                    f"the manager user {section.name} may send calls to any place of the dialplan (write = originate)"
                )
                self.say(Rule.POWER, Level.NOTE, place, found, "take the right away where it is not used")

    def _http(self, configuration: Configuration) -> None:
        general = configuration.get("general")
        self.http = general is not None and general.true("enabled")

    def _ari(self, configuration: Configuration) -> None:
        general = configuration.get("general")
        enabled = general is None or general.last("enabled") is None or general.true("enabled")
        if not enabled or (self.library.whole and not self.http):
            return
        for section in configuration.active():
            if section.value("type").lower() == "user" and not section.true("read_only"):
                found = f"the user {section.name} of the REST interface may start recordings"
                self.say(Rule.POWER, Level.WARNING, section.place, found, "set read_only=yes, or remove the user")

    def end(self) -> None:
        """What takes more than one file to tell."""
        self.site.findings.sort(key=lambda finding: finding.order)


def _module(name: str) -> str:
    return name.strip().lower().removesuffix(".so")
