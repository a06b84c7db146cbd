"""The rest of the configuration: where calls come in, what records outside of the dialplan, who may start that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ivr_consent.pbx.audit.findings import Finding, Level, Place, Rule
from ivr_consent.pbx.audit.library import Library
from ivr_consent.pbx.freeswitch.audit.dialplan import Action, Condition, Context, Dialplan, Extension, truth
from ivr_consent.pbx.freeswitch.audit.documents import Document, Element
from ivr_consent.pbx.freeswitch.audit.recorders import HOOK, Facts
from ivr_consent.pbx.freeswitch.audit.ways import Entry

KNOWN_PASSWORD: Final = "ClueCon"  # noqa: S105 - the one that everybody knows
_LOOPBACK: Final = re.compile(r"127\.\d+\.\d+\.\d+|::1|localhost")
_MODULES: Final = ("modules.conf", "pre_load_modules.conf", "post_load_modules.conf")
_LANGUAGES: Final = ("lua.conf", "python.conf", "python3.conf", "perl.conf", "v8.conf", "managed.conf")
_SIGNALLING: Final = frozenset({"conference.conf", "callcenter.conf", "fifo.conf", "voicemail.conf", "httapi.conf"})
"""Configurations whose ``context`` is not one that calls come into."""

_REMOTE: Final = {
    "mod_rayo": "its clients", "mod_kazoo": "its clients", "mod_erlang_event": "its nodes",
    "mod_amqp": "who may write to its queue", "mod_xml_rpc": "who has its password, by HTTP",
}  # fmt: skip  # rows that belong together
"""Modules by which somebody else can run commands."""


@dataclass(slots=True)
class Site:
    """What was found. ``entries`` are where calls come in; without any that are ``named`` it is not known."""

    facts: Facts
    entries: list[Entry] = field(default_factory=list)
    named: bool = False
    findings: list[Finding] = field(default_factory=list)


def survey(document: Document, dialplan: Dialplan, library: Library) -> Site:
    """Look at everything but the dialplan. What runs by itself is added to the dialplan as contexts of their own."""
    surveyor = _Surveyor(document, dialplan, library)
    surveyor.look()
    return surveyor.site


def settings(element: Element) -> Iterator[Element]:
    """Every ``param`` within an element."""
    return (one for one in element.walk() if one.tag == "param")


class _Surveyor:
    """Looks at one configuration after the other."""

    def __init__(self, document: Document, dialplan: Dialplan, library: Library) -> None:
        self.document = document
        self.dialplan = dialplan
        self.library = library
        self.site = Site(Facts())
        self.lists: dict[str, Element] = {}
        self.configurations: dict[str, Element] = {}

    def look(self) -> None:
        """Everything, in an order in which later ones can use what earlier ones said."""
        for element in self.document.root.walk():
            if element.tag == "configuration" and element.get("name"):
                self.configurations.setdefault(element.get("name"), element)
        self._modules()
        for name, element in self.configurations.items():
            self._entries(name, element)
            self._elsewhere(name, element)
            if name == "conference.conf":
                self._conferences(element)
            elif name == "callcenter.conf":
                self._queues(element)
            elif name in _LANGUAGES:
                self._scripts(element)
        self._interfaces()
        for element in self.document.root.walk():
            if element.tag == "menu" and element.get("name"):
                self._menu(element)
            elif element.tag == "variable":
                self._variable(element)
            elif element.tag == "profile" and "conference" not in element.place.file:
                self._profile(element)
            elif element.tag == "action" and element.get("function") == "execute":
                text = re.sub(r"\((.*)\)\s*$", r" \1", element.get("data"), flags=re.DOTALL)
                self.runs("a phrase", element, text)
            elif element.tag == "control" and element.get("action") == "execute_application":
                self.runs("a key in a conference", element, element.get("data"))
            elif element.tag == "agent" and element.get("contact"):
                self.runs("calls to an agent of a queue", element, f"bridge {element.get('contact')}")
            elif element.tag == "member" and element.text:
                self.runs("calls to a member of a queue", element, f"bridge {element.text.strip()}")
            elif element.tag == "param" and element.get("name") == "dial-string":
                self.runs("calls to a user", element, f"bridge {element.get('value')}")
        for name, (value, place) in self.document.globals.items():
            if HOOK.match(name):
                self._context(f"(every call: {name})", Action("set", f"{name}={value}", place), "every call")
        self._not_given()

    # --- helpers -----------------------------------------------------------------------------------------------------

    def say(self, rule: Rule, level: Level, place: Place, found: str, remedy: str, allowed: str = "") -> None:
        """Add a finding; one whose line is allowed is a note."""
        if allowed:
            level, remedy = Level.NOTE, f"allowed here: {allowed}"
        self.site.findings.append(Finding(rule, level, place, found, remedy))

    def runs(self, what: str, element: Element, text: str) -> None:
        """An application that runs outside of the dialplan: a way of its own."""
        application, _, data = text.strip().partition(" ")
        if application:
            action = Action(application.lower(), data, element.place, allowed=element.allowed)
            self._context(f"({what})", action, what)

    def _context(self, name: str, action: Action, what: str) -> None:
        name = f"{name[:60]} {action.place}"
        if name in self.dialplan.contexts:
            return
        condition = Condition(action.place, None, "", "on-false", False, None, [], [action], [], [], True)
        extension = Extension(what, action.place, False, [condition])
        self.dialplan.contexts[name] = Context(name, action.place)
        self.dialplan.contexts[name].add(extension)
        self.dialplan.actions.append((self.dialplan.contexts[name], extension, action))
        self.site.entries.append(Entry(name, action.place, what))

    def loaded(self, module: str) -> bool:
        """Whether a module is loaded, as far as the files tell."""
        return self.site.facts.loaded is None or module in self.site.facts.loaded

    # --- modules, and parts that stand elsewhere ---------------------------------------------------------------------

    def _modules(self) -> None:
        if "modules.conf" not in self.configurations:
            return
        lists = [self.configurations[name] for name in _MODULES if name in self.configurations]
        loads = [one for element in lists for one in element.walk() if one.tag == "load"]
        names = {one.get("module").rpartition("/")[2].removesuffix(".so") for one in loads}
        self.site.facts.loaded = frozenset(names)
        for one in loads:
            module = one.get("module").rpartition("/")[2].removesuffix(".so")
            if module in _REMOTE:
                found = f"{module} lets {_REMOTE[module]} run commands, and so start recordings"
                self.say(
                    Rule.POWER, Level.WARNING, one.place, found, "do not load it where it is not used", one.allowed
                )

    def _elsewhere(self, name: str, element: Element) -> None:
        """Modules that bring parts of the configuration from somewhere else."""
        module = "mod_" + name.removesuffix(".conf")
        for param in settings(element):
            bound = param.attributes.get("bindings")
            if param.get("name") == "xml-handler-bindings":
                bound = param.get("value")
            if bound is None and not (name == "xml_curl.conf" and param.get("name") == "gateway-url"):
                continue
            if not self.loaded(module):
                continue
            parts = [part for part in ("dialplan", "directory", "configuration") if bound is None or part in bound]
            if parts:
                found = f"{module} brings {', '.join(parts)} from elsewhere: what stands there was not read"
                self.say(
                    Rule.ELSEWHERE,
                    Level.UNKNOWN,
                    param.place,
                    found,
                    "read it by hand, or keep it in files",
                    param.allowed,
                )

    def _scripts(self, element: Element) -> None:
        for one in element.walk():
            script = one.get("value") if one.get("name") in ("startup-script", "startup_script") else ""
            if one.tag == "hook":
                script = one.get("script")
            if script:
                found = f"the script {script} runs beside the calls: a program that can record"
                self.say(
                    Rule.SCRIPT,
                    Level.UNKNOWN,
                    one.place,
                    found,
                    "read it by hand; allow the line by a comment",
                    one.allowed,
                )

    # --- where calls come in -----------------------------------------------------------------------------------------

    def _entries(self, name: str, element: Element) -> None:
        if name in _SIGNALLING:
            return
        holder = name.removesuffix(".conf")
        for one in element.walk():
            if one.tag in ("profile", "gateway", "interface", "span", "endpoint"):
                holder = one.get("name") or holder
            if one.tag != "param":
                continue
            if one.get("name") == "context":
                self.enter(one.get("value"), one.place, f"calls of {holder}")
            elif one.get("name") == "dialplan" and self._foreign(one.get("value")):
                found = f"calls of {holder} go to the dialplan {one.get('value')}, which is not among these files"
                self.say(Rule.ELSEWHERE, Level.UNKNOWN, one.place, found, "set it to XML, or read that one by hand")

    def _foreign(self, value: str) -> bool:
        return any(one.strip().lower() != "xml" for one in value.split(",") if one.strip())

    def enter(self, context: str, place: Place, what: str) -> None:
        """A context that calls come into."""
        if not context or any(known.context == context for known in self.site.entries):
            return
        self.site.named = True
        self.site.entries.append(Entry(context, place, what))

    def _variable(self, element: Element) -> None:
        """A variable of a user, a group, a domain or a gateway."""
        name, value = element.get("name").lower(), element.get("value")
        if name == "user_context":
            self.enter(value, element.place, "calls of users")
        elif HOOK.match(name):
            action = Action("set", f"{name}={value}", element.place, allowed=element.allowed)
            self._context(f"(variable {name})", action, "calls that get this variable")

    # --- what records ------------------------------------------------------------------------------------------------

    def _conferences(self, element: Element) -> None:
        facts = self.site.facts
        assert facts.conferences is not None
        for profile in (one for one in element.walk() if one.tag == "profile"):
            place = None
            for param in settings(profile):
                if param.get("name") == "auto-record" and param.get("value"):
                    place = param.place
                    found = f"auto-record: conferences of the profile {profile.get('name')} are recorded"
                    self.say(Rule.ENABLED, Level.WARNING, place, found, "remove auto-record", param.allowed)
            facts.conferences.setdefault(profile.get("name"), place)

    def _queues(self, element: Element) -> None:
        facts = self.site.facts
        assert facts.queues is not None
        for queue in (one for one in element.walk() if one.tag == "queue"):
            place = None
            for param in settings(queue):
                if param.get("name") == "record-template" and param.get("value"):
                    place = param.place
                    found = f"record-template: the queue {queue.get('name')} records every call that is answered"
                    self.say(Rule.ENABLED, Level.WARNING, place, found, "remove record-template", param.allowed)
            facts.queues.setdefault(queue.get("name"), place)

    def _profile(self, element: Element) -> None:
        """A SIP profile: a telephone can ask for a recording by INFO."""
        for param in settings(element):
            if param.get("name") == "record-template" and param.get("value"):
                found = (
                    f"record-template: telephones of the profile {element.get('name')} may start a recording (SIP INFO)"
                )
                self.say(Rule.ENABLED, Level.WARNING, param.place, found, "remove record-template", param.allowed)

    def _menu(self, element: Element) -> None:
        facts = self.site.facts
        assert facts.menus is not None
        entries = [
            (one.place, f"{one.get('action')} {one.get('param')}")
            for one in element.named("entry")
            if one.get("action") in ("menu-exec-app", "menu-sub")
        ]
        facts.menus.setdefault(element.get("name"), entries)

    # --- interfaces --------------------------------------------------------------------------------------------------

    def _interfaces(self) -> None:
        for element in self.document.root.walk():
            if element.tag == "list" and element.get("name"):
                self.lists.setdefault(element.get("name"), element)
        socket = self.configurations.get("event_socket.conf")
        if socket is not None and self.loaded("mod_event_socket"):
            self._event_socket(socket)
        switch = self.configurations.get("switch.conf")
        if switch is not None:
            expansion = [one for one in settings(switch) if one.get("name") == "api-expansion"]
            if not expansion or truth(expansion[-1].get("value")):
                place = expansion[-1].place if expansion else switch.place
                found = "api-expansion: what is expanded can run commands of the switch, ${system(...)} among them"
                self.say(
                    Rule.INTERFACE, Level.NOTE, place, found, "set api-expansion to false where no ${name(...)} is used"
                )

    def _event_socket(self, element: Element) -> None:
        values = {one.get("name"): one for one in settings(element)}
        listens = values.get("listen-ip")
        address = listens.get("value") if listens is not None else "::"
        outside = not _LOOPBACK.fullmatch(address)
        place = listens.place if listens is not None else element.place
        password = values.get("password")
        if password is None or password.get("value") in ("", KNOWN_PASSWORD):
            level = Level.ERROR if outside else Level.WARNING
            found = f"the event socket has the well-known password {KNOWN_PASSWORD}: who reaches it can record"
            where = password.place if password is not None else element.place
            self.say(Rule.INTERFACE, level, where, found, "set a long random password")
        acl = values.get("apply-inbound-acl")
        if outside and acl is None:
            found = f"the event socket listens on {address} and has no apply-inbound-acl"
            self.say(Rule.INTERFACE, Level.WARNING, place, found, "set listen-ip to 127.0.0.1, or an access list")
        elif outside and acl is not None and self._open(acl.get("value")):
            found = f"the access list {acl.get('value')} of the event socket lets everybody in"
            self.say(Rule.INTERFACE, Level.WARNING, acl.place, found, "deny by default, and allow single addresses")
        found = "who has the password of the event socket may start recordings"
        self.say(Rule.POWER, Level.NOTE, place, found, "give it to nobody but ivr-consent")

    def _open(self, name: str) -> bool:
        found = self.lists.get(name)
        if found is None:
            return name in ("any_v4.auto", "any_v6.auto", "0.0.0.0/0", "::/0")
        nodes = found.named("node")
        return found.get("default") == "allow" or any(
            one.get("type") == "allow" and one.get("cidr") in ("0.0.0.0/0", "::/0") for one in nodes
        )

    # --- what was not given ------------------------------------------------------------------------------------------

    def _not_given(self) -> None:
        """Configurations that actions hang on, where only some files were given."""
        facts = self.site.facts
        for application, file, found in (
            ("conference", "conference.conf", "whether its conference is recorded"),
            ("callcenter", "callcenter.conf", "whether its queue records"),
            ("ivr", "ivr.conf", "what its keys run"),
        ):
            if self.library.whole or file in self.configurations or (application == "ivr" and facts.menus):
                continue
            uses = [action for _, _, action in self.dialplan.actions if action.application == application]
            if uses:
                why = f"{file}.xml was not given: {found} is not known (here, and at {len(uses) - 1} other places)"
                remedy = f"audit the whole directory, or give {file}.xml too"
                self.say(Rule.UNREAD, Level.UNKNOWN, uses[0].place, why, remedy)
