"""The notice that a caller hears: its text, its mandatory elements, and whether it is complete.

A notice is one TOML file a language (``prompts/<language>/<notice>.toml``). What it must say before a caller may
choose is the list :data:`ELEMENTS`, from GDPR articles 7, 13 and recital 42 and the Nordic and German regulators'
opinions on call recording. A notice that lacks one cannot be used for recording.
"""

from __future__ import annotations

import functools
import hashlib
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ivr_consent.core.errors import NoticeError, Problem

ELEMENTS: Mapping[int, str] = MappingProxyType(
    {
        1: "who records (the controller)",
        2: "recording has not started and starts only on a yes",
        3: "each purpose, concretely",
        4: "it is voluntary, and consent is the basis",
        5: "what is recorded",
        6: "how many days it is kept, and that it is deleted then",
        7: "who hears it",
        8: "consent can be withdrawn at any time, and how",
        9: "the caller's rights: access, copy, erasure, complaint",
        10: "the same help is given without recording",
        11: "the yes key, the no key, and that anything else means no recording",
        12: "where the full text is",
    }
)
"""The twelve mandatory elements, by the number used in notice files."""

PLACEHOLDERS = frozenset(
    {
        "controller",
        "retention_days",
        "authority",
        "recipients",
        "withdrawal_contact",
        "rights_contact",
        "web_address",
        "key_yes",
        "key_no",
        "key_repeat",
        "key_long",
        "key_language",
    }
)
"""What a text may take from the configuration; nothing else between braces is allowed."""

RESULTS = ("granted", "declined", "unrecorded", "again", "early")
"""Texts spoken after the choice or between attempts."""

CHOICE = ("yes", "no", "otherwise")
"""What is said after every question, in this order: the yes key, the no key, and what anything else means."""

SEVERAL_LANGUAGES = "several_languages"
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
"""Ids of notices, segments, purposes: they become file names, so nothing else is let in."""
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")

# Whole notices are a few kilobytes; these keep a wrong file from becoming an hour of speech.
MAX_SEGMENTS = 64
MAX_TEXT = 2000
MAX_FILE_NAME = 200


Lines = Callable[[tuple[str | int, ...]], int | None]
"""Tells in which line of its file a key stands, as a path of names and of numbers from 0; ``None``: not known."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One spoken piece of a notice: one audio file.

    ``parts`` of a question are its own text and those of the choice, in the order of :data:`CHOICE`: the text is
    these joined by spaces, and yes and no are measured against each other in the sound. Else empty.
    """

    id: str
    text: str
    elements: tuple[int, ...] = ()
    only_if: str | None = None
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """How the keys are offered after every question (element 11)."""

    yes: str
    no: str
    otherwise: str


@dataclass(frozen=True, slots=True)
class StudioTake:
    """A recording of one prompt by a speaker: ``file`` within the notice's folder, and the words it ``says``."""

    prompt: str
    file: str
    says: str


@dataclass(frozen=True, slots=True)
class Purpose:
    """A purpose that the notice knows: how it is named, stated (element 3) and asked for."""

    id: str
    name: str
    statement: str
    question: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice in one language, as written: texts with placeholders. A draft: a version is made by publishing.

    ``takes`` and ``voices`` say by prompt id what is not spoken by the voice of the language. ``places`` names file,
    line and key of each prompt's text.
    """

    id: str
    language: str
    segments: tuple[Segment, ...]
    purposes: Mapping[str, Purpose]
    choice: Choice
    long: tuple[Segment, ...]
    results: Mapping[str, str]
    source: str
    takes: tuple[StudioTake, ...] = ()
    voices: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    def place(self, prompt: str) -> str:
        """Where a prompt's text stands, for a :class:`Problem`; the file alone for an unknown one."""
        return self.places.get(prompt, self.source)


@dataclass(frozen=True, slots=True)
class Script:
    """What is spoken on one line in one language: a notice with the line's facts filled in.

    ``information`` is played in order; ``questions`` one per purpose, in the line's order; every id is unique.
    """

    notice: str
    language: str
    information: tuple[Segment, ...]
    questions: Mapping[str, Segment]
    long: tuple[Segment, ...]
    results: Mapping[str, Segment]

    def segments(self) -> tuple[Segment, ...]:
        """Every segment that needs audio, in the order of playing."""
        return (*self.information, *self.questions.values(), *self.long, *self.results.values())

    def text_sha256(self) -> str:
        """Digest of all that a caller is told before the choice, with its order and ids."""
        digest = hashlib.sha256()
        for segment in (*self.information, *self.questions.values()):
            digest.update(f"{segment.id}\0{segment.text}\0".encode())
        return digest.hexdigest()


def text_sha256(text: str) -> str:
    """Digest of one text as spoken (UTF-8), 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


@functools.lru_cache(maxsize=4096)
def placeholders(text: str) -> frozenset[str]:
    """Names between braces in a text. Raises :class:`NoticeError` for anything but plain names."""
    names = set()
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise NoticeError(f"the braces of a text do not match: {error}") from None
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if not re.fullmatch(r"[a-z_]+", name) or spec or conversion:
            raise NoticeError(f"between braces stands {name!r}: only the documented names may stand there")
        names.add(name)
    return frozenset(names)


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
        if only_if not in (None, SEVERAL_LANGUAGES):
            self.problem(f"{key}.only_if", f"found {only_if!r}", f"the only condition is {SEVERAL_LANGUAGES!r}")
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
    text = "".join(character if character.isprintable() else "?" for character in repr(value))
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
        read.known(given, set(RESULTS), "results")
        results = {name: read.text(given, name, "results") for name in RESULTS}
        for name in RESULTS:
            read.placed(f"result-{name}", f"results.{name}")
    else:
        read.problem("results", f"found {type(given).__name__}", "write a [results] table: " + ", ".join(RESULTS))
    for purpose_id in purposes:
        read.reserve(f"{purpose_id}-statement", f"{purpose_id}-question")
    read.reserve(*(f"result-{name}" for name in RESULTS), *(f"choice-{name}" for name in CHOICE))
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


def missing_elements(notice: Notice, purposes: tuple[str, ...]) -> tuple[Problem, ...]:
    """What the notice lacks before it may be used to ask for these purposes; empty when it is complete.

    A question with the choice behind it fulfils element 11 (it names both keys, checked on reading) and a purpose's
    statement element 3, both for that purpose alone; every other element must stand in an unconditional segment.
    """
    problems = []
    covered = {number for segment in notice.segments for number in segment.elements} | {3, 11}
    for number, meaning in ELEMENTS.items():
        if number not in covered:
            problems.append(
                Problem(
                    f"{notice.source}: element {number}",
                    f"missing: {meaning}",
                    f"add a segment that says it, with elements = [{number}]; until then nothing is recorded",
                )
            )
    for purpose in purposes:
        if purpose not in notice.purposes:
            problems.append(
                Problem(
                    f"{notice.source}: purposes",
                    f"the line asks for {purpose!r}, which this notice does not explain",
                    f'add [[purposes]] with id = "{purpose}", or choose from: ' + ", ".join(notice.purposes),
                )
            )
    if not purposes:
        problems.append(Problem(notice.source, "no purpose to ask for", "give the line at least one purpose"))
    return tuple(problems)


def compose(
    notice: Notice, purposes: tuple[str, ...], facts: Mapping[str, str], *, several_languages: bool
) -> tuple[Script | None, tuple[Problem, ...]]:
    """Fill a notice with a line's facts; ``None`` with the problems when it is incomplete or a fact is missing.

    The purposes' statements stand where the first segment with element 3 or, without one, after the segment that
    covers element 2 stands: a caller hears *that* nothing runs before *why* it would.
    """
    problems = list(missing_elements(notice, purposes))
    if problems:
        return None, tuple(problems)

    def fill(text: str, prompt: str) -> str:
        lacking = sorted(name for name in placeholders(text) if not facts.get(name, "").strip())
        if lacking:
            problems.append(
                Problem(
                    notice.place(prompt),
                    f"says {{{lacking[0]}}}, which the configuration does not give",
                    f"set {lacking[0]} in [facts.default], or in the facts of this language or line",
                )
            )
            return text
        return text.format_map(facts)

    def question(purpose: str) -> Segment:
        prompt = f"{purpose}-question"
        choice = [fill(getattr(notice.choice, name), f"choice-{name}") for name in CHOICE]
        parts = (fill(notice.purposes[purpose].question, prompt), *choice)
        return Segment(prompt, " ".join(parts), (11,), parts=parts)

    information: list[Segment] = []
    stated = False
    for segment in notice.segments:
        if segment.only_if == SEVERAL_LANGUAGES and not several_languages:
            continue
        information.append(Segment(segment.id, fill(segment.text, segment.id), segment.elements))
        if not stated and (2 in segment.elements or 3 in segment.elements):
            stated = True
            for purpose in purposes:
                prompt = f"{purpose}-statement"
                information.append(Segment(prompt, fill(notice.purposes[purpose].statement, prompt), (3,)))
    questions = {purpose: question(purpose) for purpose in purposes}
    long = tuple(Segment(s.id, fill(s.text, s.id)) for s in notice.long)
    results = {name: Segment(f"result-{name}", fill(notice.results[name], f"result-{name}")) for name in RESULTS}
    if problems:
        return None, tuple(problems)
    return (
        Script(
            notice.id,
            notice.language,
            tuple(information),
            MappingProxyType(questions),
            long,
            MappingProxyType(results),
        ),
        (),
    )
