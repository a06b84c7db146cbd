"""Asterisk's configuration syntax, read as Asterisk reads it: sections, templates, includes, comments.

What differs from an INI file, each seen on the running program: a section may stand twice and is then one context;
``[a](b)`` begins with b's lines; ``[a](+)`` goes on with the first section of that name, whose letters may be large or
small; ``#include`` is relative to the directory of the configuration, its first lines belong to the section that
includes it (or to the last one of an include before), and the includer's section goes on after it; ``;-- --;`` is a
comment over lines, ``\\;`` none at all, and a ``--;`` that ends nothing turns the rest of the file into a comment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from ivr_consent.pbx.audit.findings import ALLOWING, Finding, Level, Place, Rule
from ivr_consent.pbx.audit.library import Library, Text, Unread

DEEPEST: Final = 10
"""Includes within includes; Asterisk refuses the whole configuration beyond."""

LONGEST: Final = 8190
"""Bytes of a line; Asterisk leaves out longer ones."""

MOST_RECENT: Final = 100
"""Lines back to which ``+=`` adds."""

MOST_INHERITED: Final = 500_000
"""Lines that sections take from templates, all together."""

"""In a line's comment: a recording there is the site's own decision, for the reason that follows."""


class Entry(NamedTuple):
    """One line of a section: ``name = value``. ``allowed`` is the reason of an allowing comment."""

    name: str
    value: str
    place: Place
    allowed: str = ""


@dataclass(slots=True)
class Section:
    """One ``[name]`` with its lines, those of its templates first."""

    name: str
    place: Place
    template: bool = False
    entries: list[Entry] = field(default_factory=list)

    def last(self, name: str) -> Entry | None:
        """The last line of a name: for most options the one that counts."""
        return next((entry for entry in reversed(self.entries) if entry.name.lower() == name), None)

    def value(self, name: str, default: str = "") -> str:
        """Its value."""
        found = self.last(name)
        return default if found is None else found.value

    def true(self, name: str) -> bool:
        """Whether it is switched on, in Asterisk's words for that."""
        return truth(self.value(name))


def truth(value: str) -> bool:
    """What Asterisk takes for yes."""
    return value.strip().lower() in {"yes", "true", "y", "t", "1", "on"}


@dataclass(slots=True)
class Configuration:
    """A file with all that it includes."""

    sections: list[Section] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    _first: dict[str, Section] = field(default_factory=dict)

    def active(self) -> list[Section]:
        """The sections that are not templates."""
        return [section for section in self.sections if not section.template]

    def get(self, name: str) -> Section | None:
        """The first section of a name that is not a template."""
        return next((section for section in self.active() if section.name.lower() == name.lower()), None)

    def add(self, section: Section) -> None:
        """Add a section."""
        self.sections.append(section)
        self._first.setdefault(section.name.lower(), section)

    def find(self, name: str) -> Section | None:
        """The first section of a name, templates too; large and small letters are the same."""
        return self._first.get(name.lower())


def read(library: Library, path: Path) -> Configuration:
    """Read a file with what it includes. What cannot be read is a finding, and the rest is read on."""
    configuration = Configuration()
    text = library.open(path)
    if isinstance(text, Unread):
        configuration.findings.append(unread(Place(text.name), text.why))
    else:
        Reader(library, configuration).file(text, (str(path),))
    return configuration


def unread(place: Place, why: str) -> Finding:
    """A file that was not read: what it holds is not known."""
    return Finding(
        Rule.UNREAD,
        Level.UNKNOWN,
        place,
        f"not read ({why}): what it does is not known",
        "make the file readable for the audit, or remove what includes it",
    )


def refused(place: Place, why: str) -> Finding:
    """Something for which Asterisk does not load the configuration."""
    return Finding(
        Rule.REFUSED_FILE,
        Level.UNKNOWN,
        place,
        f"{why}: Asterisk loads nothing of this configuration, and what was loaded before goes on",
        "mend the line; until then the audit tells what would be if Asterisk left it out",
    )


class _Comments:
    """The comment over lines. ``depth`` is not 0 within one; below 0 after a ``--;`` that ended nothing."""

    def __init__(self) -> None:
        self.depth = 0

    def strip(self, line: str) -> str | None:
        """A line without its comments; ``None`` where it lies within one. In the order of Asterisk's own reader."""
        if ";" not in line:
            return None if self.depth else line
        kept, whole = ("", True) if self.depth == 0 else (None, False)  # whole: what follows belongs to what is kept
        rest, begin = line, 0
        while (at := rest.find(";", begin)) >= 0:
            if at > begin and rest[at - 1] == "\\":
                rest, begin = rest[: at - 1] + rest[at:], at
            elif rest[at + 1 : at + 3] == "--" and rest[at + 3 : at + 4] != "-":
                if whole:
                    kept, whole = (kept or "") + rest[:at], False
                self.depth += 1
                rest, begin = rest[at + 3 :], 0
            elif at >= begin + 2 and rest[at - 2 : at] == "--":
                self.depth -= 1
                if self.depth == 0:
                    kept, whole = kept or "", True
                    rest, begin = rest[at + 1 :], 0
                else:
                    begin = at + 1
            elif self.depth == 0:
                return (kept or "") + rest[:at] if whole else kept
            else:
                begin = at + 1
        return kept if not whole else (kept or "") + rest


class Reader:
    """Reads one configuration: the sections so far, and where it is."""

    def __init__(self, library: Library, configuration: Configuration) -> None:
        self.library = library
        self.configuration = configuration
        self.current: Section | None = None
        self.inherited = 0
        self.findings = configuration.findings

    def file(self, text: Text, stack: tuple[str, ...]) -> None:
        """One file; what it includes is read in its place, and its own section goes on after that.

        But what is included next begins in the last section of all, which may be one of an earlier include's.
        """
        comments = _Comments()
        section = self.current
        for number, raw in enumerate(text.lines, 1):
            if len(raw) > LONGEST and len(raw.encode("utf-8", "replace")) > LONGEST:
                place = Place(text.name, number)
                why = f"the line is longer than {LONGEST} bytes and Asterisk leaves it out"
                self.findings.append(Finding(Rule.REFUSED_FILE, Level.WARNING, place, why, "shorten the line"))
                continue
            before = comments.depth
            line = comments.strip(raw)
            if comments.depth < 0 <= before:
                self._ended_nothing(Place(text.name, number))
            if line is None or not (line := line.strip()):
                continue
            place = Place(text.name, number)
            if line[0] == "[":
                section = self._section(line, place) or section
                self.current = section
            elif line[0] == "#":
                self._directive(line, place, stack)
            elif section is None:
                self.findings.append(refused(place, "the line stands before the first [section]"))
            else:
                allowed = ALLOWING.search(raw, len(line)) if "ivr-consent audit" in raw else None
                self._line(section, line, place, allowed[1].strip() or "no reason given" if allowed else "")
        if comments.depth > 0:
            why = "a comment (;--) is not ended: the rest of the file is not read by Asterisk"
            place = Place(text.name, len(text.lines))
            self.findings.append(Finding(Rule.REFUSED_FILE, Level.WARNING, place, why, "end it with --;"))

    def _ended_nothing(self, place: Place) -> None:
        why = "a --; ends no comment: Asterisk takes the rest of the file for one"
        self.findings.append(Finding(Rule.REFUSED_FILE, Level.WARNING, place, why, "remove it"))

    def _section(self, line: str, place: Place) -> Section | None:
        name, closed, rest = line[1:].partition("]")
        if not closed:
            self.findings.append(refused(place, "a section's name is not closed with ]"))
            return None
        made: Section | None = Section(name, place)
        section = made
        assert section is not None
        if rest.startswith("("):
            for option in rest[1:].partition(")")[0].split(","):
                if option == "!":
                    section.template = True
                elif option.startswith("+"):
                    found = self.configuration.find(name)
                    if found is None:
                        self.findings.append(refused(place, f"[{name}](+) adds to a section that is not there"))
                        continue
                    found.template = found.template or section.template
                    section, made = found, None
                else:
                    base = self.configuration.find(option)
                    if base is None:
                        self.findings.append(refused(place, f"[{name}] takes its lines from [{option}]: not there"))
                    elif self.inherited + len(base.entries) > MOST_INHERITED:
                        self.findings.append(unread(place, f"more than {MOST_INHERITED} lines come from templates"))
                    else:
                        self.inherited += len(base.entries)
                        section.entries.extend(base.entries)
        if made is not None:
            self.configuration.add(made)
        return section

    def _line(self, section: Section, line: str, place: Place, allowed: str) -> None:
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            why = "the line has no = sign, or nothing before it: Asterisk leaves it out"
            self.findings.append(Finding(Rule.REFUSED_FILE, Level.NOTE, place, why, "mend or remove the line"))
            return
        if name.endswith("+"):
            name = name[:-1].strip()
            recent = reversed(section.entries[-MOST_RECENT:])
            before = next((entry.value for entry in recent if entry.name.lower() == name.lower()), "")
            value = before + value.strip()
            if len(value) > LONGEST:
                self.findings.append(unread(place, f"{name} is put together to more than {LONGEST} characters"))
                return
            section.entries.append(Entry(name, value, place, allowed))
            return
        section.entries.append(Entry(name.strip(), value.removeprefix(">").strip(), place, allowed))

    def _directive(self, line: str, place: Place, stack: tuple[str, ...]) -> None:
        word, _, argument = line[1:].partition(" ") if " " in line else line[1:].partition("\t")
        word, argument = word.strip().lower(), argument.strip()
        for opening, closing in (('"', '"'), ("<", ">")):
            if len(argument) > 1 and argument[0] == opening and argument[-1] == closing:
                argument = argument[1:-1]
        if word == "exec":
            self.findings.append(
                Finding(
                    Rule.ELSEWHERE,
                    Level.UNKNOWN,
                    place,
                    f"#exec {argument}: a program writes this part of the configuration; it was not run",
                    "audit what it writes: put its output into a file and include that, or audit the file by itself",
                )
            )
        elif word in ("include", "tryinclude"):
            self._include(argument, word == "tryinclude", place, stack)
        else:
            why = f"#{word} is no directive of Asterisk: left out"
            self.findings.append(Finding(Rule.REFUSED_FILE, Level.NOTE, place, why, "mend or remove the line"))

    def _include(self, name: str, optional: bool, place: Place, stack: tuple[str, ...]) -> None:
        paths = self.library.matching(name)
        if not paths and not optional:
            self.findings.append(refused(place, f"#include {name}: there is no such file"))
        for path in paths:
            if str(path) in stack or len(stack) > DEEPEST:
                why = "includes itself" if str(path) in stack else f"includes more than {DEEPEST} deep"
                self.findings.append(refused(place, f"#include {name} {why}"))
                continue
            text = self.library.open(path)
            if isinstance(text, Unread):
                self.findings.append(unread(place, f"{text.name}: {text.why}"))
            else:
                self.file(text, (*stack, str(path)))
