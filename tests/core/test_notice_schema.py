"""The schema of notice files: what is read fits it, what it names is what is read, and what is wrong is refused."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr_consent.core.notice import CHOICE, ELEMENTS, PLACEHOLDERS, REFERENCE, RESULTS
from ivr_consent.core.notice_file import MAX_SEGMENTS, MAX_TEXT, parse_notice
from ivr_consent.core.notice_schema import CHOICE_MEANINGS, RESULT_MEANINGS, schema

PROMPTS = Path(__file__).parents[2] / "prompts"
SCHEMA = schema()
CHECK = jsonschema.Draft7Validator(SCHEMA)
TAKE = {"prompt": "controller", "file": "takes/a.wav", "says": "This is the Example Company."}


def document(language: str = "en") -> dict[str, Any]:
    return tomllib.loads((PROMPTS / language / "recording.toml").read_text(encoding="utf-8"))


def full() -> dict[str, Any]:
    """A notice with every key that there is."""
    return {**document(), "takes": [dict(TAKE)], "voices": {"controller": "anna"}}


def fits(notice: Any) -> bool:
    return bool(CHECK.is_valid(notice))


def reads(notice: Any) -> bool:
    return parse_notice(notice, "x")[0] is not None


def test_it_is_a_schema_of_draft_7() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert "draft-07" in SCHEMA["$schema"]


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*/*.toml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_notice_fits(path: Path) -> None:
    CHECK.validate(tomllib.loads(path.read_text(encoding="utf-8")))


def test_all_keys_together_fit() -> None:
    CHECK.validate(full())
    assert reads(full())


# --- no drift ---------------------------------------------------------------------------------------------------------

TABLES: list[tuple[str, Callable[[dict[str, Any]], Any], dict[str, Any]]] = [
    ("the file", lambda d: d, SCHEMA),
    ("segments", lambda d: d["segments"][0], SCHEMA["properties"]["segments"]["items"]),
    ("purposes", lambda d: d["purposes"][0], SCHEMA["properties"]["purposes"]["items"]),
    ("choice", lambda d: d["choice"], SCHEMA["properties"]["choice"]),
    ("long", lambda d: d["long"][0], SCHEMA["properties"]["long"]["items"]),
    ("results", lambda d: d["results"], SCHEMA["properties"]["results"]),
    ("takes", lambda d: d["takes"][0], SCHEMA["properties"]["takes"]["items"]),
]


@pytest.mark.parametrize(("table", "part"), [row[1:] for row in TABLES], ids=[row[0] for row in TABLES])
def test_its_keys_are_those_that_are_read(table: Callable[[dict[str, Any]], Any], part: dict[str, Any]) -> None:
    """An unknown key is told with the allowed ones: they are the schema's, and it refuses the key as well."""
    wrong = full()
    table(wrong)["colour"] = "red"
    assert not fits(wrong)
    _, problems = parse_notice(wrong, "x")
    (problem,) = [problem for problem in problems if problem.found == "unknown key"]
    assert problem.remedy == "allowed: " + ", ".join(sorted(part["properties"]))


@pytest.mark.parametrize(("table", "part"), [row[1:] for row in TABLES], ids=[row[0] for row in TABLES])
def test_what_it_requires_is_what_cannot_be_missing(
    table: Callable[[dict[str, Any]], Any], part: dict[str, Any]
) -> None:
    for key in part["properties"]:
        lacking = full()
        table(lacking).pop(key, None)
        assert fits(lacking) is (key not in part["required"]), key
        assert reads(lacking) is (key not in part["required"]), key


def test_it_names_every_element_placeholder_choice_and_result() -> None:
    elements = SCHEMA["properties"]["segments"]["items"]["properties"]["elements"]
    assert elements["items"]["enum"] == list(ELEMENTS)
    assert elements["items"]["enumDescriptions"] == list(ELEMENTS.values())
    shown = elements["items"]["x-taplo"]["docs"]["enumValues"]
    assert shown == [f"{number}: {meaning}" for number, meaning in ELEMENTS.items()]
    assert all(meaning in elements["description"] for meaning in ELEMENTS.values())
    text = SCHEMA["properties"]["segments"]["items"]["properties"]["text"]
    assert all("{" + name + "}" in text["description"] for name in PLACEHOLDERS)
    assert (tuple(CHOICE_MEANINGS), tuple(RESULT_MEANINGS)) == (CHOICE, (*RESULTS, REFERENCE))


def test_every_key_is_described() -> None:
    for _, _, part in TABLES:
        for name, value in part["properties"].items():
            assert value["description"].strip(), name


# --- what is wrong ----------------------------------------------------------------------------------------------------


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(target: Any) -> None:
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value

    return change


SEGMENT = {"id": "more-of-it", "text": "More."}
WRONG: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("a version", put("version", value=1)),
    ("a path as id", put("notice", value="../etc")),
    ("a notice that is a number", put("notice", value=1)),
    ("a language by name", put("language", value="English")),
    ("no segments", put("segments", value=[])),
    ("segments not tables", put("segments", value=["a"])),
    ("one segment as a table", put("segments", value=SEGMENT)),
    ("too many segments", put("segments", value=[{**SEGMENT, "id": f"s{n}"} for n in range(MAX_SEGMENTS + 1)])),
    ("too many takes", put("takes", value=[TAKE] * (MAX_SEGMENTS + 1))),
    ("an id with capitals", put("segments", 0, "id", value="Controller")),
    ("an id that is too long", put("segments", 0, "id", value="a" * 65)),
    ("element 13", put("segments", 0, "elements", value=[13])),
    ("element 0", put("segments", 0, "elements", value=[0])),
    ("an element as text", put("segments", 0, "elements", value=["1"])),
    ("an element true", put("segments", 0, "elements", value=[True])),
    ("elements a number", put("segments", 0, "elements", value=1)),
    ("an unknown condition", put("segments", 1, "only_if", value="night")),
    ("an element under a condition", put("segments", 1, "elements", value=[9])),
    ("no text", put("segments", 0, "text", value="")),
    ("a blank text", put("segments", 0, "text", value=" \n ")),
    ("a long text", put("segments", 0, "text", value="a" * (MAX_TEXT + 1))),
    ("a control character", put("segments", 0, "text", value="a\x1b[1m")),
    ("a tab", put("segments", 0, "text", value="a\tb")),
    ("a late control character", put("segments", 0, "text", value="a\x9bb")),
    ("an unknown placeholder", put("segments", 0, "text", value="{boss} speaks")),
    ("an attribute", put("segments", 0, "text", value="{controller.x}")),
    ("a conversion", put("segments", 0, "text", value="{controller!r}")),
    ("a nameless placeholder", put("segments", 0, "text", value="{}")),
    ("an open brace", put("segments", 0, "text", value="{controller")),
    ("a closing brace", put("segments", 0, "text", value="controller}")),
    ("no purposes", put("purposes", value=[])),
    ("a statement that is a list", put("purposes", 0, "statement", value=["x"])),
    ("a yes without its key", put("choice", "yes", value="Press one.")),
    ("a no with the yes key", put("choice", "no", value="{key_no} or {key_yes}.")),
    ("a blank otherwise", put("choice", "otherwise", value=" ")),
    ("results a list", put("results", value=[])),
    ("an empty result", put("results", "early", value="")),
    ("a take without a file's name", put("takes", 0, "file", value="")),
    ("a take with a long name", put("takes", 0, "file", value="a" * 201)),
    ("a take with a placeholder", put("takes", 0, "says", value="{controller}")),
    ("a take that says nothing", put("takes", 0, "says", value=" ")),
    ("a voice that is no name", put("voices", "controller", value="Anna B")),
    ("a voice that is a table", put("voices", "controller", value={"voice": "anna"})),
]


@pytest.mark.parametrize("change", [row[1] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_refused_by_the_schema_and_by_the_reader(change: Callable[[dict[str, Any]], None]) -> None:
    wrong = copy.deepcopy(full())
    change(wrong)
    assert not fits(wrong)
    assert not reads(wrong)


BRACES = st.lists(st.sampled_from(("{", "}", "{{", "}}", "{controller}", "{key_yes}", "a", "{x}", " ", "\n", "\t")))


@settings(deadline=None)
@given(BRACES.map("".join) | st.text(max_size=20))
def test_a_text_fits_where_it_is_read(text: str) -> None:
    """Texts are the schema's most intricate pattern: it takes exactly what the reader takes."""
    changed = full()
    changed["segments"][0]["text"] = text
    assert fits(changed) is reads(changed)
