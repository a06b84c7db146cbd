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
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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
        "code_withdraw",
    }
)
"""What a text may take from the configuration; nothing else between braces is allowed."""

RESULTS = ("granted", "declined", "unrecorded", "again", "early")
"""Texts spoken after the choice or between attempts."""

REFERENCE = "reference"
"""The result that a notice may have beside those: what is said before the digits of the call's reference code."""

DIGITS = tuple(f"digit-{digit}" for digit in range(10))
"""Results of a notice that has :data:`REFERENCE`: its language's digits."""

CHOICE = ("yes", "no", "otherwise")
"""What is said after every question, in this order: the yes key, the no key, and what anything else means."""

SEVERAL_LANGUAGES = "several_languages"
WITHDRAWAL_CODE = "withdrawal_code"
CONDITIONS = (SEVERAL_LANGUAGES, WITHDRAWAL_CODE)
"""When a segment with ``only_if`` is played: on a line with several languages; where a code withdraws in the call."""

IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
"""Ids of notices, segments, purposes: they become file names, so nothing else is let in."""
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")


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


_WITHOUT_CODE = 'add the table [features] to the configuration, or say it in a segment with only_if = "withdrawal_code"'


def plays(segment: Segment, facts: Mapping[str, str], *, several_languages: bool) -> bool:
    """Whether a segment is played on a line with these facts."""
    if segment.only_if == WITHDRAWAL_CODE:
        return bool(facts.get("code_withdraw"))
    return several_languages or segment.only_if != SEVERAL_LANGUAGES


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
                    _WITHOUT_CODE
                    if lacking[0] == "code_withdraw"
                    else f"set {lacking[0]} in [facts.default], or in the facts of this language or line",
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
        if not plays(segment, facts, several_languages=several_languages):
            continue
        information.append(Segment(segment.id, fill(segment.text, segment.id), segment.elements))
        if not stated and (2 in segment.elements or 3 in segment.elements):
            stated = True
            for purpose in purposes:
                prompt = f"{purpose}-statement"
                information.append(Segment(prompt, fill(notice.purposes[purpose].statement, prompt), (3,)))
    questions = {purpose: question(purpose) for purpose in purposes}
    long = tuple(Segment(s.id, fill(s.text, s.id)) for s in notice.long)
    results = {name: Segment(f"result-{name}", fill(text, f"result-{name}")) for name, text in notice.results.items()}
    if REFERENCE in results:
        results |= {name: Segment(name, str(digit)) for digit, name in enumerate(DIGITS)}
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
