"""ivr-consent schema: what editors complete and underline by is what the loader reads by."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import jsonschema
import pytest
from pydantic import BaseModel

from ivr_consent import config, config_schema
from ivr_consent.core import notice_schema
from ivr_consent.core.errors import ConfigurationError
from ivr_consent.testing import scenario_schema
from tests.cli.support import Place, run, run_json

ROOT = Path(__file__).parents[2]
SCHEMA = config_schema.schema()
CHECK = jsonschema.Draft7Validator(SCHEMA)


def loads(document: dict[str, Any]) -> bool:
    try:
        config.parse(document, Path("/etc/ivr-consent.toml"), "")
    except ConfigurationError:
        return False
    return True


# --- the schema of the configuration ----------------------------------------------------------------------------------


def test_it_is_a_schema_of_draft_7() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert "draft-07" in SCHEMA["$schema"]
    text = json.dumps(SCHEMA)
    assert "$ref" not in text
    assert "null" not in text, "TOML has none"
    assert text.count('"title"') == 1, "titles that pydantic invents tell nothing"


def example() -> dict[str, Any]:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"## Example\n\n```toml\n(.*?)```", text, flags=re.DOTALL)
    return tomllib.loads(found)


def test_the_example_of_the_documentation_fits() -> None:
    CHECK.validate(example())


def test_every_block_of_the_documentation_that_is_a_configuration_fits() -> None:
    found = 0
    for path in sorted((ROOT / "docs").glob("*.md")):
        for block in re.findall(
            r"^```toml\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        ):
            document = tomllib.loads(block)
            if "lines" in document and loads(document):
                CHECK.validate(document)
                found += 1
    assert found >= 2


def test_what_init_writes_fits(place: Place) -> None:
    CHECK.validate(tomllib.loads(place.config.read_text()))


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside of a field's type."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part


def walk(model: type[BaseModel], part: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every field of the models with its place in the schema."""
    fields = {name: field for name, field in model.model_fields.items() if not field.exclude}
    assert list(part["properties"]) == list(fields), path
    assert part["additionalProperties"] is False, path
    for name, field in fields.items():
        below = part["properties"][name]
        yield f"{path}{name}", field, below
        origin = get_origin(field.annotation)
        for inner in models(field.annotation):
            inside = below[{dict: "additionalProperties", list: "items"}[origin]] if origin in (dict, list) else below
            yield from walk(inner, inside, f"{path}{name}.")


def test_every_key_is_there_with_a_description_in_one_line() -> None:
    """What an editor shows at a key is a sentence, not a name."""
    seen = list(walk(config.Settings, SCHEMA))
    assert len(seen) > 50
    for path, _, part in seen:
        description = part["description"]
        assert description.endswith("."), path
        assert len(description) <= 120, path
        assert not re.search(r":\w+:`|\n|``", description), path


def test_bounds_and_choices_are_those_of_the_models() -> None:
    names = {"ge": "minimum", "le": "maximum"}
    for path, field, part in walk(config.Settings, SCHEMA):
        for bound in field.metadata:
            for attribute, name in names.items():
                if hasattr(bound, attribute):
                    assert part[name] == getattr(bound, attribute), path
            for attribute, name in (("min_length", "in"), ("max_length", "ax")):
                if hasattr(bound, attribute) and getattr(bound, attribute) is not None:
                    found = [value for key, value in part.items() if key.startswith("m" + name)]
                    assert found == [getattr(bound, attribute)], path
        if get_origin(field.annotation) is Literal:
            assert part.get("enum", [part.get("const")]) == list(get_args(field.annotation)), path
    line = SCHEMA["properties"]["lines"]["additionalProperties"]["properties"]
    assert line["codecs"]["items"]["enum"] == list(config.CODECS)
    assert set(line["keys"]["properties"]["yes"]["enum"]) == {*config.CONSENT_KEYS, *range(1, 10)}


def test_defaults_are_those_of_the_models() -> None:
    for path, field, part in walk(config.Settings, SCHEMA):
        if "default" in part:
            default = field.get_default(call_default_factory=True)
            assert part["default"] == (str(default) if isinstance(default, Path) else default), path


LINE: dict[str, Any] = {"lines": {"support": {}}}


def line(**keys: Any) -> dict[str, Any]:
    return {"lines": {"support": keys}}


def anchors(**tables: Any) -> dict[str, Any]:
    return {**LINE, "log": {"anchors": tables}}


MAIL = {"to": ["dpo@example.org"], "sender": "pbx@example.org"}

RIGHT: list[dict[str, Any]] = [
    LINE,
    line(keys={"yes": 7, "no": "*"}),
    line(languages=["da", "pt-BR"], purposes=["training", "a-b"], next_menu=[0, "#", "1"], codecs=["opus"]),
    line(recorded="queues,support,1", unrecorded="queues,support-un,start"),
    line(language_by={"order": ["channel"]}),
    line(language_by={"order": ["dialled", "first"], "dialled": {"+45 70 10 20 30": "en"}}),
    line(facts={"default": {"controller": "A"}, "pt-BR": {"authority": 'B "C"'}}),
    {**LINE, "server": {"listen": "::1", "allow": ["192.0.2.0/255.255.255.0", "2001:db8::/32", "10.0.0.1"]}},
    {**LINE, "manager": {}},
    {**LINE, "prompts": {"voices": {"da": {"speed": 80}, "anna": {"command": ["x"]}, "pt-BR": {}}}},
    {**LINE, "switch": "asterisk"},
    anchors(file="/mnt/x", journal=True),
    anchors(command={"run": ["x"], "read": ["x", "y"], "every_hours": 0}),
    anchors(mail={"to": ["a.b+c@mail.example.org"], "sender": "_pbx@example"}),
    anchors(mail={**MAIL, "host": "::1", "tls": "tls", "username": "x", "password_file": "y"}),
    anchors(timestamp={"url": "http://tsa.example.org:8080/a?b=c", "ca_file": "ca.pem"}),
    anchors(timestamp={"url": "https://127.0.0.1", "ca_file": "ca.pem", "every_hours": 744}),
]


@pytest.mark.parametrize("document", RIGHT)
def test_what_the_loader_takes_fits(document: dict[str, Any]) -> None:
    assert loads(document)
    CHECK.validate(document)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("no lines", {}),
    ("empty lines", {"lines": {}}),
    ("an unknown table", {**LINE, "sever": {}}),
    ("the file's own path", {**LINE, "source": "x"}),
    ("an unknown key", line(retention=30)),
    ("the name of a line", {"lines": {"a b": {}}}),
    ("a long name of a line", {"lines": {"a" * 41: {}}}),
    ("key 0", line(keys={"yes": "0"})),
    ("key 0 as a number", line(keys={"yes": 0})),
    ("two digits", line(keys={"yes": 12})),
    ("a key true", line(keys={"yes": True})),
    ("no languages", line(languages=[])),
    ("too many languages", line(languages=[f"a{c}" for c in "abcdefghijklmnopqrstu"])),
    ("a language by name", line(languages=["english please"])),
    ("a language twice", line(languages=["da", "da"])),
    ("a purpose with capitals", line(purposes=["Training"])),
    ("a purpose twice", line(purposes=["a", "a"])),
    ("purposes as text", line(purposes="training")),
    ("a notice as path", line(notice="../x")),
    ("retention 0", line(retention_days=0)),
    ("retention as text", line(retention_days="30")),
    ("retention true", line(retention_days=True)),
    ("too many repeats", line(repeats=6)),
    ("an unknown codec", line(codecs=["mp3"])),
    ("a menu's key of two digits", line(next_menu=["12"])),
    ("a menu's key true", line(next_menu=[True])),
    ("one destination", line(recorded="a,b,1")),
    ("half a destination", line(recorded="a,b", unrecorded="a,b,1")),
    ("a destination with a variable", line(recorded="a,${EXTEN},1", unrecorded="a,b,1")),
    ("facts of no language", line(facts={"danish": {}})),
    ("a brace in a fact", line(facts={"da": {"controller": "{x}"}})),
    ("a line break in a fact", line(facts={"da": {"controller": "a\nb"}})),
    ("an empty fact", line(facts={"da": {"controller": ""}})),
    ("a long fact", line(facts={"da": {"controller": "a" * 201}})),
    ("an unknown source", line(language_by={"order": ["moon"]})),
    ("a source twice", line(language_by={"order": ["channel", "channel"]})),
    ("a header with a bracket", line(language_by={"order": ["header"], "header": "X)"})),
    ("port 0", {**LINE, "server": {"port": 0}}),
    ("a name to listen on", {**LINE, "server": {"listen": "localhost"}}),
    ("a network by name", {**LINE, "server": {"allow": ["switch"]}}),
    ("a user with a space", {**LINE, "manager": {"username": "a b"}}),
    ("tls as a word", {**LINE, "manager": {"tls": "yes"}}),
    ("a path as a number", {**LINE, "log": {"path": 1}}),
    ("another switch", {**LINE, "switch": "cisco"}),
    ("speed of a voice", {**LINE, "prompts": {"voices": {"da": {"speed": 9}}}}),
    ("a voice with capitals", {**LINE, "prompts": {"voices": {"Anna": {}}}}),
    ("an empty command", {**LINE, "prompts": {"voices": {"da": {"command": []}}}}),
    ("a command as text", {**LINE, "prompts": {"voices": {"da": {"command": "espeak-ng"}}}}),
    ("a line that is a text", {"lines": {"support": "x"}}),
    ("an unknown anchor", anchors(fax="1")),
    ("the journal as a word", anchors(journal="yes")),
    ("a command as text", anchors(command={"run": "tee -a x"})),
    ("an empty command of an anchor", anchors(command={"run": []})),
    ("no command", anchors(command={})),
    ("never", anchors(command={"run": ["x"], "every_hours": 745})),
    ("no recipient", anchors(mail={**MAIL, "to": []})),
    ("a recipient with a name", anchors(mail={**MAIL, "to": ["DPO <dpo@example.org>"]})),
    ("a recipient with a line break", anchors(mail={**MAIL, "to": ["dpo@example.org\nBcc: x@example.org"]})),
    ("a recipient that is an option", anchors(mail={**MAIL, "to": ["-oQ/tmp@example.org"]})),
    ("a sender that is none", anchors(mail={**MAIL, "sender": "pbx"})),
    ("no sender", anchors(mail={"to": ["dpo@example.org"]})),
    ("a mail server with a port", anchors(mail={**MAIL, "host": "mail.example.org:25"})),
    ("half a login", anchors(mail={**MAIL, "host": "mail.example.org", "username": "x"})),
    ("a login without a server", anchors(mail={**MAIL, "username": "x", "password_file": "y"})),
    ("another tls", anchors(mail={**MAIL, "tls": True})),
    ("no certificates", anchors(timestamp={"url": "http://tsa.example.org/"})),
    ("another way to a time-stamp", anchors(timestamp={"url": "ftp://tsa.example.org/", "ca_file": "x"})),
    ("a time-stamp from a file", anchors(timestamp={"url": "file:///etc/passwd", "ca_file": "x"})),
    ("a long address", anchors(timestamp={"url": "http://tsa.example.org/" + "x" * 2000, "ca_file": "x"})),
    ("a line break in an address", anchors(timestamp={"url": "http://tsa.example.org/\r\nX: y", "ca_file": "x"})),
]


@pytest.mark.parametrize("document", [row[1] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_refused_by_the_schema_and_by_the_loader(document: dict[str, Any]) -> None:
    assert not CHECK.is_valid(document)
    assert not loads(document)


# --- the verb ---------------------------------------------------------------------------------------------------------


def test_it_is_printed() -> None:
    assert json.loads(run("schema").stdout) == SCHEMA
    assert json.loads(run("schema", "config").stdout) == SCHEMA
    assert json.loads(run("schema", "notice").stdout) == notice_schema.schema()
    code, document = run_json("schema", "notice")
    assert (code, document) == (0, {"ok": True, "schema": notice_schema.schema()})
    assert json.loads(run("schema", "scenario").stdout) == scenario_schema.schema()
    assert run("schema", "telephone").exit_code == 2


def test_it_is_written(tmp_path: Path) -> None:
    there = tmp_path / "new"
    code, document = run_json("schema", "--write", there)
    names = {config_schema.FILE, notice_schema.FILE, scenario_schema.FILE}
    assert (code, document["files"]) == (0, {str(there / name): "written" for name in names})
    assert json.loads((there / config_schema.FILE).read_text()) == SCHEMA
    assert json.loads((there / notice_schema.FILE).read_text()) == notice_schema.schema()
    assert json.loads((there / scenario_schema.FILE).read_text()) == scenario_schema.schema()
    assert "unchanged" in run("schema", "notice", "--write", there).stdout
    old = {**SCHEMA, "properties": {}}
    (there / config_schema.FILE).write_text(json.dumps(old))
    (there / config_schema.FILE).chmod(0o600)
    assert run_json("schema", "config", "--write", there)[1]["files"] == {str(there / config_schema.FILE): "rewritten"}
    assert json.loads((there / config_schema.FILE).read_text()) == SCHEMA
    assert (there / config_schema.FILE).stat().st_mode & 0o777 == 0o600
    assert {path.name for path in there.iterdir()} == names


@pytest.mark.parametrize("content", ["not JSON", "[1]", '{"title": "mine"}', "[" * 100_000])
def test_what_is_not_a_schema_of_ours_is_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / notice_schema.FILE
    path.write_text(content)
    result = run("schema", "--write", tmp_path)
    assert result.exit_code == 1
    assert "kept" in result.stdout
    assert path.read_text() == content
    assert (tmp_path / config_schema.FILE).is_file()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("schema", "--write", tmp_path / "file")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
