"""A decision as it goes into the log: the bytes that :func:`~ivr_consent.core.decision.canonical` would make of it.

Every call waits for this. Written straight from the decision's fields it takes a tenth of the time of building nested
tables, checking them and encoding them; the test compares both. What was heard of one segment is the same in almost
every call, and so is its text, which is kept.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection
from dataclasses import fields
from json.encoder import encode_basestring
from operator import attrgetter
from typing import Any, Final

from ivr_consent.core.decision import Answer, CallContext, Decision, NoticeEvidence, Outcome, SegmentEvidence
from ivr_consent.store.chain import DecisionIndex, Entry
from ivr_consent.store.personal import OF_CALL, OF_EVENT, TABLE, Personal

MAX_KEPT: Final = 4096
"""Segments whose text is kept; then all are forgotten."""


def decision_entry(decision: Decision) -> Entry:
    """A decision on its way into the chain. Raises :class:`TypeError` and :class:`ValueError` as ``canonical`` does."""
    call = decision.call
    beside = Personal(_bytes(_beside(decision)), call.subject_ref, None)
    return Entry(
        "decision",
        call.call_id,
        call.line,
        decision.outcome.value,
        _bytes(_public(decision)),
        beside,
        _index(decision),
    )


def _index(decision: Decision) -> DecisionIndex:
    notice, days, reference = decision.notice, decision.retention_days or 0, decision.reference_ref
    if notice is None:
        return DecisionIndex(None, None, None, days, reference, decision.purposes_granted)
    return DecisionIndex(notice.language, notice.id, notice.version, days, reference, decision.purposes_granted)


def _bytes(text: str) -> bytes:
    return text.encode() if text.isascii() else unicodedata.normalize("NFC", text).encode()


# --- values ----------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    try:
        return _TEXTS[type(value)](value)
    except KeyError:
        raise TypeError(f"a {type(value).__name__} has no canonical form in a decision") from None


def _list(values: tuple[Any, ...]) -> str:
    return f"[{','.join(map(_text, values))}]"


_TEXTS: Final[dict[type, Callable[[Any], str]]] = {
    str: encode_basestring,
    int: repr,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): lambda _: "null",
    tuple: _list,
    Outcome: lambda outcome: encode_basestring(outcome.value),
}


def _table_of(record: type, left_out: Collection[str] = ()) -> Callable[[Any], str]:
    """What writes a record as a table, its names in order."""
    names = sorted(one.name for one in fields(record) if one.name not in left_out)
    form = "{" + ",".join(f'"{name}":%s' for name in names) + "}"
    values: Callable[[Any], tuple[Any, ...]] = attrgetter(*names)
    return lambda value: form % tuple(map(_text, values(value)))


_segment_afresh: Final = _table_of(SegmentEvidence)
_kept: dict[int, tuple[SegmentEvidence, str]] = {}


def _segment(segment: SegmentEvidence) -> str:
    """By the object itself, which the flow makes once: comparing its fields would take as long as writing them."""
    found = _kept.get(id(segment))
    if found is not None and found[0] is segment:
        return found[1]
    text = _segment_afresh(segment)
    if len(_kept) >= MAX_KEPT:
        _kept.clear()
    _kept[id(segment)] = segment, text
    return text


_TEXTS[SegmentEvidence] = _segment
_TEXTS[NoticeEvidence] = _table_of(NoticeEvidence)
_TEXTS[Answer] = _table_of(Answer)
_TEXTS[CallContext] = _table_of(CallContext, left_out=OF_CALL)

_public: Final = _table_of(Decision, left_out=OF_EVENT)
_of_call: Final = _table_of(CallContext, left_out={one.name for one in fields(CallContext)} - set(OF_CALL))
_of_event: Final = tuple(sorted(one.name for one in fields(Decision) if one.name in OF_EVENT))


def _beside(decision: Decision) -> str:
    """The personal part, as ``split`` takes it out."""
    found = {name: _text(getattr(decision, name)) for name in _of_event}
    found[TABLE] = _of_call(decision.call)
    return "{" + ",".join(f'"{name}":{found[name]}' for name in sorted(found)) + "}"
