"""The JSON schema of scenario files, for editors: made of the models that read them, which have the last word."""

from __future__ import annotations

import re
from typing import Any, Final

from ivr_consent import config_schema
from ivr_consent.core.notice import IDENTIFIER
from ivr_consent.core.notice_schema import DRAFT, anchored
from ivr_consent.pbx.simulated.caller import KEYS
from ivr_consent.testing.scenario import Scenario

FILE: Final = "scenario.schema.json"

_TEXTS: Final = {
    "summary": "What happens, in one sentence.",
    "line": "Keys of a line, as in the configuration; what is left out is as there.",
    "caller": "What the caller's telephone sends about itself.",
    "caller.number": "The caller's number.",
    "caller.display": "The caller's name.",
    "does": "What the caller does, each at a place in the call; who does nothing stays silent.",
    "does.during": "While this prompt plays, such as retention or training-question.",
    "does.window": "In the window of this number, counted over the whole call.",
    "does.question": "In the window after the question of this purpose.",
    "does.step": "At a step without sound; simulated switch only.",
    "does.nth": "The so many-th time that the place comes.",
    "does.at_ms": "Milliseconds into the place; negative: before its end.",
    "does.press": "The key that is pressed.",
    "does.hold_ms": "Milliseconds that the key is held.",
    "does.hang_up": "The caller hangs up.",
    "does.wait": "The caller does nothing, but the call must come to this place.",
    "fail": "What goes wrong; simulated switch only.",
    "fail.fault": "What goes wrong.",
    "expect": "What must come of the call; what is left out is not looked at.",
    "expect.outcome": "How the call is decided, as the dialplan is told.",
    "expect.reason": "Why, as the dialplan is told.",
    "expect.route": "The line that the call goes on at.",
    "expect.logged": "Whether the decision is on disk.",
    "expect.recorded": "Whether a recorder runs once the call goes on.",
    "expect.decided": "The decision on disk, where a later event changed it.",
    "expect.language": "The language of the choice.",
    "expect.answers": "What was answered, by purpose.",
    "expect.attempts": "How often a window was opened, by purpose.",
    "expect.early_keys": "How many keys were pressed before their window had opened.",
    "expect.heard": "How often a prompt began, by prompt.",
    "expect.order": "Events that come in this order; others may stand between.",
    "expect.never": "Events that do not come, or the beginning of one.",
    "expect.recorder": "Commands to the recorder, in order.",
    "variants": "Several calls of one file, each with a name and what it changes.",
    "variants.name": "What the variant is called behind the file's name.",
}
"""What an editor shows at a key."""

_PLACES: Final = ("during", "window", "question", "step")


def schema() -> dict[str, Any]:
    """The schema, draft 7: what editors of TOML understand."""
    made = Scenario.model_json_schema()
    definitions = made["$defs"]
    properties = {
        "summary": _described("summary", _plain(made["properties"]["summary"])),
        "line": _line(),
        "caller": _table("caller", definitions["Wire"], definitions),
        "does": _tables("does", definitions["Does"], definitions),
        "fail": _tables("fail", definitions["Fails"], definitions),
        "expect": _table("expect", definitions["Expect"], definitions),
    }
    one = {"type": "object", "additionalProperties": False}
    name = _described("variants.name", {"type": "string", "pattern": anchored(IDENTIFIER)})
    # A variant need not say what the file says: its tables are whole only together with the file's.
    parts = {key: {k: v for k, v in part.items() if k != "required"} for key, part in properties.items()}
    variant = {**one, "properties": {"name": name, **parts}, "required": ["name"]}
    return {
        "$schema": DRAFT,
        "title": "A scenario of ivr-consent",
        "description": "A call as data: what the caller does, and what must come of it.",
        **one,
        "properties": {
            **properties,
            "expect": parts["expect"],
            "variants": _described("variants", {"type": "array", "minItems": 1, "items": variant}),
        },
        "anyOf": [
            {"required": ["summary", "expect"], "properties": {"expect": properties["expect"]}},
            {"required": ["variants"]},
        ],
    }


def _line() -> dict[str, Any]:
    lines = config_schema.schema()["properties"]["lines"]
    found: dict[str, Any] = {**lines["additionalProperties"]}
    return _described("line", {key: value for key, value in found.items() if key != "description"})


def _tables(path: str, made: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    table = _table(path, made, definitions)
    table["oneOf"] = [{"required": [place]} for place in _PLACES]
    text = table.pop("description")
    return {"type": "array", "items": table, "description": text}


def _table(path: str, made: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {}
    for key, value in made["properties"].items():
        part = _plain(value, definitions)
        if key == "press":
            part["enum"] = sorted(KEYS)
        name = f"{path}.{key}" if f"{path}.{key}" in _TEXTS else f"does.{key}"
        properties[key] = _described(name, part)
    found: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    if "required" in made:
        found["required"] = made["required"]
    return _described(path, found)


def _described(path: str, part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "description": _TEXTS[path]}


def _plain(value: dict[str, Any], definitions: dict[str, Any] | None = None) -> dict[str, Any]:
    """Without references, null (TOML has none) and the titles that pydantic invents."""
    if "$ref" in value:
        return _plain((definitions or {})[re.split("/", value["$ref"])[-1]], definitions)
    if "anyOf" in value:
        (kind,) = (one for one in value["anyOf"] if one.get("type") != "null")
        rest = {key: part for key, part in value.items() if key not in ("anyOf", "default", "title")}
        return {**_plain(kind, definitions), **rest}
    found = {key: part for key, part in value.items() if key not in ("title", "description")}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _plain(found[key], definitions)
    return found
