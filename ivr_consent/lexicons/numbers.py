"""Numbers as words: what "ninety" or "dziewięćdziesięciu" is, for the numbers of days that notices keep to.

The words are those of num2words, with the inflections and the regional words that it does not make.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

MOST: Final = 400
"""Up to here numbers are known as words; a longer period is hardly written out."""

_JOINTS: Final[dict[str, frozenset[str]]] = {
    "da": frozenset({"og"}),
    "de": frozenset({"und"}),
    "en": frozenset({"and"}),
    "es": frozenset({"y"}),
    "fr": frozenset({"et"}),
    "no": frozenset({"og"}),
    "pl": frozenset({"i"}),
    "sv": frozenset({"och"}),
}
"""Words between parts of a number, left out on both sides: "one hundred and twenty"."""

_ARTICLES: Final = {"da", "de", "es", "fr", "it", "nl", "no", "sv"}
"""Languages in which the number one is the article too ("en dag"): it is no number of days there."""

_BEGINNINGS: Final = {
    language: tuple(letters.split())
    for language, letters in {
        "da": "ei en et to tr fi fe se sy ot ni ti el tv fj at ty fy ha hu",
        "de": "ei zw dr vi fu se si ac ne ze el hu",
        "en": "on tw th fo fi si se ei ni te el hu ah",
        "es": "un do tr cu ci se si oc nu di on ca qu ve no",
        "fi": "yk ka ko ne vi ku se yh ky sa",
        "fr": "un de tr qu ci si se hu ne di on do soi oc no ce va vi",
        "it": "un du tr qu ci se ot no di do ve ce",
        "nl": "ee tw dr ve vi ze ac ne ti el de ho ta",
        "no": "en et to tr fi fe fo se sj sy at ni ti tj el tv fj ty ot hu",
        "pl": "je dw tr cz pi sz si os dz st",
        "sv": "en et tv tr fy fe se sj at ni ti el to fj ar tj fo hu",
    }.items()
}
"""How number words begin (:func:`plain`): most words before "days" are none, and need no table of them."""

_POLISH_GENITIVE: Final = MappingProxyType(
    {
        "jeden": "jednego",
        "dwa": "dwóch",
        "trzy": "trzech",
        "cztery": "czterech",
        "pięć": "pięciu",
        "sześć": "sześciu",
        "siedem": "siedmiu",
        "osiem": "ośmiu",
        "dziewięć": "dziewięciu",
        "dziesięć": "dziesięciu",
        "jedenaście": "jedenastu",
        "dwanaście": "dwunastu",
        "trzynaście": "trzynastu",
        "czternaście": "czternastu",
        "piętnaście": "piętnastu",
        "szesnaście": "szesnastu",
        "siedemnaście": "siedemnastu",
        "osiemnaście": "osiemnastu",
        "dziewiętnaście": "dziewiętnastu",
        "dwadzieścia": "dwudziestu",
        "trzydzieści": "trzydziestu",
        "czterdzieści": "czterdziestu",
        "pięćdziesiąt": "pięćdziesięciu",
        "sześćdziesiąt": "sześćdziesięciu",
        "siedemdziesiąt": "siedemdziesięciu",
        "osiemdziesiąt": "osiemdziesięciu",
        "dziewięćdziesiąt": "dziewięćdziesięciu",
        "sto": "stu",
        "dwieście": "dwustu",
        "trzysta": "trzystu",
        "czterysta": "czterystu",
    }
)

_OTHER_WORDS: Final = MappingProxyType(
    {
        "da": ((r"(?<!halv)treds\b", "tres"), (r"^et ?hundrede", "hundrede"), (r"^et ?hundrede", "et hundrede")),
        "de": ((r"^ein(?=hundert)", ""),),
        "en": ((r"^one (?=hundred)", ""), (r"^one (?=hundred)", "a ")),
        "es": ((r"uno$", "un"),),
        "it": ((r"uno$", "un"),),
        "no": ((r"^en (?=hundre)", ""), (r"^en (?=hundre)", "ett "), (r"^tretti", "tredve"), (r"^tjue", "tyve")),
        "pl": ((r"^dwa$", "dwie"),),
        "sv": ((r"^ett(?=hundra)", ""), (r"ett$", "en")),
    }
)
"""Words that num2words does not make, as a part of a number and what is also said for it."""


def plain(text: str) -> str:
    """Small letters without accents, and nothing else: ``plain("één-en-Twintig") == "eenentwintig"``."""
    apart = unicodedata.normalize("NFKD", text).casefold().replace("ł", "l").replace("ø", "o")
    return "".join(character for character in apart if character.isalpha())


def joined(language: str, tokens: list[str]) -> str:
    """The words of a number in the form of :func:`number_words`."""
    joints = _JOINTS.get(language, frozenset())
    return "".join(bare for bare in map(plain, tokens) if bare not in joints)


def may_be_number(language: str, token: str) -> bool:
    """Whether a word begins as number words of the language do."""
    return plain(token).startswith(_BEGINNINGS[language])


@cache
def number_words(language: str) -> Mapping[str, int]:
    """Numbers from 1 to :data:`MOST` by their words joined without spaces and accents (:func:`joined`)."""
    first = 2 if language in _ARTICLES else 1
    found: dict[str, int] = {}
    for number in range(first, MOST + 1):
        for form in _forms(language, number):
            found.setdefault(joined(language, re.split(r"[\s-]+", form)), number)
    return MappingProxyType(found)


def _forms(language: str, number: int) -> Iterator[str]:
    from num2words import num2words  # noqa: PLC0415 - loads slowly, and few notices write their days as words

    form: str = num2words(number, lang=language)
    yield form
    for part, other in _OTHER_WORDS.get(language, ()):
        changed = re.sub(part, other, form)
        if changed != form:
            yield changed
    if language == "fi":
        yield num2words(number, lang="fi", case="genitive")
        yield num2words(number, lang="fi", case="partitive")
    elif language == "pl":
        yield " ".join(_POLISH_GENITIVE.get(word, word) for word in form.split())
    elif language == "fr" and number % 100 >= 70:
        yield from _swiss(number)


def _swiss(number: int) -> Iterator[str]:
    """Septante, huitante, octante and nonante, which are said in Belgium and Switzerland."""
    from num2words import num2words  # noqa: PLC0415 - see above

    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    before = num2words(hundreds * 100, lang="fr").removesuffix("s") + " " if hundreds else ""
    after = " " + num2words(ones, lang="fr") if ones else ""
    for name in {7: ("septante",), 8: ("huitante", "octante"), 9: ("nonante",)}[tens]:
        yield before + name + after
