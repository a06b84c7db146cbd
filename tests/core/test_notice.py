"""Reading notices: every fault by its key, every missing element by its number, and what is spoken in the end."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ivr_consent.config import Keys
from ivr_consent.core.errors import NoticeError
from ivr_consent.core.notice import (
    CHOICE,
    DIGITS,
    ELEMENTS,
    PLACEHOLDERS,
    REFERENCE,
    RESULTS,
    Notice,
    StudioTake,
    compose,
    missing_elements,
    placeholders,
    text_sha256,
)
from ivr_consent.core.notice_file import MAX_SEGMENTS, MAX_TEXT, parse_notice
from ivr_consent.toml_lines import TomlLines

PROMPTS = Path(__file__).parents[2] / "prompts"
KEYS = {f"key_{name}": key for name, key in Keys().model_dump().items()}
ALL_FACTS = {
    "controller": "the Example Company",
    "authority": "the Data Protection Agency",
    "recipients": "the agent and the team leader",
    "withdrawal_contact": "70 10 20 30",
    "rights_contact": "privacy@example.org",
    "web_address": "example.org/calls",
    "retention_days": "30",
    **KEYS,
}

DOCUMENT: dict[str, Any] = {
    "notice": "recording",
    "language": "en",
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
            "question": f"Do you consent for {purpose}?",
        }
        for purpose in ("training", "quality")
    ],
    "choice": {
        "yes": "Press {key_yes} for yes.",
        "no": "Press {key_no} for no.",
        "otherwise": "Anything else means no recording.",
    },
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


TAKE = {"prompt": "who", "file": "takes/who.wav", "says": "This is the Example Company."}
WRONG: list[tuple[str, Callable[[dict[str, Any]], None], str, str]] = [
    ("unknown key", put("colour", value="red"), "colour", "segments"),
    ("no id of the notice", drop("notice"), "notice", "small letters"),
    ("a path as id", put("notice", value="../etc"), "notice", "small letters"),
    ("no language", drop("language"), "language", '"da"'),
    ("a language that is none", put("language", value="English"), "language", '"da"'),
    ("a version, which publishing makes", put("version", value=1), "version", "segments"),
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
    ("purpose twice", put("purposes", 1, "id", value="training"), "purposes[2].id", "an id of its own"),
    ("no results", drop("results"), "results", "granted"),
    ("results a list", put("results", value=[]), "results", "granted"),
    ("a result missing", drop("results", "early"), "results.early", str(MAX_TEXT)),
    ("unknown result", put("results", "maybe", value="x"), "results.maybe", "granted"),
    ("no choice", drop("choice"), "choice", "yes, no, otherwise"),
    ("the choice a text", put("choice", value="1 or 2"), "choice", "yes, no, otherwise"),
    ("no yes", drop("choice", "yes"), "choice.yes", str(MAX_TEXT)),
    ("no no", drop("choice", "no"), "choice.no", str(MAX_TEXT)),
    ("no otherwise", drop("choice", "otherwise"), "choice.otherwise", str(MAX_TEXT)),
    ("unknown key of the choice", put("choice", "maybe", value="x"), "choice.maybe", "otherwise"),
    ("a yes without its key", put("choice", "yes", value="Press one."), "choice.yes", "{key_yes}"),
    ("a no without its key", put("choice", "no", value="Press two."), "choice.no", "{key_no}"),
    ("a yes with the no key", put("choice", "yes", value="{key_yes} {key_no}"), "choice.yes", "choice.no"),
    ("a no with the yes key", put("choice", "no", value="{key_yes} {key_no}"), "choice.no", "choice.yes"),
    ("id that the choice needs", put("segments", 0, "id", value="choice-yes"), "choice-yes", "another"),
    ("takes one table", put("takes", value={"prompt": "who"}), "takes", "[[takes]]"),
    ("a take of no prompt", put("takes", value=[{**TAKE, "prompt": "x"}]), "takes[1].prompt", "who"),
    ("a take of a choice", put("takes", value=[{**TAKE, "prompt": "choice-yes"}]), "takes[1].prompt", "who"),
    ("a take without a prompt", put("takes", value=[TAKE, {**TAKE, "prompt": 1}]), "takes[2].prompt", "who"),
    ("a take without a file", put("takes", value=[{**TAKE, "file": ""}]), "takes[1].file", "sound file"),
    ("a take with a long name", put("takes", value=[{**TAKE, "file": "a" * 201}]), "takes[1].file", "sound file"),
    ("a take that says nothing", put("takes", value=[{**TAKE, "says": " "}]), "takes[1].says", str(MAX_TEXT)),
    (
        "a take with a placeholder",
        put("takes", value=[{**TAKE, "says": "I am {controller}"}]),
        "takes[1].says",
        "spoken",
    ),
    ("a take with a brace", put("takes", value=[{**TAKE, "says": "I am {{x}}"}]), "takes[1].says", "spoken"),
    ("unknown key of a take", put("takes", value=[{**TAKE, "by": "x"}]), "takes[1].by", "file, prompt, says"),
    ("voices a list", put("voices", value=["anna"]), "voices", "PROMPT = NAME"),
    ("a voice of no prompt", put("voices", value={"x": "anna"}), "voices.x", "who"),
    ("a voice of a choice", put("voices", value={"choice-yes": "anna"}), "voices.choice-yes", "who"),
    ("a voice that is no name", put("voices", value={"who": "Anna B"}), "voices.who", "[prompts.voices.NAME]"),
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
    for change in (put("language", value=0), drop("segments", 0, "text"), drop("results", "early")):
        change(wrong)
    _, problems = parse_notice(wrong, "x")
    assert {problem.where for problem in problems} == {"x: language", "x: segments[1].text", "x: results.early"}


def test_what_is_wrong_is_named_with_its_line() -> None:
    """An administrator's editor opens at the place that is meant."""
    text = (PROMPTS / "en" / "recording.toml").read_text()
    lines = text.splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("text = ") and "{retention_days}" in line)
    lines[number - 1] = 'text = "{days}"'
    header = next(n for n, line in enumerate(lines, 1) if line == "[results]")
    early = next(n for n, line in enumerate(lines, 1) if line.startswith("early = "))
    del lines[early - 1]
    lines.append('late = "x"')
    wrong = "\n".join(lines)
    parsed, problems = parse_notice(tomllib.loads(wrong), "en.toml", TomlLines(wrong).line)
    assert parsed is None
    number_of = 1 + next(n for n, s in enumerate(tomllib.loads(wrong)["segments"]) if s["text"] == "{days}")
    assert [problem.where for problem in problems] == [
        f"en.toml:{number}: segments[{number_of}].text",
        f"en.toml:{len(lines)}: results.late",
        f"en.toml:{header}: results.early",
    ]


def test_every_prompt_has_its_place() -> None:
    text = (PROMPTS / "en" / "recording.toml").read_text()
    parsed, _ = parse_notice(tomllib.loads(text), "en.toml", TomlLines(text).line)
    assert parsed is not None
    facts = ALL_FACTS | {"code_withdraw": "*9"}
    script, _ = compose(parsed, tuple(parsed.purposes), facts, several_languages=True)
    assert script is not None
    choice = [f"choice-{name}" for name in CHOICE]
    assert set(parsed.places) == {segment.id for segment in script.segments()} - set(DIGITS) | set(choice)
    for prompt in parsed.places:
        line = int(parsed.place(prompt).split(":")[1])
        assert text.splitlines()[line - 1].split(" = ")[0] in (
            "text",
            "statement",
            "question",
            *CHOICE,
            *RESULTS,
            REFERENCE,
        )
    assert parsed.place("nothing") == "en.toml"


def test_the_code_that_withdraws_is_said_where_there_is_one() -> None:
    """Element 8: a code that the switch does not know is never promised."""
    parsed, _ = parse_notice(tomllib.loads((PROMPTS / "en" / "recording.toml").read_text()), "en.toml")
    assert parsed is not None
    said = {}
    for code in ("", "*9"):
        script, problems = compose(parsed, ("training",), ALL_FACTS | {"code_withdraw": code}, several_languages=False)
        assert (problems, script is None) == ((), False)
        assert script is not None
        said[code] = {segment.id: segment.text for segment in script.information}
    assert "withdrawal-code" not in said[""]
    assert "*9" in said["*9"].pop("withdrawal-code")
    assert said["*9"] == said[""]
    always = tuple(replace(segment, only_if=None) for segment in parsed.segments)
    script, (problem, *_) = compose(replace(parsed, segments=always), ("training",), ALL_FACTS, several_languages=True)
    assert script is None
    assert "[features]" in problem.remedy


def test_takes_and_voices() -> None:
    found = notice(put("takes", value=[TAKE, {**TAKE, "prompt": "result-early", "says": " You  pressed. "}]))
    assert found.takes == (
        StudioTake("who", "takes/who.wav", "This is the Example Company."),
        StudioTake("result-early", "takes/who.wav", "You pressed."),
    )
    found = notice(put("voices", value={"who": "anna", "training-question": "da", "long-all": "anna"}))
    assert found.voices == {"who": "anna", "training-question": "da", "long-all": "anna"}
    assert (notice().takes, notice().voices) == ((), {})


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
    question = script.questions["training"]
    assert question.text == " ".join(question.parts)
    assert question.parts == (
        "Do you consent for training?",
        "Press 1 for yes.",
        "Press 2 for no.",
        "Anything else means no recording.",
    )
    assert "{" not in "".join(segment.text for segment in script.segments())


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_fact_that_is_missing_is_named(value: str | None) -> None:
    facts = {name: fact for name, fact in ALL_FACTS.items() if name != "controller"}
    if value is not None:
        facts["controller"] = value
    script, problems = compose(notice(), ("training",), facts, several_languages=False)
    assert script is None
    (problem,) = problems
    assert problem.where == "en.toml: segments[1].text"
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
        digest(put("purposes", 0, "question", value="Do you consent?")),
        digest(put("choice", "yes", value="{key_yes} is yes.")),
        digest(put("choice", "no", value="{key_no} is no.")),
        digest(put("choice", "otherwise", value="Silence is no.")),
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
