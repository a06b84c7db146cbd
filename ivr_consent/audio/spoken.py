"""The spoken form of a text: what a voice is given, with numbers, dates, money and signs as words.

Voices guess at digits, each in its own way: a telephone number becomes millions, a date a division. What is said here
is said alike by every voice. A text without digits and signs comes out as it went in, and so does one in a language
without words here.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ivr_consent.audio.lexicon import LEXICONS, SYMBOLS, TOP_DOMAINS, Lexicon, Noun
from ivr_consent.audio.numerals import (
    MAX_DIGITS,
    agreeing,
    cardinal,
    clock,
    counted,
    digits,
    genitive,
    ordinal,
    year,
)

_SPACE = "[ \u00a0\u202f]"
_SPEAKABLE = re.compile(r"[0-9*#@§]|\w\.\w|https?://")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.ASCII)
_WEB = re.compile(r"(?<![\w@.-])(https?://)?((?:[a-z0-9-]+\.)+([a-z]{2,24}))((?:/[\w.~-]*)*)(?![\w@])", re.I | re.ASCII)
_ISO_DATE = re.compile(r"(?<![\w-])(\d{4})-(\d{2})-(\d{2})(?![\w-])")
_DATE = re.compile(rf"(?<![\w./])(\d{{1,2}})([./-]){_SPACE}?(\d{{1,2}})\2{_SPACE}?(\d{{4}})(?![\w/])")
_TIME = re.compile(r"(?<![\w:])([01]?\d|2[0-4]):([0-5]\d)(?![\w:])")
_TIMES = re.compile(rf"(?<=\d:\d\d){_SPACE}?[-–—]{_SPACE}?(?=\d)")
_RANGE = re.compile(rf"(?<=\d){_SPACE}?[-–—]{_SPACE}?(?=\d)")
_AMOUNT = r"\d{1,3}(?:[.,' \u00a0\u202f]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d{1,2})?(?!\d)"
_PERCENT = re.compile(rf"(?<![\w.,])(\d+)(?:[.,](\d+))?{_SPACE}?%")
_SLASHED = re.compile(r"(?<![\w/])(?!0\d)(\d+)/(\d+)(?![\w/])")
_KEYS = re.compile(r"(?<!\w)(?:[*#][\d*#]*|\d+[*#][\d*#]*)(?!\w)")
_FIGURES = r"(?:\(\d+\)\d*|\d+)"
_TELEPHONE = re.compile(rf"(?<![\w.,+])\+?{_FIGURES}(?:(?:{_SPACE}|[-/]){_FIGURES}|\(\d+\)\d*)*(?![\w%])")
_DECIMAL = re.compile(r"(?<![\w.,])(\d+)([.,])(\d+)(?![\w]|[.,]\d)")
_SPACED = re.compile(r"(?<![\w.,])\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\w)")
_GROUPED = re.compile(r"(?<![\w.,])\d{1,3}([.,])\d{3}(?:\1\d{3})+(?!\w|[.,]\d)")
_NUMBER = re.compile(rf"(?<!\w)(\d+)(?!\w)(?:({_SPACE})([^\W\d_]+))?")
_SECTION = re.compile(r"§+\s*")

_INFLECTING = {"de": ("am", "vom", "zum", "dem", "den", "beim"), "pl": ("o", "od", "do", "po", "przed", "około")}
_CLOCK = {"da": "klokken", "no": "klokken", "sv": "klockan", "fi": "kello"}
_ORDINAL_ENDINGS = {
    "en": "st|nd|rd|th",
    "fr": "er|ère|re|e|ème|ième",
    "nl": "e|de|ste",
    "sv": ":a|:e",
    "es": "º|ª|o\\.",
    "it": "º|ª",
}


def spoken_form(text: str, language: str) -> str:
    """A text as a voice is to say it. ``language`` may have a region, which does not matter here."""
    base = language.partition("-")[0].lower()
    base = "no" if base in ("nb", "nn") else base
    words = LEXICONS.get(base)
    if words is None or not _SPEAKABLE.search(text):
        return text
    for rule in _rules(base):
        text = rule(text)
    return text


@functools.lru_cache(maxsize=16)
def _rules(language: str) -> tuple[Callable[[str], str], ...]:
    """What is done to a text, in order: what looks most special first, plain numbers last."""
    reader = _Reader(language, LEXICONS[language])
    rules: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
        (_EMAIL, reader.email),
        (_WEB, reader.web),
        (_ISO_DATE, reader.iso_date),
        (_DATE, reader.date),
        *reader.month_dates(),
        *reader.clock_words(),
        (_TIMES, lambda _: f" {reader.words.to} "),
        (_TIME, reader.time),
        *reader.money(),
        (_PERCENT, reader.percent),
        (_KEYS, reader.keys),
        (_SECTION, lambda _: f"{reader.words.signs['§']} "),
        (_SLASHED, reader.slashed),
        (_TELEPHONE, reader.telephone),
        (_SPACED, lambda found: reader.number(re.sub(r"\D", "", found.group()))),
        (_GROUPED, lambda found: reader.number(re.sub(r"\D", "", found.group()))),
        (_DECIMAL, reader.decimal),
        (_RANGE, lambda _: f" {reader.words.to} "),
        *reader.ordinals(),
        (_NUMBER, reader.plain),
    ]
    return tuple(functools.partial(pattern.sub, replace) for pattern, replace in rules)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what the patterns find, in one language."""

    language: str
    words: Lexicon

    def number(self, text: str) -> str:
        return cardinal(int(text), self.language) if len(text) <= MAX_DIGITS else digits(text, self.language)

    # addresses

    def email(self, found: re.Match[str]) -> str:
        name, _, host = found.group().partition("@")
        return f"{self._address(name)} {self.words.signs['@']} {self._host(host)}"

    def web(self, found: re.Match[str]) -> str:
        scheme, host, top, path = found.groups()
        if not scheme and not host.lower().startswith("www.") and top.lower() not in TOP_DOMAINS:
            return found.group()
        path = path or ""
        end = len(path) - len(path.rstrip("./"))
        rest = path[: len(path) - end]
        stop = "." if path.endswith(".") else ""
        return self._host(host) + (f" {self._address(rest)}" if rest else "") + stop

    def _host(self, host: str) -> str:
        labels = host.split(".")
        # two letters are a country, and said as letters; so is www
        said = [" ".join(x) if x.lower() == "www" or (x.isalpha() and len(x) == 2) else x for x in labels]
        return f" {self.words.signs['.']} ".join(self._address(label) for label in said)

    def _address(self, text: str) -> str:
        parts = re.findall(r"[^\W\d_]+|\d|\S", text)
        signs = {**self.words.signs, "+": self.words.plus, "~": "tilde"}
        return " ".join(digits(part, self.language) if part.isdecimal() else signs.get(part, part) for part in parts)

    # dates and times

    def iso_date(self, found: re.Match[str]) -> str:
        return self._date(int(found[3]), int(found[2]), int(found[1]), found)

    def date(self, found: re.Match[str]) -> str:
        day, month = int(found[1]), int(found[3])
        if month > 12 >= day and found[2] == "/":
            day, month = month, day
        return self._date(day, month, int(found[4]), found)

    def month_dates(self) -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
        """Dates with the month's name: ``22. november 2026``, ``22 de noviembre``, ``November 22, 2026``."""
        names = "|".join(self.words.months)
        of = "(?:(?:de|of)\\s)?"
        day_first = re.compile(
            rf"(?<![\w.,])(\d{{1,2}})(?:\.|st|nd|rd|th|er|º)?{_SPACE}{of}({names})(?:,?{_SPACE}{of}(\d{{4}}))?(?!\w)",
            re.I,
        )
        rules = [(day_first, lambda found: self._named(found, found[1], found[2], found[3]))]
        if self.language == "en":
            month_first = re.compile(rf"(?<!\w)({names}) (\d{{1,2}})(?:st|nd|rd|th)?(?:,? (\d{{4}}))?(?![\w.,]*\d)")
            rules.append((month_first, lambda found: self._named(found, found[2], found[1], found[3])))
        return rules

    def _named(self, found: re.Match[str], day: str, name: str, when: str | None) -> str:
        month = [month.lower() for month in self.words.months].index(name.lower()) + 1
        return self._date(int(day), month, int(when) if when else None, found)

    def _date(self, day: int, month: int, when: int | None, found: re.Match[str]) -> str:
        try:
            dt.date(when or 2000, month, day)
        except ValueError:
            return found.group()
        before = _word_before(found)
        name, of = self.words.months[month - 1], ""
        said = cardinal(day, self.language)
        if self.language == "en":
            said = f"{'' if before == 'the' else 'the '}{ordinal(day, 'en')}"
            of = "of "
        elif self.language in ("da", "sv"):
            said = f"{'' if before == 'den' else 'den '}{ordinal(day, self.language)}"
        elif self.language == "de":
            said = ordinal(day, "de") + ("n" if before in _INFLECTING["de"] else "r")
        elif self.language in ("no", "fi", "pl"):
            said = ordinal(day, self.language)
        elif self.language in ("fr", "it") and day == 1:
            said = {"fr": "premier", "it": "primo"}[self.language]
        elif self.language == "es":
            of = "de "
        if when is None:
            return f"{said} {of}{name}"
        after = " roku" if self.language == "pl" and not re.match(r"\s*(r\.|roku)", found.string[found.end() :]) else ""
        return f"{said} {of}{name} {of if self.language == 'es' else ''}{year(when, self.language)}{after}"

    def clock_words(self) -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
        """``kl. 8.30`` and the like: the abbreviation, and a time with a point or an h in it."""
        rules: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = []
        if self.language in _CLOCK:
            word = _CLOCK[self.language]
            short = re.compile(rf"\b(kl\.?|klo|{word}){_SPACE}?(?=\d)", re.I)
            rules.append((short, lambda found: f"{word.capitalize() if found[1][0].isupper() else word} "))
            dotted = re.compile(
                rf"(?<={word} )(\d{{1,2}})\.([0-5]\d)(?![\w.]*\d)(?:([-–])(\d{{1,2}})\.([0-5]\d))?", re.I
            )
            rules.append((dotted, lambda found: found.group().replace(".", ":")))
            hours = re.compile(rf"(?<={word} )([01]?\d|2[0-4])(?![\w:.]*\d)", re.I)
            rules.append((hours, lambda found: clock(int(found[1]) % 24, 0, self.language)))
        if self.language == "de":
            # 8.30 Uhr, 8:30 Uhr, 8 Uhr: the word is part of the time
            german = re.compile(r"(?<![\w.:])([01]?\d|2[0-4])(?:[:.]([0-5]\d))? Uhr\b")
            rules.append((german, lambda found: clock(int(found[1]) % 24, int(found[2] or 0), "de")))
        if self.language == "nl":
            dutch = re.compile(r"(?<![\w.:])([01]?\d|2[0-4])[:.]([0-5]\d) uur\b")
            rules.append((dutch, lambda found: clock(int(found[1]) % 24, int(found[2]), "nl")))
        if self.language == "fr":
            french = re.compile(rf"(?<![\w.:])([01]?\d|2[0-4]){_SPACE}?h{_SPACE}?([0-5]\d)?(?!\w)")
            rules.append((french, lambda found: clock(int(found[1]) % 24, int(found[2] or 0), "fr")))
        return rules

    def time(self, found: re.Match[str]) -> str:
        inflected = _word_before(found) in _INFLECTING["pl"]
        return clock(int(found[1]) % 24, int(found[2]), self.language, inflected=inflected)

    # money and measures

    def money(self) -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
        codes = "EUR|DKK|SEK|NOK|GBP|USD|PLN|CHF"
        own = {form for pair in self.words.money.values() for form in (pair[0].one, pair[0].few, pair[0].many)}
        names = "|".join(sorted(map(re.escape, own), key=len, reverse=True))
        signs = "|".join(map(re.escape, SYMBOLS))
        before = re.compile(
            rf"(?<![\w])(?:({codes}){_SPACE}?|({signs}){_SPACE}?|(kr)\.?{_SPACE}?)({_AMOUNT})(?:,-|\.-)?(?!\w)"
        )
        after = re.compile(
            rf"(?<![\w.,])({_AMOUNT})(?:,-|\.-)?{_SPACE}?(?:({codes})\b|({signs})|(kr)\b(\.(?=\s+[^\W\dA-Z_])|)|({names})(?!\w))"
        )
        return [
            (before, lambda found: self._amount(found[4], found[1] or SYMBOLS.get(found[2] or "", self.words.kr))),
            (after, lambda found: self._amount(found[1], self._currency(found))),
        ]

    def _currency(self, found: re.Match[str]) -> str:
        if found[2] or found[3]:
            return found[2] or SYMBOLS[found[3]]
        if found[6]:
            codes = (self.words.kr, "EUR", *self.words.money)
            return next(c for c in codes if found[6] in _forms(self.words.money[c][0]))
        return self.words.kr

    def _amount(self, text: str, code: str) -> str:
        main, cent = self.words.money[code]
        whole, fraction = _split_amount(text)
        if len(whole) > MAX_DIGITS:
            return f"{digits(whole, self.language)} {main.many}"
        said = counted(int(whole), main, self.language)
        if int(fraction or 0):
            said += f" {self.words.joined} {counted(int(fraction.ljust(2, '0')), cent, self.language)}"
        return said

    def percent(self, found: re.Match[str]) -> str:
        if found[2]:
            return f"{self._fraction(found[1], found[2])} {self.words.percent}"
        one = self.language == "fi" and int(found[1]) == 1
        return f"{self.number(found[1])} {'prosentti' if one else self.words.percent}"

    def decimal(self, found: re.Match[str]) -> str:
        thousands = "," if self.language == "en" else "."
        if found[2] == thousands and len(found[3]) == 3 and len(found[1]) <= 3:
            return self.number(found[1] + found[3])
        return self._fraction(found[1], found[3])

    def _fraction(self, whole: str, part: str) -> str:
        # figure by figure where that is the custom, and wherever a number would lose its noughts
        single = self.language in ("en", "de") or part.startswith("0") or len(part) > 2
        said = digits(part, self.language) if single else self.number(part)
        return f"{self.number(whole)} {self.words.point} {said}"

    # numbers that are names

    def keys(self, found: re.Match[str]) -> str:
        said = [self.words.signs.get(x) or digits(x, self.language) for x in found.group()]
        return " ".join(said)

    def slashed(self, found: re.Match[str]) -> str:
        first, second = found[1], found[2]
        said = year(int(first), "en") if self.language == "en" and len(first) == 4 else self.number(first)
        return f"{said}{',' if len(second) > 2 else ''} {self.number(second)}"

    def telephone(self, found: re.Match[str]) -> str:
        text = found.group()
        groups = re.findall(r"\d+", text)
        if not _is_telephone(text, groups):
            return text
        said = [digits(part, self.language) for group in groups for part in _breaths(group)]
        if text.startswith("+"):
            said[0] = f"{self.words.plus} {said[0]}"
        return ", ".join(said)

    # plain numbers

    def ordinals(self) -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
        endings = _ORDINAL_ENDINGS.get(self.language)
        if endings is None:
            return []
        pattern = re.compile(rf"(?<!\w)(\d{{1,4}})(?:{endings})(?!\w)")
        return [(pattern, lambda found: ordinal(int(found[1]), self.language))]

    def plain(self, found: re.Match[str]) -> str:
        text, space, word = found[1], found[2] or "", found[3] or ""
        if len(text) > MAX_DIGITS or (len(text) > 1 and text.startswith("0")):
            return digits(text, self.language) + space + word
        number = int(text)
        said = cardinal(number, self.language)
        if self.language == "fi" and word.endswith(("än", "den", "nen", "kon", "nin", "tin")):
            said = genitive(number, "fi")  # kolmenkymmenen päivän ajan
        elif word in self.words.one and number == 1:
            said = self.words.one[word]
        elif word in self.words.one and self.language in ("es", "fr") and number % 10 == 1:
            said = agreeing(number, "f" if self.words.one[word] in ("una", "une") else "m", self.language)
        return said + space + word


def _before(found: re.Match[str]) -> str:
    return found.string[max(found.start() - 24, 0) : found.start()]


def _word_before(found: re.Match[str]) -> str:
    words = re.findall(r"[^\W\d_]+(?=\s$)", _before(found))
    return words[-1].lower() if words else ""


def _forms(noun: Noun) -> tuple[str, ...]:
    return noun.one, noun.few, noun.many


def _split_amount(text: str) -> tuple[str, str]:
    """Whole units and hundredths: what follows the last point or comma is hundredths if it is one or two figures."""
    found = re.fullmatch(r"(.*?)(?:[.,](\d{1,2}))?", text)
    assert found is not None
    return re.sub(r"\D", "", found[1]), found[2] or ""


def _is_telephone(text: str, groups: Sequence[str]) -> bool:
    total = sum(map(len, groups))
    if text.startswith("+"):
        return total >= 5
    if groups[0].startswith("0") and len(groups[0]) > 1 and total >= 3:
        return True
    if len(groups) == 1:
        return total >= 7
    if len(groups) == 2 and all(len(group) == 4 and group[:2] in ("19", "20") for group in groups):
        return False  # from a year to a year
    in_thousands = len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])
    if in_thousands and (total < 6 or groups[-1] == "000"):
        return False
    # two groups of three are a short number, such as Europe's 116 117
    return (total >= 7 or in_thousands) and "/" not in text


def _breaths(group: str) -> list[str]:
    """A long group in pieces that can be noted down: pairs of eight figures, else threes."""
    if len(group) <= 4:
        return [group]
    size = 2 if len(group) == 8 else 3
    pieces = [group[at : at + size] for at in range(0, len(group), size)]
    if len(pieces[-1]) == 1:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return pieces
