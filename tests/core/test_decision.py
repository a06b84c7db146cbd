"""The decision's canonical bytes, and the Grant that only the ledger makes."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_consent.core.decision import (
    SCHEMA,
    Answer,
    Decision,
    Grant,
    NoticeEvidence,
    Outcome,
    SegmentEvidence,
    canonical,
)
from ivr_consent.testing.plans import call_context


def decision(outcome: Outcome = Outcome.GRANTED) -> Decision:
    segment = SegmentEvidence("a", "00", "22", (1, 2), 8000, 8000, True, 1)
    return Decision(
        replace(call_context("a" * 32), configuration_sha256="5" * 64),
        outcome,
        "yes_key",
        "recorded",
        NoticeEvidence("recording", 1, "en", "33", "66", (segment,), True, 1, "country"),
        (Answer("training", "44", "granted", "1", 700, "virtual", 1, 0),),
        ("training",) if outcome is Outcome.GRANTED else (),
        30,
        0,
        ("en", "da"),
        recording_id="a" * 32,
    )


def test_canonical_bytes_are_fixed() -> None:
    """R22, R23: these bytes are what is hashed; a change of their form breaks every proof made before."""
    assert canonical({"b": [1, True, None], "a": {"e": "é/\u2028"}, "A": ""}) == (
        '{"A":"","a":{"e":"é/\u2028"},"b":[1,true,null]}'.encode()
    )
    assert canonical(decision().payload()) == (
        b'{"answers":[{"after_ms":700,"answer":"granted","attempts":1,"early_keys":0,"key":"1","purpose":"training",'
        b'"question_sha256":"44","timing":"virtual"}],"call":{"call_id":"' + b"a" * 32 + b'",'
        b'"channel_uniqueid":"1700000000.1","configuration_sha256":"' + b"5" * 64 + b'","line":"support",'
        b'"software":"ivr-consent test","subject_ref":null,"switch":"simulated"},"languages_offered":["en","da"],'
        b'"notice":{"complete":true,"id":"recording","language":"en","language_by":"country",'
        b'"manifest_sha256":"66","segments":[{"audio_sha256":"22",'
        b'"complete":true,"elements":[1,2],"id":"a","samples_played":8000,"samples_total":8000,'
        b'"text_sha256":"00","times":1}],"text_sha256":"33","times":1,"version":1},"outcome":"granted",'
        b'"purposes_granted":["training"],"reason":"yes_key","recording_id":"'
        + b"a"
        * 32
        + b'","reference_ref":null,"repeats":0,'
        b'"retention_days":30,"route":"recorded","schema":1}'
    )


def test_order_of_keys_does_not_matter() -> None:
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})


def test_letters_have_one_form() -> None:
    """é as one character and as e with an accent are the same text, hence the same bytes."""
    assert canonical({"x": "e\u0301"}) == canonical({"x": "\u00e9"}) == '{"x":"é"}'.encode()


@pytest.mark.parametrize(
    "value",
    [0.0, 1.5, float("nan"), float("inf")],
    ids=str,
)
@pytest.mark.parametrize(
    "wrap",
    [lambda v: v, lambda v: [v], lambda v: (1, v), lambda v: {"in": {"side": v}}],
    ids=["bare", "list", "tuple", "table"],
)
def test_floats_are_refused(value: float, wrap: Any) -> None:
    with pytest.raises(TypeError, match="canonical form"):
        canonical({"x": wrap(value)})


@pytest.mark.parametrize("value", [b"bytes", object(), {1, 2}, Outcome], ids=["bytes", "object", "set", "class"])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical({"x": value})


@pytest.mark.parametrize(
    ("key", "error"), [(1, TypeError), (1.5, TypeError), (None, TypeError), ("\u212a", ValueError)]
)
def test_keys_that_could_stand_in_two_orders_are_refused(key: Any, error: type[Exception]) -> None:
    """R23: a Kelvin sign becomes a K when it is normalised, and two keys could become one."""
    with pytest.raises(error, match="canonical form"):
        canonical({"x": {key: 1, "L": 2}})


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        canonical({"x": "\ud800"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from("abcxyz"), JSON))
def test_canonical_bytes_read_back_and_are_stable(payload: dict[str, Any]) -> None:
    once = canonical(payload)
    assert canonical(json.loads(once)) == once
    assert b"\n" not in once, "I6: a payload is one line"


def test_the_payload_is_plain_json() -> None:
    payload = decision().payload()
    assert payload["schema"] == SCHEMA == 1
    assert payload["outcome"] == "granted"
    assert type(payload["outcome"]) is str
    assert json.loads(canonical(payload)) == json.loads(json.dumps(payload))


# --- Grant ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mint", [None, object(), "mint", Grant], ids=["None", "object", "text", "class"])
def test_a_grant_is_not_made_by_its_constructor(mint: object) -> None:
    """I1: without the ledger's mint there is no Grant."""
    with pytest.raises(TypeError, match="ledger"):
        Grant(mint, "a" * 32, 1, ("training",))


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.GRANTED])
def test_only_a_granted_decision_is_minted(outcome: Outcome) -> None:
    """I1, R3."""
    with pytest.raises(TypeError, match="granted"):
        Grant.minted_by_ledger(decision(outcome), 1)


def test_a_grant_without_a_purpose_is_not_minted() -> None:
    """R4: consent is for a purpose."""
    with pytest.raises(TypeError, match="purpose"):
        Grant.minted_by_ledger(replace(decision(), purposes_granted=()), 1)


def test_a_grant_is_not_copied_out_of_bytes() -> None:
    """I1: a Grant from a file, a queue or another process would be a Grant without a ledger."""
    grant = Grant.minted_by_ledger(decision(), 7)
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(grant))  # noqa: S301 - our own bytes, and it is refused: that is what is tested
    with pytest.raises(TypeError):
        copy.copy(grant)


def test_a_grant_names_its_call() -> None:
    grant = Grant.minted_by_ledger(decision(), 7)
    assert (grant.call_id, grant.sequence, grant.purposes) == ("a" * 32, 7, ("training",))
    assert repr(grant) == f"Grant(call_id='{'a' * 32}', sequence=7)"
