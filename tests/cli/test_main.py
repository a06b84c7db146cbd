"""The command itself: help, errors, exit codes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from ivr_consent import __version__
from ivr_consent.cli.app import app
from ivr_consent.cli.terminal import EPILOG, Exit, safe
from tests.cli.support import Place, run, run_json


def test_help_has_every_verb_and_every_exit_code() -> None:
    text = run("--help").stdout
    for word in ("init", "check", "serve", "run", "call", "dialplan", "withdraw", "sweep", "log", "prompts"):
        assert word in text
    for code in Exit:
        assert f"{code.value}  {code.meaning}"[:40] in text


@pytest.mark.parametrize(
    "words",
    [
        ("init",),
        ("check",),
        ("serve",),
        ("call",),
        ("dialplan",),
        ("run",),
        ("withdraw",),
        ("sweep",),
        ("log", "list"),
        ("log", "show"),
        ("log", "stats"),
        ("log", "tail"),
        ("prompts", "build"),
        ("prompts", "check"),
    ],
)
def test_every_verb_has_json(words: tuple[str, ...]) -> None:
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout


def test_every_text_of_the_help_ends_as_a_sentence() -> None:
    def texts(command: Any, path: str) -> Iterator[tuple[str, str]]:
        yield path, command.help
        for param in command.params:
            text = getattr(param, "help", None)
            if not getattr(param, "hidden", False):
                yield f"{path} {param.name}", (text or "").removesuffix(" [default: en]")
        for name, child in getattr(command, "commands", {}).items():
            yield from texts(child, f"{path} {name}")

    for where, text in texts(typer.main.get_command(app), "ivr-consent"):
        for paragraph in (text or "").split("\n\n"):
            assert paragraph.rstrip().endswith("."), where
    assert all(paragraph.endswith((".", ":")) for paragraph in EPILOG.split("\n\n"))


def test_version() -> None:
    assert run("--version").stdout == f"ivr-consent {__version__}\n"


def test_a_wrong_command_line() -> None:
    assert run("nonsense").exit_code == Exit.USAGE
    code, document = run_json("log", "list", "--limit", "x")
    assert code == Exit.USAGE
    assert document["error"]["kind"] == "UsageError"


def test_the_configuration_is_found_where_it_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    named = run("log", "list", IVR_CONSENT_CONFIG=str(place.config))
    assert named.exit_code == 0
    monkeypatch.chdir(place.etc)
    assert run("log", "list").exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "where", "remedy"),
    [
        ("port = 4573", 'port = "4573"', "server.port", "integer"),
        ('listen = "127.0.0.1"', 'listen = "localhost"', "server.listen", "127.0.0.1"),
        ('yes = "1"', 'yes = "0"', "lines.support.keys.yes", "1 2 3 4 5 6 7 8 9 *"),
        ('no = "2"', 'no = "1"', "lines.support.keys", "a key of its own"),
        ("retention_days = 30", "retention = 30", "lines.support.retention", "retention_days"),
        ("[lines.support]", "[lines.support", "ivr-consent.toml", "correct that place"),
        ('languages = ["en"]', 'languages = ["\\u001b[2J"]', "lines.support.languages", "da"),
    ],
)
def test_a_wrong_configuration_is_told_by_key(place: Place, old: str, new: str, where: str, remedy: str) -> None:
    """Named key, what was found, what is allowed, what to do."""
    place.edit(old, new)
    for words in (("check",), ("log", "list"), ("call", "support"), ("serve",), ("prompts", "build"), ("dialplan",)):
        result = run("--config", place.config, *words)
        assert result.exit_code == Exit.CONFIGURATION, words
        assert where in result.stderr
        assert remedy in result.stderr
        assert "Traceback" not in result.output
        assert "\x1b" not in result.output
        assert result.stdout == ""
    code, document = run_json("--config", place.config, "check")
    assert code == Exit.CONFIGURATION
    (problem,) = document["error"]["problems"]
    assert where in problem["where"]
    assert remedy in problem["remedy"]


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    result = run("--config", tmp_path / "none.toml", "log", "list")
    assert result.exit_code == Exit.CONFIGURATION
    assert "ivr-consent init" in result.stderr


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be read as one" * 20, None])
def test_a_log_that_is_not_ours(place: Place, content: bytes | None) -> None:
    place.log.unlink()
    if content is not None:
        place.log.write_bytes(content)
    for words in (("log", "list"), ("log", "show", "a")):
        result = run("--config", place.config, *words)
        assert result.exit_code == Exit.LOG
        assert "decisions.db" in result.stderr
        assert run_json("--config", place.config, *words)[0] == Exit.LOG


def test_a_log_of_a_newer_version(place: Place) -> None:
    connection = sqlite3.connect(place.log)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    result = run("--config", place.config, "log", "list")
    assert result.exit_code == Exit.LOG
    assert "upgrade" in result.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain åß中", "plain åß中"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\x9b\x7f", "\\x9b\\x7f"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("\udc80", "\\udc80"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_no_character_reaches_the_terminal_that_it_acts_upon(text: str, shown: str) -> None:
    """I6."""
    assert safe(text) == shown


def test_a_reload_is_for_a_service_that_runs(ready: Place) -> None:
    said = run("--config", ready.config, "prompts", "publish").stdout
    assert "if the service runs, take it into use with: ivr-consent reload" in said


def test_json_is_one_object_and_nothing_else(ready: Place) -> None:
    for words in (("prompts", "build"), ("prompts", "check"), ("dialplan",), ("check",), ("log", "list")):
        result = run("--config", ready.config, *words, "--json")
        assert isinstance(json.loads(result.stdout), dict), words
        assert result.stderr == ""
