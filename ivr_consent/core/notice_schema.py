"""The JSON schema of notice files, for editors: completion, and faults while one writes.

Built from the constants that :mod:`ivr_consent.core.notice` reads with. The schema refuses nothing that is read there;
reading refuses more (a take of an unknown prompt, an id that stands twice), and has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from ivr_consent.core.notice import CHOICE, CONDITIONS, ELEMENTS, IDENTIFIER, LANGUAGE, PLACEHOLDERS, REFERENCE
from ivr_consent.core.notice_file import MAX_FILE_NAME, MAX_SEGMENTS, MAX_TEXT

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
FILE: Final = "notice.schema.json"

_CHARACTER: Final = r"[^\u0000-\u0009\u000b-\u001f\u007f-\u009f{}]"
"""What a text may hold: all but control characters, of which a line break is one that it may."""

CHOICE_MEANINGS: Final = {
    "yes": "The yes key, as {key_yes}, and what it does. Said after every question, before the no.",
    "no": "The no key, as {key_no}, in the same words as the yes.",
    "otherwise": "What anything else means: no key, another key, hanging up. It means no recording.",
}
RESULT_MEANINGS: Final = {
    "granted": "Said after a yes to at least one purpose.",
    "declined": "Said after a no.",
    "unrecorded": "Said when there was no answer in the end, or something failed: the call is not recorded.",
    "again": "Said before a question comes again: there was no answer, or another key.",
    "early": "Said when yes was pressed before the question: it does not count.",
    "reference": "Said before the digits of the call's reference number, when {key_repeat} is pressed while granted is "
    "said. Without it nobody can ask for the number.",
}


def anchored(pattern: re.Pattern[str]) -> str:
    """A pattern that a whole text has to fit, as a schema writes it."""
    return f"^(?:{pattern.pattern})$"


def schema() -> dict[str, Any]:
    """The schema, draft 7: what editors of TOML understand."""
    return {
        "$schema": DRAFT,
        "title": "A notice of ivr-consent",
        "description": "What a caller hears before a call may be recorded, in one language.",
        **_table(
            {
                "notice": _identifier("The id of the notice: the name of its file without .toml."),
                "language": {
                    "type": "string",
                    "pattern": anchored(LANGUAGE),
                    "description": 'The language, such as "da" or "en": the name of the folder.',
                },
                "segments": _tables(_segment(), "What is played before the question, in this order.", needed=True),
                "purposes": _tables(_purpose(), "What a line may ask consent for, each by itself.", needed=True),
                "choice": _table(
                    {name: _offer(name) for name in CHOICE},
                    "How the keys are offered: said after every question (element 11).",
                ),
                "long": _tables(_segment(), "The long version, played behind a key.", needed=False),
                "results": _table(
                    {name: _text(meaning) for name, meaning in RESULT_MEANINGS.items()},
                    "What is said after the choice, and between attempts.",
                    optional={REFERENCE},
                ),
                "takes": _tables(_take(), "Prompts that were spoken in a studio.", needed=False),
                "voices": {
                    "type": "object",
                    "additionalProperties": _identifier("A [prompts.voices.NAME] table of the configuration."),
                    "description": "By prompt: a voice other than that of the language.",
                },
            },
            optional={"long", "takes", "voices"},
        ),
    }


def _table(properties: dict[str, Any], description: str = "", *, optional: Collection[str] = ()) -> dict[str, Any]:
    table: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }
    return table | ({"description": description} if description else {})


def _tables(item: dict[str, Any], description: str, *, needed: bool) -> dict[str, Any]:
    least = {"minItems": 1} if needed else {}
    return {"type": "array", **least, "maxItems": MAX_SEGMENTS, "items": item, "description": description}


def _identifier(description: str) -> dict[str, Any]:
    return {"type": "string", "pattern": anchored(IDENTIFIER), "description": description}


def _text(description: str) -> dict[str, Any]:
    """A text with placeholders, not blank."""
    names = "|".join(sorted(PLACEHOLDERS))
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_TEXT,
        "pattern": rf"^(?:{_CHARACTER}|\{{\{{|\}}\}}|\{{(?:{names})\}})*$",
        "allOf": [{"pattern": r"\S"}],
        "description": f"{description} From the configuration: {', '.join(f'{{{n}}}' for n in sorted(PLACEHOLDERS))}.",
    }


def _offer(name: str) -> dict[str, Any]:
    text = _text(CHOICE_MEANINGS[name])
    other = {"yes": "no", "no": "yes"}.get(name)
    if other is not None:
        text["allOf"] += [{"pattern": rf"\{{key_{name}\}}"}, {"not": {"pattern": rf"\{{key_{other}\}}"}}]
    return text


def _segment() -> dict[str, Any]:
    meanings = [f"{number}: {meaning}" for number, meaning in ELEMENTS.items()]
    segment = _table(
        {
            "id": _identifier("The prompt's id, which stands once in the file: small letters, digits, hyphens."),
            "elements": {
                "type": "array",
                "items": {
                    "type": "integer",
                    "enum": list(ELEMENTS),
                    "enumDescriptions": list(ELEMENTS.values()),
                    "x-taplo": {"docs": {"enumValues": meanings}},
                },
                "description": "Which of the twelve mandatory elements this says.\n\n" + "\n".join(meanings),
            },
            "only_if": {
                "type": "string",
                "enum": list(CONDITIONS),
                "description": "Played only on lines with several languages, or where a code withdraws consent in the "
                "call. No mandatory element may stand here.",
            },
            "text": _text("What is said."),
        },
        optional={"elements", "only_if"},
    )
    nothing = {"properties": {"elements": {"maxItems": 0}}}
    return {**segment, "if": {"required": ["only_if"]}, "then": nothing}


def _purpose() -> dict[str, Any]:
    return _table(
        {
            "id": _identifier("What a line names in its purposes; stands once in the file."),
            "name": _text("The purpose in a few words."),
            "statement": _text("What the recording is used for, concretely (element 3)."),
            "question": _text("The question alone: the keys are offered by [choice], behind it."),
        }
    )


def _take() -> dict[str, Any]:
    return _table(
        {
            "prompt": {
                "type": "string",
                "description": "The id of the prompt: of a segment, ID-statement, ID-question, or result-NAME.",
            },
            "file": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_FILE_NAME,
                "description": "A sound file in the folder of the notice, such as takes/controller.wav.",
            },
            "says": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_TEXT,
                "pattern": f"^{_CHARACTER}*$",
                "allOf": [{"pattern": r"\S"}],
                "description": "The words as they were spoken, without placeholders.",
            },
        }
    )
