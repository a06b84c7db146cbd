"""Yes and no alike: offered in one breath, by the same words, with no stress on either (GDPR article 7(4))."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import Final

from ivr_consent.lexicon import lexicon

ALIKE: Final = 0.30
"""Of its letters, by which the longer of two answers may differ: beyond it the sound cannot be evened either."""
ANSWER_LETTERS: Final = 2
"""Letters that the words for yes and no themselves differ by: such a difference never counts."""

KEY: Final = re.compile(r"(?<![\w+])[0-9*#](?!\w)")
"""A key that stands alone."""

_CAPITALS = re.compile(r"(?<!\w)[^\W\d_]{2,}(?!\w)")
_LOUD = 3
_WORDS = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_MARK = re.compile(r"[.?!]+(?=\s|$)")


@lru_cache(maxsize=1024)
def unlike(language: str, yes: str, no: str) -> tuple[tuple[str, str], ...]:
    """What makes one of two answers weigh more than the other, as what was found and what to do."""
    found = []
    apart = difference(yes, no)
    if apart > ALIKE:
        found.append((f"yes and no differ by {apart:.0%} of their letters", "word them alike, equally long"))
    if not _same_pattern(yes, no):
        found.append(("yes and no are not worded alike", "use one sentence for both, that differs in key and answer"))
    stress = Counter(_stress(language, yes))
    other = Counter(_stress(language, no))
    for sign in (stress - other) + (other - stress):
        found.append((f"one of yes and no is stressed by {sign!r}", "say both plainly"))
    loud = _loud(yes, no) or _loud(no, yes)
    if loud:
        found.append((f"one of yes and no is stressed by {loud!r}", "write both in plain small letters"))
    return tuple(found)


def difference(yes: str, no: str) -> float:
    """By which part of the longer one's letters two texts differ; 0 when it is no more than yes and no themselves."""
    few, many = sorted(sum(map(str.isalpha, text)) for text in (yes, no))
    return 0.0 if many - few <= ANSWER_LETTERS else (many - few) / many


def _same_pattern(yes: str, no: str) -> bool:
    """As many sentences with the same marks, the key in the same place, and most words in common."""
    marks = [[mark.replace("!", ".") for mark in _MARK.findall(text)] for text in (yes, no)]  # "!" is told as stress
    if marks[0] != marks[1]:
        return False
    (first, last), (other_first, other_last) = _place(yes), _place(no)
    if first != other_first and last != other_last:
        return False
    one, other = (_WORDS.findall(KEY.sub(" ", text).lower()) for text in (yes, no))
    longest = max(len(one), len(other))
    shared = sum((Counter(one) & Counter(other)).values())
    return longest - shared <= max(1, longest // 2)


def _place(text: str) -> tuple[int, int]:
    """How many words stand before and behind the key; a negated answer may be longer on one side only."""
    before, _, behind = KEY.sub("\0", text, count=1).partition("\0")
    return len(before.split()), len(behind.split())


def _stress(language: str, text: str) -> list[str]:
    of = lexicon(language)
    return [*(of.stress.findall(text.lower()) if of else ()), *re.findall("!", text)]


def _loud(text: str, other: str) -> str:
    """A word in capitals, where the other text has none."""
    if any(word.isupper() for word in _CAPITALS.findall(other)):
        return ""
    return next((word for word in _CAPITALS.findall(text) if word.isupper() and len(word) >= _LOUD), "")
