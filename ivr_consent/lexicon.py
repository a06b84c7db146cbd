"""What a text says, as far as rules can tell: phrases that a notice must not use, periods, and keys.

A language is a module of :mod:`ivr_consent.lexicons`. Its phrases are regular expressions over one sentence in small
letters, with single spaces and straight apostrophes; two signs in them stand for what lies between words of a phrase:

* ``…`` up to five other words;
* ``~`` up to ten other words, none of them a negation: "if you stay … nothing is recorded" is no passive consent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import import_module
from typing import Final, Literal, cast

from ivr_consent.lexicons.index import Index, alternatives
from ivr_consent.lexicons.numbers import joined, may_be_number, number_words

LANGUAGES: Final = ("da", "de", "en", "es", "fi", "fr", "it", "nl", "no", "pl", "sv")
"""Languages that have words of their own here, as the modules of :mod:`ivr_consent.lexicons` are named."""

SAME: Final = {"nb": "no"}
"""Codes of languages that another one's words serve."""

Kind = Literal["vague", "modal", "passive", "weighing", "pressure"]
KINDS: Final[tuple[Kind, ...]] = ("vague", "modal", "passive", "weighing", "pressure")
SPARED: Final[frozenset[Kind]] = frozenset({"modal", "passive", "weighing"})
"""Kinds that a negation shortly before turns into their opposite: "you do not have to consent"."""

Unit = Literal["day", "week", "month", "year", "hour"]
UNITS: Final[tuple[Unit, ...]] = ("day", "week", "month", "year", "hour")

OWN_DAYS: Final = "{retention_days}"
"""The placeholder that the line's own days are written with."""

KEYS: Final = "0123456789*#"

CACHED_TEXTS: Final = 8192
"""More than the texts of a hundred notices; lines share them, so that each is read once."""

_GAP = r"[^\w\s]*(?: \S+){0,5}? [^\w\s]*"
_SPARED_WORDS = 2  # between a negation and what it turns round: "do not have to wait longer"
_NUMBER_TOKENS = 7  # "three hundred and twenty-five" has five
_SENTENCE_END = re.compile(r"(?<=;)\s+|(?<=[.?!])\s+(?![a-zß-öø-ÿąćęłńóśźż])")
_STRAIGHT = str.maketrans("’‘ʼ´`\u00a0\u202f\u2009\u2010\u2011–—", "'''''   ----")
_DIGITS_BEFORE = re.compile(r"(?:(?<![\w.,])|(?<=\())(\d[\d.,]*)(?::\w+)?\)?[ -]$")
_FIRST_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"[\d*#]")
_ALONE = r"(?<![\w+*#.,:/-])(?<!\d )(?P<key>\d|\*|#)(?![\w*#]|[.,:/-]\d| \d)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One language's phrases and words, each a regular expression in small letters (see the module)."""

    negation: str
    """Words that turn a sentence round; not the answer "no" where that is a word of its own."""
    subject: str
    """Pronouns: behind one, a negation before it no longer holds."""
    vague: tuple[str, ...]
    """Vague wherever they stand: perhaps, some calls, as long as necessary."""
    modal: tuple[str, ...]
    """That somebody may or could record; not told in questions, which ask for leave."""
    passive: tuple[str, ...]
    """That staying, going on or silence is consent."""
    weighing: tuple[str, ...]
    """That one answer is better than the other, or owed."""
    pressure: tuple[str, ...]
    """Gifts, regret, threats, recommendations."""
    stress: str
    """Words that make an offer weigh more: gladly, simply, only."""
    day: str
    week: str
    month: str
    year: str
    hour: str
    half_year: str
    one: str
    """The number one before a period."""
    keeping: str
    """Words of sentences on how long a recording is kept."""
    answering: str
    """Words of sentences on when a request is answered: a period there is not how long a recording is kept."""
    press: str
    key: str
    """Nouns for a key that a number may follow at once."""
    filler: str
    """Words between these and the number of the key."""
    either: str
    purpose: str
    """Words that follow a key: for, to, if."""
    unit: str
    """What makes the number before it no key: seconds, times, keys."""
    digits: tuple[str, ...]
    """The keys 0 to 9, star and hash as they are called."""
    pace: float
    """Characters a second in calm speech."""
    words_a_minute: tuple[int, int]
    """Slower than the first, and faster than the second, is hard to follow."""
    word_length: float
    """Characters a word, its space among them."""
    authorities: tuple[str, ...]
    """The supervisory authorities usual for the language."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words of a text that a rule speaks of, as they stand there."""

    kind: Kind
    quote: str


@dataclass(frozen=True, slots=True)
class Period:
    """A number before a unit of time. ``number`` is ``None`` where it is the placeholder of the line's own days."""

    number: int | None
    unit: Unit
    quote: str
    keeping: bool
    answering: bool

    def is_days(self, days: int) -> bool:
        """Whether this is as long as so many days; a month has 30 or 31 of them."""
        number = days if self.number is None else self.number
        match self.unit:
            case "day":
                return number == days
            case "week":
                return 7 * number == days
            case "month":
                return days in (30 * number, 31 * number) or (number, days) == (12, 365)
            case "year":
                return days in (365 * number, 366 * number)
            case "hour":
                return number == 24 * days


@dataclass(frozen=True, slots=True)
class Named:
    """A key that a text tells to press, as a digit, ``*`` or ``#``."""

    key: str
    quote: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one text says."""

    phrases: tuple[Phrase, ...] = ()
    periods: tuple[Period, ...] = ()
    keys: tuple[Named, ...] = ()


@dataclass(frozen=True)
class Lexicon:
    """A language's words, each pattern compiled when it is first needed."""

    code: str
    words: Words

    @cached_property
    def index(self) -> Index:
        """Phrases by their kind, units of time by their name, and "press" for what speaks of keys."""
        index = Index()
        gap = rf"[^\w\s]*(?: (?!(?:{self.words.negation})\b)\S+){{0,10}}? [^\w\s]*"
        for kind in KINDS:
            written = [one for pattern in getattr(self.words, kind) for one in alternatives(pattern)]
            index.add(kind, ((one, one.replace("…", _GAP).replace("~", gap)) for one in written))
        for unit in UNITS:
            index.add(unit, ((one, one) for one in alternatives(getattr(self.words, unit))))
        for tag, pattern in (("half", self.words.half_year), ("press", f"{self.words.press}|{self.words.key}")):
            index.add(tag, ((one, one) for one in alternatives(pattern)))
        return index

    @cached_property
    def spares(self) -> re.Pattern[str]:
        """A negation shortly before the word that a text ends with."""
        of = self.words
        # no comma in between: behind one, the negation of the clause before no longer holds
        return re.compile(rf"\b(?:{of.negation})(?: (?!(?:{of.subject})\b)[\w'-]+){{0,{_SPARED_WORDS}}}[ '-]\w+$")

    @cached_property
    def one(self) -> re.Pattern[str]:
        """The number one at the end of what stands before a unit."""
        return re.compile(rf"(?<!\w)(?:{self.words.one})[ -]$")

    @cached_property
    def keeping(self) -> re.Pattern[str]:
        """That something is kept or deleted."""
        return _whole(self.words.keeping)

    @cached_property
    def answering(self) -> re.Pattern[str]:
        """That something is answered."""
        return _whole(self.words.answering)

    @cached_property
    def stress(self) -> re.Pattern[str]:
        """Words of stress."""
        return _whole(self.words.stress)

    @cached_property
    def digit_keys(self) -> tuple[re.Pattern[str], ...]:
        """Keys written as a digit or a sign: behind a verb, behind a noun, and one more behind "or"."""
        of = self.words
        digit = rf"{_ALONE}(?! ?(?:{of.unit})\b)"
        patterns = (
            rf"\b(?:{of.press})\b,?(?: [^\s\d*#]+){{0,4}}? ?{digit}",
            rf"\b(?:{of.key})\b:?{self._filler}{{0,2}} ?{digit}",
            rf"\b(?:{of.either}){self._filler}{{0,3}} {digit}{self._behind}",
        )
        return tuple(re.compile(pattern) for pattern in patterns)

    @cached_property
    def spelled_keys(self) -> re.Pattern[str]:
        """Keys written as words, in the groups k0 to k11."""
        of = self.words
        called = "|".join(f"(?P<k{number}>{name})" for number, name in enumerate(of.digits))
        return re.compile(rf"\b(?:{of.press}|{of.key})\b{self._filler}{{0,4}} (?:{called})(?!\w){self._behind}")

    @property
    def _filler(self) -> str:
        return rf"(?: (?:{self.words.filler})\b,?)"

    @property
    def _behind(self) -> str:
        # a word such as "to" or "un" is a key only where a purpose or the end of a phrase follows
        return rf"(?=[.,;:?!)]|$| (?:{self.words.purpose})\b)"


def base(language: str) -> str:
    """The language of a code without its country or script: "de" of "de-AT"."""
    return language.partition("-")[0].lower()


def lexicon(language: str) -> Lexicon | None:
    """The words of a language; ``None`` for one that has none."""
    code = SAME.get(base(language), base(language))
    return _lexicon(code) if code in LANGUAGES else None


@cache
def _lexicon(code: str) -> Lexicon:
    return Lexicon(code, import_module(f"ivr_consent.lexicons.{code}").WORDS)


def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)")


# --- reading ----------------------------------------------------------------------------------------------------------


def straight(text: str) -> str:
    """A text with composed letters, straight apostrophes, plain hyphens and single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).translate(_STRAIGHT).split())


def sentences(text: str) -> list[str]:
    """The sentences of a text, with their marks. A semicolon ends one, an abbreviation's full stop does not."""
    return _SENTENCE_END.split(text)


@lru_cache(maxsize=CACHED_TEXTS)
def read(language: str, text: str) -> Reading:
    """What a text, as written with its placeholders, says; nothing for a language without a lexicon."""
    of = lexicon(language)
    if of is None:
        return Reading()
    phrases: dict[Phrase, None] = {}
    periods: list[Period] = []
    keys: dict[Named, None] = {}
    for sentence in sentences(straight(text)):
        small = sentence.lower()
        # a letter such as İ grows when it is made small: then what is quoted is in small letters
        shown = sentence if len(small) == len(sentence) else small
        presses = False
        for tag, match in of.index.search(small):
            if tag == "press":
                presses = True
            elif tag in KINDS:
                kind: Kind = tag
                if _holds(of, kind, small, match):
                    phrases[Phrase(kind, shown[match.start() : match.end()])] = None
            else:
                period = _period(of, small, shown, tag, match)
                periods += [period] if period is not None else []
        if presses:
            keys |= dict.fromkeys(_keys(of, small, shown))
    return Reading(tuple(phrases), tuple(periods), tuple(keys))


def _holds(of: Lexicon, kind: Kind, small: str, match: re.Match[str]) -> bool:
    """Whether a phrase means what it says: a question asks for leave, and a negation turns it round."""
    if kind == "modal" and small.endswith("?"):
        return False
    first = _FIRST_WORD.match(match[0])
    return kind not in SPARED or first is None or of.spares.search(small[: match.start() + first.end()]) is None


def _period(of: Lexicon, small: str, shown: str, tag: str, match: re.Match[str]) -> Period | None:
    unit = cast(Unit, "month" if tag == "half" else tag)
    number, begin = (6, match.start()) if tag == "half" else _number_before(of, small, match.start(), unit)
    if number == 0:
        return None
    keeping = of.keeping.search(small) is not None
    answering = of.answering.search(small) is not None
    return Period(number, unit, shown[begin : match.end()], keeping, answering)


def _number_before(of: Lexicon, small: str, end: int, unit: Unit) -> tuple[int | None, int]:
    """The number that ends before ``end`` and where it begins; 0 for none, ``None`` for the line's own days."""
    before = small[:end]
    if before.rstrip(" -").endswith(OWN_DAYS):
        return None, before.rindex(OWN_DAYS)
    digits = _DIGITS_BEFORE.search(before)
    if digits:
        return int(re.sub(r"\D", "", digits[1])), digits.start(1)
    tokens = list(re.finditer(r"[^\s-]+", before))[-_NUMBER_TOKENS:]
    if not tokens or not before.endswith((" ", "-")) or not tokens[-1][0].rstrip(")")[-1:].isalpha():
        return 0, end
    one = of.one.search(before) if unit != "day" else None
    if one:
        return 1, one.start()
    if not may_be_number(of.code, tokens[-1][0]):
        return 0, end
    known = number_words(of.code)
    for n, first in enumerate(tokens):
        number = known.get(joined(of.code, [token[0] for token in tokens[n:]]))
        if number is not None:
            return number, first.start()
    return 0, end


def _keys(of: Lexicon, small: str, shown: str) -> Iterator[Named]:
    patterns = of.digit_keys if _DIGIT.search(small) else ()
    told: set[int] = set()
    for pattern in (*patterns, of.spelled_keys):
        for match in pattern.finditer(small):
            name = str(match.lastgroup)
            if match.end(name) in told:
                continue
            told.add(match.end(name))
            key = match["key"] if name == "key" else KEYS[int(name[1:])]
            yield Named(key, shown[match.start() : match.end()])
