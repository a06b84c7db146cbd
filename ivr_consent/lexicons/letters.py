"""Letters: those of the language's own script, and no character that is not seen.

A Cyrillic "а" in a Latin word looks right and is read out wrong, or not at all; characters without a width hide words
from the other rules. Scripts are those that the Unicode names of letters begin with.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import Final

MOST_SHOWN: Final = 3
"""Characters told of in one text: one pasted sentence would be a list of forty."""

LONGEST_SHOWN: Final = 40
"""Letters of a word that are told: words have fewer, but a text may be one run of letters."""

_CODES: Final = """
af az bs ca cs cy da de en es et eu fi fo fr ga gl hr hu id is it lb lt lv ms mt nb nl nn no pl pt ro se sk sl sq
sv sw tr vi
"""
_LATIN: Final = frozenset(_CODES.split())
_OTHER_SCRIPTS: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(("be", "bg", "mk", "ru", "uk"), frozenset({"CYRILLIC"})),
    **dict.fromkeys(("ar", "fa", "ur"), frozenset({"ARABIC"})),
    **dict.fromkeys(("hi", "mr", "ne"), frozenset({"DEVANAGARI"})),
    "el": frozenset({"GREEK"}),
    "he": frozenset({"HEBREW"}),
    "hy": frozenset({"ARMENIAN"}),
    "ja": frozenset({"CJK", "HIRAGANA", "KATAKANA"}),
    "ka": frozenset({"GEORGIAN"}),
    "ko": frozenset({"HANGUL", "CJK"}),
    "th": frozenset({"THAI"}),
    "zh": frozenset({"CJK", "BOPOMOFO"}),
}
_LATIN_ALONE: Final = frozenset({"LATIN"})
_SCRIPT_SUBTAGS: Final = {"latn": _LATIN_ALONE, "cyrl": frozenset({"CYRILLIC"}), "grek": frozenset({"GREEK"})}

_HARMLESS = re.compile(r"[\n -~\u00a0-\u00ac\u00ae-\u024f\u1e00-\u1eff\u2009\u2010-\u201f\u2026\u202f\u20ac]*")
_ALSO: Final = {"az": "\u0259\u018f"}  # letters that are no common ones of the script, by language
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u2800\u3164\uffa0") | frozenset(
    map(chr, range(0xFE00, 0xFE10))
)
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")
_JOINED_SCRIPTS = frozenset({"ARABIC", "DEVANAGARI"})  # in which a word is written with a joiner
_WORD = re.compile(r"[^\W\d_]+")


def scripts(language: str) -> frozenset[str] | None:
    """The scripts that a language is written in; ``None`` for a language that is not known here."""
    code, *subtags = language.lower().split("-")
    for subtag in subtags:
        if subtag in _SCRIPT_SUBTAGS:
            return _SCRIPT_SUBTAGS[subtag]
    return _LATIN_ALONE if code in _LATIN else _OTHER_SCRIPTS.get(code)


@lru_cache(maxsize=8192)
def strangers(language: str, text: str) -> tuple[tuple[str, str], ...]:
    """What a text holds that no reader sees or no voice speaks, as what was found and what to do."""
    own = scripts(language)
    if own == _LATIN_ALONE and _HARMLESS.fullmatch(text):
        return ()
    text = unicodedata.normalize("NFC", text)
    found: dict[tuple[str, str], None] = {}
    for stranger in chain(_signs(text, own), _words(text, own, language)):
        found[stranger] = None
        if len(found) == MOST_SHOWN:
            break
    return tuple(found)


def _signs(text: str, own: frozenset[str] | None) -> Iterator[tuple[str, str]]:
    """Characters that are wrong wherever they stand."""
    joiners = _JOINERS if own is not None and own & _JOINED_SCRIPTS else frozenset()
    for position, character in enumerate(text):
        if _unseen(character):
            if character not in joiners:
                around = "".join(c for c in text[max(0, position - 12) : position + 13] if not _unseen(c))
                yield f"{_called(character)}, which is not seen, in {around!r}", "delete it, or type the words anew"
        elif own == _LATIN_ALONE and not character.isascii():
            if unicodedata.category(character) == "Nd":
                yield _called(character), "write digits from 0 to 9"
            elif unicodedata.combining(character):
                yield f"{_called(character)} on a letter", "write the letter as the language has it, typed anew"


def _words(text: str, own: frozenset[str] | None, language: str) -> Iterator[tuple[str, str]]:
    """Letters of another script, told once a word."""
    words = _WORD.findall("".join(c for c in text if not _unseen(c)))
    if own is None:
        counts = Counter(_script(character) for word in words for character in word)
        del counts[""]
        if _kin(frozenset(counts)):
            return
        mostly = frozenset({counts.most_common(1)[0][0]})
    for word in words:
        if own is None:
            allowed = mostly
        elif own == _LATIN_ALONE or {_script(character) for character in word} & own:
            allowed = own
        else:
            allowed = own | _LATIN_ALONE  # a name in Latin letters
        for character in word:
            script = _script(character)
            rare = (
                own == _LATIN_ALONE and not _HARMLESS.fullmatch(character) and character not in _ALSO.get(language, "")
            )
            if script and (script not in allowed or rare):
                shown = word[:LONGEST_SHOWN]
                yield f"{_called(character)} in {shown!r}", f"write {shown!r} in letters of the language, typed anew"
                break


def _unseen(character: str) -> bool:
    if character in _INVISIBLE:
        return True
    return character != "\n" and unicodedata.category(character) in _UNSEEN_CATEGORIES


def _called(character: str) -> str:
    return unicodedata.name(character, "") or f"U+{ord(character):04X}"


def _script(character: str) -> str:
    """The script of a letter; "" for what belongs to none."""
    if character.isascii():
        return "LATIN" if character.isalpha() else ""
    if not character.isalpha() or character in "ªºµ":
        return ""
    name = unicodedata.name(character, "UNKNOWN")
    return "KATAKANA" if name.startswith("KATAKANA-HIRAGANA") else name.partition(" ")[0]


def _kin(present: frozenset[str]) -> bool:
    """Whether these scripts are written together; Japanese, Korean and Chinese are each written in several."""
    return len(present) <= 1 or any(present <= _OTHER_SCRIPTS[mixed] for mixed in ("ja", "ko", "zh"))
