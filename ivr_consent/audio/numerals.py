"""Numerals: numbers as words, in the forms that a language needs beside things, in dates and on the clock."""

from __future__ import annotations

import re
import warnings

from ivr_consent.audio.lexicon import Noun

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # docopt, which it brings for its command line, has invalid escapes
    from num2words import num2words

MAX_DIGITS = 12  # longer ones are read digit by digit


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_DANISH_ORDINALS = _list(
    "første anden tredje fjerde femte sjette syvende ottende niende tiende ellevte tolvte trettende fjortende femtende "
    "sekstende syttende attende nittende tyvende enogtyvende toogtyvende treogtyvende fireogtyvende femogtyvende "
    "seksogtyvende syvogtyvende otteogtyvende niogtyvende tredivte enogtredivte"
)
_POLISH_UNITS = _list(
    "pierwszego drugiego trzeciego czwartego piątego szóstego siódmego ósmego dziewiątego dziesiątego jedenastego "
    "dwunastego trzynastego czternastego piętnastego szesnastego siedemnastego osiemnastego dziewiętnastego"
)
_POLISH_TENS = _list(
    "dziesiątego dwudziestego trzydziestego czterdziestego pięćdziesiątego sześćdziesiątego siedemdziesiątego "
    "osiemdziesiątego dziewięćdziesiątego"
)
_POLISH_HOURS = _list(
    "zerowa pierwsza druga trzecia czwarta piąta szósta siódma ósma dziewiąta dziesiąta jedenasta dwunasta trzynasta "
    "czternasta piętnasta szesnasta siedemnasta osiemnasta dziewiętnasta dwudziesta"
)


def cardinal(number: int, language: str) -> str:
    """A number on its own."""
    words = str(num2words(number, lang=language))
    if language == "da":
        # as released: "en millioner", "ettusinde og nihundrede og …"
        words = re.sub(r"\ben (mill?i(?:on|ard))er\b", r"en \1", words)
        words = re.sub(r"tusinde og (?=\w+hundrede)", "tusind ", words)
    elif language == "sv":
        words = words.replace("etttusen", "ettusen")
    return words


def digits(text: str, language: str) -> str:
    """Every digit by itself."""
    return " ".join(cardinal(int(digit), language) for digit in text)


def genitive(number: int, language: str) -> str:
    """A Finnish number that qualifies a noun in the genitive; in other languages as it is."""
    if language != "fi":
        return cardinal(number, language)
    return str(num2words(number, lang="fi", case="genitive"))


def counted(number: int, noun: Noun, language: str) -> str:
    """A number and what is counted: ``tolv kroner``, ``jedna korona``, ``doscientas coronas``."""
    return f"{agreeing(number, noun.gender, language)} {_form(number, noun, language)}"


def agreeing(number: int, gender: str, language: str) -> str:
    """A number in the form that it has before a noun of a gender."""
    words = cardinal(number, language)
    feminine, last = gender == "f", number % 100
    if language == "da" and gender == "c" and last == 1:
        return re.sub(r"\bet$", "en", words)
    if language == "sv" and gender == "c" and last % 10 == 1 and last != 11:
        return re.sub(r"ett$", "en", words)
    if language == "no" and gender == "n" and number == 1:
        return "ett"
    if language == "de" and last == 1:
        return "eine" if feminine and number == 1 else re.sub(r"eins$", "ein", words)
    if language == "fr" and feminine:
        return re.sub(r"\bun$", "une", words)
    if language == "es":
        if feminine:
            words = re.sub(r"cientos\b", "cientas", words.replace("quinientos", "quinientas"))
            return re.sub(r"uno$", "una", words)
        return re.sub(r"\buno$", "un", re.sub(r"veintiuno$", "veintiún", words))
    if language == "it" and number == 1:
        return "una" if feminine else "un"
    if language == "pl" and number == 1:
        return {"f": "jedna", "n": "jedno"}.get(gender, words)
    if language == "pl" and feminine:
        return re.sub(r"\bdwa$", "dwie", words)
    return words


def _form(number: int, noun: Noun, language: str) -> str:
    if number == 1:
        return noun.one
    if language == "pl" and number % 10 in (2, 3, 4) and number % 100 not in (12, 13, 14):
        return noun.few
    return noun.many


def ordinal(number: int, language: str) -> str:
    """A place in an order: ``twenty-second``; in Polish in the genitive, as dates need it."""
    if language == "da" and 1 <= number <= len(_DANISH_ORDINALS):
        return _DANISH_ORDINALS[number - 1]
    if language == "pl" and 1 <= number <= 99:
        return _polish_genitive(number)
    return str(num2words(number, lang=language, to="ordinal"))


def _polish_genitive(number: int) -> str:
    if number < 20:
        return _POLISH_UNITS[number - 1]
    tens = _POLISH_TENS[number // 10 - 1]
    return f"{tens} {_POLISH_UNITS[number % 10 - 1]}" if number % 10 else tens


def year(number: int, language: str) -> str:
    """A year of a date."""
    hundreds, rest = divmod(number, 100)
    if language == "sv":
        # 1100 to 1999 and from 2010 on as hundreds, which num2words does not know
        if 11 <= hundreds <= 19 or (hundreds == 20 and rest >= 10):
            return f"{cardinal(hundreds, language)}hundra{cardinal(rest, language) if rest else ''}"
        return cardinal(number, language)
    if language == "pl":
        if not rest:
            return "dwutysięcznego" if number == 2000 else cardinal(number, language)
        return f"{cardinal(hundreds * 100, language)} {_polish_genitive(rest)}"
    if language in ("da", "en", "de", "nl", "no") and number >= 1000:
        return str(num2words(number, lang=language, to="year"))
    return cardinal(number, language)


def clock(hour: int, minute: int, language: str, *, inflected: bool = False) -> str:
    """A time of day, without a word such as o'clock's Danish ``klokken`` before it, which the text has.

    ``inflected`` is the Polish form after a preposition: ``o ósmej``.
    """
    if language == "en":
        return _english_clock(hour, minute)
    if language == "pl":
        said = _POLISH_HOURS[hour] if hour <= 20 else f"dwudziesta {_POLISH_HOURS[hour - 20]}"
        if inflected:
            said = " ".join(re.sub(r"a$", "ej", word) for word in said.split()).replace("drugej", "drugiej")
        return f"{said} {_minutes(minute, 'pl')}" if minute else said
    if language == "de":
        said = f"{agreeing(hour, 'n', 'de')} Uhr"
        return f"{said} {cardinal(minute, 'de')}" if minute else said
    if language == "nl":
        return f"{cardinal(hour, 'nl')} uur" + (f" {cardinal(minute, 'nl')}" if minute else "")
    if language == "fr":
        said = f"{agreeing(hour, 'f', 'fr')} {'heure' if hour < 2 else 'heures'}"
        return f"{said} {cardinal(minute, 'fr')}" if minute else said
    if language in ("es", "it"):
        said = agreeing(hour, "f", language)
        # the hour 21 agrees too: las veintiuna
        joined = {"es": "y", "it": "e"}[language]
        return f"{said} {joined} {cardinal(minute, language)}" if minute else said
    return f"{cardinal(hour, language)} {_minutes(minute, language)}" if minute else cardinal(hour, language)


def _minutes(minute: int, language: str) -> str:
    return digits(f"{minute:02}", language) if minute < 10 else cardinal(minute, language)


def _english_clock(hour: int, minute: int) -> str:
    if (hour, minute) in ((0, 0), (12, 0)):
        return "twelve noon" if hour else "midnight"
    half = "a m" if hour < 12 else "p m"
    past = "" if not minute else f" oh {cardinal(minute, 'en')}" if minute < 10 else f" {cardinal(minute, 'en')}"
    return f"{cardinal((hour + 11) % 12 + 1, 'en')}{past} {half}"
