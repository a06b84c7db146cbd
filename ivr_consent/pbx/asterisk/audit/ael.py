"""``extensions.ael`` into a dialplan: blocks become priorities with jumps, as Asterisk compiles them.

What is not understood is said, and the rest of its context is left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ivr_consent.pbx.asterisk.audit.ael_code import MACRO_EXTENSION, Code, NotUnderstood
from ivr_consent.pbx.asterisk.audit.dialplan import Context, Dialplan, Include, Step
from ivr_consent.pbx.asterisk.audit.sections import DEEPEST, refused, unread
from ivr_consent.pbx.audit.findings import Finding, Level, Place, Rule
from ivr_consent.pbx.audit.library import Library, Text, Unread

_SPACE: Final = re.compile(r"\s*")
_COMMENT: Final = re.compile(r"//|/\*|[()\n]")
_WORD: Final = re.compile(r"[^\s(){};=:,|&\"<>]+")
_INCLUDE: Final = re.compile(r'#include\s+["<]?([^">\n]+)[">]?')
_RESUME: Final = re.compile(r"^[ \t]*(?:abstract[ \t]+|extend[ \t]+)?(?:context|macro|globals)\b", re.MULTILINE)

MOST_ERRORS: Final = 20
"""Places of a file that are not understood; after that the rest is left out."""


def _uncommented(text: str) -> str:
    """The text without its comments; within brackets, as in ``agi://``, there are none. Ends of lines stay."""
    pieces, begin, depth = [], 0, 0
    for _ in range(len(text)):
        found = _COMMENT.search(text, begin)
        if found is None:
            break
        mark = found[0]
        end = found.end()
        if mark in ("//", "/*") and depth == 0:
            close = text.find("\n" if mark == "//" else "*/", end)
            close = len(text) if close < 0 else close + (0 if mark == "//" else 2)
            pieces += [text[begin : found.start()], "\n" * text.count("\n", found.start(), close)]
            begin = close
            continue
        depth = max(0, depth + (mark == "(") - (mark == ")"))
        pieces.append(text[begin:end])
        begin = end
    return "".join([*pieces, text[begin:]])


def load(library: Library, path: Path, dialplan: Dialplan) -> list[Finding]:
    """Read a file with what it includes, and add its contexts."""
    findings: list[Finding] = []
    _file(library, path, dialplan, findings, (str(path),), Place(library.name(path)))
    return findings


def _file(
    library: Library, path: Path, dialplan: Dialplan, findings: list[Finding], stack: tuple[str, ...], by: Place
) -> None:
    text = library.open(path)
    if isinstance(text, Unread):
        findings.append(unread(by, f"{text.name}: {text.why}"))
        return
    reader = Reader(text, dialplan, findings)
    for place, name in reader.file():
        found = library.matching(name)
        if not found:
            findings.append(refused(place, f"#include {name}: there is no such file"))
        for inner in found:
            if str(inner) in stack or len(stack) > DEEPEST:
                findings.append(refused(place, f"#include {name} includes itself, or too deep"))
            else:
                _file(library, inner, dialplan, findings, (*stack, str(inner)), place)


class Reader:
    """Reads one file: where it is in the text, and the context that it adds to."""

    def __init__(self, text: Text, dialplan: Dialplan, findings: list[Finding]) -> None:
        self.name = text.name
        self.dialplan = dialplan
        self.findings = findings
        self.text = _uncommented("\n".join(text.lines))
        self._errors = 0
        self.at = 0
        self._line, self._counted = 1, 0

    # --- the text ----------------------------------------------------------------------------------------------------

    @property
    def place(self) -> Place:
        """Where we are; asked in ascending order, so that each line is counted once."""
        if self.at < self._counted:
            self._line, self._counted = 1, 0
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return Place(self.name, self._line)

    def skip(self) -> None:
        """Over spaces."""
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        self.skip()
        return self.text[self.at : self.at + 1]

    def take(self, wanted: str) -> bool:
        """Take a text when it comes next."""
        self.skip()
        if self.text.startswith(wanted, self.at):
            self.at += len(wanted)
            return True
        return False

    def need(self, wanted: str) -> None:
        """Take a text that has to come next."""
        if not self.take(wanted):
            raise NotUnderstood(f"{wanted} is wanted")

    def word(self) -> str:
        """A word; empty when none comes next."""
        self.skip()
        found = _WORD.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def upto(self, ends: str) -> str:
        """A text up to one of some characters that stands in no brackets; that character is not taken."""
        begin, depth = self.at, 0
        while self.at < len(self.text):
            character = self.text[self.at]
            if depth == 0 and character in ends:
                return " ".join(self.text[begin : self.at].split())
            if character == "\\":
                self.at += 1
            elif character in "([{":
                depth += 1
            elif character in ")]}":
                depth -= 1
                if depth < 0:
                    break
            self.at += 1
        raise NotUnderstood(f"one of {ends} is wanted")

    def bracket(self) -> str:
        """What stands in the brackets that come next."""
        self.need("(")
        found = self.upto(")")
        self.at += 1
        return found

    # --- the file ----------------------------------------------------------------------------------------------------

    def file(self) -> list[tuple[Place, str]]:
        """Everything in it; the includes come back."""
        includes = []
        while self.peek():
            place = self.place
            if found := _INCLUDE.match(self.text, self.at):
                includes.append((place, found[1].strip()))
                self.at = found.end()
                continue
            if self.take(";"):
                continue
            try:
                self._object()
            except (NotUnderstood, RecursionError) as error:
                here = self.place
                self.findings.append(unread(here, f"this AEL is not understood: {error or 'too deep'}"))
                self._errors += 1
                found = _RESUME.search(self.text, min(self.at + 1, len(self.text)))
                self.at = len(self.text) if found is None or self._errors > MOST_ERRORS else found.start()
        return includes

    def _object(self) -> None:
        word = self.word()
        while word in ("abstract", "extend"):
            word = self.word()
        if word == "globals":
            self.need("{")
            while not self.take("}"):
                place, name = self.place, self.word()
                self.need("=")
                self.dialplan.globals[name] = (self.upto(";").strip('"'), place)
                self.need(";")
        elif word == "context":
            place = self.place
            self._context(self.dialplan.context(self.word() or "default", place))
        elif word == "macro":
            place = self.place
            self._macro(self.dialplan.context(self.word(), place))
        else:
            raise NotUnderstood("context, macro or globals is wanted")

    def _context(self, context: Context) -> None:
        self.need("{")
        while not self.take("}"):
            if self.take(";"):
                continue
            place, begin = self.place, self.at
            word = self.word()
            if word in ("includes", "switches", "eswitches"):
                self._list(context, word)
            elif word == "ignorepat":
                self.need("=>")
                self.upto(";")
            else:
                self.at = begin
                self._extension(context, place)

    def _list(self, context: Context, word: str) -> None:
        self.need("{")
        while not self.take("}"):
            self.skip()
            place, text = self.place, self.upto(";")
            self.need(";")
            if word == "includes":
                name, *times = text.replace("|", ",").split(",")
                context.includes.append(Include(name.strip().strip('"'), bool(times), place))
            else:
                context.switches.append(Step("switch", text, place))

    def _extension(self, context: Context, place: Place) -> None:
        begin = self.at
        word = self.word()
        if word in ("hint", "regexten"):
            if word == "hint":
                self.bracket()
        elif self.peek() == "=" and not self.text.startswith("=>", self.at):
            self.upto(";")  # a variable of the context
            return
        else:
            self.at = begin
        self.skip()
        end = self.text.find("=>", self.at)
        if end < 0 or end - self.at > 200:
            raise NotUnderstood("=> is wanted")
        name = self.text[self.at : end].strip()
        if "{" in name or ";" in name:
            raise NotUnderstood("an extension is wanted")
        self.at = end + 2
        code = Code(self, place)
        code.statement(0)
        self._add(context, name, code)

    def _macro(self, context: Context) -> None:
        place = self.place
        names = [name.strip() for name in self.bracket().split(",") if name.strip()]
        code = Code(self, place)
        for number, name in enumerate(names, 1):
            code.add("Set", f"LOCAL({name})=${{ARG{number}}}", place)
        self.need("{")
        while not self.take("}"):
            self.skip()
            if re.match(r"catch\b", self.text[self.at : self.at + 6]):
                self.at += 5
                caught, name = Code(self, self.place), self.word()
                caught.statement(0)
                self._add(context, name, caught)
            else:
                code.statement(0)
        code.add("Return", "", place)
        self._add(context, MACRO_EXTENSION, code)

    def _add(self, context: Context, name: str, code: Code) -> None:
        name, _, caller = name.partition("/")
        extension = context.extension(name, caller)
        for number, (application, arguments, place) in enumerate(code.steps, 1):
            first = extension.steps.setdefault(number, Step(application.lower(), arguments, place, application))
            if number == 1 and first.place != place:
                why = f"{name} stands at {first.place} already: Asterisk leaves this one out"
                self.findings.append(Finding(Rule.REFUSED_FILE, Level.NOTE, place, why, "remove one of them"))
                return
        extension.labels.update(code.labels)
