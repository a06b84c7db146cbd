"""Arguments, options, variables and expressions. The expressions' values were worked out by Asterisk 22."""

from __future__ import annotations

from typing import cast

import pytest

from ivr_consent.pbx.asterisk.audit import texts
from ivr_consent.pbx.asterisk.audit.patterns import Pattern, pattern
from ivr_consent.pbx.audit.results import HOLE

KNOWN = {"X": "abc", "EMPTY": "", "EXTEN": pattern("_70X"), "NAME": "X"}


def fill(text: str) -> str | Pattern:
    return texts.filled(text, KNOWN.get)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('$["granted" = granted]', "0"),
        ('$["granted" = "granted"]', "1"),
        ('$["granted"="granted" & "a"="a"]', '1'),
        ("$[granted = granted]", "1"),
        ('$["x" = "x" | "a" = "b"]', "1"),
        ('$[!("x" = "x")]', "0"),
        ('$["${EMPTY}" = ""]', "1"),
        ('${IF($["a"="a"]?yes:no)}', "yes"),
        ("$[Granted = granted]", "0"),
        ("$[2 + 3 * 4]", "14"),
        ("$[7 / 2]", "3.5"),
        ("$[2 < 10]", "1"),
        ("${X:1}", "bc"),
        ("${X:-2:1}", "b"),
        ("${${NAME}}", "abc"),
        ("a${NONE}b", f"a{HOLE}b"),
        ("$[${NONE} = 1]", HOLE),
        ('$["${NONE}" = "1" & "a" = "b"]', "0"),
        ('$["${NONE}" = "1" | "a" = "a"]', "1"),
        ('$["abc" =~ "b"]', HOLE),
        ("$[5-3]", HOLE),
        ("$[= 1]", HOLE),
        ("$[1 1]", HOLE),
        ("$[1 / 0]", HOLE),
        ("${CURL(x)}", HOLE),
        ("${X", HOLE),
        ("$[" * 200, HOLE),
        ("${" * 200, HOLE),
    ],
)  # fmt: skip  # rows that belong together
def test_values(text: str, value: str) -> None:
    assert fill(text) == value


def test_a_set_of_texts() -> None:
    dialled = fill("9${EXTEN:1}")
    assert isinstance(dialled, Pattern)
    assert [dialled.takes(text) for text in ("905", "904", "90", "805", "9055")] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b(c,d),e", ["a", "b(c,d)", "e"]),
        ("${IF($[1]?a,b:c)},x", ["${IF($[1]?a,b:c)}", "x"]),
        ('"a,b",c', ['"a,b"', "c"]),
        (r"a\,b,c", [r"a\,b", "c"]),
        ("", [""]),
    ],
)
def test_parts(text: str, found: list[str]) -> None:
    assert texts.parts(text) == found


def test_options() -> None:
    assert texts.options("tU(sub^a(b)^c)xm(default)g(") == {
        "t": "",
        "U": "sub^a(b)^c",
        "x": "",
        "m": "default",
        "g": "",
    }


def test_branches() -> None:
    assert texts.branches('$["${A}" = "x?y"]?Set(a=b):Goto(c,d,1)') == ('$["${A}" = "x?y"]', "Set(a=b)", "Goto(c,d,1)")
    assert texts.branches("${X}?:no") == ("${X}", "", "no")


@pytest.mark.parametrize(
    ("name", "takes", "not_takes"),
    [
        ("_X.", ["12", "1a"], ["1", "a1", ""]),
        ("_X!", ["1", "1a"], [""]),
        ("_NXZ", ["201", "919"], ["101", "200", "2011"]),
        ("_[13-5a]2", ["12", "42", "a2"], ["22", "62"]),
        ("_1-2X", ["123"], ["1-23a"]),
        (r"_[\-1]", ["1"], ["2"]),
        ("_nxz", ["201"], ["101"]),
    ],
)
def test_patterns(name: str, takes: list[str], not_takes: list[str]) -> None:
    found = pattern(name)
    assert found is not None
    assert [text for text in takes if not found.takes(text)] == []
    assert [text for text in not_takes if found.takes(text)] == []


def test_the_order_of_patterns() -> None:
    names = ["_!", "_.", "_X.", "_X", "_XX", "_Z", "_N", "_[12]", "_1"]
    ordered = sorted(names, key=lambda name: cast("Pattern", pattern(name)).order)
    assert ordered == ["_1", "_[12]", "_N", "_Z", "_XX", "_X.", "_X", "_.", "_!"]
