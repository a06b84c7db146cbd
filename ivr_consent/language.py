"""Which language a call begins in, chosen by what is known of it before anything is said.

Pure, and of no switch: a caller writes most of what is read here, so a clue is only ever looked up among what the
configuration names. What fits nothing there is no result, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

Source = Literal["dialled", "country", "header", "channel", "first"]
"""What may choose: the number dialled, the caller's country, a SIP header, the channel, or nothing at all (the line's
first language)."""

BY_KEY: Final = "key"
"""Stands in the decision beside the names of sources: the caller chose with the language key."""

HEADER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
"""Names of headers that a switch may be asked for: they stand in a command to it."""

HEADER_LENGTH: Final = 256
"""Characters of a header that are looked at; a browser's list of languages has up to a hundred."""

PREFIX: Final = re.compile(r"[1-9][0-9]{0,14}")
"""A country's code with or without the first digits behind it, normalised: "45", "4122"."""

_NUMBER = re.compile(r"(\+|00)?([0-9]{1,24})")
_NUMBER_LENGTH = 64
_WITHOUT_SEPARATORS = str.maketrans("", "", " -./()")
_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8}){0,4}")
_WEIGHT = re.compile(r"[Qq]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


class Rules(Protocol):
    """How a line chooses; :class:`ivr_consent.config.LanguageBy` is one. Numbers in it are normalised."""

    @property
    def order(self) -> Sequence[Source]:
        """Sources, the first one that has a result decides."""
        ...

    @property
    def dialled(self) -> Mapping[str, str]:
        """Languages by the number dialled (:func:`number`)."""
        ...

    @property
    def countries(self) -> Mapping[str, str]:
        """Languages by the first digits of the caller's number (:data:`PREFIX`)."""
        ...

    @property
    def own_country(self) -> str | None:
        """The country code of numbers without an international prefix; without it they are taken to begin with one."""
        ...

    @property
    def header(self) -> str | None:
        """The header to look at (:data:`HEADER_NAME`)."""
        ...


@dataclass(frozen=True, slots=True)
class Clues:
    """What is known of a call: the channel's language, the number dialled, the caller's number (``None`` when it is
    withheld), and the header's value. Empty where there is none."""

    channel: str = ""
    dialled: str = field(default="", repr=False)
    caller: str | None = field(default=None, repr=False)
    header: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Chosen:
    """One of the line's languages, and which source named it."""

    language: str
    by: Source


def choose(rules: Rules, languages: Sequence[str], clues: Clues) -> Chosen | None:
    """The language a call begins in, one of ``languages``; ``None`` when no source of the rules has a result."""
    for source in rules.order:
        language = _named(source, rules, languages, clues)
        if language is not None and language in languages:
            return Chosen(language, source)
    return None


def _named(source: Source, rules: Rules, languages: Sequence[str], clues: Clues) -> str | None:
    match source:
        case "dialled":
            return _by_dialled(rules, clues.dialled)
        case "country":
            return _by_country(rules, clues.caller)
        case "header":
            return next(filter(None, (fitting(tag, languages) for tag in tags(clues.header))), None)
        case "channel":
            return fitting(clues.channel, languages)
        case "first":
            return languages[0]


# --- numbers ----------------------------------------------------------------------------------------------------------


def number(text: str) -> str | None:
    """The digits of a telephone number: "+45…", "0045…" and "45…" are one. ``None`` for what is no number.

    Spaces, hyphens, dots, slashes and brackets may part the digits; parameters behind a semicolon are left out.
    """
    found = _number(text)
    return None if found is None else found[2]


def _number(text: str) -> re.Match[str] | None:
    bare = text.partition(";")[0]
    return _NUMBER.fullmatch(bare.translate(_WITHOUT_SEPARATORS)) if len(bare) <= _NUMBER_LENGTH else None


def international(text: str, own_country: str | None) -> str | None:
    """Likewise, beginning with a country code: a number without a prefix gets that of ``own_country``, if there is one,
    in place of the 0 that it may begin with."""
    found = _number(text)
    if found is None or found[1] or own_country is None:
        return None if found is None else found[2]
    return own_country + found[2].removeprefix("0")


def _by_dialled(rules: Rules, dialled: str) -> str | None:
    forms = (number(dialled), international(dialled, rules.own_country))
    return next((rules.dialled[form] for form in forms if form is not None and form in rules.dialled), None)


def _by_country(rules: Rules, caller: str | None) -> str | None:
    digits = international(caller or "", rules.own_country) or ""
    prefixes = (digits[:length] for length in range(len(digits), 0, -1))
    return next((rules.countries[prefix] for prefix in prefixes if prefix in rules.countries), None)


# --- languages --------------------------------------------------------------------------------------------------------


def fitting(tag: str, languages: Iterable[str]) -> str | None:
    """The one of ``languages`` that a tag such as "da", "da-DK" or "da_DK" asks for; ``None`` if there is none.

    "da-DK" is also served by "da", and "da" by the first of its varieties; "de-CH" is not served by "de-AT".
    """
    if not _TAG.fullmatch(tag):
        return None
    known = {language.lower(): language for language in languages}
    wanted = tag.replace("_", "-").lower()
    varieties = (language for low, language in known.items() if low.startswith(f"{wanted}-"))
    if "-" not in wanted:
        return known.get(wanted) or next(varieties, None)
    while wanted not in known and wanted:
        wanted = wanted.rpartition("-")[0]
    return known.get(wanted)


def tags(value: str) -> list[str]:
    """The language tags of a header ("da", or "da, en;q=0.8"), the most wanted first; what is none is left out."""
    found: list[tuple[int, str]] = []
    for entry in value.split(","):
        tag, parted, weight = (part.strip() for part in entry.partition(";"))
        thousandths = _thousandths(weight) if parted else 1000
        if thousandths and _TAG.fullmatch(tag):
            found.append((thousandths, tag))
    found.sort(key=lambda item: -item[0])  # stable: equals stay in the order in which they were named
    return [tag for _, tag in found]


def _thousandths(weight: str) -> int:
    found = _WEIGHT.fullmatch(weight)
    if found is None:
        return 0
    whole, _, part = found[1].partition(".")
    return int(whole) * 1000 + int(part.ljust(3, "0"))
