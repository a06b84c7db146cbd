"""The quick way to a decision's bytes gives the bytes of the slow one, for every decision that there can be."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr_consent.core.decision import (
    Answer,
    CallContext,
    Decision,
    NoticeEvidence,
    Outcome,
    SegmentEvidence,
    canonical,
)
from ivr_consent.store.chain import decision_index
from ivr_consent.store.decided import decision_entry
from ivr_consent.store.personal import split
from ivr_consent.testing.plans import call_context

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", '"', "\\", "\x00\x1f\x7f", "e\u0301", "\u1e9b\u0323", "\U0001f600", "\u2028", "a" * 64, "</script>"]
)
names = st.text(string.ascii_letters, min_size=1, max_size=8)
numbers = st.integers(0, 1 << 30)
maybe = texts | st.none()

segments = st.builds(
    SegmentEvidence,
    texts,
    texts,
    texts,
    st.lists(numbers, max_size=3).map(tuple),
    numbers,
    numbers,
    st.booleans(),
    numbers,
)
notices = st.builds(
    NoticeEvidence,
    texts,
    numbers,
    texts,
    texts,
    texts,
    st.lists(segments, max_size=4).map(tuple),
    st.booleans(),
    numbers,
    texts,
)
answers = st.builds(Answer, texts, texts, texts, maybe, st.integers() | st.none(), maybe, numbers, numbers)
calls = st.builds(CallContext, names, texts, texts, texts, maybe, texts, texts)
decisions = st.builds(
    Decision,
    calls,
    st.sampled_from(Outcome),
    texts,
    texts,
    notices | st.none(),
    st.lists(answers, max_size=3).map(tuple),
    st.lists(names, max_size=3).map(tuple),
    numbers | st.none(),
    numbers,
    st.lists(texts, max_size=3).map(tuple),
    maybe,
    maybe,
)


def slowly(decision: Decision) -> tuple[Any, ...]:
    whole = decision.payload()
    public, personal = split(whole)
    return canonical(public), personal, decision_index(whole)


@given(decisions)
@settings(max_examples=300)
def test_the_bytes_are_the_same(decision: Decision) -> None:
    entry = decision_entry(decision)
    assert (entry.payload, entry.personal, entry.decided) == slowly(decision)
    assert (entry.kind, entry.call_id, entry.line) == ("decision", decision.call.call_id, decision.call.line)
    assert entry.outcome == decision.outcome.value


@given(segments, segments)
def test_what_is_kept_of_one_segment_is_not_used_for_another(first: SegmentEvidence, second: SegmentEvidence) -> None:
    """Also one that came to lie where another had been."""
    for segment in (first, second, replace(first), replace(second), first):
        notice = NoticeEvidence("n", 1, "en", "", "", (segment, segment), complete=True, times=1, language_by="first")
        decision = Decision(call_context(), Outcome.DECLINED, "r", "u", notice, (), (), 1, 0, (), None)
        assert decision_entry(decision).payload == slowly(decision)[0]


def test_many_segments_are_kept_and_then_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    from ivr_consent.store import decided

    monkeypatch.setattr(decided, "MAX_KEPT", 4)
    for number in range(20):
        segment = SegmentEvidence(str(number), "", "", (), number, number, complete=True, times=1)
        notice = NoticeEvidence("n", 1, "en", "", "", (segment,), complete=True, times=1, language_by="first")
        decision = Decision(call_context(), Outcome.DECLINED, "r", "u", notice, (), (), 1, 0, (), None)
        assert decision_entry(decision).payload == slowly(decision)[0]
        assert len(decided._kept) <= 4


@pytest.mark.parametrize("value", [1.5, b"bytes", {"a": 1}, object()])
def test_what_has_no_form_is_refused(value: Any) -> None:
    decision = Decision(call_context(), Outcome.DECLINED, value, "u", None, (), (), 1, 0, (), None)
    with pytest.raises(TypeError, match="no canonical form"):
        decision_entry(decision)


def test_half_a_character_is_refused() -> None:
    decision = Decision(call_context(), Outcome.DECLINED, "\ud800", "u", None, (), (), 1, 0, (), None)
    with pytest.raises(ValueError, match="surrogate"):
        decision_entry(decision)
