"""The picture of a notice: whole, sound XML whatever is in a text, the same for the same data."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from ivr_consent.audio.picture import COLUMNS_PER_SECOND, Part, Stretch, clock, picture

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</title><script>alert(1)</script>&amp; \"quoted\" 'too' \x00\x1b[31m\u202egnp.exe\u2066 \ud800 ]]>"


def stretch(name: str, seconds: float, **more: object) -> Stretch:
    outline = [(-9000 + n % 50, 12_000 - n % 70) for n in range(round(seconds * COLUMNS_PER_SECOND))]
    values = {"id": name, "text": f"This is {name}.", "elements": (1,), "seconds": seconds, "outline": outline}
    return Stretch(**(values | more))  # type: ignore[arg-type]  # a table of keyword arguments


def parsed(document: str) -> ET.Element:
    return ET.fromstring(document)  # noqa: S314 - our own


def groups(document: str) -> list[ET.Element]:
    return parsed(document).findall(f"{SVG}g[@class='segment']")


def all_text(element: ET.Element) -> str:
    return " ".join(element.itertext()).strip()


QUESTION = stretch(
    "training-question",
    9.0,
    elements=(11,),
    parts=(Part("question", 0.1, 3), Part("yes", 3.4, 4.6), Part("no", 5, 6.2), Part("otherwise", 6.6, 8.9)),
    choice=8,
)
NOTICE = [stretch("controller", 6.5), stretch("rights", 31.0, elements=(9, 10)), QUESTION]


def test_every_prompt_has_its_mark_and_its_words() -> None:
    document = picture("Line support, version 3, en", NOTICE)
    found = groups(document)
    assert [all_text(group).split(",")[0] for group in found] == ["controller", "rights", "training-question"]
    assert all(len(group.findall(f"{SVG}path[@class='mark']")) == 1 for group in found)
    assert "This is rights." in all_text(found[1])
    assert "9, 10" in [text.text for text in found[1].iter(f"{SVG}text")]
    assert "then a key: 8 s" in [text.text for text in found[2].iter(f"{SVG}text")]


def test_a_question_shows_its_yes_and_its_no() -> None:
    """Where yes and no lie is seen, equally long when they are."""
    yes, no = (
        next(r for r in groups(picture("t", [QUESTION]))[0].iter(f"{SVG}rect") if r.get("class") == f"part {name}")
        for name in ("yes", "no")
    )
    assert yes.get("width") == no.get("width") == f"{1.2 * COLUMNS_PER_SECOND:.1f}"
    assert float(yes.get("x", "0")) < float(no.get("x", "0"))


def test_it_says_in_words_what_it_shows() -> None:
    """Accessible: an image with a name and a description, for who does not see it."""
    root = parsed(picture("Line support, version 3, en", NOTICE))
    assert root.get("role") == "img"
    named = {element.get("id"): element.text for element in root.iter() if element.get("id")}
    title, description = (named[name] for name in str(root.get("aria-labelledby")).split())
    assert title == "Line support, version 3, en"
    assert description is not None
    assert "controller: 0:00.0 to 0:06.5, elements 1." in description
    assert "yes 0:40.9 to 0:42.1, no 0:42.5 to 0:43.7" in description
    assert "then 8 s for a key" in description


def test_hostile_text_stays_text() -> None:
    document = picture(HOSTILE, [stretch("a", 4, text=HOSTILE), stretch(HOSTILE, 4), stretch("c", 2)])
    root = parsed(document)
    allowed = {"svg", "title", "desc", "style", "rect", "text", "g", "path"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == allowed
    assert len(groups(document)) == 3
    assert all(character.isprintable() or character == "\n" for character in document)
    assert "\\u{202e}gnp.exe" in all_text(root)
    assert document.encode()  # a lone surrogate too


def test_it_refers_to_nothing_outside() -> None:
    document = picture("t", NOTICE)
    assert re.findall(r"https?://[^\"]*", document) == ["http://www.w3.org/2000/svg"]
    for word in ("href", "url(", "@import", "<script", "<image", "<foreignObject", " on"):
        assert word not in document.replace("on light", ""), word


def test_it_is_the_same_for_the_same_data_and_readable_in_the_dark() -> None:
    assert picture("t", NOTICE) == picture("t", NOTICE)
    assert "@media (prefers-color-scheme:dark)" in picture("t", NOTICE)


def test_a_long_notice_stays_small() -> None:
    assert len(picture("t", [stretch(f"part-{n}", 9.0) for n in range(10)]).encode()) < 300_000


@pytest.mark.parametrize("seconds", [[30.0], [29.98, 0.02], [30.0, 30.0], [0.1] * 300, [75.0], [0.02]])
def test_time_ends_where_a_row_ends(seconds: list[float]) -> None:
    """Sums of lengths that no binary fraction holds give neither an empty row nor a mark outside of the picture."""
    document = picture("t", [stretch(f"s{n}", length) for n, length in enumerate(seconds)])
    root = parsed(document)
    assert len(groups(document)) == len(seconds)
    width = float(root.get("width", "0"))
    for rect in root.iter(f"{SVG}rect"):
        assert 0 <= float(rect.get("x", "0")) <= width
        assert float(rect.get("x", "0")) + float(rect.get("width", "0")) <= width + 0.1
    assert len(root.findall(f"{SVG}path[@class='rule']")) == -(-round(sum(seconds) * 1000) // 30_000)


def test_without_a_prompt_or_a_sound_there_is_still_a_picture() -> None:
    assert groups(picture("nothing", [])) == []
    (group,) = groups(picture("silent", [stretch("a", 3, outline=[])]))
    assert group.find(f"{SVG}path[@class='wave']") is None


def test_samples_beyond_full_scale_stay_in_their_row() -> None:
    (group,) = groups(picture("t", [stretch("a", 1, outline=[(-32768, 32767), (-99_999, 99_999)])]))
    wave = group.find(f"{SVG}path[@class='wave']")
    ground = group.find(f"{SVG}rect")
    assert wave is not None
    assert ground is not None
    top = float(ground.get("y", "0"))
    heights = [float(y) for y in re.findall(r"(?:M[\d.]+ |V)([\d.]+)", wave.get("d", ""))]
    assert all(top <= y <= top + float(ground.get("height", "0")) for y in heights)


def test_a_clock_rounds_to_tenths_and_carries() -> None:
    assert [clock(value) for value in (0, 0.04, 59.96, 61.25, 3600)] == [
        "0:00.0",
        "0:00.0",
        "1:00.0",
        "1:01.2",
        "60:00.0",
    ]
