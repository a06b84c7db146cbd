"""Reading a notice's file: from a parsed TOML document to a :class:`~ivr_consent.core.notice.Notice`.

Every problem is gathered, with its file, line and key, so that an administrator sees all of them at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ivr_consent.core.errors import NoticeError, Problem, shown
from ivr_consent.core.notice import (
    CHOICE,
    CONDITIONS,
    DIGITS,
    ELEMENTS,
    IDENTIFIER,
    LANGUAGE,
    PLACEHOLDERS,
    REFERENCE,
    RESULTS,
    Choice,
    Notice,
    Purpose,
    Segment,
    StudioTake,
    placeholders,
)

# Whole notices are a few kilobytes; these keep a wrong file from becoming an hour of speech.
MAX_SEGMENTS = 64
MAX_TEXT = 2000
MAX_FILE_NAME = 200

Lines = Callable[[tuple[str | int, ...]], int | None]
"""Tells in which line of its file a key stands, as a path of names and of numbers from 0; ``None``: not known."""


class _Reader:
    """Reads one notice document and gathers every problem, so that an administrator sees all of them at once."""

    def __init__(self, source: str, lines: Lines) -> None:
        self.source = source
        self.lines = lines
        self.problems: list[Problem] = []
        self.ids: set[str] = set()
        self.places: dict[str, str] = {}

    def where(self, key: str) -> str:
        """File, line where it is known, and key (``segments[3].text``: the third)."""
        path: list[str | int] = []
        for part in key.split("."):
            item = re.fullmatch(r"([a-z]+)\[([0-9]{1,9})\]", part)
            path += [item[1], int(item[2]) - 1] if item else [part]
        line = self.lines(tuple(path)) if key else None
        shown = "".join(character if character.isprintable() else "?" for character in key)
        return f"{self.source}:{line}: {shown}" if line is not None else f"{self.source}: {shown}"

    def problem(self, key: str, found: str, remedy: str) -> None:
        self.problems.append(Problem(self.where(key), found, remedy))

    def placed(self, prompt: str, key: str) -> None:
        """Remember where a prompt's text stands."""
        if prompt:
            self.places.setdefault(prompt, self.where(key))

    def text(self, table: Mapping[str, Any], name: str, key: str) -> str:
        value = table.get(name)
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
            self.problem(
                f"{key}.{name}",
                f"found {_found(value)}" if name in table else "missing",
                f"write a text of 1 to {MAX_TEXT} characters",
            )
            return ""
        for character in value:
            if (ord(character) < 32 and character != "\n") or 0x7F <= ord(character) < 0xA0:
                self.problem(f"{key}.{name}", f"found the control character U+{ord(character):04X}", "remove it")
                return ""
        value = " ".join(value.split())
        try:
            unknown = placeholders(value) - PLACEHOLDERS
        except NoticeError as error:
            self.problem(f"{key}.{name}", str(error), "use only: " + ", ".join(sorted(PLACEHOLDERS)))
            return value
        if unknown:
            self.problem(
                f"{key}.{name}",
                "unknown placeholder {" + sorted(unknown)[0] + "}",
                "use only: " + ", ".join(sorted(PLACEHOLDERS)),
            )
        return value

    def identifier(self, table: Mapping[str, Any], key: str, *, unique: bool = True) -> str:
        value = table.get("id")
        if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
            self.problem(f"{key}.id", f"found {value!r}", "use small letters, digits and hyphens, at most 64")
            return ""
        if unique and value in self.ids:
            self.problem(f"{key}.id", f"{value!r} stands twice", "give every segment an id of its own")
        self.ids.add(value)
        return value

    def reserve(self, *names: str) -> None:
        """Ids that :func:`compose` gives itself: a segment of that name would share their audio file."""
        for name in names:
            if name in self.ids:
                self.problem(name, "an id that a purpose or a result needs", "give that segment another id")
            self.ids.add(name)

    def tables(self, document: Mapping[str, Any], name: str, *, needed: bool) -> list[Mapping[str, Any]]:
        value = document.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.problem(name, f"found {type(value).__name__}", f"write it as [[{name}]] tables")
            return []
        if (needed and not value) or len(value) > MAX_SEGMENTS:
            self.problem(name, f"found {len(value)} of them", f"write 1 to {MAX_SEGMENTS} [[{name}]] tables")
        return list(value)

    def known(self, table: Mapping[str, Any], allowed: set[str], key: str) -> None:
        for name in table:
            if name not in allowed:
                self.problem(f"{key}.{name}" if key else name, "unknown key", "allowed: " + ", ".join(sorted(allowed)))

    def segment(self, table: Mapping[str, Any], key: str) -> Segment:
        self.known(table, {"id", "text", "elements", "only_if"}, key)
        elements = table.get("elements", [])
        if not isinstance(elements, list) or not all(type(number) is int and number in ELEMENTS for number in elements):
            self.problem(f"{key}.elements", f"found {elements!r}", "list numbers from 1 to 12")
            elements = []
        only_if = table.get("only_if")
        if only_if is not None and only_if not in CONDITIONS:
            self.problem(f"{key}.only_if", f"found {only_if!r}", f"the conditions are: {', '.join(CONDITIONS)}")
            only_if = None
        if only_if and elements:
            self.problem(
                f"{key}.only_if", "a mandatory element under a condition", "say it in a segment that is always played"
            )
        segment = Segment(self.identifier(table, key), self.text(table, "text", key), tuple(elements), only_if)
        self.placed(segment.id, f"{key}.text")
        return segment

    def purpose(self, table: Mapping[str, Any], key: str) -> Purpose:
        self.known(table, {"id", "name", "statement", "question"}, key)
        purpose = Purpose(
            self.identifier(table, key), *(self.text(table, part, key) for part in ("name", "statement", "question"))
        )
        if purpose.id:
            self.placed(f"{purpose.id}-statement", f"{key}.statement")
            self.placed(f"{purpose.id}-question", f"{key}.question")
        return purpose

    def choice(self, document: Mapping[str, Any]) -> Choice:
        given = document.get("choice")
        if not isinstance(given, dict):
            found = f"found {type(given).__name__}" if "choice" in document else "missing"
            self.problem("choice", found, "write a [choice] table: " + ", ".join(CHOICE))
            return Choice("", "", "")
        self.known(given, set(CHOICE), "choice")
        texts = {name: self.text(given, name, "choice") for name in CHOICE}
        for name, other in (("yes", "no"), ("no", "yes")):
            self.placed(f"choice-{name}", f"choice.{name}")
            if texts[name] and "{key_" + name + "}" not in texts[name]:
                self.problem(
                    f"choice.{name}", f"the text does not name {{key_{name}}}", f"write the key as {{key_{name}}}"
                )
            if "{key_" + other + "}" in texts[name]:
                self.problem(f"choice.{name}", f"the text names {{key_{other}}} too", f"say that one in choice.{other}")
        self.placed("choice-otherwise", "choice.otherwise")
        return Choice(**texts)

    def takes(self, document: Mapping[str, Any]) -> tuple[StudioTake, ...]:
        takes = []
        for n, table in enumerate(self.tables(document, "takes", needed=False), 1):
            key = f"takes[{n}]"
            self.known(table, {"prompt", "file", "says"}, key)
            prompt, file = table.get("prompt"), table.get("file")
            if not isinstance(prompt, str) or prompt not in self.places or prompt.startswith("choice-"):
                self.problem(f"{key}.prompt", f"found {_found(prompt)}", self.prompts())
            if not isinstance(file, str) or not file or len(file) > MAX_FILE_NAME:
                remedy = "write the name of a sound file in the folder of the notice"
                self.problem(f"{key}.file", f"found {_found(file)}", remedy)
            says = self.text(table, "says", key)
            if "{" in says or "}" in says:
                self.problem(f"{key}.says", "a placeholder in what was spoken", "write the words as they were spoken")
            takes.append(StudioTake(str(prompt), str(file), says))
        return tuple(takes)

    def voices(self, document: Mapping[str, Any]) -> dict[str, str]:
        given = document.get("voices", {})
        if not isinstance(given, dict):
            self.problem("voices", f"found {type(given).__name__}", "write a [voices] table: PROMPT = NAME")
            return {}
        for prompt, name in given.items():
            if prompt not in self.places or prompt.startswith("choice-"):
                self.problem(f"voices.{prompt}", "no prompt of that id", self.prompts())
            if not isinstance(name, str) or not IDENTIFIER.fullmatch(name):
                remedy = "write the name of a [prompts.voices.NAME] table of the configuration"
                self.problem(f"voices.{prompt}", f"found {_found(name)}", remedy)
        return {str(prompt): str(name) for prompt, name in given.items()}

    def prompts(self) -> str:
        return "use one of: " + ", ".join(name for name in self.places if not name.startswith("choice-"))


def _found(value: object) -> str:
    """A value as found in a file, short and printable."""
    if isinstance(value, str) and not value.strip():
        return "an empty text"
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return f"{len(value)} characters"
    text = shown(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _no_lines(_: tuple[str | int, ...]) -> None:
    return None


def parse_notice(
    document: Mapping[str, Any], source: str, lines: Lines = _no_lines
) -> tuple[Notice | None, tuple[Problem, ...]]:
    """Make a :class:`Notice` of a parsed TOML document; ``None`` with the problems when it is not of the form.

    ``source`` names the file in the problems and ``lines`` the line. A notice that is well formed but incomplete is
    returned: whether it covers the elements is asked with :func:`missing_elements` for the purposes of a line.
    """
    read = _Reader(source, lines)
    allowed = {"notice", "language", "segments", "purposes", "choice", "long", "results", "takes", "voices"}
    read.known(document, allowed, "")
    notice_id, language = document.get("notice"), document.get("language")
    if not isinstance(notice_id, str) or not IDENTIFIER.fullmatch(notice_id):
        read.problem("notice", f"found {_found(notice_id)}", "use small letters, digits and hyphens")
    if not isinstance(language, str) or not LANGUAGE.fullmatch(language):
        read.problem("language", f"found {_found(language)}", 'write a language code such as "da" or "en"')
    segments = tuple(
        read.segment(table, f"segments[{n}]")
        for n, table in enumerate(read.tables(document, "segments", needed=True), 1)
    )
    given_purposes = [
        read.purpose(table, f"purposes[{n}]")
        for n, table in enumerate(read.tables(document, "purposes", needed=True), 1)
    ]
    purposes = {purpose.id: purpose for purpose in given_purposes}
    choice = read.choice(document)
    long = tuple(
        read.segment(table, f"long[{n}]") for n, table in enumerate(read.tables(document, "long", needed=False), 1)
    )
    given = document.get("results")
    results: dict[str, str] = {}
    if isinstance(given, dict):
        read.known(given, {*RESULTS, REFERENCE}, "results")
        names = (*RESULTS, REFERENCE) if REFERENCE in given else RESULTS
        results = {name: read.text(given, name, "results") for name in names}
        for name in names:
            read.placed(f"result-{name}", f"results.{name}")
    else:
        read.problem("results", f"found {type(given).__name__}", "write a [results] table: " + ", ".join(RESULTS))
    for purpose_id in purposes:
        read.reserve(f"{purpose_id}-statement", f"{purpose_id}-question")
    read.reserve(*(f"result-{name}" for name in (*RESULTS, REFERENCE)), *DIGITS, *(f"choice-{name}" for name in CHOICE))
    takes, voices = read.takes(document), read.voices(document)
    if read.problems:
        return None, tuple(read.problems)
    assert isinstance(notice_id, str)
    assert isinstance(language, str)
    notice = Notice(
        notice_id,
        language,
        segments,
        MappingProxyType(purposes),
        choice,
        long,
        MappingProxyType(results),
        source,
        takes,
        MappingProxyType(voices),
        MappingProxyType(read.places),
    )
    return notice, ()
