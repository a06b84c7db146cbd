"""Our regular expressions beside Python's, and languages: what can match at all."""

from __future__ import annotations

import random
import re

import pytest

from ivr_consent.pbx.audit.results import HOLE
from ivr_consent.pbx.freeswitch.audit.expressions import (
    DIALLED,
    always_matches,
    beginnings,
    can_match,
    language,
    match,
    shown,
)
from ivr_consent.pbx.freeswitch.audit.grammar import group, parsed

ATOMS = ("a", "b", "1", r"\d", "[0-9]", "[^a]", ".", r"\+", "[a-c]", r"\*", "[]a]", r"[\d-]")


def made_up(rng: random.Random, depth: int = 0) -> str:
    kind = rng.random()
    if depth > 3 or kind < 0.4:
        return rng.choice(ATOMS)
    if kind < 0.6:
        return made_up(rng, depth + 1) + made_up(rng, depth + 1)
    if kind < 0.75:
        return f"({made_up(rng, depth + 1)})"
    if kind < 0.85:
        return f"({made_up(rng, depth + 1)}|{made_up(rng, depth + 1)})"
    return f"(?:{made_up(rng, depth + 1)}){rng.choice(('*', '+', '?', '{2}', '{1,3}', '{2,}', '*?', '+?'))}"


@pytest.mark.parametrize("seed", range(4))
def test_as_python_has_it(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - the same expressions each time
    for _ in range(1_000):
        expression = rng.choice(("^", "")) + made_up(rng) + rng.choice(("$", ""))
        text = "".join(rng.choice("ab12c+*-") for _ in range(rng.randint(0, 6)))
        expected = re.search(expression, text)
        regex = parsed(expression)
        assert regex is not None
        found = match(regex, text)
        assert can_match(regex, text) is (expected is not None), (expression, text)
        assert found is None or (found is False) is (expected is None), (expression, text)
        if expected is not None:
            assert any(text.startswith(one) for one in beginnings(regex)), (expression, text)
            if isinstance(found, dict):
                assert found[0] == expected[0], (expression, text)


def test_groups() -> None:
    assert match(parsed("^9(1)(2|3)?(.*)$"), "914") == {0: "914", 1: "1", 3: "4"}
    assert match(parsed("/^A(B)$/i"), "ab") == {0: "ab", 1: "b"}
    assert match(parsed("(?i)^ab"), "AB") == {0: "AB"}
    assert match(parsed("^[[:digit:]]+?[^[:digit:]]"), "12a") == {0: "12a"}
    assert match(parsed("^(?<x>1)(?P<y>2)"), "12") == {0: "12", 1: "1", 2: "2"}


NOT_UNDERSTOOD = ["(?=x)", "(?!x)", r"(x)\1", "x++", "(", "[a", "*", r"\b", "_NXX", "(?>x)", "a" * 3_000]


@pytest.mark.parametrize("expression", NOT_UNDERSTOOD)
def test_what_is_not_understood_can_be_anything(expression: str) -> None:
    assert parsed(expression) is None
    assert match(parsed(expression), "1") is None
    assert can_match(parsed(expression), "1")
    assert not always_matches(parsed(expression), "1")


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("^1005$", True), ("^10", True), ("^1.", True), ("^10[2-9]", False),
        ("^2", False), ("^(.*)$", True), (r"^\d{4}$", True), (r"^\d{5}$", False),
        ("05$", True), ("^30", False), ("9$", True), ("x", False), ("", True), ("^$", False), ("(5|6)1", False),
    ],
)  # fmt: skip  # rows that belong together
def test_languages(expression: str, *, matches: bool) -> None:
    whole = parsed("^(10[01][0-9])$")
    assert whole is not None
    numbers = language(group(whole, 1))
    assert can_match(parsed(expression), numbers) is matches
    assert can_match(parsed(expression), f"9{numbers}") is bool(re.search(expression, "91005")) or matches
    assert can_match(parsed(expression), HOLE)
    assert can_match(parsed(expression), DIALLED)


def test_a_kind_that_always_matches() -> None:
    whole = language(parsed("^(10[01][0-9])$"))
    assert always_matches(parsed("^(10[01][0-9])$"), whole)
    assert not always_matches(parsed("^10"), whole)  # it does, and is not found out
    for expression in (".*", "^.*$", "^(.*)$", "(.*)"):
        assert always_matches(parsed(expression), HOLE)
    assert not always_matches(parsed("^.+$"), HOLE)


def test_what_is_shown() -> None:
    assert shown(f"1{HOLE}2{language(parsed('^5+$'))}") == "1...2..."


def test_beginnings() -> None:
    assert beginnings(parsed("^(menu-1|m1[0-9]x)$")) == {"menu-1", *(f"m1{digit}x" for digit in range(10))}
    assert beginnings(parsed("^0a.*b$")) == {"0a"}
    assert beginnings(parsed("0")) == {""}
    assert beginnings(parsed(r"^\d\d\d\d$")) == {str(digit) for digit in range(10)}
    assert beginnings(parsed("^(a|b*)c")) == {"a", ""}
