"""Reading notices: every fault by its key, every missing element by its number, and what is spoken in the end."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.config import Keys
from ivr_consent.core.errors import NoticeError
from ivr_consent.core.notice import (
    ELEMENTS,
    MAX_SEGMENTS,
    MAX_TEXT,
    PLACEHOLDERS,
    RESULTS,
    Notice,
    compose,
    missing_elements,
    parse_notice,
    placeholders,
    text_sha256,
)
from ivr_consent.testing.plans import FACTS

PROMPTS = Path(__file__).parents[2] / "prompts"
KEYS = {f"key_{name}": key for name, key in Keys().model_dump().items()}
ALL_FACTS = {**FACTS.model_dump(), **KEYS, "retention_days": "30"}

DOCUMENT: dict[str, Any] = {
    "notice": "recording",
    "language": "en",
    "version": 1,
    "segments": [
        {"id": "who", "elements": [1], "text": "This is {controller}."},
        {"id": "language", "only_if": "several_languages", "text": "For another language, press {key_language}."},
        {"id": "not-started", "elements": [2], "text": "Nothing is recorded now."},
        {"id": "rest", "elements": [4, 5, 6, 7, 8, 9, 10, 12], "text": "Kept for {retention_days} days."},
    ],
    "purposes": [
        {
            "id": purpose,
            "name": purpose,
            "statement": f"We use it for {purpose}.",
            "question": f"For {purpose}: {{key_yes}} is yes, {{key_no}} is no.",
        }
        for purpose in ("training", "quality")
    ],
    "long": [{"id": "long-all", "text": "All of it."}],
    "results": {name: f"The result is {name}." for name in RESULTS},
}


def document() -> dict[str, Any]:
    return copy.deepcopy(DOCUMENT)


def notice(change: Callable[[dict[str, Any]], object] = lambda _: None) -> Notice:
    changed = document()
    change(changed)
    parsed, problems = parse_notice(changed, "en.toml")
    assert problems == ()
    assert parsed is not None
    return parsed


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(target: Any) -> None:
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value

    return change


def drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(target: Any) -> None:
        for part in path[:-1]:
            target = target[part]
        del target[path[-1]]

    return change


WRONG: list[tuple[str, Callable[[dict[str, Any]], None], str, str]] = [
    ("unknown key", put("colour", value="red"), "colour", "segments"),
    ("no id of the notice", drop("notice"), "notice", "small letters"),
    ("a path as id", put("notice", value="../etc"), "notice", "small letters"),
    ("no language", drop("language"), "language", '"da"'),
    ("a language that is none", put("language", value="English"), "language", '"da"'),
    ("version 0", put("version", value=0), "version", "from 1"),
    ("version true", put("version", value=True), "version", "from 1"),
    ("version as text", put("version", value="1"), "version", "from 1"),
    ("no segments", put("segments", value=[]), "segments", str(MAX_SEGMENTS)),
    ("segments not tables", put("segments", value=["a"]), "segments", "[[segments]]"),
    ("segments one table", put("segments", value={"id": "a"}), "segments", "[[segments]]"),
    ("too many segments", put("segments", value=DOCUMENT["segments"] * 20), "segments", str(MAX_SEGMENTS)),
    ("unknown key in a segment", put("segments", 0, "voice", value="x"), "segments[1].voice", "only_if"),
    ("no id of a segment", drop("segments", 0, "id"), "segments[1].id", "small letters"),
    ("id with a slash", put("segments", 0, "id", value="a/b"), "segments[1].id", "small letters"),
    ("id with a dot", put("segments", 0, "id", value=".."), "segments[1].id", "small letters"),
    ("id with a newline", put("segments", 0, "id", value="a\n"), "segments[1].id", "small letters"),
    ("id too long", put("segments", 0, "id", value="a" * 65), "segments[1].id", "64"),
    ("id twice", put("segments", 2, "id", value="who"), "segments[3].id", "an id of its own"),
    ("id of a purpose", put("segments", 0, "id", value="training"), "purposes[1].id", "an id of its own"),
    ("id of the long version", put("long", 0, "id", value="who"), "long[1].id", "an id of its own"),
    ("id that a question needs", put("segments", 0, "id", value="training-question"), "training-question", "another"),
    ("id that a statement needs", put("long", 0, "id", value="quality-statement"), "quality-statement", "another"),
    ("id that a result needs", put("long", 0, "id", value="result-early"), "result-early", "another"),
    ("element 13", put("segments", 0, "elements", value=[13]), "segments[1].elements", "1 to 12"),
    ("element as text", put("segments", 0, "elements", value=["1"]), "segments[1].elements", "1 to 12"),
    ("element true", put("segments", 0, "elements", value=[True]), "segments[1].elements", "1 to 12"),
    ("elements a number", put("segments", 0, "elements", value=1), "segments[1].elements", "1 to 12"),
    ("unknown condition", put("segments", 1, "only_if", value="night"), "segments[2].only_if", "several_languages"),
    (
        "a mandatory element under a condition",
        put("segments", 1, "elements", value=[9]),
        "segments[2].only_if",
        "always played",
    ),
    ("no text", drop("segments", 0, "text"), "segments[1].text", str(MAX_TEXT)),
    ("blank text", put("segments", 0, "text", value=" \n "), "segments[1].text", str(MAX_TEXT)),
    ("text too long", put("segments", 0, "text", value="a" * (MAX_TEXT + 1)), "segments[1].text", str(MAX_TEXT)),
    ("text a number", put("segments", 0, "text", value=7), "segments[1].text", str(MAX_TEXT)),
    ("control character", put("segments", 0, "text", value="a\x1b[1m"), "segments[1].text", "remove"),
    ("unknown placeholder", put("segments", 0, "text", value="{boss} speaks"), "segments[1].text", "controller"),
    ("an attribute", put("segments", 0, "text", value="{controller.x}"), "segments[1].text", "controller"),
    ("an index", put("segments", 0, "text", value="{controller[0]}"), "segments[1].text", "controller"),
    ("a format", put("segments", 0, "text", value="{controller:>99}"), "segments[1].text", "controller"),
    ("a conversion", put("segments", 0, "text", value="{controller!r}"), "segments[1].text", "controller"),
    ("a nameless placeholder", put("segments", 0, "text", value="{}"), "segments[1].text", "controller"),
    ("an open brace", put("segments", 0, "text", value="{controller"), "segments[1].text", "controller"),
    ("no purposes", put("purposes", value=[]), "purposes", "[[purposes]]"),
    ("unknown key in a purpose", put("purposes", 0, "basis", value="x"), "purposes[1].basis", "question"),
    ("no statement", drop("purposes", 0, "statement"), "purposes[1].statement", str(MAX_TEXT)),
    ("no name", drop("purposes", 1, "name"), "purposes[2].name", str(MAX_TEXT)),
    (
        "a question without the no key",
        put("purposes", 0, "question", value="{key_yes}?"),
        "purposes[1].question",
        "both",
    ),
    (
        "a question without the yes key",
        put("purposes", 0, "question", value="{key_no}?"),
        "purposes[1].question",
        "both",
    ),
    ("purpose twice", put("purposes", 1, "id", value="training"), "purposes[2].id", "an id of its own"),
    ("no results", drop("results"), "results", "granted"),
    ("results a list", put("results", value=[]), "results", "granted"),
    ("a result missing", drop("results", "early"), "results.early", str(MAX_TEXT)),
    ("unknown result", put("results", "maybe", value="x"), "results.maybe", "granted"),
]


@pytest.mark.parametrize(("change", "key", "remedy"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_named(change: Callable[[dict[str, Any]], None], key: str, remedy: str) -> None:
    """R2: a notice that is not of the form is not used, and its reader learns where and what to do."""
    wrong = document()
    change(wrong)
    parsed, problems = parse_notice(wrong, "en.toml")
    assert parsed is None
    named = [problem for problem in problems if problem.where == f"en.toml: {key}"]
    assert named, problems
    assert any(remedy in problem.remedy for problem in named), named
    assert all(problem.found and problem.remedy for problem in problems)


def test_every_fault_is_told_at_once() -> None:
    wrong = document()
    for change in (put("version", value=0), drop("segments", 0, "text"), drop("results", "early")):
        change(wrong)
    _, problems = parse_notice(wrong, "x")
    assert {problem.where for problem in problems} == {"x: version", "x: segments[1].text", "x: results.early"}


def test_white_space_is_made_one() -> None:
    assert notice(put("segments", 0, "text", value="  a\n   b ")).segments[0].text == "a b"


def test_placeholders_of_a_text() -> None:
    assert placeholders("{a} and {b_c}, {{not this}}") == {"a", "b_c"}
    with pytest.raises(NoticeError):
        placeholders("{A}")


# --- elements -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [number for number in ELEMENTS if number not in (3, 11)])
def test_each_missing_element_is_named(number: int) -> None:
    """R2: an incomplete notice makes the line unrecorded, and the check names what is missing."""

    def change(target: dict[str, Any]) -> None:
        for segment in target["segments"]:
            segment["elements"] = [element for element in segment.get("elements", []) if element != number]

    incomplete = notice(change)
    (problem,) = missing_elements(incomplete, ("training",))
    assert problem.where == f"en.toml: element {number}"
    assert ELEMENTS[number] in problem.found
    assert f"[{number}]" in problem.remedy
    script, problems = compose(incomplete, ("training",), ALL_FACTS, several_languages=False)
    assert script is None
    assert problems == (problem,)


def test_an_element_of_the_long_version_does_not_count() -> None:
    """R2: the second layer is behind a key; what is mandatory is said to everybody."""

    def change(target: dict[str, Any]) -> None:
        target["segments"][0]["elements"] = []
        target["long"][0]["elements"] = [1]

    assert [problem.where for problem in missing_elements(notice(change), ("training",))] == ["en.toml: element 1"]


def test_a_purpose_that_the_notice_does_not_explain() -> None:
    """R4."""
    (problem,) = missing_elements(notice(), ("training", "marketing"))
    assert "'marketing'" in problem.found
    assert "training, quality" in problem.remedy


def test_no_purpose_is_no_consent() -> None:
    """R4."""
    (problem,) = missing_elements(notice(), ())
    assert "purpose" in problem.found


def test_a_complete_notice_lacks_nothing() -> None:
    assert missing_elements(notice(), ("training", "quality")) == ()


# --- composing ------------------------------------------------------------------------------------------------------


def test_order_of_what_is_spoken() -> None:
    """R2: that nothing runs comes before why it would; statements of the line's purposes alone, in its order."""
    script, problems = compose(notice(), ("quality", "training"), ALL_FACTS, several_languages=True)
    assert problems == ()
    assert script is not None
    assert [segment.id for segment in script.information] == [
        "who",
        "language",
        "not-started",
        "quality-statement",
        "training-statement",
        "rest",
    ]
    assert list(script.questions) == ["quality", "training"]
    assert script.questions["training"].id == "training-question"
    assert [segment.id for segment in script.long] == ["long-all"]
    assert {name: segment.id for name, segment in script.results.items()} == {
        name: f"result-{name}" for name in RESULTS
    }
    ids = [segment.id for segment in script.segments()]
    assert len(set(ids)) == len(ids)
    covered = {element for segment in (*script.information, *script.questions.values()) for element in segment.elements}
    assert covered == set(ELEMENTS)


def test_only_the_lines_purposes_are_spoken() -> None:
    """R4: a purpose that the line does not ask for is not mentioned."""
    script, _ = compose(notice(), ("training",), ALL_FACTS, several_languages=False)
    assert script is not None
    assert not [segment for segment in script.segments() if "quality" in segment.text]
    assert "language" not in {segment.id for segment in script.information}


def test_statements_follow_a_segment_that_leads_to_them() -> None:
    def change(target: dict[str, Any]) -> None:
        target["segments"].insert(2, {"id": "why", "elements": [3], "text": "Why:"})

    script, _ = compose(notice(change), ("training",), ALL_FACTS, several_languages=False)
    assert script is not None
    assert [segment.id for segment in script.information][1:3] == ["why", "training-statement"]


def test_facts_are_filled_in() -> None:
    script, _ = compose(notice(), ("training",), ALL_FACTS, several_languages=False)
    assert script is not None
    assert script.information[0].text == "This is the Example Company."
    assert script.questions["training"].text == "For training: 1 is yes, 2 is no."
    assert "{" not in "".join(segment.text for segment in script.segments())


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_fact_that_is_missing_is_named(value: str | None) -> None:
    facts = {name: fact for name, fact in ALL_FACTS.items() if name != "controller"}
    if value is not None:
        facts["controller"] = value
    script, problems = compose(notice(), ("training",), facts, several_languages=False)
    assert script is None
    (problem,) = problems
    assert problem.where == "en.toml: who"
    assert "{controller}" in problem.found
    assert "set controller in [facts.default]" in problem.remedy


def test_the_texts_digest_is_of_what_is_said_before_the_choice() -> None:
    """R22: another word, order or question is another notice; another result is not."""

    def digest(
        change: Callable[[dict[str, Any]], object] = lambda _: None, purposes: tuple[str, ...] = ("training",)
    ) -> str:
        script, _ = compose(notice(change), purposes, ALL_FACTS, several_languages=False)
        assert script is not None
        return script.text_sha256()

    def swap(target: dict[str, Any]) -> None:
        target["segments"].append(target["segments"].pop(0))

    changed = [
        digest(),
        digest(put("segments", 0, "text", value="This was {controller}.")),
        digest(put("purposes", 0, "statement", value="Other.")),
        digest(put("purposes", 0, "question", value="{key_yes} {key_no}")),
        digest(swap),
        digest(purposes=("training", "quality")),
        digest(purposes=("quality", "training")),
    ]
    assert len(set(changed)) == len(changed)
    assert digest(put("results", "granted", value="Other.")) == digest()
    assert text_sha256("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"


# --- the notices that are shipped -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*/*.toml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_notices_are_complete(path: Path) -> None:
    """R2: in every language, for every purpose they name, with nothing but the documented facts."""
    parsed, problems = parse_notice(tomllib.loads(path.read_text()), str(path))
    assert problems == ()
    assert parsed is not None
    assert (parsed.id, parsed.language) == (path.stem, path.parent.name)
    script, problems = compose(parsed, tuple(parsed.purposes), ALL_FACTS, several_languages=True)
    assert problems == ()
    assert script is not None
    used = {name for segment in parsed.segments for name in placeholders(segment.text)}
    assert used <= PLACEHOLDERS
    assert parsed.long, "a second layer"


def test_shipped_notices_say_the_same_in_every_language() -> None:
    """R2: the same segments with the same elements, the same purposes."""
    shapes = set()
    for path in PROMPTS.glob("*/recording.toml"):
        parsed, _ = parse_notice(tomllib.loads(path.read_text()), str(path))
        assert parsed is not None
        shapes.add(
            (
                tuple((segment.id, segment.elements, segment.only_if) for segment in parsed.segments),
                tuple(parsed.purposes),
                tuple(segment.id for segment in parsed.long),
            )
        )
    assert len(shapes) == 1
