"""The JSON schema of the configuration, for editors: completion, and faults while one writes.

Made of the models themselves, so keys, bounds and defaults are theirs. What a model checks by a function is added here
from the same constants. The schema refuses nothing that the loader takes; the loader refuses more, and has the last
word.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from typing import Any, Final

from ivr_consent import config, config_anchors
from ivr_consent.core.notice import IDENTIFIER, LANGUAGE
from ivr_consent.core.notice_schema import DRAFT, anchored
from ivr_consent.language import HEADER_NAME

FILE: Final = "ivr-consent.schema.json"

_LANGUAGE: Final = {"pattern": anchored(LANGUAGE)}
_IDENTIFIER: Final = {"pattern": anchored(IDENTIFIER)}
_PLACE: Final = {
    "pattern": anchored(re.compile(f"{config.DIALPLAN_PLACE.pattern}|{config.TRANSFER_PLACE.pattern}")),
}
_FACT: Final = {"pattern": r"^[^\u0000-\u001f{}]*$"}
_KEY: Final = {"type": ["string", "integer"], "enum": [*config.CONSENT_KEYS, *range(1, 10)]}
_ANY_KEY: Final = {"type": ["string", "integer"], "enum": [*"0123456789*#", *range(10)]}
_BY_LANGUAGE: Final = {"propertyNames": {"pattern": anchored(re.compile(f"default|{LANGUAGE.pattern}"))}}

_ADDED: Final[Mapping[str, Mapping[str, Any]]] = {
    "Settings.lines": {"propertyNames": {"pattern": anchored(config.LINE_NAME)}},
    "Settings.facts": _BY_LANGUAGE,
    "Line.facts": _BY_LANGUAGE,
    "Line.notice": _IDENTIFIER,
    "Line.languages": {"items": {"type": "string", **_LANGUAGE}, "uniqueItems": True},
    "Line.purposes": {"items": {"type": "string", **_IDENTIFIER}, "uniqueItems": True},
    "Line.codecs": {"items": {"type": "string", "enum": list(config.CODECS)}},
    "Line.recorded": _PLACE,
    "Line.unrecorded": _PLACE,
    "Line.next_menu": {"items": _ANY_KEY},
    "LanguageBy.order": {"uniqueItems": True},
    "LanguageBy.dialled": {"additionalProperties": {"type": "string", **_LANGUAGE}},
    "LanguageBy.countries": {"additionalProperties": {"type": "string", **_LANGUAGE}},
    "LanguageBy.header": {"pattern": anchored(HEADER_NAME)},
    "MailAnchor.to": {"items": {"type": "string", "pattern": anchored(config_anchors.ADDRESS)}},
    "MailAnchor.sender": {"pattern": anchored(config_anchors.ADDRESS)},
    "MailAnchor.host": {"pattern": anchored(config_anchors.HOST)},
    "TimestampAnchor.url": {"pattern": "^https?://[!-~]+$", "maxLength": config_anchors.MAX_URL},
    "Log.url": {"pattern": anchored(config.DATABASE_URL)},
    "Server.listen": {"pattern": "^[0-9A-Fa-f.:]+(%.+)?$"},
    "Server.allow": {"items": {"type": "string", "pattern": "^[0-9A-Fa-f.:]+(%.+)?(/[0-9.]+)?$"}},
    "Prompts.voices": {"propertyNames": {"pattern": anchored(re.compile(f"{IDENTIFIER.pattern}|{LANGUAGE.pattern}"))}},
    **{f"Facts.{name}": _FACT for name in config.FACTS},
    **{f"Keys.{name}": _KEY for name in config.Keys.model_fields},
}
"""What the models' own checks ask for, by model and field."""

_TABLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "Log": {"dependencies": {"server": ["url"], "password_file": ["url"]}},
    "MailAnchor": {"dependencies": {"username": ["password_file", "host"], "password_file": ["username"]}},
    "Line": {"dependencies": {"recorded": ["unrecorded"], "unrecorded": ["recorded"]}},
}
"""Likewise of whole tables."""

_MODULES: Final = (config, config_anchors)
"""Where the models are."""


def schema() -> dict[str, Any]:
    """The schema, draft 7: what editors of TOML understand."""
    made = config.Settings.model_json_schema()
    tidy = _Tidy(made.pop("$defs", {}), descriptions())
    head = {"$schema": DRAFT, "title": "The configuration of ivr-consent"}
    return {**head, **tidy.table("Settings", made), "description": "How a site asks for consent before it records."}


def descriptions() -> dict[str, str]:
    """What stands below each field of the models, by model and field."""
    found = {}
    for model in (part for module in _MODULES for part in ast.parse(inspect.getsource(module)).body):
        if isinstance(model, ast.ClassDef):
            for field, below in zip(model.body, model.body[1:], strict=False):
                text = below.value if isinstance(below, ast.Expr) else None
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Constant)
                    and isinstance(text.value, str)
                ):
                    found[f"{model.name}.{field.target.id}"] = " ".join(text.value.split())
    return found


class _Tidy:
    """Makes of pydantic's schema a plain one: no references, no null (TOML has none), no invented titles."""

    def __init__(self, definitions: Mapping[str, Any], texts: Mapping[str, str]) -> None:
        self.definitions = definitions
        self.texts = texts

    def table(self, model: str, made: Mapping[str, Any]) -> dict[str, Any]:
        found = {**self.any(made), **_TABLES.get(model, {})}
        fields = next(vars(module)[model] for module in _MODULES if model in vars(module)).model_fields
        hidden = {name for name, field in fields.items() if field.exclude}
        properties = {}
        for name, value in made.get("properties", {}).items():
            key = f"{model}.{name}"
            if name not in hidden:
                text = {"description": self.texts[key]} if key in self.texts else {}
                properties[name] = {**text, **self.any(value), **_ADDED.get(key, {}), **text}
        return {**found, "properties": properties}

    def any(self, made: Mapping[str, Any]) -> dict[str, Any]:
        if "$ref" in made:
            model = str(made["$ref"]).rpartition("/")[2]
            return self.table(model, self.definitions[model])
        found: dict[str, Any] = {}
        for name, value in made.items():
            if name in ("title", "properties") or (name == "format" and value == "path"):
                continue
            if name == "anyOf":
                kinds = [self.any(kind) for kind in value if kind.get("type") != "null"]
                found |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
            elif name in ("items", "additionalProperties") and isinstance(value, dict):
                found[name] = self.any(value)
            elif name != "default" or not (value is None or isinstance(value, dict)):
                found[name] = value
        return found
