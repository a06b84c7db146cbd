"""FreeSWITCH's XML: files joined as text the way its pre-processor does it, then elements with their file and line.

The pre-processor knows nothing of XML. It goes through a file line by line, fills in ``$${variables}``, leaves out
every line that holds ``<include>``, ``</include>`` or ``<?``, and puts files in the place of ``X-PRE-PROCESS`` lines,
even of those within a comment. What comes out of that is parsed. Commands are never run here: what ``exec`` would have
written is unknown, and is said. No entity of the file's own is expanded, no other document is opened, depth and number
of elements have bounds. (switch_xml.c of FreeSWITCH 1.10)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.parsers import expat

from ivr_consent.pbx.audit.findings import ALLOWING, Finding, Level, Place, Rule
from ivr_consent.pbx.audit.library import Library, Text, Unread
from ivr_consent.pbx.audit.results import HOLE

INSTALLED: Final = "/etc/freeswitch"
"""Where packages put the configuration."""

MAIN: Final = "freeswitch.xml"

DEEPEST: Final = 200
"""Elements within elements."""

MOST_ELEMENTS: Final = 1_000_000

DEEPEST_INCLUDE: Final = 100
"""Files that include files, as FreeSWITCH has it."""

MOST_LINES: Final = 2_000_000
LONGEST_LINE: Final = 1_000_000
"""Lines of the whole text, and characters of one after its variables are filled in."""

RUNTIME: Final = frozenset({
    "base_dir", "conf_dir", "log_dir", "run_dir", "db_dir", "mod_dir", "htdocs_dir", "script_dir", "storage_dir",
    "cache_dir", "recordings_dir", "grammar_dir", "temp_dir", "sounds_dir", "certs_dir", "fonts_dir", "images_dir",
    "data_dir", "localstate_dir", "hostname", "local_ip_v4", "local_ip_v6", "local_mask_v4", "switch_serial", "domain",
    "core_uuid", "zrtp_enabled", "nat_public_addr", "nat_private_addr", "nat_type", "external_rtp_ip",
    "external_sip_ip",
})  # fmt: skip  # rows that belong together
"""Variables that FreeSWITCH itself sets; any other that no file sets is empty."""

_OLD_COMMAND: Final = re.compile(r'<!--#(?P<cmd>\S*)(?: (?:[^"]*"(?P<quoted>[^"]*)"|(?P<bare>[^\r\n]*)))?')
_AMPERSAND: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
_DROPPED: Final = ("<include>", "</include>", "<?")


@dataclass(slots=True, eq=False)
class Element:
    """An element: ``text`` is what stands directly in it, ``allowed`` the reason of an allowing comment in its line."""

    tag: str
    attributes: dict[str, str]
    place: Place
    children: list[Element] = field(default_factory=list)
    text: str = ""
    allowed: str = ""

    def get(self, name: str, default: str = "") -> str:
        """An attribute's value."""
        return self.attributes.get(name, default)

    def named(self, *tags: str) -> list[Element]:
        """Its children of some tags."""
        return [child for child in self.children if child.tag in tags]

    def walk(self) -> Iterator[Element]:
        """It, and all that is within it, in the order of the text."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(reversed(element.children))


@dataclass(slots=True)
class Document:
    """The site's whole configuration as one tree, with what was found on the way."""

    root: Element
    findings: list[Finding] = field(default_factory=list)
    globals: dict[str, tuple[str, Place]] = field(default_factory=dict)
    """Variables that X-PRE-PROCESS sets for all calls, and where."""


def is_freeswitch(paths: list[Path]) -> bool:
    """Whether files are FreeSWITCH's: its main file, a dialplan folder with XML, or XML files alone."""
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        if (folder / MAIN).is_file():
            return True
        if any((folder / f"extensions.{kind}").exists() for kind in ("conf", "ael", "lua")):
            return False
        return any(any(folder.glob(pattern)) for pattern in ("dialplan/*.xml", "*.xml"))
    return bool(paths) and any(path.suffix == ".xml" for path in paths) and not any(path.is_dir() for path in paths)


def read(library: Library) -> Document:
    """Everything: the main file with all that it includes, or the files of the usual folders, or those given."""
    joiner = _Joiner(library)
    main = library.file(MAIN)
    if main is not None:
        joiner.file(main, 0)
    else:
        joiner.line("<document>\n", Place(library.name(library.root)))
        for section, paths in _loose(library):
            joiner.line(f'<section name="{section}">\n', Place(section))
            for path in paths:
                joiner.file(path, 0)
            joiner.line("</section>\n", Place(section))
        joiner.line("</document>\n", Place(library.name(library.root)))
    document = _Parser(joiner).parse()
    document.globals = joiner.sets
    return document


def parse_text(text: str) -> Document:
    """One text of ours as a document."""
    joiner = _Joiner(Library(Path("/")))
    joiner.lines(Text("", text.split("\n")), Path("/"), 0)
    return _Parser(joiner).parse()


def _loose(library: Library) -> Iterator[tuple[str, list[Path]]]:
    """Files without a main file, by the section that it would have put them into; ``site`` is for any."""
    if library.given:
        vars_first = sorted(library.given, key=lambda path: path.name != "vars.xml")
        yield "site", vars_first
        return
    root = library.root
    yield "site", sorted(root.glob("*.xml"), key=lambda path: (path.name != "vars.xml", path.name))
    for section, folder in (
        ("configuration", "autoload_configs"),
        ("dialplan", "dialplan"),
        ("directory", "directory"),
    ):
        yield section, sorted((root / folder).glob("*.xml"))


class _Joiner:
    """The text that FreeSWITCH parses, with the place of each of its lines."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.text: list[str] = []
        self.places: list[Place] = []
        self.findings: list[Finding] = []
        self.variables: dict[str, str] = {"conf_dir": str(library.root)}
        self.sets: dict[str, tuple[str, Place]] = {}
        self.allowed: dict[Place, str] = {}
        self._open: list[str] = []
        self._carried = ""
        self._full = False

    def say(self, rule: Rule, level: Level, place: Place, found: str, remedy: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(rule, level, place, found, remedy))

    def line(self, text: str, place: Place) -> None:
        """Add a line, which ends with its line break."""
        if len(self.places) >= MOST_LINES:
            self._stop(place)
            return
        self.text.append(self._carried + text)
        self._carried = ""
        self.places.append(place)

    def _stop(self, place: Place) -> None:
        if not self._full:
            why = f"more than {MOST_LINES} lines with all that is included: the rest was not read"
            self.say(Rule.UNREAD, Level.UNKNOWN, place, why, "audit parts of the site")
        self._full = True

    def file(self, path: Path, depth: int, by: Place | None = None) -> None:
        """Add a file with all that it includes."""
        name = self.library.name(path)
        if depth > DEEPEST_INCLUDE or name in self._open or self._full:
            if not self._full:
                why = f"{name} includes itself, or files include each other too deeply"
                self.say(Rule.UNREAD, Level.UNKNOWN, by or Place(name), why, "include each file once")
            return
        found = self.library.open(path)
        if isinstance(found, Unread):
            why = f"{found.name}: {found.why}; what it says is not known"
            self.say(Rule.UNREAD, Level.UNKNOWN, by or Place(found.name), why, "make it readable for the audit")
            return
        self._open.append(name)
        self.lines(found, path.parent, depth)
        self._open.pop()

    def lines(self, text: Text, folder: Path, depth: int) -> None:
        """Add the lines of a file."""
        within = False  # a comment that began with <!--#
        for number, raw in enumerate(text.lines, 1):
            place = Place(text.name, number)
            if "ivr-consent audit" in raw and (allowed := ALLOWING.search(raw)):
                self.allowed[place] = re.sub(r"\s*--+>?.*", "", allowed[1]).strip() or "no reason given"
            line, seen = self._filled(raw, place)
            if any(mark in seen for mark in _DROPPED):
                self._left_out(raw, place)
                continue
            if within:
                _, end, line = seen.partition("-->")
                if not end:
                    continue
                within = False
                if len(seen) < len(raw):  # cut off at its first variable, its line break with it
                    self._carried += line
                    continue
            if (at := line.lower().find("x-pre-process")) >= 0:
                if at and line[at - 1] == "<":
                    self._command(line[at:], folder, depth, place)
                continue
            if "<!--#" in line:
                within = self._old_command(line, folder, depth, place)
                continue
            self.line(line + "\n", place)

    def _filled(self, line: str, place: Place) -> tuple[str, str]:
        """A line with its ``$${variables}``, and as much of it as the pre-processor looks at for ``<include>``."""
        if "$${" not in line:
            return line, line
        parts: list[str] = []
        at, seen, length = 0, "", 0
        while (begin := line.find("$${", at)) >= 0:
            end = _closing(line, begin + 2)
            if end < 0:
                break
            value = self._value(line[begin + 3 : end])
            parts += (line[at:begin], value)
            length += begin - at + len(value)
            seen = seen or line[:end]
            at = end + 1
            if length > LONGEST_LINE:
                self.say(Rule.UNREAD, Level.UNKNOWN, place, "the line grows too long by its variables", "shorten it")
                return "", ""
        return "".join([*parts, line[at:]]), seen or line

    def _value(self, name: str) -> str:
        value = self.variables.get(name)
        if value is not None:
            return value
        return HOLE if name in RUNTIME or HOLE in name or self.library.given else ""

    def _left_out(self, line: str, place: Place) -> None:
        """A line that FreeSWITCH leaves out as a whole, although there is more in it."""
        rest = re.sub(r"</?include>|<\?[^?]*\?>|<!--[^-]*-->", "", line[:2000])
        if "<" in rest and not rest.strip().startswith("<!--"):
            found = "FreeSWITCH leaves out every line with <include>, </include> or <?: what else stands in it is lost"
            self.say(Rule.DROPPED, Level.WARNING, place, found, "write <include> into a line of its own")

    def _command(self, line: str, folder: Path, depth: int, place: Place) -> None:
        command, rest = _quoted(line, "cmd")
        data, _ = _quoted(rest, "data")
        if command is not None and data is not None:
            self._do(command.lower(), data, folder, depth, place)

    def _old_command(self, line: str, folder: Path, depth: int, place: Place) -> bool:
        """``<!--#include "x" -->``; whether the comment goes on in the next line."""
        begin = line.index("<!--#")
        rest = line[begin:]
        head, end, tail = rest.partition("-->")
        self.line(line[:begin] + (tail if end else "") + "\n", place)
        found = _OLD_COMMAND.match(head)
        if found is not None:
            data = found["quoted"] if found["quoted"] is not None else found["bare"]
            if data is not None:
                self._do(found["cmd"].lower(), data, folder, depth, place)
        return not end

    def _do(self, command: str, data: str, folder: Path, depth: int, place: Place) -> None:
        if command == "set":
            name, equals, value = data.partition("=")
            if equals:
                self.variables[name.rstrip(" ")] = value.lstrip(" ")
                self.sets[name.strip().lower()] = (value.lstrip(" "), place)
        elif command in ("exec-set", "env-set", "stun-set"):
            name = data.partition("=")[0].strip()
            self.variables[name] = HOLE
            if command == "exec-set":
                found = f"X-PRE-PROCESS exec-set: the value of {name} is what a command writes"
                self.say(Rule.ELSEWHERE, Level.NOTE, place, found, "set it to a fixed value")
        elif command == "include":
            self._include(data, folder, depth, place)
        elif command == "exec":
            found = f"X-PRE-PROCESS exec: a part of the configuration is what the command {data!r} writes"
            self.say(Rule.ELSEWHERE, Level.UNKNOWN, place, found, "write what it says into a file, and include that")

    def _include(self, pattern: str, folder: Path, depth: int, place: Place) -> None:
        if HOLE in pattern:
            found = f"X-PRE-PROCESS include {pattern.replace(HOLE, '...')}: which file that is, is not known"
            self.say(Rule.ELSEWHERE, Level.UNKNOWN, place, found, "name the file")
            return
        paths = self.library.matching(pattern if pattern.startswith("/") else f"{folder}/{pattern}")
        if not self.library.whole and not paths:
            found = f"X-PRE-PROCESS include {pattern}: no such file is beside it"
            self.say(Rule.ELSEWHERE, Level.UNKNOWN, place, found, "audit the whole directory")
        for path in paths:
            self.file(Path(os.path.normpath(path)), depth + 1, place)


def _quoted(line: str, name: str) -> tuple[str | None, str]:
    """What stands in double quotes after a name and an equals sign, and what comes after that."""
    low = line.lower()
    at = 0
    for mark in (name, "=", '"'):
        at = low.find(mark, at)
        if at < 0:
            return None, ""
        at += len(mark)
    value, _, rest = line[at:].partition('"')
    return value, rest


def _closing(line: str, begin: int) -> int:
    """Where the brace at ``begin`` is closed; -1 when it is not."""
    depth = 0
    for at in range(begin, len(line)):
        if line[at] == "{":
            depth += 1
        elif line[at] == "}":
            depth -= 1
            if depth == 0:
                return at
    return -1


class _RefusedError(Exception):
    """Something in the XML that is not followed."""


class _Parser:
    """The joined text as a tree. An error ends it: what came before stays."""

    def __init__(self, joiner: _Joiner) -> None:
        self.joiner = joiner
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._doctype
        self.top = Element("", {}, Place(joiner.library.name(joiner.library.root)))
        self.open = [self.top]
        self.count = 0

    def parse(self) -> Document:
        """The tree, whose root is the outermost element."""
        findings = self.joiner.findings
        text = _AMPERSAND.sub("&amp;", "".join(self.joiner.text))
        why = ""
        try:
            self.parser.Parse(text.encode("utf-8", "replace"), True)
        except expat.ExpatError as error:
            why = expat.errors.messages[error.code]
        except _RefusedError as error:
            why = str(error)
        if why:
            found = f"not XML as it should be: {why}. What comes after it was not read"
            remedy = "mend it; FreeSWITCH's own parser forgives more, or reads it otherwise than it looks"
            findings.append(Finding(Rule.UNREAD, Level.UNKNOWN, self._place(), found, remedy))
        root = self.top.children[0] if self.top.children else self.top
        return Document(root, findings)

    def _place(self) -> Place:
        places = self.joiner.places
        number = min(self.parser.CurrentLineNumber, len(places))
        return places[number - 1] if places else self.top.place

    def _doctype(self, *_: object) -> None:
        raise _RefusedError("a DOCTYPE, whose entities this audit does not expand")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if self.count > MOST_ELEMENTS or len(self.open) > DEEPEST:
            raise _RefusedError(f"more than {MOST_ELEMENTS} elements, or {DEEPEST} within each other")
        place = self._place()
        element = Element(tag, attributes, place, allowed=self.joiner.allowed.get(place, ""))
        self.open[-1].children.append(element)
        self.open.append(element)

    def _end(self, tag: str) -> None:
        element = self.open.pop()
        if not element.allowed and self.joiner.allowed:
            element.allowed = self.joiner.allowed.get(self._place(), "")

    def _data(self, data: str) -> None:
        if data.strip():
            self.open[-1].text += data
