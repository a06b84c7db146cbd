"""The whole audit of a FreeSWITCH: files into a dialplan, its ways, and what they show as findings."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ivr_consent.config import Settings
from ivr_consent.core.errors import ConsentError
from ivr_consent.pbx.audit.findings import Finding, Level, Place, Rule, Stop
from ivr_consent.pbx.audit.library import Library, opened
from ivr_consent.pbx.audit.report import Report, report
from ivr_consent.pbx.audit.results import GRANTED, NOT_ASKED, told
from ivr_consent.pbx.freeswitch.audit import documents, gate, texts
from ivr_consent.pbx.freeswitch.audit.dialplan import Condition, Dialplan, load
from ivr_consent.pbx.freeswitch.audit.recorders import HOOK
from ivr_consent.pbx.freeswitch.audit.site import Site, survey
from ivr_consent.pbx.freeswitch.audit.steps import SETS, do
from ivr_consent.pbx.freeswitch.audit.ways import EXACT, MOST_EDGES, UNNAMED, Found, Walk
from ivr_consent.pbx.freeswitch.dialplan import FILE
from ivr_consent.pbx.freeswitch.variables import CONTEXT, RESULT

GATE: Final = f'<action application="transfer" data="LINE XML {CONTEXT}"/>'
BRANCH: Final = f'<condition field="${{{RESULT}}}" expression="^granted$">'

_RULES: Final = {
    "computed": Rule.COMPUTED,
    "script": Rule.SCRIPT,
    "elsewhere": Rule.ELSEWHERE,
    "forged": Rule.FORGED,
    "inactive": Rule.INACTIVE,
}
_LEVELS: Final = {"forged": Level.ERROR, "inactive": Level.NOTE}
_REMEDIES: Final = {
    "computed": "write the target out, or branch to fixed ones by conditions",
    "script": "read the program by hand; where it records nothing, allow the line by a comment",
    "elsewhere": "read it by hand, or write it into the XML dialplan",
    "inactive": "remove the line",
    "forged": f"remove it; only {GATE} may set it",
}


def audit(paths: list[Path], settings: Settings | None = None) -> Report:
    """Audit a directory, or some files. Raises :class:`ConsentError` when there is no dialplan among them."""
    library = opened(paths, documents.INSTALLED)
    document = documents.read(library)
    dialplan = load(document)
    contexts, actions = len(dialplan.contexts), len(dialplan.actions)
    unread = any(finding.level is Level.UNKNOWN for finding in document.findings)
    if not contexts and not unread and library.file(documents.MAIN) is None:
        raise ConsentError(f"there is no dialplan in {library.root}: no context in any XML file there")
    site = survey(document, dialplan, library)
    walk = Walk(dialplan, site.facts, _tracked(dialplan))
    judge = _Judge(library, site, dialplan, walk, settings)
    findings = document.findings + dialplan.findings + site.findings + judge.gate()
    judge.watch()
    walk.run(do, site.entries, named=site.named)
    if not contexts:
        place = Place(library.name(library.root))
        why = "there is no context in these files: what happens to calls is not known"
        findings.append(Finding(Rule.ELSEWHERE, Level.UNKNOWN, place, why, "audit what the dialplan comes from"))
    unread = any(f.level is Level.UNKNOWN and f.rule in (Rule.UNREAD, Rule.ELSEWHERE) for f in findings)
    findings += judge.findings(assumed=unread or not library.whole)
    return report("FreeSWITCH", library, contexts, ("actions", actions), findings)


def _tracked(dialplan: Dialplan) -> frozenset[str]:
    """Variables that decide something: read in conditions and targets, and those that these are set from."""
    read: set[str] = set()
    sets: dict[str, set[str]] = {}
    waiting = [condition for context in dialplan.contexts.values() for one in context.extensions
               for condition in one.conditions]  # fmt: skip  # one expression
    while waiting:
        condition: Condition = waiting.pop()
        read |= texts.read(condition.field or "") | texts.read(condition.expression)
        waiting += condition.nested + condition.regexes
    for _, _, action in dialplan.actions:
        if action.application in SETS:
            pairs = texts.assignments(action.data, "," if action.application == "multiset" else "\0")
            for name, value in pairs:
                plain = name.removeprefix("nolocal:")
                sets.setdefault(plain, set()).update(texts.read(value))
                if HOOK.match(plain):
                    read |= {plain, *texts.read(value)}
        else:
            read |= texts.read(action.data)
    found = list(read)
    while found:
        for name in sets.get(found.pop(), ()):
            if name not in read:
                read.add(name)
                found.append(name)
    return frozenset(read & sets.keys())


class _Judge:
    """Turns what the walk found into findings."""

    def __init__(self, library: Library, site: Site, dialplan: Dialplan, walk: Walk, settings: Settings | None) -> None:
        self.library = library
        self.site = site
        self.dialplan = dialplan
        self.walk = walk
        self.settings = settings

    def gate(self) -> list[Finding]:
        """Whether the gate's context is the one that was shipped; only then it is trusted."""
        context = self.dialplan.contexts.get(CONTEXT)
        if context is None:
            return []
        if gate.as_shipped(context, self.settings):
            self.walk.trusted.add(CONTEXT)
            return []
        found = f"the context {CONTEXT} is not the one that this version of ivr-consent writes"
        remedy = "write it anew with `ivr-consent dialplan --write`, and define it nowhere else"
        return [Finding(Rule.GATE, Level.WARNING, context.place, found, remedy)]

    def watch(self) -> None:
        """Look out for the recorded destinations of the configuration's lines."""
        for name, line in self.settings.lines.items() if self.settings is not None else ():
            place = (line.recorded or "").split(" ")
            if len(place) == 3:
                self.walk.watching[place[2], place[0]] = name

    def findings(self, *, assumed: bool) -> list[Finding]:
        """Everything that the walk found."""
        found = [self._recorder(place, one) for (place, _), (_, one) in self.walk.found.items()]
        found += self._told() + self._around() + self._lacking(assumed)
        if self.walk.full or self.walk.hunter.tired:
            why = f"too many ways (more than {MOST_EDGES} steps, or too much to compare): not all of them were followed"
            place = Place(self.library.name(self.library.root))
            found.append(Finding(Rule.UNREAD, Level.UNKNOWN, place, why, "audit parts of the dialplan"))
        return found

    def _recorder(self, place: Place, one: Found) -> Finding:
        recorder, action = one.recorder, one.edge.node.action
        rule, level, why, remedy = self._judged(one)
        loaded = self.site.facts.loaded
        if action is not None and action.allowed:
            rule, level = Rule.ALLOWED, Level.NOTE
            why, remedy = f"allowed here: {action.allowed}", "see that the reason still holds"
        elif loaded is not None and recorder.module and recorder.module not in loaded:
            rule, level = Rule.INACTIVE, Level.NOTE
            why, remedy = f"but modules.conf.xml does not load {recorder.module}", "remove the line"
        return Finding(rule, level, place, f"{recorder.what}; {why}", remedy, self.walk.way(one.edge))

    def _judged(self, one: Found) -> tuple[Rule, Level, str, str]:
        """Rule, level, why and remedy by what the worst way to a recorder shows."""
        remedy = one.recorder.remedy
        if one.results & ~GRANTED == 0:
            why = "it stands behind the gate, but has no grant: only ivr-consent records"
            return Rule.GATED, Level.WARNING, why, remedy
        if one.edge.rank == UNNAMED:
            why = "no way that could be read leads here; whether calls come here is not known"
            return Rule.UNREACHED, Level.UNKNOWN, why, f"remove it, or the whole extension; {remedy}"
        computed = one.edge.rank != EXACT
        level = Level.UNKNOWN if computed or not one.recorder.known else Level.ERROR
        guess = " (on a way with a computed jump)" if computed else ""
        if one.results & NOT_ASKED:
            why = f"a way leads here without the gate{guess}"
            return Rule.UNGATED, level, why, f"{remedy}; nothing but {GATE} starts a recording"
        why = f"a way leads here although the gate's result is: {told(one.results & ~GRANTED)}{guess}"
        return Rule.REFUSED, level, why, f"{remedy}; and let only granted lead on: {BRANCH}"

    def _told(self) -> list[Finding]:
        found = []
        for (place, what), (edge, kind) in self.walk.told.items():
            level = _LEVELS.get(kind, Level.UNKNOWN)
            remedy = _REMEDIES[kind]
            action = edge.node.action
            if action is not None and action.allowed and kind != "forged":
                level, remedy = Level.NOTE, f"allowed here: {action.allowed}"
            found.append(Finding(_RULES[kind], level, place, what, remedy, self.walk.way(edge)))
        return found

    def _around(self) -> list[Finding]:
        """Ways to a line's recorded destination that do not come through the gate."""
        found = []
        for (line, place), (edge, results, jumps) in self.walk.around.items():
            if jumps:
                level = Level.ERROR if edge.rank == EXACT else Level.UNKNOWN
                why = f"this way leads to the recorded destination of the line {line} without a yes"
                way = self.walk.way(edge)
                remedy = f"send calls to {line} XML {CONTEXT} or to the unrecorded destination"
            else:
                level, way = Level.WARNING, (Stop(place, edge.node.context, "calls come in"),)
                why = f"calls come in where the line {line} has its recorded destination: it can be dialled by name"
                remedy = "put the destinations of lines into a context that no call comes into"
            found.append(Finding(Rule.AROUND, level, place, f"{why} ({told(results & ~GRANTED)})", remedy, way))
        return found

    def _lacking(self, assumed: bool) -> list[Finding]:
        found = []
        for (place, context), (edge, what) in self.walk.lacking.items():
            way = self.walk.way(edge) if edge is not None else ()
            if context == CONTEXT:
                level = Level.UNKNOWN if assumed else Level.WARNING
                why = f"{what}: the gate's context {CONTEXT} is not in these files"
                remedy = f"write {FILE} into the folder dialplan with `ivr-consent dialplan --write`"
                found.append(Finding(Rule.GATE_MISSING, level, place, why, remedy, way))
            else:
                level = Level.UNKNOWN if assumed else Level.NOTE
                why = f"{what}: there is no context {context} in these files"
                remedy = "give the file that has it, or remove the line"
                found.append(Finding(Rule.ELSEWHERE, level, place, why, remedy, way))
        return found
