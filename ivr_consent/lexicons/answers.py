"""How the answers yes and no are worded, and that something is recorded or not, by language.

Stems and words as regular expressions in small letters. They tell apart what is said from its opposite; whether it is
well said they cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_SENTENCES: Final = re.compile(r"(?<=[.;:!?])\s+")


@dataclass(frozen=True, slots=True)
class Answers:
    """``yes`` and ``no`` as answers, ``negation`` of a sentence, ``record`` for recording, ``object`` for objecting."""

    yes: re.Pattern[str]
    no: re.Pattern[str]
    negation: re.Pattern[str]
    record: re.Pattern[str]
    object: re.Pattern[str]

    def says_recorded(self, text: str) -> bool:
        """Whether a sentence of the text says that something is recorded."""
        return any(self.record.search(part) and not self.negation.search(part) for part in _sentences(text))

    def says_not_recorded(self, text: str) -> bool:
        """Whether a sentence of the text says that something is not recorded."""
        return any(self.record.search(part) and self.negation.search(part) for part in _sentences(text))


def _sentences(text: str) -> Iterator[str]:
    yield from _SENTENCES.split(text.casefold())


def _answers(yes: str, no: str, negation: str, record: str, objection: str) -> Answers:
    whole = [rf"(?<!\w)(?:{words})" for words in (yes, no, negation, record, objection)]
    return Answers(*(re.compile(pattern) for pattern in whole))


ANSWERS: Final[Mapping[str, Answers]] = MappingProxyType(
    {
        "da": _answers(
            r"ja\b|samtyk|accept|godkend|giver lov",
            r"nej\b|ikke\b|afvis|afslå|nægt",
            r"ikke\b|ingen\b|intet\b|uden\b|aldrig\b",
            r"optag|indspil",
            r"modsæt|indsigelse|imod\b|indvend",
        ),
        "de": _answers(
            r"ja\b|zustimm|stimmen\b|einwillig|einverstanden|bejah",
            r"nein\b|nicht\b|ablehn|verweiger|lehnen\b|kein",
            r"nicht\b|kein|nie\b|niemals\b|ohne\b|nichts\b",
            r"aufgezeichnet|aufzeichn|aufgenommen|aufnahme|aufnehm|mitschn|mitgeschnitten",
            r"widerspr|dagegen\b|einwänd|einwand",
        ),
        "en": _answers(
            r"yes\b|consent|agree|accept|allow|permit",
            r"no\b|not\b|refuse|declin|reject|disagree|don't\b",
            r"not\b|no\b|never\b|nothing\b|without\b|none\b|\w+n't\b",
            r"record|tape",
            r"object|refuse|oppose|mind\b|opt out",
        ),
        "es": _answers(
            r"sí\b|acept|consient|autori|de acuerdo",
            r"no\b|rechaz|nieg|deneg",
            r"no\b|ningun|ningún|sin\b|nunca\b|nada\b",
            r"grab|registr",
            r"opone|objet|rechaz|se opon",
        ),
        "fi": _answers(
            r"kyllä\b|suostu|hyväksy|annatte luvan|sallitte",
            r"ei\b|ette\b|kieltäy|kiellä|en\b|et\b",
            r"ei\b|eikä\b|ette\b|ilman\b|koskaan\b|mitään\b",
            r"tallen|nauhoit|äänit",
            r"vastust|kieltäy|kiellä",
        ),
        "fr": _answers(
            r"oui\b|accept|consen|d'accord|autoris",
            r"non\b|refus|n'|ne\b|pas\b",
            r"pas\b|aucun|sans\b|jamais\b|rien\b|non\b",
            r"enregistr",
            r"oppos|objection|refus",
        ),
        "it": _answers(
            r"sì\b|accett|acconsent|consen|d'accord|autorizz",
            r"no\b|rifiut|non\b|neg[ao]\b",
            r"non\b|nessun|senza\b|mai\b|niente\b|nulla\b",
            r"registr|incis",
            r"oppon|obiezion|rifiut|contrari",
        ),
        "nl": _answers(
            r"ja\b|toestem|akkoord|instem|stemt\b|goedvind",
            r"nee\b|niet\b|weiger|geen\b|afwijz",
            r"niet\b|geen\b|nooit\b|niets\b|zonder\b",
            r"opgenomen|opname|opnem|neemt\b.*\bop\b|nemen\b.*\bop\b",
            r"bezwaar|weiger|tegen\b",
        ),
        "no": _answers(
            r"ja\b|samtyk|godta|godkjenn|tillat",
            r"nei\b|ikke\b|avslå|avvis|nekt",
            r"ikke\b|ingen\b|intet\b|uten\b|aldri\b",
            r"tas\b.*\bopp\b|tar\b.*\bopp\b|opptak|ta\b.*\bopp\b",
            r"motset|innvend|imot\b",
        ),
        "pl": _answers(
            r"tak\b|zgod|zgadza|wyraża|akcept",
            r"nie\b|odmow|odmaw|odrzuc",
            r"nie\b|bez\b|żad|brak|nigdy\b|nic\b",
            r"nagr|rejestr",
            r"sprzeciw|odmaw|przeciw",
        ),
        "sv": _answers(
            r"ja\b|samtyck|godkänn|accept|tillåt",
            r"nej\b|inte\b|avböj|neka|avslå",
            r"inte\b|ingen\b|inget\b|utan\b|aldrig\b|ej\b",
            r"spela|inspel",
            r"motsät|invänd|emot\b",
        ),
    }
)
"""By language, as the other words."""
