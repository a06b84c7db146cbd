"""Choosing the language: numbers, countries, headers, the channel; and what a caller may write into them."""

from __future__ import annotations

import string
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_consent.config import LanguageBy
from ivr_consent.language import Chosen, Clues, choose, fitting, international, number, tags

LANGUAGES = ("da", "de", "en-GB", "fr", "sv", "zh-HK")

EVERYTHING = LanguageBy(
    order=["dialled", "country", "header", "channel", "first"],
    dialled={"+4570102030": "da", "004612345678": "sv", "8800": "fr"},
    countries={"+45": "da", "+46": "sv", "+41": "de", "+4122": "fr"},
    own_country="+45",
    header="X-Language",
)

STRICT = EVERYTHING.model_copy(update={"order": ["dialled", "country", "header"]})


def by(source: str, **clues: str | None) -> str | None:
    """What one source alone chooses."""
    only = EVERYTHING.model_copy(update={"order": [source]})
    chosen = choose(only, LANGUAGES, Clues(**clues))  # type: ignore[arg-type]  # a table of keyword arguments
    assert chosen is None or chosen.by == source
    return None if chosen is None else chosen.language


# --- sources ----------------------------------------------------------------------------------------------------------


def test_without_rules_it_is_the_channels_language_or_the_lines_first() -> None:
    rules = LanguageBy()
    assert choose(rules, LANGUAGES, Clues(channel="sv")) == Chosen("sv", "channel")
    assert choose(rules, LANGUAGES, Clues(channel="pl", dialled="+4612345678", header="sv")) == Chosen("da", "first")


@pytest.mark.parametrize(
    ("clues", "expected"),
    [
        (Clues("sv", "+4570102030", "+46812345", "fr"), Chosen("da", "dialled")),
        (Clues("sv", "+4570102031", "+41431234567", "fr"), Chosen("de", "country")),
        (Clues("sv", "", "+1212555", "fr"), Chosen("fr", "header")),
        (Clues("sv", "", None, "pl"), Chosen("sv", "channel")),
        (Clues("", "", None, ""), Chosen("da", "first")),
    ],
)
def test_the_first_source_that_has_a_result_decides(clues: Clues, expected: Chosen) -> None:
    assert choose(EVERYTHING, LANGUAGES, clues) == expected


def test_none_fits() -> None:
    assert choose(STRICT, LANGUAGES, Clues("sv", "+4570102031", "+1212555", "pl, *")) is None
    assert choose(STRICT, LANGUAGES, Clues()) is None


def test_the_order_is_the_configurations() -> None:
    turned = EVERYTHING.model_copy(update={"order": ["header", "dialled", "first"]})
    assert choose(turned, LANGUAGES, Clues(dialled="8800", header="de")) == Chosen("de", "header")
    assert choose(turned, LANGUAGES, Clues(channel="sv", caller="+46812345")) == Chosen("da", "first"), "not listed"


def test_a_language_that_the_line_does_not_speak_is_no_result() -> None:
    """A reload may leave a line what it had, beside newer rules."""
    assert choose(STRICT, ("en-GB",), Clues("", "+4570102030", "+45123", "da")) is None


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dialled",
    ["+4570102030", "004570102030", "4570102030", "+45 70 10 20 30", "(0045) 70/10-20.30", "+4570102030;npdi",
     "70102030", "070102030"],
)  # fmt: skip  # rows that belong together
def test_a_number_dialled_is_compared_by_its_digits(dialled: str) -> None:
    assert by("dialled", dialled=dialled) == "da"


@pytest.mark.parametrize(
    "dialled",
    ["", "s", "support", "+457010203", "+45701020300", "+", "00", "++4570102030", "4570102030x", "4570102030,8800",
     "4570102030\n", "٤٥٧٠١٠٢٠٣٠", "+4570102030" * 9, "0" * 10_000],
)  # fmt: skip  # rows that belong together
def test_another_number_is_no_result(dialled: str) -> None:
    assert by("dialled", dialled=dialled) is None


def test_short_numbers_are_numbers() -> None:
    assert by("dialled", dialled="8800") == "fr"


@pytest.mark.parametrize(
    ("caller", "language"),
    [
        ("+4512345678", "da"),
        ("004512345678", "da"),
        ("12345678", "da"),
        ("012345678", "da"),
        ("4612345678", "da"),  # of the own country: nothing says otherwise
        ("+46812345", "sv"),
        ("0046812345", "sv"),
        ("+41431234567", "de"),
        ("+41221234567", "fr"),  # the longest prefix
        ("+4", None),
        ("+47123", None),
        (None, None),
        ("", None),
        ("anonymous", None),
        ("+45anonymous", None),
    ],
)
def test_a_country_is_the_longest_prefix_of_the_callers_number(caller: str | None, language: str | None) -> None:
    assert by("country", caller=caller) == language


def test_without_a_country_of_ones_own_a_number_begins_with_a_country_code() -> None:
    rules = EVERYTHING.model_copy(update={"own_country": None, "order": ["country"]})
    assert choose(rules, LANGUAGES, Clues(caller="4612345678")) == Chosen("sv", "country")
    assert choose(rules, LANGUAGES, Clues(caller="012345678")) is None


def test_one_zero_alone_gives_way_to_the_country_code() -> None:
    assert international("0301234", "49") == "49301234"
    assert international("301234", "49") == "49301234"
    assert international("00301234", "49") == "301234"


# --- languages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("da", "da"),
        ("DA", "da"),
        ("da-DK", "da"),
        ("da_DK", "da"),
        ("en-GB", "en-GB"),
        ("en_gb", "en-GB"),
        ("en", "en-GB"),
        ("en-GB-oxendict", "en-GB"),
        ("en-US", None),
        ("zh", "zh-HK"),
        ("zh-CN", None),
        ("pl", None),
        ("d", None),
        ("dan", None),
        ("", None),
        ("*", None),
        ("da-", None),
        ("-da", None),
        (" da", None),
        ("da" + "-x" * 5000, None),
    ],
)
def test_a_tag_is_served_by_a_language_of_the_line(tag: str, language: str | None) -> None:
    assert fitting(tag, LANGUAGES) == language
    assert by("channel", channel=tag) == language


def test_a_language_itself_goes_before_its_varieties() -> None:
    assert fitting("en", ("en-GB", "en")) == "en"
    assert fitting("en-US", ("en-GB", "en")) == "en"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("da", ["da"]),
        ("da, en;q=0.8", ["da", "en"]),
        ("en;q=0.8,da", ["da", "en"]),
        ("en;q=0.3, da ; Q=0.30, de;q=0.301", ["de", "en", "da"]),
        ("da;q=0, en;q=0.000, de;q=0.", []),
        ("da;q=1.000, de;q=1", ["da", "de"]),
        ("da;q=1.001, de;q=2, fr;q=-1, sv;q=x, en;q=0.8;x=1, pl;", []),
        ("*, da;q=0.1", ["da"]),
        (" ,,; da ,", []),
        (", da ,", ["da"]),
        ("da en", []),
        ("${SHELL(id)}", []),
        ("da%0aen", []),
        ('"da"', []),
        ("d\u0430", []),  # a letter of another alphabet
        ("da\r\nen", []),
    ],
)
def test_a_header_is_read_in_the_order_of_its_weights(value: str, expected: list[str]) -> None:
    assert tags(value) == expected


def test_the_most_wanted_language_that_the_line_speaks() -> None:
    assert by("header", header="pl, fi;q=0.9, sv;q=0.8, de;q=0.7") == "sv"
    assert by("header", header="pl;q=0.1, da;q=0.2, de;q=0.3") == "de"


# --- any caller -------------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=60) | st.text(string.digits + "+;- x", max_size=40) | st.text("daen,;q=01.- *", max_size=60)


@given(TEXT, TEXT, st.none() | TEXT, TEXT)
def test_whatever_is_written_it_is_only_looked_up(channel: str, dialled: str, caller: str | None, header: str) -> None:
    """I6: nothing comes out but a language of the line, named by a source of the rules."""
    clues = Clues(channel, dialled, caller, header)
    chosen = choose(EVERYTHING, LANGUAGES, clues)
    assert chosen is not None
    assert chosen.language in LANGUAGES
    strict = choose(STRICT, LANGUAGES, clues)
    assert strict is None or strict.by in STRICT.order
    if strict is not None:
        assert chosen == strict, "sources further on do not matter"


@given(st.from_regex(r"[0-9]{1,15}", fullmatch=True), st.lists(st.sampled_from(" -./()"), max_size=10))
def test_the_forms_of_a_number_are_one(digits: str, parts: list[str]) -> None:
    written = "".join(digit + part for digit, part in zip(digits, [*parts, *[""] * len(digits)], strict=False))
    digits = digits.lstrip("0") or "1"
    written = written.lstrip("0 -./()") or "1"
    assert number(written) == number(f"+{written}") == number(f"00{written}") == digits
    assert number(digits) == digits, "normalised once is normalised"


@given(st.dictionaries(st.sampled_from(LANGUAGES), st.integers(1, 1000), min_size=1))
def test_weights_order_the_tags(weights: dict[str, int]) -> None:
    value = ", ".join(f"{tag};q={thousandths / 1000:.3f}" for tag, thousandths in weights.items())
    assert sorted(weights, key=lambda tag: -weights[tag]) == tags(value)


LONG: list[tuple[str, Callable[[], str]]] = [
    ("one letter", lambda: "a" * 10_000),
    ("subtags", lambda: "da" + "-a" * 5_000),
    ("entries", lambda: "da," * 3_333),
    ("unknown entries", lambda: "pl;q=0.5," * 1_111),
    ("weights", lambda: "da;q=0." + "0" * 10_000),
    ("semicolons", lambda: ";" * 10_000),
    ("spaces", lambda: "da;q=" + " " * 10_000 + "1"),
    ("digits", lambda: "0" * 10_000),
    ("separators", lambda: " " * 10_000 + "1"),
]


@pytest.mark.parametrize("value", [make for _, make in LONG], ids=[what for what, _ in LONG])
def test_a_long_value_costs_no_time(value: Callable[[], str]) -> None:
    """10 kB of anything, in every place: milliseconds. A tenth of a second would be felt by other calls."""
    text = value()
    began = time.process_time()  # of a busy machine only what is ours
    choose(STRICT, LANGUAGES, Clues(text, text, text, text))
    choose(EVERYTHING, LANGUAGES, Clues(text, text, text, text))
    assert time.process_time() - began < 0.5


def test_numbers_do_not_show_in_a_log() -> None:
    """Nobody should log clues; if somebody does, no number comes with them."""
    shown = repr(Clues("da", "+4570102030", "+4512345678", "da-private"))
    assert "70102030" not in shown
    assert "12345678" not in shown
    assert "private" not in shown
