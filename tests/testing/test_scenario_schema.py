"""The schema of scenario files: what an editor completes and underlines is what the reader reads by."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from ivr_consent.core.errors import ConfigurationError
from ivr_consent.site import shipped
from ivr_consent.testing import scenario_schema
from ivr_consent.testing.scenario import Does, Expect, Fails, Scenario, Wire, parse_scenarios

SCHEMA = scenario_schema.schema()
CHECK = jsonschema.Draft7Validator(SCHEMA)
EXPECT = '[expect]\noutcome = "no_answer"\nreason = "silence"\nroute = "unrecorded"\n'
HEAD = 'summary = "A call"\n'


def test_it_is_a_schema_of_draft_7() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    text = json.dumps(SCHEMA)
    assert "$ref" not in text
    assert "null" not in text, "TOML has none"
    assert text.count('"title"') == 1, "titles that pydantic invents tell nothing"


@pytest.mark.parametrize("path", sorted(shipped("scenarios").glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_file_fits(path: Any) -> None:
    CHECK.validate(tomllib.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("key", "model"), [("does", Does), ("fail", Fails), ("expect", Expect), ("caller", Wire)], ids=str
)
def test_every_key_is_there_with_a_description(key: str, model: type[BaseModel]) -> None:
    part = SCHEMA["properties"][key]
    table = part.get("items", part)
    assert list(table["properties"]) == list(model.model_fields)
    assert table["additionalProperties"] is False
    for name, value in table["properties"].items():
        assert value["description"].endswith("."), name
    assert set(SCHEMA["properties"]) == {*Scenario.model_fields} - {"name"} | {"variants"}


WRONG = {
    "an unknown key": HEAD + "colour = 1\n" + EXPECT,
    "no summary": EXPECT,
    "nothing expected": HEAD,
    "no outcome": HEAD + '[expect]\nreason = "x"\nroute = "unrecorded"\n',
    "an unknown action key": HEAD + '[[does]]\nwindow = 1\npush = "1"\n' + EXPECT,
    "no place": HEAD + '[[does]]\npress = "1"\n' + EXPECT,
    "two places": HEAD + '[[does]]\nwindow = 1\nduring = "more"\npress = "1"\n' + EXPECT,
    "window 0": HEAD + "[[does]]\nwindow = 0\nwait = true\n" + EXPECT,
    "not a key": HEAD + '[[does]]\nwindow = 1\npress = "12"\n' + EXPECT,
    "a number as key": HEAD + "[[does]]\nwindow = 1\npress = 1\n" + EXPECT,
    "an unknown step": HEAD + '[[does]]\nstep = "sing"\nwait = true\n' + EXPECT,
    "an unknown fault": HEAD + '[[fail]]\nwindow = 1\nfault = "x"\n' + EXPECT,
    "an unknown outcome": HEAD + EXPECT.replace("no_answer", "maybe"),
    "a wrong line": HEAD + "[line]\nrepeats = 9\n" + EXPECT,
    "an unknown line key": HEAD + "[line]\nrepeat = 1\n" + EXPECT,
    "a variant without a name": HEAD + EXPECT + "[[variants]]\nsummary = 'x'\n",
    "wrong in a variant": HEAD + EXPECT + "[[variants]]\nname = 'a'\nexpect.answer = 1\n",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_by_the_schema_and_by_the_reader(text: str) -> None:
    assert not CHECK.is_valid(tomllib.loads(text))
    with pytest.raises(ConfigurationError):
        parse_scenarios(tomllib.loads(text), "x.toml")
