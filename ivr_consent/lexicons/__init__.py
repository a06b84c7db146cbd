"""Words and phrases by language, for the rules of :mod:`ivr_consent.wording`.

A module a language with its ``WORDS`` (:class:`ivr_consent.lexicon.Words`); beside them what is of no single language:
number words, letters, and the supervisory authorities.
"""

from __future__ import annotations
