"""Text of a log on its way out: whatever stands there, it is a value of the type it ought to have, or none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_consent.exports import text


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_one_line_that_nothing_acts_upon(value: str) -> None:
    """I6: also half characters, which no file can hold."""
    line = text.printable(value)
    assert line.isprintable()
    line.encode()


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_plain_text_is_the_same_but_for_half_characters(value: str) -> None:
    found = text.plain(value)
    found.encode()
    assert len(found) == len(value)
    assert all(one in (two, "\ufffd") for one, two in zip(found, value, strict=True))


def test_what_is_too_long_is_cut_and_says_so() -> None:
    assert text.plain("a" * 5000) == "a" * text.MAX_TEXT + "... (5000 characters)"
    assert text.printable("\x1b" * 5000, 3) == "\\x1b\\x1b\\x1b... (5000 characters)"
    assert text.plain("a" * text.MAX_TEXT) == "a" * text.MAX_TEXT


@pytest.mark.parametrize(
    "value", [True, 1.0, "1", None, [], {}, 2**53, -(2**53), 10**400], ids=lambda value: repr(value)[:20]
)
def test_what_is_no_number_is_none(value: object) -> None:
    assert text.number(value) is None


def test_values_of_the_right_type_are_kept() -> None:
    assert text.number(2**53 - 1) == 2**53 - 1
    assert text.number(-250) == -250
    assert text.text("æ") == "æ"
    assert text.texts(["a", 1, "b", None]) == ("a", "b")
    assert text.table({"a": 1}) == {"a": 1}
    assert text.flag(True)


@pytest.mark.parametrize("value", ["x", 1, None, [1], "<html>"])
def test_a_table_is_a_table(value: object) -> None:
    assert text.table(value) == {}


def test_lists_are_bounded() -> None:
    """A log that was made to use up memory has lists without end."""
    assert len(text.items(list(range(10_000)))) == 100
    assert text.items("abc") == []


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("2026-03-02T08:30:00.000+00:00", datetime(2026, 3, 2, 8, 30, tzinfo=UTC)),
        ("2026-03-02T09:30:00+01:00", datetime(2026, 3, 2, 8, 30, tzinfo=UTC)),
        ("2026-03-02T08:30:00", None),  # of no zone: nobody knows when that was
        ("yesterday", None),
        ("", None),
        (None, None),
        (17, None),
        ("9999-12-31T23:59:59-23:00", None),
    ],
)
def test_moments(value: object, found: datetime | None) -> None:
    assert text.moment(value) == found
