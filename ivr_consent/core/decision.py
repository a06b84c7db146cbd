"""The decision: what is written, once per call, before anything is recorded. And the grant that only a log can make.

Field names follow ISO/IEC TS 27560 and GDPR terms where there is one. Nothing here is a caller's name, number or key
other than a consent key (R25).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NoReturn

SCHEMA: Final = 1
"""Version of the decision's fields; a reader refuses what is newer than itself."""


class Outcome(StrEnum):
    """How a call was decided (R7). Only GRANTED leads to a recording."""

    GRANTED = "granted"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    INVALID = "invalid"
    ABANDONED = "abandoned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CallContext:
    """What is known of a call before the flow begins; made by the driver, never by the caller.

    ``call_id`` is random, ours, and names the recording too. ``subject_ref`` is a keyed pseudonym of the caller's
    number or ``None`` when the number is withheld.
    """

    call_id: str
    line: str
    switch: str
    channel_uniqueid: str
    subject_ref: str | None
    software: str
    configuration_sha256: str


@dataclass(frozen=True, slots=True)
class Reference:
    """What a caller can name a consent by: ``code``, ten digits with a check digit, said to the caller alone.

    ``ref`` is its keyed hash, the one thing of it that is logged.
    """

    code: str
    ref: str


@dataclass(frozen=True, slots=True)
class SegmentEvidence:
    """Which segment (digests of its text and audio), and how much of it was heard.

    ``samples_played`` of ``samples_total`` in the last playing, ``times`` in all.
    """

    id: str
    text_sha256: str
    audio_sha256: str
    elements: tuple[int, ...]
    samples_played: int
    samples_total: int
    complete: bool
    times: int


heard_of: Final = lru_cache(maxsize=4096)(SegmentEvidence)
"""A :class:`SegmentEvidence`: the same object for all calls that heard as much of the same segment, which most do."""


@dataclass(frozen=True, slots=True)
class NoticeEvidence:
    """Which notice was played, and how much of it, in the language of the choice.

    ``version`` is the published one of this line, ``manifest_sha256`` the digest of its signed manifest.
    ``language_by`` says what chose the language: ``dialled``, ``country``, ``header``, ``channel``, ``first`` (of the
    line's languages), or ``key``, the caller.
    """

    id: str
    version: int
    language: str
    text_sha256: str
    manifest_sha256: str
    segments: tuple[SegmentEvidence, ...]
    complete: bool
    times: int
    language_by: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked for one purpose and what came back.

    ``after_ms``: when the press began, counted from the end of the question (``None``: no key); ``timing`` says how
    that is known; ``attempts`` counts openings of the choice window.
    """

    purpose: str
    question_sha256: str
    answer: str
    key: str | None
    after_ms: int | None
    timing: str | None
    attempts: int
    early_keys: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The one terminal decision of a call (I3)."""

    call: CallContext
    outcome: Outcome
    reason: str
    route: str
    notice: NoticeEvidence | None
    answers: tuple[Answer, ...]
    purposes_granted: tuple[str, ...]
    retention_days: int | None
    repeats: int
    languages_offered: tuple[str, ...]
    recording_id: str | None
    reference_ref: str | None = None
    schema: int = SCHEMA

    def payload(self) -> dict[str, Any]:
        """Plain JSON values of all fields."""
        value = _plain(self)
        assert isinstance(value, dict)
        return value


_FIELDS: Final = {
    record: tuple(field.name for field in fields(record))
    for record in (CallContext, SegmentEvidence, NoticeEvidence, Answer, Decision)
}
_CLEAR: Final = frozenset({str, int, bool, type(None)})
"""Types with one JSON form; exact, since this runs for every value of every decision."""


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in _CLEAR:
        return value
    if kind is tuple:
        return [_plain(item) for item in value]
    names = _FIELDS.get(kind)
    if names is None:
        assert isinstance(value, StrEnum)
        return value.value
    return {name: _plain(getattr(value, name)) for name in names}


def canonical(payload: Mapping[str, Any]) -> bytes:
    """The one byte form of a payload: JSON, sorted keys, no white space, UTF-8 NFC, no floats (a subset of RFC 8785).

    Raises :class:`TypeError` for floats, for keys that are not text and for values that are not JSON,
    :class:`ValueError` for a lone surrogate and for keys beyond ASCII.
    """
    _refuse_unclear(payload)
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() if text.isascii() else unicodedata.normalize("NFC", text).encode()


def _refuse_unclear(value: Any) -> None:
    kind = type(value)
    if kind in _CLEAR:
        return
    if kind is float:
        raise TypeError("a float has no canonical form: use whole milliseconds or a string")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} has no canonical form: use text")
            if not key.isascii():  # normalising it could change the order of keys, or make two of them one
                raise ValueError(f"the key {key!r} has no canonical form: use ASCII")
            if type(item) not in _CLEAR:
                _refuse_unclear(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if type(item) not in _CLEAR:
                _refuse_unclear(item)
    elif isinstance(value, float):
        raise TypeError("a float has no canonical form: use whole milliseconds or a string")


_MINT: Final = object()


class Grant:
    """Proof that a granted decision is on disk. Only a log makes one, after its commit (I1); a recorder takes one.

    Python cannot forbid a forger in the same process; the tests hold that no module but the ledger calls
    :meth:`minted_by_ledger`.
    """

    __slots__ = ("call_id", "purposes", "sequence")

    def __init__(self, mint: object, call_id: str, sequence: int, purposes: tuple[str, ...]) -> None:
        if mint is not _MINT:
            raise TypeError("a Grant is made by the ledger alone, after its commit")
        self.call_id: Final = call_id
        self.sequence: Final = sequence
        self.purposes: Final = purposes

    @classmethod
    def minted_by_ledger(cls, decision: Decision, sequence: int) -> Grant:
        """For the ledger, after the commit of exactly this decision."""
        if decision.outcome is not Outcome.GRANTED or not decision.purposes_granted:
            raise TypeError("only a granted decision with a purpose makes a Grant")
        return cls(_MINT, decision.call.call_id, sequence, decision.purposes_granted)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Grant is not copied, stored or sent: it proves what this process has just written")

    def __repr__(self) -> str:
        return f"Grant(call_id={self.call_id!r}, sequence={self.sequence})"
