"""The notice that a caller hears: its text, its mandatory elements, and whether it is complete.

A notice is one TOML file a language (``prompts/<language>/<notice>.toml``). What it must say before a caller may
choose is the list :data:`ELEMENTS`, from GDPR articles 7, 13 and recital 42 and the Nordic and German regulators'
opinions on call recording. A notice that lacks one cannot be used for recording.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
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

SEVERAL_LANGUAGES = "several_languages"
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
"""Ids of notices, segments, purposes: they become file names, so nothing else is let in."""
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")

# Whole notices are a few kilobytes; these keep a wrong file from becoming an hour of speech.
MAX_SEGMENTS = 64
MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Segment:
    """One spoken piece of a notice: one audio file."""

    id: str
    text: str
    elements: tuple[int, ...] = ()
    only_if: str | None = None


@dataclass(frozen=True, slots=True)
class Purpose:
    """A purpose that the notice knows: how it is named, stated (element 3) and asked (element 11)."""

    id: str
    name: str
    statement: str
    question: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice in one language, as written: texts with placeholders."""

    id: str
    language: str
    version: int
    segments: tuple[Segment, ...]
    purposes: Mapping[str, Purpose]
    long: tuple[Segment, ...]
    results: Mapping[str, str]
    source: str


@dataclass(frozen=True, slots=True)
class Script:
    """What is spoken on one line in one language: a notice with the line's facts filled in.

    ``information`` is played in order; ``questions`` one per purpose, in the line's order; every id is unique.
    """

    notice: str
    version: int
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

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.ids: set[str] = set()

    def problem(self, key: str, found: str, remedy: str) -> None:
        self.problems.append(Problem(f"{self.source}: {key}", found, remedy))

    def text(self, table: Mapping[str, Any], name: str, key: str) -> str:
        value = table.get(name)
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
            self.problem(
                f"{key}.{name}", f"found {type(value).__name__}", f"write a text of 1 to {MAX_TEXT} characters"
            )
            return ""
        if any(ord(character) < 32 and character != "\n" for character in value):
            self.problem(f"{key}.{name}", "found a control character", "remove it")
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
        return Segment(self.identifier(table, key), self.text(table, "text", key), tuple(elements), only_if)


def parse_notice(document: Mapping[str, Any], source: str) -> tuple[Notice | None, tuple[Problem, ...]]:
    """Make a :class:`Notice` of a parsed TOML document; ``None`` with the problems when it is not of the form.

    ``source`` names the file in the problems. A notice that is well formed but incomplete is returned: whether it
    covers the elements is asked with :func:`missing_elements` for the purposes of a line.
    """
    read = _Reader(source)
    read.known(document, {"notice", "language", "version", "segments", "purposes", "long", "results"}, "")
    notice_id, language, version = document.get("notice"), document.get("language"), document.get("version")
    if not isinstance(notice_id, str) or not IDENTIFIER.fullmatch(notice_id):
        read.problem("notice", f"found {notice_id!r}", "use small letters, digits and hyphens")
    if not isinstance(language, str) or not LANGUAGE.fullmatch(language):
        read.problem("language", f"found {language!r}", 'write a language code such as "da" or "en"')
    if type(version) is not int or version < 1:
        read.problem("version", f"found {version!r}", "write a whole number from 1")
    segments = tuple(
        read.segment(table, f"segments[{n}]")
        for n, table in enumerate(read.tables(document, "segments", needed=True), 1)
    )
    purposes: dict[str, Purpose] = {}
    for n, table in enumerate(read.tables(document, "purposes", needed=True), 1):
        key = f"purposes[{n}]"
        read.known(table, {"id", "name", "statement", "question"}, key)
        purpose = Purpose(
            read.identifier(table, key), *(read.text(table, part, key) for part in ("name", "statement", "question"))
        )
        for name in ("key_yes", "key_no"):
            if "{" + name + "}" not in purpose.question:
                read.problem(
                    f"{key}.question", f"the question does not name {{{name}}}", "name both keys in one breath"
                )
        purposes[purpose.id] = purpose
    long = tuple(
        read.segment(table, f"long[{n}]") for n, table in enumerate(read.tables(document, "long", needed=False), 1)
    )
    given = document.get("results")
    results: dict[str, str] = {}
    if isinstance(given, dict):
        read.known(given, set(RESULTS), "results")
        results = {name: read.text(given, name, "results") for name in RESULTS}
    else:
        read.problem("results", f"found {type(given).__name__}", "write a [results] table: " + ", ".join(RESULTS))
    for purpose_id in purposes:
        read.reserve(f"{purpose_id}-statement", f"{purpose_id}-question")
    read.reserve(*(f"result-{name}" for name in RESULTS))
    if read.problems:
        return None, tuple(read.problems)
    assert isinstance(notice_id, str)
    assert isinstance(language, str)
    assert isinstance(version, int)
    return (
        Notice(
            notice_id, language, version, segments, MappingProxyType(purposes), long, MappingProxyType(results), source
        ),
        (),
    )


def missing_elements(notice: Notice, purposes: tuple[str, ...]) -> tuple[Problem, ...]:
    """What the notice lacks before it may be used to ask for these purposes; empty when it is complete.

    A question fulfils element 11 (it names both keys, checked on reading) and a purpose's statement element 3, both for
    that purpose alone; every other element must stand in an unconditional segment.
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

    def fill(text: str, where: str) -> str:
        lacking = sorted(name for name in placeholders(text) if not facts.get(name, "").strip())
        if lacking:
            problems.append(
                Problem(
                    f"{notice.source}: {where}",
                    f"says {{{lacking[0]}}}, which the configuration does not give",
                    f"set {lacking[0]} in [facts.default], or in the facts of this language or line",
                )
            )
            return text
        return text.format_map(facts)

    information: list[Segment] = []
    stated = False
    for segment in notice.segments:
        if segment.only_if == SEVERAL_LANGUAGES and not several_languages:
            continue
        information.append(Segment(segment.id, fill(segment.text, segment.id), segment.elements))
        if not stated and (2 in segment.elements or 3 in segment.elements):
            stated = True
            information += [
                Segment(f"{p}-statement", fill(notice.purposes[p].statement, f"{p}.statement"), (3,)) for p in purposes
            ]
    questions = {
        p: Segment(f"{p}-question", fill(notice.purposes[p].question, f"{p}.question"), (11,)) for p in purposes
    }
    long = tuple(Segment(s.id, fill(s.text, s.id)) for s in notice.long)
    results = {name: Segment(f"result-{name}", fill(notice.results[name], f"results.{name}")) for name in RESULTS}
    if problems:
        return None, tuple(problems)
    return (
        Script(
            notice.id,
            notice.version,
            notice.language,
            tuple(information),
            MappingProxyType(questions),
            long,
            MappingProxyType(results),
        ),
        (),
    )
