"""The whole audit: files into a dialplan, its ways, and what they show as findings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from ivr_consent.config import Settings
from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.asterisk.audit import ael, conf, lua, sections
from ivr_consent.pbx.asterisk.audit.channels import SCRIPT
from ivr_consent.pbx.asterisk.audit.dialplan import Context, Dialplan
from ivr_consent.pbx.asterisk.audit.graph import EXACT, UNNAMED, Found
from ivr_consent.pbx.asterisk.audit.site import KNOWN_FILES, Site, survey
from ivr_consent.pbx.asterisk.audit.steps import CARRIED, FORGED, OURS, do
from ivr_consent.pbx.asterisk.audit.ways import MOST_EDGES, Walk
from ivr_consent.pbx.asterisk.dialplan import INCLUDE_FILE, LINES_CONTEXT, is_ours
from ivr_consent.pbx.asterisk.variables import CONSENT_SCRIPT, CONTEXT
from ivr_consent.pbx.audit.findings import Finding, Level, Place, Rule
from ivr_consent.pbx.audit.library import Library, Text, opened
from ivr_consent.pbx.audit.report import Report, report
from ivr_consent.pbx.audit.results import GRANTED, NOT_ASKED, told
from ivr_consent.site import shipped

INSTALLED: Final = "/etc/asterisk"
"""Where Asterisk looks for included files, unless asterisk.conf says otherwise."""

GATE: Final = f"Gosub({CONTEXT},s,1(LINE))"
BRANCH: Final = 'GotoIf($["${IVR_CONSENT_RESULT}" = "granted"]?recorded)'


def audit(paths: list[Path], settings: Settings | None = None) -> Report:
    """Audit a directory, or some files. Raises :class:`ConsentError` when there is no dialplan among them."""
    library = opened(paths, INSTALLED)
    site = survey(library)
    dialplan, findings = load(library, site)
    walk = Walk(dialplan, site.facts)
    judge = _Judge(library, site, dialplan, walk, settings)
    findings += site.findings
    findings += judge.gate()
    elsewhere = {Rule.UNREAD, Rule.REFUSED_FILE, Rule.ELSEWHERE}
    walk.assumed = not library.whole or any(f.level is Level.UNKNOWN and f.rule in elsewhere for f in findings)
    judge.watch()
    walk.run(do, site.entries, named=site.named)
    findings += judge.findings()
    priorities = sum(len(e.steps) for c in dialplan.contexts.values() for e in c.extensions.values())
    return report("Asterisk", library, len(dialplan.contexts), ("priorities", priorities), findings)


def load(library: Library, site: Site) -> tuple[Dialplan, list[Finding]]:
    """Every dialplan file of the site. Raises :class:`ConsentError` when there is none."""
    if library.whole:
        paths = [library.root / name for name in ("extensions.conf", "extensions.ael", "extensions.lua")]
        paths = [path for path in paths if path.is_symlink() or path.exists()]
        paths = paths or sorted(library.root.glob("extensions*.conf"))
    else:
        paths = [path for path in library.given if path.name not in KNOWN_FILES]
    if not paths:
        raise ConsentError(
            f"there is no dialplan in {library.root}: neither extensions.conf nor extensions.ael or .lua"
        )
    dialplan = Dialplan()
    findings: list[Finding] = []
    for path in paths:
        if path.suffix == ".lua":
            findings += lua.load(library, path, site.facts)
        elif path.suffix == ".ael":
            findings += ael.load(library, path, dialplan)
        elif library.name(path) not in library.read:
            configuration = sections.read(library, path)
            findings += configuration.findings + conf.load(configuration, dialplan)
    if library.whole:
        for path in sorted(library.root.glob("extensions*.conf")):
            if (name := library.name(path)) not in library.read and not any(f.place.file == name for f in findings):
                why = "no file includes it: Asterisk does not load it, and the audit left it out"
                findings.append(Finding(Rule.UNREAD, Level.NOTE, Place(name), why, "include it, or audit it by itself"))
    return dialplan, findings


class _Judge:
    """Turns what the walk found into findings."""

    def __init__(self, library: Library, site: Site, dialplan: Dialplan, walk: Walk, settings: Settings | None) -> None:
        self.library = library
        self.site = site
        self.dialplan = dialplan
        self.walk = walk
        self.settings = settings

    # --- the gate ----------------------------------------------------------------------------------------------------

    def gate(self) -> list[Finding]:
        """Whether the gate's contexts are those that were shipped; those that are, are trusted."""
        text = (shipped("dialplan") / INCLUDE_FILE).read_text(encoding="utf-8")
        configuration = sections.Configuration()
        sections.Reader(self.library, configuration).file(Text(INCLUDE_FILE, text.split("\n")), ())
        ours = Dialplan()
        conf.load(configuration, ours)
        assert is_ours(text)
        found = []
        for name, context in self.dialplan.contexts.items():
            if name == OURS or name.startswith(OURS + "-"):
                if name in ours.contexts and _same(context, ours.contexts[name]):
                    self.walk.trusted.add(name)
                elif name != LINES_CONTEXT:
                    found.append(
                        Finding(
                            Rule.GATE,
                            Level.WARNING,
                            context.place,
                            f"the context {name} is not the one that this version of ivr-consent ships",
                            "write it anew with `ivr-consent dialplan --write`, and define it nowhere else",
                        )
                    )
        return found

    def watch(self) -> None:
        """Look out for the recorded destinations of the configuration's lines."""
        for name, line in self.settings.lines.items() if self.settings is not None else ():
            if line.recorded is not None:
                context, value, priority = line.recorded.split(",")
                number: int | str = int(priority) if priority.isdecimal() else priority
                for extension, at in self.dialplan.find(context, value, number)[:1]:
                    self.walk.watching.setdefault((id(extension), at), []).append((value, name))

    # --- findings ----------------------------------------------------------------------------------------------------

    def findings(self) -> list[Finding]:
        """Everything that the walk found."""
        found = [self._recorder(place, what) for place, what in self.walk.found]
        found += [self._unknown(place, what) for place, what in self.walk.unknown]
        found += self._around()
        found += self._dynamic()
        found += self._not_given()
        for context in self.dialplan.contexts.values():
            for switch in context.switches:
                what = f"switch => {switch.arguments}: more extensions of the context {context.name} stand elsewhere"
                remedy = "read them by hand, or write them into extensions.conf"
                found.append(Finding(Rule.ELSEWHERE, Level.UNKNOWN, switch.place, what, remedy))
            for include in context.includes:
                if include.name not in self.dialplan.contexts and not self._made_elsewhere(include.name):
                    found.append(self._missing(include.place, f"include => {include.name}", include.name))
        for entry in self.walk.lacking:
            if not self._made_elsewhere(entry.context):
                at = ",".join(part for part in (entry.context, entry.value) if part)
                text = f"{entry.what}: there is no {at} in these files"
                found.append(self._missing(entry.place, text, entry.context))
        if self.walk.full or self.dialplan.tired:
            place = Place(self.library.name(self.library.root))
            why = f"too many ways (more than {MOST_EDGES} steps, or too many patterns): not all of them were followed"
            found.append(Finding(Rule.UNREAD, Level.UNKNOWN, place, why, "audit parts of the dialplan"))
        return found

    def _recorder(self, place: Place, what: str) -> Finding:
        _, one = self.walk.found[place, what]
        way = self.walk.way(one.edge)
        recorder, step = one.recorder, one.edge.node.step
        rule, level, why, remedy = self._judged(one)
        if step.allowed:
            rule, level = Rule.ALLOWED, Level.NOTE
            why, remedy = f"allowed here: {step.allowed}", "see that the reason still holds"
        elif recorder.module in self.site.facts.unloaded:
            rule, level = Rule.INACTIVE, Level.NOTE
            why, remedy = f"but modules.conf does not load {recorder.module}", "remove the line"
        return Finding(rule, level, place, f"{recorder.what}; {why}", remedy, way)

    def _judged(self, one: Found) -> tuple[Rule, Level, str, str]:
        """Rule, level, why and remedy by what the worst way to a recorder shows."""
        remedy = one.recorder.remedy
        sure = Level.ERROR if one.recorder.sure else Level.WARNING
        if one.results & ~GRANTED == 0:
            why = "it stands behind the gate, but has no grant: only ivr-consent records"
            return Rule.GATED, Level.WARNING if one.recorder.sure else Level.NOTE, why, remedy
        if one.rank == UNNAMED:
            why = "no way that could be read leads here; whether calls come here is not known"
            return Rule.UNREACHED, Level.UNKNOWN, why, f"remove it, or the whole extension; {remedy}"
        computed = one.rank != EXACT
        level = Level.UNKNOWN if computed or not one.recorder.known else sure
        guess = " (on a way with a computed jump)" if computed else ""
        if one.results & NOT_ASKED:
            why = f"a way leads here without the gate{guess}"
            return Rule.UNGATED, level, why, f"{remedy}; nothing but {GATE} starts a recording"
        why = f"a way leads here although the gate's result is: {told(one.results & ~GRANTED)}{guess}"
        return Rule.REFUSED, level, why, f"{remedy}; and let only granted lead on: {BRANCH}"

    def _unknown(self, place: Place, what: str) -> Finding:
        edge, _, _ = self.walk.unknown[place, what]
        way = self.walk.way(edge)
        if what.startswith("elsewhere:"):
            text = what.removeprefix("elsewhere:")
            context = text.rpartition(" context ")[2].partition(" in ")[0]
            if self._made_elsewhere(context):
                return Finding(Rule.ELSEWHERE, Level.NOTE, place, f"{text}: Asterisk makes it", "none", way)
            return self._missing(place, text, context, way)
        if what.startswith(CARRIED):
            remedy = "remove it: a recorder would go on where nobody was asked"
            return Finding(Rule.CARRIED, Level.WARNING, place, what.removeprefix(CARRIED), remedy, way)
        if what.startswith(FORGED):
            remedy = f"remove it; only {GATE} may set it"
            return Finding(Rule.FORGED, Level.ERROR, place, what.removeprefix(FORGED), remedy, way)
        if what.startswith(SCRIPT):
            level, remedy = (
                Level.UNKNOWN,
                "read the program by hand; where it records nothing, allow the line by a comment",
            )
            if edge.node.step.allowed:
                level, remedy = Level.NOTE, f"allowed here: {edge.node.step.allowed}"
            return Finding(Rule.SCRIPT, level, place, what.removeprefix(SCRIPT), remedy, way)
        level, remedy = Level.UNKNOWN, "write the target out, or branch to fixed ones with GotoIf"
        if edge.node.step.allowed:
            level, remedy = Level.NOTE, f"allowed here: {edge.node.step.allowed}"
        return Finding(Rule.COMPUTED, level, place, what, remedy, way)

    def _missing(self, place: Place, text: str, context: str, way: tuple[Any, ...] = ()) -> Finding:
        """A context that is not there: perhaps in a file that was not given."""
        if context == OURS or context.startswith(OURS + "-"):
            found = f"{text.partition(': there is no')[0]}: the gate's context {context} is not in these files"
            remedy = f"add `#include ivr-consent/{INCLUDE_FILE}` to extensions.conf"
            level = Level.UNKNOWN if self.walk.assumed else Level.WARNING
            return Finding(Rule.GATE_MISSING, level, place, found, remedy, way)
        level = Level.UNKNOWN if self.walk.assumed else Level.NOTE
        found = text if "there is no" in text else f"{text}: there is no such context in these files"
        return Finding(Rule.ELSEWHERE, level, place, found, "give the file that has it, or remove the line", way)

    def _made_elsewhere(self, context: str) -> bool:
        """Contexts that Asterisk's modules make by themselves."""
        return bool(re.fullmatch(r"parkedcalls|park-hints|__func_periodic_hook_context__", context))

    def _around(self) -> list[Finding]:
        """Ways to a line's recorded destination that do not come through the gate."""
        found = []
        for line, edges in self.walk.watched.items():
            around = [(rank, edge) for rank, edge in edges if edge.state.results & ~GRANTED]
            if not around:
                continue
            rank, edge = min(around, key=lambda one: one[0])
            level = Level.ERROR if rank == EXACT else Level.UNKNOWN
            results = told(edge.state.results & ~GRANTED)
            found.append(
                Finding(
                    Rule.AROUND,
                    level,
                    edge.node.step.place,
                    f"this way leads to the recorded destination of the line {line} without a yes ({results})",
                    f"send calls to {LINES_CONTEXT},{line},1 or to the unrecorded destination",
                    self.walk.way(edge),
                )
            )
        return found

    def _dynamic(self) -> list[Finding]:
        """Feature codes that record, by whether some channel has them."""
        used = self.site.features or any(
            "DYNAMIC_FEATURES" in step.arguments
            for context in self.dialplan.contexts.values()
            if context.name not in self.walk.trusted
            for extension in context.extensions.values()
            for step in extension.steps.values()
        ) or "DYNAMIC_FEATURES" in self.dialplan.globals  # fmt: skip  # rows that belong together
        level = Level.ERROR if used else Level.WARNING
        why = "channels get it by DYNAMIC_FEATURES" if used else "no file gives channels DYNAMIC_FEATURES"
        return [
            Finding(Rule.ENABLED, level, place, f"{what}; {why}", "remove the feature code")
            for place, what in self.site.dynamic
        ]

    def _not_given(self) -> list[Finding]:
        """Files that were not given, though steps of the dialplan depend on them."""
        facts = self.site.facts
        asked = (
            ("queue", "queues.conf", facts.queues is None, "whether its queue records"),
            ("confbridge", "confbridge.conf", facts.bridges is None, "whether its conference is recorded"),
        )
        found = []
        for application, file, missing, what in asked:
            steps = [
                step
                for context in self.dialplan.contexts.values()
                for extension in context.extensions.values()
                for step in extension.steps.values()
                if step.application == application
            ]
            if missing and steps:
                why = f"{file} was not given: {what} is not known (here, and at {len(steps) - 1} other places)"
                remedy = f"audit the whole directory, or give {file} too"
                found.append(Finding(Rule.UNREAD, Level.UNKNOWN, steps[0].place, why, remedy))
        return found


def _same(context: Context, other: Context) -> bool:
    """Whether two contexts do the same, but for the address of the server."""

    def plain(one: Context) -> dict[tuple[str, str], list[tuple[int, str, str]]]:
        return {
            key: [
                (number, step.application, _without_choices(step.application, step.arguments))
                for number, step in sorted(extension.steps.items())
            ]
            for key, extension in one.extensions.items()
        }

    labels = {key: extension.labels for key, extension in context.extensions.items()}
    theirs = {key: extension.labels for key, extension in other.extensions.items()}
    return plain(context) == plain(other) and labels == theirs and not context.includes and not context.switches


_SERVER: Final = re.compile(r"^agi://(?:[0-9.]+|\[[0-9a-fA-F:]+\])(?::\d+)?/([a-z]+)(?=,)")
_PROGRAM: Final = re.compile(
    r"^/[A-Za-z0-9_./-]*/ivr-consent-agi(?:,--([a-z]+))?(,.*?)(?:,--config=[A-Za-z0-9_./-]+)?$"
)
_MARK: Final = re.compile(r"^FILE\(/[A-Za-z0-9_./-]*/(?=\$\{)")
_CODES: Final = re.compile(rf"^LOCAL\(codes\)=(?:{OURS}-[a-z]+#?)*$")


def _without_choices(application: str, arguments: str) -> str:
    """A step of the gate without what the configuration chooses: the server's address or the classic script, the
    directory of the recordings, the feature codes."""
    if application == "set":
        return _CODES.sub("LOCAL(codes)=", _MARK.sub("FILE(", arguments))
    if application != "agi":
        return arguments
    if found := _PROGRAM.match(arguments):
        return f"{found[1] or CONSENT_SCRIPT}{found[2]}"
    return _SERVER.sub(r"\1", arguments)
